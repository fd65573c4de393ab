"""What people decided and recorded, beside the objects, so that an index made anew from the files knows it too.

One line of JSON each: ``{"seq": 7, "kind": "release", "record": {...}, "sha256": "..."}``; the sum covers the three
others. Lines are only ever added. A last line that a crash cut short was never acknowledged: readers ignore it, and
the next append removes it. Any other line that does not match its sum is damage, and is reported.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from dicom_node.archive.files import last_line, open_or_make, opened_folder, refusals, write_all
from dicom_node.archive.space import Volume
from dicom_node.errors import ObjectDamagedError
from dicom_node.logs import get_logger

JOURNAL = "journal"
"""The folder of the journal, under the root."""
_FILE = "journal.jsonl"

log = get_logger(__name__)


class Journal:
    """The journal of one archive. Safe to use from many threads and processes at once."""

    def __init__(self, volume: Volume) -> None:
        """Use the journal under the volume's root; its file is made by the first append."""
        self._volume = volume
        self._name_is_durable = False

    def append(self, kind: str, record: Mapping[str, Any]) -> int:
        """Add one line, durably, and return its sequence number (the first is 1).

        ``record`` holds JSON values only. Raises StorageUnavailableError when the line could not be made durable:
        then it is not there. Raises ObjectDamagedError when the line before does not match its sum.
        """
        self._volume.check_mounted()
        self._volume.check_trusted()
        with refusals("write the journal"), opened_folder(JOURNAL, self._volume.fd) as folder:
            file = open_or_make(_FILE, folder, os.O_APPEND)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                sequence = self._append(file, kind, record)
            finally:
                os.close(file)
            if not self._name_is_durable:
                self._volume.flush(folder)
                self._name_is_durable = True
        return sequence

    def read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield kind and record of every line, oldest first.

        Raises StorageUnavailableError when the file cannot be read, ObjectDamagedError at a line that does not match
        its sum or its place.
        """
        lines = self._load().split(b"\n")
        for number, line in enumerate(lines[:-1], start=1):  # what follows the last line end was never acknowledged
            sequence, kind, record = _decoded(line, number)
            if sequence != number:
                raise ObjectDamagedError(f"line {number} of the journal has the sequence number {sequence}")
            yield kind, record

    def _append(self, file: int, kind: str, record: Mapping[str, Any]) -> int:
        size = os.fstat(file).st_size
        last, end = last_line(file, size)
        if end < size:
            os.ftruncate(file, end)
            log.warning("journal.torn_line_removed", bytes=size - end)
        sequence = _decoded(last, None)[0] + 1 if last else 1
        try:
            write_all(file, _encoded(sequence, kind, record))
            self._volume.flush(file)
        except BaseException:
            os.ftruncate(file, end)
            raise
        return sequence

    def _load(self) -> bytes:
        with refusals("read the journal"):
            try:
                file = os.open(f"{JOURNAL}/{_FILE}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._volume.fd)
            except FileNotFoundError:
                return b""
            with os.fdopen(file, "rb") as lines:
                fcntl.flock(file, fcntl.LOCK_SH)
                return lines.read()


def _encoded(sequence: int, kind: str, record: Mapping[str, Any]) -> bytes:
    entry = {"seq": sequence, "kind": kind, "record": dict(record)}
    return _canonical({**entry, "sha256": sha256(_canonical(entry)).hexdigest()}) + b"\n"


def _decoded(line: bytes, number: int | None) -> tuple[int, str, dict[str, Any]]:
    place = "the last line" if number is None else f"line {number}"
    try:
        entry = json.loads(line)
        expected = entry.pop("sha256")
        if sha256(_canonical(entry)).hexdigest() == expected:
            return entry["seq"], entry["kind"], entry["record"]
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise ObjectDamagedError(f"{place} of the journal does not match its sum")


def _canonical(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
