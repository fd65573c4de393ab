"""The index as a witness of the audit trail: it remembers an end that the trail had.

A chain tells of a line that changed or is missing in the middle. That lines are missing at the end, only somebody
can tell who has seen them.
"""

from dicom_node.archive.audit import AuditCheck, AuditTrail, Head
from dicom_node.index import state
from dicom_node.index.engine import Index

_SEEN = "audit_seen"


def witness(trail: AuditTrail, index: Index) -> None:
    """Remember the trail's end. Raises StorageUnavailableError, DatabaseError."""
    head = trail.settle()  # what a power cut could still take is no witness
    value = f"{head.seq} {head.sha256}"
    with index.read() as conn:
        known = state.get(conn, _SEEN)
    if known != value:
        with index.write() as conn:
            state.put(conn, _SEEN, value)


def verify_trail(trail: AuditTrail, index: Index) -> AuditCheck:
    """Check the whole trail, also against what the index and the note of what was forwarded remember.

    Raises StorageUnavailableError, DatabaseError, and ObjectDamagedError when that note cannot be read.
    """
    with index.read() as conn:
        known = state.get(conn, _SEEN)
    seen = [trail.forwarded()]
    if known is not None:
        number, _, digest = known.partition(" ")
        seen.append(Head(int(number), digest))
    return trail.verify(*seen)
