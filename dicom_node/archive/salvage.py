"""What dead processes left in the spool: sealed instances become objects, everything else goes."""

import fcntl
import os
import stat
from collections.abc import Callable
from hashlib import file_digest, sha256

from dicom_node.archive.files import discard_file, names_in, opened_folder, reason
from dicom_node.archive.space import SPOOL, Volume
from dicom_node.archive.spool import LOCK, spool_lock
from dicom_node.dicom.part10 import Seal, read_meta
from dicom_node.errors import UnreadableInstanceError
from dicom_node.logs import get_logger

log = get_logger(__name__)

Place = Callable[[str, int, Seal], None]
"""Gives a file, by its name in an open folder, the name of an object."""


def sweep(volume: Volume, place: Place) -> int:
    """Empty and remove the spool folders of dead processes; return how many instances became objects.

    A slot counts when its data set has the length and the digest of its seal. Whether it was acknowledged nobody can
    tell any more; keeping it is right in both cases. Its name is made by ``place`` and flushed before the slot's own
    name goes. Raises StorageUnavailableError.
    """
    salvaged = 0
    with opened_folder(SPOOL, volume.fd) as spool, spool_lock(spool):
        for name in names_in(spool):
            if name == LOCK:
                continue
            try:
                salvaged += _sweep_folder(name, spool, volume, place)
            except FileNotFoundError:
                continue  # its process is closing just now and was faster
            except OSError as error:
                log.warning("spool.not_swept", reason=reason(error))
    if salvaged:
        log.info("spool.salvaged", count=salvaged)
    return salvaged


def _sweep_folder(name: str, spool: int, volume: Volume, place: Place) -> int:
    """Sweep one entry of the spool unless a living process holds it. Raises OSError, StorageUnavailableError."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=spool, follow_symlinks=False).st_mode):
        discard_file(name, spool)
        return 0
    salvaged = 0
    with opened_folder(name, spool) as folder:
        if _is_held(folder):
            return 0
        done = []
        slots = names_in(folder)
        for slot in slots:
            try:
                seal = _seal_of(slot, folder)
                if seal is not None:
                    place(slot, folder, seal)
                    salvaged += 1
            except OSError as error:  # it stays, and must not keep the others from being found
                log.warning("spool.not_swept", reason=reason(error))
            else:
                done.append(slot)
        if salvaged:
            volume.flush_all()
        for slot in done:
            os.unlink(slot, dir_fd=folder)
    if len(done) == len(slots):
        os.rmdir(name, dir_fd=spool)
    return salvaged


def _seal_of(name: str, folder: int) -> Seal | None:
    """Return the seal of a slot whose bytes are those it tells of; None for any other file."""
    with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder), "rb") as file:
        try:
            meta = read_meta(file)
        except UnreadableInstanceError:
            return None
        length = file.seek(0, os.SEEK_END) - meta.data_set_offset
        if meta.seal is None or meta.seal.size != length:
            return None
        file.seek(meta.data_set_offset)
        return meta.seal if file_digest(file, sha256).hexdigest() == meta.seal.digest else None


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
