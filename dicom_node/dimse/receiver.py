"""The socket of one association: serves what it can itself and hands everything else to pynetdicom untouched.

pynetdicom asks its socket ``ready`` before it reads a unit and reads it by ``recv``. This socket reads from the
connection on its own, in bulk, cuts the stream into units, and streams the data set of a C-STORE from the receive
buffer into the archive's spool without ever holding it. Answers to queries and to other requests leave batch by batch,
and between two it looks whether the peer said anything. What is served nowhere here (echo, release, abort) it passes on
as whole units, so ``recv`` never waits for a peer. All deadlines are kept here, by the monotonic clock; the library's
own timers are switched off or never reached.

Back-pressure: nothing is read from the connection while a request waits behind one that is still being served; only a
C-CANCEL and the peer's own responses overtake.
"""

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

from dicom_node.dimse import pdu
from dicom_node.dimse.limits import Limits
from dicom_node.dimse.messages import Message, ServedRequests
from dicom_node.dimse.negotiation import Negotiated
from dicom_node.dimse.pdu import Command, ControlPdu, Fragment, ProtocolError
from dicom_node.dimse.requests import Requests
from dicom_node.dimse.serving import RequestService, StoreService, Transfer

RECEIVE_BUFFER = 1 << 18
"""Bytes taken from the connection at a time; larger ones measured no faster."""

TURN = 0.5
"""Seconds that one call of ``ready`` may wait or work, so that the library's loop notices a stop."""

PAUSE = 0.001
"""Seconds between two looks at the connection while the library serves a request."""

REST = 0.01
"""Seconds after the last unit for the library until its association thread is put to rest."""

_RELEASE_REQUESTED = "Sta8"
"""The state in which nothing but the library's answer goes on (PS3.8 9.2.1)."""


