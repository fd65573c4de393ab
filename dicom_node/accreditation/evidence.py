"""What the header and the association of an instance say of the device, held against the configured identities.

Texts of devices are compared stripped and without regard to case; AE titles exactly once stripped, since leading and
trailing spaces have no meaning (PS3.5 6.2, AE); addresses by network.
"""

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from dicom_node.accreditation.rules import value_of
from dicom_node.accreditation.signals import Role, Signals
from dicom_node.accreditation.units import Identity, Registry

Match = Callable[[Identity, Signals], bool]
"""Tells whether one kind of evidence in an instance fits an identity."""


def folded(text: str) -> str:
    """Return a device's text as it is compared."""
    return text.strip().casefold()


def _same(wanted: str, found: str) -> bool:
    return bool(wanted.strip()) and folded(wanted) == folded(found)


def has_serial(identity: Identity, signals: Signals) -> bool:
    """Device Serial Number (0018,1000), and the manufacturer where the identity has one: makers number alike."""
    maker_fits = not identity.manufacturer.strip() or _same(identity.manufacturer, signals.manufacturer)
    return maker_fits and _same(identity.device_serial, signals.device_serial)


def is_sender(identity: Identity, signals: Signals) -> bool:
    """AE title and address, each where the identity has it. An address that is none matches nothing."""
    if not identity.ae_title.strip() and not identity.hosts:
        return False
    if identity.ae_title.strip() and identity.ae_title.strip() != signals.calling_ae.strip():
        return False
    if not identity.hosts:
        return True
    address = _address(signals.peer_address)
    return address is not None and any(address in network for network in identity.hosts)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped  # a dual-stack listener sees IPv4 peers this way
    return address


def has_detector(identity: Identity, signals: Signals) -> bool:
    """Detector ID (0018,700A) or Device UID (0018,1002); some devices write the study's UID there: it says nothing."""
    if _same(identity.detector_id, signals.detector_id):
        return True
    is_study_uid = _same(signals.device_uid, value_of(signals, "StudyInstanceUID"))
    return not is_study_uid and _same(identity.device_uid, signals.device_uid)


def has_station(identity: Identity, signals: Signals) -> bool:
    """Station Name (0008,1010), and the institution where the identity has one: station names repeat among sites."""
    place_fits = not identity.institution.strip() or _same(identity.institution, signals.institution)
    return place_fits and _same(identity.station_name, signals.station_name)


def any_fits(match: Match, identities: Iterable[Identity], signals: Signals) -> bool:
    """Tell whether the evidence fits one of the identities."""
    return any(match(identity, signals) for identity in identities)


def units_named(match: Match, signals: Signals, registry: Registry) -> tuple[str, ...]:
    """Return the ids of the units that the evidence fits, sorted."""
    return tuple(sorted(unit.id for unit in registry.units.values() if any_fits(match, unit.identities, signals)))


def tells_serial(signals: Signals) -> bool:
    """Tell whether the instance has the serial number of the device that made the exposure.

    Reports and presentation states carry that of the workstation which wrote them, so theirs says nothing of a unit.
    """
    return signals.role in (Role.PRIMARY, Role.EVIDENCE) and bool(signals.device_serial.strip())


def has_other_serials(unit: str, signals: Signals, registry: Registry) -> bool:
    """Tell whether the instance's serial number is none of those configured for the unit, which has some."""
    if unit not in registry.units or not tells_serial(signals):
        return False
    serials = {folded(i.device_serial) for i in registry.units[unit].identities if i.device_serial.strip()}
    return bool(serials) and folded(signals.device_serial) not in serials


def shown(text: str) -> str:
    """Make a peer's text fit for a sentence: printable, and no longer than an LO may be (PS3.5 6.2)."""
    return "".join(c if c.isprintable() else "?" for c in text.strip())[:64] or "(none)"


def device_words(signals: Signals) -> str:
    """Name the device of an instance by what it says of itself."""
    serial, station, sender = (shown(t) for t in (signals.device_serial, signals.station_name, signals.calling_ae))
    return f"serial {serial}, station {station}, sender {sender}"
