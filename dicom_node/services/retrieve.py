"""Retrieve instances: which ones are wanted, and the bytes of each, never others than were stored."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO

from dicom_node.archive.files import reason
from dicom_node.archive.store import LocalArchive
from dicom_node.dicom.part10 import read_meta
from dicom_node.dicom.retrieve import Retrieval
from dicom_node.errors import ObjectDamagedError, StorageUnavailableError, UnreadableInstanceError
from dicom_node.index.engine import Index
from dicom_node.index.retrieve import Selected, select_instances
from dicom_node.logs import get_logger

log = get_logger(__name__)

PIECE = 256 * 1024
"""Bytes of a data set handed out at a time."""

_CHECKED = 1024 * 1024
"""Bytes that are checked at a time, and up to which an instance is held: about a millisecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrieveService:
    """Instances of the index with their bytes from the archive."""

    index: Index
    archive: LocalArchive

    def select(self, retrieval: Retrieval) -> Iterator[list[Selected]]:
        """Yield the instances that are wanted, in parts and in order. Raises DatabaseError."""
        return select_instances(self.index, retrieval)

    def read(self, selected: Selected) -> Iterator[bytes]:
        """Yield the data set in pieces: exactly the ``size`` bytes that were stored.

        The whole object is read and compared with its digest before the first piece; b"" is yielded meanwhile, so that
        the caller can look around. A small one is handed out from memory, a larger one is read once more from the file
        that is still open.

        Raises ObjectDamagedError when the object is missing, unreadable or changed, StorageUnavailableError when it
        cannot be opened: before the first piece as a rule, and else in the place of the rest.
        """
        try:
            with self.archive.open_object(selected.digest) as file:
                yield from _checked(file, selected)
        except ObjectDamagedError as error:
            log.error("object.damaged", digest=selected.digest, sop_uid=selected.sop_instance_uid, reason=str(error))
            raise
        except StorageUnavailableError as error:
            log.error("object.unreadable", digest=selected.digest, sop_uid=selected.sop_instance_uid, reason=str(error))
            raise


def _checked(file: BinaryIO, selected: Selected) -> Iterator[bytes]:
    try:
        yield from _pieces(file, selected)
    except OSError as error:
        raise ObjectDamagedError(f"object {selected.digest} cannot be read to its end: {reason(error)}") from error
    except UnreadableInstanceError as error:
        raise ObjectDamagedError(f"object {selected.digest} has no readable file meta: {error}") from error


def _pieces(file: BinaryIO, selected: Selected) -> Iterator[bytes]:
    start, end = read_meta(file).data_set_offset, file.seek(0, os.SEEK_END)
    file.seek(start)
    if end - start != selected.size:
        raise ObjectDamagedError(f"object {selected.digest} has {end - start} bytes instead of {selected.size}")
    found, left = sha256(), selected.size
    data = b""
    while left:
        data = file.read(min(left, _CHECKED))
        if not data:
            raise ObjectDamagedError(f"object {selected.digest} is cut short")
        found.update(data)
        left -= len(data)
        if left:
            yield b""
    if found.hexdigest() != selected.digest:
        raise ObjectDamagedError(f"object {selected.digest} has other bytes than its name promises")
    if len(data) == selected.size:
        yield from (data[at : at + PIECE] for at in range(0, len(data), PIECE))
        return
    del data
    file.seek(start)
    left = selected.size
    while left:
        data = file.read(min(left, PIECE))
        if not data:
            raise ObjectDamagedError(f"object {selected.digest} is cut short")
        left -= len(data)
        yield data
