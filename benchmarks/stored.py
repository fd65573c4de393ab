"""Whether all that was sent is there: each data set byte for byte in a file, wherever the receiver put it."""

import contextlib
import time
from pathlib import Path

from benchmarks.workloads import Batch

_HEAD = 16384
"""Bytes of a file in which its data set begins."""

_ALIKE = 24
"""Bytes with which all data sets of a batch begin: of their first element, Image Type."""

_PIECE = 1 << 20
"""Bytes compared at a time."""


def files_of(batch: Batch, folder: Path, *, patience: float = 2.0) -> list[Path]:
    """Return a file below ``folder`` for each instance of a batch.

    Raises RuntimeError when some are missing after ``patience`` seconds: a file may be on its way to another name.
    """
    headers = frozenset(each.header for each in batch.instances)
    deadline = time.monotonic() + patience
    while True:
        found: dict[bytes, Path] = {}
        for path in folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and (header := _instance_in(path, headers, batch.pixels)):
                    found[header] = path
        if len(found) == len(headers):
            return list(found.values())
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {len(found)} of {len(headers)} are in the store, byte for byte")


def _instance_in(path: Path, headers: frozenset[bytes], pixels: bytes) -> bytes | None:
    """Return which of some headers, all of one length, a file holds with the pixels behind it; None for none."""
    one = next(iter(headers))
    if path.stat().st_size < len(one) + len(pixels):
        return None
    with path.open("rb") as file:
        head = file.read(_HEAD)
        at = head.find(one[:_ALIKE])
        header = head[at : at + len(one)]
        if at < 0 or header not in headers:
            return None
        file.seek(at + len(header))
        for place in range(0, len(pixels), _PIECE):
            expected = pixels[place : place + _PIECE]
            if file.read(len(expected)) != expected:
                return None
    return header
