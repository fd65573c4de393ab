"""Storage commitment on the association that asked for it: N-ACTION in, N-EVENT-REPORT out (PS3.4 annex J).

The request is durable before it is acknowledged. The report follows on the same association when that is still open; a
peer that leaves gets it over a new one (``reporting``).
"""

import itertools
import time
from collections.abc import Generator, Mapping
from typing import Any

from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # pynetdicom makes these names at run time
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from dicom_node.dicom.commitment import Report, read_request, write_report
from dicom_node.dicom.identifiers import encoding_of
from dicom_node.dicom.uids import is_uid
from dicom_node.dimse import pdu, status
from dicom_node.dimse.pdu import Command, ProtocolError
from dicom_node.dimse.serving import AcceptedContext, Link
from dicom_node.dimse.status import Status
from dicom_node.errors import DatabaseError
from dicom_node.index.commitments import Held, Sender
from dicom_node.services.commitment import Commitments, LeaseLostError

SOP_CLASS_UID, SOP_INSTANCE_UID = str(StorageCommitmentPushModel), str(StorageCommitmentPushModelInstance)

REQUEST_COMMITMENT = 1
"""The one Action Type ID (PS3.4 J.3.2)."""

MOST_WAITING = 50_000
"""Instances named on one association whose reports are still to come; they are held in memory."""

PAUSE = 1.0
"""Seconds between the response and the first word about the report, and between two looks for late instances.

Many peers close the association as soon as they have the response, and a report would meet them in the middle of it."""


class CommitmentScp:
    """Serves the N-ACTION requests of one association."""

    def __init__(
        self,
        *,
        contexts: Mapping[int, AcceptedContext],
        link: Link,
        log: Any,
        commitments: Commitments,
        pause: float = PAUSE,
    ) -> None:
        """Serve under those of ``contexts`` (by id) that are of storage commitment. ``pause`` is in seconds."""
        self._contexts = contexts
        self._link = link
        self._log = log
        self._commitments = commitments
        self._pause = pause
        self._message_ids = itertools.cycle(range(1, 0x10000))  # of the requests that we make
        self._unreported: list[Committing] = []

    def begin(self, command: Command, context_id: int, data_set: bytes) -> "Committing":
        """Begin to answer an N-ACTION-RQ. Raises ProtocolError when the context is none of storage commitment."""
        context = self._contexts.get(context_id)
        if context is None or context.sop_class_uid != SOP_CLASS_UID:
            raise ProtocolError("an N-ACTION arrived in a presentation context of something else")
        self._unreported = [each for each in self._unreported if each.instances]
        committing = Committing(
            _Messages(command, context_id, context.transfer_syntax_uid, self._link),
            data_set,
            message_id=next(self._message_ids),
            commitments=self._commitments,
            pause=self._pause,
            log=self._log,
            is_room=sum(each.instances for each in self._unreported) < MOST_WAITING,
        )
        self._unreported.append(committing)
        return committing


