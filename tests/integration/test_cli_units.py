"""Units and attachments by their commands: what there is of them, and a unit that is retired."""

import os
import stat
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from dicom_node.cli.app import FAILED, INTERRUPTED, USAGE
from dicom_node.services.review import review
from dicom_node.site import Stores
from tests.commands import Commands
from tests.factories import make_mg
from tests.integration.conftest import PLANTED
from tests.sites import START, opened_site, receive_all, write_site

MORE = """
[facilities.annex]
name = "Synthetic Annex"
[[units.prone1.enrolled]]
to = 2026-10-31
[[units.prone1.enrolled]]
facility = "annex"
from = 2026-11-09
"""
PRONE: dict[str, Any] = {"serial": "PT-4471", "station": "PRONE"}
ON_A: dict[str, Any] = {"serial": "UA-1002", "station": "UPR-A", "stage": "STEREO_MINUS"}
ON_B: dict[str, Any] = {"serial": "UB-1003", "station": "UPR-B", "stage": "STEREO_MINUS"}


def fill(config: Path) -> Path:
    """An attachment that moved from A to B on 2026-10-01, and exams of all units; one on A after it left."""
    on_a, on_b = (f'[[attachments.addon1.assigned]]\nunit = "upright_{name}"\n' for name in "ab")
    text = config.read_text("utf-8").replace(on_a, on_a + "to = 2026-09-30\n")
    config.write_text(text.replace(on_b, on_b + "from = 2026-10-01\n"), "utf-8")
    with opened_site(config) as stores:
        receive_all(
            stores,
            (make_mg(**ON_A, day=date(2025, 6, 8)), "ADDON_WS"),
            (make_mg(**ON_A, day=date(2026, 6, 8)), "ADDON_WS"),
            (make_mg(**ON_A, day=date(2026, 10, 10)), "ADDON_WS"),
            (make_mg(**ON_B, day=date(2026, 10, 20)), "ADDON_WS"),
            (make_mg(**PRONE, day=date(2026, 9, 14)), "PRONE_RM2"),
            (make_mg(**PRONE, day=date(2026, 3, 2), patient_id="ACRPHANTOM-1"), "PRONE_RM2"),
        )
    return config


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    return fill(write_site(tmp_path, more=MORE))


@pytest.fixture
def commands(filled: Path, capsys: pytest.CaptureFixture[str], logs_as_they_were: None) -> Any:
    with time_machine.travel(START, tick=True):
        yield Commands(filled, capsys, planted=PLANTED)


def reviewed(stores: Stores, unit_id: str) -> None:
    """Review a unit, so that its alerts fire."""
    site = stores.site
    review(stores.index, site.rules, site.channels, unit_ids=[unit_id], today=site.day(START), now=START)


def cells(line: str) -> list[str]:
    return [cell for cell in (each.strip() for each in line.split("  ")) if cell]


def test_units_and_attachments_are_told_alike_by_both_databases(
    tmp_path: Path, index_url: str, capsys: pytest.CaptureFixture[str], logs_as_they_were: None
) -> None:
    config = fill(write_site(tmp_path, database=index_url, more=MORE))
    with time_machine.travel(START, tick=True):
        commands = Commands(config, capsys, planted=PLANTED)
        prone, upright_a, upright_b = commands.json("units", "list", "--months", "12")
        shown = commands.json("units", "show", "upright_a")
        (addon,) = commands.json("attachments", "list")
        assert commands.json("attachments", "show", "addon1") == addon
    assert list(prone) == [
        "unit", "label", "kind", "state", "facility", "facility_name", "identities", "attachments", "last_received_at",
        "last_days", "months", "biopsies",
    ]  # fmt: skip
    assert [(each["unit"], each["facility"], each["state"], each["biopsies"]) for each in (prone, upright_a)] == [
        ("prone1", "annex", "applying", 1),
        ("upright_a", "main", "applying", 2),  # the third is too old
    ]
    assert (prone["facility_name"], upright_a["facility_name"]) == ("Synthetic Annex", "Synthetic Center")
    assert prone["last_days"] == {"clinical": "2026-09-14", "phantom": "2026-03-02", "physicist": None}
    assert prone["last_received_at"] == "2026-11-23T15:00:05Z"
    assert (upright_a["attachments"], upright_b["attachments"]) == ([], ["addon1"])
    assert shown["assignments"] == [{"attachment": "addon1", "from": None, "to": "2026-09-30"}]
    (seen,) = shown["seen"]
    assert (seen["calling_ae"], seen["listed_as"], seen["serial"], seen["images"]) == (
        "ADDON_WS",
        "attachments.addon1",
        "UA-1002",
        2,
    )
    assert [(each["portion"], each["state"]) for each in shown["readiness"]["portions"]] == [
        ("clinical", "ok"),
        ("phantom", "missing"),
        ("physicist", "missing"),
    ]
    assert (addon["units_today"], addon["last_biopsy"], addon["biopsies"]) == (["upright_b"], "2026-10-20", 3)
    assert [
        (each["unit"], each["biopsies"], each["first"], each["last"], each["last_biopsy_on_unit"])
        for each in addon["hosts"]
    ] == [
        ("upright_a", 3, "2025-06-08", "2026-10-10", "2026-10-10"),
        ("upright_b", 1, "2026-10-20", "2026-10-20", "2026-10-20"),
    ]
    (need,) = addon["needs"]
    assert need.startswith("upright_a: a biopsy of 2026-10-10 on days it was not assigned there: mend the assignments")


