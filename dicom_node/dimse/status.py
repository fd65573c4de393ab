"""The one place where an outcome or an error becomes a DIMSE status and an Error Comment.

C-STORE: PS3.4 B.2.3 and PS3.7 9.1.1.1.9. C-FIND: PS3.4 C.4.1.1.4. C-MOVE: PS3.4 C.4.2.1.5. C-GET: PS3.4 C.4.3.1.4.
N-ACTION: PS3.7 10.1.4.1.10 and annex C.
"""

from dataclasses import dataclass

from dicom_node import errors


@dataclass(frozen=True, slots=True)
class Status:
    """A status code and the Error Comment (0000,0902) that goes with it, at most 64 characters, no patient data."""

    code: int
    comment: str = ""


SUCCESS = Status(0x0000)
PENDING = Status(0xFF00)
CANCELLED = Status(0xFE00)

NO_SUCH_SOP_CLASS = Status(0x0118, "only the Storage Commitment Push Model has actions here")
NO_SUCH_SOP_INSTANCE = Status(0x0112, "the one instance with actions is 1.2.840.10008.1.20.1.1")
INVALID_SOP_INSTANCE = Status(0x0117, "Requested SOP Instance UID is missing or no UID")
NO_SUCH_ACTION = Status(0x0123, "the one action is type 1, request storage commitment")

STORE: tuple[tuple[type[errors.NodeError], int], ...] = (
    (errors.PermissionDeniedError, 0x0124),
    (errors.InvalidInstanceUidError, 0x0117),
    (errors.MismatchedInstanceError, 0xA900),
    (errors.UnreadableInstanceError, 0xC000),
    (errors.HostError, 0xA700),
    (errors.DatabaseError, 0xA700),
)

FIND: tuple[tuple[type[errors.NodeError], int], ...] = (
    (errors.InvalidQueryError, 0xA900),
    (errors.QueryLimitError, 0xA700),
    (errors.HostError, 0xA700),
    (errors.DatabaseError, 0xA700),
)

RETRIEVE: tuple[tuple[type[errors.NodeError], int], ...] = (
    (errors.UnsupportedSopClassError, 0x0122),
    (errors.UnknownDestinationError, 0xA801),
    (errors.InvalidQueryError, 0xA900),
    (errors.DatabaseError, 0xA701),
    (errors.HostError, 0xA702),
)

ACTION: tuple[tuple[type[errors.NodeError], int], ...] = (
    (errors.InvalidActionError, 0x0115),
    (errors.HostError, 0x0213),
    (errors.DatabaseError, 0x0213),
)

_UNFORESEEN = "unexpected error, see the node's log"


def _of(table: tuple[tuple[type[errors.NodeError], int], ...], error: Exception, *, otherwise: int) -> Status:
    for kind, code in table:
        if isinstance(error, kind):
            return Status(code, str(error)[:64])
    return Status(otherwise, _UNFORESEEN)


def of_store_error(error: Exception) -> Status:
    """Return the C-STORE status of ``error``: 0117, 0124, A900, C000, A700, or 0110 for what nobody foresaw."""
    return _of(STORE, error, otherwise=0x0110)


def of_find_error(error: Exception) -> Status:
    """Return the C-FIND status of ``error``: A900, A700, or C001 for what nobody foresaw."""
    return _of(FIND, error, otherwise=0xC001)


def of_retrieve_error(error: Exception) -> Status:
    """Return the C-GET or C-MOVE status of an ``error`` before the first sub-operation.

    0122, A701, A702, A801, A900, or C001 for what nobody foresaw.
    """
    return _of(RETRIEVE, error, otherwise=0xC001)


def of_sub_operations(*, completed: int, failed: int, warned: int, reason: str) -> Status:
    """Return how a C-GET or C-MOVE ended whose sub-operations have all been tried.

    0000 when all were completed, B000 when some had a warning or failed, A702 when every one failed. ``reason`` says
    why the first one did.
    """
    if not failed and not warned:
        return SUCCESS
    return Status(0xB000 if completed or warned else 0xA702, reason[:64])


def is_stored(code: int) -> bool:
    """Tell whether the status of a C-STORE says that the instance is kept, with a warning perhaps (PS3.4 B.2.3)."""
    return code == SUCCESS.code or is_warning(code)


def is_warning(code: int) -> bool:
    """Tell whether a status is a warning (PS3.7 annex C.4): 0001, 0107, 0116, or B000 to BFFF."""
    return code in {0x0001, 0x0107, 0x0116} or 0xB000 <= code <= 0xBFFF


def of_action_error(error: Exception) -> Status:
    """Return the N-ACTION status of ``error``: 0115, 0213, or 0110 for what nobody foresaw."""
    return _of(ACTION, error, otherwise=0x0110)
