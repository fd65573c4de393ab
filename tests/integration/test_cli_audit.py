"""``dicom-node audit`` and ``dicom-node associations`` as people call them."""

import json
import select
import signal
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import IO, Any
from xml.etree.ElementTree import fromstring

import pytest
import time_machine

from dicom_node.cli.associations import recent
from dicom_node.services import audit
from dicom_node.services.audit import CallAudit
from dicom_node.services.audit_witness import witness
from dicom_node.settings import load_settings
from dicom_node.site import utc_now
from tests.commands import Commands
from tests.factories import make_mg, write_file
from tests.live import free_port
from tests.sites import opened_site, write_site

CALLED = {"called_ae": "SBB_NODE", "peer": "10.20.30.99"}


@pytest.fixture
def trail(site: Path) -> Path:
    """The segment of a trail in which somebody stored nothing, somebody is at it, and two were refused."""
    with opened_site(site) as stores:
        calls = CallAudit(stores.archive.audit)
        audit.node_started(stores.archive.audit, version="1", port=104)
        gone = calls.association(calling_ae="PRONE_RM2", called_ae="SBB_NODE", peer="127.0.0.1")
        gone.accepted(name="units.prone1", contexts=1)
        gone.ended(how="released", seconds=0.5)
        calls.association(calling_ae="PACS", called_ae="SBB_NODE", peer="127.0.0.1").accepted(
            name="peers.pacs", contexts=1
        )
        calls.refused(calling_ae='NEW"\x1b[2J', code="1/1/3", reason="the calling AE title is not listed", **CALLED)
        calls.refused(calling_ae="PACS", called_ae="OTHER", peer="10.1.1.1", code="1/1/7", reason="it calls 'OTHER'")
        witness(stores.archive.audit, stores.index)
    return site.parent / "data" / "audit" / "000000000001.jsonl"


def test_the_trail_is_listed_by_kind_and_day(commands: Commands, trail: Path) -> None:
    shown = commands.good("audit", "list")
    assert len(shown.lines) == 7
    assert "\x1b" not in shown.out
    assert [each["seq"] for each in commands.json("audit", "list")] == [1, 2, 3, 4, 5, 6]
    found = commands.json("audit", "list", "--kind", "association.refused")
    assert [each["code"] for each in found] == ["1/1/3", "1/1/7"]
    assert commands.json("audit", "list", "--since", "2099-01-01") == []
    assert trail.exists()


def test_a_good_trail_is_verified(commands: Commands, trail: Path) -> None:
    assert commands.good("audit", "verify").out.startswith("6 lines, all right; the last has the sum ")
    told = commands.json("audit", "verify")
    assert (told["records"], told["problem"], told["head"]["seq"]) == (6, None, 6)
    assert told["head"]["sha256"] in trail.read_text()


@pytest.mark.parametrize("change", ["flip", "remove", "swap", "end", "all"])
def test_a_changed_trail_is_told_with_the_first_bad_line(commands: Commands, trail: Path, change: str) -> None:
    lines = trail.read_bytes().splitlines(keepends=True)
    changed = {
        "flip": [*lines[:2], lines[2].replace(b"released", b"releasee"), *lines[3:]],
        "remove": [*lines[:2], *lines[3:]],
        "swap": [*lines[:2], lines[3], lines[2], *lines[4:]],
        "end": lines[:-1],
        "all": [],
    }[change]
    trail.write_bytes(b"".join(changed))
    told = commands("audit", "verify")
    assert (told.code, told.err) == (1, "")
    where = {
        "flip": "2 lines right, then: line 3 of audit/000000000001.jsonl does not match its sum",
        "remove": "2 lines right, then: line 3 of audit/000000000001.jsonl has the number 4; 3 should come",
        "swap": "2 lines right, then: line 3 of audit/000000000001.jsonl has the number 4; 3 should come",
        "end": "5 lines right, then: the end is missing: it went up to number 6 before",
        "all": "0 lines right, then: the end is missing: it went up to number 6 before",
    }[change]
    assert told.out.strip() == where


