"""``dicom-node status``: true beside a running node and without one, on both databases."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from dicom_node.archive import claims
from dicom_node.index import alerts as alert_rows
from dicom_node.services.dispatch import Dispatcher
from dicom_node.services.review import review
from dicom_node.site import Stores
from tests.commands import Commands
from tests.factories import make_mg, make_stereo_pair, write_file
from tests.sites import START, opened_site, receive_all, write_site

PRONE: dict[str, Any] = {"serial": "PT-4471", "station": "PRONE"}
WAIT = 30.0
OFTEN = "from dicom_node import node; node.REVIEW_LOOK = 1.0; from dicom_node.cli import main; main()"


def fill(stores: Stores) -> None:
    """A prone table that is fine, an upright near its cutoff, an exam of no unit, one without a date."""
    receive_all(
        stores,
        (make_mg(**PRONE, day=date(2026, 9, 14)), "PRONE_RM2"),
        (make_mg(**PRONE, day=date(2026, 9, 14), patient_id="ACRPHANTOM1"), "PRONE_RM2"),
        *((ds, "UPRIGHT_A") for ds in make_stereo_pair(serial="UA-1002", day=date(2026, 6, 8))),
        *((ds, "ADDON_WS") for ds in make_stereo_pair(serial="", station="X", day=date(2026, 11, 18))),
        (make_mg(**PRONE, day=None), "PRONE_RM2"),
    )


@pytest.fixture
def filled(site: Path) -> Path:
    """The facility with some exams."""
    with opened_site(site) as stores:
        fill(stores)
    return site


def review_and_send(config: Path) -> None:
    """Review as the node does at the start, and send what is due."""
    with opened_site(config) as stores:
        site = stores.site
        review(stores.index, site.rules, site.channels, today=START.date(), now=START)
        Dispatcher(
            stores.index, site.channels, site=site.speaker, labels=site.labels, recheck=lambda _: None,
            clock=lambda: START,
        ).run()  # fmt: skip


def test_the_table_for_people(filled: Path, commands: Commands) -> None:
    lines = commands.good("status").lines
    assert lines[0] == "Synthetic Center · Mon 2026-11-23 09:00 CST"
    assert re.fullmatch(r"SBB_NODE is not running · never reviewed, no review to come · \d+ [MGT]iB free", lines[1])
    assert lines[2].startswith("Rule acr-sbb-2023-03-03: ACR Stereotactic Breast Biopsy Accreditation Program, ")
    assert lines[3] == (
        "  A newer one ships with the node (acr-sbb-2026-01-14); compare: dicom-node policies diff acr-sbb-2026-01-14"
    )
    assert lines[5:15] == [
        "Unit       Portion           State    Newest exam  Counts until  Days left  Last received",
        "prone1     clinical          ok       2026-09-14   2027-03-14          111  today 09:00",
        "           phantom           ok       2026-09-14   2027-03-14          111",
        "           physicist report  missing  -            -                     -",
        "upright_a  clinical          nearing  2026-06-08   2026-12-08           15  today 09:00",
        "           phantom           missing  -            -                     -",
        "           physicist report  missing  -            -                     -",
        "upright_b  clinical          missing  -            -                     -  -",
        "           phantom           missing  -            -                     -",
        "           physicist report  missing  -            -                     -",
    ]
    warnings = " ".join(line.strip() for line in lines[16:-2])
    for told in (
        "! The node is not running: nothing is received, reviewed or sent.",
        "! Upright A, room 4: clinical exam stops counting in 15 days (2026-12-08). Perform and send a biopsy case",
        "record the day its link was released: dicom-node release record upright_a --date YYYY-MM-DD",
        "! 1 exam from ADDON_WS matches several units. Say which unit made each exam: dicom-node exams attribute ",
        "! Prone table, room 2: 1 exam without a date that can be trusted.",
    ):
        assert told in warnings
    assert lines[-2:] == [
        "Exams: 1 without a unit, 1 without a date, 0 conflicts to decide",
        "Alerts: 0 open · no message was sent yet",
    ]


def test_programs_get_stable_keys(filled: Path, commands: Commands) -> None:
    told = commands.json("status")
    assert list(told) == [
        "facility", "time_zone", "now", "today", "policy", "policy_not_accepted", "newer_policy", "node",
        "certificates", "review", "storage", "audit",
        "units", "next_cycle_missing", "cycles", "derived_by_others", "unattributed", "undated", "conflicts",
        "proposed_surveys", "alerts",
        "messages", "concerns",
    ]  # fmt: skip
    assert (told["now"][:16], told["today"]) == ("2026-11-23T15:00", "2026-11-23")
    assert told["node"] == {
        "ae_title": "SBB_NODE",
        "running": False,
        "listening": False,
        "bind": "127.0.0.1",
        "port": 11112,
        "tls_port": None,
        "since": None,
    }
    assert told["review"] == {"last_at": None, "next_at": "2026-11-24T12:00:00Z", "overdue": True}
    assert (told["storage"]["min_free_bytes"], told["storage"]["problem"]) == (1 << 20, None)
    assert (told["unattributed"], told["undated"], told["conflicts"]) == (1, 1, 0)
    assert told["alerts"] == {"open": 0, "unacknowledged": 0}
    assert told["messages"] == {"undelivered": 0, "last": None}
    unit = told["units"][1]
    assert {name: value for name, value in unit.items() if name != "portions"} == {
        "unit": "upright_a",
        "label": "Upright A, room 4",
        "state": "missing",
        "cutoff": "2026-12-08",
        "last_received_at": "2026-11-23T15:00:03Z",
        "silenced_until": None,
    }
    clinical = unit["portions"][0]
    assert clinical.pop("exam") == commands.json("exams", "list", "--unit", "upright_a")[0]["exam"]
    assert clinical == {
        "portion": "clinical",
        "state": "nearing",
        "exam_day": "2026-06-08",
        "counts_until": "2026-12-08",
        "last_release": "2026-12-08",
        "cutoff": "2026-12-08",
        "days_left": 15,
        "package": None,
    }
    assert {each["kind"] for each in told["concerns"]} == {"eligibility", "undated", "ambiguous"}
    assert list(told["concerns"][0]) == ["key", "kind", "unit", "portion", "severity", "headline", "do"]


def test_standings_are_those_of_today_whatever_was_saved(filled: Path, commands: Commands, time_machine: Any) -> None:
    review_and_send(filled)
    time_machine.move_to(START + timedelta(days=30))
    unit = commands.json("status", "--unit", "upright_a")["units"][0]
    assert (unit["state"], unit["portions"][0]["state"], unit["portions"][0]["days_left"]) == ("lapsed", "lapsed", -15)
    assert [each["unit"] for each in commands.json("status", "--unit", "upright_a")["concerns"]] == ["upright_a"] * 2


def test_a_package_has_its_window_in_the_table(filled: Path, commands: Commands) -> None:
    commands.good("release", "record", "prone1", "--date", "2026-11-20", "--due", "2027-01-04")
    commands.good("release", "record", "upright_a", "--date", "2026-12-20", "--planned")
    commands.good("release", "record", "upright_b", "--date", "2026-11-20")
    lines = commands.good("status").lines
    assert lines[5].endswith("Package")
    assert lines[6].split(maxsplit=2)[2] == (
        "secured  2026-09-14   -                     -  today 09:00    "
        "2026-11-20 recorded, window 2026-05-20 to 2027-01-04, exam inside"
    )
    assert lines[8].endswith("2026-11-20 recorded, window 2025-09-20 to 2027-01-04, no survey inside, due 2027-01-04")
    assert lines[9].endswith("2026-12-20 planned, window 2026-06-20 to 2027-06-20, would not count")
    assert lines[12].endswith("2026-11-20 recorded, window 2026-05-20 to 2027-05-20, no exam inside, due 2027-01-04")
    package = commands.json("status")["units"][0]["portions"][0]["package"]
    assert package == {
        "released_on": "2026-11-20",
        "due_on": "2027-01-04",
        "due": "2027-01-04",
        "state": "recorded",
        "window_first": "2026-05-20",
        "window_last": "2027-01-04",
        "exam_inside": True,
        "counts_for_planned": None,
    }


def test_alerts_messages_and_silences_are_told(filled: Path, commands: Commands) -> None:
    review_and_send(filled)
    with opened_site(filled) as stores, stores.index.read() as conn:
        firing = alert_rows.list_alerts(conn)
    commands.good("alerts", "ack", str(firing[0].id))
    commands.good("alerts", "silence", "upright_b", "--for", "2w", "--reason", "moved to the other site")
    told = commands.json("status")
    assert told["alerts"] == {"open": len(firing), "unacknowledged": len(firing) - 1}
    assert (told["messages"]["last"]["channel"], told["messages"]["last"]["state"]) == ("outbox", "delivered")
    assert told["units"][2]["silenced_until"] == "2026-12-07"
    assert told["review"] == {"last_at": "2026-11-23T15:00:00Z", "next_at": "2026-11-24T12:00:00Z", "overdue": False}
    lines = commands.good("status").lines
    assert "reviewed today 09:00" in lines[1]
    assert any("messages are held until 2026-12-07 (moved to the other site)" in line for line in lines)
    opened = f"{len(firing)} open ({len(firing) - 1} not acknowledged)"
    assert lines[-1] == f"Alerts: {opened} · last message today 09:00 to outbox: delivered"


def test_a_full_volume_is_told(filled: Path, commands: Commands) -> None:
    filled.write_text(filled.read_text().replace('min_free = "1 MiB"', 'min_free = "900 TiB"'))
    assert "less than its reserve" in commands.json("status")["storage"]["problem"]
    assert "! No instance can be received now: " in commands.good("status").out


def test_an_unknown_unit_is_told(site: Path, commands: Commands) -> None:
    called = commands("status", "--unit", "nowhere")
    assert (called.code, called.err.startswith("error: there is no unit 'nowhere'")) == (1, True)


def test_a_configuration_without_units_has_a_status(tmp_path: Path, capsys: Any, logs_as_they_were: None) -> None:
    config = write_site(tmp_path)
    text = config.read_text()
    config.write_text(text[: text.index("[units.prone1]")])
    with opened_site(config):
        commands = Commands(config, capsys)
    assert commands.json("status")["units"] == []
    assert "Unit" in commands.good("status").out


def test_postgres_gives_the_same(
    filled: Path, commands: Commands, postgres_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    config = write_site(tmp_path / "other", database=postgres_url)
    with opened_site(config) as stores:
        fill(stores)
    on_postgres = Commands(config, capsys)
    assert comparable(on_postgres.json("status")) == comparable(commands.json("status"))
    (waiting,) = on_postgres.json("unattributed", "list")
    on_postgres.good("unattributed", "resolve", waiting["exam"], "--unit", "upright_b", "--reason", "seen")
    assert on_postgres("rebuild", "--yes").code == 0
    assert on_postgres.json("status")["units"][2]["portions"][0]["exam_day"] == "2026-11-18"


def comparable(told: Any) -> Any:
    """Return what does not depend on UIDs and the moment."""
    if isinstance(told, list):
        return [comparable(each) for each in told]
    if isinstance(told, dict):
        return {key: comparable(each) for key, each in told.items() if key not in {"exam", "now", "free_bytes"}}
    return told


# Beside a real node, in a process of its own.


@contextmanager
def running_node(config: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run ``dicom-node serve`` until the block ends: one process, which looks every second whether a review is due."""
    command = [sys.executable, "-c", OFTEN, "--config", str(config), "serve"]
    alone = {**os.environ, "DICOM_NODE_NODE__WORKERS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=alone) as process:
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)


