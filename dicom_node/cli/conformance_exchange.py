"""What leaves the node, in the conformance statement: retrieval and reports of storage commitment (N.5.3, N.5.4)."""

from datetime import timedelta

from dicom_node.cli.conformance_text import Facts, table
from dicom_node.dicom.commitment import LARGEST, FailureReason
from dicom_node.dimse.commitment import PAUSE, SOP_INSTANCE_UID
from dicom_node.dimse.move import MOST_BREAKS
from dicom_node.dimse.proposing import MOST_CONTEXTS
from dicom_node.dimse.retrieve import KEPT_UP, LONGEST_LIST
from dicom_node.index.commitments import FIRST_RETRY, LAST_RETRY
from dicom_node.services.commitment import FRESH, GIVE_UP, GRACE, KEPT

_FAILURES = {
    FailureReason.PROCESSING_FAILURE: "its stored bytes are no longer those that came",
    FailureReason.NO_SUCH_OBJECT_INSTANCE: "the node does not hold it, or its file is gone",
    FailureReason.CLASS_INSTANCE_CONFLICT: "it is held under another SOP class",
    FailureReason.SOP_CLASS_NOT_SUPPORTED: "it is not held, and its SOP class is none that the node stores",
    FailureReason.DUPLICATE_TRANSACTION_UID: (
        "another request of the same caller with this Transaction UID waits for its report"
    ),
    FailureReason.RESOURCE_LIMITATION: "the archive cannot be read now",
}


def services(_facts: Facts) -> list[str]:
    """Say how instances are sent, and what the node commits to."""
    return [*_retrieval(), *_commitment()]


def _retrieval() -> list[str]:
    return [
        "### N.5.3 Retrieval",
        (
            "C-GET and C-MOVE in both models (PS3.4 C.4.2, C.4.3), for whoever is listed with `get` or `move`. "
            "Retrieval is hierarchical: one value for the unique key of each level above, a list of UIDs at the "
            "level itself, of patients one. A unique key of a level below is answered 0xA900; keys that are not unique "
            "are passed over. There is no extended negotiation for it."
        ),
        table(
            ("", "C-GET", "C-MOVE"),
            [
                (
                    "way",
                    "the association of the request",
                    "associations that the node opens, one at a time for each request",
                ),
                (
                    "presentation contexts",
                    "those of storage in which the peer took the role of an SCP, by SCP/SCU role selection",
                    (
                        f"one for each SOP class and transfer syntax as stored, at most {MOST_CONTEXTS} in an "
                        "association"
                    ),
                ),
                ("AE title that calls", "", "the one that the request had called"),
                (
                    "destination",
                    "",
                    (
                        "an application entity that the configuration lists with a port and with "
                        "`move-destination`, by its AE title; any other is answered 0xA801"
                    ),
                ),
                ("Move Originator", "", "AE title and Message ID of the request"),
                ("Priority", "that of the request", "that of the request"),
                ("cancelled", "after the instance that is under way", "at once: the association is aborted"),
                (
                    "the receiver breaks off or falls silent",
                    "the request ends with its association",
                    (
                        "the instance has failed, and another association is opened for the rest; after "
                        f"{MOST_BREAKS + 1} such instances in a row all have failed"
                    ),
                ),
            ],
        ),
        (
            "An instance is sent as it is stored, in its own transfer syntax, or not at all: then it counts as "
            "failed. Each file is read and compared with its digest before its first byte leaves; a damaged one has "
            "failed, and one that breaks while it is sent ends the association. Of an instance that came with several "
            "contents the one that queries find is sent."
        ),
        (
            "A pending response with the numbers of sub-operations is sent when they have changed, and when nothing "
            f"has for {KEPT_UP:g} s, unless the peer's own response is due. The final response names the instances "
            "that failed in Failed SOP Instance UID List (0008,0058); with explicit VR it ends after "
            f"{LONGEST_LIST:,} bytes. Numbers above 65,535 are told as 65,535."
        ),
    ]


def _commitment() -> list[str]:
    return [
        "### N.5.4 Storage commitment",
        (
            "Push model (PS3.4 annex J), for whoever is listed with `commit`, on the well-known instance "
            f"{SOP_INSTANCE_UID}."
        ),
        (
            "The node commits to an instance when it holds it under the SOP class that the request names, and every "
            "byte of it, read again for this, has the digest it had when it came; of several contents that came under "
            f"one UID, each. What was read less than {_told(FRESH)} ago is not read again for a report that is "
            "repeated. It commits without an end: it deletes nothing. What it cannot commit to is named with a reason:"
        ),
        table(
            ("Failure Reason (0008,1197)", "when"),
            [(f"0x{reason:04X}", _FAILURES[reason]) for reason in FailureReason],
        ),
        table(
            ("", "the node"),
            [
                ("the request is acknowledged", "when it is on disk"),
                ("longest request", f"{LARGEST >> 10:,} KiB; a longer one ends the association"),
                (
                    "instances that come after their request",
                    f"are waited for, up to {_told(GRACE)}",
                ),
                (
                    "the report on the same association",
                    f"is sent {PAUSE:g} s after the response or later, when the association is still open",
                ),
                (
                    "else",
                    (
                        "the node calls the device by its `port` and `address` in the configuration, under the AE "
                        "title that the device had called; it proposes to be SCP of the push model"
                    ),
                ),
                (
                    "a report that is not taken",
                    (
                        f"is sent again, after {_told(FIRST_RETRY)}, then in growing pauses of at most "
                        f"{_told(LAST_RETRY)}, for {_told(GIVE_UP)}"
                    ),
                ),
                ("the same request again", "is looked at and reported anew"),
                ("requests stay listed", f"{_told(KEPT)} after their end"),
                ("Retrieve AE Title (0008,0054) in a report", "the AE title that the device had called"),
                ("Event Type ID", "1 when it commits to every instance, 2 when it does not"),
                ("Storage Media File-Set", "none"),
            ],
        ),
    ]


def _told(span: timedelta) -> str:
    """Say how long in the largest unit that it is a whole number of."""
    for unit, seconds in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        number, rest = divmod(int(span.total_seconds()), seconds)
        if number and not rest:
            return f"{number} {unit}{'' if number == 1 else 's'}"
    raise ValueError("no whole number of seconds")