def test_the_trail_is_exported_as_audit_messages_and_as_it_stands(
    commands: Commands, trail: Path, tmp_path: Path
) -> None:
    before = trail.read_bytes()
    told = commands.good("audit", "export", "--output", str(tmp_path / "trail.xml"))
    assert told.out == f"6 lines of the audit trail in {tmp_path / 'trail.xml'}\n"
    documents = (tmp_path / "trail.xml").read_text("utf-8").split('<?xml version="1.0" encoding="UTF-8"?>\n')[1:]
    assert [fromstring(document).tag for document in documents] == ["AuditMessage"] * 6
    commands.good("audit", "export", "--format", "json", "--output", str(tmp_path / "trail.jsonl"))
    assert (tmp_path / "trail.jsonl").read_bytes().startswith(before)
    assert [each["event"] for each in commands.json("audit", "list")][6:] == ["audit.exported"] * 2
    again = commands("audit", "export", "--output", str(tmp_path / "trail.xml"))
    assert (again.code, "is there already" in again.err) == (1, True)


def test_the_import_and_the_check_of_the_archive_are_in_the_trail(commands: Commands, tmp_path: Path) -> None:
    ds = make_mg(serial="PT-4471")
    commands.good("import", str(write_file(tmp_path / "a.dcm", ds)))
    commands.good("verify", "--all")
    commands.good("alerts", "silence", "prone1", "--for", "2d", "--reason", "service", "--by", "jane")
    commands.good("release", "record", "prone1", "--date", "2026-11-20", "--by", "jane")
    told = commands.json("audit", "list")
    assert [each["event"] for each in told] == [
        "files.imported", "archive.verified", "unit.silenced", "release.recorded"
    ]  # fmt: skip
    assert told[0]["studies"] == {ds.StudyInstanceUID: {ds.SOPClassUID: 1}}
    assert told[3]["by"] == "jane"
    assert commands.good("audit", "verify").code == 0


def test_making_the_index_anew_keeps_the_trail(commands: Commands, trail: Path) -> None:
    before = trail.read_bytes()
    commands.good("rebuild", "--yes")
    assert trail.read_bytes().startswith(before)
    assert commands.json("audit", "list")[-1]["event"] == "index.rebuilt"
    (trail.parents[1] / "node.db").unlink()
    commands.good("rebuild", "--yes")
    assert commands.good("audit", "verify").out.startswith("8 lines, all right")


def test_associations_are_told_newest_last(commands: Commands, trail: Path) -> None:
    assert trail.exists()
    told = commands.json("associations")
    assert [(each["calling_ae"], each["outcome"]) for each in told] == [
        ("PRONE_RM2", "released"),
        ("PACS", "under way"),
        ('NEW"\x1b[2J', "refused"),
        ("PACS", "refused"),
    ]
    assert told[0]["name"] == "units.prone1"
    shown = commands.good("associations")
    assert len(shown.lines) == 5
    assert "To admit" not in shown.out
    assert [each["outcome"] for each in commands.json("associations", "--limit", "2")] == ["refused", "refused"]


def test_what_would_admit_a_refused_caller_can_be_pasted(commands: Commands, trail: Path, site: Path) -> None:
    assert trail.exists()
    shown = commands.good("associations", "--rejected")
    assert "\x1b" not in shown.out
    assert 'ae_title = "NEW\\U00000022\\U0000001b[2J"' in shown.out
    stranger, misnamed = [each["config"] for each in commands.json("associations", "--rejected")]
    for lines in (stranger, misnamed):
        tomllib.loads("\n".join(lines))
    assert tomllib.loads("\n".join(misnamed)) == {"node": {"ae_title": ["SBB_NODE", "OTHER"]}}


def test_a_stranger_is_admitted_by_the_lines_it_was_refused_with(commands: Commands, site: Path) -> None:
    with opened_site(site) as stores:
        CallAudit(stores.archive.audit).refused(calling_ae="7TH FLOOR", code="1/1/3", reason="not listed", **CALLED)
    (refused,) = commands.json("associations", "--rejected")
    peer = refused["config"][: refused["config"].index(next(line for line in refused["config"] if "# or" in line))]
    unit = refused["config"][len(peer) :]
    for number, lines in enumerate((peer, unit)):
        folder = site.parent / str(number)
        folder.mkdir()
        config = write_site(folder, port=free_port())
        config.write_text(config.read_text() + "\n" + "\n".join(lines))
        callers = load_settings(config, {}).settings.callers()
        assert any(each.ae_title == "7TH FLOOR" and each.calls_from("10.20.30.99") for each in callers)


