"""DIMSE messages on their way to and from the library: the one that is arriving, and those it is still serving."""

import threading

from dicom_node.dimse import pdu
from dicom_node.dimse.pdu import Command, ControlPdu, Fragment, ProtocolError

COMMAND_LIMIT = 1 << 14
"""Longest command set taken, in bytes; the standard's are a few hundred."""

IDENTIFIER_LIMIT = 1 << 20
"""Longest data set taken for a message the library serves (a query's identifier), in bytes."""

_VERIFICATION = "1.2.840.10008.1.1"

_PENDING = frozenset({0xFF00, 0xFF01})
"""Statuses after which more responses follow (PS3.4 C.4.1.1.4)."""


class Message:
    """The message that is arriving: its command, and its data set when the library is to serve it."""

    __slots__ = ("_command_bytes", "_data", "command", "context_id")

    def __init__(self) -> None:
        """Begin with nothing."""
        self._command_bytes = bytearray()
        self._data: bytearray | None = None
        self.command: Command | None = None
        self.context_id = 0

    @property
    def is_empty(self) -> bool:
        """Tell whether not even its command has begun."""
        return not self._command_bytes

    def add_command(self, piece: Fragment) -> None:
        """Take a piece of the command. Raises ProtocolError when it does not belong there, or is too much."""
        if self.command is not None:
            raise ProtocolError("a command arrived inside a data set")
        if self._command_bytes and piece.context_id != self.context_id:
            raise ProtocolError("a command changed its presentation context")
        self.context_id = piece.context_id
        for view in piece.views:
            if len(self._command_bytes) + len(view) > COMMAND_LIMIT:
                raise ProtocolError("a command set is too long")
            self._command_bytes += view

    def read_command(self) -> Command:
        """Read the command, whose last piece is here. Raises ProtocolError when it is malformed."""
        self.command = pdu.parse_command(bytes(self._command_bytes))
        return self.command

    def add_data(self, piece: Fragment) -> None:
        """Take a piece of a data set that the library will read. Raises ProtocolError when it is too much."""
        if self._data is None:
            self._data = bytearray()
        for view in piece.views:
            if len(self._data) + len(view) > IDENTIFIER_LIMIT:
                raise ProtocolError("an identifier is too long")
            self._data += view

    @property
    def data_set(self) -> bytes:
        """The data set as far as it came, b"" for none."""
        return bytes(self._data or b"")

    def as_echo(self, message_id: int) -> bytes:
        """Return a C-ECHO-RQ as the library will read it, made anew: it breaks down on odd elements."""
        echo: dict[int, int | str] = {0x0002: _VERIFICATION, 0x0110: message_id}
        command = pdu.command_set(pdu.C_ECHO_RQ, echo, has_data_set=False)
        return pdu.data_units(self.context_id, command, is_command=True, maximum_length=0)


class ServedRequests:
    """Counts requests the library has taken and not answered finally, by what passes through the socket.

    ``note_request`` is called by the upper layer thread; ``note_sent`` by whoever sends, after the bytes left.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._open: set[int] = set()
        self._lock = threading.Lock()

    @property
    def open(self) -> bool:
        """Tell whether a request waits for its final response."""
        return bool(self._open)

    def note_request(self, command: Command) -> None:
        """Count a request that is handed to the library."""
        with self._lock:
            self._open.add(command.message_id)

    def note_sent(self, units: bytes) -> None:
        """Look for a final response in what was sent; every unit holds whole values, as both our senders make them."""
        if not self._open or units[0] != pdu.DATA_TF:
            return
        command = bytearray()
        for piece in pdu.UnitParser(1 << 32).feed(memoryview(units)):
            if isinstance(piece, ControlPdu) or not piece.is_command:
                continue
            for view in piece.views:
                command += view
            if not piece.last:
                continue
            try:
                response = pdu.parse_command(bytes(command))
            except ProtocolError:
                return
            command.clear()
            if response.field & pdu.RESPONSE_BIT and response.status not in _PENDING:
                with self._lock:
                    self._open.discard(response.message_id)
