"""The index against the archive: which objects have rows, and how to begin anew."""

import heapq
from collections.abc import Iterator

from sqlalchemy import Connection, Table, select, tuple_

from dicom_node.index.engine import Index
from dicom_node.index.tables import conflict, exam, instance, rejection, series, standing, study

PAGE_SIZE = 1000

_DERIVED = (standing, exam, rejection, conflict, instance, series, study)
"""What the files tell, the rows that refer to others first."""


def clear_derived(conn: Connection) -> None:
    """Remove every row that the stored files tell; decisions, releases, alerts and the node's own facts stay."""
    for table in _DERIVED:
        conn.execute(table.delete())


def rows(index: Index) -> Iterator[tuple[str, str]]:
    """Yield digest and SOP Instance UID of every object that has a row, conflicting ones too, in that order.

    Pages are read in short transactions of their own: what is recorded meanwhile may or may not be among them.
    """
    return heapq.merge(_pages(index, instance), _pages(index, conflict))


def known_digests(index: Index) -> Iterator[str]:
    """Yield the digest of every object that has a row, once each and in order; else as ``rows``."""
    last = None
    for digest, _ in rows(index):
        if digest != last:
            yield digest
        last = digest


def has_row(conn: Connection, digest: str) -> bool:
    """Tell whether an object has a row, as a conflicting one at least."""
    found = (select(table.c.digest).where(table.c.digest == digest) for table in (instance, conflict))
    return any(conn.execute(query.limit(1)).first() is not None for query in found)


def _pages(index: Index, table: Table) -> Iterator[tuple[str, str]]:
    key = table.c.digest, table.c.sop_instance_uid
    after = ("", "")
    while True:
        query = select(*key).where(tuple_(*key) > after).order_by(*key).limit(PAGE_SIZE)
        with index.read() as conn:
            page = [(digest, uid) for digest, uid in conn.execute(query)]
        yield from page
        if len(page) < PAGE_SIZE:
            return
        after = page[-1]
