"""How many may be connected at once, counted for all receiving processes of a node together.

Each connection holds a place in a table of memory that the processes share. The system gives a lock on it back when a
process dies, and whoever supervises the processes then clears the places that the dead one held.

A share of the places is kept for those who bring instances: nobody else gets one of the last, and of those who do only
who holds few. So neither strangers, nor a peer's queries, nor some devices gone wild can shut out a unit.
"""

import fcntl
import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Self

_ASSOCIATION = 0x80
"""In the state of a place, beside its owner: the connection is an association. A free place is 0."""
_NO_ASSOCIATION = bytes(range(_ASSOCIATION))


_PLACE = 17
"""Bytes of a place: one of state, eight for the address, eight for the AE title."""

FEW = 4
"""Places that one address may hold and still get one of the kept ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How many may be connected at once."""

    associations: int = 256
    associations_per_address: int = 50
    associations_per_ae_title: int = 50
    connections: int = 512
    """Connections that have not closed yet, associations included."""
    connections_per_address: int = 64
    kept: int = 50
    """Percent of all connections and of all associations that are kept for those who bring instances."""
    patience: float = 2.0
    """Seconds that an association request waits for a place."""


class Full(StrEnum):
    """Why there is no place, in words that follow "too many connections" or "too many associations"."""

    IN_ALL = "at once"
    OF_ADDRESS = "from its address at once"
    OF_AE_TITLE = "of its AE title at once"


def make_table(capacity: Capacity) -> int:
    """Make an empty table; return its file descriptor, to be closed by the caller. Raises OSError."""
    file = os.memfd_create("dicom-node-places", os.MFD_CLOEXEC)
    os.ftruncate(file, _PLACE * capacity.connections)
    return file


class Places:
    """One process's way to the table. Safe to use from many threads."""

    def __init__(self, capacity: Capacity, file: int, owner: int = 1, owners: int = 1) -> None:
        """Map the table ``file`` made for this capacity, as process number ``owner`` of 1 to ``owners``, 127 at most.

        The lock on the file is this process's: no other descriptor of it may be closed while this is in use.
        """
        self.capacity = capacity
        self._file = file
        self._owner = owner
        self._others = [each for each in range(1, owners + 1) if each != owner]
        self._size = capacity.connections
        # The states of all places, then the addresses, then the AE titles of those that are associations.
        self._memory = mmap.mmap(file, _PLACE * self._size)
        keys = memoryview(self._memory)[self._size :].cast("Q")
        self._addresses, self._ae_titles = keys[: self._size], keys[self._size :]
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
        """Tell whether another process has fewer connections than this one, by more than an eighth of many."""
        states = self._states()

        def held(owner: int) -> int:
            return states.count(owner) + states.count(owner | _ASSOCIATION)

        mine = held(self._owner)
        return any(held(other) < mine - mine // 8 for other in self._others)

    def take(self, address: str, *, brings: bool) -> int | Full:
        """Take a place for a connection from ``address``, or say why there is none.

        ``brings`` tells that a caller from there may bring instances.
        """
        key = _key(address)
        if full := self._is_full(key, brings=brings):  # in a flood most are turned away without the lock
            return full
        with self._locked():
            if full := self._is_full(key, brings=brings):
                return full
            place = self._states().find(0)
            # In this order a process that dies in between leaves nothing that could not be told to be its own.
            self._memory[place] = self._owner
            self._addresses[place] = key
            return place

    def _is_full(self, address: int, *, brings: bool) -> Full | None:
        from_there = self._addresses.tolist().count(address)
        if from_there >= self.capacity.connections_per_address:
            return Full.OF_ADDRESS
        if self._is_room(self._size, self._states().count(0), kept=not brings or from_there >= FEW):
            return None
        return Full.IN_ALL

    def promote(self, place: int, ae_title: str, *, brings: bool) -> Full | None:
        """Make the connection at a place an association of ``ae_title``, or say why it cannot be one.

        ``brings`` tells that the caller may bring instances.
        """
        capacity, key = self.capacity, _key(ae_title)
        with self._locked():
            address, states = self._addresses[place], self._states()
            addresses = self._addresses.tolist()
            from_there = sum(
                other == address and state & _ASSOCIATION > 0 for other, state in zip(addresses, states, strict=True)
            )
            if from_there >= capacity.associations_per_address:
                return Full.OF_ADDRESS
            if self._ae_titles.tolist().count(key) >= capacity.associations_per_ae_title:
                return Full.OF_AE_TITLE
            free = capacity.associations - self.associations
            if not self._is_room(capacity.associations, free, kept=not brings or from_there >= FEW):
                return Full.IN_ALL
            self._memory[place] = self._owner | _ASSOCIATION
            self._ae_titles[place] = key
            return None

    def _is_room(self, total: int, free: int, *, kept: bool) -> bool:
        """Tell whether one of ``free`` places may be taken by somebody for whom the kept ones are ``kept`` back."""
        return free > (total * self.capacity.kept // 100 if kept else 0)

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
        self._addresses[place] = self._ae_titles[place] = 0
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


def _key(text: str) -> int:
    """Return a number for an address or an AE title that nobody can aim at another's."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) or 1
