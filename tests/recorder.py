"""A relay between a sender and the node that takes down every data set as it passes, byte for byte.

It knows nothing of the node's code: its own small reading of PS3.8 9.3.5 is what the node's is compared with.
"""

import contextlib
import hashlib
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Recorded:
    """The data sets one relay saw, as digests, in the order they passed, and the statuses that came back."""

    digests: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)


class Recorder:
    """Listens on ``port`` and passes every byte on to the node, both ways."""

    def __init__(self, node_port: int) -> None:
        self.recorded = Recorded()
        self._node_port = node_port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in [self._accepting, *self._threads]:
            thread.join(timeout=10)
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sender, _ = self._listening.accept()
                node = socket.create_connection(("127.0.0.1", self._node_port))
                self._sockets += [sender, node]
                for source, sink, take in ((sender, node, self._take_sent), (node, sender, self._take_answered)):
                    thread = threading.Thread(target=self._relay, args=(source, sink, take), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    @staticmethod
    def _relay(source: socket.socket, sink: socket.socket, take: object) -> None:
        assert callable(take)
        stream = bytearray()
        state: dict[str, object] = {}
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                stream += data
                while len(stream) >= 6 and len(stream) >= 6 + (length := struct.unpack_from(">L", stream, 2)[0]):
                    if stream[0] == 4:
                        take(bytes(stream[6 : 6 + length]), state)
                    del stream[: 6 + length]
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _take_sent(self, body: bytes, state: dict[str, object]) -> None:
        for control, value in _values(body):
            if control & 1:
                continue
            digest = state.setdefault("digest", hashlib.sha256())
            digest.update(value)  # type: ignore[attr-defined]  # a hash object
            if control & 2:
                self.recorded.digests.append(digest.hexdigest())  # type: ignore[attr-defined]  # as above
                del state["digest"]

    def _take_answered(self, body: bytes, state: dict[str, object]) -> None:
        for control, value in _values(body):
            at = value.find(b"\0\0\0\x09\2\0\0\0") if control & 1 else -1  # (0000,0900) of two bytes
            if at >= 0:
                self.recorded.statuses.append(int.from_bytes(value[at + 8 : at + 10], "little"))


def _values(body: bytes) -> list[tuple[int, bytes]]:
    at, found = 0, []
    while at < len(body):
        length, _context, control = struct.unpack_from(">LBB", body, at)
        found.append((control, body[at + 6 : at + 4 + length]))
        at += 4 + length
    return found
