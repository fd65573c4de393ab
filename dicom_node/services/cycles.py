"""Accreditation cycles as the index has them, with the testing packages of their units.

What people do about cycles stands in ``services.renewals``; here is what reviews and standings read.
"""

from collections.abc import Collection
from datetime import date

from sqlalchemy import Connection

from dicom_node.accreditation.cycles import Cycle, Package, bearing, facility_of
from dicom_node.accreditation.standing import Release, ReleaseState
from dicom_node.accreditation.units import Unit
from dicom_node.index import entries, releases
from dicom_node.index.entries import Entry, EntryKind
from dicom_node.index.releases import ReleaseVersion


def read_cycles(conn: Connection) -> list[Cycle]:
    """Return every cycle, those that are open first, then those that expire last, each with its packages."""
    packages: dict[str, list[Package]] = {}
    for version in releases.current(conn):
        packages.setdefault(version.cycle_id, []).append(package_of(version))
    found = [cycle_of(each, packages.get(each.id, ())) for each in entries.current(conn, EntryKind.CYCLE)]
    return sorted(found, key=lambda each: (each.closed, -(each.expires_on or date.min).toordinal(), each.id))


def packages_by_unit(conn: Connection, units: Collection[Unit], today: date) -> dict[str, tuple[Release, ...]]:
    """Return by unit the packages that its standing on the local day ``today`` is judged by; see ``cycles.bearing``.

    A plan that was closed is none of them, since it was never a package.
    """
    open_cycles = _open_cycles(conn)
    versions = releases.current(conn, [unit.id for unit in units])
    closed = [each.id for each in versions if each.state is ReleaseState.CLOSED]
    never_out = set(closed) - releases.ever_out(conn, closed)
    by_unit: dict[str, list[Package]] = {unit.id: [] for unit in units}
    for version in versions:
        if version.id not in never_out:
            by_unit[version.unit_id].append(package_of(version))
    return {unit.id: bearing(by_unit[unit.id], open_cycles.get(facility_of(unit, today), ())) for unit in units}


def default_cycle(conn: Connection, unit: Unit, today: date) -> str:
    """Return the cycle that a package of ``unit`` belongs to unless somebody says otherwise.

    It is the one that is open at the unit's facility; "" when none is, or several are.
    """
    found = _open_cycles(conn).get(facility_of(unit, today), set())
    return next(iter(found)) if len(found) == 1 else ""


def cycle_of(entry: Entry, packages: Collection[Package] = ()) -> Cycle:
    """Return the cycle that an entry tells of."""
    expires_on = entry.data["expires_on"]
    return Cycle(
        id=entry.id,
        facility=entry.data["facility"],
        expires_on=None if expires_on is None else date.fromisoformat(expires_on),
        closed=entry.data["closed"],
        packages=tuple(packages),
    )


def package_of(version: ReleaseVersion) -> Package:
    """Return a testing package as cycles see it."""
    return Package(id=version.id, unit=version.unit_id, cycle=version.cycle_id, release=version.release)


def _open_cycles(conn: Connection) -> dict[str, set[str]]:
    """Return the ids of the open cycles by facility."""
    found: dict[str, set[str]] = {}
    for each in map(cycle_of, entries.current(conn, EntryKind.CYCLE)):
        if not each.closed:
            found.setdefault(each.facility, set()).add(each.id)
    return found
