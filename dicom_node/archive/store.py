"""The archive on a local disk: every instance in one file under a name made from its own bytes.

Layout under the root::

    .dicom-node-archive              the marker: proves that the volume is mounted
    spool/<process>/<n>.part         being received, or kept a moment ago
    objects/<2 hex>/<sha256>.dcm     kept; the name is the SHA-256 of the data set bytes, without preamble and file meta
    journal/journal.jsonl            human decisions and releases
    audit/<12 digits>.jsonl          the audit trail; the name is the number of its first line
    use.lock, node.lock              who works with it

Identical data sets are one file; different ones are two, also under one SOP Instance UID. Nothing is overwritten,
and nothing of a peer's is in a path.
"""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO, Self

from dicom_node.archive.audit import AUDIT, AuditTrail
from dicom_node.archive.claims import Claims
from dicom_node.archive.files import FOLDER_FLAGS, FOLDER_MODE, make_folder, names_in, opened_folder, reason, refusals
from dicom_node.archive.incoming import Incoming
from dicom_node.archive.journal import JOURNAL, Journal
from dicom_node.archive.salvage import sweep
from dicom_node.archive.space import MARKER, SPOOL, Volume, write_marker
from dicom_node.archive.spool import Spool
from dicom_node.dicom.facts import Provenance
from dicom_node.dicom.part10 import Seal, build_preamble_and_meta, read_meta
from dicom_node.errors import (
    ObjectDamagedError,
    ObjectMissingError,
    OperatorError,
    StorageUnavailableError,
    UnreadableInstanceError,
)
from dicom_node.logs import get_logger

