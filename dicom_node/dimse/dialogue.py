"""Messages to and from a peer that is called: commands and data sets over a line, each wait with a deadline."""

import contextlib
import ssl
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn

from dicom_node.dimse import pdu
from dicom_node.dimse.line import Line
from dicom_node.dimse.messages import Message
from dicom_node.dimse.pdu import Command, ControlPdu, Fragment, ProtocolError
from dicom_node.dimse.proposing import abort_words
from dicom_node.dimse.serving import StoreService, Transfer
from dicom_node.errors import PeerUnavailableError

LONGEST_UNIT = 131072
"""Longest P-DATA-TF body sent, in bytes, also to peers that take longer ones."""

_GATHERED = 1 << 17
"""Bytes of units that are sent together; many peers take 16 KiB a unit."""

_RECEIVE_BUFFER = 1 << 16

_HEADERS = struct.Struct(">BBLLBB")  # of a P-DATA-TF and of its one value


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Deadlines of an association that the node opens, in seconds of the monotonic clock."""

    connect: float = 10.0
    """Until the connection stands, and again until TLS does."""
    answer: float = 30.0
    """Until the answer to the association request or to the release is whole."""
    response: float = 60.0
    """Until the next response is whole; while a data set arrives, until its next unit."""
    sending: float = 30.0
    """Without progress while sending."""


class Dialogue:
    """Both directions of one association. As a context manager it ends the association when its block fails.

    Everything here raises PeerUnavailableError for what the peer did not do, and ProtocolError for what it did wrong;
    the context manager turns the latter into the former.
    """

    def __init__(self, line: Line, *, maximum_length: int, patience: Patience) -> None:
        """Speak over a fresh line. ``maximum_length`` is the longest P-DATA-TF body taken, in bytes."""
        self._line = line
        self._patience = patience
        self._parser = pdu.UnitParser(maximum_length)
        self._buffer = bytearray(_RECEIVE_BUFFER)
        self._view = memoryview(self._buffer)
        self._events: Iterator[ControlPdu | Fragment] = iter(())
        self._room = 0
        self.respect(0)

    def __enter__(self) -> None:
        """Begin something that must not be left half done."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Abort the association if it was."""
        if error is None:
            return
        self.abort()
        if isinstance(error, ProtocolError):
            raise PeerUnavailableError(f"the peer broke the protocol: {error}") from error

    def respect(self, maximum_length: int) -> None:
        """Send no longer P-DATA-TF body than the peer takes, in bytes; 0 for any."""
        longest = min(maximum_length or LONGEST_UNIT, LONGEST_UNIT)
        # Only the last fragment of a message may be of odd length (PS3.8 annex E.1).
        self._room = max(longest - pdu.PDV_HEADER_LENGTH, 2) & ~1

    # Endings.

    def abort(self) -> None:
        """End the association at once, from any thread; a call that is under way raises PeerUnavailableError."""
        self._line.cut(pdu.abort(0, source=0))

    def release(self) -> None:
        """End the association orderly. Never raises: all that was asked is answered."""
        if self._line.is_closed:
            return
        try:
            self.send(pdu.release(pdu.RELEASE_RQ))
            deadline = time.monotonic() + self._patience.answer
            while True:
                event = self.next_event(deadline, "the release")
                if not isinstance(event, ControlPdu):
                    continue  # what was under way when the release left
                if event.type != pdu.RELEASE_RQ:
                    break
                self.send(pdu.release(pdu.RELEASE_RP))  # both began at once (PS3.8 9.2.3): the requestor answers first
        except (PeerUnavailableError, ProtocolError):
            pass
        self._line.cut()

    def end_by(self, unit: ControlPdu) -> NoReturn:
        """End as the peer wants it, in the middle of something."""
        if unit.type == pdu.ABORT:
            self._line.cut()
            raise _aborted(unit)
        if unit.type == pdu.RELEASE_RQ:
            self.send(pdu.release(pdu.RELEASE_RP))
            self._line.cut()
            raise PeerUnavailableError("the peer released the association before it had answered")
        raise ProtocolError("a unit came out of turn")

    # Sending.

    def send(self, units: bytes | bytearray) -> None:
        """Send whole units."""
        try:
            self._line.send(units, self._patience.sending)
        except TimeoutError:
            raise PeerUnavailableError("the peer takes no data") from None
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._last_word() or broken(error) from error
        except OSError as error:
            raise broken(error) from error

    def send_command(self, context_id: int, command: bytes) -> None:
        """Send a command set."""
        longest = self._room + pdu.PDV_HEADER_LENGTH
        self.send(pdu.data_units(context_id, command, is_command=True, maximum_length=longest))

    def send_data_set(self, context_id: int, data: Iterable[bytes | memoryview]) -> None:
        """Send pieces of any size as units that are as long as the peer takes, without holding more than a few."""
        units, start = bytearray(_HEADERS.size), 0  # of the unit that is being filled
        for piece in data:
            left = memoryview(piece).cast("B")
            while left:
                room = start + _HEADERS.size + self._room - len(units)
                if not room:
                    _close(units, start, context_id, last=False)
                    if len(units) >= _GATHERED:
                        self.send(units)
                        units.clear()
                    start = len(units)
                    units += bytes(_HEADERS.size)
                    continue
                units += left[:room]
                left = left[room:]
        _close(units, start, context_id, last=True)
        self.send(units)

    def _last_word(self) -> PeerUnavailableError | None:
        """Return why the peer broke off, if it said so before it went."""
        with contextlib.suppress(PeerUnavailableError, ProtocolError):
            while True:
                event = self.next_event(time.monotonic(), "")
                if isinstance(event, ControlPdu) and event.type == pdu.ABORT:
                    return _aborted(event)
        return None

    # Receiving.

    def next_event(self, deadline: float, awaited: str) -> ControlPdu | Fragment:
        """Return the next unit or piece of one; its views are valid until the next call.

        ``awaited`` says in a complaint what the peer should have answered.
        """
        while True:
            event = next(self._events, None)
            if event is not None:
                return event
            try:
                size = self._line.receive(self._buffer, deadline)
            except TimeoutError:
                raise PeerUnavailableError(f"the peer did not answer {awaited} in time") from None
            except OSError as error:
                raise broken(error) from error
            if not size:
                raise PeerUnavailableError("the peer closed the connection")
            self._events = self._parser.feed(self._view[:size])

    def next_response(self, store: StoreService | None = None) -> tuple[Command, bytes]:
        """Return the next response and its data set. Instances that arrive before go to ``store`` and are answered."""
        while True:
            message = Message()
            command = self._next_message(message, store)
            if command.field & pdu.RESPONSE_BIT:
                return command, message.data_set

    def _next_message(self, message: Message, store: StoreService | None) -> Command:
        """Take a whole message: a response, or an instance for ``store``."""
        transfer: Transfer | None = None
        deadline, unit = time.monotonic() + self._patience.response, 0
        try:
            while True:
                piece = self.next_event(deadline, "a request")
                if isinstance(piece, ControlPdu):
                    self.end_by(piece)
                command = _take(piece, message, transfer)
                if command is None:
                    continue
                if piece.is_command and not command.field & pdu.RESPONSE_BIT:
                    if store is None or command.field != pdu.C_STORE_RQ:
                        raise ProtocolError("it made a request that is not served here")
                    transfer = store.begin(command, message.context_id)
                if piece.last and not (piece.is_command and command.has_data_set):
                    if transfer is not None:
                        status, comment = transfer.finish()
                        response = pdu.store_response(command, status=status, comment=comment)
                        self.send_command(message.context_id, response)
                    return command
                if self._parser.unit_number != unit:
                    unit, deadline = self._parser.unit_number, time.monotonic() + self._patience.response
        finally:
            if transfer is not None:
                transfer.discard()


