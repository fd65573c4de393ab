"""What a unit has for its submission, and what is missing."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from dicom_node.cli.app import FAILED
from tests.commands import Commands
from tests.factories import make_mg
from tests.sites import opened_site, receive_all

PRONE: dict[str, Any] = {"serial": "PT-4471", "station": "PRONE"}


@pytest.fixture
def filled(site: Path) -> Path:
    """A prone table with a clinical exam that counts and a phantom that stopped counting."""
    with opened_site(site) as stores:
        receive_all(
            stores,
            (make_mg(**PRONE, day=date(2026, 9, 14)), "PRONE_RM2"),
            (make_mg(**PRONE, day=date(2026, 3, 2), patient_id="ACRPHANTOM1"), "PRONE_RM2"),
        )
    return site


def ready(commands: Commands, unit: str = "prone1") -> Any:
    (told,) = commands.json("eligibility", "readiness", unit)
    return told


def record_logs(commands: Commands, *spans: tuple[str, str, str]) -> None:
    for kind, first, last in spans:
        commands.good("logs", "record", "prone1", "--kind", kind, "--from", first, "--to", last)


def test_without_a_package_it_tells_what_one_of_today_would_find(filled: Path, commands: Commands) -> None:
    record_logs(commands, ("daily", "2026-10-01", "2026-11-02"), ("daily", "2026-11-05", "2026-11-23"))
    told = ready(commands)
    assert list(told) == [
        "unit", "label", "today", "facility", "cycle", "release", "portions", "logs", "proposed_surveys", "missing",
    ]  # fmt: skip
    assert (told["unit"], told["today"], told["cycle"], told["release"]) == ("prone1", "2026-11-23", None, None)
    assert told["facility"] == "main"
    (clinical, phantom, physicist) = told["portions"]
    exam = commands.json("exams", "list", "--portion", "clinical")[0]["exam"]
    assert clinical == {
        "portion": "clinical",
        "state": "ok",
        "counts": {"id": exam, "day": "2026-09-14", "source": "AcquisitionDate"},
        "cutoff": "2027-03-14",
        "days_left": 111,
        "missing": None,
    }
    assert (phantom["counts"], physicist["counts"]) == (None, None)
    assert told["logs"][0] == {
        "kind": "daily",
        "first": "2026-10-23",
        "last": "2026-11-23",
        "complete": False,
        "gaps": [{"first": "2026-11-03", "last": "2026-11-04"}],
    }
    assert told["missing"] == [
        "a phantom exam: the newest counted for packages released up to 2026-09-02",
        "a physicist survey: none is recorded",
        "daily logs of 2026-11-03 to 2026-11-04",
        "weekly logs of 2026-10-23 to 2026-11-23",
        "other logs of 2025-11-23 to 2026-11-23",
    ]
    assert commands.good("eligibility", "readiness", "prone1").lines == [
        "Prone table, room 2 (prone1), on 2026-11-23: no testing package",
        "  Portion           State    What counts  Of          Until       Days left",
        f"  clinical          ok       {exam}   2026-09-14  2027-03-14        111",
        "  phantom           lapsed   -            -           2026-09-02        -82",
        "  physicist report  missing  -            -           -                   -",
        "  daily logs, 2026-10-23 to 2026-11-23: not complete",
        "  weekly logs, 2026-10-23 to 2026-11-23: not complete",
        "  other logs, 2025-11-23 to 2026-11-23: not complete",
        *(f"  missing: {each}" for each in told["missing"]),
    ]


def test_a_package_that_is_out_is_what_it_is_held_against(filled: Path, commands: Commands) -> None:
    commands.good("cycles", "open", "--expires", "2027-05-01")
    of_id = commands.good("release", "record", "prone1", "--date", "2026-11-20", "--due", "2027-01-04").out[:7]
    survey = commands.good("surveys", "record", "prone1", "--date", "2025-09-20").out.split(":")[0]
    record_logs(
        commands,
        ("daily", "2026-10-20", "2026-11-20"),
        ("weekly", "2026-09-01", "2026-11-01"),
        ("weekly", "2026-10-30", "2026-11-20"),
        ("other", "2025-11-20", "2026-11-19"),
    )
    told = ready(commands)
    assert told["release"] == {"id": of_id, "released_on": "2026-11-20", "due_on": "2027-01-04", "state": "recorded"}
    assert (told["cycle"]["expires_on"], told["cycle"]["closed"]) == ("2027-05-01", False)
    assert [each["state"] for each in told["portions"]] == ["secured", "short", "secured"]
    assert told["portions"][2]["counts"] == {"id": survey, "day": "2025-09-20", "source": "recorded by a person"}
    assert [(each["first"], each["last"], each["complete"]) for each in told["logs"]] == [
        ("2026-10-20", "2026-11-20", True),
        ("2026-10-20", "2026-11-20", True),
        ("2025-11-20", "2026-11-20", False),
    ]
    assert told["missing"] == ["a phantom exam performed from 2026-05-20 to 2027-01-04", "other logs of 2026-11-20"]
    headline = commands.good("eligibility", "readiness", "prone1").lines[0]
    assert headline == (
        f"Prone table, room 2 (prone1), on 2026-11-23: testing package {of_id} of 2026-11-20, recorded, due on "
        "2027-01-04, accredited until 2027-05-01"
    )
    commands.good("release", "amend", of_id, "--state", "submitted")
    assert ready(commands)["missing"] == []


def test_of_a_unit_that_is_not_applying_nothing_is_asked(site: Path, commands: Commands) -> None:
    site.write_text(site.read_text("utf-8").replace('kind = "prone"', 'kind = "prone"\napplying = false'), "utf-8")
    told = ready(commands)
    assert ([each["state"] for each in told["portions"]], told["logs"], told["missing"]) == (
        ["not required"] * 3,
        [],
        [],
    )


def test_every_unit_is_told_without_one_and_by_another_policy(filled: Path, commands: Commands) -> None:
    told = commands.json("eligibility", "readiness", "--policy", "acr-sbb-2026-01-14")
    assert [each["unit"] for each in told] == ["prone1", "upright_a", "upright_b"]
    assert told[0]["portions"][1]["counts"]["day"] == "2026-03-02"
    called = commands("eligibility", "readiness", "nowhere")
    assert (called.code, called.err.startswith("error: there is no unit 'nowhere'")) == (FAILED, True)