class ReceivingSocket(AssociationSocket):
    """The connection of one accepted association."""

    def __init__(
        self,
        assoc: Association,
        client_socket: socket.socket,
        *,
        negotiated: Negotiated,
        limits: Limits,
        library_runs: threading.Event,
        draining: Callable[[], bool],
        log: Any,
    ) -> None:
        """Wrap a connection whose association request has been read already.

        ``negotiated`` holds what the library gets of it, and completes its acceptance. ``library_runs`` is the event
        that the association's own thread waits at. ``draining`` tells that the node is stopping: the association is
        aborted once nothing is under way.
        """
        super().__init__(assoc, client_socket=client_socket)
        self._connection = client_socket
        self._limits = limits
        self._library_runs = library_runs
        self._draining = draining
        self._log = log
        self._parser = pdu.UnitParser(limits.maximum_length)
        self._buffer = bytearray(RECEIVE_BUFFER)
        self._view = memoryview(self._buffer)
        self._events: Iterator[ControlPdu | Fragment] = iter(())
        self._held = False  # the command of the message that is arriving must wait its turn
        self._negotiated = negotiated
        self._handover = bytearray(negotiated.request)
        self._handed_over = False
        self._arrivals, self._room = select.poll(), select.poll()
        self._arrivals.register(client_socket, select.POLLIN)
        self._room.register(client_socket, select.POLLOUT)
        self._sending = threading.Lock()
        self._served = ServedRequests()
        self._stores: Callable[[], StoreService] | None = None
        self._store_service: StoreService | None = None
        self._message = Message()
        self._transfer: Transfer | None = None
        self._requests = Requests({})
        self._last_sign = time.monotonic()  # of life: a byte that came or went
        self._last_handover = self._last_sign
        self._unit_since = self._last_sign
        self._unit_number = 0
        client_socket.setblocking(False)  # waiting is done here, with the patience of the moment

    def serve_stores(self, make: Callable[[], StoreService]) -> None:
        """Say who serves C-STORE; ``make`` is called once, when the association is established."""
        self._stores = make

    def serve_requests(self, makers: Mapping[int, Callable[[], RequestService]]) -> None:
        """Say who serves which other Command Field; each is made once, when the association is established."""
        self._requests = Requests(makers)

    # What the library calls, always from its upper layer thread, but for send and close.

    @property
    def ready(self) -> bool:
        """Tell whether a whole unit for the library is here; serve C-STORE meanwhile."""
        try:
            return self._unit_is_ready()
        except ProtocolError as error:
            self._refuse(str(error), reason=6)
        except (OSError, ValueError):
            # The connection broke, or another thread closed the socket between two lines of ours.
            self.close()
        except BaseException:
            self._discard()
            self._wake_library()
            raise
        return False

    def recv(self, nr_bytes: int) -> bytearray:
        """Return the next bytes of what ``ready`` announced."""
        data = self._handover[:nr_bytes]
        del self._handover[:nr_bytes]
        return data

    def send(self, bytestream: bytes) -> None:
        """Send whole units to the peer, or none; safe from any thread.

        A peer that takes nothing for ``limits.sending`` seconds is dropped.
        """
        connection = self.socket
        if connection is None or not bytestream:
            return
        if bytestream[0] == pdu.ASSOCIATE_AC:
            bytestream = self._negotiated.complete(bytestream)
        try:
            with self._sending:
                self._send_all(connection, memoryview(bytestream))
        except OSError:
            self._lose("the peer takes no data")
            return
        self._last_sign = time.monotonic()
        self._served.note_sent(bytestream)

    def _send_all(self, connection: socket.socket, view: memoryview) -> None:
        while view:
            try:
                view = view[connection.send(view) :]
                continue
            except (BlockingIOError, ssl.SSLWantWriteError):
                awaited = self._room
            except ssl.SSLWantReadError:  # TLS has a word of its own to hear first
                awaited = self._arrivals
            if not awaited.poll(self._limits.sending * 1000):
                raise TimeoutError

    def close(self) -> None:
        """Close the connection; whatever was arriving is forgotten."""
        self._discard()
        super().close()
        self._wake_library()
        # The library's own close stops half way when the peer has left already.
        self._connection.close()

    # Reading.

    def _unit_is_ready(self) -> bool:
        if self._handover:
            self._handed_over = True
            return True
        if self._handed_over:
            # The upper layer has worked it off by now: the library's thread finds something to do.
            self._handed_over = False
            self._wake_library()
        state_machine = self.assoc.dul.state_machine
        now = time.monotonic()
        turn_ends = now + TURN
        while self._is_connected:
            established = state_machine.current_state == "Sta6"
            began = now
            if self._serve_events() if established else self._pass_on_events():
                self._handed_over = True
                return True
            if self._requests.is_answering:
                now = self._answer(turn_ends)
                if now >= turn_ends:
                    return False
                continue
            now = time.monotonic()
            self._unit_since += now - began  # time that we took is not the peer's to answer for
            self._keep_deadlines(now, established=established)
            if now >= turn_ends:
                return False
            if self._held:
                break
            # While the library has something to say it must get its turn at once.
            library_speaks = not established or self._served.open
            if not library_speaks and now - self._last_handover > REST:
                self._library_runs.clear()
            has_errand = self._requests.has_errand and self._at_rest()
            if not self._receive(0.0 if library_speaks or has_errand else turn_ends - now):
                if has_errand and established:
                    self.send(self._requests.run_errand())
                    self._last_sign = time.monotonic()  # while the node works for it, the peer need say nothing
                self._keep_deadlines(time.monotonic(), established=established)
                if established and self._draining() and self._at_rest():
                    self._refuse("the node is stopping", reason=0)
                if library_speaks:
                    break
                if has_errand:
                    continue
                return False
            now = self._last_sign
        self._await_library(TURN if state_machine.current_state == _RELEASE_REQUESTED else PAUSE)
        return False

    def _await_library(self, patience: float) -> None:
        """Wait until the library has something to send: its loop would look for it by turns alone."""
        if not self.event_queue.empty():
            return  # it has something to do already
        answers = self.provider_queue
        with answers.not_empty:
            if not answers.queue:
                answers.not_empty.wait(patience)

    def _wake_library(self) -> None:
        """Let the association's own thread run: a unit for it is here, or the end of the connection.

        Its loop looks around a thousand times a second, which would fill a core with some dozens of idle associations;
        it waits at this event of its own (meant for pausing it) while nothing but C-STORE or silence happens.
        """
        self._last_handover = time.monotonic()
        self._library_runs.set()

    def _receive(self, patience: float) -> bool:
        """Wait up to ``patience`` seconds for bytes and begin to cut them; tell whether any came."""
        connection = self.socket
        if connection is None:
            return False
        # Read before waiting: it saves the look, and a TLS connection may hold bytes that poll cannot see.
        size = self._read(connection)
        if size is None and patience > 0:
            # Senders that leave Nagle's algorithm on wait for the acknowledgement of what they sent; the system would
            # delay it, and forgets that it was told not to.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            if self._arrivals.poll(patience * 1000):
                size = self._read(connection)
        if size is None:
            return False
        if size == 0:
            self.close()
            return False
        self._last_sign = time.monotonic()
        self._events = self._parser.feed(self._view[:size])
        return True

    def _read(self, connection: socket.socket) -> int | None:
        """Return how many bytes were put into the buffer, 0 at the end of the stream, None when there are none now."""
        try:
            return connection.recv_into(self._buffer)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None

    def _keep_deadlines(self, now: float, *, established: bool) -> None:
        """Drop a peer that lets its unit, its request or its next word wait too long."""
        if self._held or not self._parser.inside_unit:
            self._unit_since = now
        elif self._parser.unit_number != self._unit_number:
            self._unit_number = self._parser.unit_number
            self._unit_since = now
        elif now - self._unit_since > self._limits.unit:
            self._lose("a unit was not completed in time")
            return
        if now - self._last_sign > self._limits.idle:
            if established:
                self._refuse("idle for too long", reason=0)
            else:
                self._lose("the association was neither established nor closed in time")

    def _at_rest(self) -> bool:
        """Tell whether nothing is under way: no message half here, none being served."""
        return self._message.is_empty and not self._is_serving and not self._parser.inside_unit

    @property
    def _is_serving(self) -> bool:
        """Tell whether a request waits for its final response, the library's or ours."""
        return self._served.open or self._requests.is_answering

    def _pass_on_events(self) -> bool:
        """Outside an established association every unit goes to the library as it is."""
        for event in self._events:
            if isinstance(event, ControlPdu):
                self._pass_on(event)
                return True
            # Data before the association stands, or after its release began: an empty value of the same kind lets
            # the library's state machine decide (PS3.8 9.2.3).
            if event.last:
                self._handover += pdu.data_units(event.context_id, b"", is_command=event.is_command, maximum_length=0)
                return True
        return False

    def _pass_on(self, unit: ControlPdu) -> None:
        if unit.type < pdu.DATA_TF:  # the library has the request already, from the listener
            raise ProtocolError("an association was negotiated in an association")
        self._handover += unit.data

    def _serve_events(self) -> bool:
        """Work off what was cut from the stream; return True when a unit for the library is ready."""
        if self._held:
            if self._is_serving:
                return False
            self._held = False
            if self._begin_message():
                return True
        for event in self._events:
            if isinstance(event, ControlPdu):
                self._discard()
                self._pass_on(event)
                return True
            if self._take(event):
                return True
            if self._held:
                return False
        return False

    # Messages.

    def _take(self, piece: Fragment) -> bool:
        """Take one piece of a message; return True when something was handed over."""
        message = self._message
        if piece.is_command:
            message.add_command(piece)
            if not piece.last:
                return False
            arrived = message.read_command()
            if arrived.field == pdu.C_CANCEL_RQ and self._requests.is_answering:
                self._requests.cancel(arrived.message_id)
                self._message = Message()
                return False
            overtakes = arrived.field == pdu.C_CANCEL_RQ or arrived.field & pdu.RESPONSE_BIT
            if not overtakes and self._is_serving:
                self._held = True
                return False
            return self._begin_message()
        command = message.command
        if command is None or piece.context_id != message.context_id:
            raise ProtocolError("a data set arrived without its command")
        if self._transfer is None:
            message.add_data(piece)
            return self._end_message(command) if piece.last else False
        if piece.views:
            self._transfer.write(*piece.views)
        if piece.last:
            self._finish_store(command, self._transfer)
        return False

    def _begin_message(self) -> bool:
        """Act on a command that is whole; return True when it was handed over."""
        message = self._message
        command = message.command
        if command is None:
            raise ProtocolError("no command to act on")
        if command.field != pdu.C_STORE_RQ:
            return False if command.has_data_set else self._end_message(command)
        transfer = self._stores_of_association().begin(command, message.context_id)
        if command.has_data_set:
            self._transfer = transfer
        else:
            self._finish_store(command, transfer)
        return False

    def _end_message(self, command: Command) -> bool:
        """Act on a message that is whole; return True when it was handed over."""
        if self._requests.serve(command.field):
            message, self._message = self._message, Message()
            self._requests.begin(command, message.context_id, message.data_set)
            return False
        if command.field & pdu.RESPONSE_BIT:
            self._requests.hear(command)
        elif command.field == pdu.C_ECHO_RQ:
            self._served.note_request(command)
            self._handover += self._message.as_echo(command.message_id)
        elif command.field != pdu.C_CANCEL_RQ:
            raise ProtocolError("a request of a kind that is not served")
        self._message = Message()  # a response to nothing, or a cancel that comes too late, is passed over
        return command.field == pdu.C_ECHO_RQ

    def _answer(self, turn_ends: float) -> float:
        """Send what comes next of an answer, then look whether the peer said anything meanwhile; return the time."""
        self.send(self._requests.next())
        if self._held:
            self._requests.keep_order()
            heard = False
        else:
            waits = self._requests.waits
            heard = self._receive(max(0.0, turn_ends - time.monotonic()) if waits else 0.0)
        now = time.monotonic()
        if self._requests.waits and not heard:
            self._keep_deadlines(now, established=True)  # it is the peer's turn
        else:
            self._last_sign = self._unit_since = now
        return now

    def _stores_of_association(self) -> StoreService:
        if self._store_service is None:
            if self._stores is None:
                raise ProtocolError("a C-STORE arrived where none is served")
            self._store_service = self._stores()
        return self._store_service

    def _finish_store(self, command: Command, transfer: Transfer) -> None:
        context_id = self._message.context_id
        try:
            status, comment = transfer.finish()
        finally:
            transfer.discard()
            self._transfer = None
            self._message = Message()
        response = pdu.store_response(command, status=status, comment=comment)
        limit = self.assoc.requestor.maximum_length or 0
        self.send(pdu.data_units(context_id, response, is_command=True, maximum_length=limit))

    # Endings.

    def _discard(self) -> None:
        transfer, self._transfer = self._transfer, None
        self._message = Message()
        if transfer is not None:
            transfer.discard()
        self._requests.abandon()

    def _refuse(self, why: str, *, reason: int) -> None:
        """Abort the association with a word to the log."""
        self._log.warning("association.aborted_by_node", reason=why)
        self.send(pdu.abort(reason))
        self.close()

    def _lose(self, why: str) -> None:
        """Drop the connection without a word to the peer, who does not listen."""
        self._log.warning("association.dropped", reason=why)
        self.close()
