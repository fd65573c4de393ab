"""Physicists' surveys and technologists' logs, by their commands."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import EncapsulatedCDAStorage

from dicom_node.cli.app import FAILED, USAGE
from tests.commands import Commands
from tests.factories import make_document, make_mg
from tests.sites import opened_site, receive_all, write_site

PRONE: dict[str, Any] = {"serial": "PT-4471", "station": "PRONE"}


def physicist(commands: Commands, unit: str = "prone1") -> Any:
    """Return the third portion of a unit as ``status`` has it."""
    return commands.json("status", "--unit", unit)["units"][0]["portions"][2]


def record(commands: Commands, *words: str) -> str:
    """Record a survey and return its id."""
    return commands.good("surveys", "record", *words).out.split(":")[0]


class TestSurveys:
    def test_what_is_recorded_counts_and_every_version_is_kept(self, site: Path, commands: Commands) -> None:
        assert physicist(commands)["state"] == "missing"
        called = commands.good("surveys", "record", "prone1", "--date", "2025-12-15", "--by", "lee", "--note", "yearly")
        of_id = called.out.split(":")[0]
        assert called.lines == [
            f"{of_id}: physicist survey of prone1, performed on 2025-12-15: recorded by a person",
            "What it means: dicom-node eligibility explain prone1 --portion physicist",
        ]
        now = physicist(commands)
        assert (now["exam"], now["exam_day"], now["state"]) == (of_id, "2025-12-15", "ok")
        assert (now["counts_until"], now["cutoff"]) == ("2027-02-15", "2027-02-15")
        commands.good("surveys", "amend", of_id, "--date", "2025-12-16", "--note", "a slip", "--by", "kim")
        assert physicist(commands)["counts_until"] == "2027-02-16"
        commands.good("surveys", "withdraw", of_id, "--reason", "of another unit")
        assert physicist(commands)["state"] == "missing"
        told = commands.json("surveys", "list", "--history")
        assert told["proposed"] == []
        assert list(told["surveys"][0]) == [
            "id", "unit", "day", "source", "withdrawn", "version", "note", "changed_by", "changed_at",
        ]  # fmt: skip
        assert [(each["day"], each["withdrawn"], each["note"]) for each in told["surveys"]] == [
            ("2025-12-16", True, "of another unit"),
            ("2025-12-16", False, "a slip"),
            ("2025-12-15", False, "yearly"),
        ]
        assert commands.good("surveys", "list").lines[1].split()[:4] == [of_id, "prone1", "2025-12-16", "withdrawn"]
        kept = [each for each in commands.json("audit", "list") if each["event"] == "entry.kept"]
        assert [(each["by"], each["kind"], each["entry"], each["version"]) for each in kept[:2]] == [
            ("lee", "survey", of_id, 1),
            ("kim", "survey", of_id, 2),
        ]

    def test_the_arithmetic_names_the_survey_and_its_source(self, site: Path, commands: Commands) -> None:
        first, second = (record(commands, "prone1", "--date", day) for day in ("2024-11-04", "2025-12-15"))
        commands.good("surveys", "withdraw", first, "--reason", "never took place")
        (told,) = commands.json("eligibility", "explain", "prone1", "--portion", "physicist")
        assert told["sentences"][0] == (
            "Rule acr-sbb-2023-03-03: physicist surveys count when performed within 14 calendar months of the day the "
            "link to the testing package was released (ACR Stereotactic Breast Biopsy Accreditation Program, Quality "
            "Control: Stereotactic Breast Biopsy, revised 2022-12-06)."
        )
        text = " ".join(told["sentences"])
        assert (
            "The newest physicist survey is of 2025-12-15 (recorded by a person): 2025-12-15 plus 14 calendar" in text
        )
        assert [(each["exam_id"], each["counts"], each["why"]) for each in told["exams"]] == [
            (
                second,
                True,
                "2025-12-15 is within 2025-09-23 to 2028-01-23, the days that a package released today admits",
            ),
            (first, False, "a person withdrew it"),
        ]
        events = [each for month in commands.json("eligibility", "plan", "--unit", "prone1")["calendar"]
                  for each in month["events"]]  # fmt: skip
        assert [(each["kind"], each["day"], each["words"]) for each in events] == [
            (
                "last_day",
                "2027-02-15",
                "last day on which the physicist survey of 2025-12-15 counts; have a new one by then",
            ),
            ("stops", "2027-02-16", "the physicist survey of 2025-12-15 no longer counts, and no other does"),
        ]

    def test_a_package_asks_for_a_survey_and_the_alert_says_what_to_do(self, site: Path, commands: Commands) -> None:
        commands.good("release", "record", "prone1", "--date", "2026-11-20", "--due", "2027-01-04")
        concerns = {each["portion"]: each for each in commands.json("status", "--unit", "prone1")["concerns"]}
        short = concerns["physicist"]
        assert short["headline"] == "no physicist survey for the package of 2026-11-20, due in 42 days (2027-01-04)"
        assert short["do"][0] == {
            "sentence": "Have a medical physicist survey Prone table, room 2 on or before 2027-01-04, then record the "
            "day:",
            "command": "dicom-node surveys record prone1 --date YYYY-MM-DD",
        }
        record(commands, "prone1", "--date", "2025-12-15")
        assert physicist(commands)["state"] == "secured"
        assert "physicist" not in {each["portion"] for each in commands.json("status", "--unit", "prone1")["concerns"]}

    def test_a_survey_that_ends_is_reminded_of_by_the_ladder_of_its_own(self, site: Path, commands: Commands) -> None:
        write_site(site.parent, more="[accreditation.remind]\nphysicist = [90, 10]\n")
        record(commands, "prone1", "--date", "2025-12-15")
        assert "physicist survey stops" not in commands.good("alerts", "preview", "--on", "2026-11-16").out
        told = " ".join(commands.good("alerts", "preview", "--on", "2026-11-17").out.split())
        assert "Prone table, room 2: physicist survey stops counting in 90 days (2027-02-15)" in told
        assert "The newest physicist survey on file, of 2025-12-15, counts for a testing package released" in told
        assert (
            "Have a medical physicist survey Prone table, room 2 on or before 2027-02-15, then record the day" in told
        )
        assert "Perform and send" not in told

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (("record", "nowhere", "--date", "2026-01-05"), FAILED, "there is no unit 'nowhere'"),
            (("record", "prone1", "--date", "2026-11-24"), FAILED, "2026-11-24 is in the future"),
            (("record", "prone1", "--date", "2023-12-31"), FAILED, "before prone1 was installed, on 2024-01-01"),
            (("record", "upright_a", "--date", "0001-01-01"), FAILED, "0001-01-01 is not plausible"),
            (("record", "prone1"), USAGE, "Missing option '--date'"),
            (("amend", "s1", "--date", "2026-01-05"), FAILED, "there is no survey 's1'"),
            (("amend", "s1"), USAGE, "nothing to change"),
            (("withdraw", "s1", "--reason", "x"), FAILED, "there is no survey 's1'"),
            (("confirm", "1.2.3"), FAILED, "there is no encapsulated document '1.2.3' of a known unit"),
            (("dismiss", "1.2.3", "--reason", "x"), FAILED, "there is no encapsulated document '1.2.3'"),
            (("list", "--unit", "nowhere"), FAILED, "there is no unit 'nowhere'"),
        ],
    )
    def test_what_does_not_fit_is_told(
        self, site: Path, commands: Commands, words: tuple[str, ...], code: int, told: str
    ) -> None:
        config = site.read_text("utf-8").replace('kind = "prone"', 'kind = "prone"\ninstalled_on = 2024-01-01')
        site.write_text(config, "utf-8")
        called = commands("surveys", *words)
        assert (called.code, called.out, told in called.err) == (code, "", True), called.err

    def test_one_day_is_recorded_once_and_a_withdrawn_survey_is_not_amended(
        self, site: Path, commands: Commands
    ) -> None:
        of_id = record(commands, "prone1", "--date", "2025-12-15")
        again = commands("surveys", "record", "prone1", "--date", "2025-12-15")
        assert again.err == f"error: a survey of prone1 on 2025-12-15 is recorded already: {of_id}\n"
        record(commands, "upright_a", "--date", "2025-12-15")
        blank = commands("surveys", "withdraw", of_id, "--reason", " ")
        assert (blank.code, "needs a reason" in blank.err) == (FAILED, True)
        commands.good("surveys", "withdraw", of_id, "--reason", "x")
        for words in (("amend", of_id, "--note", "y"), ("withdraw", of_id, "--reason", "y")):
            assert "was withdrawn or dismissed; record a new one" in commands("surveys", *words).err
        record(commands, "prone1", "--date", "2025-12-15")


class TestDocuments:
    PDF = make_document(**PRONE, day=date(2026, 2, 9), AcquisitionDateTime="20260206101500")
    CDA = make_document(**PRONE, sop_class_uid=EncapsulatedCDAStorage, day=None)
    ELSEWHERE = make_document(serial="NOBODY-1", station="X")

    @pytest.fixture
    def filled(self, site: Path) -> Path:
        with opened_site(site) as stores:
            receive_all(
                stores,
                (make_mg(**PRONE, day=date(2026, 9, 14)), "PRONE_RM2"),
                (self.PDF, "PRONE_RM2"),
                (self.CDA, "PRONE_RM2"),
                (self.ELSEWHERE, "STRANGER"),
            )
        return site

    def test_documents_of_units_are_proposed_until_a_person_decides(self, filled: Path, commands: Commands) -> None:
        proposed = commands.json("surveys", "list", "--unit", "prone1")["proposed"]
        assert commands.json("surveys", "list")["proposed"] == proposed
        assert commands.json("surveys", "list", "--unit", "upright_a")["proposed"] == []
        assert [(each["sop_instance_uid"], each["day"], each["day_source"]) for each in proposed] == [
            (self.CDA.SOPInstanceUID, None, ""),
            (self.PDF.SOPInstanceUID, "2026-02-06", "AcquisitionDateTime"),
        ]
        assert list(proposed[0]) == ["sop_instance_uid", "unit", "day", "day_source", "calling_ae", "received_at"]
        assert physicist(commands)["state"] == "missing"
        assert "Documents: 2 may be reports of a physicist's survey: dicom-node surveys list" in (
            commands.good("status").lines
        )
        assert commands.json("status")["proposed_surveys"] == 2
        table = commands.good("surveys", "list").lines
        assert [line.split()[:4] for line in table if line.startswith(self.PDF.SOPInstanceUID)] == [
            [self.PDF.SOPInstanceUID, "prone1", "2026-02-06", "AcquisitionDateTime"]
        ]

        called = commands.good("surveys", "confirm", self.PDF.SOPInstanceUID)
        of_id = called.out.split(":")[0]
        assert called.lines[0].endswith(f"prone1, performed on 2026-02-06: document {self.PDF.SOPInstanceUID}")
        assert (physicist(commands)["exam"], physicist(commands)["exam_day"]) == (of_id, "2026-02-06")
        commands.good("surveys", "dismiss", self.CDA.SOPInstanceUID, "--reason", "a biopsy report")
        told = commands.json("surveys", "list")
        assert told["proposed"] == []
        assert [(each["id"], each["source"]) for each in told["surveys"]] == [(of_id, self.PDF.SOPInstanceUID)]
        assert not any(line.startswith("Documents") for line in commands.good("status").lines)
        for words, problem in (
            (("confirm", self.PDF.SOPInstanceUID), f"is the report of survey {of_id} already"),
            (("dismiss", self.PDF.SOPInstanceUID, "--reason", "x"), f"dicom-node surveys withdraw {of_id}"),
            (("dismiss", self.CDA.SOPInstanceUID, "--reason", "x"), "was dismissed or withdrawn already"),
            (("confirm", self.CDA.SOPInstanceUID), "does not tell its day; say when the survey was performed: --date"),
            (("confirm", self.ELSEWHERE.SOPInstanceUID), "there is no encapsulated document"),
        ):
            called = commands("surveys", *words)
            assert (called.code, problem in called.err) == (FAILED, True), called.err

    def test_what_was_dismissed_or_withdrawn_may_be_confirmed_after_all(self, filled: Path, commands: Commands) -> None:
        uid = self.CDA.SOPInstanceUID
        commands.good("surveys", "dismiss", uid, "--reason", "no report")
        of_id = commands.good("surveys", "confirm", uid, "--date", "2026-03-02").out.split(":")[0]
        assert physicist(commands)["exam_day"] == "2026-03-02"
        commands.good("surveys", "withdraw", of_id, "--reason", "no report after all")
        assert (physicist(commands)["state"], commands.json("surveys", "list")["proposed"][0]["sop_instance_uid"]) == (
            "missing",
            self.PDF.SOPInstanceUID,
        )
        assert commands.good("surveys", "confirm", uid, "--date", "2026-03-03").out.startswith(f"{of_id}: ")
        history = commands.json("surveys", "list", "--history")["surveys"]
        assert [(each["version"], each["day"]) for each in history] == [
            (4, "2026-03-03"),
            (3, "2026-03-02"),
            (2, "2026-03-02"),
        ]

    def test_losing_the_index_loses_nothing(self, filled: Path, commands: Commands) -> None:
        record(commands, "upright_a", "--date", "2025-12-15", "--note", "yearly")
        commands.good("surveys", "confirm", self.PDF.SOPInstanceUID, "--date", "2026-02-05")
        commands.good("surveys", "dismiss", self.CDA.SOPInstanceUID, "--reason", "a biopsy report")
        commands.good("logs", "record", "prone1", "--kind", "daily", "--from", "2026-10-01", "--to", "2026-11-20")
        asked = (("surveys", "list", "--history"), ("logs", "list", "--history"), ("eligibility", "readiness"))
        before = [commands.json(*words) for words in asked]
        for name in ("node.db", "node.db-wal", "node.db-shm"):
            (filled.parent / "data" / name).unlink(missing_ok=True)
        commands.good("rebuild", "--yes")
        assert [commands.json(*words) for words in asked] == before


class TestLogs:
    def test_logs_are_recorded_listed_and_withdrawn(self, site: Path, commands: Commands) -> None:
        called = commands.good(
            "logs", "record", "prone1", "--kind", "weekly", "--from", "2026-10-01", "--to", "2026-11-20", "--by", "kim"
        )
        of_id = called.out.split(":")[0]
        assert called.lines == [f"{of_id}: weekly log of prone1, 2026-10-01 to 2026-11-20"]
        commands.good("logs", "record", "upright_a", "--kind", "other", "--from", "2025-11-01", "--to", "2026-11-21")
        told = commands.json("logs", "list")
        assert [(each["unit"], each["kind"]) for each in told] == [("upright_a", "other"), ("prone1", "weekly")]
        assert list(told[0]) == [
            "id", "unit", "kind", "first", "last", "withdrawn", "version", "note", "changed_by", "changed_at",
        ]  # fmt: skip
        commands.good("logs", "withdraw", of_id, "--reason", "of another unit")
        (now, before) = commands.json("logs", "list", "--unit", "prone1", "--history")
        assert (now["withdrawn"], now["note"], before["changed_by"]) == (True, "of another unit", "kim")
        assert commands("logs", "withdraw", of_id, "--reason", "x").err == f"error: log {of_id} was withdrawn already\n"
        row = next(line for line in commands.good("logs", "list").lines if line.startswith(of_id))
        assert row.split()[:5] == [of_id, "prone1", "withdrawn", "2026-10-01", "2026-11-20"]

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (("nowhere", "daily", "2026-10-01", "2026-10-31"), FAILED, "there is no unit 'nowhere'"),
            (("prone1", "daily", "2026-11-01", "2026-10-31"), FAILED, "cannot end on 2026-10-31, before it begins"),
            (("prone1", "daily", "2026-11-01", "2026-11-24"), FAILED, "2026-11-24 is in the future"),
            (("prone1", "hourly", "2026-11-01", "2026-11-02"), USAGE, "is not one of"),
        ],
    )
    def test_what_does_not_fit_is_told(
        self, site: Path, commands: Commands, words: tuple[str, str, str, str], code: int, told: str
    ) -> None:
        unit, kind, first, last = words
        called = commands("logs", "record", unit, "--kind", kind, "--from", first, "--to", last)
        assert (called.code, called.out, told in called.err) == (code, "", True), called.err
        for other in (("withdraw", "q1", "--reason", "x"), ("list", "--unit", "nowhere")):
            assert commands("logs", *other).err.startswith("error: there is no ")


def test_both_databases_know_documents_and_surveys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], index_url: str, logs_as_they_were: None
) -> None:
    config = write_site(tmp_path, database=index_url)
    with opened_site(config) as stores:
        receive_all(stores, (TestDocuments.PDF, "PRONE_RM2"))
    commands = Commands(config, capsys)
    commands.good("surveys", "confirm", TestDocuments.PDF.SOPInstanceUID)
    assert commands.json("surveys", "list")["proposed"] == []
    assert physicist(commands)["exam_day"] == "2026-02-06"
