"""Who works with an archive and its index: any number of processes at a time, one node, and nobody beside a rebuild.

Two files at the archive's root are locked, never read for who may pass: the system gives a lock back when its process
dies, however it dies. ``use.lock`` is shared by every process that has the archive and its index open, and held alone
by one that makes the index anew. ``node.lock`` is held by the one process that receives, reviews and sends alerts; what
stands in it is for people.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from time import monotonic, sleep
from typing import Any

from dicom_node.archive.files import open_or_make, refusals
from dicom_node.archive.space import Volume
from dicom_node.errors import StorageUnavailableError

USE, NODE = "use.lock", "node.lock"

PATIENCE = 3.0
"""Seconds to wait for another process to let go: a look at the status takes a moment, a node or a rebuild does not."""
_LOOK_AGAIN = 0.05
_LONGEST = 4096


class Claims:
    """What this process claims of one archive; given back when it ends at the latest."""

    def __init__(self, volume: Volume) -> None:
        """Claim nothing yet."""
        self._volume = volume
        self._held: dict[str, int] = {}

    def use(self, *, alone: bool = False) -> None:
        """Claim the use of archive and index, together with others or ``alone``.

        Raises StorageUnavailableError when another process does not let that be.
        """
        if alone:
            sentence = (
                "other processes work with this archive; stop the node first (systemctl stop dicom-node), and wait for "
                "imports to end"
            )
            self._claim(USE, fcntl.LOCK_EX, sentence)
        else:
            self._claim(USE, fcntl.LOCK_SH, "the index is being made anew (dicom-node rebuild); wait until that ends")

    def run_node(self) -> None:
        """Claim to be the node of this archive. Raises StorageUnavailableError when another process is."""
        self._claim(NODE, fcntl.LOCK_EX, "a node is running on this archive already; stop it first")

    @property
    def node_lock(self) -> int:
        """File descriptor of the lock of the node, which must be this process.

        A process that inherits it holds the lock too, so no other node takes over before both have ended.
        """
        return self._held[NODE]

    def tell(self, facts: Mapping[str, Any]) -> None:
        """Tell others of the node, in JSON values; it must be this process. A full volume keeps it from being told."""
        text = json.dumps(dict(facts)).encode("ascii")
        with contextlib.suppress(OSError):
            os.pwrite(self._held[NODE], text.ljust(_LONGEST), 0)

    def node(self) -> dict[str, Any] | None:
        """Return what the node that runs on this archive told of itself, None when none runs.

        Raises StorageUnavailableError.
        """
        with refusals("read node.lock"):
            try:
                file = os.open(NODE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._volume.fd)
            except FileNotFoundError:
                return None
            try:
                if NODE not in self._held and _try_lock(file, fcntl.LOCK_SH):
                    return None
                told = os.pread(file, _LONGEST, 0)
            finally:
                os.close(file)
        with contextlib.suppress(ValueError):
            facts = json.loads(told)
            if isinstance(facts, dict):
                return facts
        return {}

    def release(self) -> None:
        """Give everything back."""
        while self._held:
            _, file = self._held.popitem()
            os.close(file)

    def _claim(self, name: str, how: int, refusal: str) -> None:
        deadline = monotonic() + PATIENCE
        with contextlib.ExitStack() as undo, refusals(f"lock {name}"):
            file = self._open(name)
            undo.callback(os.close, file)
            while not _try_lock(file, how):
                if monotonic() > deadline:
                    raise StorageUnavailableError(refusal)
                sleep(_LOOK_AGAIN)
            undo.pop_all()
        self._held[name] = file

    def _open(self, name: str) -> int:
        try:
            return open_or_make(name, self._volume.fd)
        except OSError:
            # A volume that is read-only now still has the file from when it was not.
            return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._volume.fd)


def _try_lock(file: int, how: int) -> bool:
    """Lock an open file if nobody else holds it; tell whether that worked."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
