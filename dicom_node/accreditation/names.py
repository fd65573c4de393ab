"""Whether a known device shows itself by another name: station name and AE title, as configured or as seen before."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from dicom_node.accreditation.evidence import any_sends, folded, lies_in
from dicom_node.accreditation.rules import holds
from dicom_node.accreditation.signals import Role, Signals
from dicom_node.accreditation.units import Registry, Rule, Unit

_STATION = "StationName"

QUIET = timedelta(days=7)
"""As long must a device have sent nothing under its own name before another name used beside it is taken for its new
one."""


class Origin(StrEnum):
    """Whose association brought an image, as far as the name it called by tells."""

    UNIT = "unit"
    """The unit that made it, under a name of its own."""
    WORKSTATION = "workstation"
    """The computer of an attachment."""
    RENAMED = "renamed"
    """It came from the address of that unit alone, under a name that is not the unit's."""
    OTHER = "other"
    """A router, an archive, an import or another device: its name says nothing of the unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameUse:
    """A name, and when a device was first and last seen under it."""

    name: str
    first_at: datetime
    last_at: datetime
    count: int
    """Exams, or calls."""


def origin(unit: Unit, calling_ae: str, address: str, registry: Registry) -> Origin:
    """Tell whose association brought an image of a unit."""
    signals = Signals(role=Role.PRIMARY, calling_ae=calling_ae, peer_address=address)
    if not calling_ae.strip() or any_sends((each.identity for each in registry.senders.values()), signals):
        return Origin.OTHER
    if any(any_sends(each.identities, signals) for each in registry.attachments.values()):
        return Origin.WORKSTATION
    if any_sends(unit.identities, signals):
        return Origin.UNIT
    return Origin.RENAMED if owner(address, registry) == unit.id and titles(unit) else Origin.OTHER


def titles(unit: Unit) -> tuple[str, ...]:
    """Return the AE titles that a unit may call by, sorted."""
    return tuple(sorted({each.ae_title.strip() for each in unit.identities} - {""}))


def stations(unit: Unit) -> tuple[str, ...]:
    """Return the station names that the configuration has of a unit, sorted."""
    return tuple(sorted({each.station_name.strip() for each in unit.identities} - {""}))


def has_serial_of(unit: Unit, serial: str) -> bool:
    """Tell whether a device serial number is one of those configured for the unit."""
    return bool(folded(serial)) and any(folded(each.device_serial) == folded(serial) for each in unit.identities)


def owner(address: str, registry: Registry) -> str:
    """Return the one unit whose identity has an address; "" when none has, or several, or anything else has it too."""
    found = {name for network, name in _networks(registry) if lies_in(address, network)}
    return found.pop() if len(found) == 1 else ""


@lru_cache(maxsize=4)  # the registry in force, and for a while the one before it
def _networks(registry: Registry) -> tuple[tuple[IPv4Network | IPv6Network, str], ...]:
    """Return the networks that somebody calls from; a network of all addresses tells nobody."""
    found = [(host, unit.id) for unit in registry.units.values() for each in unit.identities for host in each.hosts]
    found += [(host, "") for each in registry.senders.values() for host in each.identity.hosts]
    found += [(host, "") for a in registry.attachments.values() for each in a.identities for host in each.hosts]
    return tuple((host, name) for host, name in found if host.prefixlen)


def is_named_elsewhere(station: str, unit: Unit, registry: Registry) -> bool:
    """Tell whether a rule or an attachment's attribute map says that a station name is the unit's."""
    signals = Signals(role=Role.PRIMARY, attributes={_STATION: station})
    by_rule = (
        condition
        for rule in registry.rules
        if rule.unit == unit.id
        for condition in rule.conditions
        if condition.name == _STATION and condition.present is None
    )
    if any(holds(Rule(name="", conditions=(condition,)), signals) for condition in by_rule):
        return True
    maps = (each for attachment in registry.attachments.values() for each in attachment.attribute_maps)
    return any(
        folded(text) == folded(station) and named == unit.id
        for each in maps
        if each.keyword == _STATION
        for text, named in each.units.items()
    )


def names_before(name: str, uses: Iterable[NameUse]) -> tuple[str, ...]:
    """Return the names that a device had before ``name``, the name it was seen under last; none when that is no news.

    It is none when ``name`` was the first, and when another name went on being used beside it: then the device has two.
    """
    several = list(uses)
    here = [each for each in several if folded(each.name) == folded(name)]
    others = [each for each in several if folded(each.name) != folded(name)]
    if not here:
        return ()
    began = min(each.first_at for each in here)
    if any(each.last_at >= began for each in others):
        return ()
    return tuple(sorted({each.name for each in others}))


def took_the_place(called: NameUse, own_last_at: datetime | None) -> bool:
    """Tell whether a name that is refused may be the new one of the unit whose address it calls from.

    ``own_last_at`` is when the unit sent last under its own name, None when it never did. It may be when nothing came
    under the old name since; not when both are in use, unless the old one fell silent while the other went on.
    """
    if own_last_at is None or own_last_at < called.first_at:
        return True
    return called.last_at - own_last_at >= QUIET
