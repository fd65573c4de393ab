"""Testing packages and the arithmetic behind a standing, by their commands."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine

from dicom_node.services.review import is_review_wanted
from tests.commands import Commands
from tests.factories import make_mg
from tests.sites import opened_site, receive_all

OWN_POLICY = """
[[accreditation.policies]]
id = "ours"
program = "ACR Stereotactic Breast Biopsy"
article = "Letter to this facility"
revision = 2026-10-01
address = "file in the physics office"
months = { clinical = 3, phantom = 3 }
"""
OVERRIDE = """
[[accreditation.overrides]]
policy = "acr-sbb-2026-01-14"
from = 2027-05-01
to = 2027-06-30
months = { clinical = 12, phantom = 14 }
article = "Letter to this facility"
revision = 2026-10-01
address = "file in the physics office"
"""
PRONE: dict[str, Any] = {"serial": "PT-4471", "station": "PRONE"}


@pytest.fixture
def filled(site: Path) -> Path:
    """A prone table with exams of three days, one of them on the last day that counts today."""
    with opened_site(site) as stores:
        days = (date(2026, 5, 22), date(2026, 5, 23), date(2026, 9, 14), None)
        receive_all(stores, *((make_mg(**PRONE, day=day), "PRONE_RM2") for day in days))
    return site


def record(commands: Commands, *words: str) -> str:
    """Record a package and return its id."""
    return commands.good("release", "record", *words).out.split(":")[0]


class TestRelease:
    def test_a_package_is_recorded_amended_closed_and_every_version_kept(
        self, filled: Path, commands: Commands
    ) -> None:
        of_id = record(commands, "prone1", "--date", "2026-11-20", "--by", "admin", "--note", "by mail")
        called = commands.good("release", "amend", of_id, "--due", "2027-01-04", "--by", "lead")
        assert called.lines == [
            f"{of_id}: testing package of prone1, 2026-11-20, due on 2027-01-04: recorded",
            "What it means: dicom-node eligibility explain prone1",
        ]
        commands.good("release", "amend", of_id, "--state", "submitted")
        (now,) = commands.json("release", "list")
        assert list(now) == [
            "id", "version", "unit", "released_on", "due_on", "state", "note", "cycle", "changed_by", "changed_at",
        ]  # fmt: skip
        assert (now["version"], now["state"], now["due_on"]) == (3, "submitted", "2027-01-04")
        commands.good("release", "close", of_id, "--note", "passed")
        versions = commands.json("release", "list", "--history")
        assert [(each["version"], each["state"]) for each in versions] == [
            (4, "closed"),
            (3, "submitted"),
            (2, "recorded"),
            (1, "recorded"),
        ]
        assert (versions[3]["changed_by"], versions[3]["note"]) == ("admin", "by mail")
        assert commands("release", "amend", of_id, "--due", "2027-02-01").err == (
            f"error: testing package {of_id} is closed; record a new one\n"
        )

    def test_no_plan_hides_a_package_that_is_still_open(self, filled: Path, commands: Commands) -> None:
        of_id = record(commands, "prone1", "--date", "2026-11-20")
        called = commands("release", "record", "prone1", "--date", "2027-02-01", "--planned")
        assert (called.code, f"{of_id} of 2026-11-20 is still open" in called.err) == (1, True)
        commands.good("release", "amend", of_id, "--state", "passed")
        record(commands, "prone1", "--date", "2027-02-01", "--planned")

    def test_a_slip_of_the_pen_is_no_release_date(self, filled: Path, commands: Commands) -> None:
        called = commands("release", "record", "prone1", "--date", "2062-11-20", "--planned")
        assert (called.code, "not plausible" in called.err) == (1, True)

    def test_it_fixes_the_window_and_has_the_node_review(self, filled: Path, commands: Commands) -> None:
        record(commands, "prone1", "--date", "2026-11-20")
        portions = commands.json("status", "--unit", "prone1")["units"][0]["portions"]
        assert [each["state"] for each in portions] == ["secured", "short", "short"]
        with opened_site(filled) as stores, stores.index.read() as conn:
            assert is_review_wanted(conn)

    def test_packages_are_listed_newest_first_of_all_units_or_one(self, site: Path, commands: Commands) -> None:
        for unit, day in (("prone1", "2026-10-01"), ("upright_a", "2026-11-01")):
            record(commands, unit, "--date", day)
        table = commands.good("release", "list").lines
        assert [line.split()[1:4] for line in table] == [
            ["Unit", "Released", "Due"],
            ["upright_a", "2026-11-01", "-"],
            ["prone1", "2026-10-01", "-"],
        ]
        assert [each["unit"] for each in commands.json("release", "list", "--unit", "prone1")] == ["prone1"]

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (("record", "nowhere", "--date", "2026-11-20"), 1, "there is no unit 'nowhere'"),
            (("record", "prone1", "--date", "2026-12-24"), 1, "in the future: record the package as planned"),
            (("record", "prone1", "--date", "2026-11-01", "--planned"), 1, "is past"),
            (("record", "prone1", "--date", "2026-11-01", "--due", "2026-10-01"), 1, "due before it is released"),
            (("record", "prone1", "--date", "20.11.2026"), 2, "is no day; write YYYY-MM-DD"),
            (("record", "prone1"), 2, "Missing option '--date'"),
            (("amend", "r123", "--due", "2027-01-04"), 1, "there is no testing package 'r123'"),
            (("amend", "r123"), 2, "nothing to change"),
            (("amend", "r123", "--state", "closed"), 2, "'closed' is not one of"),
            (("close", "r123"), 1, "there is no testing package 'r123'"),
            (("list", "--unit", "nowhere"), 1, "there is no unit 'nowhere'"),
        ],
    )
    def test_what_does_not_fit_is_told(
        self, site: Path, commands: Commands, words: tuple[str, ...], code: int, told: str
    ) -> None:
        called = commands("release", *words)
        assert (called.code, called.out, told in called.err) == (code, "", True), called.err
        assert commands.json("release", "list") == []

    def test_the_same_package_twice_is_told(self, site: Path, commands: Commands) -> None:
        record(commands, "prone1", "--date", "2026-11-20")
        assert "is recorded already" in commands("release", "record", "prone1", "--date", "2026-11-20").err


class TestExplain:
    def test_every_exam_has_its_reason(self, filled: Path, commands: Commands) -> None:
        (told,) = commands.json("eligibility", "explain", "prone1", "--portion", "clinical")
        assert [(each["day"], each["counts"]) for each in told["exams"]] == [
            ("2026-09-14", True),
            ("2026-05-23", True),
            ("2026-05-22", False),
            (None, False),
        ]
        assert told["exams"][1]["why"].endswith("; a newer exam decides")
        assert told["exams"][2]["why"] == (
            "2026-05-22 is before 2026-05-23, the first day that a package released today admits"
        )
        assert (told["unit"], told["portion"], told["state"], told["days_left"]) == ("prone1", "clinical", "ok", 111)

    def test_people_read_sentences_and_a_table(self, filled: Path, commands: Commands) -> None:
        lines = commands.good("eligibility", "explain", "prone1").lines
        assert lines[0] == "Prone table, room 2, clinical, on 2026-11-23: ok"
        text = " ".join(line.strip() for line in lines)
        assert "2026-09-14 plus 6 calendar months is 2027-03-14" in text
        assert "Prone table, room 2, phantom, on 2026-11-23: missing" in lines
        sentences = lines[1 : next(number for number, line in enumerate(lines) if line.startswith("  Exam "))]
        assert max(map(len, sentences)) <= 100

    def test_any_day_and_any_release_can_be_asked_about(self, filled: Path, commands: Commands) -> None:
        (told,) = commands.json("eligibility", "explain", "prone1", "--portion", "clinical", "--on", "2026-06-01")
        assert (told["today"], told["days_left"]) == ("2026-06-01", 175)
        assert told["exams"][0]["why"] == "it is dated after 2026-06-01"
        release = ("--portion", "clinical", "--release", "2027-03-15")
        (told,) = commands.json("eligibility", "explain", "prone1", *release)
        assert told["asked_release"] == "2027-03-15"
        assert not any(each["counts"] for each in told["exams"])
        assert "no clinical exam on file would count" in told["sentences"][-1]

    def test_what_a_person_decided_is_a_reason(self, filled: Path, commands: Commands) -> None:
        newest = commands.json("exams", "list")[0]["exam"]
        commands.good("exams", "exclude", newest, "--reason", "a repeat for training")
        (told,) = commands.json("eligibility", "explain", "prone1", "--portion", "clinical")
        assert (told["exams"][0]["counts"], told["exams"][0]["why"]) == (False, "a person excluded it")
        assert told["days_left"] == 0

    def test_a_long_history_is_cut_for_people_alone(self, site: Path, commands: Commands) -> None:
        with opened_site(site) as stores:
            receive_all(stores, *((make_mg(**PRONE, day=date(2026, 9, day)), "PRONE_RM2") for day in range(1, 26)))
        words = ("eligibility", "explain", "prone1", "--portion", "clinical")
        assert commands.good(*words).lines[-1] == "  and 5 more: dicom-node exams list --unit prone1"
        assert len(commands.json(*words)[0]["exams"]) == 25

    def test_an_unknown_unit_is_told(self, site: Path, commands: Commands) -> None:
        called = commands("eligibility", "explain", "nowhere")
        assert (called.code, "there is no unit 'nowhere'" in called.err) == (1, True)

    def test_any_policy_can_be_asked_about(self, filled: Path, commands: Commands) -> None:
        words = ("eligibility", "explain", "prone1", "--portion", "phantom", "--policy")
        (told,) = commands.json(*words, "acr-sbb-2026-01-14")
        assert told["policy_id"] == "acr-sbb-2026-01-14"
        assert told["sentences"][0].startswith("Rule acr-sbb-2026-01-14: phantom exams count when performed within 14 ")
        assert commands.json(*words, "latest")[0]["policy_id"] == "acr-sbb-2026-01-14"
        config = filled.read_text("utf-8")
        filled.write_text(config + OWN_POLICY, "utf-8")
        (told,) = commands.json("eligibility", "explain", "prone1", "--portion", "clinical", "--policy", "ours")
        assert [each["counts"] for each in told["exams"]] == [True, False, False, False]
        assert "minus 3 calendar months is 2026-08-23" in " ".join(told["sentences"])

    def test_a_policy_is_asked_about_with_its_overrides(self, filled: Path, commands: Commands) -> None:
        filled.write_text(filled.read_text("utf-8") + OVERRIDE, "utf-8")
        words = ("eligibility", "plan", "--unit", "prone1", "--policy", "acr-sbb-2026-01-14", "--release")
        for release, need in (("2027-04-30", "by"), ("2027-05-01", "no"), ("2027-06-30", "no"), ("2027-07-01", "by")):
            (clinical, _, _) = commands.json(*words, release)["units"][0]["portions"]
            assert clinical["need"] == need, release

    @pytest.mark.parametrize("words", [("explain", "prone1"), ("plan",)])
    def test_an_unknown_policy_is_told(self, site: Path, commands: Commands, words: tuple[str, ...]) -> None:
        called = commands("eligibility", *words, "--policy", "acr")
        assert (called.code, called.out) == (1, "")
        assert called.err.startswith("error: there is no policy 'acr'; known are latest, acr-sbb-2023-03-03, ")

    @pytest.mark.parametrize("words", [("--release", "9999-12-31"), ("--on", "0001-02-03")])
    def test_a_day_at_an_end_of_the_calendar_is_told(
        self, filled: Path, commands: Commands, words: tuple[str, ...]
    ) -> None:
        called = commands("eligibility", "explain", "prone1", *words)
        assert (called.code, "the calendar ends at year 9999" in called.err) == (1, True)


class TestPlan:
    def test_programs_read_exams_needs_and_fifteen_months(self, filled: Path, commands: Commands) -> None:
        told = commands.json("eligibility", "plan", "--unit", "prone1", "--release", "2027-03-14")
        assert list(told) == ["policy_id", "today", "until", "asked_release", "units", "calendar"]
        assert (told["policy_id"], told["today"], told["until"]) == ("acr-sbb-2023-03-03", "2026-11-23", "2028-01-23")
        ((unit,), months) = (told["units"], told["calendar"])
        (clinical, phantom, physicist) = unit["portions"]
        assert (unit["unit"], unit["label"]) == ("prone1", "Prone table, room 2")
        assert list(clinical) == [
            "unit", "portion", "state", "release", "release_state", "window_first", "window_last", "counting", "newest",
            "counts_until", "last_release", "need", "needed_by", "needed_from", "enrolment", "left_out",
        ]  # fmt: skip
        assert [(each["day"], each["ambiguous"]) for each in clinical["counting"]] == [("2026-09-14", False)]
        assert (clinical["need"], clinical["needed_by"], clinical["counts_until"]) == ("no", None, "2027-03-14")
        assert (phantom["need"], phantom["needed_by"], phantom["needed_from"]) == ("by", "2027-03-14", "2026-11-23")
        assert (physicist["need"], physicist["needed_by"], physicist["newest"]) == ("by", "2027-03-14", None)
        assert [each["month"] for each in months] == [
            *("2026-11", "2026-12"),
            *(f"2027-{month:02}" for month in range(1, 13)),
            "2028-01",
        ]
        (march,) = (each["events"] for each in months if each["month"] == "2027-03")
        assert [(each["kind"], each["day"]) for each in march] == [
            ("last_day", "2027-03-14"),
            ("planned_release", "2027-03-14"),
            ("stops", "2027-03-15"),
        ]
        assert list(march[0]) == ["day", "until", "unit", "portion", "kind", "words"]

    def test_people_read_it_on_eighty_columns(self, filled: Path, commands: Commands) -> None:
        record(commands, "upright_a", "--date", "2026-11-20", "--due", "2027-01-04")
        record(commands, "upright_b", "--date", "2027-08-31", "--planned")
        lines = commands.good("eligibility", "plan").lines
        assert max(map(len, lines)) <= 80
        assert [line.split() for line in lines if line.startswith(("Unit", "prone1", "upright", "     "))][:10] == [
            ["Unit", "Portion", "Release", "Count", "Count", "until", "New", "exam"],
            ["prone1", "clinical", "-", "2", "2027-03-14", "by", "2027-03-14"],
            ["phantom", "-", "0", "-", "now"],
            ["physicist", "report", "-", "0", "-", "now"],
            ["upright_a", "clinical", "2026-11-20", "0", "-", "by", "2027-01-04"],
            ["phantom", "2026-11-20", "0", "-", "by", "2027-01-04"],
            ["physicist", "report", "2026-11-20", "0", "-", "by", "2027-01-04"],
            ["upright_b", "clinical", "2027-08-31", "0", "-", "by", "2027-08-31"],
            ["phantom", "2027-08-31", "0", "-", "by", "2027-08-31"],
            ["physicist", "report", "2027-08-31", "0", "-", "by", "2027-08-31"],
        ]
        calendar = lines[lines.index("The next 14 months, to 2028-01-23:") + 1 :]
        assert calendar[0] == "2026-11  -"
        text = " ".join(line.strip() for line in calendar)
        for said in (
            "Mon 04  upright_a: due date of the package of 2026-11-20: a clinical exam and a phantom exam and a",
            "Mon 01  upright_b: from here on a new clinical exam counts for the package planned for 2027-08-31",
            "Sun 14  prone1: last day on which the clinical exam of 2026-09-14 counts",
            "Mon 15  prone1: the clinical exam of 2026-09-14 no longer counts, and no other does",
        ):
            assert said in text

    def test_days_that_nobody_should_rely_on_are_marked(self, site: Path, commands: Commands) -> None:
        with opened_site(site) as stores:
            receive_all(stores, (make_mg(**PRONE, day=date(2026, 9, 30)), "PRONE_RM2"))
        lines = commands.good("eligibility", "plan", "--unit", "prone1").lines
        assert "2027-03-30 ?" in next(line for line in lines if line.startswith("prone1"))
        assert any(line.startswith("?: by the rule it counts a little longer") for line in lines)
        assert any(line.startswith("  Wed 31  prone1: ? do not rely on") for line in lines)

    def test_what_is_over_is_shown_as_what_it_is_and_the_next_may_be_asked_about(
        self, filled: Path, commands: Commands
    ) -> None:
        of_id = record(commands, "prone1", "--date", "2026-11-20")
        commands.good("release", "amend", of_id, "--state", "passed")
        words = ("eligibility", "plan", "--unit", "prone1")
        assert next(line for line in commands.good(*words).lines if line.startswith("prone1")).split()[2:] == [
            "2026-11-20", "3", "-", "passed",
        ]  # fmt: skip
        assert not any(each["events"] for each in commands.json(*words)["calendar"])
        (clinical, _, _) = commands.json(*words, "--release", "2027-03-20")["units"][0]["portions"]
        assert (clinical["release"], clinical["need"], clinical["needed_by"]) == ("2027-03-20", "by", "2027-03-20")

    def test_another_policy_gives_another_plan(self, filled: Path, commands: Commands) -> None:
        filled.write_text(filled.read_text("utf-8") + OWN_POLICY, "utf-8")
        told = commands.json("eligibility", "plan", "--unit", "prone1", "--policy", "ours")
        (clinical, _, _) = told["units"][0]["portions"]
        assert (told["policy_id"], clinical["counts_until"], len(clinical["counting"])) == ("ours", "2026-12-14", 1)

    def test_a_plan_that_is_past_is_told(self, filled: Path, commands: Commands) -> None:
        record(commands, "prone1", "--date", "2026-12-01", "--planned")
        with time_machine.travel(datetime(2026, 12, 2, 15, tzinfo=UTC)):
            lines = commands.good("eligibility", "plan", "--unit", "prone1").lines
        assert any(line.startswith("! prone1: the release planned for 2026-12-01 is past.") for line in lines)

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (("--unit", "nowhere"), 1, "there is no unit 'nowhere'"),
            (("--release", "2026-11-22"), 2, "2026-11-22 is past; a plan looks ahead from 2026-11-23"),
            (("--release", "9999-12-01"), 1, "the calendar ends at year 9999"),
        ],
    )
    def test_what_does_not_fit_is_told(
        self, site: Path, commands: Commands, words: tuple[str, ...], code: int, told: str
    ) -> None:
        called = commands("eligibility", "plan", *words)
        assert (called.code, called.out, told in called.err) == (code, "", True), called.err
