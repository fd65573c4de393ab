"""The commands about cases, on real files and a real index."""

from datetime import date
from pathlib import Path

import pytest

from tests.commands import Commands
from tests.factories import make_mg, new_uid, view_code
from tests.sites import opened_site, receive

UNIT_A = {"serial": "UA-1002", "station": "UPR-A"}


@pytest.fixture
def mammogram(site: Path) -> str:
    """A facility with two biopsies, a phantom and a mammogram of a device elsewhere, whose study is returned."""
    with opened_site(site) as stores:
        for day, stages in ((14, ("PREFIRE_MINUS", "PREFIRE_PLUS")), (15, ("STEREO_MINUS", "STEREO_PLUS"))):
            study_uid = new_uid()
            for stage in stages:
                image = make_mg(**UNIT_A, study_uid=study_uid, stage=stage, day=date(2026, 9, day))
                receive(stores, image, sender="UPRIGHT_A")
        receive(stores, make_mg(**UNIT_A, stage="STEREO_PLUS", phantom="113685", day=date(2026, 9, 1)))
        shown = new_uid()
        for view in ("399162004", "399368009"):
            views = {"ViewCodeSequence": view_code(view), "ViewPosition": ""}
            receive(stores, make_mg(serial="MG-9", study_uid=shown, day=date(2026, 8, 3), **views), sender="PACS")
    return shown


def exam_on(commands: Commands, day: str) -> str:
    return next(str(each["exam"]) for each in commands.json("exams", "list") if each["day"] == day)


def test_a_case_is_found_looked_at_confirmed_and_taken_back(mammogram: str, commands: Commands) -> None:
    exam = exam_on(commands, "2026-09-14")
    lines = commands.good("exams", "show", exam).lines
    begin = lines.index("Case            candidate")
    assert lines[begin : begin + 7] == [
        "Case            candidate",
        "Pair            complete: minus and plus image of pre-fire, by ImageType",
        "Laterality      left",
        "Calcifications  unknown: no header tells",
        "Identification  missing of 2 images: operator on 2",
        "Burned-in text  no",
        f"Still wanted    {'; '.join(commands.json('exams', 'show', exam)['as_case']['still_wanted'])}",
    ]
    assert f"proposed     mammogram  2026-08-03  left        CC, MLO       2  {mammogram}" in lines
    called = commands.good("exams", "confirm", exam, "--mammogram", mammogram, "--reason", "seen", "--by", "lee")
    assert called.out == f"exam {exam}: Upright A, room 4, 2026-08-03; counts as clinical\n"
    lines = commands.good("exams", "show", exam).lines
    assert "Case            confirmed by lee on 2026-11-23 09:00 CST: seen" in lines
    assert "Mammogram       of 2026-08-03" in lines
    assert f"linked       mammogram  2026-08-03  left        CC, MLO       2  {mammogram}" in lines
    assert [line.split()[-1] for line in lines if " confirm " in line or " link " in line] == ["seen", "seen"]
    commands.good("exams", "include", exam, "--reason", "the wrong breast")
    assert commands.json("exams", "show", exam)["as_case"]["links"] == []


def test_programs_get_the_case_with_stable_keys(mammogram: str, commands: Commands) -> None:
    exam = exam_on(commands, "2026-09-14")
    commands.good("exams", "confirm", exam, "--mammogram-date", "2026-08-01", "--reason", "seen", "--by", "lee")
    case = commands.json("exams", "show", exam)["as_case"]
    assert list(case) == [
        "state", "facts", "mammogram_day", "decision", "links", "still_wanted", "proposals", "doubts",
    ]  # fmt: skip
    assert (case["state"], case["mammogram_day"], case["links"]) == ("confirmed", "2026-08-01", [])
    assert list(case["facts"]) == [
        "images", "unreadable", "stages", "pair", "laterality", "views", "missing", "burned_in",
        "first_day", "last_day", "calcification",
    ]  # fmt: skip
    assert (case["facts"]["first_day"], case["facts"]["missing"]) == ("2026-09-14", {"operator": 2})
    (proposal,) = case["proposals"]
    assert (proposal["role"], proposal["study_uid"], proposal["views"]) == ("mammogram", mammogram, ["CC", "MLO"])
    with_none = commands.json("exams", "list", "--portion", "unclear")[0]["exam"]
    assert commands.json("exams", "show", with_none)["as_case"] is None


