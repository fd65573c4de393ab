"""What people keep books of: cycles, surveys, logs. Every change is a version of its own, the highest holds.

Functions work in the caller's transaction. What the data of a kind mean is known to the service that writes them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Select, exists, select

from dicom_node.index.tables import entry


class EntryKind(StrEnum):
    """What an entry is about."""

    CYCLE = "cycle"
    """An accreditation cycle of a facility."""
    SURVEY = "survey"
    """A medical physicist's survey of a unit."""
    QC_LOG = "qc_log"
    """A technologist's quality control log of a unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One version of an entry. ``data`` are JSON values without patient data; ``changed_at`` is aware UTC."""

    kind: EntryKind
    id: str
    version: int
    """1 and up."""
    unit_id: str = ""
    """"" for what concerns no single unit."""
    data: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    changed_by: str
    changed_at: datetime


def insert(conn: Connection, new: Entry) -> bool:
    """Add a version; return False, changing nothing, when this version is known."""
    known = select(entry.c.id).where(
        entry.c.kind == new.kind.value, entry.c.id == new.id, entry.c.version == new.version
    )
    if conn.execute(known).first() is not None:
        return False
    values = {name: getattr(new, name) for name in Entry.__slots__}
    conn.execute(entry.insert().values(values | {"kind": new.kind.value, "data": dict(new.data)}))
    return True


def current(conn: Connection, kind: EntryKind, unit_ids: Collection[str] | None = None) -> list[Entry]:
    """Return the version in force of every entry of a kind, of some units where they are given, in order of ids."""
    later = entry.alias("later")
    newer = exists().where(later.c.kind == entry.c.kind, later.c.id == entry.c.id, later.c.version > entry.c.version)
    query = select(entry).where(entry.c.kind == kind.value, ~newer)
    if unit_ids is not None:
        query = query.where(entry.c.unit_id.in_(unit_ids))
    return _entries(conn, query.order_by(entry.c.id))


def history(conn: Connection, kind: EntryKind, entry_id: str) -> list[Entry]:
    """Return every version of an entry, the first one first; empty when there is none of this id."""
    query = select(entry).where(entry.c.kind == kind.value, entry.c.id == entry_id)
    return _entries(conn, query.order_by(entry.c.version))


def notes(conn: Connection) -> dict[tuple[str, int], str]:
    """Return the note of every version of every entry, by id and version."""
    query = select(entry.c.id, entry.c.version, entry.c.note)
    return {(row.id, row.version): row.note for row in conn.execute(query)}


def _entries(conn: Connection, query: Select[Any]) -> list[Entry]:
    rows = map(dict, conn.execute(query).mappings())
    return [Entry(**row | {"kind": EntryKind(row["kind"])}) for row in rows]
