"""The bytes of the DICOM upper layer and of command sets, without sockets.

PS3.8 section 9.3 (protocol data units) and PS3.7 section 6.3.1 and annex E (command sets). Only what the receiver needs
before and beside the library: cutting a stream into its units, reading and writing commands, refusing an association.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, DATA_TF = 0x01, 0x02, 0x03, 0x04
RELEASE_RQ, RELEASE_RP, ABORT = 0x05, 0x06, 0x07

C_STORE_RQ = 0x0001
C_GET_RQ = 0x0010
C_FIND_RQ = 0x0020
C_MOVE_RQ = 0x0021
C_ECHO_RQ = 0x0030
N_EVENT_REPORT_RQ = 0x0100
N_ACTION_RQ = 0x0130
C_CANCEL_RQ = 0x0FFF
RESPONSE_BIT = 0x8000
NO_DATA_SET = 0x0101

HEADER_LENGTH = 6
PDV_HEADER_LENGTH = 6
_ENDING_LENGTH = 4
"""Length of A-RELEASE-RQ, A-RELEASE-RP and A-ABORT after the header (PS3.8 9.3.6 to 9.3.8)."""

CONTROL_PDU_LIMIT = 1 << 17
"""Longest body taken for anything but P-DATA-TF, in bytes; a request with 128 contexts stays far below."""

_BOTH_HEADERS = struct.Struct(">2xLLBB")  # of a P-DATA-TF and of its first value
_VALUE_HEADER = struct.Struct(">LBB")
_ELEMENT_HEADER = struct.Struct("<HHL")
_UIDS = frozenset({0x0002, 0x0003, 0x1000, 0x1001})
"""Numbers of the elements of a command set that hold a UID."""


class ProtocolError(Exception):
    """The peer broke the upper layer protocol: the association is aborted."""


@dataclass(frozen=True, slots=True)
class ControlPdu:
    """A whole unit that is no P-DATA-TF, header included."""

    type: int
    data: bytes


class Fragment(NamedTuple):
    """A piece of one message's command or data set: as much of it as arrived together.

    ``views`` are the bytes, one view into the caller's buffer for each presentation data value, valid until the next
    piece is asked for. ``last`` tells that the piece ends the command or the data set (PS3.8 annex E.2: message control
    header).
    """

    context_id: int
    is_command: bool
    last: bool
    views: list[memoryview]


class UnitParser:
    """Cuts a byte stream into control units and fragments, however it was chopped on the way.

    ``maximum_length`` is the largest P-DATA-TF body that was offered to the peer, in bytes; a longer one is refused by
    its header. No byte of a value is copied: what is here of a value is handed on, with what follows it of the same
    command or data set.
    """

    def __init__(self, maximum_length: int) -> None:
        self._maximum_length = maximum_length
        self._head = bytearray()  # a header, or a control unit, that is not whole yet
        self._unit_left = 0  # bytes of the current P-DATA-TF still to come
        self._value_left = 0  # bytes of the current presentation data value still to come
        self._context_id = 0
        self._control = 0
        self.unit_number = 0
        """Counts the units that were begun, so that a deadline can tell one from the next."""

    @property
    def inside_unit(self) -> bool:
        """Tell whether the stream stands inside a unit that is not whole yet."""
        return bool(self._head) or self._unit_left > 0

    def feed(self, data: memoryview) -> Iterator[ControlPdu | Fragment]:
        """Yield what ``data`` completes. Drain the iterator before the next call.

        Raises ProtocolError on an unknown unit, a length over its limit, or values that do not fill their unit.
        """
        at, end = 0, len(data)
        views: list[memoryview] = []
        while at < end:
            if not self._value_left:
                at, opened = self._pass_header(data, at)
                if opened is None:
                    continue
                if isinstance(opened, ControlPdu):
                    if views:
                        yield self._fragment(views, last=False)
                        views = []
                    yield opened
                    continue
                length, context_id, control = opened
                if views and (context_id != self._context_id or (control ^ self._control) & 1):
                    yield self._fragment(views, last=False)
                    views = []
                self._open_value(length, context_id, control)
            size = min(self._value_left, end - at)
            if size:
                views.append(data[at : at + size])
                at += size
                self._value_left -= size
                self._unit_left -= size
            if not self._value_left and self._control & 2:
                yield self._fragment(views, last=True)
                views = []
        if views:
            yield self._fragment(views, last=False)

    def _fragment(self, views: list[memoryview], *, last: bool) -> Fragment:
        return Fragment(self._context_id, bool(self._control & 1), last, views)

    def _pass_header(self, data: memoryview, at: int) -> tuple[int, ControlPdu | tuple[int, int, int] | None]:
        """Pass what stands before the bytes of a value; return where the stream goes on, and what was passed.

        That is a control unit, the length, context id and control of a value, or None while neither is whole.
        """
        if self._unit_left:
            at += self._fill(data[at:], PDV_HEADER_LENGTH)
            if len(self._head) < PDV_HEADER_LENGTH:
                return at, None
            length, context_id, control = _VALUE_HEADER.unpack(self._head)
            self._head.clear()
            return at, (length, context_id, control)
        wanted = HEADER_LENGTH
        if not self._head:
            self.unit_number += 1
            if data[at] == DATA_TF and len(data) - at >= _BOTH_HEADERS.size:  # the usual case, without a copy
                unit_length, length, context_id, control = _BOTH_HEADERS.unpack_from(data, at)
                self._open_data_unit(unit_length)
                return at + _BOTH_HEADERS.size, (length, context_id, control)
        elif len(self._head) >= HEADER_LENGTH:
            wanted += int.from_bytes(self._head[2:6], "big")
        at += self._fill(data[at:], wanted)
        return at, self._open_unit()

    def _fill(self, data: memoryview, wanted: int) -> int:
        size = min(wanted - len(self._head), len(data))
        self._head += data[:size]
        return size

    def _open_unit(self) -> ControlPdu | None:
        """Look at the header collected so far; return a control unit once it is whole."""
        if len(self._head) < HEADER_LENGTH:
            return None
        kind, length = self._head[0], int.from_bytes(self._head[2:6], "big")
        if kind == DATA_TF:
            self._head.clear()
            self._open_data_unit(length)
            return None
        if not ASSOCIATE_RQ <= kind <= ABORT:
            raise ProtocolError("unknown type of protocol data unit")
        if length > CONTROL_PDU_LIMIT:
            raise ProtocolError("a protocol data unit is too long")
        if kind > DATA_TF and length != _ENDING_LENGTH:
            raise ProtocolError("a protocol data unit has another length than its kind has")
        if len(self._head) < HEADER_LENGTH + length:
            return None
        unit = ControlPdu(kind, bytes(self._head))
        self._head.clear()
        return unit

    def _open_data_unit(self, length: int) -> None:
        if length > self._maximum_length:
            raise ProtocolError("a P-DATA-TF is longer than the maximum length offered")
        if length < PDV_HEADER_LENGTH:
            raise ProtocolError("a P-DATA-TF holds no presentation data value")
        self._unit_left = length

    def _open_value(self, length: int, context_id: int, control: int) -> None:
        self._context_id, self._control = context_id, control
        self._unit_left -= PDV_HEADER_LENGTH
        self._value_left = length - 2
        if self._value_left < 0 or self._value_left > self._unit_left:
            raise ProtocolError("a presentation data value does not fit its P-DATA-TF")
        if 0 < self._unit_left - self._value_left < PDV_HEADER_LENGTH:
            raise ProtocolError("a P-DATA-TF has bytes after its last presentation data value")


@dataclass(frozen=True, slots=True)
class Command:
    """A command set: what a DIMSE message asks for (PS3.7 9.3). Texts are stripped; "" when absent."""

    field: int
    message_id: int
    """Message ID, or of a response and a C-CANCEL the Message ID Being Responded To."""
    has_data_set: bool
    status: int
    affected_sop_class_uid: str
    affected_sop_instance_uid: str
    elements: Mapping[int, bytes]
    """Every element of group 0000 by its number, as it came."""

    def text(self, element: int) -> str:
        """Return the text of an element, such as the Move Destination (0000,0600); "" when it is absent."""
        return self.elements.get(element, b"").decode("ascii", "replace").strip(" \0")

    def number(self, element: int) -> int | None:
        """Return the number in an element of VR US, such as the Action Type ID (0000,1008); None without one."""
        value = self.elements.get(element, b"")
        return int.from_bytes(value, "little") if len(value) == 2 else None


def parse_command(data: bytes) -> Command:
    """Read a command set (always implicit VR little endian, PS3.7 6.3.1).

    A data set that follows it where its Command Group Length (0000,0000) ends is passed over: Orthanc 1.10 has the
    identifier of a failed C-GET there. Raises ProtocolError when it is cut short, or lacks the Command Field or the
    message id.
    """
    elements: dict[int, bytes] = {}
    at, end, told_end = 0, len(data), 0
    while at < end:
        if at + 8 > end:
            raise ProtocolError("a command set is cut short")
        group, element, length = _ELEMENT_HEADER.unpack_from(data, at)
        if group and at == told_end:
            break
        at += 8
        if group != 0 or length > end - at:
            raise ProtocolError("a command set is not well formed")
        elements[element] = data[at : at + length]
        at += length
        if at == 12 and element == 0:
            told_end = at + int.from_bytes(data[8:12], "little")

    def number(element: int, default: int | None = None) -> int:
        value = elements.get(element)
        if value is None or len(value) != 2:
            if default is None:
                raise ProtocolError("a command set lacks a mandatory element")
            return default
        return int.from_bytes(value, "little")

    def text(element: int) -> str:
        return elements.get(element, b"").decode("ascii", "replace").strip(" \0")

    field = number(0x0100)
    own_id = not field & RESPONSE_BIT and field != C_CANCEL_RQ
    return Command(
        field=field,
        message_id=number(0x0110 if own_id else 0x0120),
        has_data_set=number(0x0800, NO_DATA_SET) != NO_DATA_SET,
        status=number(0x0900, 0),
        affected_sop_class_uid=text(0x0002),
        affected_sop_instance_uid=text(0x1000),
        elements=elements,
    )


def _element(number: int, value: bytes) -> bytes:
    return _ELEMENT_HEADER.pack(0, number, len(value)) + value


def _uid(number: int, uid: str) -> bytes:
    value = uid.encode("ascii")
    return _element(number, value + b"\0" * (len(value) % 2))


def store_response(command: Command, *, status: int, comment: str) -> bytes:
    """Encode the C-STORE-RSP to ``command`` (PS3.7 9.3.1.2).

    ``comment`` becomes the Error Comment (0000,0902), cut to the 64 characters of an LO; "" leaves it out. A UID is
    repeated only when the command held one that fits its element.
    """
    parts = [
        _element(0x0100, struct.pack("<H", C_STORE_RQ | RESPONSE_BIT)),
        _element(0x0120, struct.pack("<H", command.message_id)),
        _element(0x0800, struct.pack("<H", NO_DATA_SET)),
        _element(0x0900, struct.pack("<H", status)),
    ]
    if _fits(command.affected_sop_class_uid):
        parts.insert(0, _uid(0x0002, command.affected_sop_class_uid))
    if comment:
        text = comment.encode("ascii", "replace")[:64]
        parts.append(_element(0x0902, text + b" " * (len(text) % 2)))
    if _fits(command.affected_sop_instance_uid):
        parts.append(_uid(0x1000, command.affected_sop_instance_uid))
    body = b"".join(parts)
    return _element(0x0000, struct.pack("<L", len(body))) + body


def command_set(field: int, elements: Mapping[int, int | str], *, has_data_set: bool) -> bytes:
    """Encode a command set (PS3.7 6.3.1 and annex E) of a Command Field and other elements of group 0000, by number.

    A number becomes a US. A text becomes a UI when it is one of the UIDs, else it is padded with a space as AE and LO
    are; it must be ASCII.
    """
    all_elements = {**elements, 0x0100: field, 0x0800: NO_DATA_SET - has_data_set}
    body = b"".join(_encoded(number, value) for number, value in sorted(all_elements.items()))
    return _element(0x0000, struct.pack("<L", len(body))) + body


def _encoded(number: int, value: int | str) -> bytes:
    if isinstance(value, int):
        return _element(number, struct.pack("<H", value))
    text = value.encode("ascii")
    return _element(number, text + (b"\0" if number in _UIDS else b" ") * (len(text) % 2))


def _fits(uid: str) -> bool:
    return 0 < len(uid) <= 64 and not uid.strip("0123456789.")


def data_units(context_id: int, data: bytes, *, is_command: bool, maximum_length: int, last: bool = True) -> bytes:
    """Wrap ``data`` as P-DATA-TF units no longer than ``maximum_length`` bytes (0: no limit).

    All fragments but the last are of even length (PS3.8 annex E.1).
    """
    room = max(maximum_length - PDV_HEADER_LENGTH, 0)
    room = room & ~1 or room or max(len(data), 1)
    pieces = [data[at : at + room] for at in range(0, len(data), room)] or [b""]
    units = []
    for number, piece in enumerate(pieces, start=1):
        control = int(is_command) | (2 if last and number == len(pieces) else 0)
        units.append(struct.pack(">BBLLBB", DATA_TF, 0, len(piece) + 6, len(piece) + 2, context_id, control) + piece)
    return b"".join(units)


def associate_request(calling_ae: str) -> bytes:
    """Encode an A-ASSOCIATE-RQ that proposes nothing (PS3.8 9.3.2): enough to be answered."""
    body = struct.pack(">HH16s16s32x", 1, 0, b"".ljust(16), calling_ae.encode("ascii").ljust(16))
    return struct.pack(">BBL", ASSOCIATE_RQ, 0, len(body)) + body


def associate_reject(result: int, source: int, reason: int) -> bytes:
    """Encode an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return struct.pack(">BBLBBBB", ASSOCIATE_RJ, 0, 4, 0, result, source, reason)


def abort(reason: int, *, source: int = 2) -> bytes:
    """Encode an A-ABORT (PS3.8 9.3.8); ``source`` 0 is the service user, 2 the service provider.

    ``reason``: 0 not specified, 1 unrecognised unit, 2 unexpected unit, 6 invalid parameter value.
    """
    return struct.pack(">BBLBBBB", ABORT, 0, 4, 0, 0, source, reason)


def release(kind: int) -> bytes:
    """Encode an A-RELEASE-RQ or A-RELEASE-RP (PS3.8 9.3.6, 9.3.7)."""
    return struct.pack(">BBLL", kind, 0, 4, 0)
