"""Receiving into an archive without a network: what the tests of the archive share."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from dicom_node.archive.incoming import Incoming
from dicom_node.archive.store import Kept, LocalArchive
from dicom_node.dicom.facts import Provenance

PROVENANCE = Provenance(
    calling_ae="PRONE_RM2",
    called_ae="SBB_NODE",
    peer_address="127.0.0.1",
    received_at=datetime(2026, 11, 23, 9, 30, tzinfo=UTC),
)


def begin(archive: LocalArchive, uid: str = "2.25.1") -> Incoming:
    """Begin to receive an instance of that UID."""
    return archive.receive(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.2",
        sop_instance_uid=uid,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        provenance=PROVENANCE,
    )


def store(archive: LocalArchive, data: bytes, uid: str = "2.25.1") -> Kept:
    """Receive and keep a data set of those bytes."""
    with begin(archive, uid) as incoming:
        incoming.write(data)
        return archive.keep(incoming)


def files_under(folder: Path) -> list[str]:
    """Return the files below a folder, by their paths relative to it; lock files aside."""
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() and path.name != "lock"
    )


def received_files(root: Path) -> list[str]:
    """Return the spool files of an archive that hold something that is no object: of what is being received."""
    spool = root / "spool"
    return [name for name in files_under(spool) if _is_being_received(spool / name)]


def _is_being_received(path: Path) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:  # settled since it was listed
        return False
    return found.st_size > 0 and found.st_nlink == 1


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until something is so that will be soon."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come about within 20 s"
        time.sleep(0.01)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Set the process's umask for the length of the block."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
