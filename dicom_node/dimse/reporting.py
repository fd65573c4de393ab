"""Reports of storage commitment over associations that the node opens, to peers that left or that it could not reach.

The node is requestor and SCP of the Storage Commitment Push Model (PS3.4 J.3.3, PS3.7 D.3.3.4), under the AE title that
the peer had called.
"""

import ssl
import threading
from collections.abc import Callable, Generator, Sequence
from datetime import timedelta

from dicom_node.dicom.commitment import Report, write_report
from dicom_node.dicom.identifiers import encoding_of
from dicom_node.dimse import status
from dicom_node.dimse.access import Destination
from dicom_node.dimse.calling import Calling, Patience, Proposed, call
from dicom_node.dimse.commitment import SOP_CLASS_UID, SOP_INSTANCE_UID
from dicom_node.dimse.contexts import MESSAGE_SYNTAXES
from dicom_node.errors import DatabaseError, NodeError
from dicom_node.index.commitments import Held, Sender
from dicom_node.services.commitment import Commitments, LeaseLostError

LOOK_AGAIN = timedelta(seconds=2)
"""Until instances that are late are looked for again."""

PATIENCE = Patience(connect=5.0, answer=10.0)
"""Short where nobody can interrupt it: the end of the node waits for it."""


class Reporter:
    """Sends what is due. ``run`` is called by one thread at a time, ``stop`` by any."""

    def __init__(
        self,
        commitments: Commitments,
        *,
        destinations: Callable[[], Sequence[Destination]],
        tls: Callable[[Destination], ssl.SSLContext | None],
        patience: Patience = PATIENCE,
    ) -> None:
        """``destinations`` tells where callers take associations.

        ``tls`` gives what one is called with, None for one without TLS, and raises CertificateError.
        """
        self._commitments = commitments
        self._destinations = destinations
        self._tls = tls
        self._patience = patience
        self._stopping = threading.Event()
        self._calling: Calling | None = None

    def run(self) -> None:
        """Send every report that is due, or put it back. Raises DatabaseError."""
        while not self._stopping.is_set():
            claimed = self._commitments.claim()
            if not claimed:
                return
            self._report(claimed)

    def stop(self) -> None:
        """End what is under way: the next start goes on with it."""
        self._stopping.set()
        calling = self._calling
        if calling is not None:
            calling.abort()

    def _report(self, claimed: Sequence[Held]) -> None:
        """Report to one caller, over one association."""
        sender = claimed[0].sender
        destination = destination_of(sender, self._destinations())
        if destination is None:
            for held in claimed:
                self._commitments.not_reported(held, _no_way(sender))
            return
        looked = []
        for held in claimed:
            if self._stopping.is_set():
                self._commitments.put_back(held)
            elif self._commitments.is_early(held):
                self._commitments.put_back(held, LOOK_AGAIN)
            else:
                report = self._look(held)
                if report is not None:
                    looked.append((held, report))
        if looked:
            self._deliver(destination, looked)

    def _look(self, held: Held) -> Report | None:
        """Look at the instances of a request; None when somebody else does, or the node stops."""
        looking: Generator[None, None, Report] = self._commitments.look(held)
        try:
            while not self._stopping.is_set():
                next(looking)
        except StopIteration as looked:
            report: Report = looked.value
            return report
        except LeaseLostError:
            return None
        self._commitments.put_back(held)
        return None

    def _deliver(self, destination: Destination, looked: Sequence[tuple[Held, Report]]) -> None:
        told = 0
        try:
            with self._call(destination, looked[0][0].sender) as calling:
                self._calling = calling
                if self._stopping.is_set():
                    calling.abort()  # it was still being called when the node's end was said
                context_id = calling.context(SOP_CLASS_UID)
                encoding = encoding_of(calling.accepted[context_id].transfer_syntax_uid)
                for held, report in looked:
                    answer = calling.event_report(
                        context_id,
                        sop_class_uid=SOP_CLASS_UID,
                        sop_instance_uid=SOP_INSTANCE_UID,
                        event_type=report.event_type,
                        data=write_report(report, encoding, retrieve_ae=held.sender.called_ae),
                    )
                    told += 1
                    if status.is_taken(answer):
                        self._commitments.reported(held, report)
                    else:
                        why = f"{destination.name} answered the report with status {answer:04X}"
                        self._commitments.not_reported(held, why)
        except DatabaseError:
            raise  # the leases run out, and what was told is told once more
        except NodeError as error:
            for held, _ in looked[told:]:
                if self._stopping.is_set():
                    self._commitments.put_back(held)
                else:
                    self._commitments.not_reported(held, f"{destination.name}: {error}")
        finally:
            self._calling = None

    def _call(self, destination: Destination, sender: Sender) -> Calling:
        return call(
            (destination.address, destination.port),
            calling_ae=sender.called_ae,
            called_ae=destination.ae_title,
            contexts=[Proposed(SOP_CLASS_UID, tuple(map(str, MESSAGE_SYNTAXES)))],
            roles={SOP_CLASS_UID: (False, True)},
            patience=self._patience,
            tls=self._tls(destination),
        )


def destination_of(sender: Sender, destinations: Sequence[Destination]) -> Destination | None:
    """Return where a sender takes associations: listed under its AE title, and its name or else its address."""
    named = [each for each in destinations if each.ae_title == sender.calling_ae]
    names = sender.caller.split(", ")
    by_name = [each for each in named if each.name in names]
    by_address = [each for each in named if each.address == sender.peer_address]
    return next((each for each in by_name if each in by_address), None) or next(iter(by_name + by_address), None)


def _no_way(sender: Sender) -> str:
    return (
        f"it has left, and the configuration does not say where {sender.caller} takes associations: "
        "add its port there, such as port = 104"
    )