OBJECTS = "objects"
"""The folder of kept files, under the root."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SUFFIX = ".dcm"
_NAME = re.compile(r"[0-9a-f]{64}\.dcm")

SHELVES = tuple(f"{number:02x}" for number in range(256))
"""The folders of objects, by the first two hex digits of their digests."""

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


class Placed(Enum):
    """What became of a sealed file that was to be an object."""

    NEW = auto()
    BEFORE = auto()
    """The object was there."""
    REPAIRED = auto()
    """The object was there, damaged, and was replaced."""


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
        self.journal = Journal(volume)
        self.audit = AuditTrail(volume)
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
                for name in (SPOOL, OBJECTS, JOURNAL, AUDIT):
                    make_folder(name, fd)
                write_marker(fd)
            finally:
                os.close(fd)
        return cls.open(root, min_free_bytes=min_free_bytes)

    @classmethod
    def open(cls, root: Path, *, min_free_bytes: int, expected_id: str | None = None) -> Self:
        """Open an archive and settle what dead processes left in the spool.

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
            archive.sweep()
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
        self.audit.close()
        self.claims.release()
        os.close(self._objects)
        self._volume.close()

    def sweep(self) -> int:
        """Make objects of the whole instances that dead processes left in the spool, and remove the rest.

        Returns how many became objects; they are not in the index yet. Raises StorageUnavailableError.
        """
        with refusals("sweep the spool"):
            return sweep(self._volume, self._salvage)

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
        return Incoming(self._spool, head)

    def keep(self, incoming: Incoming) -> Kept:
        """Take custody of a received file; when this returns it is an object and survives a power loss.

        Its bytes were flushed, its name among the objects is flushed a little later: until then the slot of the spool
        is what survives. The incoming file is used up, whatever happens. An object with these bytes that is there
        already stays as it is, unless its size is wrong or it cannot be read: then the received file takes its place.
        Raises StorageUnavailableError, and nothing is promised then.
        """
        with incoming:
            self._volume.check_trusted()
            failures = self._volume.failures
            seal = incoming.seal()
            if self._volume.failures != failures:
                # Another association's failed flush may have dropped the very pages that ours reported as written.
                raise StorageUnavailableError("another flush to the archive's volume failed meanwhile")
            with refusals("keep an object"):
                new = self._place(incoming.name, self._spool.folder, seal)
            if new is not Placed.BEFORE:
                self._spool.settle(incoming.hand_over(), failures)
            return Kept(seal.digest, seal.size, new is Placed.NEW)

    def open_object(self, digest: str) -> BinaryIO:
        """Open an object for reading, at its preamble; ``dicom.part10.read_meta`` tells where the data set begins.

        Raises ObjectMissingError when there is none, StorageUnavailableError when it cannot be opened, ValueError for
        a malformed digest.
        """
        try:
            file = os.open(object_name(digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._volume.fd)
        except FileNotFoundError as error:
            raise ObjectMissingError(f"object {digest} is missing from the archive") from error
        except OSError as error:
            raise StorageUnavailableError(f"cannot open object {digest}: {reason(error)}") from error
        return os.fdopen(file, "rb")

    def objects(self) -> Iterator[str]:
        """Yield the digest of every object, in order. Files of other names are passed over.

        Objects kept while this runs may or may not be among them. Raises StorageUnavailableError.
        """
        for shelf in SHELVES:
            yield from sorted(self.objects_on(shelf))

    def objects_on(self, shelf: str) -> set[str]:
        """Return the digests of the objects on one of ``SHELVES``; else as ``objects``."""
        with refusals("list the objects"), contextlib.ExitStack() as open_folders:
            try:
                folder = open_folders.enter_context(opened_folder(f"{OBJECTS}/{shelf}", self._volume.fd))
            except FileNotFoundError:
                os.stat(OBJECTS, dir_fd=self._volume.fd)  # nothing was kept there; or else the archive is gone
                return set()
            entries = open_folders.enter_context(os.scandir(folder))
            names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        return {name.removesuffix(_SUFFIX) for name in names if _NAME.fullmatch(name) and name.startswith(shelf)}

    def _place(self, name: str, folder: int, seal: Seal) -> Placed:
        """Give a sealed file of an open folder the name of its object, in memory. Raises OSError."""
        target = f"{seal.digest[:2]}/{seal.digest}{_SUFFIX}"
        try:
            self._link(name, folder, target)
        except FileExistsError:
            if self._has_whole(seal):
                return Placed.BEFORE
            again = f"{name}.{secrets.token_hex(4)}"
            os.link(name, again, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            os.replace(again, target, src_dir_fd=folder, dst_dir_fd=self._objects)
            log.warning("object.repaired", digest=seal.digest)
            return Placed.REPAIRED
        return Placed.NEW

    def _link(self, name: str, folder: int, target: str) -> None:
        try:
            os.link(name, target, src_dir_fd=folder, dst_dir_fd=self._objects, follow_symlinks=False)
        except FileNotFoundError:  # the first object of its shelf
            make_folder(target[:2], self._objects)
            os.link(name, target, src_dir_fd=folder, dst_dir_fd=self._objects, follow_symlinks=False)

    def _salvage(self, name: str, folder: int, seal: Seal) -> None:
        """Make a dead process's sealed slot an object, under a name that was not made before: see `sweep`."""
        target = f"{seal.digest[:2]}/{seal.digest}{_SUFFIX}"
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(
                os.stat(name, dir_fd=folder, follow_symlinks=False),
                os.stat(target, dir_fd=self._objects, follow_symlinks=False),
            ):
                # The flush of this very name may have failed: it would be in memory only, where no flush finds it.
                os.unlink(target, dir_fd=self._objects)
        self._place(name, folder, seal)

    def _has_whole(self, seal: Seal) -> bool:
        """Tell whether the object can be read and holds as many data set bytes as it should."""
        try:
            with self.open_object(seal.digest) as file:
                start = read_meta(file).data_set_offset
                return file.seek(0, os.SEEK_END) - start == seal.size
        except (OSError, ObjectDamagedError, StorageUnavailableError, UnreadableInstanceError):
            return False


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
    return entry.name in {SPOOL, OBJECTS, JOURNAL, AUDIT} and not any(entry.iterdir())
