"""What the index has of the devices of units: how they call, what they write, where their attachments went."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo

from sqlalchemy import Connection

from dicom_node.accreditation.drift import RIGHT, Sent
from dicom_node.accreditation.evidence import folded
from dicom_node.accreditation.moves import SPAN, Biopsy, Move, assigned_to, left_by_assignment, left_by_use, may_be_left
from dicom_node.accreditation.names import (
    NameUse,
    Origin,
    has_serial_of,
    is_named_elsewhere,
    names_before,
    origin,
    owner,
    stations,
    titles,
    took_the_place,
)
from dicom_node.accreditation.portions import COUNTING_PORTIONS
from dicom_node.accreditation.standing import CountingExam
from dicom_node.accreditation.units import Assignment, Registry, Unit, UnitKind
from dicom_node.index import arrivals, biopsies, strangers
from dicom_node.index.arrivals import Arrival

_LOOKED_BACK = 40
"""Exams of a unit that are looked through, newest first, where the newest does not tell."""

_MOST_NAMES = 3
"""Refused names of a unit's address that are told, the last that called: a device has one or two, a scan thousands."""

_NEARLY_TOMORROW = timedelta(hours=2)
"""So long before midnight a device may have begun the next day: what zones, or a clock ahead by minutes, explain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewName:
    """A unit shows itself under another name."""

    of: str
    """The key of the configuration the name belongs under: ``station_name`` or ``ae_title``."""
    old: tuple[str, ...]
    new: NameUse
    address: str = ""
    """Of an AE title: where it called from."""
    is_refused: bool = False
    """It called, and was not let in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """An attachment left a host: where it was used last, by unit."""

    move: Move
    last: Mapping[str, date]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What there is of one unit's devices."""

    clocks: tuple[tuple[str, tuple[Sent, ...]], ...] = ()
    """By the AE title of the unit or its attachment's workstation: the studies it sent itself, the newest first."""
    names: tuple[NewName, ...] = ()
    left: Left | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrived:
    """The newest arrivals of a unit, by whose association they came in, the newest first."""

    own: tuple[Arrival, ...]
    """By the unit itself, under a name of its own or another."""
    workstation: tuple[Arrival, ...]


def read_devices(
    conn: Connection,
    units: Collection[Unit],
    registry: Registry,
    last_biopsies: Mapping[str, CountingExam],
    *,
    zone: tzinfo,
    listed: Collection[str],
    today: date,
) -> dict[str, DeviceFacts]:
    """Read the facts of the devices of units, by unit.

    ``last_biopsies`` holds the newest biopsy of each unit that has one. ``zone`` is the facility's, for the local day
    of receipt. ``listed`` are AE titles that may call, beside those of units, attachments and senders.
    """
    newest = arrivals.newest_of_each(conn, [unit.id for unit in units])
    arrived = {unit.id: _arrived(conn, unit, newest.get(unit.id), registry, zone) for unit in units}
    stationed = _new_stations(conn, units, arrived, registry)
    called = _new_titles(conn, units, arrived, registry, listed)
    left = _left(conn, units, registry, last_biopsies, today)
    return {
        unit.id: DeviceFacts(
            clocks=_clocks(unit, arrived[unit.id], registry, zone),
            names=(*stationed.get(unit.id, ()), *called.get(unit.id, ())),
            left=left.get(unit.id),
        )
        for unit in units
    }


def _arrived(conn: Connection, unit: Unit, newest: Arrival | None, registry: Registry, zone: tzinfo) -> _Arrived:
    """Look through what a unit sent, no further back than its newest arrival leaves open."""
    if newest is None:
        return _Arrived(own=(), workstation=())
    own: tuple[Arrival, ...] = (newest,)
    if not _is_right(newest, unit, registry, zone):
        own = arrivals.newest_of(conn, unit.id, _LOOKED_BACK) if titles(unit) else ()
    by_workstation: tuple[Arrival, ...] = ()
    if any(each.identities and _has_ever(each.assignments, unit.id) for each in registry.attachments.values()):
        by_workstation = arrivals.newest_of(conn, unit.id, _LOOKED_BACK, COUNTING_PORTIONS)
    return _Arrived(
        own=tuple(each for each in own if _origin(each, unit, registry) in (Origin.UNIT, Origin.RENAMED)),
        workstation=tuple(each for each in by_workstation if _origin(each, unit, registry) is Origin.WORKSTATION),
    )


# Clocks.


def _clocks(
    unit: Unit, arrived: _Arrived, registry: Registry, zone: tzinfo
) -> tuple[tuple[str, tuple[Sent, ...]], ...]:
    by_caller: dict[str, list[Sent]] = {}
    own = (each for each in arrived.own if _origin(each, unit, registry) is Origin.UNIT)
    for each in (*own, *arrived.workstation):
        sent = _sent(each, zone)
        if sent is not None:
            by_caller.setdefault(each.calling_ae.strip(), []).append(sent)
    return tuple((name, tuple(sent)) for name, sent in sorted(by_caller.items()))


def _sent(arrival: Arrival, zone: tzinfo) -> Sent | None:
    """Return what an arrival tells of the clock, None when the device wrote no day or one it writes knowing none."""
    made_on = arrival.made_on
    if made_on is None or made_on.year <= 1900:
        return None
    local = arrival.received_at.astimezone(zone)
    soon = (local + _NEARLY_TOMORROW).date()
    return Sent(received_on=made_on if made_on == soon else local.date(), made_on=made_on)


def _is_right(arrival: Arrival, unit: Unit, registry: Registry, zone: tzinfo) -> bool:
    """Tell whether the unit itself sent it, on a day that a right clock explains."""
    sent = _sent(arrival, zone)
    return sent is not None and sent.offset in RIGHT and _origin(arrival, unit, registry) is Origin.UNIT