def test_the_list_narrows_to_what_an_exam_is_as_a_case(mammogram: str, commands: Commands) -> None:
    commands.good(
        "exams", "confirm", exam_on(commands, "2026-09-14"), "--mammogram-date", "2026-09-14", "--reason", "r"
    )
    rejected = exam_on(commands, "2026-09-15")
    called = commands.good("exams", "reject", rejected, "--reason", "a volunteer")
    assert called.out.endswith("counts toward nothing (a person rejected it: it cannot be submitted)\n")

    def found(*options: str) -> list[tuple[str, str]]:
        return [(each["day"], each["case"]) for each in commands.json("exams", "list", *options)]

    assert found("--candidate") == [("2026-09-01", "candidate")]
    assert found("--confirmed") == [("2026-09-14", "confirmed")]
    assert found("--rejected") == [("2026-09-15", "rejected")]
    assert found("--rejected", "--confirmed") == [("2026-09-15", "rejected"), ("2026-09-14", "confirmed")]
    assert ("2026-08-03", "none") in found()
    (line,) = [line for line in commands.good("exams", "list").lines if line.startswith(rejected)]
    assert line.endswith("2  no      rejected   a person rejected it: it cannot be submitted")
    assert "a person rejected it: it cannot be submitted" in commands.good("eligibility", "explain", "upright_a").out


def test_the_best_candidate_comes_first_with_the_reasons(mammogram: str, commands: Commands) -> None:
    best, other = exam_on(commands, "2026-09-14"), exam_on(commands, "2026-09-15")
    called = commands.good("exams", "candidates", "--unit", "upright_a")
    assert called.lines[:4] == [
        "Upright A, room 4: for a testing package released on 2026-11-23",
        f"  1  {best}  2026-09-14  candidate",
        "     for      complete pair: minus and plus image of pre-fire, by ImageType; a mammogram of",
        "              2026-08-03 on file (CC, MLO); 70 days old at the release",
    ]
    assert called.lines[-1] == "Look at one: dicom-node exams show ID"
    (unit,) = commands.json("exams", "candidates", "--unit", "upright_a", "--release", "2026-10-01")
    assert list(unit) == ["unit", "released_on", "release_state", "cases"]
    assert (unit["unit"], unit["released_on"], unit["release_state"]) == ("upright_a", "2026-10-01", None)
    assert [each["exam"] for each in unit["cases"]] == [best, other]
    assert list(unit["cases"][0]) == [
        "exam", "day", "admitted", "speaks_for", "speaks_against", "proposals", "state", "facts", "mammogram_day",
        "decision", "links", "still_wanted",
    ]  # fmt: skip
    assert [each["unit"] for each in commands.json("exams", "candidates")] == ["prone1", "upright_a", "upright_b"]
    assert (
        "  no exam on file that counts is young enough"
        in commands.good("exams", "candidates", "--unit", "prone1").lines
    )


def test_a_package_on_record_is_what_candidates_are_ranked_for(mammogram: str, commands: Commands) -> None:
    commands.good("release", "record", "upright_a", "--date", "2026-11-16", "--by", "lee")
    (unit,) = commands.json("exams", "candidates", "--unit", "upright_a")
    assert (unit["released_on"], unit["release_state"]) == ("2026-11-16", "recorded")


def test_a_case_that_is_none_is_told_in_a_sentence(mammogram: str, commands: Commands) -> None:
    exam = exam_on(commands, "2026-09-14")
    for words, sentence in (
        (("confirm", exam, "--reason", "r"), "a clinical case needs the day of its correlating mammogram"),
        (("confirm", exam, "--reason", "r", "--mammogram", "1.2.3"), "study '1.2.3' is not proposed as the mammogram"),
        (("reject", exam, "--reason", ""), "a decision needs a reason"),
        (("reject", "x", "--reason", "r"), "there is no exam 'x'"),
        (("candidates", "--unit", "x"), "there is no unit 'x'"),
    ):
        called = commands("exams", *words)
        assert (called.code, called.out) == (1, "")
        assert sentence in called.err
    assert commands("exams", "confirm", exam).code == 2


def test_decisions_about_cases_are_audited(mammogram: str, commands: Commands) -> None:
    exam = exam_on(commands, "2026-09-14")
    commands.good("exams", "confirm", exam, "--mammogram", mammogram, "--reason", "seen", "--by", "lee")
    commands.good("exams", "reject", exam, "--reason", "blurred", "--by", "kim")
    told = [each for each in commands.json("audit", "list") if each["event"] == "exam.decided"]
    assert sorted((each["by"], each["kind"], each["reason"]) for each in told) == [
        ("kim", "reject", "blurred"), ("lee", "confirm", "seen"), ("lee", "link", "seen"),
    ]  # fmt: skip
