"""The archive's volume: is it mounted, may it be trusted, has it room to spare."""

import json
import os
import pwd
import secrets
import threading
from pathlib import Path
from time import monotonic

from dicom_node.archive import linux
from dicom_node.archive.files import discard_file, new_file, opened_folder, reason, refusals, write_all
from dicom_node.errors import NotPermittedError, StorageUnavailableError
from dicom_node.logs import get_logger

MARKER = ".dicom-node-archive"
"""The file at the archive's root that proves its volume is mounted: JSON with ``archive_id`` and ``layout``."""
LAYOUT = 1
"""Version of the folder layout under the root; another one is refused."""
SPOOL = "spool"
"""The folder of files that are being received, under the root."""
PROBE_INTERVAL = 1.0
"""Seconds between two probes of a volume that failed a flush."""

log = get_logger(__name__)


class Volume:
    """The folder an archive lives in, held open, with everything that decides whether it may be written to now.

    A flush (fsync) that fails is never tried again: the system drops the pages it could not write and reports success
    the next time. So one failure distrusts the whole volume for this process, until a probe file is written, flushed
    and removed without an error. Safe to use from many threads.
    """

    def __init__(self, root: Path, *, min_free_bytes: int, expected_id: str | None = None) -> None:
        """Open the archive's root.

        ``min_free_bytes`` are kept free for the index and the logs. Raises StorageUnavailableError without a
        marker, or when the marker is not that of ``expected_id``; NotPermittedError for root in another's archive.
        """
        self.root = root
        self.min_free_bytes = min_free_bytes
        with refusals(f"open the archive at {root}"):
            try:
                self.fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError as error:
                raise StorageUnavailableError(
                    f"there is no archive at {root}; dicom-node serve --create makes a new one"
                ) from error
        try:
            self.archive_id = _read_marker(root, self.fd, expected_id)
            held = os.fstat(self.fd)
        except BaseException:
            os.close(self.fd)
            raise
        self._identity = (held.st_dev, held.st_ino)
        self._lock = threading.Lock()
        self._bad = ""
        self._next_probe = 0.0
        self.failures = 0
        """How many flushes failed since the start."""

    def close(self) -> None:
        """Give the root up."""
        os.close(self.fd)

    def check(self) -> None:
        """Raise StorageUnavailableError unless the volume is mounted, trusted and has room."""
        self.check_mounted()
        self.check_trusted()
        self.check_room()

    def check_mounted(self) -> None:
        """Raise StorageUnavailableError when the root is no longer the folder it was, or its marker is gone."""
        with refusals(f"see the marker of the archive at {self.root}"):
            now = os.stat(self.root)  # noqa: PTH116 - for each instance, and half as long as by pathlib
            os.stat(MARKER, dir_fd=self.fd, follow_symlinks=False)
        if (now.st_dev, now.st_ino) != self._identity:
            raise StorageUnavailableError(
                f"{self.root} is another folder than at the start: was its volume unmounted? Mount it and restart"
            )

    def check_room(self) -> None:
        """Raise StorageUnavailableError when less than the reserve, or no inode, is free."""
        with refusals("ask for the free space"):
            space = os.fstatvfs(self.fd)
        free = space.f_bavail * space.f_frsize
        if free < self.min_free_bytes:
            raise StorageUnavailableError(f"disk has less than its reserve: {free} of {self.min_free_bytes} bytes")
        if space.f_files and not space.f_favail:
            raise StorageUnavailableError("the archive's volume has no inodes left")

    def free_bytes(self) -> int:
        """Return the bytes that are free to this process, the reserve included."""
        with refusals("ask for the free space"):
            space = os.fstatvfs(self.fd)
        return space.f_bavail * space.f_frsize

    def check_trusted(self) -> None:
        """Raise StorageUnavailableError after a failed flush until a fresh probe passes; at most one probe a second."""
        if not self._bad:
            return
        with self._lock:
            bad, failures, due = self._bad, self.failures, monotonic() >= self._next_probe
            if bad and due:
                self._next_probe = monotonic() + PROBE_INTERVAL
        if not bad:
            return
        if not due or not self._probe():
            raise StorageUnavailableError(f"the archive's volume is not trusted since a flush failed: {bad}")
        with self._lock:
            if self._bad and self.failures == failures:
                self._bad = ""
                log.info("volume.trusted")

    def flush(self, fd: int) -> None:
        """Make a file or folder durable. Raises StorageUnavailableError and distrusts the volume when that fails."""
        try:
            os.fsync(fd)
        except OSError as error:
            raise self._failed(error) from error

    def flush_data(self, fd: int) -> None:
        """Make a file's bytes and its length durable, not its times and modes. Raises as ``flush``."""
        try:
            os.fdatasync(fd)
        except OSError as error:
            raise self._failed(error) from error

    def flush_all(self) -> None:
        """Make everything on the volume durable that was done before the call. Raises as ``flush``."""
        try:
            linux.sync_filesystem(self.fd)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> StorageUnavailableError:
        self._distrust(error)
        return StorageUnavailableError(f"a flush to the archive's volume failed: {reason(error)}")

    def _distrust(self, error: OSError) -> None:
        with self._lock:
            self.failures += 1
            self._bad = reason(error)
        log.error("volume.distrusted", reason=reason(error))

    def _probe(self) -> bool:
        name = f"probe-{secrets.token_hex(4)}"
        try:
            with opened_folder(SPOOL, self.fd) as folder:
                file = new_file(name, folder)
                try:
                    write_all(file, secrets.token_bytes(4096))
                    os.fsync(file)
                    os.fsync(folder)
                finally:
                    os.close(file)
                    discard_file(name, folder)
        except OSError as error:
            self._distrust(error)
            return False
        return True


