"""Which lines clash, and which are missing, where several units match: by what attribution itself says of them."""

from ipaddress import ip_network
from typing import Any

from dicom_node.accreditation.ambiguity import Clashes, clashes
from dicom_node.accreditation.attribution import Unattributed, attribute
from dicom_node.accreditation.signals import Role, Signals
from dicom_node.accreditation.units import (
    Assignment,
    Attachment,
    AttributeMap,
    Identity,
    Registry,
    Unit,
    UnitKind,
)

BOTH = (Assignment(unit="a"), Assignment(unit="b"))


def registry(of_a: dict[str, Any], of_b: dict[str, Any], *attachments: Attachment) -> Registry:
    units = {
        name: Unit(id=name, label=name, kind=UnitKind.UPRIGHT, identities=(Identity(**identity),))
        for name, identity in (("a", of_a), ("b", of_b))
    }
    return Registry(units=units, attachments={each.id: each for each in attachments})


def found(known: Registry, **signals: Any) -> Clashes:
    doubt = attribute(Signals(role=Role.PRIMARY, **signals), known, None)
    assert isinstance(doubt, Unattributed)
    assert doubt.candidates == ("a", "b")
    return clashes([doubt.doubt], doubt.candidates, known)


def addon(*maps: AttributeMap, serial: str = "") -> Attachment:
    sends = Identity(ae_title="ADDON_WS", hosts=(ip_network("10.0.0.9"),), device_serial=serial)
    return Attachment(id="addon1", label="Add-on", assignments=BOTH, identities=(sends,), attribute_maps=maps)


FROM_ADDON = {"calling_ae": "ADDON_WS", "peer_address": "10.0.0.9"}


def test_a_serial_number_that_two_units_have() -> None:
    known = registry({"device_serial": "ua-1"}, {"device_serial": "UA-1", "manufacturer": "Synthetic"})
    assert found(known, device_serial="UA-1", manufacturer="Synthetic").clashing == (
        '[[units.a.identity]] device_serial = "ua-1"',
        '[[units.b.identity]] device_serial = "UA-1", manufacturer = "Synthetic"',
    )


def test_a_sender_that_two_units_have() -> None:
    hosts = (ip_network("10.0.0.0/24"),)
    known = registry({"ae_title": "ROOM", "hosts": hosts}, {"ae_title": "ROOM", "hosts": hosts})
    lines = found(known, calling_ae="ROOM", peer_address="10.0.0.5").clashing
    assert lines == tuple(f'[[units.{unit}.identity]] ae_title = "ROOM", host = "10.0.0.0/24"' for unit in "ab")


def test_a_station_name_that_two_units_have_and_nothing_that_is_no_part_of_it() -> None:
    same = {"station_name": "UPR", "detector_id": "D-1"}
    lines = found(registry(same, same), station_name="UPR").clashing
    assert lines == tuple(f'[[units.{unit}.identity]] station_name = "UPR"' for unit in "ab")


def test_a_detector_that_two_units_have() -> None:
    same = {"detector_id": "D-1"}
    lines = found(registry(same, same), detector_id="D-1").clashing
    assert lines == tuple(f'[[units.{unit}.identity]] detector_id = "D-1"' for unit in "ab")


def test_a_map_and_a_serial_number_that_name_different_units() -> None:
    station = AttributeMap(keyword="StationName", units={"UPR-A": "a"})
    known = registry({"device_serial": "UA-1"}, {"device_serial": "UB-1"}, addon(station))
    lines = found(
        known, device_serial="UB-1", station_name="UPR-A", attributes={"StationName": "UPR-A"}, **FROM_ADDON
    ).clashing
    assert lines[0] == '[[attachments.addon1.attribute]] keyword = "StationName", map = { "UPR-A" = "a" }'
    assert '[[units.b.identity]] device_serial = "UB-1"' in lines


def test_a_shared_attachment_whose_images_name_a_station_wants_it_mapped() -> None:
    missing = found(registry({}, {}, addon()), station_name='ROOM "4"', **FROM_ADDON).missing
    assert len(missing) == 1
    assert r'keyword = "StationName", map = { "ROOM \"4\"" = "a" }' in missing[0]


def test_a_shared_attachment_whose_images_name_nothing_wants_days_or_an_attribute() -> None:
    (missing,) = found(registry({}, {}, addon()), **FROM_ADDON).missing
    assert "days (from, to) under [[attachments.ID.assigned]]" in missing


def test_a_serial_number_that_none_of_the_hosts_has_is_missing() -> None:
    known = registry({"device_serial": "UA-1"}, {"device_serial": "UB-1"}, addon())
    (missing,) = found(known, device_serial="UX-9", **FROM_ADDON).missing
    assert missing == 'under [[units.ID.identity]] of a or b: device_serial = "UX-9"'
