"""Copies of kept objects outside the archive: the stored file byte for byte, checked on the way."""

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from dicom_node.archive.files import reason, write_all
from dicom_node.archive.store import LocalArchive
from dicom_node.dicom.part10 import read_meta
from dicom_node.errors import ObjectDamagedError, UnreadableInstanceError

COPY_MODE = 0o600
"""Mode of every copy, whatever the umask: it holds patient data, and nobody but its maker was asked for."""
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What was copied."""

    size: int
    """Bytes of the file: preamble, file meta and data set."""
    sha256: str
    """Of the file, in hex; that of its data set is the object's digest."""


def copy_object(archive: LocalArchive, digest: str, target: Path) -> Copied:
    """Copy the file of an object to a name that is free, and flush it; a megabyte at a time is held.

    What is written is what was read once and compared with the digest: a damaged object leaves no whole copy. Raises
    ObjectMissingError, ObjectDamagedError, StorageUnavailableError when it cannot be opened, and OSError for what the
    target's volume refuses.
    """
    with archive.open_object(digest) as source:
        file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, COPY_MODE)
        try:
            os.fchmod(file, COPY_MODE)
            copied = _pour(source, digest, file)
            os.fsync(file)
        except BaseException:
            target.unlink()
            raise
        finally:
            os.close(file)
    return copied


def _pour(source: BinaryIO, digest: str, file: int) -> Copied:
    of_file, of_data_set = sha256(), sha256()
    start, size = _data_set_offset(source, digest), 0
    while chunk := _read(source, digest, _CHUNK if size else start):
        of_file.update(chunk)
        if size:  # the first piece is the preamble and file meta
            of_data_set.update(chunk)
        write_all(file, chunk)
        size += len(chunk)
    if of_data_set.hexdigest() != digest:
        raise ObjectDamagedError(f"object {digest} has other bytes than its name promises")
    return Copied(size=size, sha256=of_file.hexdigest())


def _data_set_offset(source: BinaryIO, digest: str) -> int:
    try:
        offset = read_meta(source).data_set_offset
        source.seek(0)
    except UnreadableInstanceError as error:
        raise ObjectDamagedError(f"object {digest} has no readable file meta: {error}") from error
    except OSError as error:
        raise ObjectDamagedError(f"object {digest} cannot be read: {reason(error)}") from error
    return offset


def _read(source: BinaryIO, digest: str, size: int) -> bytes:
    try:
        return source.read(size)
    except OSError as error:
        raise ObjectDamagedError(f"object {digest} cannot be read to its end: {reason(error)}") from error