class TestShowing:
    def test_the_list_has_a_line_for_each_unit(self, commands: Commands) -> None:
        header, *lines = commands.good("units", "list", "--months", "30").lines
        assert cells(header)[-1] == "Biopsies, 30 months"
        assert cells(lines[1]) == [
            "upright_a", "Upright A, room 4", "upright", "applying", "Synthetic Center", "UPRIGHT_A, serial UA-1002",
            "-", "2026-11-23 09:00 CST", "2026-10-10", "-", "-", "3",
        ]  # fmt: skip

    def test_all_there_is_of_a_unit_is_shown(self, filled: Path, commands: Commands) -> None:
        commands.good("release", "record", "prone1", "--date", "2026-06-15")
        commands.good("alerts", "silence", "prone1", "--for", "14d", "--reason", "moving")
        with opened_site(filled) as stores:
            fresh = make_mg(**PRONE | {"station": "ANNEX-1"}, day=date(2026, 11, 20))
            receive_all(stores, (fresh, "STRANGER"))
            reviewed(stores, "prone1")
        told = commands.good("units", "show", "prone1").out
        lines = [" ".join(line.split()) for line in told.splitlines()]
        for line in (
            "prone1: Prone table, room 2",
            "State applying",
            "Enrolled Synthetic Center, to 2026-10-31",
            "Enrolled Synthetic Annex, from 2026-11-09",
            "Shown as PRONE_RM2 from 127.0.0.0/8, serial PT-4471",
            "Phantoms ACRPHANTOM*",
            "STRANGER 127.0.0.1 not listed PT-4471 Synthetic Imaging ANNEX-1 1 2026-11-23 09:00 CST",
            "PRONE_RM2 127.0.0.1 units.prone1 PT-4471 Synthetic Imaging PRONE 2 2026-11-23 09:00 CST",
            "phantom missing - - - -",  # the one of 2026-03-02 was made before the unit moved
            "missing: a phantom exam: none is on file",
            "Messages are held until 2026-12-07: moving",
        ):
            assert line in lines, line
        assert [line for line in lines if line.startswith("Alert ")] == ["Alert 1 (warning): no phantom exam on file"]
        assert any(line.endswith("2026-06-15 - recorded") for line in lines)  # it bears on the enrolment before
        found = commands.json("units", "show", "prone1")
        assert found["enrolments"][1] == {
            "facility": "annex", "name": "Synthetic Annex", "from": "2026-11-09", "to": None,
        }  # fmt: skip
        assert (found["silence"]["reason"], [each["kind"] for each in found["alerts"]]) == ("moving", ["eligibility"])

    def test_a_unit_is_in_the_cycle_of_the_facility_it_moved_to(self, commands: Commands) -> None:
        commands.good("cycles", "open", "--facility", "annex", "--expires", "2027-08-31")
        cycle = commands.json("units", "show", "prone1")["readiness"]["cycle"]
        assert cycle["expires_on"] == "2027-08-31"
        assert commands.json("units", "show", "upright_a")["readiness"]["cycle"] is None
        assert "there are annex, main" in commands("cycles", "open", "--facility", "elsewhere").err

    def test_an_attachment_is_shown_with_its_hosts(self, commands: Commands) -> None:
        lines = commands.good("attachments", "show", "addon1").lines
        assert [cells(line) for line in lines[3:5]] == [
            ["upright_a", "to 2026-09-30", "3", "2025-06-08", "2026-10-10", "2026-10-10"],
            ["upright_b", "from 2026-10-01", "1", "2026-10-20", "2026-10-20", "2026-10-20"],
        ]
        assert cells(commands.good("attachments", "list").lines[1]) == [
            "addon1", "Add-on biopsy attachment", "upright_b", "upright_a", "2026-10-20", "3", "1",
        ]  # fmt: skip

    def test_what_is_not_configured_is_told_in_a_sentence(self, commands: Commands) -> None:
        assert "there is no unit 'x'" in commands("units", "show", "x").err
        called = commands("attachments", "show", "x")
        assert (called.code, called.err) == (
            FAILED,
            "error: there is no attachment 'x'; the attachments are addon1\n",
        )


