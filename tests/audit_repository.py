"""A real audit repository for tests: syslog over TLS, every message kept."""

import contextlib
import re
import socket
import ssl
import threading


class AuditRepository:
    """Keeps the messages of every connection, and closes in order unless it is told otherwise."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.in_order = True
        self.messages: list[bytes] = []
        self.versions: set[str | None] = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with contextlib.suppress(OSError), connection:
                    self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        data = b""
        with self.context.wrap_socket(connection, server_side=True) as tls:
            self.versions.add(tls.version())
            while piece := tls.recv(65536):  # "" is the other side's close_notify
                data += piece
            self.messages += split(data)
            if self.in_order:
                with contextlib.suppress(ssl.SSLError, OSError):
                    tls.unwrap()

    def close(self) -> None:
        self.listener.close()


def split(data: bytes) -> list[bytes]:
    """Take messages apart by their lengths in octets."""
    found = []
    while data:
        length, _, rest = data.partition(b" ")
        assert len(rest) >= int(length)
        found.append(rest[: int(length)])
        data = rest[int(length) :]
    return found


def numbers(messages: list[bytes]) -> list[int]:
    """Return the numbers of the lines that messages came from."""
    return [int(re.search(rb'sequenceId="(\d+)"', message)[1]) for message in messages]  # type: ignore[index]
