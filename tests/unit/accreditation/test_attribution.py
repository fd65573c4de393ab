"""Which unit made an instance: the ladder of evidence, attachments, and every doubt."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.accreditation.attribution import Attributed, Unattributed, attribute, attribute_by_hand
from dicom_node.accreditation.signals import Role, Signals, Stage
from dicom_node.accreditation.units import Assignment, AttributeMap, Condition, Registry, Rule, UnitKind
from tests.unit.accreditation.facility import (
    ADDON,
    CABINET,
    DAY,
    NO_UNIT_DAY,
    ONE_UNIT_DAY,
    PACS,
    PRONE,
    UPRIGHT_A,
    UPRIGHT_B,
    from_a,
    from_addon,
    from_pacs,
    from_prone,
    identity,
    image,
    registry,
    sent_by,
    with_maps,
    with_unit,
)


def attributed(signals: Signals, to: Registry | None = None, day: date | None = DAY) -> Attributed:
    found = attribute(signals, to or registry(), day)
    assert isinstance(found, Attributed), found
    return found


def doubted(signals: Signals, to: Registry | None = None, day: date | None = DAY) -> Unattributed:
    found = attribute(signals, to or registry(), day)
    assert isinstance(found, Unattributed), found
    return found


# The ladder.


@pytest.mark.parametrize(
    ("signals", "unit", "evidence"),
    [
        (from_pacs(device_serial="PT-4471"), "prone1", "device serial PT-4471"),
        (from_pacs(device_serial=" pt-4471 "), "prone1", "device serial pt-4471"),
        (from_prone(), "prone1", "sender PRONE_RM2"),
        (from_prone(device_serial="PT-4471"), "prone1", "device serial PT-4471"),
        (sent_by(" PRONE_RM2 ", "::ffff:10.20.30.11"), "prone1", "sender PRONE_RM2"),
        (from_pacs(detector_id="det-a"), "upright_a", "detector id or device UID"),
        (from_pacs(device_uid="1.2.3.4"), "upright_b", "detector id or device UID"),
        (from_pacs(station_name="upr-a"), "upright_a", "station name upr-a"),
        (from_pacs(station_name="UPR-B", institution="EXAMPLE CENTER"), "upright_b", "station name UPR-B"),
        (image(station_name="UPR-A"), "upright_a", "station name UPR-A"),
    ],
    ids=[
        "a serial through a router",
        "a serial in other case and with spaces",
        "the unit's own sender",
        "a serial before the sender",
        "a sender with spaces from a mapped address",
        "a detector",
        "a device UID",
        "a station",
        "a station with its institution",
        "an import with a station",
    ],
)
def test_the_strongest_evidence_names_the_unit(signals: Signals, unit: str, evidence: str) -> None:
    found = attributed(signals)
    assert (found.unit, found.evidence, found.flags) == (unit, evidence, ())


@pytest.mark.parametrize(
    "signals",
    [
        sent_by("prone_rm2", "10.20.30.11"),
        sent_by("PRONE_RM2", "10.20.30.12"),
        sent_by("PRONE_RM2", "not an address"),
        sent_by("PRONE_RM2", ""),
        from_pacs(station_name="UPR-B", institution="Another Center"),
        from_pacs(station_name="UPR-B"),
        from_pacs(device_uid="1.2.3.4", attributes={"StudyInstanceUID": "1.2.3.4"}),
        image(),
    ],
    ids=[
        "an AE title in other case",
        "a right AE title from a wrong address",
        "a bad address",
        "no address",
        "a station of another institution",
        "a station without its institution",
        "a device UID that is the study's",
        "nothing at all",
    ],
)
def test_evidence_that_does_not_fit_names_nobody(signals: Signals) -> None:
    found = doubted(signals)
    assert not found.unregistered
    assert found.candidates == ()


def test_a_serial_beats_the_sender_and_the_disagreement_is_flagged() -> None:
    found = attributed(from_prone(device_serial="UA-1002"))
    assert found.unit == "upright_a"
    assert found.flags == ("sender PRONE_RM2 names prone1",)


def test_weaker_evidence_that_names_another_unit_is_flagged() -> None:
    found = attributed(from_a(detector_id="DET-A", station_name="UPR-B", institution="Example Center"))
    assert found.unit == "upright_a"
    assert found.flags == ("station name UPR-B names upright_b",)


def test_a_serial_needs_its_manufacturer_where_the_identity_has_one() -> None:
    unit = replace(PRONE, identities=(identity(device_serial="1002", manufacturer="ACME"),))
    assert attributed(from_pacs(device_serial="1002", manufacturer="acme "), with_unit(unit)).unit == "prone1"
    assert isinstance(
        attribute(from_pacs(device_serial="1002", manufacturer="Other"), with_unit(unit), DAY), Unattributed
    )
    assert isinstance(attribute(from_pacs(device_serial="1002"), with_unit(unit), DAY), Unattributed)


def test_two_units_with_the_same_serial_are_a_doubt_whatever_the_sender_says() -> None:
    twin = replace(UPRIGHT_B, identities=(identity("UPRIGHT_B", "10.20.30.22", device_serial="UA-1002"),))
    found = doubted(from_a(device_serial="UA-1002"), with_unit(twin))
    assert found.candidates == ("upright_a", "upright_b")
    assert not found.unregistered


def test_two_units_behind_one_sender_are_a_doubt() -> None:
    twin = replace(UPRIGHT_B, identities=(identity("UPRIGHT_A", "10.20.30.21"),))
    assert doubted(from_a(), with_unit(twin)).candidates == ("upright_a", "upright_b")


def test_a_router_is_no_evidence_even_where_a_unit_has_its_address() -> None:
    unit = replace(PRONE, identities=(identity("MAIN_PACS", "10.20.30.5"),))
    assert "no unit" in doubted(from_pacs(), with_unit(unit)).doubt


# A serial that contradicts.


def test_an_unknown_serial_from_a_units_own_sender_is_a_doubt() -> None:
    found = doubted(from_prone(device_serial="PT-9999"))
    assert found.doubt == "serial PT-9999 is not configured for prone1, though sender PRONE_RM2 names it"
    assert found.candidates == ("prone1",)
    assert not found.unregistered


@pytest.mark.parametrize(("stage", "unregistered"), [(Stage.POST_FIRE, True), (Stage.SPECIMEN, False), (None, False)])
def test_an_unknown_serial_is_an_unregistered_unit_when_the_image_shows_a_biopsy(
    stage: Stage | None, unregistered: bool
) -> None:
    assert doubted(from_a(device_serial="UC-1", stage=stage)).unregistered is unregistered


def test_an_unknown_serial_contradicts_detector_and_station_too() -> None:
    assert "UC-1" in doubted(from_pacs(device_serial="UC-1", detector_id="DET-A")).doubt
    assert "UC-1" in doubted(from_pacs(device_serial="UC-1", station_name="UPR-A")).doubt


def test_a_unit_without_configured_serials_is_believed_by_its_sender() -> None:
    unit = replace(PRONE, identities=(identity("PRONE_RM2", "10.20.30.11"),))
    assert attributed(from_prone(device_serial="PT-9999"), with_unit(unit)).unit == "prone1"


@pytest.mark.parametrize("role", [Role.SECONDARY, Role.CONTROL])
def test_the_serial_of_the_workstation_that_wrote_a_report_contradicts_nothing(role: Role) -> None:
    assert attributed(from_prone(role=role, device_serial="WS-1")).unit == "prone1"


def test_the_serial_in_a_dose_report_contradicts() -> None:
    assert "PT-9999" in doubted(from_prone(role=Role.EVIDENCE, device_serial="PT-9999")).doubt


# Devices that nothing names.


def test_a_biopsy_image_of_a_device_that_nothing_names_is_an_unregistered_unit() -> None:
    found = doubted(from_pacs(device_serial="UC-1", station_name="UPR-C", stage=Stage.SCOUT))
    assert found.unregistered
    assert "serial UC-1, station UPR-C, sender MAIN_PACS" in found.doubt


@pytest.mark.parametrize("values", [{"stage": None}, {"stage": Stage.SPECIMEN}, {"role": Role.SECONDARY}])
def test_anything_else_of_a_device_that_nothing_names_is_only_unattributed(values: dict[str, Any]) -> None:
    assert not doubted(from_pacs(**({"stage": Stage.SCOUT, "device_serial": "UC-1"} | values))).unregistered


@pytest.mark.parametrize("values", [{"station_name": "UPR-A"}, {"detector_id": "DET-A"}, {}])
def test_a_specimen_cabinet_is_never_a_unit(values: dict[str, Any]) -> None:
    found = doubted(sent_by("SPECIMEN_XR", "10.20.30.40", stage=Stage.BIOPSY, **values))
    assert "cabinet" in found.doubt
    assert not found.unregistered


def test_the_serial_of_a_unit_beats_a_specimen_cabinet_as_sender_and_is_flagged() -> None:
    found = attributed(sent_by("SPECIMEN_XR", "10.20.30.40", device_serial="UA-1002"))
    assert found.unit == "upright_a"
    assert found.flags == ("sent by cabinet, a specimen cabinet",)


def test_a_doubt_shows_a_devices_text_as_one_short_printable_line() -> None:
    doubt = doubted(from_pacs(device_serial="A\r\nB\x1b[31m" + "9" * 100)).doubt
    assert doubt.isprintable()
    assert "9" * 65 not in doubt


# Rules of the site.


def the_rule(**values: Any) -> Rule:
    return Rule(**({"name": "by paddle", "conditions": (Condition(name="PaddleDescription", equals="STX"),)} | values))


def test_a_rule_that_sets_a_unit_comes_before_the_ladder() -> None:
    signals = from_prone(device_serial="PT-4471", attributes={"PaddleDescription": "STX"})
    found = attributed(signals, registry(rules=(the_rule(unit="upright_b"),)))
    assert (found.unit, found.evidence) == ("upright_b", "rule by paddle")
    assert "device serial PT-4471 names prone1" in found.flags


def test_the_first_rule_that_holds_and_sets_a_unit_decides() -> None:
    rules = (
        the_rule(name="other paddle", conditions=(Condition(name="PaddleDescription", equals="FFDM"),), unit="prone1"),
        the_rule(name="attachment only", attachment="addon1"),
        the_rule(name="first", unit="upright_a"),
        the_rule(name="second", unit="upright_b"),
    )
    found = attributed(image(attributes={"PaddleDescription": "STX"}), registry(rules=rules))
    assert (found.unit, found.evidence, found.attachment) == ("upright_a", "rule first", "addon1")


@pytest.mark.parametrize("paddle", ["STX", "FFDM"])
def test_a_rule_that_sets_no_attachment_or_does_not_hold_leaves_the_attachment_as_derived(paddle: str) -> None:
    rules = (
        the_rule(unit="upright_a"),
        the_rule(name="no", conditions=(Condition(name="X", present=True),), attachment="y"),
    )
    signals = from_addon(device_serial="UA-1002", attributes={"PaddleDescription": paddle})
    assert attributed(signals, registry(rules=rules)).attachment == "addon1"


# Attachments.


def test_the_attachments_computer_is_attributed_by_the_units_serial() -> None:
    found = attributed(from_addon(device_serial="UB-1003"))
    assert (found.unit, found.attachment, found.flags) == ("upright_b", "addon1", ())


def test_the_attachments_computer_is_attributed_by_an_attribute_map() -> None:
    maps = with_maps(AttributeMap(keyword="StationName", units={"upr-a ": "upright_a", "UPR-B": "upright_b"}))
    found = attributed(from_addon(attributes={"StationName": "UPR-A"}), maps)
    assert (found.unit, found.attachment, found.evidence) == ("upright_a", "addon1", "StationName by an attribute map")


def test_attribute_maps_are_told_in_their_order_when_they_agree() -> None:
    maps = with_maps(
        AttributeMap(keyword="DeviceSerialNumber", units={"X1": "upright_b"}),
        AttributeMap(keyword="StationName", units={"WS": "upright_b"}),
    )
    signals = from_addon(device_serial="X1", attributes={"StationName": "WS", "DeviceSerialNumber": "X1"})
    assert attributed(signals, maps).evidence == "DeviceSerialNumber by an attribute map"


def test_attribute_maps_that_name_two_units_are_a_doubt() -> None:
    maps = with_maps(
        AttributeMap(keyword="DeviceSerialNumber", units={"X1": "upright_a"}),
        AttributeMap(keyword="StationName", units={"UPR-B": "upright_b"}),
    )
    found = doubted(from_addon(attributes={"DeviceSerialNumber": "X1", "StationName": "UPR-B"}), maps)
    assert (found.candidates, found.attachment) == (("upright_a", "upright_b"), "addon1")


def test_a_map_against_the_serial_of_another_unit_is_a_doubt() -> None:
    maps = with_maps(AttributeMap(keyword="StationName", units={"WS": "upright_b"}))
    found = doubted(from_addon(device_serial="UA-1002", attributes={"StationName": "WS"}), maps)
    assert found.candidates == ("upright_a", "upright_b")


def test_a_map_comes_before_a_rule_at_the_attachments_computer_and_a_rule_before_its_serial() -> None:
    rules = (the_rule(unit="upright_b"),)
    maps = with_maps(AttributeMap(keyword="StationName", units={"WS": "upright_a"}))
    both = from_addon(attributes={"PaddleDescription": "STX", "StationName": "WS"})
    assert attributed(both, replace(maps, rules=rules)).unit == "upright_a"
    serial = from_addon(device_serial="UA-1002", attributes={"PaddleDescription": "STX"})
    assert attributed(serial, registry(rules=rules)).unit == "upright_b"


def test_an_attachment_with_one_unit_that_day_decides() -> None:
    found = attributed(from_addon(), day=ONE_UNIT_DAY)
    assert (found.unit, found.attachment) == ("upright_a", "addon1")
    assert found.evidence == "the only unit addon1 is assigned to"


@pytest.mark.parametrize(
    ("day", "unit"),
    [(date(2026, 6, 30), "upright_a"), (date(2026, 7, 1), None), (date(2026, 11, 14), "upright_a"), (DAY, None)],
)
def test_both_ends_of_an_assignment_belong_to_it(day: date, unit: str | None) -> None:
    found = attribute(from_addon(), registry(), day)
    assert (found.unit if isinstance(found, Attributed) else None) == unit


def test_an_attachment_with_two_units_that_day_is_a_doubt_with_both_as_candidates() -> None:
    found = doubted(from_addon())
    assert (found.candidates, found.attachment, found.unregistered) == (("upright_a", "upright_b"), "addon1", False)


def test_an_attachment_with_no_unit_that_day_is_a_doubt() -> None:
    found = doubted(from_addon(), day=NO_UNIT_DAY)
    assert (found.candidates, found.unregistered) == ((), False)
    assert "no units" in found.doubt


def test_an_undated_image_is_attributed_only_when_the_attachment_never_had_another_unit() -> None:
    assert doubted(from_addon(), day=None).candidates == ("upright_a", "upright_b")
    always_a = registry(attachments={ADDON.id: replace(ADDON, assignments=(Assignment(unit="upright_a"),))})
    assert attributed(from_addon(), always_a, day=None).unit == "upright_a"


def test_station_and_detector_tell_the_units_of_an_attachment_apart() -> None:
    assert attributed(from_addon(station_name="UPR-A")).unit == "upright_a"
    assert attributed(from_addon(device_uid="1.2.3.4")).unit == "upright_b"


@pytest.mark.parametrize("day", [ONE_UNIT_DAY, DAY, NO_UNIT_DAY])
def test_an_unknown_serial_at_the_attachments_computer_is_an_unregistered_unit(day: date) -> None:
    found = doubted(from_addon(device_serial="UC-1"), day=day)
    assert found.unregistered
    assert found.attachment == "addon1"


def test_an_unknown_serial_is_no_unregistered_unit_while_a_candidate_has_no_serials() -> None:
    unit = replace(UPRIGHT_B, identities=(identity("UPRIGHT_B", "10.20.30.22"),))
    found = doubted(from_addon(device_serial="UC-1"), with_unit(unit))
    assert (found.candidates, found.unregistered) == (("upright_a", "upright_b"), False)


def test_the_attachments_own_serial_says_nothing_of_the_unit() -> None:
    addon = replace(ADDON, identities=(identity("ADDON_WS", "10.20.30.30", device_serial="WS-77"),))
    configured = registry(attachments={addon.id: addon})
    found = attributed(from_addon(device_serial="ws-77"), configured, ONE_UNIT_DAY)
    assert (found.unit, found.flags) == ("upright_a", ())
    assert not doubted(from_addon(device_serial="WS-77"), configured).unregistered


def test_an_attachment_seen_on_a_unit_it_is_not_assigned_to_is_flagged() -> None:
    found = attributed(from_addon(device_serial="UB-1003"), day=ONE_UNIT_DAY)
    assert found.flags == ("addon1 is not assigned to upright_b on that day",)


def test_a_biopsy_image_of_a_host_used_the_attachment_it_had_that_day() -> None:
    assert attributed(from_a(stage=Stage.SCOUT), day=ONE_UNIT_DAY).attachment == "addon1"
    assert attributed(from_a(stage=Stage.SCOUT), day=NO_UNIT_DAY).attachment is None
    assert attributed(from_a(), day=ONE_UNIT_DAY).attachment is None
    assert attributed(from_a(stage=Stage.SPECIMEN), day=ONE_UNIT_DAY).attachment is None


def test_of_two_attachments_on_one_unit_none_is_guessed() -> None:
    second = replace(ADDON, id="addon2", identities=(), assignments=(Assignment(unit="upright_a"),))
    both = registry(attachments={"addon1": ADDON, "addon2": second})
    assert attributed(from_a(stage=Stage.SCOUT), both, ONE_UNIT_DAY).attachment is None


def test_a_unit_whose_sender_is_also_the_attachments_is_a_candidate_beside_the_assigned_one() -> None:
    unit = replace(UPRIGHT_B, identities=(identity("ADDON_WS", "10.20.30.30"),))
    assert doubted(from_addon(), with_unit(unit), ONE_UNIT_DAY).candidates == ("upright_a", "upright_b")


def test_a_person_overrides_all_evidence() -> None:
    found = attribute_by_hand("upright_b", from_addon(device_serial="UA-1002"), registry(), DAY)
    assert found == Attributed(unit="upright_b", attachment="addon1", evidence="a person assigned it")


# What must hold for everything.

texts = st.sampled_from(
    [
        "",
        "UA-1002",
        "ub-1003",
        "PT-4471",
        "UC-1",
        "UPR-A",
        "UPR-B",
        "DET-A",
        "1.2.3.4",
        "ADDON_WS",
        "PRONE_RM2",
        "\x00é",
    ]
)
anything = st.builds(
    Signals,
    role=st.sampled_from(Role),
    device_serial=texts,
    station_name=texts,
    detector_id=texts,
    device_uid=texts,
    institution=st.sampled_from(["", "Example Center"]),
    calling_ae=st.sampled_from(["", "PRONE_RM2", "UPRIGHT_A", "ADDON_WS", "MAIN_PACS", "SPECIMEN_XR", "STRANGER"]),
    peer_address=st.sampled_from(["", "10.20.30.11", "10.20.30.21", "10.20.30.30", "10.20.30.5", "10.20.30.40", "x"]),
    stage=st.sampled_from([None, *Stage]),
)
some_days = st.sampled_from([None, DAY, ONE_UNIT_DAY, NO_UNIT_DAY])


@given(signals=anything, day=some_days)
def test_an_image_is_never_attributed_to_a_unit_with_other_serials_without_a_rule_or_a_map(
    signals: Signals, day: date | None
) -> None:
    found = attribute(signals, registry(), day)
    if isinstance(found, Attributed) and signals.role is Role.PRIMARY and signals.device_serial.strip():
        serial = registry().units[found.unit].identities[0].device_serial
        assert signals.device_serial.strip().casefold() == serial.casefold()


@given(signals=anything, day=some_days, order=st.permutations([PRONE, UPRIGHT_A, UPRIGHT_B]))
def test_the_order_of_the_units_in_the_configuration_changes_nothing(
    signals: Signals, day: date | None, order: list[Any]
) -> None:
    shuffled = registry(units={unit.id: unit for unit in order}, senders={CABINET.id: CABINET, PACS.id: PACS})
    assert attribute(signals, shuffled, day) == attribute(signals, registry(), day)


@given(signals=anything, day=some_days)
def test_only_a_biopsy_image_is_ever_called_unregistered(signals: Signals, day: date | None) -> None:
    found = attribute(signals, registry(), day)
    if isinstance(found, Unattributed) and found.unregistered:
        assert signals.role is Role.PRIMARY
        assert signals.stage not in (None, Stage.SPECIMEN)


@given(signals=anything, day=some_days)
def test_a_second_unit_with_the_same_identities_turns_every_answer_of_the_ladder_into_a_doubt(
    signals: Signals, day: date | None
) -> None:
    found = attribute(signals, registry(), day)
    if isinstance(found, Attributed) and not found.evidence.startswith("the only unit"):
        twin = replace(registry().units[found.unit], id="twin", kind=UnitKind.UPRIGHT)
        assert isinstance(attribute(signals, with_unit(twin), day), Unattributed)
