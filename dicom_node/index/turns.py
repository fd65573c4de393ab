"""Turns at writing among the processes that share a SQLite file.

SQLite's own waiting sleeps longer each time it finds the file locked, up to a tenth of a second, while a commit takes a
few milliseconds. So writers take turns by a lock file beside the database and look often. The system gives the lock
back when a process dies. SQLite's lock stays what keeps the file whole: this one only shortens the wait for it.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from dicom_node.errors import DatabaseError

_LOOK_AGAIN = 0.0003


class Turns:
    """The lock file of one database, opened or made at the first turn. For one thread of this process at a time."""

    def __init__(self, path: Path, mode: int) -> None:
        """Use the lock file at ``path``, made with ``mode``."""
        self._path = path
        self._mode = mode
        self._file = -1

    @contextlib.contextmanager
    def taken(self, timeout_s: float) -> Iterator[None]:
        """Hold the turn. After ``timeout_s`` it goes on without: then SQLite's lock decides. Raises DatabaseError."""
        if self._file < 0:
            self._open()
        deadline = time.monotonic() + timeout_s
        held = False
        while not held and time.monotonic() < deadline:
            held = _try_lock(self._file)
            if not held:
                time.sleep(_LOOK_AGAIN)
        try:
            yield
        finally:
            if held:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the file up, until the next turn."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _open(self) -> None:
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, self._mode)
        except OSError as error:
            raise DatabaseError(f"the lock file {self._path} cannot be opened: {error.strerror}") from None


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
