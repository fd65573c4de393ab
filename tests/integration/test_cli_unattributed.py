"""``dicom-node unattributed resolve --rule``: lines of configuration that would have placed an exam."""

import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from dicom_node.accreditation.proposals import proposals
from dicom_node.accreditation.signals import Role, Signals
from dicom_node.accreditation.units import Registry
from tests.commands import Commands
from tests.factories import make_mg, make_stereo_pair
from tests.sites import opened_site, receive_all

BIOPSY: dict[str, Any] = {"stage": "STEREO_SCOUT", "day": date(2026, 11, 18)}
ROUTER = '[senders.router]\nrole = "router"\nae_title = "ROUTER"\nhost = "127.0.0.0/8"\n'


def placed(site: Path, commands: Commands, exam: str, unit: str) -> list[str]:
    """Place an exam, append the lines that are written to the configuration, and see that they place it as well."""
    called = commands.good("unattributed", "resolve", exam, "--unit", unit, "--reason", "seen", "--rule")
    answer, written = called.out.split("\n", 1)
    placed_as = answer.removeprefix("exam ").partition(":")[0]
    assert placed_as in [each["exam"] for each in commands.json("exams", "list", "--unit", unit)]
    lines = [line for line in written.splitlines() if line and not line.startswith("#")]
    with site.open("a", encoding="utf-8") as config:
        config.write(written)
    (held,) = commands.json("reattribute", "preview")["held"]
    assert (held["unit"], held["rules_before"], held["rules_after"], held["agrees"]) == (unit, None, unit, True)
    assert tomllib.loads("\n".join(lines))
    return lines


def exam_of(commands: Commands, unit: str) -> str:
    return str(next(each["exam"] for each in commands.json("exams", "list", "--unit", unit, "--all")))


def waiting(commands: Commands) -> list[str]:
    return [each["exam"] for each in commands.json("unattributed", "list")]


def test_a_serial_number_becomes_an_identity(site: Path, commands: Commands) -> None:
    with opened_site(site) as stores:
        receive_all(
            stores, *((ds, "ADDON_WS") for ds in make_stereo_pair(serial='UX-"9', station="", day=date(2026, 11, 18)))
        )
    (exam,) = waiting(commands)
    assert placed(site, commands, exam, "upright_b") == [
        "[[units.upright_b.identity]]", r'device_serial = "UX-\u00229"', 'manufacturer = "Synthetic Imaging"',
    ]  # fmt: skip


def test_what_an_attachment_writes_of_its_host_becomes_an_attribute_map(site: Path, commands: Commands) -> None:
    with opened_site(site) as stores:
        receive_all(stores, (make_mg(serial="", station="ROOM-6", **BIOPSY), "ADDON_WS"))
    (exam,) = waiting(commands)
    assert placed(site, commands, exam, "upright_b") == [
        "[[attachments.addon1.attribute]]", 'keyword = "StationName"', 'map = { "ROOM-6" = "upright_b" }',
    ]  # fmt: skip


def test_a_station_name_becomes_an_identity_where_no_other_unit_has_it(site: Path, commands: Commands) -> None:
    site.write_text(site.read_text("utf-8") + ROUTER, "utf-8")
    with opened_site(site) as stores:
        receive_all(stores, (make_mg(serial="", station="ROOM-7", **BIOPSY), "ROUTER"))
    (exam,) = waiting(commands)
    assert placed(site, commands, exam, "prone1") == [
        "[[units.prone1.identity]]", 'station_name = "ROOM-7"', 'institution = "Synthetic Clinic"',
    ]  # fmt: skip


def test_a_serial_number_that_two_units_have_becomes_a_rule_of_all_there_is(site: Path, commands: Commands) -> None:
    text = site.read_text("utf-8").replace('device_serial = "UB-1003"', 'device_serial = "UA-1002"')
    site.write_text(text + ROUTER, "utf-8")
    with opened_site(site) as stores:
        receive_all(
            stores,
            (make_mg(serial="UA-1002", station="A", DetectorID="D-1", **BIOPSY), "ROUTER"),
            (make_mg(serial="UA-1002", station="A", DetectorID="D-2", **BIOPSY), "ROUTER"),
        )
    exam = waiting(commands)[1]
    lines = placed(site, commands, exam, "upright_b")
    assert lines[:3] == ["[[rules]]", f'name = "exams like {exam}"', 'unit = "upright_b"']
    assert 'DetectorID = "D-1"' in lines
    assert commands.json("reattribute", "preview")["exams"] == []  # the other exam is not drawn along