@pytest.mark.parametrize(
    ("call", "lines"),
    [
        # It lacks the proof that its entry asks for: nothing that lets it in without is to be pasted.
        ({"calling_ae": "PRONE_RM2", "peer": "127.0.0.1", "code": "1/1/3"}, []),
        (
            {"calling_ae": "UPRIGHT_B", "peer": "10.20.30.22", "code": "1/1/3"},
            ["# if the device moved, in the entry of units.upright_b:", 'host = ["127.0.0.0/8", "10.20.30.22"]'],
        ),
        (
            {"calling_ae": "PACS", "peer": "127.0.0.1", "code": "1/1/1", "needs": ["move"]},
            ["# in the entry of peers.pacs, what of it is to be allowed:", 'allow = ["echo", "find", "move"]'],
        ),
        ({"calling_ae": "PACS", "peer": "127.0.0.1", "code": "1/1/1"}, []),
        ({"calling_ae": "", "peer": "127.0.0.1", "code": ""}, []),
    ],
)
def test_who_is_listed_is_admitted_by_its_own_entry(
    commands: Commands, site: Path, call: dict[str, Any], lines: list[str]
) -> None:
    with opened_site(site) as stores:
        CallAudit(stores.archive.audit).refused(called_ae="SBB_NODE", reason="in words", **call)
    (refused,) = commands.json("associations", "--rejected")
    assert refused["config"] == lines


def test_nobody_has_called(commands: Commands) -> None:
    assert commands.good("associations").out == "Nobody has called.\n"
    assert commands.good("associations", "--rejected").out == "Nobody was refused.\n"


def test_an_association_of_an_earlier_run_is_not_under_way(site: Path) -> None:
    with opened_site(site) as stores:
        trail = stores.archive.audit
        CallAudit(trail).association(calling_ae="A", called_ae="B", peer="10.0.0.1").accepted(name="a", contexts=1)
        audit.node_started(trail, version="1", port=104)
        assert [call.outcome for call in recent(trail.read_back(), rejected=False)] == ["broken"]


def test_new_ones_are_followed_until_ctrl_c(site: Path) -> None:
    command = [sys.executable, "-m", "dicom_node", "--config", str(site), "associations", "--follow", "--json"]
    with opened_site(site) as stores:
        calls = CallAudit(stores.archive.audit)
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Tests that run in the background of a shell are deaf to Ctrl-C, and so would this be.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - it does this one thing
        )
        try:
            assert process.stdout is not None
            told = []
            for number in range(2):
                # Until it says something it may not have begun to look.
                reader = process.stdout
                while not _ready(reader, 0.3):
                    assert process.poll() is None
                    calls.refused(calling_ae=f"X{number}", code="1/1/3", reason="not listed", **CALLED)
                told.append(json.loads(reader.readline()))
            assert all(each["outcome"] == "refused" and each["config"] for each in told)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
            assert process.stderr is not None
            assert process.stderr.read() == b""
        finally:
            process.kill()
            process.communicate()


def _ready(reader: IO[bytes], seconds: float) -> bool:
    return bool(select.select([reader], [], [], seconds)[0])


def test_status_tells_of_lines_that_could_not_be_forwarded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], logs_as_they_were: None
) -> None:
    config = write_site(tmp_path, more='[audit.syslog]\nhost = "audit.example.org"\n')
    with opened_site(config) as stores:
        audit.node_stopped(stores.archive.audit)
    commands = Commands(config, capsys)
    with time_machine.travel(utc_now() + timedelta(minutes=50)):
        assert commands.json("status")["audit"]["unsent"] == 1
        assert "could not be forwarded" not in commands.good("status").out
    with time_machine.travel(utc_now() + timedelta(minutes=70)):
        assert "! 1 line of the audit trail could not be forwarded since " in commands.good("status").out
