"""What a crash may have left between two steps, put right at the start."""

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from dicom_node.archive.store import SHELVES, LocalArchive
from dicom_node.dicom.facts import Provenance, ReadInstance
from dicom_node.dicom.header import read_instance
from dicom_node.dicom.part10 import Meta, read_meta
from dicom_node.errors import ObjectDamagedError, UnreadableInstanceError
from dicom_node.index.contents import digests_on
from dicom_node.index.engine import Index
from dicom_node.logs import get_logger
from dicom_node.services.ingest import Indexer, Stored

log = get_logger(__name__)

REPORTED = 20
"""Missing objects named in the log one by one; the rest are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What recovery found."""

    indexed: int
    """Objects that had no row and have one now."""
    missing: int
    """Rows whose object is gone."""
    unreadable: int
    """Objects that have no row and cannot be read."""


def read_object(archive: LocalArchive, digest: str) -> tuple[ReadInstance, Provenance, int]:
    """Read what an object is and how it came, from its file alone; the size is that of its data set in bytes.

    Raises ObjectDamagedError when the file is gone or cannot be read, StorageUnavailableError.
    """
    with archive.open_object(digest) as file, _damage(digest):
        meta, provenance = _own_meta(file)
        size = file.seek(0, os.SEEK_END) - meta.data_set_offset
        read = read_instance(file, meta.data_set_offset, size, meta.transfer_syntax_uid, provenance)
    return read, provenance, size


def index_object(archive: LocalArchive, indexer: Indexer, digest: str) -> Stored:
    """Index an object from its file alone, as the way in did or would have.

    Raises as ``read_object``, and DatabaseError.
    """
    read, provenance, size = read_object(archive, digest)
    return indexer.record(read, provenance, digest=digest, size=size)


def received_at(archive: LocalArchive, digest: str) -> datetime:
    """Return when an object was received, by its file. Raises ObjectDamagedError when it cannot be read."""
    with archive.open_object(digest) as file, _damage(digest):
        return _own_meta(file)[1].received_at


def _own_meta(file: BinaryIO) -> tuple[Meta, Provenance]:
    meta = read_meta(file)
    if meta.provenance is None:
        raise UnreadableInstanceError("it does not tell how it was received")
    return meta, meta.provenance


@contextlib.contextmanager
def _damage(digest: str) -> Iterator[None]:
    """Turn what makes a received instance unreadable into damage of a kept one: it was readable once."""
    try:
        yield
    except UnreadableInstanceError as error:
        raise ObjectDamagedError(f"object {digest} cannot be read: {error}") from error


def recover(archive: LocalArchive, index: Index, indexer: Indexer) -> Recovered:
    """Index every object that has no row, and report every row that has no object.

    Objects are indexed in the order they were received, so a rebuild that was cut short is finished here as well.
    """
    missing = 0
    without_row = []
    for digest, in_archive in differences(archive, index):
        if in_archive:
            without_row.append(digest)
            continue
        missing += 1
        if missing <= REPORTED:
            log.error("object.missing", digest=digest)
    order, damaged = in_order(archive, without_row)
    indexed, unreadable = 0, len(damaged)
    for digest in order:
        try:
            stored = index_object(archive, indexer, digest)
        except ObjectDamagedError as error:
            unreadable += 1
            log.error("object.unreadable", digest=digest, reason=str(error))
            continue
        indexed += 1
        log.warning("object.recovered", sop_uid=stored.sop_instance_uid, unit=stored.unit, outcome=stored.outcome)
    return Recovered(indexed=indexed, missing=missing, unreadable=unreadable)


def in_order(
    archive: LocalArchive, digests: Iterable[str], last: Collection[str] = ()
) -> tuple[list[str], tuple[str, ...]]:
    """Return objects in the order they were received, those of ``last`` behind the others; and the unreadable ones.

    Each unreadable one is logged with its reason. Raises StorageUnavailableError.
    """
    order = []
    damaged = []
    for digest in digests:
        try:
            order.append((digest in last, received_at(archive, digest), digest))
        except ObjectDamagedError as error:
            damaged.append(digest)
            log.error("object.unreadable", digest=digest, reason=str(error))
    order.sort()
    return [digest for _, _, digest in order], tuple(damaged)


def differences(archive: LocalArchive, index: Index) -> Iterator[tuple[str, bool]]:
    """Yield in order each digest that only the archive or only the index has, and whether it is the archive.

    They are compared shelf by shelf, so memory holds the names of one shelf alone. Raises StorageUnavailableError,
    DatabaseError.
    """
    for shelf in SHELVES:
        rows = digests_on(index, shelf)  # first: what is recorded meanwhile is no row without an object then
        objects = archive.objects_on(shelf)
        for digest in sorted(rows ^ objects):
            yield digest, digest in objects
