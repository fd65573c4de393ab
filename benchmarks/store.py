"""C-STORE side by side: every contender in turn, round after round, each on a store of its own made for the round."""

import functools
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import finding
from benchmarks.contenders import Contender
from benchmarks.printing import figure, percentile, progress, show, spread
from benchmarks.sender import Messages, encode_messages, longest_unit, send
from benchmarks.servers import Memory, Server, running
from benchmarks.stored import files_of
from benchmarks.wire import LARGEST_UNIT
from benchmarks.workloads import WORKLOADS, Batch, Workload, make_batch

WARM = 8
"""Instances that a server takes before it is measured."""


@dataclass(frozen=True, slots=True)
class Run:
    """One contender in one round. Times in seconds, memory in MiB."""

    rate: float
    """Instances a second."""
    p50: float
    p99: float
    cpu: float
    """Processor time of the receiver, an instance."""
    sender: float
    """Processor time of the senders over the time that passed: how many cores they took."""
    memory: float
    """Peak of its largest process."""
    grown: float
    """The most that a process of it had above what it had before."""
    grown_in_all: float
    """That of all its processes together."""


@dataclass(slots=True)
class Runs:
    """The counted rounds of one contender, by number, and why others do not count."""

    guarantee: str
    counted: dict[int, Run] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def median(self, name: str) -> float:
        """Return the median of one figure over the counted rounds."""
        return float(statistics.median(getattr(run, name) for run in self.counted.values()))

    def ratios(self, other: "Runs", name: str) -> list[float]:
        """Return this contender's figure over the other's, round by round."""
        return [
            getattr(run, name) / getattr(other.counted[number], name)
            for number, run in self.counted.items()
            if number in other.counted and getattr(other.counted[number], name)
        ]


Table = dict[int, dict[str, Runs]]
"""By how many associations there were at once, and by contender."""


def compare(
    contenders: Sequence[Contender],
    workload: Workload,
    associations: Sequence[int],
    *,
    count: int,
    rounds: int,
    folder: Path,
) -> Table:
    """Measure and print the table of one workload, with ``count`` instances a round."""

    @functools.cache
    def prepared(number: int, instances: int, longest: int) -> tuple[Batch, Messages]:
        batch = make_batch(workload, instances, number)
        return batch, encode_messages(batch, longest)

    table: Table = {at_once: {each.name: Runs(each.guarantee) for each in contenders} for at_once in associations}
    for number in range(rounds):
        # There and back, so that no contender always comes after the same one.
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            progress(f"{workload.name}, round {number + 1} of {rounds}: {contender.name}")
            try:
                with running(contender, folder) as server:
                    warm_up(server)
                    longest = longest_unit(server.port, workload.sop_class_uid)
                    for at_once in associations:
                        batch, messages = prepared(at_once, max(count // contender.share, at_once), longest)
                        runs = table[at_once][contender.name]
                        try:
                            runs.counted[number] = measure(server, batch, messages, at_once)
                        except (RuntimeError, OSError) as error:
                            runs.failures.append(str(error))
            except (RuntimeError, OSError) as error:
                for by_name in table.values():
                    by_name[contender.name].failures.append(str(error))
    _show(f"C-STORE {workload.name} ({workload.title}), {count} instances; medians of {rounds} rounds", table, workload)
    return table


def measure(server: Server, batch: Batch, messages: Messages, associations: int) -> Run:
    """Send a batch and check that all of it is there. Raises RuntimeError when this run does not count."""
    server.forget_peak()
    before, cpu = server.memory(), server.cpu_seconds()
    sent = send(server.port, messages, associations)
    cpu = server.settled_cpu_seconds() - cpu
    after = server.memory()
    if sent.failures:
        raise RuntimeError("; ".join(sorted(set(sent.failures))))
    check(server, batch)
    grown = [memory.peak - before.get(pid, Memory()).now for pid, memory in after.items()]
    return Run(
        rate=len(batch.instances) / sent.wall,
        p50=percentile(sent.latencies, 0.5),
        p99=percentile(sent.latencies, 0.99),
        cpu=cpu / len(batch.instances),
        sender=sent.cpu / sent.wall,
        memory=max(memory.peak for memory in after.values()),
        grown=max(grown),
        grown_in_all=sum(grown),
    )


def check(server: Server, batch: Batch) -> None:
    """Raise RuntimeError unless every byte is there, and found; leave the disk with nothing more to write."""
    if server.contender.keeps:
        files = files_of(batch, server.folder)
        if not server.contender.finds:  # it keeps no account of them, so what it left to be written need not be
            for path in files:
                path.unlink()
    if server.contender.finds:
        seen = finding.count_images(server.port, batch.series())
        if seen != len(batch.instances):
            raise RuntimeError(f"C-FIND sees {seen} of {len(batch.instances)}")
    os.sync()


def warm_up(server: Server, number: int = 99) -> None:
    """Have a server take a few small instances, of a batch of its own, so that nobody's first time is measured.

    They come over as many associations, so that every process of the server has its turn.
    """
    first = make_batch(WORKLOADS["small"], WARM, number)
    sent = send(server.port, encode_messages(first, LARGEST_UNIT), WARM)
    if sent.failures:
        raise RuntimeError("; ".join(sent.failures))


def _show(title: str, table: Table, workload: Workload) -> None:
    head = [
        *("at once", "contender", "instances/s", "MB/s", "ours / it", "p50 ms", "p99 ms", "p99: ours / it"),
        *("CPU ms", "CPU: ours / it", "sender cores", "MiB", "grown", "in all", "at Success", "note"),
    ]
    rows = []
    for at_once, by_name in table.items():
        ours = by_name.get("ours", Runs(""))

        def against(its: Runs, name: str, ours: Runs = ours) -> str:
            return spread(ours.ratios(its, name)) if its is not ours else ""

        for name, its in by_name.items():
            note = "; ".join(sorted(set(its.failures)))
            if its.failures:
                note = f"{len(its.failures)} of {len(its.failures) + len(its.counted)} do not count: {note}"
            if not its.counted:
                rows.append((str(at_once), name, *["-"] * (len(head) - 4), its.guarantee, note))
                continue
            rate = its.median("rate")
            rows.append(
                (
                    str(at_once),
                    name,
                    figure(rate),
                    figure(rate * workload.pixel_bytes / 1e6),
                    against(its, "rate"),
                    figure(its.median("p50") * 1000),
                    figure(its.median("p99") * 1000),
                    against(its, "p99"),
                    figure(its.median("cpu") * 1000),
                    against(its, "cpu"),
                    figure(its.median("sender")),
                    figure(its.median("memory")),
                    figure(its.median("grown")),
                    figure(its.median("grown_in_all")),
                    its.guarantee,
                    note,
                )
            )
    show(title, head, rows)
