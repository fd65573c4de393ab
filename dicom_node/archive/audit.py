"""The audit trail: what happened on the node and who did it, beside the objects; numbered, chained, never changed.

One line of JSON each, in segments under ``audit/`` that are named by the number of their first line::

    {"at": "2026-11-23T14:05:11.042113+00:00", "before": "<64 hex>", "details": {...}, "event": "query.answered",
     "seq": 7, "sha256": "<64 hex>"}

The sum covers the line up to its comma, closed by a brace; ``before`` is the sum of the line before. So a byte that
changed, a line that was taken away or moved, and a segment that is missing are all found. The numbers begin at 1 and
never begin again. Several processes write at once, by turns of a lock file, which holds the name of the segment that
is written to.

A line is in the system's memory when ``append`` returns, which survives the death of any process; a thread makes it
durable within a second, or ``append`` does when it is asked to. A last line that a power cut tore is removed by
the next append, as in the journal. A last line that is whole and wrong is damage: it stays, and a new segment begins.
"""

import contextlib
import fcntl
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from dicom_node.archive.files import (
    discard_file,
    last_line,
    make_folder,
    names_in,
    new_file,
    open_or_make,
    opened_folder,
    refusals,
    write_all,
)
from dicom_node.archive.space import Volume
from dicom_node.errors import NodeError, ObjectDamagedError
from dicom_node.logs import get_logger

AUDIT = "audit"
"""The folder of the trail, under the root."""

SEGMENT = 16 << 20
"""Bytes after which a new segment begins."""

FLUSH_AFTER = 0.5
"""Seconds that a line may wait for being made durable."""

BEGINNING = "0" * 64
"""What stands for the sum of the line before the first."""

_LOCK, _CURSOR, _DRAFT = "lock", "forwarded.json", "forwarded.json.new"
_NAME = re.compile(r"[0-9]{12}\.jsonl")
_SUM = re.compile(rb',"sha256":"([0-9a-f]{64})"\}')
_SUM_LENGTH = len(b',"sha256":""}') + 64

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One line of the trail."""

    seq: int
    at: datetime
    """When it was written, in UTC."""
    event: str
    details: Mapping[str, Any]
    before: str
    """Sum of the line before, in hex."""
    sha256: str
    """Its own sum."""
    line: bytes
    """As it stands in the trail, without the line end."""


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the trail."""

    seq: int = 0
    sha256: str = BEGINNING


@dataclass(frozen=True, slots=True)
class AuditCheck:
    """What a check of the whole trail found."""

    records: int
    """Lines that are right, up to the first that is not."""
    head: Head
    """The last of these."""
    problem: str
    """What is wrong with the next one; "" when all are right."""


