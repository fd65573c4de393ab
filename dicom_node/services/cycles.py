"""Accreditation cycles as people keep them."""

from datetime import date

from sqlalchemy import Connection

from dicom_node.accreditation.cycles import Cycle, Package
from dicom_node.index import entries, releases
from dicom_node.index.entries import EntryKind


def read_cycles(conn: Connection) -> list[Cycle]:
    """Return the cycles, each with the packages of its units."""
    known = releases.current(conn)
    return [
        Cycle(
            id=entry.id,
            facility=entry.data["facility"],
            expires_on=None if entry.data["expires_on"] is None else date.fromisoformat(entry.data["expires_on"]),
            closed=entry.data["closed"],
            packages=tuple(
                Package(id=each.id, unit=each.unit_id, cycle=each.cycle_id, release=each.release)
                for each in known
                if each.cycle_id == entry.id
            ),
        )
        for entry in entries.current(conn, EntryKind.CYCLE)
    ]
