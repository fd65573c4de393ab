"""C-GET and C-MOVE between the receiver and the retrieve use case: what both have in common (PS3.4 C.4.2, C.4.3).

The request is read, the instances are selected, and sent one after the other in one of two ways: on the same
association (``get.py``) or on others (``move.py``). Each one is a sub-operation; pending responses count them, and the
final one names those that failed.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # pynetdicom makes these names at run time
    PatientRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from dicom_node.dicom.identifiers import encoding_of, write_element
from dicom_node.dicom.query import Root
from dicom_node.dicom.retrieve import Retrieval, parse_retrieval
from dicom_node.dimse import pdu, status
from dicom_node.dimse.pdu import Command, ProtocolError
from dicom_node.dimse.serving import AcceptedContext
from dicom_node.dimse.status import Status
from dicom_node.dimse.sub_operations import Counts, Tally, Way
from dicom_node.errors import NodeError, UnsupportedSopClassError
from dicom_node.index.retrieve import Selected
from dicom_node.services.audit import AssociationAudit

KEPT_UP = 5.0
"""Seconds after which a pending response leaves though nothing has changed: a peer that hears nothing gives up."""

LONGEST_LIST = 65534
"""Longest list of UIDs in an encoding with explicit VR, in bytes; what does not fit is counted only."""

_FAILED_UIDS = 0x00080058
_HIGHEST_NUMBER = 0xFFFF

_ROOTS = {
    (pdu.C_GET_RQ, PatientRootQueryRetrieveInformationModelGet): Root.PATIENT,
    (pdu.C_GET_RQ, StudyRootQueryRetrieveInformationModelGet): Root.STUDY,
    (pdu.C_MOVE_RQ, PatientRootQueryRetrieveInformationModelMove): Root.PATIENT,
    (pdu.C_MOVE_RQ, StudyRootQueryRetrieveInformationModelMove): Root.STUDY,
}

Select = Callable[[Retrieval], Iterator[list[Selected]]]
"""The use case: selects."""


def context_of(contexts: Mapping[int, AcceptedContext], context_id: int, command: Command) -> AcceptedContext:
    """Return the presentation context of a request. Raises ProtocolError when it is none of such requests."""
    context = contexts.get(context_id)
    if context is None or (command.field, context.sop_class_uid) not in _ROOTS:
        raise ProtocolError("a retrieval arrived in a presentation context of something else")
    return context


def read_retrieval(command: Command, context: AcceptedContext, data_set: bytes) -> Retrieval:
    """Read what is wanted. Raises UnsupportedSopClassError and InvalidQueryError."""
    if command.affected_sop_class_uid != context.sop_class_uid:
        raise UnsupportedSopClassError("the SOP class is not that of the presentation context")
    root = _ROOTS[command.field, context.sop_class_uid]
    return parse_retrieval(data_set, encoding_of(context.transfer_syntax_uid), root)


class Request(NamedTuple):
    """A C-GET or C-MOVE request that was read."""

    retrieval: Retrieval
    way: Way
    destination: str
    """The name of the receiver in the configuration; "" for the peer itself."""


@dataclass(slots=True)
class TransferRecord:
    """Tells the audit trail of one request: where the instances were to go, of which studies they were."""

    audit: AssociationAudit
    ae_title: str
    """As the request has it."""
    address: str = ""
    """Known when the receiver is one of the configuration."""
    study_uids: frozenset[str] = frozenset()

    def begin(self, selected: Sequence[Selected]) -> None:
        """Record that the instances are about to leave."""
        self.study_uids = frozenset(each.study_uid for each in selected)
        if self.study_uids:
            self.audit.retrieve_began(
                study_uids=self.study_uids, destination_ae=self.ae_title, destination=self.address
            )

    def end(self, counts: Counts, final: str) -> None:
        """Record what became of them."""
        self.audit.retrieve_ended(
            study_uids=self.study_uids,
            destination_ae=self.ae_title,
            destination=self.address,
            sent=counts.completed + counts.warned,
            failed=counts.failed,
            status=final,
        )


class Retrieving:
    """One request that is being answered. ``next`` is called from one thread, ``abandon`` from any."""

    gives_way = False

    def __init__(
        self,
        read: Callable[[], Request],
        select: Select,
        responses: "Responses",
        log: Any,
        record: TransferRecord,
    ) -> None:
        """Answer what ``read`` makes of the request; it raises what is wrong with it."""
        self._record = record
        self._read = read
        self._select = select
        self._responses = responses
        self._log = log
        self._began = self._told_at = time.monotonic()
        self._request: Request | None = None
        self._tally = Tally()
        self._told = Counts()
        self._final: Status | None = None
        self._cancelled = self._over = self._logged = False
        self._details: dict[str, Any] = {}
        self._write: Callable[..., None] = log.info
        self._answers = self._answer()

    @property
    def waits(self) -> bool:
        """Tell whether there is nothing to send before the peer has said something."""
        return self._request is not None and not self._over and self._request.way.waits

    def next(self) -> bytes | None:
        """Return the next units to send, the final response at the end of the last; None when all was returned."""
        if self._over:
            self._end()
            return None
        try:
            return next(self._answers)
        except StopIteration:
            pass
        except NodeError as error:
            self._final = status.of_retrieve_error(error)
            self._write, self._details = self._log.warning, {"reason": str(error)}
        except Exception as error:  # noqa: BLE001 # its text is not the peer's to read, it may be patient data
            self._final = status.of_retrieve_error(error)
            self._write, self._details = self._log.error, {"exc_info": error}
        self._over = True
        if self._request is not None and self._request.way.is_inside_message:
            return pdu.abort(0)  # half a data set cannot be taken back in any other way
        return self._responses.final(self._final or status.SUCCESS, self._tally)

    def cancel(self, message_id: int) -> None:
        """End as soon as may be, if it is this request that the peer cancelled."""
        self._cancelled = self._cancelled or message_id == self._responses.message_id

    def hear(self, command: Command) -> bool:
        """Take the peer's response to a sub-operation; tell whether it was one. Raises ProtocolError."""
        return self._request is not None and not self._over and self._request.way.hear(command)

    def abandon(self) -> None:
        """End without a word: nobody is there to hear it."""
        self._over = True
        self._tally.close()
        if self._request is not None:
            self._request.way.abandon()
        self._end()

    def _answer(self) -> Generator[bytes, None, None]:
        """Yield what comes before the final response, and set its status."""
        self._request = request = self._read()
        selected: list[Selected] = []
        for some in self._select(request.retrieval):
            selected += some
            yield b""
            if self._cancelled:
                break
        self._tally.expect(len(selected))
        self._record.begin(selected)
        self._told = self._tally.counts
        inside = False
        for units in request.way.send(selected, self._tally, lambda: self._cancelled):
            yield units if inside else self._pending(request.way) + units
            inside = request.way.is_inside_message
        counts = self._tally.counts
        if self._cancelled and (counts.remaining or not selected):
            self._final = status.CANCELLED
        else:
            _, completed, failed, warned = counts
            reason = self._tally.reason
            self._final = status.of_sub_operations(completed=completed, failed=failed, warned=warned, reason=reason)
            if failed:
                self._write, self._details = self._log.warning, {"reason": reason}

    def _pending(self, way: Way) -> bytes:
        """Return a pending response when there is news, or nothing was told for long; else b""."""
        now, counts = time.monotonic(), self._tally.counts
        has_news = counts != self._told and counts.remaining
        is_silent = now - self._told_at > KEPT_UP and not way.waits
        if not has_news and not is_silent:
            return b""
        self._told, self._told_at = counts, now
        return self._responses.pending(counts)

    def _end(self) -> None:
        """Write to the log what became of it, once."""
        if self._logged:
            return
        with contextlib.suppress(ValueError):  # the other thread is at it and will not be asked for more
            self._answers.close()
        self._logged = True
        request, counts = self._request, self._tally.counts
        final = "" if self._final is None else f"{self._final.code:04X}"
        self._record.end(counts, final)
        self._write(
            "retrieve.answered",
            query_level="" if request is None else request.retrieval.level.name,
            destination="" if request is None else request.destination,
            instances=counts.completed + counts.warned,
            warnings=counts.warned,
            failed=counts.failed,
            remaining=counts.remaining,
            bytes=self._tally.size,
            status=final,
            seconds=round(time.monotonic() - self._began, 3),
            **self._details,
        )


