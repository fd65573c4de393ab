"""The DICOM upper layer over a plain socket, for a client that must never be what limits a measurement.

PS3.8 section 9.3 (protocol data units), PS3.7 section 6.3.1 and annex E (command sets). Nothing of the node and of no
library is used, so that the yardstick stays the same when they change. An error ends the run that is being measured.
"""

import socket
import struct
from collections.abc import Iterator, Mapping
from typing import Self

ASSOCIATE_RQ, ASSOCIATE_AC, DATA_TF, RELEASE_RQ, RELEASE_RP = 1, 2, 4, 5, 6
C_STORE_RQ, C_FIND_RQ, C_STORE_RSP = 0x0001, 0x0020, 0x8001

CALLING_AE, CALLED_AE = "BENCH", "SBB_NODE"

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"

LARGEST_UNIT = 131072
"""Longest P-DATA-TF body that is sent and offered, in bytes: what DCMTK's senders use at most."""

PENDING = frozenset({0xFF00, 0xFF01})

_RECEIVE = 1 << 20


def item(kind: int, body: bytes) -> bytes:
    """Encode an item or sub-item of an association unit."""
    return struct.pack(">BBH", kind, 0, len(body)) + body


def items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the body of each item in ``data``."""
    at = 0
    while at + 4 <= len(data):
        kind, length = struct.unpack_from(">BxH", data, at)
        yield kind, data[at + 4 : at + 4 + length]
        at += 4 + length


def unit(kind: int, body: bytes) -> bytes:
    """Encode a protocol data unit."""
    return struct.pack(">BBL", kind, 0, len(body)) + body


def associate_request(contexts: Mapping[int, tuple[str, str]]) -> bytes:
    """Encode an A-ASSOCIATE-RQ; ``contexts`` gives abstract and transfer syntax by presentation context id."""
    body = struct.pack(">HH16s16s32x", 1, 0, CALLED_AE.ljust(16).encode(), CALLING_AE.ljust(16).encode())
    body += item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, (abstract, transfer) in contexts.items():
        proposal = struct.pack(">B3x", number) + item(0x30, abstract.encode()) + item(0x40, transfer.encode())
        body += item(0x20, proposal)
    user = item(0x51, struct.pack(">L", LARGEST_UNIT)) + item(0x52, b"2.25.1") + item(0x55, b"BENCH")
    return unit(ASSOCIATE_RQ, body + item(0x50, user))


def elements(values: Mapping[int, bytes]) -> bytes:
    """Encode a flat data set in implicit VR little endian; the keys are tags, the values of even length."""
    return b"".join(
        struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value for tag, value in sorted(values.items())
    )


def parse_elements(data: bytes) -> dict[int, bytes]:
    """Read a flat data set in implicit VR little endian."""
    found = {}
    at = 0
    while at + 8 <= len(data):
        group, number, length = struct.unpack_from("<HHL", data, at)
        found[group << 16 | number] = data[at + 8 : at + 8 + length]
        at += 8 + length
    return found


def command(values: Mapping[int, bytes]) -> bytes:
    """Encode a command set with its group length."""
    body = elements(values)
    return elements({0: struct.pack("<L", len(body))}) + body


def short(number: int) -> bytes:
    """Encode a US value."""
    return struct.pack("<H", number)


def uid(text: str) -> bytes:
    """Encode a UI value."""
    return text.encode() + b"\0" * (len(text) % 2)


def data_units(
    context_id: int, data: bytes | memoryview, *, is_command: bool, longest: int, last: bool = True
) -> bytearray:
    """Wrap a command or data set as P-DATA-TF units with bodies of at most ``longest`` bytes."""
    room = longest - 6
    units = bytearray()
    for at in range(0, max(len(data), 1), room):
        piece = data[at : at + room]
        control = int(is_command) | (2 if last and at + room >= len(data) else 0)
        units += struct.pack(">BBLLBB", DATA_TF, 0, len(piece) + 6, len(piece) + 2, context_id, control)
        units += piece
    return units


def store_command(sop_class_uid: str, sop_instance_uid: str, message_id: int) -> bytes:
    """Encode a C-STORE-RQ (PS3.7 9.3.1.1)."""
    return command(
        {
            0x0002: uid(sop_class_uid),
            0x0100: short(C_STORE_RQ),
            0x0110: short(message_id),
            0x0700: short(0),
            0x0800: short(1),
            0x1000: uid(sop_instance_uid),
        }
    )


class Association:
    """One association of a client."""

    def __init__(self, port: int, contexts: Mapping[int, tuple[str, str]], *, timeout: float = 300.0) -> None:
        """Connect to the loopback and associate. Raises ConnectionError when not every context is accepted."""
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._buffer = bytearray(_RECEIVE)
            self._start = self._end = 0
            self.socket.sendall(associate_request(contexts))
            self.longest = self._read_acceptance(set(contexts))
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.socket.close()

    def release(self) -> None:
        """Release the association and close the connection."""
        self.socket.sendall(unit(RELEASE_RQ, bytes(4)))
        kind, _ = self._unit()
        if kind != RELEASE_RP:
            raise ConnectionError(f"the release was answered by unit {kind}")
        self.socket.close()

    def responses(self) -> Iterator[tuple[int, bytes]]:
        """Yield status and data set (b"" for none) of each response up to the first that is not pending."""
        head, data = b"", b""
        known, status, has_data = b"", 0, False
        while True:
            kind, body = self._unit()
            if kind != DATA_TF:
                raise ConnectionError(f"unit {kind} instead of a response")
            at = 0
            while at < len(body):
                length, _, control = struct.unpack_from(">LBB", body, at)
                piece = bytes(body[at + 6 : at + 4 + length])
                at += 4 + length
                if control & 1:
                    head += piece
                    if not control & 2:
                        continue
                    if head != known:  # the commands of pending responses are all alike
                        values = parse_elements(head)
                        known = head
                        status = int.from_bytes(values[0x0900], "little")
                        has_data = values[0x0800] != b"\x01\x01"
                    head = b""
                else:
                    data += piece
                if control & 2 and (not has_data or not control & 1):
                    yield status, data
                    if status not in PENDING:
                        return
                    data = b""

    def _read_acceptance(self, wanted: set[int]) -> int:
        """Read the answer to the request; return the longest P-DATA-TF body to send."""
        kind, body = self._unit()
        if kind != ASSOCIATE_AC:
            raise ConnectionError(f"the association was not accepted: unit {kind}, {bytes(body[:4]).hex()}")
        accepted, longest = set(), 16384
        for number, value in items(bytes(body[68:])):
            if number == 0x21 and value[2] == 0:
                accepted.add(value[0])
            elif number == 0x50 and (length := dict(items(value)).get(0x51)):
                longest = min(LARGEST_UNIT, int.from_bytes(length, "big") or LARGEST_UNIT)  # 0: any length
        if accepted != wanted:
            raise ConnectionError("a presentation context was refused")
        return longest

    def _unit(self) -> tuple[int, memoryview]:
        """Read the next unit; its body is valid until the next call."""
        self._need(6)
        kind, length = struct.unpack_from(">BxL", self._buffer, self._start)
        self._need(6 + length)
        body = memoryview(self._buffer)[self._start + 6 : self._start + 6 + length]
        self._start += 6 + length
        return kind, body

    def _need(self, size: int) -> None:
        if self._start + size > len(self._buffer):
            rest = bytes(memoryview(self._buffer)[self._start : self._end])
            self._buffer[: len(rest)] = rest
            self._start, self._end = 0, len(rest)
        view = memoryview(self._buffer)
        while self._end - self._start < size:
            received = self.socket.recv_into(view[self._end :])
            if not received:
                raise ConnectionError("the receiver closed the connection")
            self._end += received
