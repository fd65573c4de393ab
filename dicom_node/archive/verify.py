"""Read kept objects again and compare them with the digests that name them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from dicom_node.archive.files import reason
from dicom_node.archive.store import LocalArchive
from dicom_node.dicom.part10 import read_meta
from dicom_node.errors import ObjectDamagedError, UnreadableInstanceError

_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a second reading of one object found."""

    digest: str
    damage: str
    """What is wrong, in a sentence; "" when the bytes are those the name promises."""


def rehash(archive: LocalArchive, digest: str) -> int:
    """Read one object's data set to its end and return its length in bytes; a megabyte at a time is held.

    Raises as ``rehashing``.
    """
    return sum(rehashing(archive, digest))


def rehashing(archive: LocalArchive, digest: str) -> Iterator[int]:
    """Read one object's data set to its end, and yield the length of each piece that was read, a megabyte or less.

    Raises ObjectMissingError, ObjectDamagedError when the object cannot be read, or no longer has the bytes its name
    promises; StorageUnavailableError when it cannot be opened.
    """
    with archive.open_object(digest) as file:
        found = sha256()
        try:
            file.seek(read_meta(file).data_set_offset, os.SEEK_SET)
            while chunk := file.read(_CHUNK):
                found.update(chunk)
                yield len(chunk)
        except OSError as error:
            raise ObjectDamagedError(f"object {digest} cannot be read to its end: {reason(error)}") from error
        except UnreadableInstanceError as error:
            raise ObjectDamagedError(f"object {digest} has no readable file meta: {error}") from error
    if found.hexdigest() != digest:
        raise ObjectDamagedError(f"object {digest} has other bytes than its name promises")


def verify_all(archive: LocalArchive) -> Iterator[Verdict]:
    """Read every object again, in the order of the digests.

    Raises StorageUnavailableError when the volume fails, as when it is unmounted meanwhile.
    """
    for digest in archive.objects():
        try:
            rehash(archive, digest)
        except ObjectDamagedError as error:
            yield Verdict(digest, str(error))
        else:
            yield Verdict(digest, "")
