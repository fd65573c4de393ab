"""By which units and rules the stored exams were worked out, so that people learn when these are others by now."""

from sqlalchemy import Connection

from dicom_node.accreditation.fingerprint import fingerprint
from dicom_node.accreditation.units import Registry
from dicom_node.index import state
from dicom_node.index.engine import Index

DERIVED_BY = "derived_by"
"""Name of the node's fact that holds the fingerprints of all registries that some row may have been derived by."""


def note_registry(index: Index, registry: Registry) -> bool:
    """Put down that instances are worked out by ``registry`` from now on, before any is.

    Returns whether some that are stored may have been worked out by another. Raises DatabaseError.
    """
    own = fingerprint(registry)
    with index.read() as conn:
        known = _known(conn)
    if own not in known:
        with index.write() as conn:
            known = _known(conn) | {own}
            state.put(conn, DERIVED_BY, " ".join(sorted(known)))
    return known != {own}


def is_by_others(conn: Connection, registry: Registry) -> bool:
    """Tell whether some stored instance may have been worked out by other units and rules than these."""
    return bool(_known(conn) - {fingerprint(registry)})


def put_registry(conn: Connection, registry: Registry) -> None:
    """Put down that every stored instance is as ``registry`` makes it."""
    state.put(conn, DERIVED_BY, fingerprint(registry))


def _known(conn: Connection) -> set[str]:
    return set((state.get(conn, DERIVED_BY) or "").split())
