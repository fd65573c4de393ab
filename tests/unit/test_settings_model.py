import os
import re
from collections.abc import Iterator
from datetime import date
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.units import Assignment, Condition, SenderRole, UnitKind
from dicom_node.settings import Settings, load_settings
from dicom_node.settings.devices import ConfigTable
from dicom_node.settings.schema import fields_of, items_in, tables_in
from dicom_node.settings.show import written
from tests.unit.configs import SMALL, UNIT, write_config

ROOT = Path(__file__).parents[2]

MORE = """\
[[units.prone1.identity]]
ae_title = "PACS"
host = ["10.20.30.5", "fd00::5"]
[attachments.addon1]
label = "Add-on"
[[attachments.addon1.assigned]]
unit = "prone1"
from = 2026-01-01
to = "2026-06-30"
[[attachments.addon1.identity]]
ae_title = "ADDON"
host = "10.20.30.30"
[[attachments.addon1.attribute]]
keyword = "StationName"
map = { "P-1" = "prone1" }
[senders.cabinet]
role = "specimen"
ae_title = "SPECIMEN"
host = "10.20.30.40"
[[rules]]
name = "old name"
when = { StationName = "P-0", Modality = { folded = "mg" }, AcquisitionDate = { from = "20260101" } }
portion = "phantom"
[peers.pacs]
ae_title = "PACS"
host = ["fd00::5", "10.20.30.5"]
"""


def settings_of(folder: Path, more: str = "") -> Settings:
    return load_settings(write_config(folder, SMALL + UNIT + MORE + more), {}).settings


def test_the_registry_holds_what_the_file_says(tmp_path: Path) -> None:
    registry = settings_of(tmp_path).registry()
    unit = registry.units["prone1"]
    assert (unit.id, unit.kind, unit.identities[0].device_serial) == ("prone1", UnitKind.PRONE, "PT-1")
    assert unit.identities[1].hosts == (ip_network("10.20.30.5"), ip_network("fd00::5"))
    attachment = registry.attachments["addon1"]
    assert attachment.assignments == (
        Assignment(unit="prone1", first_day=date(2026, 1, 1), last_day=date(2026, 6, 30)),
    )
    assert attachment.attribute_maps[0].units == {"P-1": "prone1"}
    assert registry.senders["cabinet"].role is SenderRole.SPECIMEN
    (rule,) = registry.rules
    assert rule.conditions == (
        Condition(name="StationName", equals="P-0"),
        Condition(name="Modality", folded="mg"),
        Condition(name="AcquisitionDate", lowest="20260101"),
    )
    assert rule.portion is Portion.PHANTOM


def test_a_caller_that_is_listed_twice_may_do_both(tmp_path: Path) -> None:
    callers = {caller.ae_title: caller for caller in settings_of(tmp_path).callers()}
    assert {title: set(caller.services) for title, caller in callers.items()} == {
        "PRONE": {"echo", "store", "commit"},
        "PACS": {"echo", "store", "commit", "find"},
        "ADDON": {"echo", "store", "commit"},
        "SPECIMEN": {"echo", "store", "commit"},
    }
    assert callers["PRONE"].hosts == (ip_network("10.20.30.11"),)


def test_the_example_has_three_units_that_call_from_this_machine() -> None:
    loaded = load_settings(ROOT / "config" / "dicom-node.toml", {})
    assert loaded.warnings == ()
    settings = loaded.settings
    assert list(settings.units) == ["prone1", "upright_a", "upright_b"]
    assert (settings.node.ae_title, settings.node.bind, settings.node.port) == (("SBB_NODE",), "127.0.0.1", 11112)
    assert settings.storage.path == ROOT / "var"
    assert {caller.ae_title: "find" in caller.services for caller in settings.callers()} == {
        "PRONE_RM2": False,
        "UPRIGHT_A": False,
        "UPRIGHT_B": False,
        "ADDON_WS": False,
        "PACS": True,
    }
    assert all(caller.calls_from("127.0.0.1") and caller.calls_from("::1") for caller in settings.callers())
    assert not any(caller.calls_from("10.20.30.11") for caller in settings.callers())


def tables(annotation: Any) -> Iterator[type[ConfigTable]]:
    for table in tables_in(annotation):
        yield table
        for _, _, field in fields_of(table):
            yield from tables(items_in(field.annotation) or field.annotation)


