"""A bare receiver: writes each data set to a file, flushes it, answers Success. The least any durable receiver does.

    python -m benchmarks.floor PORT FOLDER [--early | --discard]

No checks, no index, no digest; one process an association. ``--early`` has the kernel begin to write large files back
while they still arrive (sync_file_range, 4 MiB at a time): the tighter limit for large instances. ``--discard`` keeps
nothing: what is left is what the sender can do.
"""

import ctypes
import os
import signal
import socket
import struct
import sys

from benchmarks import wire

EARLY = 4 << 20
"""Bytes between two beginnings of writeback."""

_SYNC_FILE_RANGE_WRITE = 2
_BUFFER = 1 << 18


class Floor:
    """One association."""

    def __init__(self, connection: socket.socket, folder: str, *, early: bool, discard: bool) -> None:
        self._connection = connection
        self._folder = folder
        self._discard = discard
        self._libc = ctypes.CDLL(None, use_errno=True) if early else None
        self._buffer = memoryview(bytearray(_BUFFER))
        self._file = -1
        self._written = self._begun = 0

    def serve(self) -> None:
        """Serve until the association is released. Raises ConnectionError when the peer leaves."""
        command = bytearray()
        while True:
            kind, length = struct.unpack(">BxL", self._exactly(6))
            if kind == wire.ASSOCIATE_RQ:
                self._connection.sendall(accept(self._exactly(length)))
            elif kind == wire.DATA_TF:
                while length:
                    size, context_id, control = struct.unpack(">LBB", self._exactly(6))
                    length -= 4 + size
                    if control & 1:
                        command += self._exactly(size - 2)
                        if control & 2 and not self._discard:
                            self._open(command)
                    else:
                        self._take(size - 2)
                        if control & 2:
                            self._answer(context_id, command)
                            command.clear()
            else:
                self._exactly(length)
                if kind == wire.RELEASE_RQ:
                    self._connection.sendall(wire.unit(wire.RELEASE_RP, bytes(4)))
                return

    def _exactly(self, size: int) -> bytes:
        at = 0
        while at < size:
            received = self._connection.recv_into(self._buffer[at:size])
            if not received:
                raise ConnectionError
            at += received
        return bytes(self._buffer[:size])

    def _open(self, command: bytearray) -> None:
        name = wire.parse_elements(bytes(command))[0x1000].rstrip(b"\0").decode("ascii")
        self._file = os.open(f"{self._folder}/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640)
        self._written = self._begun = 0

    def _take(self, left: int) -> None:
        while left:
            received = self._connection.recv_into(self._buffer[:left])
            if not received:
                raise ConnectionError
            left -= received
            if self._discard:
                continue
            data = self._buffer[:received]
            while data:
                written = os.write(self._file, data)
                self._written += written
                data = data[written:]
        if self._libc is not None and self._written - self._begun >= EARLY:
            begun, size = ctypes.c_int64(self._begun), ctypes.c_int64(self._written - self._begun)
            self._libc.sync_file_range(self._file, begun, size, _SYNC_FILE_RANGE_WRITE)
            self._begun = self._written

    def _answer(self, context_id: int, command: bytearray) -> None:
        if not self._discard:
            os.fdatasync(self._file)
            os.close(self._file)
        request = wire.parse_elements(bytes(command))
        response = wire.command(
            {
                0x0002: request[0x0002],
                0x0100: wire.short(wire.C_STORE_RSP),
                0x0120: request[0x0110],
                0x0800: wire.short(0x0101),
                0x0900: wire.short(0),
                0x1000: request[0x1000],
            }
        )
        self._connection.sendall(wire.data_units(context_id, response, is_command=True, longest=16384))


def accept(request: bytes) -> bytes:
    """Encode the A-ASSOCIATE-AC that takes every context of a request with its first transfer syntax (PS3.8 9.3.3)."""
    body = request[:68] + wire.item(0x10, b"1.2.840.10008.3.1.1.1")
    for kind, value in wire.items(request[68:]):
        if kind == 0x20:
            syntaxes = [each for number, each in wire.items(value[4:]) if number == 0x40]
            body += wire.item(0x21, bytes([value[0], 0, 0, 0]) + wire.item(0x40, syntaxes[0]))
    user = (
        wire.item(0x51, struct.pack(">L", wire.LARGEST_UNIT)) + wire.item(0x52, b"2.25.2") + wire.item(0x55, b"FLOOR")
    )
    return wire.unit(wire.ASSOCIATE_AC, body + wire.item(0x50, user))


def main() -> None:
    """Listen and give each connection a process."""
    port, folder, early, discard = int(sys.argv[1]), sys.argv[2], "--early" in sys.argv, "--discard" in sys.argv
    signal.signal(signal.SIGCHLD, _reap)
    with socket.create_server(("127.0.0.1", port), backlog=64) as server:
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    Floor(connection, folder, early=early, discard=discard).serve()
                except ConnectionError:
                    pass
                finally:
                    os._exit(0)
            connection.close()


def _reap(_number: int, _frame: object) -> None:
    """Collect the processes that ended, so that their processor time counts as the server's."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


if __name__ == "__main__":
    main()
