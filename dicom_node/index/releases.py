"""Testing packages of units: every change is a version of its own, the highest holds.

Functions work in the caller's transaction.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, exists, select

from dicom_node.accreditation.standing import Release, ReleaseState
from dicom_node.index.tables import release


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseVersion:
    """One version of a testing package. Days are local calendar days of the facility, ``changed_at`` is aware UTC."""

    id: str
    version: int
    """1 and up."""
    unit_id: str
    released_on: date
    due_on: date | None
    state: ReleaseState
    note: str = ""
    cycle_id: str = ""
    """The accreditation cycle it belongs to, "" for none."""
    changed_by: str
    changed_at: datetime

    @property
    def release(self) -> Release:
        """The package as the rules see it."""
        return Release(released_on=self.released_on, due_on=self.due_on, state=self.state)


def insert(conn: Connection, new: ReleaseVersion) -> bool:
    """Add a version; return False, changing nothing, when this version is known."""
    known = select(release.c.id).where(release.c.id == new.id, release.c.version == new.version)
    if conn.execute(known).first() is not None:
        return False
    conn.execute(release.insert().values({name: getattr(new, name) for name in ReleaseVersion.__slots__}))
    return True


def current(conn: Connection, unit_ids: Collection[str] | None = None) -> list[ReleaseVersion]:
    """Return the version in force of every package, of some units where they are given, newest release day first."""
    later = release.alias("later")
    newer = exists().where(later.c.id == release.c.id, later.c.version > release.c.version)
    query = select(release).where(~newer)
    if unit_ids is not None:
        query = query.where(release.c.unit_id.in_(unit_ids))
    return _versions(conn, query.order_by(release.c.released_on.desc(), release.c.id))


def history(conn: Connection, release_id: str) -> list[ReleaseVersion]:
    """Return every version of a package, the first one first; empty when there is no such package."""
    return _versions(conn, select(release).where(release.c.id == release_id).order_by(release.c.version))


def notes(conn: Connection) -> dict[tuple[str, int], str]:
    """Return the note of every version of every package, by id and version."""
    query = select(release.c.id, release.c.version, release.c.note)
    return {(row.id, row.version): row.note for row in conn.execute(query)}


def ever_out(conn: Connection, release_ids: Collection[str]) -> set[str]:
    """Return those of some packages that were more than planned at any time before they were closed."""
    if not release_ids:
        return set()
    never = (ReleaseState.PLANNED.value, ReleaseState.CLOSED.value)
    query = select(release.c.id).distinct().where(release.c.id.in_(release_ids), release.c.state.not_in(never))
    return set(conn.execute(query).scalars())


def _versions(conn: Connection, query: Any) -> list[ReleaseVersion]:
    return [
        ReleaseVersion(**row | {"state": ReleaseState(row["state"])})
        for row in map(dict, conn.execute(query).mappings())
    ]
