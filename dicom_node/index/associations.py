"""Who knocked and how it ended: the newest so many associations. Functions work in the caller's transaction."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from dicom_node.index.tables import association


@dataclass(frozen=True, slots=True, kw_only=True)
class Association:
    """One association or refused request. ``at`` is aware UTC; no field holds patient data."""

    at: datetime
    calling_ae: str
    called_ae: str
    peer_address: str
    result: str
    """One word: accepted, rejected, aborted."""
    reason: str = ""


def append(conn: Connection, ended: Sequence[Association]) -> None:
    """Add associations, the oldest first."""
    if ended:
        conn.execute(association.insert(), [asdict(each) for each in ended])


def recent(conn: Connection, limit: int, *, results: Sequence[str] = ()) -> list[Association]:
    """Return the associations added last, of the given results where any are given, newest first."""
    query = select(*(association.c[name] for name in Association.__slots__)).order_by(association.c.id.desc())
    if results:
        query = query.where(association.c.result.in_(results))
    return [Association(**row) for row in conn.execute(query.limit(limit)).mappings()]


def prune(conn: Connection, keep: int) -> int:
    """Remove all but the ``keep`` associations added last; return how many were removed."""
    newest = select(association.c.id).order_by(association.c.id.desc()).limit(keep)
    return conn.execute(association.delete().where(association.c.id.not_in(newest))).rowcount
