"""C-MOVE: the instances leave on associations that the node opens with the destination (PS3.4 C.4.2).

They are sent by a thread of the request's own, so that the peer hears how far they are and can cancel whatever the
destination does. Presentation contexts are made from the instances: one for each SOP class and transfer syntax as
stored. Nothing is converted.
"""

import itertools
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from dicom_node.dimse.access import Destination
from dicom_node.dimse.calling import Calling, Patience, Proposed, call
from dicom_node.dimse.pdu import Command
from dicom_node.dimse.proposing import MOST_CONTEXTS
from dicom_node.dimse.retrieve import Request, Responses, Retrieving, Select, TransferRecord, context_of, read_retrieval
from dicom_node.dimse.serving import AcceptedContext, Link
from dicom_node.dimse.sub_operations import UNREADABLE, Read, Tally, without_context
from dicom_node.errors import (
    BusyError,
    CertificateError,
    ObjectDamagedError,
    PeerRefusedError,
    PeerUnavailableError,
    StorageUnavailableError,
    UnknownDestinationError,
)
from dicom_node.index.retrieve import Selected

TURN = 0.05
"""Seconds between two looks at the peer while nothing is new."""

MOST_BREAKS = 2
"""Associations that may break on an instance before one is answered again; then the rest has failed."""

_MOVE_DESTINATION, _PRIORITY = 0x0600, 0x0700


class MoveScp:
    """Serves the C-MOVE requests of one association."""

    def __init__(
        self,
        *,
        contexts: Mapping[int, AcceptedContext],
        link: Link,
        log: Any,
        select: Select,
        read: Read,
        destinations: Callable[[], Iterable[Destination]],
        tls: Callable[[Destination], ssl.SSLContext | None],
        patience: Callable[[], Patience],
        places: threading.Semaphore,
    ) -> None:
        """Serve under those of ``contexts`` (by id) that are of C-MOVE.

        ``tls`` gives what a destination is called with, None for one without TLS, and raises CertificateError.
        ``places`` are as many as transfers may go on at once, those included that were cancelled and hang.
        """
        self._contexts = contexts
        self._link = link
        self._log = log
        self._select = select
        self._read = read
        self._destinations = destinations
        self._tls = tls
        self._patience = patience
        self._places = places

    def begin(self, command: Command, context_id: int, data_set: bytes) -> Retrieving:
        """Begin to answer a C-MOVE-RQ. Raises ProtocolError when the presentation context is none of C-MOVE."""
        context = context_of(self._contexts, context_id, command)
        record = TransferRecord(self._link.audit, command.text(_MOVE_DESTINATION))

        def read() -> Request:
            retrieval = read_retrieval(command, context, data_set)
            destination = self._destination(command.text(_MOVE_DESTINATION))
            record.address = destination.address
            way = OtherAssociations(
                destination,
                link=self._link,
                command=command,
                read=self._read,
                tls=self._tls,
                patience=self._patience(),
                places=self._places,
                log=self._log,
            )
            return Request(retrieval, way, destination.name)

        responses = Responses(command, context, context_id, self._link.maximum_length)
        return Retrieving(read, self._select, responses, self._log, record)

    def _destination(self, ae_title: str) -> Destination:
        """Return a destination by its AE title. Raises UnknownDestinationError when none of it may be sent to."""
        for destination in self._destinations():
            if destination.ae_title == ae_title and "move-destination" in destination.services:
                return destination
        raise UnknownDestinationError("this node has no move destination of that AE title")


