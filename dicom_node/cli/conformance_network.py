"""Communication details in the conformance statement: associations, and what each status means (N.7)."""

from collections.abc import Iterable

from dicom_node.cli.conformance_text import Facts, sentence, table
from dicom_node.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.dimse import status
from dicom_node.dimse.calling import MAXIMUM_LENGTH
from dicom_node.dimse.dialogue import LONGEST_UNIT
from dicom_node.errors import BusyError, DrainingError

Row = tuple[int, str]

REJECTIONS = (
    ((1, 1, 1), "no reason given: nothing that it proposes is known here, transfer syntax and all, and allowed to it"),
    ((1, 1, 7), "called AE title not recognized: the node has another"),
    (
        (1, 1, 3),
        "calling AE title not recognized: it is not listed, or not for this address, or not with this certificate",
    ),
    ((2, 2, 1), "the caller did not name itself by the username and passcode it is listed with"),
    ((1, 2, 2), "protocol version not supported"),
    ((2, 3, 2), "local limit exceeded: too many associations at once, of all, from its address or of its AE title"),
    ((2, 3, 1), "temporary congestion: the node is stopping"),
)
"""Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""

CONTEXT_RESULTS = (
    (0, "accepted"),
    (3, "abstract syntax not supported: unknown, or not allowed to this caller"),
    (4, "none of the transfer syntaxes is supported"),
)

C_STORE: tuple[Row, ...] = (
    (status.SUCCESS.code, "stored and indexed, or known already"),
    (status.of_store_error(DrainingError()).code, "the node is stopping, or the data set is longer than it takes"),
)
C_FIND: tuple[Row, ...] = (
    (0xFF00, "a match follows"),
    (0xFF01, "a match follows, and a key of the request is not supported"),
    (status.SUCCESS.code, "all matches were answered"),
    (status.CANCELLED.code, "the peer cancelled"),
)
C_GET_AND_C_MOVE: tuple[Row, ...] = (
    (status.PENDING.code, "sub-operations go on"),
    (status.SUCCESS.code, "every instance was taken, without a warning; or there was none"),
    (
        status.of_sub_operations(completed=1, failed=1, warned=0, reason="").code,
        "some instances failed or were taken with a warning",
    ),
    (status.of_sub_operations(completed=0, failed=1, warned=0, reason="").code, "every instance failed"),
    (status.of_retrieve_error(BusyError()).code, "too many transfers are under way"),
    (status.CANCELLED.code, "the peer cancelled"),
)
N_ACTION: tuple[Row, ...] = (
    (status.SUCCESS.code, "the request is kept; the report follows"),
    *(
        (each.code, each.comment)
        for each in (
            status.NO_SUCH_SOP_CLASS,
            status.NO_SUCH_SOP_INSTANCE,
            status.INVALID_SOP_INSTANCE,
            status.NO_SUCH_ACTION,
        )
    ),
)


def communication(facts: Facts) -> list[str]:
    """Say how associations are negotiated, and which statuses are answered and understood."""
    return [*_associations(facts), *_statuses()]


def _associations(facts: Facts) -> list[str]:
    return [
        "## N.7 Communication details",
        "### N.7.1 Associations",
        table(
            ("", "the node accepts", "the node requests"),
            [
                ("transport", "TCP over IPv4 and IPv6 (`node.bind`; `::` is both), with TLS or without", "the same"),
                (
                    "longest PDU it takes",
                    f"{facts.node.limits.max_pdu:,} bytes (`node.limits.max_pdu`)",
                    f"{MAXIMUM_LENGTH:,} bytes",
                ),
                ("longest PDU it sends", "what the peer takes", f"what the peer takes, at most {LONGEST_UNIT:,} bytes"),
                ("asynchronous operations window", "1/1, whatever is proposed", "not proposed"),
                (
                    "SCP/SCU role selection",
                    "for the storage SOP classes: SCP for those that may `get`, SCU for those that may `store`",
                    "for storage commitment (SCP), and by `dicom-node get`",
                ),
                ("SOP class extended negotiation", "for C-FIND (N.5.2)", "not proposed"),
                (
                    "user identity",
                    (
                        "username, with or without passcode, over TLS alone, where the configuration asks for it; "
                        "else it is passed over"
                    ),
                    "not proposed",
                ),
                (
                    "associations at a time",
                    f"{facts.node.max_associations:,} (`node.max_associations`)",
                    "one for each C-MOVE under way; one for reports of storage commitment",
                ),
                ("Implementation Class UID", IMPLEMENTATION_CLASS_UID, "the same"),
                ("Implementation Version Name", f"`{IMPLEMENTATION_VERSION_NAME}`", "the same"),
            ],
        ),
        "An A-ASSOCIATE-RJ has one of these:",
        table(
            ("result", "source", "reason", "when"),
            [(*(str(number) for number in numbers), words) for numbers, words in REJECTIONS],
        ),
        (
            "An association is aborted (A-ABORT) when the peer breaks the protocol, when it is idle for too long, and "
            "when the node stops: at once where nothing is under way, else after `node.drain`. The connection is "
            "closed without a word when no association is requested in time, when a PDU does not end or an answer is "
            "not taken in time, and when there are too many connections."
        ),
        "The result of a presentation context:",
        table(("result", "meaning"), [(str(number), words) for number, words in CONTEXT_RESULTS]),
    ]


def _statuses() -> list[str]:
    tables = (
        ("C-STORE", C_STORE, status.STORE, status.of_store_error),
        ("C-FIND", C_FIND, status.FIND, status.of_find_error),
        ("C-GET and C-MOVE", C_GET_AND_C_MOVE, status.RETRIEVE, status.of_retrieve_error),
        ("N-ACTION of storage commitment", N_ACTION, status.ACTION, status.of_action_error),
    )
    blocks = [
        "### N.7.2 Statuses",
        (
            "A failure or warning has an Error Comment (0000,0902) of at most 64 characters, without patient "
            "data. C-ECHO is answered 0x0000."
        ),
    ]
    for name, own, of_errors, of_error in tables:
        unforeseen = (of_error(Exception()).code, "unexpected error; the log of the node says more")
        rows = _together([*own, *((code, sentence(kind.__doc__)) for kind, code in of_errors), unforeseen])
        blocks += [f"{name}:", table(("status", "when"), [(f"0x{code:04X}", words) for code, words in rows.items()])]
    return [
        *blocks,
        (
            "Of a C-STORE that the node sends, and of a report of storage commitment, success and warnings (0x0001, "
            "0x0107, 0x0116, 0xBxxx) are taken for success, every other status for a failure."
        ),
    ]


def _together(rows: Iterable[Row]) -> dict[int, str]:
    """Put what is said of one status into one text, as sentences."""
    together: dict[int, str] = {}
    for code, words in rows:
        said = words[0].upper() + words[1:].rstrip(".") + "."
        together[code] = f"{together[code]} {said}" if code in together else said
    return together