def _take(piece: Fragment, message: Message, transfer: Transfer | None) -> Command | None:
    """Put a piece where it belongs; return the message's command once that is whole."""
    if piece.is_command:
        message.add_command(piece)
        return message.read_command() if piece.last else None
    if message.command is None or piece.context_id != message.context_id:
        raise ProtocolError("a data set arrived without its command")
    if transfer is None:
        message.add_data(piece)
    elif piece.views:
        transfer.write(*piece.views)
    return message.command


def _aborted(unit: ControlPdu) -> PeerUnavailableError:
    return PeerUnavailableError(f"the peer aborted the association: {abort_words(unit.data)}")


def _close(units: bytearray, start: int, context_id: int, *, last: bool) -> None:
    """Write the headers of the P-DATA-TF from ``start`` on, and of its one value, which is whole now."""
    size = len(units) - start - _HEADERS.size
    _HEADERS.pack_into(units, start, pdu.DATA_TF, 0, size + 6, size + 2, context_id, 2 if last else 0)


def broken(error: OSError) -> PeerUnavailableError:
    """Return in words what a connection broke of."""
    match error:
        case ssl.SSLCertVerificationError():
            words = f"the peer's certificate is not accepted: {getattr(error, 'verify_message', '') or error.args[-1]}"
        case ssl.SSLError():
            words = f"TLS failed: {(error.reason or 'the peer speaks none').lower().replace('_', ' ')}"
        case ConnectionRefusedError():
            words = "nobody listens there"
        case ConnectionAbortedError():
            words = "the association was aborted on this side"
        case ConnectionError():
            words = "the peer closed the connection"
        case _:
            words = (error.strerror or "the connection failed").lower()
    return PeerUnavailableError(words)