def test_lines_are_not_written_when_exams_of_another_unit_say_the_same(site: Path, commands: Commands) -> None:
    with opened_site(site) as stores:
        receive_all(
            stores,
            (make_mg(serial="", station="ROOM-6", **BIOPSY), "ADDON_WS"),
            (make_mg(serial="", station="ROOM-6", **BIOPSY), "ADDON_WS"),
        )
    one, other = waiting(commands)
    commands.good("unattributed", "resolve", one, "--unit", "upright_a", "--reason", "seen")
    called = commands.good("unattributed", "resolve", other, "--unit", "upright_b", "--reason", "seen", "--rule")
    assert called.lines[-1] == (
        f"# Nothing that {other} says of its device tells it from exams of upright_a: no line would place it alone."
    )


def test_what_else_they_would_place_is_told(site: Path, commands: Commands) -> None:
    with opened_site(site) as stores:
        receive_all(stores, *((make_mg(serial="", station="ROOM-6", **BIOPSY), "ADDON_WS") for _ in range(2)))
    one, other = waiting(commands)
    called = commands.good("unattributed", "resolve", one, "--unit", "upright_b", "--reason", "seen", "--rule")
    assert f"; these too: {other}. Add at the end of" in called.out


def test_a_unit_that_is_known_by_its_sender_alone_keeps_its_exams(site: Path, commands: Commands) -> None:
    # A first serial number would make every exam with another one doubtful.
    text = site.read_text("utf-8").replace('device_serial = "UB-1003"\n', "")
    site.write_text(text, "utf-8")
    with opened_site(site) as stores:
        receive_all(
            stores,
            (make_mg(serial="UB-OLD", station="", **BIOPSY), "UPRIGHT_B"),
            (make_mg(serial="UB-NEW", station="", **BIOPSY), "ADDON_WS"),
        )
    (exam,) = waiting(commands)
    lines = placed(site, commands, exam, "upright_b")
    assert lines[0] == "[[attachments.addon1.attribute]]"
    assert commands.json("reattribute", "preview")["exams"] == []


def test_what_the_rules_place_already_needs_no_line(site: Path, commands: Commands) -> None:
    with opened_site(site) as stores:
        receive_all(stores, (make_mg(serial="UA-1002", **BIOPSY), "UPRIGHT_A"))
    exam = exam_of(commands, "upright_a")
    called = commands.good("unattributed", "resolve", exam, "--unit", "upright_a", "--reason", "seen", "--rule")
    assert called.lines[-1] == f"# The configuration places exams like {exam} on upright_a already."


def test_a_configuration_that_takes_no_lines_of_a_kind_gets_others(site: Path, commands: Commands) -> None:
    text = site.read_text("utf-8")
    head, tail = text.split("[[units.upright_b.identity]]", 1)
    body, rest = tail.split("[attachments", 1)
    assert 'ae_title = "UPRIGHT_B"' in body
    inline = 'identity = [{ ae_title = "UPRIGHT_B", host = "127.0.0.0/8", device_serial = "UB-1003" }]\n'
    site.write_text(f"{head}{inline}[attachments{rest}", "utf-8")
    with opened_site(site) as stores:
        receive_all(stores, (make_mg(serial="UX-9", station="", **BIOPSY), "ADDON_WS"))
    (exam,) = waiting(commands)
    assert placed(site, commands, exam, "upright_b")[0] == "[[attachments.addon1.attribute]]"


@pytest.mark.parametrize("text", ['a"b', "a\\b", "a\tb", "ж\u202eк", "\U0001f600", "#", "\x7f"])
def test_every_text_is_valid_toml(text: str) -> None:
    image = Signals(role=Role.PRIMARY, attributes={"DetectorID": text})
    for proposal in proposals([image], Registry(), "a", name="n"):
        assert tomllib.loads(proposal.lines)["rules"][0]["when"] == {"DetectorID": text}
