from dataclasses import replace

from dicom_node.accreditation.near_misses import near_misses
from dicom_node.accreditation.signals import Role, Signals
from dicom_node.accreditation.units import (
    Attachment,
    AttributeMap,
    Condition,
    Identity,
    Registry,
    Rule,
    Unit,
    UnitKind,
)

UNIT = Unit(
    id="upright_a",
    label="Upright A",
    kind=UnitKind.UPRIGHT,
    identities=(Identity(device_serial="UA-1002", station_name="UPR-A"),),
)


def make_registry(*conditions: Condition, unit: str | None = "upright_a") -> Registry:
    """Return one unit, and one rule when there are conditions."""
    rules = (Rule(name="room four", conditions=conditions, unit=unit),) if conditions else ()
    return Registry(units={"upright_a": UNIT}, rules=rules)


def make_signals(**attributes: str) -> Signals:
    """Return an image with these attributes."""
    return Signals(
        role=Role.PRIMARY,
        calling_ae="ADDON_WS",
        device_serial=attributes.get("DeviceSerialNumber", ""),
        station_name=attributes.get("StationName", ""),
        attributes=attributes,
    )


def test_a_rule_that_nearly_holds_tells_what_it_wants_and_what_there_is() -> None:
    registry = make_registry(
        Condition(name="StationName", equals="ROOM-4"), Condition(name="calling_ae", equals="ADDON_WS")
    )
    assert near_misses(make_signals(StationName="ROOM-6"), registry) == (
        "rule room four would say upright_a, but it wants StationName to be ROOM-4; the images have ROOM-6",
    )


def test_a_value_that_may_be_a_patients_is_never_shown() -> None:
    registry = make_registry(
        Condition(name="PatientID", regex="QC-.*"), Condition(name="calling_ae", folded="addon_ws")
    )
    (sentence,) = near_misses(make_signals(PatientID="SYNTH-0001"), registry)
    assert "SYNTH" not in sentence
    assert sentence.endswith("it wants PatientID to fit QC-.*; the images have another one")


def test_every_kind_of_test_has_words() -> None:
    holds = Condition(name="calling_ae", equals="ADDON_WS")
    for condition, words in (
        (Condition(name="StationName", folded="x"), "StationName to be x in any case"),
        (Condition(name="StationName", present=True), "StationName to be present"),
        (Condition(name="calling_ae", present=False), "calling_ae to be absent"),
        (Condition(name="StationName", lowest="1"), "StationName to be from 1 to any"),
        (Condition(name="StationName", highest="9"), "StationName to be from any to 9"),
    ):
        (sentence,) = near_misses(make_signals(), make_registry(condition, holds))
        assert words in sentence


def test_a_rule_of_which_nothing_or_everything_holds_came_not_near() -> None:
    other = Condition(name="calling_ae", equals="OTHER")
    assert near_misses(make_signals(), make_registry(other, other)) == ()
    held = Condition(name="calling_ae", equals="ADDON_WS")
    assert near_misses(make_signals(), make_registry(held)) == ()
    assert near_misses(make_signals(), make_registry(held, other, unit=None)) == ()


def test_the_map_of_the_attachment_that_sent_it_comes_first() -> None:
    addon = Attachment(
        id="addon1",
        label="Add-on",
        assignments=(),
        identities=(Identity(ae_title="ADDON_WS"),),
        attribute_maps=(
            AttributeMap(keyword="StationName", units={"UPR-A": "upright_a"}),
            AttributeMap(keyword="DeviceSerialNumber", units={"UA-1002": "upright_a"}),
        ),
    )
    registry = replace(
        make_registry(Condition(name="StationName", equals="X"), Condition(name="calling_ae", equals="ADDON_WS")),
        attachments={"addon1": addon},
    )
    found = near_misses(make_signals(StationName="UPRIGHT"), registry)
    assert found[:2] == (
        "addon1 tells the unit by StationName (UPR-A); the images have UPRIGHT",
        "addon1 tells the unit by DeviceSerialNumber (UA-1002); the images have none",
    )
    assert found[2].startswith("rule room four")
    other_sender = replace(make_signals(StationName="UPRIGHT"), calling_ae="OTHER")
    assert not any("addon1" in sentence for sentence in near_misses(other_sender, registry))


def test_a_slip_of_the_pen_is_seen() -> None:
    assert near_misses(make_signals(DeviceSerialNumber="UA1002"), make_registry()) == (
        "serial UA1002 is nearly UA-1002, which is upright_a's",
    )
    assert near_misses(make_signals(StationName="UPR_A"), make_registry()) == (
        "station name UPR_A is nearly UPR-A, which is upright_a's",
    )
    assert near_misses(make_signals(DeviceSerialNumber="PT-4471"), make_registry()) == ()
