"""DCMTK's own senders, with their defaults, to every receiver: what a device made with common tools sees."""

import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders import Contender, program
from benchmarks.printing import figure, progress, show, spread
from benchmarks.servers import running
from benchmarks.wire import CALLED_AE, CALLING_AE, EXPLICIT
from benchmarks.workloads import Batch, Workload, encode_meta, make_batch

SENDERS = ("storescu", "dcmsend")


def compare(contenders: Sequence[Contender], workload: Workload, *, rounds: int, count: int, folder: Path) -> None:
    """Measure and print a table; nothing when DCMTK is not installed."""
    senders = {name: path for name in SENDERS if (path := program(name)) is not None}
    if not senders:
        progress("DCMTK is not installed: its senders are left out")
        return
    batch = make_batch(workload, count or workload.count // 2)
    files = _write_files(batch, folder / "files")
    rates: dict[tuple[str, str], dict[int, float]] = {}
    notes: dict[tuple[str, str], set[str]] = {}
    for number in range(rounds):
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            for sender, path in senders.items():
                progress(f"{sender}, round {number + 1} of {rounds}: {contender.name}")
                key = sender, contender.name
                rates.setdefault(key, {})
                notes.setdefault(key, set())
                try:
                    rates[key][number] = _rate(path, contender, batch, files, folder)
                except (RuntimeError, OSError) as error:
                    notes[key].add(str(error))
    rows = []
    for (sender, name), by_round in rates.items():
        ours = rates.get((sender, "ours"), {})
        ratios = [ours[number] / rate for number, rate in by_round.items() if number in ours]
        middle = statistics.median(by_round.values()) if by_round else 0.0
        rows.append(
            (
                f"{sender} to {name}",
                figure(middle),
                figure(middle * batch.instance_bytes / 1e6),
                spread(ratios),
                "; ".join(sorted(notes[sender, name])),
            )
        )
    show(
        f"DCMTK's senders with their defaults, {workload.name}, {len(files)} instances, their start and their reading "
        f"of files included; medians of {rounds} rounds",
        ("sender and receiver", "instances/s", "MB/s", "ours / it", "note"),
        rows,
    )


def _rate(sender: str, contender: Contender, batch: Batch, files: Sequence[str], folder: Path) -> float:
    """Return how many instances a second went through. Raises RuntimeError when not all did."""
    with running(contender, folder) as server:
        seconds = _send(sender, server.port, files)
        kept = server.files_of(batch.instance_bytes)
    if kept < len(files):
        raise RuntimeError(f"only {kept} of {len(files)} are in the store")
    return len(files) / seconds


def _write_files(batch: Batch, folder: Path) -> list[str]:
    """Write a batch as Part 10 files."""
    folder.mkdir()
    paths = []
    for number, instance in enumerate(batch.instances):
        path = folder / f"{number:05d}.dcm"
        meta = encode_meta(batch.workload.sop_class_uid, instance.sop_instance_uid, EXPLICIT)
        path.write_bytes(meta + instance.header + batch.pixels)
        paths.append(str(path))
    return paths


def _send(sender: str, port: int, files: Sequence[str]) -> float:
    """Send files; return the seconds it took. Raises RuntimeError when the sender reports a failure."""
    command = [sender, "-aet", CALLING_AE, "-aec", CALLED_AE, "127.0.0.1", str(port), *files]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr.strip()[-200:]}")
    return seconds
