"""Files that are being received: each process has its own folder of them, and none outlives its association.

A process holds a lock on its folder for as long as it lives, so that any other one can tell the folders of dead
processes and remove them, also while a node is running.
"""

import fcntl
import itertools
import os
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import BinaryIO, Self

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
ROOM_EVERY = 16 * 1024 * 1024
"""Bytes of one incoming file between two looks at the free space."""
_VIEWS_AT_ONCE = 1024  # IOV_MAX on Linux

log = get_logger(__name__)


class Incoming:
    """One instance on its way in: a file in the spool, with the digest of its data set taken as the bytes pass.

    Leaves nothing behind: the file is removed by ``discard``, at the end of a ``with`` block, and at once by any
    error while writing. For one thread at a time.
    """

    def __init__(self, volume: Volume, folder: int, name: str, head: bytes) -> None:
        """Create the file and write ``head``, the preamble and file meta. Raises StorageUnavailableError."""
        self.size = 0
        """Bytes of the data set so far."""
        self._volume = volume
        self._folder = folder
        self._name = name
        self._hash = sha256()
        self._start = len(head)
        self._room_at = ROOM_EVERY
        with refusals("create a spool file"):
            self._file = new_file(name, folder)
        self._write([memoryview(head)])

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Discard what was not kept."""
        self.discard()

    @property
    def digest(self) -> str:
        """SHA-256 of the data set bytes so far, in hex."""
        return self._hash.hexdigest()

    def write(self, *buffers: bytes | bytearray | memoryview) -> None:
        """Append data set bytes.

        Raises StorageUnavailableError when the volume refuses or its reserve is reached; the file is gone then, and
        every later write is refused too.
        """
        self._check_open()
        views = [memoryview(buffer).cast("B") for buffer in buffers if len(buffer)]
        added = sum(view.nbytes for view in views)
        if self.size + added >= self._room_at:
            self._room_at = self.size + added + ROOM_EVERY
            try:
                self._volume.check_room()
            except StorageUnavailableError:
                self.discard()
                raise
        for at in range(0, len(views), _VIEWS_AT_ONCE):
            self._write(views[at : at + _VIEWS_AT_ONCE])
        for view in views:
            self._hash.update(view)
        self.size += added

    def reader(self) -> tuple[BinaryIO, int, int]:
        """Return the file opened for reading, the offset of the data set in it, and the data set's length so far.

        The caller closes it. Raises StorageUnavailableError.
        """
        with refusals("read a spool file"):
            file = os.open(self._name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder)
        return os.fdopen(file, "rb"), self._start, self.size

    def discard(self) -> None:
        """Close and remove the file; once kept, only the spool's name of it goes. Calling it again does nothing."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
            discard_file(self._name, self._folder)

    def flush(self) -> None:
        """Make the bytes durable. Raises StorageUnavailableError; a volume that fails here is no longer trusted."""
        self._check_open()
        self._volume.flush(self._file)

    def link(self, name: str, folder: int) -> None:
        """Give the file a second name in an open folder. Raises OSError; FileExistsError when the name is taken."""
        os.link(self._name, name, src_dir_fd=self._folder, dst_dir_fd=folder, follow_symlinks=False)

    def replace(self, name: str, folder: int) -> None:
        """Move the file to a name in an open folder, in the place of any file of that name. Raises OSError."""
        os.replace(self._name, name, src_dir_fd=self._folder, dst_dir_fd=folder)

    def _check_open(self) -> None:
        if self._file < 0:
            raise StorageUnavailableError("the spool file is gone: it was kept or discarded before")

    def _write(self, views: list[memoryview]) -> None:
        try:
            while views:
                written = os.writev(self._file, views)
                while views and written >= views[0].nbytes:
                    written -= views.pop(0).nbytes
                if views:
                    views[0] = views[0][written:]
        except OSError as error:
            self.discard()
            raise StorageUnavailableError(f"cannot write a spool file: {reason(error)}") from error


class Spool:
    """The spool folder of one process, made when the first instance comes. Safe to use from many threads."""

    def __init__(self, volume: Volume) -> None:
        """Use the spool under the volume's root; nothing is made yet."""
        self._volume = volume
        self._names = itertools.count(1)
        self._making = threading.Lock()
        self._name = ""
        self._folder = -1
        self._life = -1

    def incoming(self, head: bytes) -> Incoming:
        """Begin an incoming file with the preamble and file meta ``head``. Raises StorageUnavailableError."""
        with self._making:
            if self._folder < 0:
                with refusals("make a spool folder"):
                    self._make()
        return Incoming(self._volume, self._folder, f"{next(self._names)}.part", head)

    def sweep(self) -> int:
        """Remove the folders of dead processes; return how many. Raises StorageUnavailableError."""
        with refusals("sweep the spool"), opened_folder(SPOOL, self._volume.fd) as spool, _locked(spool):
            swept = sum(_remove_if_dead(name, spool) for name in names_in(spool) if name != LOCK)
        if swept:
            log.info("spool.swept", count=swept)
        return swept

    def close(self) -> None:
        """Remove this process's folder with whatever is in it. Only after the last association has ended."""
        with self._making:
            if self._folder < 0:
                return
            try:
                _empty(self._folder)
                os.rmdir(f"{SPOOL}/{self._name}", dir_fd=self._volume.fd)
            except OSError as error:
                log.warning("spool.not_swept", reason=reason(error))
            os.close(self._folder)
            os.close(self._life)
            self._folder = self._life = -1

    def _make(self) -> None:
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        with opened_folder(SPOOL, self._volume.fd) as spool, _locked(spool):
            make_folder(name, spool)
            folder = os.open(name, FOLDER_FLAGS, dir_fd=spool)
            try:
                life = new_file(LOCK, folder)
            except OSError:
                os.close(folder)
                os.rmdir(name, dir_fd=spool)
                raise
            fcntl.flock(life, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._name, self._folder, self._life = name, folder, life


def _remove_if_dead(name: str, spool: int) -> bool:
    """Remove one entry of the spool unless a living process holds it; tell whether it was a dead process's folder."""
    try:
        if not stat.S_ISDIR(os.stat(name, dir_fd=spool, follow_symlinks=False).st_mode):
            discard_file(name, spool)
            return False
        with opened_folder(name, spool) as folder:
            if _is_held(folder):
                return False
            _empty(folder)
            os.rmdir(name, dir_fd=spool)
    except FileNotFoundError:
        return False  # its process is closing just now and was faster
    except OSError as error:
        log.warning("spool.not_swept", reason=reason(error))
        return False
    return True


def _is_held(folder: int) -> bool:
    try:
        life = os.open(LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return False  # its process died while it made the folder
    try:
        fcntl.flock(life, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(life)
    return False


def _empty(folder: int) -> None:
    for name in names_in(folder):
        os.unlink(name, dir_fd=folder)


@contextmanager
def _locked(spool: int) -> Iterator[None]:
    """Hold the spool's lock, so that no half-made folder is taken for a dead one."""
    lock = open_or_make(LOCK, spool)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