class TestNeeds:
    def needs(self, commands: Commands) -> list[str]:
        (addon,) = commands.json("attachments", "list")
        return [str(each) for each in addon["needs"]]

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            (
                "applying = false",
                (
                    "not applying, and it was used there for a biopsy of 2026-10-20: every unit it is used on must be "
                    "accredited."
                ),
            ),
            (
                "retired_on = 2026-10-31",
                "retired on 2026-10-31, and it was used there for a biopsy of 2026-10-20: end the assignment.",
            ),
            (
                "enrolled = [{ to = 2026-10-31 }]",
                (
                    "enrolled at no facility today, and it was used there for a biopsy of 2026-10-20: every unit it is "
                    "used on must be accredited."
                ),
            ),
            (
                "enrolled = [{ from = 2026-11-01 }]",
                "clinical missing; the last biopsy on it is of 2026-10-20.",
            ),
        ],
    )
    def test_a_host_that_takes_no_part_or_has_no_case(
        self, filled: Path, commands: Commands, line: str, told: str
    ) -> None:
        header = "[units.upright_b]\n"
        filled.write_text(filled.read_text("utf-8").replace(header, f"{header}{line}\n"), "utf-8")
        assert f"upright_b: {told}" in self.needs(commands)

    def test_a_host_the_attachment_left_runs_out_of_cases(self, filled: Path, commands: Commands) -> None:
        with time_machine.travel(START + timedelta(days=120), tick=True):
            assert (
                "upright_a: clinical nearing; the last biopsy on it is of 2026-10-10, and the attachment left it on "
                "2026-09-30." in self.needs(commands)
            )

    def test_an_attachment_on_no_unit(self, filled: Path, commands: Commands) -> None:
        text = filled.read_text("utf-8").replace("from = 2026-10-01", "to = 2026-10-31")
        filled.write_text(text, "utf-8")
        assert self.needs(commands)[0] == (
            "It is assigned to no unit today: assign it, or leave it so while it is out of use."
        )


