"""The archive on a local disk: every instance in one file under a name made from its own bytes.

Layout under the root::

    .dicom-node-archive              the marker: proves that the volume is mounted
    spool/<process>/<n>.part         being received
    objects/<2 hex>/<sha256>.dcm     kept; the name is the SHA-256 of the data set bytes, without preamble and file meta
    journal/journal.jsonl            human decisions and releases
    use.lock, node.lock              who works with it

Identical data sets are one file; different ones are two, also under one SOP Instance UID. Nothing is overwritten,
and nothing of a peer's is in a path.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from dicom_node.archive.claims import Claims
from dicom_node.archive.files import FOLDER_FLAGS, FOLDER_MODE, make_folder, names_in, opened_folder, reason, refusals
from dicom_node.archive.journal import JOURNAL, Journal
from dicom_node.archive.space import MARKER, SPOOL, Volume, write_marker
from dicom_node.archive.spool import Incoming, Spool
from dicom_node.dicom.facts import Provenance
from dicom_node.dicom.part10 import build_preamble_and_meta, read_meta
from dicom_node.errors import ObjectDamagedError, OperatorError, StorageUnavailableError, UnreadableInstanceError
from dicom_node.logs import get_logger

OBJECTS = "objects"
"""The folder of kept files, under the root."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHELF = re.compile(r"[0-9a-f]{2}")
_SUFFIX = ".dcm"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of an instance that is durable now."""

    digest: str
    """SHA-256 of the data set bytes, in hex: the name of the object."""
    size: int
    """Bytes of the data set."""
    new: bool
    """False when the archive had these bytes already."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One file under ``objects/``."""

    digest: str
    file_size: int
    """Bytes of the file: preamble, file meta and data set."""


def object_name(digest: str) -> str:
    """Return the path of an object relative to the archive's root. Raises ValueError unless given 64 hex digits."""
    if not _DIGEST.fullmatch(digest):
        raise ValueError("an object is named by 64 lower-case hex digits")
    return f"{OBJECTS}/{digest[:2]}/{digest}{_SUFFIX}"


