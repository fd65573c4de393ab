"""How many may be connected at once, counted for all receiving processes of a node together.

Each connection holds a place in a table of memory that the processes share. The system gives a lock on it back when a
process dies, and whoever supervises the processes then clears the places that the dead one held.
"""

import fcntl
import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

_ASSOCIATION = 0x80
"""In the state of a place, beside its owner: the connection is an association. A free place is 0."""
_NO_ASSOCIATION = bytes(range(_ASSOCIATION))


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How many may be connected at once."""

    associations: int = 32
    connections: int = 128
    """Connections that have not closed yet, associations included."""
    connections_per_address: int = 64


def make_table(capacity: Capacity) -> int:
    """Make an empty table; return its file descriptor, to be closed by the caller. Raises OSError."""
    file = os.memfd_create("dicom-node-places", os.MFD_CLOEXEC)
    os.ftruncate(file, 9 * capacity.connections)
    return file


class Places:
    """One process's way to the table. Safe to use from many threads."""

    def __init__(self, capacity: Capacity, file: int, owner: int = 1, owners: int = 1) -> None:
        """Map the table ``file`` made for this capacity, as process number ``owner`` of 1 to ``owners``, 127 at most.

        The lock on the file is this process's: no other descriptor of it may be closed while this is in use.
        """
        self._capacity = capacity
        self._file = file
        self._owner = owner
        self._others = [each for each in range(1, owners + 1) if each != owner]
        self._size = capacity.connections
        # A byte of state for each place, then eight of the address.
        self._memory = mmap.mmap(file, 9 * self._size)
        self._addresses = memoryview(self._memory)[self._size :].cast("Q")
        self._threads = threading.Lock()

    @classmethod
    def alone(cls, capacity: Capacity) -> Self:
        """Make a table for a node of one process."""
        return cls(capacity, make_table(capacity))

    @property
    def associations(self) -> int:
        """Number of associations of all processes."""
        return len(self._states().translate(None, _NO_ASSOCIATION))

    @property
    def is_ahead(self) -> bool:
        """Tell whether another process has fewer connections than this one."""
        states = self._states()

        def held(owner: int) -> int:
            return states.count(owner) + states.count(owner | _ASSOCIATION)

        mine = held(self._owner)
        return any(held(other) < mine for other in self._others)

    def take(self, address: str) -> int | None:
        """Take a place for a connection from ``address``; None when there are too many in all, or from there."""
        key = int.from_bytes(blake2b(address.encode(), digest_size=8).digest()) or 1
        with self._locked():
            place = self._states().find(0)
            if place < 0 or self._addresses.tolist().count(key) >= self._capacity.connections_per_address:
                return None
            # In this order a process that dies in between leaves nothing that could not be told to be its own.
            self._memory[place] = self._owner
            self._addresses[place] = key
            return place

    def promote(self, place: int) -> bool:
        """Make the connection at a place an association, unless there are too many; tell whether it is one."""
        with self._locked():
            if self.associations >= self._capacity.associations:
                return False
            self._memory[place] = self._owner | _ASSOCIATION
            return True

    def leave(self, place: int) -> None:
        """Free a place."""
        with self._locked():
            self._clear(place)

    def vacate(self, owner: int) -> None:
        """Free every place of a process that has died."""
        with self._locked():
            for place, state in enumerate(self._states()):
                if state & ~_ASSOCIATION == owner:
                    self._clear(place)

    def _clear(self, place: int) -> None:
        self._addresses[place] = 0
        self._memory[place] = 0

    def _states(self) -> bytes:
        return self._memory[: self._size]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # The file's lock belongs to the process, so its threads need one of their own.
        with self._threads:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)
