"""A connection to a peer that is called: every wait has a deadline, and another thread can end it.

Plain and TLS alike. All durations are seconds of the monotonic clock.
"""

import contextlib
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable


class Line:
    """An open connection. One thread sends and receives; ``cut`` may be called by any.

    Nothing here knows what the bytes mean. What goes wrong is an OSError: TimeoutError when a deadline passed,
    ConnectionAbortedError when the line was cut on this side.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Take over a connected socket."""
        connection.setblocking(False)
        self._connection = connection
        self._alarm = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._alarm, select.POLLIN)
        self._using = threading.Lock()  # held while the socket is in use or waited for
        self._cutting = threading.Lock()
        self._is_cut = False
        self._is_closed = False
        self._between_units = True

    @property
    def is_closed(self) -> bool:
        """Tell whether the connection was closed on this side."""
        return self._is_closed

    def encrypt(self, context: ssl.SSLContext, host: str, patience: float) -> None:
        """Make it a TLS connection, before anything was sent. ``host`` is whom the certificate must be for."""
        encrypted = context.wrap_socket(self._connection, server_hostname=host, do_handshake_on_connect=False)
        self._connection = encrypted

        def shake_hands() -> int:
            encrypted.do_handshake()
            return 0

        self._attempt(shake_hands, select.POLLIN, time.monotonic() + patience)

    def send(self, units: bytes | bytearray, patience: float) -> None:
        """Send whole units; ``patience`` is how long the peer may take nothing."""
        view = memoryview(units)
        self._between_units = False
        while view:
            sent = self._attempt(lambda: self._connection.send(view), select.POLLOUT, time.monotonic() + patience)  # noqa: B023 - called before the view moves on
            view = view[sent:]
        self._between_units = True

    def receive(self, buffer: bytearray, deadline: float) -> int:
        """Put what arrives into the buffer, before ``deadline``; return how many bytes, 0 at the end of the stream."""
        return self._attempt(lambda: self._connection.recv_into(buffer), select.POLLIN, deadline)

    def cut(self, farewell: bytes = b"") -> None:
        """Close the connection now, from any thread; whoever waits at it gets a ConnectionAbortedError.

        ``farewell`` is a unit to send first, if that takes no waiting and no other unit is half sent.
        """
        with self._cutting:
            if self._is_closed:
                return
            self._is_cut = True
            os.eventfd_write(self._alarm, 1)
            with self._using:
                if farewell and self._between_units:
                    with contextlib.suppress(OSError):
                        self._connection.send(farewell)
                self._is_closed = True
                self._connection.close()
                os.close(self._alarm)

    def _attempt(self, action: Callable[[], int], wanted: int, deadline: float) -> int:
        while True:
            with self._using:
                if self._is_cut:
                    raise ConnectionAbortedError("the connection was cut on this side")
                try:
                    return action()
                except BlockingIOError:
                    awaited = wanted
                except ssl.SSLWantReadError:
                    awaited = select.POLLIN
                except ssl.SSLWantWriteError:
                    awaited = select.POLLOUT
                patience = deadline - time.monotonic()
                if patience <= 0:
                    raise TimeoutError
                if awaited == select.POLLIN:
                    # A peer that leaves Nagle's algorithm on waits for the acknowledgement of the half it sent.
                    self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                self._poll.register(self._connection, awaited)
                self._poll.poll(patience * 1000)


def connect(host: str, port: int, patience: float) -> Line:
    """Connect to the first address of a host that answers. ``patience`` is for all of them together.

    Raises OSError.
    """
    deadline = time.monotonic() + patience
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # an empty part, or one that is too long
        raise socket.gaierror(socket.EAI_NONAME, "no name of a host") from None
    for number, (family, kind, protocol, _, address) in enumerate(found, start=1):
        connection = socket.socket(family, kind, protocol)
        try:
            left = max(deadline - time.monotonic(), 0.001)
            connection.settimeout(left / (len(found) - number + 1))
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return Line(connection)
        except OSError:
            connection.close()
            if number == len(found):
                raise
        except BaseException:
            connection.close()
            raise
    raise OSError("the host has no address")
