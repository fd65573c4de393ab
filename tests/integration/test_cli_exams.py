"""The commands about exams, on real files and a real index."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from dicom_node.site import Stores
from tests.commands import Commands
from tests.factories import make_mg, make_rdsr, make_stereo_pair, new_uid
from tests.sites import START, derived_rows, opened_site, receive, receive_all

PRONE: dict[str, Any] = {"serial": "PT-4471", "station": "PRONE"}
EXAM_KEYS = [
    "exam", "unit", "study_uid", "portion", "rule", "day", "day_source", "flags", "stages", "attachments",
    "attribution", "candidates", "unregistered", "excluded", "counts", "primary_count", "instance_count",
    "first_received_at", "last_received_at", "reviewed_at", "why_not", "case",
]  # fmt: skip


def fill(stores: Stores) -> None:
    """Exams of every kind: counting, unknown unit, undated, mammogram."""
    pairs = (
        (make_stereo_pair(serial="UA-1002", day=date(2026, 6, 8)), "UPRIGHT_A"),
        (make_stereo_pair(serial="", station="ROOM-5", day=date(2026, 11, 18)), "ADDON_WS"),
    )
    receive_all(
        stores,
        (make_mg(**PRONE, day=date(2026, 9, 14)), "PRONE_RM2"),
        (make_mg(**PRONE, day=date(2026, 3, 2), patient_id="ACRPHANTOM1"), "PRONE_RM2"),
        *((ds, sender) for pair, sender in pairs for ds in pair),
        (make_mg(serial="UA-1002", day=date(2026, 11, 3)), "UPRIGHT_A"),
        (make_mg(**PRONE, day=None), "PRONE_RM2"),
    )


@pytest.fixture
def filled(site: Path) -> Path:
    """The facility with exams of every kind."""
    with opened_site(site) as stores:
        fill(stores)
    return site


class TestList:
    def test_newest_first_undated_last_and_no_mammograms(self, filled: Path, commands: Commands) -> None:
        lines = commands.good("exams", "list").lines
        assert lines[0].split() == ["Exam", "Day", "Unit", "Portion", "Images", "Counts", "Case", "Remark"]
        assert [line.split(maxsplit=1)[1] for line in lines[1:]] == [
            "2026-11-18  unknown    unclear        2  no                 unclear: unit not known",
            "2026-09-14  prone1     clinical       1  yes     candidate",
            "2026-06-08  upright_a  clinical       2  yes     candidate",
            "2026-03-02  prone1     phantom        1  yes     candidate",
            "-           prone1     clinical       1  no                 undated: no date",
        ]

    def test_filters_narrow_it(self, filled: Path, commands: Commands) -> None:
        def days(*options: str) -> list[str | None]:
            return [each["day"] for each in commands.json("exams", "list", *options)]

        assert days("--unit", "upright_a") == ["2026-06-08"]
        assert days("--unit", "upright_a", "--all") == ["2026-11-03", "2026-06-08"]
        assert days("--portion", "phantom") == ["2026-03-02"]
        assert days("--portion", "neither") == ["2026-11-03"]
        assert days("--since", "2026-06-08", "--until", "2026-09-14") == ["2026-09-14", "2026-06-08"]

    def test_programs_get_stable_keys(self, filled: Path, commands: Commands) -> None:
        found = commands.json("exams", "list")
        assert [list(each) for each in found] == [EXAM_KEYS] * 5
        unknown, prone = found[:2]
        assert (unknown["unit"], unknown["candidates"], unknown["counts"]) == (None, ["upright_a", "upright_b"], False)
        assert (prone["unit"], prone["counts"], prone["why_not"]) == ("prone1", True, "")
        assert prone["first_received_at"] == "2026-11-23T15:00:00Z"

    def test_wrong_words_are_told_in_a_sentence(self, filled: Path, commands: Commands) -> None:
        called = commands("exams", "list", "--unit", "upright_c")
        assert called.code == 1
        assert called.err == ("error: there is no unit 'upright_c'; the units are prone1, upright_a, upright_b\n")
        assert commands("exams", "list", "--since", "8.6.2026").code == 2
        assert "error: there is no exam 'x'" in commands("exams", "show", "x").err


class TestShow:
    def test_one_exam_with_what_everything_rests_on(self, filled: Path, commands: Commands) -> None:
        (exam,) = commands.json("exams", "list", "--unit", "upright_a")
        lines = commands.good("exams", "show", exam["exam"]).lines
        assert lines[:6] == [
            f"Exam        {exam['exam']}",
            "Unit        upright_a (Upright A, room 4): device serial UA-1002",
            "Day         2026-06-08 from AcquisitionDate",
            "Portion     clinical: biopsy stage in ImageType",
            "Counts      yes",
            "Stages      stereo-pair",
        ]
        assert "2  primary  stereo-pair  clinical: biopsy stage in ImageType" in " ".join(lines)

    def test_programs_get_every_instance_and_decision(self, filled: Path, commands: Commands) -> None:
        (exam,) = commands.json("exams", "list", "--unit", "upright_a")
        commands.good("exams", "exclude", exam["exam"], "--reason", "a test", "--by", "physicist")
        shown = commands.json("exams", "show", exam["exam"])
        assert list(shown) == [*EXAM_KEYS, "instances", "decisions", "as_case"]
        assert [each["calling_ae"] for each in shown["instances"]] == ["UPRIGHT_A"] * 2
        assert shown["instances"][0]["day_candidates"][0] == ["AcquisitionDate", "2026-06-08"]
        (decision,) = shown["decisions"]
        assert (decision["kind"], decision["reason"], decision["decided_by"]) == ("exclude", "a test", "physicist")


class TestDecisions:
    def test_an_exam_given_to_a_unit_counts_there(self, filled: Path, commands: Commands) -> None:
        (waiting,) = commands.json("unattributed", "list")
        called = commands.good(
            "exams", "attribute", waiting["exam"], "--unit", "upright_b", "--reason", "seen on the worklist"
        )
        (exam,) = commands.json("exams", "list", "--unit", "upright_b")
        assert called.out == f"exam {exam['exam']}: Upright B, room 5, 2026-11-18; counts as clinical\n"
        assert (exam["counts"], exam["attribution"], exam["attachments"]) == (True, "a person assigned it", ["addon1"])
        assert commands.json("unattributed", "list") == []
        assert commands.json("status", "--unit", "upright_b")["units"][0]["portions"][0]["exam"] == exam["exam"]

    def test_unattributed_resolve_is_the_same(self, filled: Path, commands: Commands) -> None:
        (waiting,) = commands.json("unattributed", "list")
        commands.good("unattributed", "resolve", waiting["exam"], "--unit", "upright_b", "--reason", "r", "--by", "me")
        (exam,) = commands.json("exams", "list", "--unit", "upright_b")
        assert commands.json("exams", "show", exam["exam"])["decisions"][0]["decided_by"] == "me"

    def test_classify_exclude_and_include_and_back_again(self, filled: Path, commands: Commands) -> None:
        (exam,) = commands.json("exams", "list", "--unit", "upright_a")

        def decide(*words: str) -> dict[str, Any]:
            commands.good("exams", words[0], exam["exam"], *words[1:], "--reason", "because")
            (found,) = commands.json("exams", "list", "--unit", "upright_a")
            return {key: found[key] for key in ("portion", "counts", "why_not")}

        assert decide("classify", "--portion", "phantom") == {"portion": "phantom", "counts": True, "why_not": ""}
        assert decide("exclude") == {"portion": "phantom", "counts": False, "why_not": "a person excluded it"}
        assert decide("include") == {"portion": "phantom", "counts": True, "why_not": ""}
        assert decide("classify", "--portion", "derived") == {"portion": "clinical", "counts": True, "why_not": ""}
        table = commands.good("exams", "show", exam["exam"]).out
        assert all(f"{word} " in table for word in ("classify phantom", "exclude", "include"))

    def test_who_decides_is_the_login_name_unless_told(
        self, filled: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("SUDO_USER", raising=False)
        monkeypatch.setenv("LOGNAME", "technologist")
        (exam,) = commands.json("exams", "list", "--unit", "upright_a")
        commands.good("exams", "exclude", exam["exam"], "--reason", "r")
        monkeypatch.setenv("SUDO_USER", "lead")
        commands.good("exams", "include", exam["exam"], "--reason", "r")
        decided = commands.json("exams", "show", exam["exam"])["decisions"]
        assert [each["decided_by"] for each in decided] == ["technologist", "lead"]

    def test_what_cannot_be_decided_is_told_and_leaves_no_trace(self, filled: Path, commands: Commands) -> None:
        (exam,) = commands.json("exams", "list", "--unit", "upright_a")
        for words, code, told in (
            (("attribute", exam["exam"], "--unit", "nowhere", "--reason", "r"), 1, "there is no unit 'nowhere'"),
            (("attribute", "nothing", "--unit", "upright_b", "--reason", "r"), 1, "there is no exam 'nothing'"),
            (("exclude", exam["exam"], "--reason", "  "), 1, "a decision needs a reason"),
            (("exclude", exam["exam"]), 2, "Missing option '--reason'"),
            (("classify", exam["exam"], "--portion", "both", "--reason", "r"), 2, "'both' is not one of"),
            (("conflict", "1.2.3", "--keep", "first", "--reason", "r"), 1, "no other content is kept"),
        ):
            called = commands("exams", *words)
            assert (called.code, called.out) == (code, "")
            assert told in called.err
        assert commands.json("exams", "show", exam["exam"])["decisions"] == []

    def test_an_object_that_is_gone_keeps_a_decision_from_being_half_made(
        self, filled: Path, commands: Commands
    ) -> None:
        (waiting,) = commands.json("unattributed", "list")
        instances = commands.json("exams", "show", waiting["exam"])["instances"]
        next((filled.parent / "data").rglob(f"{instances[0]['digest']}.dcm")).unlink()
        called = commands("exams", "attribute", waiting["exam"], "--unit", "upright_b", "--reason", "r")
        assert (called.code, "is missing from the archive" in called.err) == (75, True)
        assert commands.json("exams", "show", waiting["exam"])["decisions"] == []
        assert not (filled.parent / "data" / "journal" / "journal.jsonl").exists()
        (again,) = commands.json("unattributed", "list")
        assert again["near_misses"] == [f"object {instances[0]['digest']} is missing from the archive"]


class TestConflicts:
    @pytest.fixture
    def uid(self, site: Path) -> str:
        """An instance that came twice with different content."""
        uids = {name: new_uid() for name in ("study_uid", "series_uid", "sop_instance_uid")}
        with opened_site(site) as stores:
            for day, name in ((20, "SYNTH^PATIENT"), (21, "SYNTH^OTHER")):
                ds = make_mg(**PRONE, day=date(2026, 9, day), patient_name=name, **uids)
                receive(stores, ds, at=START + timedelta(seconds=day))
        return uids["sop_instance_uid"]

    def test_a_conflict_is_listed_without_a_patients_name(self, uid: str, commands: Commands) -> None:
        lines = commands.good("exams", "conflicts").lines
        assert lines[0] == uid
        assert lines[1] == "  differs in: AcquisitionDate, ContentDate, PatientName, SeriesDate, StudyDate"
        assert lines[2].endswith("; served")
        assert lines[3].endswith("; kept aside")
        (found,) = commands.json("exams", "conflicts")
        assert list(found) == ["sop_instance_uid", "contents", "waits", "differs_in"]
        assert [each["served"] for each in found["contents"]] == [True, False]

    def test_the_other_content_can_be_served(self, uid: str, commands: Commands) -> None:
        (found,) = commands.json("exams", "conflicts")
        other = found["contents"][1]["digest"]
        called = commands.good("exams", "conflict", uid, "--keep", other[:8], "--reason", "the PACS put it right")
        assert called.out == f"{uid}: {other[:12]} is served\n"
        (exam,) = commands.json("exams", "list")
        assert exam["day"] == "2026-09-21"
        assert commands.good("exams", "conflicts").out == "No instance waits for a decision.\n"
        assert "the PACS put it right" in commands.good("exams", "conflicts", "--all").out
        assert commands.json("status")["conflicts"] == 0

    def test_the_first_can_be_kept(self, uid: str, commands: Commands) -> None:
        commands.good("exams", "conflict", uid, "--keep", "first", "--reason", "the PACS broke it")
        (exam,) = commands.json("exams", "list")
        assert exam["day"] == "2026-09-20"
        (found,) = commands.json("exams", "conflicts", "--all")
        assert not found["waits"]

    def test_an_object_that_is_gone_does_not_hide_the_conflict(self, uid: str, site: Path, commands: Commands) -> None:
        (found,) = commands.json("exams", "conflicts")
        next((site.parent / "data").rglob(f"{found['contents'][1]['digest']}.dcm")).unlink()
        assert "differs in: nobody can tell" in commands.good("exams", "conflicts").out
        assert commands.json("exams", "conflicts")[0]["differs_in"] is None


class TestUnattributed:
    def test_the_doubt_the_candidates_and_what_came_near(self, filled: Path, commands: Commands) -> None:
        (found,) = commands.json("unattributed", "list")
        assert commands.good("unattributed", "list").lines == [
            f"{found['exam']}  2026-11-18, 2 images from ADDON_WS, received 2026-11-23 09:00 CST",
            f"  Doubt     {found['doubt']}",
            "  Could be  upright_a, upright_b",
            "  Closest   addon1 tells the unit by StationName (UPR-A, UPR-B); the images have ROOM-5",
            "Decide: dicom-node unattributed resolve ID --unit UNIT --reason TEXT",
        ]
        assert found["doubt"].startswith("addon1 is assigned to 2 units and nothing says which")
        assert list(found) == [*EXAM_KEYS, "senders", "doubt", "near_misses"]
        assert found["near_misses"][1] == (
            "rule room five would say upright_b, but it wants InstitutionName to be Synthetic Annex; "
            "the images have Synthetic Clinic"
        )

    def test_what_is_too_old_to_count_is_left_out(self, site: Path, commands: Commands) -> None:
        with opened_site(site) as stores:
            for ds in make_stereo_pair(serial="", station="X", day=date(2020, 1, 2)):
                receive(stores, ds, sender="ADDON_WS")
        assert commands.good("unattributed", "list").out == "No exam waits to be told its unit.\n"
        assert [each["day"] for each in commands.json("unattributed", "list", "--all")] == ["2020-01-02"]


def test_what_a_peer_wrote_cannot_steer_the_terminal(site: Path, commands: Commands) -> None:
    device = {"serial": "\x1b[2JX", "station": "\x1b]0;Y\x07"}
    with opened_site(site) as stores:
        receive(stores, make_mg(**device, stage="SCOUT", day=date(2026, 11, 1)), sender="ADDON_WS")
    (found,) = commands.json("unattributed", "list")
    for words in (["unattributed", "list"], ["exams", "list"], ["exams", "show", found["exam"]], ["status"]):
        assert not {"\x1b", "\x07"} & set(commands.good(*words).out)


def test_a_report_without_images_is_no_exam(site: Path, commands: Commands) -> None:
    with opened_site(site) as stores:
        receive(stores, make_rdsr(**PRONE))
        assert len(derived_rows(stores.index)["instance"]) == 1
    assert json.loads(commands.good("exams", "list", "--json").out) == []


def test_the_exams_of_a_unit_that_is_no_longer_configured_are_listed(filled: Path, commands: Commands) -> None:
    filled.write_text(
        filled.read_text().replace("[units.prone1]", "[units.prone2]").replace("[[units.prone1.", "[[units.prone2.")
    )
    assert len(commands.json("exams", "list", "--unit", "prone1")) == 3