def told_by_code() -> dict[str, list[tuple[str, str]]]:
    """Return the keys of each table, in order, with their defaults as the file would have them."""
    found = {}
    for table in tables(Settings):
        rows = []
        for _, key, field in fields_of(table):
            if table is Settings and key != "config_version":
                continue
            if len(tables_in(field.annotation)) == 1 and field.default is not PydanticUndefined:
                continue  # a table of its own, told under its own header
            default = "*required*" if field.is_required() else f"`{written(field, field.default)}`"
            rows.append((key, "*none*" if default == "``" else default))
        found[table.__name__] = rows
    return found


HEADERS = {
    "Settings": "At the top",
    "FacilityTable": "`[facility]`",
    "NodeTable": "`[node]`",
    "TlsTable": "`[node.tls]`",
    "LimitsTable": "`[node.limits]`",
    "StorageTable": "`[storage]`",
    "DatabaseTable": "`[database]`",
    "AccreditationTable": "`[accreditation]`",
    "RemindTable": "`[accreditation.remind]`",
    "TermsTable": "`[accreditation.milestones]`",
    "PolicyTable": "`[[accreditation.policies]]`",
    "OverrideTable": "`[[accreditation.overrides]]`",
    "MonthsTable": "`months` of a policy",
    "OtherFacilityTable": "`[facilities.ID]`",
    "UnitTable": "`[units.ID]`",
    "EnrolmentTable": "`[[units.ID.enrolled]]`",
    "IdentityTable": "`[[units.ID.identity]]`",
    "AttachmentTable": "`[attachments.ID]`",
    "AssignmentTable": "`[[attachments.ID.assigned]]`",
    "AttributeTable": "`[[attachments.ID.attribute]]`",
    "SenderTable": "`[senders.ID]`",
    "RuleTable": "`[[rules]]`",
    "ConditionTable": "`when` of a rule",
    "PeerTable": "`[peers.ID]`",
    "AlertsTable": "`[alerts]`",
    "SmtpChannelTable": '`[[alerts.channel]]` with `type = "smtp"`',
    "WebhookChannelTable": '`[[alerts.channel]]` with `type = "webhook"`',
    "LogChannelTable": '`[[alerts.channel]]` with `type = "log"`',
    "DeadManTable": "`[alerts.dead_man]`",
    "AuditTable": "`[audit]`",
    "SyslogTable": "`[audit.syslog]`",
    "LogTable": "`[log]`",
}


def test_the_document_tells_every_key_with_its_default() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    told = {}
    for section in text.split("\n## ")[1:]:
        header, _, body = section.partition("\n")
        table = body.partition("| key | meaning | default |")[2].partition("\n\n")[0]
        told[header] = dict(re.findall(r"^\| `(\w+)` \| .* \| (\S.*) \|$", table, re.MULTILINE))
    for name, rows in told_by_code().items():
        assert told[HEADERS[name]] == dict(rows), name


@pytest.mark.parametrize(
    ("written", "processors", "number"),
    [('"auto"', 1, 1), ('"auto"', 3, 3), ('"auto"', 64, 4), ("6", 2, 6), ("1", 8, 1)],
)
def test_as_many_processes_receive_as_is_written_or_as_there_are_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, processors: int, number: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(processors)))
    text = SMALL + UNIT + f"[node]\nworkers = {written}\n"
    settings = load_settings(write_config(tmp_path, text), {}).settings
    assert settings.node.number_of_workers() == number


def test_whoever_has_a_port_can_be_called(tmp_path: Path) -> None:
    more = """
[peers.archive]
ae_title = "ARCHIVE"
host = "10.0.0.9"
port = 104
tls = true
allow = ["move-destination"]
[senders.router]
role = "router"
ae_title = "ROUTER"
host = ["10.0.1.0/24"]
address = "10.0.1.7"
port = 11112
"""
    more += '[node.tls]\ncertificate_file = "node.crt"\nkey_file = "node.key"\nca_file = "ca.pem"\n'
    found = {each.name: each for each in settings_of(tmp_path, more).destinations()}
    assert set(found) == {"peers.archive", "senders.router"}
    archive, router = found["peers.archive"], found["senders.router"]
    assert (archive.ae_title, archive.address, archive.port, archive.tls) == ("ARCHIVE", "10.0.0.9", 104, True)
    assert archive.services == {"move-destination"}
    assert (router.address, router.port, router.tls) == ("10.0.1.7", 11112, False)
    assert router.services == {"echo", "store", "commit"}
