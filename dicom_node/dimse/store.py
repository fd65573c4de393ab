"""C-STORE between the receiver and the ingest use case: checks the command, opens the spool, words the answer."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from dicom_node.archive.incoming import Incoming
from dicom_node.archive.store import LocalArchive
from dicom_node.dicom.facts import Provenance
from dicom_node.dicom.uids import is_uid
from dicom_node.dimse import status
from dicom_node.dimse.pdu import Command
from dicom_node.dimse.serving import AcceptedContext, Transfer
from dicom_node.errors import (
    DrainingError,
    InvalidInstanceUidError,
    MismatchedInstanceError,
    NodeError,
    PermissionDeniedError,
    StorageUnavailableError,
    UnreadableInstanceError,
)
from dicom_node.services.audit import AssociationAudit
from dicom_node.services.ingest import Received, Stored


@dataclass(slots=True)
class Tally:
    """What one association stored, for its closing log line."""

    instances: int = 0
    size: int = 0
    refused: int = 0


class StoreScp:
    """Serves the C-STORE requests of one association (PS3.4 annex B)."""

    def __init__(
        self,
        *,
        contexts: Mapping[int, AcceptedContext],
        caller: Provenance,
        archive: LocalArchive,
        ingest: Callable[[Received], Stored],
        now: Callable[[], datetime],
        draining: Callable[[], bool],
        maximum_data_set: int,
        audit: AssociationAudit,
        log: Any,
    ) -> None:
        """Serve under ``contexts`` (by id). ``caller`` says who sends; its time is that of the association.

        ``maximum_data_set`` is the largest data set taken, in bytes.
        """
        self._contexts = contexts
        self._caller = caller
        self._archive = archive
        self._ingest = ingest
        self._now = now
        self._draining = draining
        self._maximum_data_set = maximum_data_set
        self._audit = audit
        self._log = log
        self.tally = Tally()

    def begin(self, command: Command, context_id: int) -> Transfer:
        """Open the way in for one instance; a refusal is told when its bytes have passed."""
        arrival = _Arrival(self, command)
        arrival.open(lambda: self._open(command, context_id))
        return arrival

    def _open(self, command: Command, context_id: int) -> Received:
        if self._draining():
            raise DrainingError("the node is stopping, send again later")
        context = self._contexts.get(context_id)
        if context is None or context.sop_class_uid != command.affected_sop_class_uid:
            raise MismatchedInstanceError("SOP class is not that of the presentation context")
        if not context.takes:
            raise PermissionDeniedError("this caller may not store")
        if not is_uid(command.affected_sop_instance_uid):
            raise InvalidInstanceUidError("Affected SOP Instance UID is missing or no UID")
        if not command.has_data_set:
            raise UnreadableInstanceError("the request has no data set")
        provenance = replace(self._caller, received_at=self._now())
        incoming = self._archive.receive(
            sop_class_uid=context.sop_class_uid,
            sop_instance_uid=command.affected_sop_instance_uid,
            transfer_syntax_uid=context.transfer_syntax_uid,
            provenance=provenance,
        )
        return Received(
            incoming=incoming,
            sop_class_uid=context.sop_class_uid,
            sop_instance_uid=command.affected_sop_instance_uid,
            transfer_syntax_uid=context.transfer_syntax_uid,
            provenance=provenance,
        )

    def take(self, incoming: Incoming, *data: memoryview) -> None:
        """Write the next bytes. Raises StorageUnavailableError, also when the data set is over its limit."""
        if incoming.size + sum(map(len, data)) > self._maximum_data_set:
            raise StorageUnavailableError("the data set is larger than this node takes")
        incoming.write(*data)

    def take_custody(self, received: Received, began: float) -> status.Status:
        """Ingest an instance that is all here and write its log line. Raises whatever the use case raises."""
        stored = self._ingest(received)
        self._audit.stored(
            study_uid=stored.study_uid,
            sop_class_uid=received.sop_class_uid,
            outcome=stored.outcome,
            received_at=received.provenance.received_at.isoformat(),
        )
        self.tally.instances += 1
        self.tally.size += stored.size
        self._log.info(
            "instance.stored",
            sop_uid=stored.sop_instance_uid,
            study_uid=stored.study_uid,
            unit=stored.unit,
            outcome=stored.outcome,
            bytes=stored.size,
            ms=round((time.monotonic() - began) * 1000, 1),
        )
        return status.SUCCESS

    def refuse(self, command: Command, error: Exception) -> status.Status:
        """Word what went wrong, for the peer and for the log."""
        answer = status.of_store_error(error)
        self.tally.refused += 1
        self._log.warning(
            "instance.refused",
            sop_uid=command.affected_sop_instance_uid if is_uid(command.affected_sop_instance_uid) else "",
            status=f"{answer.code:04X}",
            reason=answer.comment,
            exc_info=None if isinstance(error, NodeError) else error,
        )
        return answer


class _Arrival:
    """One instance on its way through the spool: the receiver's transfer."""

    def __init__(self, scp: StoreScp, command: Command) -> None:
        self._scp = scp
        self._command = command
        self._began = time.monotonic()
        self._error: Exception | None = None
        self._received: Received | None = None

    def open(self, make: Callable[[], Received]) -> None:
        try:
            self._received = make()
        except Exception as error:  # noqa: BLE001 - whatever went wrong becomes the answer
            self._error = error

    def write(self, *data: memoryview) -> None:
        if self._error is not None or self._received is None:
            return
        try:
            self._scp.take(self._received.incoming, *data)
        except Exception as error:  # noqa: BLE001 - whatever went wrong becomes the answer
            # The spool is freed at once; the bytes still to come are let pass, and the association goes on.
            self._error = error
            self.discard()

    def finish(self) -> tuple[int, str]:
        answer = self._answer()
        return answer.code, answer.comment

    def _answer(self) -> status.Status:
        if self._error is None and self._received is not None:
            try:
                return self._scp.take_custody(self._received, self._began)
            except Exception as error:  # noqa: BLE001 - whatever went wrong becomes the answer
                self._error = error
        return self._scp.refuse(self._command, self._error or UnreadableInstanceError("nothing was received"))

    def discard(self) -> None:
        if self._received is not None:
            self._received.incoming.discard()