class TestRetiring:
    def retire(self, commands: Commands, *more: str) -> Any:
        return commands("units", "retire", "upright_a", "--on", "2026-11-20", *more)

    def test_one_line_is_written_after_showing_what_it_changes(self, filled: Path, commands: Commands) -> None:
        filled.chmod(0o640)
        with opened_site(filled) as stores:
            reviewed(stores, "upright_a")
        before = filled.read_bytes()
        called = commands.good(
            "units", "retire", "upright_a", "--on", "2026-10-09", "--yes", "--reason", "sold", "--by", "jane"
        )
        rows = [cells(line) for line in called.lines[:4]]
        assert rows[:2] == [
            ["Unit", "Portion", "Now", "Cutoff", "On 2026-11-23", "Cutoff"],
            ["upright_a", "clinical", "ok", "2027-04-10", "retired", "-"],
        ]
        assert "Alert 1 ends: no phantom exam on file" in called.lines
        assert any(line.startswith("! On file and made after that day: 1 exam (") for line in called.lines)
        assert called.lines[-1].endswith("A running node takes it with: systemctl reload dicom-node")
        header = b"[units.upright_a]\n"
        assert filled.read_bytes() == before.replace(header, header + b"retired_on = 2026-10-09\n")
        assert stat.S_IMODE(filled.stat().st_mode) == 0o640
        (line,) = (each for each in commands.json("audit", "list") if each["event"] == "unit.retired")
        assert (line["by"], line["unit"], line["retired_on"], line["reason"]) == (
            "jane",
            "upright_a",
            "2026-10-09",
            "sold",
        )
        assert commands.json("units", "show", "upright_a")["state"] == "retired"
        assert len(commands.json("exams", "list", "--unit", "upright_a")) == 3  # what is on file stays
        again = commands.good("units", "retire", "upright_a", "--on", "2026-10-09", "--reason", "x")
        assert again.lines == ["Nothing to do: upright_a is retired on 2026-10-09 already."]

    def test_a_day_to_come_changes_nothing_until_then(self, filled: Path, commands: Commands) -> None:
        called = commands.good("units", "retire", "upright_a", "--on", "2026-12-31", "--yes", "--reason", "lease ends")
        assert cells(called.lines[0])[4] == "On 2027-01-01"
        assert commands.json("units", "show", "upright_a")["state"] == "applying"
        commands.good("units", "retire", "upright_a", "--on", "2027-01-31", "--yes", "--reason", "lease goes on")
        text = filled.read_text("utf-8")
        assert ("retired_on = 2027-01-31\n" in text, text.count("retired_on")) == (True, 1)

    def test_an_attachment_that_stays_assigned_is_pointed_out(self, commands: Commands) -> None:
        called = commands.good("units", "retire", "upright_b", "--on", "2026-11-20", "--yes", "--reason", "sold")
        assert "upright_b was retired on 2026-11-20; write to = 2026-11-20" in " ".join(called.out.split())

    @pytest.mark.parametrize(("answer", "code"), [("n\n", FAILED), ("", INTERRUPTED)])
    def test_without_a_yes_nothing_changes(
        self, filled: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, code: int
    ) -> None:
        before = filled.read_bytes()
        (tmp_path / "answer").write_text(answer)
        with (tmp_path / "answer").open() as typed:
            monkeypatch.setattr("sys.stdin", typed)
            assert self.retire(commands, "--reason", "sold").code == code
        assert filled.read_bytes() == before
        assert "unit.retired" not in [each["event"] for each in commands.json("audit", "list")]

    def test_lines_are_printed_alone_when_asked(self, filled: Path, commands: Commands) -> None:
        before = filled.read_bytes()
        called = self.retire(commands, "--print")
        line = before.decode().splitlines().index("[units.upright_a]") + 1
        assert called.lines == [f"# {filled}:{line}", "[units.upright_a]", "retired_on = 2026-11-20"]
        assert filled.read_bytes() == before
        assert self.retire(commands).code == USAGE

    def test_a_value_from_the_environment_is_not_written_into_the_file(
        self, filled: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = filled.read_bytes()
        monkeypatch.setenv("DICOM_NODE_UNITS__UPRIGHT_A__RETIRED_ON", "2027-06-30")
        called = self.retire(commands, "--yes", "--reason", "sold")
        assert (called.code, called.lines) == (FAILED, ["DICOM_NODE_UNITS__UPRIGHT_A__RETIRED_ON=2026-11-20"])
        assert called.err == (
            "error: units.upright_a.retired_on comes from the environment, by DICOM_NODE_UNITS__UPRIGHT_A__RETIRED_ON; "
            "nothing was changed: write it yourself as above\n"
        )
        assert filled.read_bytes() == before

    def test_a_file_that_cannot_be_written_is_told_with_the_lines(
        self, filled: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = filled.read_bytes()
        real = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and real(path, mode))
        called = self.retire(commands, "--yes", "--reason", "sold")
        assert (called.code, called.lines[-2:]) == (FAILED, ["[units.upright_a]", "retired_on = 2026-11-20"])
        assert f"error: {filled} cannot be written (Permission denied)" in called.err
        assert filled.read_bytes() == before
        assert "unit.retired" not in [each["event"] for each in commands.json("audit", "list")]

    def test_a_day_that_makes_the_configuration_wrong_is_refused(self, filled: Path, commands: Commands) -> None:
        before = filled.read_bytes()
        called = commands("units", "retire", "prone1", "--on", "2026-11-01", "--yes", "--reason", "sold")
        assert called.code == FAILED
        assert "units.prone1.enrolled.1.from: from 2026-11-09 is after retired_on 2026-11-01" in called.err
        assert filled.read_bytes() == before
