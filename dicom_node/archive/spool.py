"""Slots for what is being received: files made ahead, whose names are durable before anything is written to them.

An instance costs one flush: that of its own bytes, in a slot whose name a power cut cannot take. The name it gets among
the objects is made durable later, together with many others, and only then is the slot's name given up. Until then the
slot is what survives: at the next start every sealed slot of a dead process becomes an object (`salvage`).

Each process has a folder of its own, and holds a lock on it for as long as it lives, so that any other one can tell the
folders of dead processes, also while a node is running.
"""

import fcntl
import itertools
import os
import secrets
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from dicom_node.archive.files import (
    FOLDER_FLAGS,
    discard_file,
    make_folder,
    names_in,
    new_file,
    open_or_make,
    opened_folder,
    reason,
    refusals,
)
from dicom_node.archive.space import SPOOL, Volume
from dicom_node.errors import StorageUnavailableError
from dicom_node.logs import get_logger

LOCK = "lock"
"""In the spool: held while a folder is made or dead ones are swept. In a process's folder: held while it lives."""
MOST_READY = 128
"""Slots that wait for an instance at most: twice what the busiest node uses while one flush lasts."""
SETTLE_AFTER = 0.5
"""Seconds that a kept slot waits for others to be settled with."""
RETRY_AFTER = 1.0
"""Seconds until slots are made again after the volume refused."""

log = get_logger(__name__)


@dataclass(slots=True)
class Slot:
    """A file of the spool, by its name in the process's folder and as opened for reading and writing."""

    name: str
    file: int


class Spool:
    """The spool folder of one process, made when the first instance comes. Safe to use from many threads.

    A thread of its own settles what was kept and makes new slots, both with one flush of the volume.
    """

    def __init__(self, volume: Volume) -> None:
        """Use the spool under the volume's root; nothing is made yet."""
        self.volume = volume
        self.digesters = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="digest")
        """Threads that are lent to what is being received, to take its digest beside it."""
        self._names = itertools.count(1)
        self._turn = threading.Condition()
        self._ready: deque[Slot] = deque()
        self._wanted = 2  # doubled whenever it was too few
        self._kept: list[tuple[str, int]] = []  # names of slots, with the volume's failures when they were flushed
        self._kept_since = 0.0
        self._stuck = False
        self._name = ""
        self._folder = -1
        self._life = -1
        self._keeper: threading.Thread | None = None
        self._closing = False

    @property
    def folder(self) -> int:
        """The process's folder, open."""
        return self._folder

    def take(self) -> Slot:
        """Return an empty slot with a durable name. Raises StorageUnavailableError."""
        with self._turn:
            if self._folder < 0:
                with refusals("make a spool folder"):
                    self._open()
            slot = self._ready.popleft() if self._ready else None
            if slot is None:
                self._wanted = min(2 * self._wanted, MOST_READY)
            if 2 * len(self._ready) < self._wanted:
                self._turn.notify()
        return slot or self._make_one()

    def settle(self, slot: Slot, failures: int) -> None:
        """Give a slot up once its other name, among the objects, is durable.

        ``failures`` is the volume's count from before the slot was flushed: should a flush fail in the meantime, the
        slot stays for the next start, since the other name may be in memory only.
        """
        os.close(slot.file)
        with self._turn:
            if not self._kept:
                self._kept_since = monotonic()
                self._turn.notify()
            self._kept.append((slot.name, failures))

    def drop(self, slot: Slot) -> None:
        """Remove a slot with whatever is in it."""
        os.close(slot.file)
        discard_file(slot.name, self._folder)

    def close(self) -> None:
        """Settle what was kept and remove the folder. Only after the last association has ended."""
        with self._turn:
            if self._folder < 0:
                return
            self._closing = True
            self._turn.notify()
        self.digesters.shutdown()
        if self._keeper is not None:
            self._keeper.join()
        try:
            self._settle(make=False)
        except StorageUnavailableError as error:
            log.warning("spool.not_settled", reason=str(error))
        while self._ready:
            self.drop(self._ready.popleft())
        try:
            if not self._stuck:
                for name in names_in(self._folder):
                    os.unlink(name, dir_fd=self._folder)
                os.rmdir(f"{SPOOL}/{self._name}", dir_fd=self.volume.fd)
        except OSError as error:
            log.warning("spool.not_swept", reason=reason(error))
        os.close(self._folder)
        os.close(self._life)
        self._folder = self._life = -1

    def _open(self) -> None:
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        with opened_folder(SPOOL, self.volume.fd) as spool, spool_lock(spool):
            make_folder(name, spool)
            folder = os.open(name, FOLDER_FLAGS, dir_fd=spool)
            try:
                life = new_file(LOCK, folder)
                os.fsync(spool)
            except OSError:
                os.close(folder)
                discard_file(f"{name}/{LOCK}", spool)
                os.rmdir(name, dir_fd=spool)
                raise
            fcntl.flock(life, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._name, self._folder, self._life = name, folder, life
        self._closing = False
        self._keeper = threading.Thread(target=self._keep, name="spool", daemon=True)
        self._keeper.start()

    def _make_one(self) -> Slot:
        """Make a slot while its instance waits."""
        with refusals("create a spool file"):
            slot = self._make()
        try:
            self.volume.flush(self._folder)
        except StorageUnavailableError:
            self.drop(slot)
            raise
        return slot

    def _make(self) -> Slot:
        name = f"{next(self._names)}.part"
        return Slot(name, new_file(name, self._folder))

    # The keeper's thread.

    def _keep(self) -> None:
        while self._wait():
            try:
                self._settle()
            except StorageUnavailableError as error:
                log.warning("spool.not_settled", reason=str(error))
                with self._turn:
                    self._turn.wait_for(lambda: self._closing, RETRY_AFTER)

    def _wait(self) -> bool:
        """Wait until there is something to do; return False when the spool closes."""
        with self._turn:
            while not self._closing and 2 * len(self._ready) >= self._wanted:
                patience = self._kept_since + SETTLE_AFTER - monotonic() if self._kept else None
                if patience is not None and patience <= 0:
                    break
                self._turn.wait(patience)
            return not self._closing

    def _settle(self, *, make: bool = True) -> None:
        """Flush the volume once, for the new names of what was kept and for those of new slots."""
        with self._turn:
            kept, self._kept = self._kept, []
            lacking = self._wanted - len(self._ready) if make else 0
        made: list[Slot] = []
        refused: OSError | None = None
        try:
            made.extend(self._make() for _ in range(lacking))
        except OSError as error:  # a full volume must not keep the others from being settled
            refused = error
        try:
            if kept or made:
                self.volume.check_trusted()
                self.volume.flush_all()
        except StorageUnavailableError:
            for slot in made:
                self.drop(slot)
            self._stuck = self._stuck or bool(kept)
            raise
        with self._turn:
            self._ready.extend(made)
        for name, failures in kept:
            if failures == self.volume.failures:
                discard_file(name, self._folder)
            else:
                self._stuck = True
        if refused is not None:
            raise StorageUnavailableError(f"cannot create a spool file: {reason(refused)}") from refused


@contextmanager
def spool_lock(spool: int) -> Iterator[None]:
    """Hold the lock of the open spool folder, so that no half-made folder is taken for a dead one."""
    lock = open_or_make(LOCK, spool)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