class Committing:
    """One request, from its acknowledgement to its report. ``abandon`` may be called from any thread."""

    def __init__(
        self,
        messages: "_Messages",
        data_set: bytes,
        *,
        message_id: int,
        commitments: Commitments,
        pause: float,
        log: Any,
        is_room: bool,
    ) -> None:
        """Answer what ``data_set`` asks; ``message_id`` is that of the report.

        ``is_room`` tells that the association may be owed one more.
        """
        self._is_room = is_room
        self._messages = messages
        self._data_set = data_set
        self._message_id = message_id
        self._commitments = commitments
        self._pause = pause
        self._log = log
        self._held: Held | None = None
        self._sent: Report | None = None
        self._rests_until = 0.0
        self._ended = False
        self._work = self._steps()

    @property
    def instances(self) -> int:
        """Number of instances whose report is owed; 0 when it is not, any more."""
        held = self._held
        return 0 if held is None or self._ended else len(held.requested)

    @property
    def waits(self) -> bool:
        """Tell whether the peer has the report, or it is too early for it."""
        return not self._ended and (self._sent is not None or time.monotonic() < self._rests_until)

    @property
    def gives_way(self) -> bool:
        """Tell whether the request is acknowledged."""
        return self._held is not None

    def next(self) -> bytes | None:
        """Return the next units: the response, nothing while the instances are looked at, the report."""
        try:
            return None if self._ended else next(self._work)
        except StopIteration:
            pass
        except LeaseLostError:
            self._ended = True  # whoever has it reports it
        except Exception as error:  # noqa: BLE001 # the job reports what could not be reported here
            self._log.error("commitment.interrupted", exc_info=error)
            self.abandon()
        return None

    def cancel(self, message_id: int) -> None:
        """Go on: a request for storage commitment cannot be cancelled."""

    def hear(self, command: Command) -> bool:
        """Take the response to the report."""
        held, report = self._held, self._sent
        ours = command.field == pdu.N_EVENT_REPORT_RQ | pdu.RESPONSE_BIT and command.message_id == self._message_id
        if held is None or report is None or not ours:
            return False
        self._ended, self._sent = True, None
        try:
            if status.is_taken(command.status):
                self._commitments.reported(held, report)
            else:
                self._commitments.not_reported(held, f"it answered the report with status {command.status:04X}")
        except DatabaseError as error:
            # The lease runs out, and the report is sent once more.
            self._log.error("commitment.interrupted", exc_info=error)
        return True

    def abandon(self) -> None:
        """Leave the report to the job, at once."""
        if self._ended:
            return
        self._ended = True
        held = self._held
        if held is not None:
            self._put_back(held)

    def _put_back(self, held: Held) -> None:
        try:
            self._commitments.put_back(held)
        except DatabaseError as error:
            self._log.error("commitment.interrupted", exc_info=error)  # the lease runs out

    def _steps(self) -> Generator[bytes, None, None]:
        """Yield what there is to send, step by step."""
        answer = self._accept()
        held = self._held
        if held is None:
            self._ended = True
            yield self._messages.response(answer)
            return
        if self._ended:  # the association ended meanwhile
            self._put_back(held)
            return
        yield self._messages.response(answer)
        yield self._rest()
        while self._commitments.is_early(held):
            yield self._rest()
        looking = self._commitments.look(held)
        while True:
            try:
                next(looking)
            except StopIteration as looked:
                report: Report = looked.value
                break
            yield b""
        units = self._messages.report(self._message_id, report)
        self._sent = report
        yield units

    def _rest(self) -> bytes:
        self._rests_until = time.monotonic() + self._pause
        return b""

    def _accept(self) -> Status:
        messages = self._messages
        refusal = messages.refusal() or (None if self._is_room else status.TOO_MANY_WAIT)
        if refusal is not None:
            return refusal
        try:
            request = read_request(self._data_set, messages.encoding)
            self._data_set = b""
            self._held = self._commitments.accept(request, messages.sender())
        except Exception as error:  # noqa: BLE001 # its text is not the peer's to read
            answer = status.of_action_error(error)
            self._log.warning("commitment.refused", status=f"{answer.code:04X}", exc_info=error)
            return answer
        return status.SUCCESS


class _Messages:
    """What is said to the peer about one request, as whole units."""

    def __init__(self, command: Command, context_id: int, transfer_syntax_uid: str, link: Link) -> None:
        self._command = command
        self._context_id = context_id
        self._link = link
        self.encoding = encoding_of(transfer_syntax_uid)

    def sender(self) -> Sender:
        """Return who asks."""
        link = self._link
        return Sender(caller=link.name, calling_ae=link.calling_ae, called_ae=link.called_ae, peer_address=link.peer)

    def refusal(self) -> Status | None:
        """Return what is wrong with the command, None when nothing is (PS3.7 10.1.4.1)."""
        instance = self._command.text(0x1001)
        if self._command.text(0x0003) != SOP_CLASS_UID:
            return status.NO_SUCH_SOP_CLASS
        if not is_uid(instance):
            return status.INVALID_SOP_INSTANCE
        if instance != SOP_INSTANCE_UID:
            return status.NO_SUCH_SOP_INSTANCE
        if self._command.number(0x1008) != REQUEST_COMMITMENT:
            return status.NO_SUCH_ACTION
        return None

    def response(self, answer: Status) -> bytes:
        """Encode the N-ACTION-RSP (PS3.7 10.3.4.2)."""
        elements: dict[int, int | str] = {
            0x0002: SOP_CLASS_UID,
            0x0120: self._command.message_id,
            0x0900: answer.code,
            0x1000: SOP_INSTANCE_UID,
            0x1008: REQUEST_COMMITMENT,
        }
        if answer.comment:
            elements[0x0902] = answer.comment
        field = pdu.N_ACTION_RQ | pdu.RESPONSE_BIT
        return self._units(pdu.command_set(field, elements, has_data_set=False), is_command=True)

    def report(self, message_id: int, report: Report) -> bytes:
        """Encode the N-EVENT-REPORT-RQ (PS3.7 10.3.1.1)."""
        elements: dict[int, int | str] = {
            0x0002: SOP_CLASS_UID,
            0x0110: message_id,
            0x1000: SOP_INSTANCE_UID,
            0x1002: report.event_type,
        }
        command = pdu.command_set(pdu.N_EVENT_REPORT_RQ, elements, has_data_set=True)
        data = write_report(report, self.encoding, retrieve_ae=self._link.called_ae)
        return self._units(command, is_command=True) + self._units(data, is_command=False)

    def _units(self, data: bytes, *, is_command: bool) -> bytes:
        maximum_length = self._link.maximum_length
        return pdu.data_units(self._context_id, data, is_command=is_command, maximum_length=maximum_length)