# Names.


def _new_stations(
    conn: Connection, units: Collection[Unit], arrived: Mapping[str, _Arrived], registry: Registry
) -> dict[str, tuple[NewName, ...]]:
    """Return by unit the station name its own images carry now, when it is another than the configured or known one."""
    now: dict[str, Arrival] = {}
    for unit in units:
        newest = next((each for each in arrived[unit.id].own if each.station and each.serial), None)
        if newest is None or folded(newest.station) in map(folded, stations(unit)):
            continue
        if not is_named_elsewhere(newest.station, unit, registry):
            now[unit.id] = newest
    several = arrivals.with_several_stations(conn, sorted({each.serial for each in now.values()}))
    found: dict[str, tuple[NewName, ...]] = {}
    for unit in units:
        if unit.id not in now:
            continue
        newest = now[unit.id]
        is_configured = bool(stations(unit)) and has_serial_of(unit, newest.serial)
        if not is_configured and newest.serial not in several:
            continue
        names = {each.calling_ae for each in arrived[unit.id].own}
        uses = arrivals.stations_of(conn, newest.serial, sorted({*titles(unit), *names}))
        old = stations(unit) if is_configured else names_before(newest.station, uses)
        new = next((each for each in uses if each.name == newest.station), None)
        if old and new is not None:
            found[unit.id] = (NewName(of="station_name", old=old, new=new),)
    return found


def _new_titles(
    conn: Connection,
    units: Collection[Unit],
    arrived: Mapping[str, _Arrived],
    registry: Registry,
    listed: Collection[str],
) -> dict[str, tuple[NewName, ...]]:
    """Return by unit the AE title that somebody calls by from its address, when it is no listed one of its own."""
    known = _titles(registry) | {each.strip() for each in listed}
    found = {unit.id: tuple(_called_by_images(unit, arrived[unit.id], registry, known)) for unit in units}
    wanted = {unit.id: unit for unit in units}
    for address, uses in strangers.by_address(conn).items():
        unit = wanted.get(owner(address, registry))
        if unit is None or found[unit.id]:
            continue
        own_last_at = max((each.last_received_at for each in arrived[unit.id].own), default=None)
        strange = [use for use in uses if use.name.strip() not in known and took_the_place(use, own_last_at)]
        found[unit.id] = tuple(
            NewName(of="ae_title", old=titles(unit), new=use, address=address, is_refused=True)
            for use in sorted(strange, key=lambda each: (each.last_at, each.name))[-_MOST_NAMES:]
        )
    return found


def _called_by_images(unit: Unit, arrived: _Arrived, registry: Registry, known: Collection[str]) -> Iterable[NewName]:
    """Yield the name that the unit's newest images came by, when it is not the unit's own.

    What came under a name that nobody is listed by now came before the configuration had the unit's new one.
    """
    own = [each for each in arrived.own if has_serial_of(unit, each.serial)]
    if not own or own[0].calling_ae.strip() not in known or _origin(own[0], unit, registry) is Origin.UNIT:
        return
    name, address = own[0].calling_ae, own[0].peer_address
    alike = [each for each in own if each.calling_ae == name]
    yield NewName(
        of="ae_title",
        old=titles(unit),
        new=NameUse(
            name=name,
            first_at=min(each.received_at for each in alike),
            last_at=max(each.last_received_at for each in alike),
            count=len(alike),
        ),
        address=address,
    )


def _titles(registry: Registry) -> set[str]:
    """Return every AE title of units, attachments and senders."""
    identities = [each for unit in registry.units.values() for each in unit.identities]
    identities += [each for attachment in registry.attachments.values() for each in attachment.identities]
    identities += [sender.identity for sender in registry.senders.values()]
    return {each.ae_title.strip() for each in identities}


def _origin(arrival: Arrival, unit: Unit, registry: Registry) -> Origin:
    return origin(unit, arrival.calling_ae, arrival.peer_address, registry)


# Attachments.


def _left(
    conn: Connection,
    units: Collection[Unit],
    registry: Registry,
    last_biopsies: Mapping[str, CountingExam],
    today: date,
) -> dict[str, Left]:
    """Return by unit the attachment that left it without fresh cases."""
    hosts = [unit for unit in units if may_be_left(unit, today)]
    moves: dict[str, Move | None] = {}
    for unit in hosts:
        last_here = last_biopsies[unit.id].day if unit.id in last_biopsies else None
        moves[unit.id] = left_by_assignment(unit, registry, last_here, today)
    quiet = [
        unit
        for unit in hosts
        if moves[unit.id] is None and unit.id in last_biopsies and last_biopsies[unit.id].day < today - SPAN
    ]
    used = biopsies.attachments_of(conn, [last_biopsies[unit.id].exam_id for unit in quiet])
    elsewhere: tuple[Biopsy, ...] = ()
    every_host = [unit.id for unit in registry.units.values() if unit.kind is UnitKind.UPRIGHT]
    quiet = [unit for unit in quiet if last_biopsies[unit.id].exam_id in used or assigned_to(unit, registry, today)]
    if quiet:
        elsewhere = biopsies.made_after(conn, every_host, min(last_biopsies[unit.id].day for unit in quiet))
    for unit in quiet:
        newest = last_biopsies[unit.id]
        moves[unit.id] = left_by_use(
            unit,
            registry,
            last_here=newest.day,
            used_here=used.get(newest.exam_id, ()),
            elsewhere=elsewhere,
            today=today,
        )
    return {
        unit_id: Left(move=move, last=biopsies.last_with(conn, move.attachment, every_host))
        for unit_id, move in moves.items()
        if move is not None
    }


def _has_ever(assignments: Iterable[Assignment], unit_id: str) -> bool:
    return any(each.unit == unit_id for each in assignments)