class AuditTrail:
    """The trail of one archive. Safe to use from many threads and processes at once."""

    def __init__(self, volume: Volume) -> None:
        """Use the trail under the volume's root; its folder is made by the first append."""
        self._volume = volume
        self._mutex = threading.Lock()
        self._lock = self._file = -1
        self._name, self._size, self._head = "", 0, Head()
        self._waiting, self._closed = threading.Event(), threading.Event()
        self._flusher: threading.Thread | None = None

    def append(self, event: str, details: Mapping[str, Any], *, durable: bool = False) -> AuditRecord:
        """Add one line and return it. ``details`` holds JSON values only, and no patient data.

        With ``durable`` no power cut takes it when this returns. Raises StorageUnavailableError when it could not be
        written: then it is not there; or not made durable: then it may be.
        """
        at = datetime.now(UTC)
        with self._mutex, refusals("write the audit trail"), self._turn():
            self._find_end()
            record = _encoded(self._head, at, event, details)
            line = record.line + b"\n"
            try:
                write_all(self._file, line)
            except BaseException:
                os.ftruncate(self._file, self._size)
                raise
            self._size += len(line)
            self._head = Head(record.seq, record.sha256)
        if durable:
            self.flush()
        else:
            self._flush_soon()
        return record

    def flush(self) -> None:
        """Make everything durable that this process appended. Raises StorageUnavailableError."""
        with self._mutex:
            if self._file < 0:
                return
            file = os.dup(self._file)
        try:
            self._volume.flush_data(file)
        finally:
            os.close(file)

    def settle(self) -> Head:
        """Make everything durable that any process appended, and return the end. Raises StorageUnavailableError."""
        with self._mutex, refusals("write the audit trail"), self._turn():
            self._find_end()
            head = self._head
        self.flush()
        return head

    def close(self) -> None:
        """Make durable what is not, and give the trail up."""
        self._closed.set()
        self._waiting.set()
        if self._flusher is not None:
            self._flusher.join()
            with contextlib.suppress(NodeError):  # what came while it was at its last flush
                self.flush()
        with self._mutex:
            self._release()

    def read(self, first: int = 1) -> Iterator[AuditRecord]:
        """Yield the lines from the number ``first`` on, oldest first; what is appended meanwhile may be among them.

        Lines that cannot be read are passed over: ``verify`` tells of them. Raises StorageUnavailableError.
        """
        names = self._segments()
        later = [number for number, name in enumerate(names) if _first_of(name) <= first]
        for name in names[later[-1] if later else 0 :]:
            lines = self._lines(name)
            # Backwards, as it is the last few of many that are mostly wanted, and wanted every few seconds.
            begin = len(lines) if _first_of(name) < first else 0
            while begin and ((record := _decoded(lines[begin - 1])) is None or record.seq >= first):
                begin -= 1
            yield from filter(None, map(_decoded, lines[begin:]))

    def read_back(self) -> Iterator[AuditRecord]:
        """Yield the lines, newest first; otherwise as ``read``."""
        for name in reversed(self._segments()):
            for line in reversed(self._lines(name)):
                record = _decoded(line)
                if record is not None:
                    yield record

    def head(self) -> Head:
        """Return the end of the trail. Raises StorageUnavailableError."""
        last = next(self.read_back(), None)
        return Head() if last is None else Head(last.seq, last.sha256)

    def forwarded(self) -> Head:
        """Return how far the trail was forwarded. Raises StorageUnavailableError, ObjectDamagedError."""
        with refusals("read the audit trail"):
            try:
                file = os.open(f"{AUDIT}/{_CURSOR}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._volume.fd)
            except FileNotFoundError:
                return Head()
            with os.fdopen(file, "rb") as cursor:
                text = cursor.read(4096)
        try:
            entry = json.loads(text)
            return Head(int(entry["seq"]), str(entry["sha256"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ObjectDamagedError(
                f"{AUDIT}/{_CURSOR} cannot be read; without it the trail is forwarded from its beginning"
            ) from error

    def set_forwarded(self, head: Head) -> None:
        """Note durably how far the trail was forwarded. Raises StorageUnavailableError."""
        text = json.dumps({"seq": head.seq, "sha256": head.sha256}).encode("ascii")
        with refusals("write how far the audit trail was forwarded"), opened_folder(AUDIT, self._volume.fd) as folder:
            discard_file(_DRAFT, folder)
            file = new_file(_DRAFT, folder)
            try:
                write_all(file, text)
                self._volume.flush(file)
            finally:
                os.close(file)
            os.replace(_DRAFT, _CURSOR, src_dir_fd=folder, dst_dir_fd=folder)
            self._volume.flush(folder)

    def verify(self, *seen: Head) -> AuditCheck:
        """Check every number, sum and link, up to the first that is wrong.

        ``seen`` are ends that the trail once had, from elsewhere: without them lines that are missing at the end leave
        no trace. Raises StorageUnavailableError.
        """
        head, sought = Head(), {each.seq: each.sha256 for each in seen if each.seq}
        for name in self._segments():
            for number, line in enumerate(self._lines(name), start=1):
                record = _decoded(line)
                problem = _problem(record, head, _first_of(name) if number == 1 else None)
                if record is None or problem:
                    return AuditCheck(head.seq, head, f"line {number} of {AUDIT}/{name} {problem}")
                if sought.pop(record.seq, record.sha256) != record.sha256:
                    problem = f"line {number} of {AUDIT}/{name} is another than it was (number {record.seq})"
                    return AuditCheck(head.seq, head, problem)
                head = Head(record.seq, record.sha256)
        problem = f"the end is missing: it went up to number {max(sought)} before" if sought else ""
        return AuditCheck(head.seq, head, problem)

    # Writing. All of it with the mutex held.

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Keep other processes from writing for the length of the block."""
        if self._lock < 0 or os.fstat(self._lock).st_nlink == 0:
            self._release()
            if make_folder(AUDIT, self._volume.fd):
                self._volume.flush(self._volume.fd)
            with opened_folder(AUDIT, self._volume.fd) as folder:
                self._lock = open_or_make(_LOCK, folder)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _find_end(self) -> None:
        """Make sure that file, size and head are those of the trail's end; begin a new segment where one is due."""
        written_to = os.pread(self._lock, 64, 0).decode("ascii", "replace")
        if self._file >= 0 and written_to == self._name and os.fstat(self._file).st_nlink:
            size = os.fstat(self._file).st_size
            if size != self._size:
                self._read_end(size)
        else:
            self._open_newest()
        if self._size >= SEGMENT:
            self._volume.flush_data(self._file)
            self._begin(_name_of(self._head.seq + 1))

    def _open_newest(self) -> None:
        with opened_folder(AUDIT, self._volume.fd) as folder:
            names = sorted(filter(_NAME.fullmatch, names_in(folder)))
        if not names:
            self._head = Head()
            self._begin(_name_of(1))
            return
        newest, older = names[-1], names[:-1]
        self._open(newest)
        # It may be empty, when a crash came between making it and writing to it.
        last = self._lines(older[-1])[-1:] if older else []
        self._head = _head(last[0], _first_of(newest) - 1)[0] if last else Head()
        self._read_end(os.fstat(self._file).st_size)

    def _read_end(self, size: int) -> None:
        last, end = last_line(self._file, size)
        if end < size:
            os.ftruncate(self._file, end)
            log.warning("audit.torn_line_removed", bytes=size - end)
        self._size = end
        if not last:
            return
        self._head, is_right = _head(last, 0)
        if not is_right:
            log.error("audit.damaged", reason=f"the last line of {AUDIT}/{self._name} does not match its sum")
            number = _first_of(self._name) + len(self._lines(self._name)) - 1
            self._head = _head(last, number)[0]
            self._begin(_name_of(number + 1))

    def _begin(self, name: str) -> None:
        self._open(name)
        self._size = 0
        with opened_folder(AUDIT, self._volume.fd) as folder:
            self._volume.flush(folder)

    def _open(self, name: str) -> None:
        with opened_folder(AUDIT, self._volume.fd) as folder:
            file = open_or_make(name, folder, os.O_APPEND)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._name = file, name
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, name.encode("ascii"), 0)

    def _release(self) -> None:
        for file in (self._file, self._lock):
            if file >= 0:
                os.close(file)
        self._file = self._lock = -1

    # Making it durable.

    def _flush_soon(self) -> None:
        if self._waiting.is_set():
            return
        self._waiting.set()
        with self._mutex:
            if self._flusher is None and not self._closed.is_set():
                self._flusher = threading.Thread(target=self._flush_now_and_then, name="audit-flush", daemon=True)
                self._flusher.start()

    def _flush_now_and_then(self) -> None:
        while not self._closed.is_set():
            self._waiting.wait()
            self._closed.wait(FLUSH_AFTER)
            self._waiting.clear()  # before the flush: what is appended from here on asks for another
            with contextlib.suppress(NodeError):  # the volume is distrusted now, which refuses the next instances
                self.flush()

    # Reading.

    def _segments(self) -> list[str]:
        with refusals("read the audit trail"):
            try:
                with opened_folder(AUDIT, self._volume.fd) as folder:
                    return sorted(filter(_NAME.fullmatch, names_in(folder)))
            except FileNotFoundError:
                return []

    def _lines(self, name: str) -> list[bytes]:
        """Return the whole lines of a segment; what follows the last line end is being written, or torn."""
        with refusals("read the audit trail"):
            file = os.open(f"{AUDIT}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._volume.fd)
            with os.fdopen(file, "rb") as segment:
                return segment.read().split(b"\n")[:-1]


def _name_of(first: int) -> str:
    return f"{first:012}.jsonl"


def _first_of(name: str) -> int:
    return int(name.partition(".")[0])


def _encoded(head: Head, at: datetime, event: str, details: Mapping[str, Any]) -> AuditRecord:
    seq, before = head.seq + 1, head.sha256
    entry = {"at": at.isoformat(), "before": before, "details": details, "event": event, "seq": seq}
    body = json.dumps(entry, separators=(",", ":"), allow_nan=False).encode("ascii")
    own = sha256(body).hexdigest()
    line = b'%b,"sha256":"%b"}' % (body[:-1], own.encode("ascii"))
    return AuditRecord(seq=seq, at=at, event=event, details=details, before=before, sha256=own, line=line)


def _head(line: bytes, number: int) -> tuple[Head, bool]:
    """Return a line as an end of the trail, and whether it is right; one that is not counts as the ``number``th."""
    record = _decoded(line)
    if record is None:
        return Head(number, sha256(line).hexdigest()), False
    return Head(record.seq, record.sha256), True


def _decoded(line: bytes) -> AuditRecord | None:
    """Return a line's record, None when it does not match its sum."""
    found = _SUM.fullmatch(line, max(len(line) - _SUM_LENGTH, 0))
    if found is None or sha256(line[:-_SUM_LENGTH] + b"}").hexdigest().encode("ascii") != found[1]:
        return None
    try:
        entry = json.loads(line)
        return AuditRecord(
            seq=int(entry["seq"]),
            at=datetime.fromisoformat(entry["at"]),
            event=str(entry["event"]),
            details=dict(entry["details"]),
            before=str(entry["before"]),
            sha256=str(entry["sha256"]),
            line=line,
        )
    except (ValueError, KeyError, TypeError):
        return None


def _problem(record: AuditRecord | None, head: Head, first: int | None) -> str:
    """Say what is wrong with a line after ``head``, the first of a segment named ``first``; "" when nothing is."""
    if record is None:
        return "does not match its sum"
    if record.seq != head.seq + 1:
        return f"has the number {record.seq}; {head.seq + 1} should come"
    if record.before != head.sha256:
        return f"does not follow the line before it (number {head.seq})"
    if first is not None and record.seq != first:
        return f"has the number {record.seq}, and its segment is named {first}"
    return ""