class Responses:
    """Encodes the responses to one request as whole units."""

    def __init__(self, command: Command, context: AcceptedContext, context_id: int, maximum_length: int) -> None:
        """``maximum_length`` is the longest P-DATA-TF body that the peer takes, in bytes; 0 for any."""
        self.message_id = command.message_id
        self._field = command.field | pdu.RESPONSE_BIT
        self._context = context
        self._context_id = context_id
        self._maximum_length = maximum_length

    def pending(self, counts: Counts) -> bytes:
        """Encode a pending response."""
        return self._command(status.PENDING, counts, has_identifier=False)

    def final(self, answer: Status, tally: Tally) -> bytes:
        """Encode the final response, with the UIDs that failed unless it is a success (PS3.4 C.4.2.1.4.2)."""
        failed = tally.failed_uids
        units = self._command(answer, tally.counts, has_identifier=bool(failed))
        return units + self._units(self._identifier(failed), is_command=False) if failed else units

    def _identifier(self, uids: Sequence[str]) -> bytes:
        encoding = encoding_of(self._context.transfer_syntax_uid)
        value = "\\".join(uids).encode("ascii", "replace")
        if not encoding.implicit and len(value) > LONGEST_LIST:
            value = value[:LONGEST_LIST].rpartition(b"\\")[0]
        return write_element(_FAILED_UIDS, "UI", value, encoding)

    def _command(self, answer: Status, counts: Counts, *, has_identifier: bool) -> bytes:
        """Encode a command set (PS3.7 9.3.3.2, 9.3.4.2); a count that its element cannot hold is the highest it can."""
        remaining, *others = (min(count, _HIGHEST_NUMBER) for count in counts)
        elements: dict[int, int | str] = {
            0x0002: self._context.sop_class_uid,
            0x0120: self.message_id,
            0x0900: answer.code,
            **dict(zip((0x1021, 0x1022, 0x1023), others, strict=True)),
        }
        if answer in (status.PENDING, status.CANCELLED):
            elements[0x1020] = remaining
        if answer.comment:
            elements[0x0902] = answer.comment.encode("ascii", "replace").decode("ascii")
        return self._units(pdu.command_set(self._field, elements, has_data_set=has_identifier), is_command=True)

    def _units(self, data: bytes, *, is_command: bool) -> bytes:
        return pdu.data_units(self._context_id, data, is_command=is_command, maximum_length=self._maximum_length)
