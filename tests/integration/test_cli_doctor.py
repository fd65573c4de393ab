"""``dicom-node doctor``: what it sees of a facility in good order, and of one where things are wrong."""

import errno
import json
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dicom_node.archive.files import refusals
from dicom_node.archive.space import MARKER
from dicom_node.cli import doctor
from dicom_node.dimse import pdu
from dicom_node.services.review import review
from tests.called import peer
from tests.commands import Commands
from tests.factories import make_mg
from tests.live import free_port
from tests.receivers import raw_server
from tests.sites import START, opened_site, receive

CHANNELS = """
[[alerts.channel]]
name = "ops-mail"
type = "smtp"
host = "127.0.0.1"
port = {mail}
security = "none"
from = "node@example.org"
to = ["ops@example.org"]
[[alerts.channel]]
name = "hook"
type = "webhook"
url = "http://127.0.0.1:{web}/"
[alerts.dead_man]
url = "http://127.0.0.1:{web}/ping"
"""


def add(config: Path, text: str) -> None:
    with config.open("a", encoding="utf-8") as file:
        file.write(text)


def listed(name: str, port: int) -> str:
    return f'[peers.{name}]\nae_title = "{name.upper()}"\nhost = "127.0.0.1"\nport = {port}\n'


def look(commands: Commands) -> dict[str, dict[str, Any]]:
    """Call it and return its checks by name; that its exit code says the same as they do."""
    called = commands("doctor", "--json")
    told = json.loads(called.out)
    assert called.code == (0 if told["ok"] else 1)
    assert told["ok"] == all(check["ok"] for check in told["checks"])
    assert all(check["ok"] or check["fix"] for check in told["checks"])
    return {check["name"]: check for check in told["checks"]}


def test_those_that_are_called_are_tried(site: Path, commands: Commands) -> None:
    refusing = pdu.associate_reject(1, 1, 3)
    nobody = free_port()
    with (
        peer() as good,
        raw_server(lambda connection: connection.sendall(refusing)) as bad,
        raw_server(lambda _: None) as open_port,
    ):
        add(site, listed("good", good) + listed("bad", bad) + listed("gone", nobody))
        add(site, CHANNELS.format(mail=open_port, web=nobody))
        checks = look(commands)
    assert checks["peers.good"]["ok"]
    assert checks["peers.good"]["seen"] == f"GOOD at 127.0.0.1 port {good} answers C-ECHO"
    assert not checks["peers.bad"]["ok"]
    assert checks["peers.bad"]["seen"].endswith("refuses the association: calling AE title not recognized")
    assert checks["peers.bad"]["fix"].startswith("list SBB_NODE with this machine's address there")
    assert checks["peers.gone"]["seen"].endswith("nobody listens there")
    assert checks["channel ops-mail"]["ok"]
    assert checks["channel hook"]["seen"] == f"127.0.0.1 port {nobody}: connection refused"
    assert not checks["alerts.dead_man"]["ok"]


def test_the_node_s_own_is_looked_at(site: Path, commands: Commands, time_machine: Any) -> None:
    checks = look(commands)
    assert [name for name, check in checks.items() if not check["ok"]] == ["listener", "review"]
    assert checks["listener"]["seen"] == "the node is not running"
    assert checks["review"]["seen"] == "there was none yet, and one is overdue"
    with opened_site(site) as stores:
        receive(stores, make_mg(serial="PT-4471"))
        rules, channels = stores.site.rules, stores.site.channels
        review(stores.index, rules, channels, today=START.date(), now=START)
    assert [name for name, check in look(commands).items() if not check["ok"]] == ["listener"]
    time_machine.move_to(START + timedelta(days=2))
    assert not look(commands)["review"]["ok"]
    time_machine.move_to(START - timedelta(hours=2))
    clock = look(commands)["clock"]
    assert clock["seen"] == (
        "the last instance came at 2026-11-23 09:00 CST, and this machine says it is 2026-11-23 07:00 CST"
    )


def test_what_keeps_the_node_from_storing_is_told(site: Path, commands: Commands) -> None:
    text = site.read_text(encoding="utf-8")
    site.write_text(text.replace('min_free = "1 MiB"', 'min_free = "900 TiB"'), encoding="utf-8")
    disk = look(commands)["disk"]
    assert not disk["ok"]
    assert "less than its reserve" in disk["seen"]
    with sqlite3.connect(site.parent / "data" / "node.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    checks = look(commands)
    assert list(checks) == ["index"]
    assert checks["index"]["fix"] == "install the release that made it, or a newer one"
    (site.parent / "data" / MARKER).unlink()
    checks = look(commands)
    assert list(checks) == ["archive"]
    assert "mount the volume" in checks["archive"]["fix"]


def test_an_archive_of_another_user_is_not_to_be_made_anew(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        with refusals("open the archive"):
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(doctor, "opened", refuse)
    fix = look(commands)["archive"]["fix"]
    assert "as the node's user" in fix
    assert "--create" not in fix


def test_people_get_a_line_for_each_and_what_to_do(site: Path, commands: Commands) -> None:
    called = commands("doctor")
    assert called.code == 1
    assert called.lines[0] == f"ok       archive   {site.parent}/data is the archive"
    at = called.lines.index("problem  listener  the node is not running")
    assert called.lines[at + 1] == "         -> start it: systemctl start dicom-node, or dicom-node serve"
