"""DCMTK's own senders, with their defaults, to every receiver: what a device made with common tools sees."""

import os
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders import Contender, program
from benchmarks.printing import figure, progress, show, spread
from benchmarks.servers import Server, running
from benchmarks.store import check, warm_up
from benchmarks.wire import CALLED_AE, CALLING_AE, EXPLICIT
from benchmarks.workloads import Batch, Workload, encode_meta, make_batch

SENDERS = ("storescu", "dcmsend")

Rates = dict[tuple[str, str], dict[int, float]]
"""Instances a second by sender and contender, and by the number of the round."""


def compare(contenders: Sequence[Contender], workload: Workload, *, rounds: int, count: int, folder: Path) -> Rates:
    """Measure and print a table; nothing when DCMTK is not installed."""
    senders = {name: path for name in SENDERS if (path := program(name)) is not None}
    if not senders:
        progress("DCMTK is not installed: its senders are left out")
        return {}
    batches = {name: make_batch(workload, count, number) for number, name in enumerate(senders, start=1)}
    files = {name: write_files(batch, folder / f"files-{name}") for name, batch in batches.items()}
    os.sync()
    rates: Rates = {(sender, each.name): {} for sender in senders for each in contenders}
    notes: dict[tuple[str, str], set[str]] = {key: set() for key in rates}
    for number in range(rounds):
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            progress(f"DCMTK's senders, round {number + 1} of {rounds}: {contender.name}")
            with running(contender, folder) as server:
                warm_up(server)
                for sender, path in senders.items():
                    try:
                        rates[sender, contender.name][number] = _rate(path, server, batches[sender], files[sender])
                    except (RuntimeError, OSError) as error:
                        notes[sender, contender.name].add(str(error))
    rows = []
    for (sender, name), by_round in rates.items():
        ours = rates.get((sender, "ours"), {})
        ratios = [ours[number] / rate for number, rate in by_round.items() if number in ours]
        middle = statistics.median(by_round.values()) if by_round else 0.0
        rows.append(
            (
                f"{sender} to {name}",
                figure(middle),
                figure(middle * workload.pixel_bytes / 1e6),
                spread(ratios),
                "; ".join(sorted(notes[sender, name])),
            )
        )
    show(
        f"DCMTK's senders with their defaults, {workload.name}, {count} instances, their start and their reading "
        f"of files included; medians of {rounds} rounds",
        ("sender and receiver", "instances/s", "MB/s", "ours / it", "note"),
        rows,
    )
    return rates


def _rate(sender: str, server: Server, batch: Batch, files: Sequence[str]) -> float:
    """Return how many instances a second went through. Raises RuntimeError when not all did."""
    seconds = _send(sender, server.port, files)
    check(server, batch)
    return len(files) / seconds


def write_files(batch: Batch, folder: Path) -> list[str]:
    """Write a batch as Part 10 files into a new folder; return their paths."""
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
    plain = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}  # it would change a default
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=plain)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr.strip()[-200:]}")
    return seconds
