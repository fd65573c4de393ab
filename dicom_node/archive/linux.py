"""Two system calls of Linux that Python has no function for; both let other threads run meanwhile."""

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syncfs.argtypes = [ctypes.c_int]
_LIBC.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]

_WRITE = 2  # SYNC_FILE_RANGE_WRITE


def sync_filesystem(fd: int) -> None:
    """Write everything that was done to the file system of an open file, and wait for it: syncfs(2).

    Names made and removed in any folder are included. Raises OSError.
    """
    if _LIBC.syncfs(fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def begin_writing(fd: int, offset: int, length: int) -> None:
    """Have the system begin to write a range of a file, without waiting for it: sync_file_range(2).

    A hint that makes the later flush short: it promises nothing, and a file system that cannot do it loses nothing, so
    errors are let be.
    """
    _LIBC.sync_file_range(fd, offset, length, _WRITE)
