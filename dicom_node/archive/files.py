"""Folders and files of the archive: their modes, and what the system's refusals mean in words."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dicom_node.errors import StorageUnavailableError

FOLDER_MODE = 0o750
"""Mode of every folder the archive makes, whatever the umask: nothing for strangers."""
FILE_MODE = 0o640
"""Mode of every file the archive makes, whatever the umask: nothing for strangers, nothing executable."""

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a folder inside the archive is opened: never through a symbolic link."""

_BLOCK = 8 * 1024

_WORDS = {
    errno.ENOSPC: "the volume is full (no space or no inodes left)",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would exceed the largest size allowed",
    errno.EIO: "the volume reports an input/output error",
    errno.EROFS: "the volume is read-only",
    errno.EMFILE: "the process has too many open files",
    errno.ENFILE: "the system has too many open files",
    errno.ENOENT: "a folder of the archive is missing",
    errno.EACCES: "the permissions of the archive do not allow it",
    errno.EPERM: "the permissions of the archive do not allow it",
    errno.ESTALE: "the volume was unmounted or replaced on its server",
}


def reason(error: OSError) -> str:
    """Return why the system refused, in words for an operator, without any path."""
    if error.errno is None:
        return "the system gave no reason"
    return _WORDS.get(error.errno) or os.strerror(error.errno)


class refusals:  # noqa: N801 - read as a phrase: with refusals("open the archive")
    """Turn each refusal of the system inside the block into StorageUnavailableError: ``cannot <doing>: <reason>``."""

    __slots__ = ("_doing",)

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Word what the system said. Raises StorageUnavailableError."""
        if isinstance(error, OSError):
            raise StorageUnavailableError(f"cannot {self._doing}: {reason(error)}") from error


def new_file(name: str, folder: int) -> int:
    """Create a file that does not exist yet in an open folder; return its descriptor, open for reading and writing.

    Raises OSError, FileExistsError among them.
    """
    file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE, dir_fd=folder)
    try:
        os.fchmod(file, FILE_MODE)
    except OSError:
        os.close(file)
        os.unlink(name, dir_fd=folder)
        raise
    return file


def open_or_make(name: str, folder: int, flags: int = 0) -> int:
    """Open a file of an open folder for reading and writing, made empty if it is missing. Raises OSError."""
    try:
        return os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=folder)
    except FileNotFoundError:
        pass
    file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | flags, FILE_MODE, dir_fd=folder)
    os.fchmod(file, FILE_MODE)
    return file


def make_folder(name: str, folder: int) -> bool:
    """Create a folder in an open one unless it exists; tell whether it was made. Raises OSError."""
    try:
        os.mkdir(name, FOLDER_MODE, dir_fd=folder)
    except FileExistsError:
        return False
    os.chmod(name, FOLDER_MODE, dir_fd=folder)
    return True


def write_all(file: int, data: bytes) -> None:
    """Write all of ``data``, however little the system takes at once. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


@contextmanager
def opened_folder(name: str, folder: int) -> Iterator[int]:
    """Open a folder inside an open one for the length of the block; yield its descriptor. Raises OSError."""
    inner = os.open(name, FOLDER_FLAGS, dir_fd=folder)
    try:
        yield inner
    finally:
        os.close(inner)


def names_in(folder: int) -> list[str]:
    """Return the names in an open folder, in no order. Not from two threads on one descriptor. Raises OSError."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def discard_file(name: str, folder: int) -> None:
    """Remove a file if it is there; a refusal is let be, because whoever calls has a worse one to report."""
    with suppress(OSError):
        os.unlink(name, dir_fd=folder)


def last_line(file: int, size: int) -> tuple[bytes, int]:
    """Return the last complete line of a file of ``size`` bytes without its line end, and the offset after that.

    They are "" and 0 when there is none. Raises OSError.
    """
    tail, start = b"", size
    while start and tail.count(b"\n") < 2:
        step = min(_BLOCK, start)
        start -= step
        tail = os.pread(file, step, start) + tail
    end = tail.rfind(b"\n")
    if end < 0:
        return b"", 0
    return tail[tail.rfind(b"\n", 0, end) + 1 : end], start + end + 1