@pytest.fixture
def beside(tmp_path: Path, capsys: pytest.CaptureFixture[str], logs_as_they_were: None) -> Commands:
    """Commands for a facility whose node a test runs; the day is the real one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = write_site(tmp_path, port=port)
    with opened_site(config):
        return Commands(config, capsys)


def test_a_node_is_seen_to_run_and_to_be_gone(beside: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "PATIENCE", 0.2)
    with running_node(beside.config) as process:
        wait_for(lambda: bool(beside.json("status")["node"]["listening"]))
        wait_for(lambda: beside.json("status")["review"]["last_at"] is not None)
        node = beside.json("status")["node"]
        assert node["since"] is not None
        headline = beside.good("status").lines[1]
        assert headline.startswith(f"SBB_NODE listens at 127.0.0.1:{node['port']}, up ")
        assert "· reviewed today " in headline
        called = beside("rebuild", "--yes")
        assert (called.code, "stop the node first" in called.err) == (75, True)
        called = beside("serve")
        assert (called.code, "a node is running on this archive already" in called.err) == (75, True)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert beside.json("status")["node"] == node | {"running": False, "listening": False, "since": None}
    assert beside("rebuild", "--yes").code == 0


def test_import_and_decisions_go_on_beside_a_node_which_reviews_after_them(beside: Commands, tmp_path: Path) -> None:
    for number, ds in enumerate(make_stereo_pair(serial="", station="X", day=date.today() - timedelta(days=170))):  # noqa: DTZ011 - the node's clock is the real one
        write_file(tmp_path / f"IM{number}", ds)
    with running_node(beside.config):
        wait_for(lambda: beside.json("status")["review"]["last_at"] is not None)
        assert beside.good("import", str(tmp_path / "IM0"), str(tmp_path / "IM1")).out.startswith("2 new")
        (exam,) = beside.json("exams", "list")
        beside.good("exams", "attribute", exam["exam"], "--unit", "upright_b", "--reason", "seen")
        wait_for(lambda: any(each["unit"] == "upright_b" for each in beside.json("alerts", "list")["alerts"]))