class LocalArchive:
    """An archive in a folder of this machine. Safe to use from many threads; several processes may share the folder."""

    def __init__(self, volume: Volume) -> None:
        """Use an opened volume; ``open`` and ``create`` are the ways in. Raises StorageUnavailableError."""
        self._volume = volume
        self._spool = Spool(volume)
        with refusals("open the folder of objects"):
            self._objects = os.open(OBJECTS, FOLDER_FLAGS, dir_fd=volume.fd)
        self._durable_shelves: set[str] = set()
        self._doubtful: set[str] = set()
        self.journal = Journal(volume)
        self.claims = Claims(volume)

    @classmethod
    def create(cls, root: Path, *, min_free_bytes: int) -> Self:
        """Make a new archive in a missing or empty folder and open it.

        Raises OperatorError when the folder holds anything (a new file system's own ``lost+found`` aside), and
        StorageUnavailableError when it cannot be made.
        """
        with refusals(f"make an archive at {root}"):
            _make_root(root)
            fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                strangers = [name for name in names_in(fd) if not _may_be_there(root / name)]
                if strangers:
                    raise OperatorError(f"{root} is not empty: an archive is made in an empty folder only")
                for name in (SPOOL, OBJECTS, JOURNAL):
                    make_folder(name, fd)
                write_marker(fd)
            finally:
                os.close(fd)
        return cls.open(root, min_free_bytes=min_free_bytes)

    @classmethod
    def open(cls, root: Path, *, min_free_bytes: int, expected_id: str | None = None) -> Self:
        """Open an archive and remove the spool files that dead processes left.

        ``min_free_bytes`` of the volume are kept free. Raises StorageUnavailableError without the archive's marker,
        or when it is not that of ``expected_id``: then the volume is not mounted, or another one is.
        """
        volume = Volume(root, min_free_bytes=min_free_bytes, expected_id=expected_id)
        try:
            archive = cls(volume)
        except BaseException:
            volume.close()
            raise
        try:
            archive._spool.sweep()
        except StorageUnavailableError as error:
            log.warning("spool.not_swept", reason=str(error))  # a read-only volume still serves what it has
        return archive

    @property
    def archive_id(self) -> str:
        """The id in the marker, made at random when the archive was."""
        return self._volume.archive_id

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Give the archive up, after the last association has ended."""
        self._spool.close()
        self.claims.release()
        os.close(self._objects)
        self._volume.close()

    def check(self) -> None:
        """Raise StorageUnavailableError when an instance could not be received now."""
        self._volume.check()

    def free_bytes(self) -> int:
        """Return the bytes free on the volume, the reserve included. Raises StorageUnavailableError."""
        return self._volume.free_bytes()

    def receive(
        self, *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, provenance: Provenance
    ) -> Incoming:
        """Begin to receive one instance: a spool file that holds the preamble and file meta (PS3.10 section 7.1).

        The caller writes the data set bytes as they come, then keeps or discards it. Raises StorageUnavailableError
        when the volume is not mounted, not trusted, full or read-only.
        """
        self._volume.check()
        head = build_preamble_and_meta(sop_class_uid, sop_instance_uid, transfer_syntax_uid, provenance)
        return self._spool.incoming(head)

    def keep(self, incoming: Incoming) -> Kept:
        """Give a received file its final name; when this returns, its bytes and its name survive a power loss.

        The spool file is used up, whatever happens. An object with these bytes that is there already stays as it is,
        unless its size is wrong or it cannot be read: then the received file takes its place.
        Raises StorageUnavailableError, and nothing is promised then.
        """
        with incoming:
            self._volume.check_trusted()
            failures, digest = self._volume.failures, incoming.digest
            incoming.flush()
            with refusals("keep an object"):
                self._make_shelf(digest[:2])
                with opened_folder(digest[:2], self._objects) as shelf:
                    new = self._place(incoming, digest, shelf)
                    self._flush_name(digest, shelf)
            if self._volume.failures != failures:
                # Another association's failed flush may have dropped the very pages that ours reported as written.
                raise StorageUnavailableError("another flush to the archive's volume failed meanwhile")
            return Kept(digest, incoming.size, new)

    def open_object(self, digest: str) -> BinaryIO:
        """Open an object for reading, at its preamble; ``dicom.part10.read_meta`` tells where the data set begins.

        Raises ObjectDamagedError when there is none, StorageUnavailableError when it cannot be opened, ValueError for
        a malformed digest.
        """
        try:
            file = os.open(object_name(digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._volume.fd)
        except FileNotFoundError as error:
            raise ObjectDamagedError(f"object {digest} is missing from the archive") from error
        except OSError as error:
            raise StorageUnavailableError(f"cannot open object {digest}: {reason(error)}") from error
        return os.fdopen(file, "rb")

    def objects(self) -> Iterator[StoredObject]:
        """Yield every object in the order of the digests. Files of other names are passed over.

        Objects kept while this runs may or may not be among them. Raises StorageUnavailableError.
        """
        with refusals("list the objects"):
            with opened_folder(OBJECTS, self._volume.fd) as objects:
                shelves = sorted(name for name in names_in(objects) if _SHELF.fullmatch(name))
            for name in shelves:
                with opened_folder(name, self._objects) as shelf:
                    found = _objects_on(shelf, name)
                yield from found

    def _make_shelf(self, name: str) -> None:
        """Make the folder of a digest's first two hex digits durable, the first time this process uses it."""
        if name not in self._durable_shelves:
            make_folder(name, self._objects)
            try:
                self._volume.flush(self._objects)
            except StorageUnavailableError:
                with suppress(OSError):  # so that it is made anew; one that is in use stays
                    os.rmdir(name, dir_fd=self._objects)
                raise
            self._durable_shelves.add(name)

    def _place(self, incoming: Incoming, digest: str, shelf: int) -> bool:
        name = f"{digest}{_SUFFIX}"
        try:
            incoming.link(name, shelf)
        except FileExistsError:
            if digest in self._doubtful:
                incoming.replace(name, shelf)
            elif not self._has_whole(digest, incoming.size):
                incoming.replace(name, shelf)
                log.warning("object.repaired", digest=digest)
            return False
        return True

    def _flush_name(self, digest: str, shelf: int) -> None:
        """Make the name durable, also one that another association made a moment ago and may not have flushed yet."""
        try:
            self._volume.flush(shelf)
        except StorageUnavailableError:
            # The name may be in memory only, where the next flush would not write it: it must be made anew first.
            self._doubtful.add(digest)
            raise
        self._doubtful.discard(digest)

    def _has_whole(self, digest: str, size: int) -> bool:
        """Tell whether the object can be read and holds as many data set bytes as it should."""
        try:
            with self.open_object(digest) as file:
                start = read_meta(file).data_set_offset
                return file.seek(0, os.SEEK_END) - start == size
        except (OSError, ObjectDamagedError, StorageUnavailableError, UnreadableInstanceError):
            return False


def _objects_on(shelf: int, name: str) -> list[StoredObject]:
    found = []
    with os.scandir(shelf) as entries:
        for entry in entries:
            digest, dot, suffix = entry.name.partition(".")
            named_so = dot + suffix == _SUFFIX and _DIGEST.fullmatch(digest) and digest.startswith(name)
            if named_so and entry.is_file(follow_symlinks=False):
                found.append(StoredObject(digest, entry.stat(follow_symlinks=False).st_size))
    return sorted(found, key=lambda stored: stored.digest)


def _make_root(root: Path) -> None:
    """Create the root and its missing parents, each name made durable in its parent."""
    if root.is_dir():
        return
    _make_root(root.parent)
    root.mkdir(FOLDER_MODE, exist_ok=True)
    root.chmod(FOLDER_MODE)
    parent = os.open(root.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _may_be_there(entry: Path) -> bool:
    """Tell whether a new archive may be made beside this: a file system's own folder, or a creation cut short."""
    if entry.name == "lost+found" or entry.name.startswith(f"{MARKER}."):
        return True
    return entry.name in {SPOOL, OBJECTS, JOURNAL} and not any(entry.iterdir())
