"""One commit for all who wait for one.

Only one transaction can write at a time, and to begin and commit it takes as long as to write the rows of an instance;
longer by far where a commit waits for the disk. So whoever leads writes the entries of all that wait, in one
transaction, while those who come in the meantime form the next group, which its first leads. No thread of its own is
needed.
"""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager

from sqlalchemy import Connection

from dicom_node.errors import DatabaseError
from dicom_node.index.failures import concerns_the_database, translate_errors
from dicom_node.index.record import Entry, Recorded, write_entries

GROUP_SIZE = 256
"""Most entries in one transaction: bounds what one failing commit takes with it."""


class _Waiting:
    """An entry and, once ``done``, what became of it."""

    __slots__ = ("called", "done", "entry", "error", "recorded")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.done = False
        self.recorded: Recorded | None = None
        self.error: BaseException | None = None
        self.called = threading.Lock()
        """Held until it is done, or has to lead."""
        self.called.acquire()


class GroupCommit:
    """Records entries of many threads. ``begin_write`` opens a transaction to record them in."""

    def __init__(self, begin_write: Callable[[], AbstractContextManager[Connection]], busy_timeout_s: float) -> None:
        self._begin_write = begin_write
        self._busy_timeout_s = busy_timeout_s
        self._queue: deque[_Waiting] = deque()
        self._led = False
        self._mutex = threading.Lock()
        """Held to look at or change who waits and whether one of them leads; never while the database works."""

    def record(self, entry: Entry) -> Recorded:
        """Record one entry; returns after the commit that holds it.

        It waits at most three busy timeouts: for its group's turn, for other writers of this process, for the database.
        """
        waiting = _Waiting(entry)
        with self._mutex:
            self._queue.append(waiting)
            leads, self._led = not self._led, True
        if leads or self._must_lead(waiting):
            self._lead(waiting)
        if waiting.error is not None:
            with translate_errors():
                raise waiting.error
        assert waiting.recorded is not None
        return waiting.recorded

    def _must_lead(self, waiting: _Waiting) -> bool:
        """Wait until an entry is done, or has to be written by its own thread."""
        if not waiting.called.acquire(timeout=self._busy_timeout_s):
            with self._mutex:
                if not waiting.called.acquire(blocking=False):
                    if waiting in self._queue:  # otherwise it is taken: its fate is open, which an error allows for
                        self._queue.remove(waiting)
                    raise DatabaseError(f"the index is busy: no commit ended within {self._busy_timeout_s:g} s")
        return not waiting.done

    def _lead(self, leader: _Waiting) -> None:
        """Write the group of ``leader``, who is the first that waits, and let the next one lead."""
        group: list[_Waiting] = []
        try:
            self._write(leader, group)
        finally:
            with self._mutex:
                if self._queue:
                    self._queue[0].called.release()
                else:
                    self._led = False
            for waiting in group:
                if waiting is not leader:
                    waiting.called.release()

    def _write(self, leader: _Waiting, group: list[_Waiting]) -> None:
        try:
            with self._begin_write() as conn:
                # Taken once the lock is held, so that those who came during the wait are in it.
                self._take(group, GROUP_SIZE)
                recorded = write_entries(conn, [waiting.entry for waiting in group])
        except BaseException as error:
            if not group:  # the transaction did not begin: the others try for themselves, until their own deadline
                self._take(group, 1)
            if len(group) == 1 or concerns_the_database(error) or not isinstance(error, Exception):
                for waiting in group:
                    waiting.error, waiting.done = error, True
            else:
                self._write_singly(group)
            if not isinstance(error, Exception):
                raise
        else:
            for waiting, result in zip(group, recorded, strict=True):
                waiting.recorded, waiting.done = result, True

    def _write_singly(self, group: list[_Waiting]) -> None:
        """One entry cannot be written: it must not take the others with it."""
        for waiting in group:
            try:
                with self._begin_write() as conn:
                    (waiting.recorded,) = write_entries(conn, [waiting.entry])
            except Exception as error:  # noqa: BLE001 # the thread that waits for it raises it
                waiting.error = error
            waiting.done = True

    def _take(self, group: list[_Waiting], size: int) -> None:
        """Move the first of those that wait, the leader at their head, into ``group``."""
        with self._mutex:
            while self._queue and len(group) < size:
                group.append(self._queue.popleft())
