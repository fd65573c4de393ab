"""The SHA-256 of a file that is still being written, taken beside the writing once the file is large.

Taking a digest costs as much processor time as receiving and writing the same bytes. A small instance is digested as it
passes; of a larger one another thread reads back what was written, from memory as a rule, so that a second core can do
its part. What is left when the last byte has come is taken at once.
"""

import os
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from hashlib import sha256

BESIDE_FROM = 4 * 1024 * 1024
"""Bytes up to which a file is digested as it passes."""
_PIECE = 256 * 1024


class RunningDigest:
    """The digest of what is written to an open file from an offset on. For one thread at a time."""

    def __init__(self, file: int, start: int, others: Executor) -> None:
        """Begin at offset ``start`` of the file; ``others`` lends threads."""
        self._file = file
        self._start = start
        self._others = others
        self._hash = sha256()
        self._done = 0
        self._written = 0
        self._task: Future[None] | None = None

    def add(self, views: Sequence[memoryview], end: int) -> None:
        """Take note of what was written: ``end`` bytes from the start by now, the last of them ``views``."""
        self._written = end
        if self._task is None and end <= BESIDE_FROM:
            for view in views:
                self._hash.update(view)
            self._done = end
        elif end - self._done >= _PIECE and (self._task is None or self._task.done()):
            self._rest()
            self._task = self._others.submit(self._catch_up, _PIECE)

    def hexdigest(self) -> str:
        """Return the digest of everything written, in hex. Raises OSError when it cannot be read back."""
        self._rest()
        self._catch_up(1)
        return self._hash.hexdigest()

    def stop(self) -> None:
        """Leave the file alone from now on."""
        self._written = 0
        if self._task is not None:
            self._task.exception()

    def _rest(self) -> None:
        if self._task is not None:
            self._task.result()

    def _catch_up(self, worth: int) -> None:
        """Digest what was written, also what comes meanwhile, while at least ``worth`` bytes of it are left."""
        buffer = bytearray(_PIECE)
        view = memoryview(buffer)
        while self._written - self._done >= worth:
            size = os.preadv(self._file, [view[: self._written - self._done]], self._start + self._done)
            if size == 0:
                raise OSError("the file is shorter than what was written to it")
            self._hash.update(view[:size])
            self._done += size
