"""One durable commit for all who wait for one.

A commit waits for the disk far longer than its rows take to write. So whoever gets the lead writes the entries of all
that wait, in one transaction, while those who come in the meantime form the next group. No thread of its own is needed.
"""

import contextlib
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

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.done = False
        self.recorded: Recorded | None = None
        self.error: BaseException | None = None


class GroupCommit:
    """Records entries of many threads. ``begin_write`` opens the write transaction of the index."""

    def __init__(self, begin_write: Callable[[], AbstractContextManager[Connection]], busy_timeout_s: float) -> None:
        self._begin_write = begin_write
        self._busy_timeout_s = busy_timeout_s
        self._queue: deque[_Waiting] = deque()
        self._lead = threading.Lock()

    def record(self, entry: Entry) -> Recorded:
        """Record one entry; returns after the commit that holds it.

        It waits at most three busy timeouts: for the lead, for other writers of this process, for the database.
        """
        waiting = _Waiting(entry)
        self._queue.append(waiting)
        if not self._lead.acquire(timeout=self._busy_timeout_s):
            with contextlib.suppress(ValueError):  # taken already: its fate is open, which an error allows for
                self._queue.remove(waiting)
            raise DatabaseError(f"the index is busy: no commit ended within {self._busy_timeout_s:g} s")
        try:
            while not waiting.done:
                self._commit_group(waiting)
        finally:
            self._lead.release()
        if waiting.error is not None:
            with translate_errors():
                raise waiting.error
        assert waiting.recorded is not None
        return waiting.recorded

    def _commit_group(self, leader: _Waiting) -> None:
        group: list[_Waiting] = []
        try:
            with self._begin_write() as conn:
                # Taken once the lock is held, so that those who came during the wait are in it.
                group = self._take()
                recorded = write_entries(conn, [waiting.entry for waiting in group])
        except BaseException as error:
            if not group:  # the transaction did not begin: the others try for themselves, until their own deadline
                self._queue.remove(leader)
                group = [leader]
            if len(group) == 1 or concerns_the_database(error) or not isinstance(error, Exception):
                for waiting in group:
                    waiting.error, waiting.done = error, True
            else:
                self._commit_singly(group)
            if not isinstance(error, Exception):
                raise
        else:
            for waiting, result in zip(group, recorded, strict=True):
                waiting.recorded, waiting.done = result, True

    def _commit_singly(self, group: list[_Waiting]) -> None:
        """One entry cannot be written: it must not take the others with it."""
        for waiting in group:
            try:
                with self._begin_write() as conn:
                    (waiting.recorded,) = write_entries(conn, [waiting.entry])
            except Exception as error:  # noqa: BLE001 # the thread that waits for it raises it
                waiting.error = error
            waiting.done = True

    def _take(self) -> list[_Waiting]:
        return [self._queue.popleft() for _ in range(min(len(self._queue), GROUP_SIZE))]
