"""Kill a process that uses an archive, before and after each of its system calls in turn; run by test_archive_kills.

``python -m tests.faults.archive_kills FOLDER`` makes one archive per kill under FOLDER and writes one line of JSON per
kill to FOLDER/runs: the archive, the call, what had been acknowledged, and the exit code.
"""

import itertools
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dicom_node.archive import linux
from dicom_node.archive.store import LocalArchive
from tests.archives import begin

CALLS = (
    "open", "close", "mkdir", "chmod", "fchmod", "write", "pwritev", "fsync", "fdatasync", "link", "replace", "unlink",
    "rmdir", "ftruncate",
)  # fmt: skip
DATA = bytes(range(256)) * 20


def use_an_archive(root: Path, acknowledge: Callable[[bytes], object]) -> None:
    """Make an archive, keep two instances, one of them twice and once over a damaged object, and write the journal."""
    with LocalArchive.create(root, min_free_bytes=0) as archive:
        for data in (DATA, DATA, DATA[:7]):
            with begin(archive) as incoming:
                incoming.write(data[:100])
                incoming.write(data[100:])
                kept = archive.keep(incoming)
                acknowledge(kept.digest.encode())
            if data == DATA[:7]:
                break
            path = root / "objects" / kept.digest[:2] / f"{kept.digest}.dcm"
            if not kept.new:
                continue
            acknowledge(b"forget")  # what follows is damage from outside, not a promise of the archive's
            path.write_bytes(b"damaged")
        for number in range(2):
            archive.journal.append("note", {"n": number})
            acknowledge(b"journal")


def kill_at(step: int, *, after: bool, note: Callable[[str], object]) -> None:
    """Make the process kill itself at its ``step``-th system call from now."""
    count = itertools.count(1)

    def watched(module: Any, name: str) -> Callable[..., Any]:
        call = getattr(module, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            at = next(count)
            if at == step and not after:
                note(name)
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return call(*args, **kwargs)
            finally:
                if at == step:
                    note(name)
                    os.kill(os.getpid(), signal.SIGKILL)

        return wrapped

    for name in CALLS:
        setattr(os, name, watched(os, name))
    linux.sync_filesystem = watched(linux, "sync_filesystem")


def killed_child(root: Path, step: int, *, after: bool) -> None:
    """In the forked process: use an archive until the kill, and write down what was acknowledged before."""
    write = os.write
    acknowledged = os.open(root / "acknowledged", os.O_WRONLY | os.O_CREAT, 0o600)
    call = os.open(root / "call", os.O_WRONLY | os.O_CREAT, 0o600)
    kill_at(step, after=after, note=lambda name: write(call, name.encode()))
    use_an_archive(root / "archive", lambda what: write(acknowledged, what + b"\n"))
    os._exit(0)


def main(folder: Path) -> None:
    """Kill at every step, until one run comes to its end."""
    for number in itertools.count(2):
        step, after = number // 2, bool(number % 2)
        root = folder / f"{step}-{'after' if after else 'before'}"
        root.mkdir()
        child = os.fork()
        if child == 0:
            killed_child(root, step, after=after)
        _, status = os.waitpid(child, 0)
        run = {
            "root": str(root / "archive"),
            "call": (root / "call").read_text(),
            "acknowledged": (root / "acknowledged").read_text().split(),
            "exit_code": os.waitstatus_to_exitcode(status),
        }
        with (folder / "runs").open("a") as runs:
            runs.write(json.dumps(run) + "\n")
        if run["exit_code"] != -signal.SIGKILL:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
