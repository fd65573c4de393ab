"""The index against the archive: which objects have rows, and how to begin anew."""

from sqlalchemy import Connection, select

from dicom_node.index.engine import Index
from dicom_node.index.tables import conflict, exam, instance, name_word, rejection, series, standing, study

_DERIVED = (standing, exam, rejection, conflict, instance, series, name_word, study)
"""What the files tell, the rows that refer to others first."""


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