def write_marker(root: int) -> None:
    """Give an open folder the marker of a new archive, durably, as the last step of making it.

    Raises OSError; FileExistsError when the folder has a marker already.
    """
    text = json.dumps({"archive_id": secrets.token_hex(16), "layout": LAYOUT}) + "\n"
    draft = f"{MARKER}.{secrets.token_hex(4)}"
    file = new_file(draft, root)
    try:
        write_all(file, text.encode("ascii"))
        os.fsync(file)
        os.link(draft, MARKER, src_dir_fd=root, dst_dir_fd=root)
    finally:
        os.close(file)
        discard_file(draft, root)
    os.fsync(root)


def _check_user(root: Path, owner: int) -> None:
    """Keep root from making files in another user's archive, which that user's node could then not read."""
    if os.geteuid() == 0 and owner != 0:
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = f"#{owner}"
        raise NotPermittedError(
            f"{root} belongs to the user {name}; run this as that user: sudo -u {name} dicom-node ..."
        )


def _read_marker(root: Path, fd: int, expected_id: str | None) -> str:
    try:
        with os.fdopen(os.open(MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd), "rb") as file:
            _check_user(root, os.fstat(file.fileno()).st_uid)
            marker = json.loads(file.read(4096))
    except FileNotFoundError as error:
        raise StorageUnavailableError(f"{root} has no {MARKER} file: is the archive's volume mounted?") from error
    except OSError as error:
        raise StorageUnavailableError(f"cannot read {root}/{MARKER}: {reason(error)}") from error
    except ValueError as error:
        raise StorageUnavailableError(f"{root}/{MARKER} is not the marker of an archive") from error
    if not isinstance(marker, dict) or not isinstance(marker.get("archive_id"), str):
        raise StorageUnavailableError(f"{root}/{MARKER} is not the marker of an archive")
    if marker.get("layout") != LAYOUT:
        raise StorageUnavailableError(f"{root} has a layout this release does not know: {marker.get('layout')!r}")
    archive_id = marker["archive_id"]
    if expected_id is not None and archive_id != expected_id:
        raise StorageUnavailableError(
            f"{root} holds another archive ({archive_id}) than expected ({expected_id}): is the right volume mounted?"
        )
    return str(archive_id)
