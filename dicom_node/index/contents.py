"""The index against the archive: which objects have rows, how they came, and how to begin anew."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, literal, select

from dicom_node.index.engine import Index
from dicom_node.index.tables import conflict, exam, exam_case, instance, name_word, rejection, series, standing, study

_DERIVED = (standing, exam_case, exam, rejection, conflict, instance, series, name_word, study)
"""What the files tell, the rows that refer to others first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """How one content came; ``sop_class_uid`` is "" for one that is kept beside another."""

    study_uid: str
    sop_class_uid: str
    calling_ae: str
    called_ae: str
    peer_address: str
    received_at: datetime


def clear_derived(conn: Connection) -> None:
    """Remove every row that the stored files tell; decisions, releases, alerts and the node's own facts stay."""
    for table in _DERIVED:
        conn.execute(table.delete())


def digests_on(index: Index, shelf: str) -> set[str]:
    """Return the digests of the objects that have a row, conflicting ones too, of those that begin with ``shelf``.

    These are its first two hex digits. Read in a short transaction of its own.
    """
    found: set[str] = set()
    with index.read() as conn:
        for table in (instance, conflict):
            query = select(table.c.digest).where(table.c.digest >= shelf, table.c.digest < f"{shelf}g")
            found.update(conn.execute(query).scalars())
    return found


def has_row(conn: Connection, digest: str) -> bool:
    """Tell whether an object has a row, as a conflicting one at least."""
    found = (select(table.c.digest).where(table.c.digest == digest) for table in (instance, conflict))
    return any(conn.execute(query.limit(1)).first() is not None for query in found)


def received_since(conn: Connection, at: datetime) -> Iterator[Receipt]:
    """Yield how everything came that was received at an aware time or later, imports included, in no order.

    Reads the whole table: not for every day.
    """
    none = literal("")
    for table, sop_class, called in (
        (instance, instance.c.sop_class_uid, instance.c.called_ae),
        (conflict, none, none),
    ):
        query = select(
            table.c.study_uid, sop_class, table.c.calling_ae, called, table.c.peer_address, table.c.received_at
        ).where(table.c.received_at >= at)
        for row in conn.execute(query):
            yield Receipt(
                study_uid=row[0],
                sop_class_uid=row[1],
                calling_ae=row[2],
                called_ae=row[3],
                peer_address=row[4],
                received_at=row[5],
            )
