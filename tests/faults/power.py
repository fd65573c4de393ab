"""Power cuts: file systems on devices that write everything down, and those devices as a cut would have left them.

A disk may lose, at a power cut, what was written to it since the last flush it was asked for, in any combination. So
one journal of writes and flushes holds every power cut that could have happened while it was written; ``cut_images``
makes the disks of one of them. The file system's own page cache is lost in any case: it never was on the device.
"""

import contextlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.faults import power_device

FILE_SYSTEMS = {  # how each is made, and the smallest size in MiB it may have
    "ext4": (["mkfs.ext4", "-q", "-F"], 256),
    "xfs": (["mkfs.xfs", "-q", "-f"], 320),
    "btrfs": (["mkfs.btrfs", "-q", "-f"], 256),
}
BLOCK = 4096
"""Bytes that a disk writes whole or not at all."""


class NotHereError(Exception):
    """This machine does not allow what the tests of power cuts need; the message says what."""


def format_image(path: Path, file_system: str) -> Path:
    """Make an empty file system in a sparse file. Raises NotHereError."""
    command, size = FILE_SYSTEMS[file_system]
    with path.open("wb") as file:
        file.truncate(size << 20)
    _run([*command, str(path)])
    return path


def _run(command: list[str]) -> None:
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    except FileNotFoundError:
        raise NotHereError(f"there is no program {command[0]}") from None
    if done.returncode:
        raise NotHereError(f"{command[0]}: {done.stderr.strip()}")


class Disks:
    """Copies of images, mounted through devices that write down what reaches them; for the length of a block."""

    def __init__(self, folder: Path, images: Sequence[Path]) -> None:
        folder.mkdir()
        self.folder = folder
        self.images = images
        self.journal = folder / "journal"
        self.roots = [folder / f"disk{number}" for number in range(len(images))]
        self._devices = [folder / f"device{number}" for number in range(len(images))]
        self._server: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Mount all. Raises NotHereError."""
        if os.geteuid() != 0:
            raise NotHereError("only root may mount disks")
        pairs: list[str] = []
        for number, image in enumerate(self.images):
            copy = self.folder / f"image{number}"
            _run(["cp", "--sparse=always", str(image), str(copy)])
            self._devices[number].touch()
            self.roots[number].mkdir()
            pairs += [str(copy), str(self._devices[number])]
        self.journal.touch()
        self._server = subprocess.Popen(
            [sys.executable, "-I", power_device.__file__, str(self.journal), *pairs],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._server.stdout is not None
        try:
            said = self._server.stdout.readline()
            if said != "ready\n":
                raise NotHereError(said + self._server.stdout.read())  # noqa: TRY301 # what is mounted is unmounted
            for device, root in zip(self._devices, self.roots, strict=True):
                _run(["mount", "-o", "loop", str(device), str(root)])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Unmount all; whoever still uses one of them finds it dead."""
        assert self._server is not None
        for place in (*self.roots, *self._devices):
            if subprocess.run(["umount", str(place)], capture_output=True, check=False).returncode:
                subprocess.run(["umount", "--lazy", str(place)], capture_output=True, check=False)
        try:
            self._server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        assert self._server.stdout is not None
        self._server.stdout.close()

    def now(self) -> int:
        """Return the place in the journal: whatever reached a device before stands in front of it."""
        return self.journal.stat().st_size


@dataclass(frozen=True)
class Cut:
    """A power cut: where in the journal, and what becomes of the writes since each disk's last flush."""

    at: int
    keep: str
    """``all`` (a disk without a cache), ``none``, or ``some``: each block by chance."""
    seed: int = 0


def cut_images(images: Sequence[Path], journal: Path, cut: Cut, folder: Path) -> list[Path]:
    """Make, in a new folder, the images that a power cut leaves of ``images`` after what the journal tells."""
    folder.mkdir(parents=True)
    copies = [folder / f"image{number}" for number in range(len(images))]
    for image, copy in zip(images, copies, strict=True):
        _run(["cp", "--sparse=always", str(image), str(copy)])
    chance = random.Random(cut.seed)
    waiting: list[list[tuple[int, int, int]]] = [[] for _ in images]
    with journal.open("rb") as file, contextlib.ExitStack() as opened:
        disks = [opened.enter_context(copy.open("r+b")) for copy in copies]

        def write(number: int, start: int, size: int, offset: int) -> None:
            os.pwrite(disks[number].fileno(), os.pread(file.fileno(), size, start), offset)

        for kind, number, start, size, offset in _records(file.fileno(), cut.at):
            if kind == power_device.WRITE:
                waiting[number].append((start, size, offset))
                continue
            for each in waiting[number]:
                write(number, *each)
            waiting[number].clear()
        for number, writes in enumerate(waiting):
            for start, size, offset in writes:
                for at in range(0, size, BLOCK):
                    if cut.keep == "all" or (cut.keep == "some" and chance.random() < 0.5):
                        write(number, start + at, min(BLOCK, size - at), offset + at)
    return copies


def _records(journal: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield kind, disk, place of the data in the journal, its length, and its offset on the disk."""
    at, head = 0, power_device.RECORD.size
    while at + head <= end:
        kind, number, size, offset = power_device.RECORD.unpack(os.pread(journal, head, at))
        if at + head + size > end:
            return
        yield kind, number, at + head, size, offset
        at += head + size
