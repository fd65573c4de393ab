"""A DICOM peer made of bytes: it can do what no library lets one do (odd fragments, half units, silence)."""

import socket
import ssl
import struct
from collections.abc import Iterable, Sequence
from typing import Self

from dicom_node.dimse.pdu import Command, parse_command

VERIFICATION = "1.2.840.10008.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MAMMOGRAM = "1.2.840.10008.5.1.4.1.1.1.2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"


def item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def items(data: bytes) -> list[bytes]:
    """The items in ``data``, each with its header."""
    found = []
    while data:
        size = 4 + int.from_bytes(data[2:4], "big")
        found.append(data[:size])
        data = data[size:]
    return found


def associate_request(
    calling: bytes, called: bytes, contexts: Sequence[tuple[str, Sequence[str]]], maximum: int = 16384
) -> bytes:
    """An A-ASSOCIATE-RQ; context ids are 1, 3, 5, … in the order given."""
    body = struct.pack(">HH", 1, 0) + called.ljust(16) + calling.ljust(16) + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, (abstract, syntaxes) in enumerate(contexts):
        proposal = struct.pack(">BBBB", 2 * number + 1, 0, 0, 0) + item(0x30, abstract.encode())
        body += item(0x20, proposal + b"".join(item(0x40, syntax.encode()) for syntax in syntaxes))
    user = item(0x51, struct.pack(">L", maximum)) + item(0x52, b"1.2.826.0.1.3680043.10.543.9")
    body += item(0x50, user)
    return struct.pack(">BBL", 1, 0, len(body)) + body


def element(number: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHL", 0, number, len(value)) + value


def command_set(field: int, message_id: int, sop_class: str, *more: bytes, data: bool) -> bytes:
    body = element(0x0002, sop_class.encode()) if sop_class else b""
    body += element(0x0100, struct.pack("<H", field))
    body += element(0x0120 if field & 0x8000 or field == 0x0FFF else 0x0110, struct.pack("<H", message_id))
    body += element(0x0800, struct.pack("<H", 0x0000 if data else 0x0101)) + b"".join(more)
    return element(0x0000, struct.pack("<L", len(body))) + body


def store_request(sop_class: str, sop_instance: str, message_id: int = 1, *, data: bool = True) -> bytes:
    return command_set(0x0001, message_id, sop_class, element(0x1000, sop_instance.encode()), data=data)


def echo_request(message_id: int = 1) -> bytes:
    return command_set(0x0030, message_id, VERIFICATION, data=False)


def values(context_id: int, data: bytes, *, command: bool, size: int) -> list[bytes]:
    """Presentation data values (with their headers) of at most ``size`` bytes of data each."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    return [
        struct.pack(">LBB", len(piece) + 2, context_id, int(command) | (2 if number == len(pieces) else 0)) + piece
        for number, piece in enumerate(pieces, start=1)
    ]


def unit(*parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">BBL", 4, 0, len(body)) + body


def message(context_id: int, command: bytes, data: bytes | None = None, size: int = 16000) -> bytes:
    """A whole message, one presentation data value a unit."""
    parts = values(context_id, command, command=True, size=size)
    if data is not None:
        parts += values(context_id, data, command=False, size=size)
    return b"".join(unit(part) for part in parts)


RELEASE = struct.pack(">BBLL", 5, 0, 4, 0)


class RawPeer:
    """One connection. ``contexts`` are proposed at once unless it is None."""

    def __init__(
        self,
        port: int,
        *,
        calling: bytes = b"PRONE_RM2",
        called: bytes = b"SBB_NODE",
        contexts: Sequence[tuple[str, Sequence[str]]] | None = ((MAMMOGRAM, [EXPLICIT]), (VERIFICATION, [IMPLICIT])),
        maximum: int = 16384,
        timeout: float = 20.0,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname=host)
        self.answer = b""
        if contexts is not None:
            try:
                self.send(associate_request(calling, called, contexts, maximum))
                self.answer = self.read_unit()
            except BaseException:
                self.socket.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *data: bytes) -> None:
        for piece in data:
            self.socket.sendall(piece)

    def drip(self, data: bytes, sizes: Iterable[int]) -> None:
        at = 0
        for size in sizes:
            self.socket.sendall(data[at : at + size])
            at += size
            if at >= len(data):
                return
        self.socket.sendall(data[at:])

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise ConnectionError("the node closed the connection")
            data += piece
        return data

    def read_unit(self) -> bytes:
        head = self._exactly(6)
        return head + self._exactly(int.from_bytes(head[2:6], "big"))

    def read_response(self) -> tuple[Command, bytes]:
        """The next response's command, and its raw bytes (joined over units)."""
        data = b""
        while True:
            got = self.read_unit()
            if got[0] != 4:
                raise ConnectionError(f"unit of type {got[0]}")
            data += got[12:]
            if got[11] & 2:
                return parse_command(data), data

    def release(self) -> bytes:
        self.send(RELEASE)
        return self.read_unit()

    def is_closed(self) -> bool:
        """Wait for the node to close; an abort unit may come first."""
        try:
            while self.socket.recv(4096):
                pass
        except ConnectionError:
            pass
        return True
