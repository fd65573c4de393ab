"""The audit trail, sent to an audit repository: syslog messages (RFC 5424) over TLS (RFC 5425), as PS3.15 A.6 wants it.

Syslog has no acknowledgement. So each batch has a connection of its own, which both sides close in order (RFC 5425
section 4.4): the repository's close_notify comes after everything before it was read. Only then the note of how far the
trail was forwarded moves on; otherwise the batch is sent again. A message arrives at least once, with the number of its
line, by which a repeat is known.
"""

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile

from dicom_node.archive.audit import AuditRecord, AuditTrail, Head
from dicom_node.dicom.audit_message import SUCCESS, AuditSource, encode, messages_of
from dicom_node.errors import NodeError, OperatorError
from dicom_node.logs import get_logger

log = get_logger(__name__)

BATCH = 200
"""Lines of the trail that are sent in one connection."""
BATCHES = 20
"""Connections of one run, so that a long queue does not hold up the node's stop."""
PATIENCE = 30.0
"""Seconds to connect, to send a batch, and for the repository to close."""
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 900.0
"""Seconds after a failure; the pause doubles with each further one."""
OVERDUE = timedelta(hours=1)
"""How long a line may wait before somebody must look after it."""

_FACILITY = 10
"""Security and authorization messages (RFC 5424 section 6.2.1)."""
_NOTICE, _WARNING = 5, 4
_MOST = 2**31 - 1
_PIECE = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """Where the trail is sent. Empty file names: the system's certificates; no certificate of the node's own."""

    host: str
    port: int
    ca_file: str = ""
    certificate: str = ""
    private_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What waits to be forwarded."""

    waiting: int
    since: datetime | None
    """When the oldest of it was written."""


def queue(trail: AuditTrail) -> Queue:
    """Tell what waits. Raises StorageUnavailableError, ObjectDamagedError."""
    sent = trail.forwarded()
    oldest = next(trail.read(sent.seq + 1), None)
    if oldest is None:
        return Queue(waiting=0, since=None)
    return Queue(waiting=trail.head().seq - sent.seq, since=oldest.at)


class Forwarder:
    """Sends what was appended since the last time. One at a time; ``stop`` is called by any thread."""

    def __init__(
        self,
        trail: AuditTrail,
        repository: Repository,
        source: AuditSource,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Send ``trail`` to ``repository``; ``clock`` counts seconds."""
        self._trail = trail
        self._repository = repository
        self._source = source
        self._clock = clock
        self._failures = 0
        self._due = 0.0
        self._stopping = threading.Event()
        self._connection: socket.socket | None = None

    def run(self) -> int:
        """Send what waits, unless a failure was a moment ago; return how many lines were taken."""
        if self._clock() < self._due:
            return 0
        sent = 0
        try:
            end = self._trail.settle()  # what a power cut could still take must not be known elsewhere
            waiting = takewhile(lambda each: each.seq <= end.seq, self._trail.read(self._trail.forwarded().seq + 1))
            for _ in range(BATCHES):
                batch = [*islice(waiting, BATCH)]
                if not batch or self._stopping.is_set():
                    break
                self._deliver(batch)
                self._trail.set_forwarded(Head(batch[-1].seq, batch[-1].sha256))
                sent += len(batch)
        except (OSError, NodeError) as error:
            if not self._stopping.is_set():
                self._failed(error)
        else:
            if self._failures:
                log.info("audit.forwarded_again", count=sent)
            self._failures, self._due = 0, 0.0
        return sent

    def stop(self) -> None:
        """End what is under way, also where the repository keeps it waiting: the next start sends it again."""
        self._stopping.set()
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _deliver(self, batch: Iterable[AuditRecord]) -> None:
        """Send over a connection of its own. Raises OSError; OperatorError for a file that cannot be used."""
        repository = self._repository
        context, data = _context(repository), frames(batch, self._source)
        with socket.create_connection((repository.host, repository.port), PATIENCE) as self._connection:
            if self._stopping.is_set():
                raise ConnectionAbortedError("the node stops")
            deliver(self._connection, context, repository.host, data)

    def _failed(self, error: Exception) -> None:
        pause = min(FIRST_PAUSE * 2.0**self._failures, LONGEST_PAUSE)
        self._failures += 1
        self._due = self._clock() + pause
        log.warning("audit.not_forwarded", reason=_words(error), attempt=self._failures, seconds=pause)


def frames(records: Iterable[AuditRecord], source: AuditSource) -> bytes:
    """Return lines of the trail as syslog messages, each after its length in octets (RFC 5425 section 4.3)."""
    parts = []
    for record in records:
        for message in messages_of(record.event, record.details, source):
            severity = _NOTICE if message.outcome == SUCCESS else _WARNING
            head = (
                f"<{_FACILITY * 8 + severity}>1 {record.at.isoformat()} {_own_name()} dicom-node {os.getpid()} "
                f'DICOM+RFC3881 [meta sequenceId="{(record.seq - 1) % _MOST + 1}"] \ufeff'
            )
            whole = head.encode() + encode(message, record.at, source)
            parts.append(b"%d %b" % (len(whole), whole))
    return b"".join(parts)


def deliver(connection: socket.socket, context: ssl.SSLContext, host: str, data: bytes) -> None:
    """Send over a fresh connection and wait until the repository has read everything.

    Raises OSError, ssl.SSLError among them.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=host)

    def do(step: Callable[[], object]) -> object:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                if piece := connection.recv(_PIECE):
                    incoming.write(piece)
                else:
                    incoming.write_eof()

    do(tls.do_handshake)
    rest = memoryview(data)
    while rest:
        rest = rest[tls.write(rest) :]
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.unwrap()  # says that nothing more comes; it takes any alert for the answer, so the answer is read below
    connection.sendall(outgoing.read())
    with contextlib.suppress(ssl.SSLZeroReturnError):  # the repository's own close_notify
        while True:
            do(lambda: tls.read(_PIECE))


def _context(repository: Repository) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=repository.ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if repository.certificate:
            # Without a function that gives the password the library would ask for it at the terminal.
            context.load_cert_chain(repository.certificate, repository.private_key, password=lambda: b"")
    except OSError as error:
        raise OperatorError(f"a file of [audit.syslog] cannot be used: {_words(error)}") from error
    return context


def _own_name() -> str:
    """Return the HOSTNAME of a syslog message (RFC 5424 section 6.2.4)."""
    name = "".join(char for char in socket.gethostname() if "!" <= char <= "~")
    return name[:255] or "-"


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLEOFError):
        return "it closed the connection without saying that it read everything"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'no reason given'}"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)