class OtherAssociations:
    """The way to a destination."""

    waits = is_inside_message = False

    def __init__(
        self,
        destination: Destination,
        *,
        link: Link,
        command: Command,
        read: Read,
        tls: Callable[[Destination], ssl.SSLContext | None],
        patience: Patience,
        places: threading.Semaphore,
        log: Any,
    ) -> None:
        """Send to ``destination`` for the request ``command`` of the association ``link``."""
        self._destination = destination
        self._link = link
        self._message_id = command.message_id
        self._priority = command.number(_PRIORITY) or 0
        self._read = read
        self._tls = tls
        self._patience = patience
        self._places = places
        self._log = log
        self._lock = threading.Lock()
        self._calling: Calling | None = None
        self._given_up = False
        self._asking = False  # the destination was asked to take an instance
        self._breaks = 0  # associations that broke since an instance was answered

    def send(self, selected: Sequence[Selected], tally: Tally, is_cancelled: Callable[[], bool]) -> Iterator[bytes]:
        """Send the instances in a thread of its own; yield b"" now and then until all are counted.

        Raises BusyError when too many transfers are under way.
        """
        if is_cancelled() or self._given_up or not selected:
            return
        if not self._places.acquire(blocking=False):
            raise BusyError("as many transfers are under way as there may be")
        name = f"MoveThread-{self._destination.name}"
        try:
            threading.Thread(target=self._run, args=(selected, tally), name=name, daemon=True).start()
        except RuntimeError:  # the system gives no thread
            self._places.release()
            raise BusyError("the system has no room for another transfer") from None
        while tally.counts.remaining:
            told = tally.counts
            yield b""
            if is_cancelled():
                tally.close()
                self.abandon()
                return
            tally.wait(told, TURN)

    def hear(self, _command: Command) -> bool:
        """Take no response: the peer itself is asked for nothing."""
        return False

    def abandon(self) -> None:
        """Abort the association that is open; the thread ends at once, or when its wait for a connection is over."""
        with self._lock:
            self._given_up = True
            calling = self._calling
        if calling is not None:
            calling.abort()

    # In the thread.

    def _run(self, selected: Sequence[Selected], tally: Tally) -> None:
        """Send all, and count as failed what could not be sent."""
        lost = ""
        try:
            for batch in _batches(selected):
                left = deque(batch)
                while left and not lost:
                    lost = self._send_or_say_why(left, tally)
                for each in left:
                    tally.fail(each, lost)
        finally:
            self._places.release()

    def _send_or_say_why(self, left: deque[Selected], tally: Tally) -> str:
        """Send what goes on one association; say why the rest cannot be sent, "" when another one is worth a try.

        An instance on which the association ended has failed. There are receivers that abort, or fall silent, on a
        single one that they cannot read, and take the others afterwards.
        """
        name = self._destination.ae_title
        self._asking = False
        try:
            self._send(left, tally)
        except PeerRefusedError as error:
            while left:
                tally.fail(left.popleft(), f"{name}: {error}")
        except CertificateError as error:
            self._log.error("retrieve.no_certificate", destination=self._destination.name, reason=str(error))
            return f"{name}: TLS is not set up here, see the node's log"
        except PeerUnavailableError as error:
            self._breaks += 1
            if not self._asking or self._breaks > MOST_BREAKS or self._given_up:
                return f"{name}: {error}"
            tally.fail(left.popleft(), f"{name}: {error}")
        except (ObjectDamagedError, StorageUnavailableError):  # after its first bytes had left
            tally.fail(left.popleft(), UNREADABLE)
        except Exception as error:  # noqa: BLE001 # the request must come to its end
            self._log.error("retrieve.broke_off", exc_info=error)
            return "unexpected error, see the node's log"
        return ""

    def _send(self, left: deque[Selected], tally: Tally) -> None:
        """Send instances on one association; each is taken from ``left`` when it is counted."""
        contexts = dict.fromkeys((each.sop_class_uid, each.transfer_syntax_uid) for each in left)
        with self._call(contexts) as calling:
            taken = {
                (context.sop_class_uid, context.transfer_syntax_uid): number
                for number, context in calling.accepted.items()
                if context.gives
            }
            while left:
                if self._given_up:
                    raise PeerUnavailableError("given up")
                self._store(calling, left[0], taken, tally)
                left.popleft()

    def _call(self, contexts: Iterable[tuple[str, str]]) -> Calling:
        destination = self._destination
        calling = call(
            (destination.address, destination.port),
            calling_ae=self._link.called_ae,
            called_ae=destination.ae_title,
            contexts=[Proposed(sop_class, (syntax,)) for sop_class, syntax in contexts],
            patience=self._patience,
            tls=self._tls(destination),
        )
        with self._lock:
            self._calling = calling
            given_up = self._given_up
        if given_up:
            calling.abort()
        return calling

    def _store(self, calling: Calling, each: Selected, taken: Mapping[tuple[str, str], int], tally: Tally) -> None:
        """Send one instance and count it, unless the destination fails."""
        context_id = taken.get((each.sop_class_uid, each.transfer_syntax_uid))
        if context_id is None:
            tally.fail(each, without_context(each, taken))
            return
        pieces = self._read(each)
        try:
            first = next(filter(None, pieces))  # the object is read and checked before
        except (ObjectDamagedError, StorageUnavailableError):
            tally.fail(each, UNREADABLE)
            return
        self._asking = True
        code, _ = calling.store(
            context_id,
            sop_class_uid=each.sop_class_uid,
            sop_instance_uid=each.sop_instance_uid,
            data=itertools.chain([first], pieces),
            move_originator=(self._link.calling_ae, self._message_id),
            priority=self._priority,
        )
        self._asking, self._breaks = False, 0
        tally.hear(each, code)


def _batches(selected: Iterable[Selected]) -> Iterator[list[Selected]]:
    """Yield the instances in parts that have no more SOP classes and transfer syntaxes than fit one association."""
    batch: list[Selected] = []
    contexts: set[tuple[str, str]] = set()
    for each in selected:
        context = (each.sop_class_uid, each.transfer_syntax_uid)
        if context not in contexts and len(contexts) == MOST_CONTEXTS:
            yield batch
            batch, contexts = [], set()
        contexts.add(context)
        batch.append(each)
    yield batch
