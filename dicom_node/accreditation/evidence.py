"""What the header and the association of an instance say of the device, held against the configured identities.

Texts of devices are compared stripped and without regard to case; AE titles exactly once stripped, since leading and
trailing spaces have no meaning (PS3.5 6.2, AE); addresses by network.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from dicom_node.accreditation.rules import value_of
from dicom_node.accreditation.signals import Role, Signals
from dicom_node.accreditation.units import Identity, Registry, SenderRole

Match = Callable[[Signals, Registry], tuple[str, ...]]
"""Returns the ids of the units that one kind of evidence in an instance fits, sorted."""


def folded(text: str) -> str:
    """Return a device's text as it is compared."""
    return text.strip().casefold()


@dataclass(frozen=True, slots=True)
class _Known:
    """What a registry knows of its units, ready to be looked up by the text that is compared."""

    serials: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """With unit and manufacturer, "" for any."""
    stations: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """With unit and institution, "" for any."""
    detectors: dict[str, list[str]] = field(default_factory=dict)
    device_uids: dict[str, list[str]] = field(default_factory=dict)
    senders: dict[str, list[tuple[str, Identity]]] = field(default_factory=dict)
    """By AE title, "" where the address alone tells."""
    serials_of: dict[str, set[str]] = field(default_factory=dict)
    """By unit."""


@lru_cache(maxsize=4)  # the registry in force, and for a while the one before it
def _known(registry: Registry) -> _Known:
    known = _Known()
    for unit in registry.units.values():
        for identity in unit.identities:
            if serial := folded(identity.device_serial):
                known.serials.setdefault(serial, []).append((unit.id, folded(identity.manufacturer)))
                known.serials_of.setdefault(unit.id, set()).add(serial)
            if station := folded(identity.station_name):
                known.stations.setdefault(station, []).append((unit.id, folded(identity.institution)))
            if detector := folded(identity.detector_id):
                known.detectors.setdefault(detector, []).append(unit.id)
            if device_uid := folded(identity.device_uid):
                known.device_uids.setdefault(device_uid, []).append(unit.id)
            known.senders.setdefault(identity.ae_title.strip(), []).append((unit.id, identity))
    return known


def has_serial(signals: Signals, registry: Registry) -> tuple[str, ...]:
    """Device Serial Number (0018,1000), and the manufacturer where the identity has one: makers number alike."""
    found = _known(registry).serials.get(folded(signals.device_serial), ())
    return _sorted(unit for unit, maker in found if not maker or maker == folded(signals.manufacturer))


def has_sender(signals: Signals, registry: Registry) -> tuple[str, ...]:
    """AE title and address, as ``is_sender``."""
    senders = _known(registry).senders
    found = (*senders.get(signals.calling_ae.strip(), ()), *senders.get("", ()))
    return _sorted(unit for unit, identity in found if is_sender(identity, signals))


def has_detector(signals: Signals, registry: Registry) -> tuple[str, ...]:
    """Detector ID (0018,700A) or Device UID (0018,1002); some devices write the study's UID there: it says nothing."""
    known, device_uid = _known(registry), folded(signals.device_uid)
    by_uid = known.device_uids.get(device_uid, ())
    if by_uid and device_uid == folded(value_of(signals, "StudyInstanceUID")):
        by_uid = ()
    return _sorted((*known.detectors.get(folded(signals.detector_id), ()), *by_uid))


def has_station(signals: Signals, registry: Registry) -> tuple[str, ...]:
    """Station Name (0008,1010), and the institution where the identity has one: station names repeat among sites."""
    found = _known(registry).stations.get(folded(signals.station_name), ())
    return _sorted(unit for unit, place in found if not place or place == folded(signals.institution))


def _sorted(units: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(units)))


def is_sender(identity: Identity, signals: Signals) -> bool:
    """AE title and address, each where the identity has it. An address that is none matches nothing."""
    if not identity.ae_title.strip() and not identity.hosts:
        return False
    if identity.ae_title.strip() and identity.ae_title.strip() != signals.calling_ae.strip():
        return False
    if not identity.hosts:
        return True
    return any(lies_in(signals.peer_address, network) for network in identity.hosts)


def from_cabinet(signals: Signals, registry: Registry) -> bool:
    """Tell whether a listed specimen cabinet sent the instance."""
    senders = registry.senders.values()
    return any(each.role is SenderRole.SPECIMEN and is_sender(each.identity, signals) for each in senders)


def lies_in(address: str, network: IPv4Network | IPv6Network) -> bool:
    """Tell whether a textual address is one of a network's; a text that is no address is not."""
    read = _address(address)
    return read is not None and read in network


@lru_cache(maxsize=1024)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped  # a dual-stack listener sees IPv4 peers this way
    return address


def any_sends(identities: Iterable[Identity], signals: Signals) -> bool:
    """Tell whether one of the identities is the sender's."""
    return any(is_sender(identity, signals) for identity in identities)


def tells_serial(signals: Signals) -> bool:
    """Tell whether the instance has the serial number of the device that made the exposure.

    Reports and presentation states carry that of the workstation which wrote them, so theirs says nothing of a unit.
    """
    return signals.role in (Role.PRIMARY, Role.EVIDENCE) and bool(signals.device_serial.strip())


def has_other_serials(unit: str, signals: Signals, registry: Registry) -> bool:
    """Tell whether the instance's serial number is none of those configured for the unit, which has some."""
    if unit not in registry.units or not tells_serial(signals):
        return False
    serials = _known(registry).serials_of.get(registry.units[unit].id)
    return serials is not None and folded(signals.device_serial) not in serials


def shown(text: str) -> str:
    """Make a peer's text fit for a sentence: printable, and no longer than an LO may be (PS3.5 6.2)."""
    text = text.strip()
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "?" for c in text)
    return text[:64] or "(none)"


def device_words(signals: Signals) -> str:
    """Name the device of an instance by what it says of itself."""
    serial, station, sender = (shown(t) for t in (signals.device_serial, signals.station_name, signals.calling_ae))
    return f"serial {serial}, station {station}, sender {sender}"
