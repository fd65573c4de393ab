"""One instance on its way in: its bytes go to a slot of the spool, and it is sealed when the last one is here."""

import os
from typing import Self

from dicom_node.archive import linux
from dicom_node.archive.digest import RunningDigest
from dicom_node.archive.files import reason, refusals
from dicom_node.archive.spool import Slot, Spool
from dicom_node.dicom.part10 import Seal, sealed
from dicom_node.errors import StorageUnavailableError

ROOM_EVERY = 16 * 1024 * 1024
"""Bytes of one incoming file between two looks at the free space."""
WRITE_EVERY = 1024 * 1024
"""Bytes after which the system is asked to begin to write them, so that the last flush has little left to do."""
KEPT_IN_MEMORY = 16 * 1024
"""Bytes of the data set's beginning that are kept: a header seldom has more."""
_VIEWS_AT_ONCE = 1024  # IOV_MAX on Linux


class Incoming:
    """One instance on its way in: a slot of the spool, with the digest of its data set taken as the bytes pass.

    The preamble and file meta are written last, with the seal in them: a file that begins with them is whole, or was
    torn by a power cut, which the digest in the seal tells. Until then the file is nothing that anybody would read.

    Leaves nothing behind: the slot is given up by ``discard``, at the end of a ``with`` block, and at once by any
    error while writing. For one thread at a time.
    """

    def __init__(self, spool: Spool, head: bytes) -> None:
        """Take a slot for an instance with the unsealed preamble and file meta ``head``.

        Raises StorageUnavailableError.
        """
        self.size = 0
        """Bytes of the data set so far."""
        self._spool = spool
        self._volume = spool.volume
        self._head = head
        self._start = len(head)
        self._beginning = b""
        self._room_at = ROOM_EVERY
        self._writing_from = 0
        self._slot: Slot | None = spool.take()
        self._digest = RunningDigest(self._slot.file, self._start, spool.digesters)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Discard what was not kept."""
        self.discard()

    def write(self, *buffers: bytes | bytearray | memoryview) -> None:
        """Append data set bytes.

        Raises StorageUnavailableError when the volume refuses or its reserve is reached; the file is gone then, and
        every later write is refused too.
        """
        slot = self._held()
        views = [memoryview(buffer).cast("B") for buffer in buffers if len(buffer)]
        added = sum(view.nbytes for view in views)
        end = self.size + added
        if end >= self._room_at:
            self._room_at = end + ROOM_EVERY
            try:
                self._volume.check_room()
            except StorageUnavailableError:
                self.discard()
                raise
        at = self._start + self.size
        for first in range(0, len(views), _VIEWS_AT_ONCE):
            at = self._write(slot, views[first : first + _VIEWS_AT_ONCE], at)
        if self.size < KEPT_IN_MEMORY:
            for view in views:
                self._beginning += view[: KEPT_IN_MEMORY - len(self._beginning)]
        self.size = end
        with refusals("read a spool file"):
            self._digest.add(views, end)
        if end - self._writing_from >= WRITE_EVERY:
            linux.begin_writing(slot.file, self._start + self._writing_from, end - self._writing_from)
            self._writing_from = end

    @property
    def name(self) -> str:
        """Name of the file in the spool's folder. Raises StorageUnavailableError when there is none any more."""
        return self._held().name

    @property
    def beginning(self) -> bytes:
        """The first bytes of the data set, ``KEPT_IN_MEMORY`` of them or all there are."""
        return self._beginning

    def read_at(self, offset: int, size: int) -> bytes:
        """Return bytes of the data set from an offset on, fewer at its end. Raises StorageUnavailableError."""
        with refusals("read a spool file"):
            return os.pread(self._held().file, size, self._start + offset)

    def seal(self) -> Seal:
        """Write what stands before the data set and make the file durable.

        Raises StorageUnavailableError; a volume that fails here is no longer trusted.
        """
        slot = self._held()
        with refusals("read a spool file"):
            seal = Seal(self.size, self._digest.hexdigest())
        self._write(slot, [memoryview(sealed(self._head, seal))], 0)
        self._volume.flush_data(slot.file)
        return seal

    def hand_over(self) -> Slot:
        """Return the slot of a sealed instance: from here on it is the caller's to settle or to drop."""
        slot = self._held()
        self._slot = None
        return slot

    def discard(self) -> None:
        """Remove the file. Does nothing when it was handed over or discarded before."""
        slot, self._slot = self._slot, None
        if slot is not None:
            self._digest.stop()
            self._spool.drop(slot)

    def _held(self) -> Slot:
        if self._slot is None:
            raise StorageUnavailableError("the spool file is gone: it was kept or discarded before")
        return self._slot

    def _write(self, slot: Slot, views: list[memoryview], at: int) -> int:
        """Write at an offset, however little the system takes at once; return the offset behind it."""
        try:
            while views:
                written = os.pwritev(slot.file, views, at)
                at += written
                while views and written >= views[0].nbytes:
                    written -= views.pop(0).nbytes
                if views:
                    views[0] = views[0][written:]
        except OSError as error:
            self.discard()
            raise StorageUnavailableError(f"cannot write a spool file: {reason(error)}") from error
        return at
