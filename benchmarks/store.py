"""C-STORE side by side: every contender in turn, round after round, each on an empty store."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import finding
from benchmarks.contenders import Contender
from benchmarks.printing import figure, percentile, progress, show, spread
from benchmarks.sender import encode_messages, longest_unit, send
from benchmarks.servers import Server, running
from benchmarks.wire import LARGEST_UNIT
from benchmarks.workloads import WORKLOADS, Batch, Workload, make_batch


@dataclass(frozen=True, slots=True)
class Run:
    """One contender in one round. Times in seconds, memory in MiB."""

    rate: float
    """Instances a second."""
    p50: float
    p99: float
    cpu: float
    memory: float
    """Peak of its largest process."""
    grown: float
    """That peak above what the process had before."""


@dataclass(slots=True)
class Runs:
    """The counted rounds of one contender, by number, and why others do not count."""

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


def compare(
    contenders: Sequence[Contender], workload: Workload, associations: int, *, rounds: int, count: int, folder: Path
) -> None:
    """Measure and print one table."""
    batch = make_batch(workload, max(count or workload.count, associations))
    runs = {each.name: Runs() for each in contenders}
    for number in range(rounds):
        # There and back, so that no contender always comes after the same one.
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            progress(f"{workload.name}, {associations} associations, round {number + 1} of {rounds}: {contender.name}")
            try:
                with running(contender, folder) as server:
                    runs[contender.name].counted[number] = measure(server, batch, associations)
            except (RuntimeError, OSError) as error:
                runs[contender.name].failures.append(str(error))
    title = f"{workload.name} ({workload.title}), {len(batch.instances)} instances, associations: {associations}"
    _show(f"C-STORE {title}; medians of {rounds} rounds", runs, batch)


def measure(server: Server, batch: Batch, associations: int) -> Run:
    """Send a batch and check that all of it is there. Raises RuntimeError when this run does not count."""
    messages = encode_messages(batch, longest_unit(server.port, batch.workload.sop_class_uid))
    warm_up(server)
    server.forget_peak()
    (before, _), cpu = server.memory(), server.cpu_seconds()
    sent = send(server.port, messages, associations)
    cpu = server.cpu_seconds() - cpu
    _, peak = server.memory()
    if sent.failures:
        raise RuntimeError("; ".join(sorted(set(sent.failures))))
    kept = server.files_of(batch.instance_bytes)
    if kept < len(batch.instances):
        raise RuntimeError(f"only {kept} of {len(batch.instances)} are in the store")
    if server.contender.finds:
        seen = finding.count_images(server.port, batch.series())
        if seen != len(batch.instances):
            raise RuntimeError(f"C-FIND sees {seen} of {len(batch.instances)}")
    return Run(
        rate=len(batch.instances) / sent.wall,
        p50=percentile(sent.latencies, 0.5),
        p99=percentile(sent.latencies, 0.99),
        cpu=cpu,
        memory=peak,
        grown=peak - before,
    )


def warm_up(server: Server, number: int = 99) -> None:
    """Have a server take one small instance, of a batch of its own, so that nobody's first time is measured."""
    first = make_batch(WORKLOADS["small"], 1, number)
    sent = send(server.port, encode_messages(first, LARGEST_UNIT), 1)
    if sent.failures:
        raise RuntimeError("; ".join(sent.failures))


def _show(title: str, runs: dict[str, Runs], batch: Batch) -> None:
    ours = runs.get("ours", Runs())
    head = [
        *("contender", "instances/s", "MB/s", "ours / it"),
        *("p50 ms", "p99 ms", "p99: ours / it", "CPU s", "CPU: ours / it", "MiB", "grown", "note"),
    ]
    rows = []
    for name, its in runs.items():
        note = "; ".join(sorted(set(its.failures)))
        if its.failures:
            note = f"{len(its.failures)} of {len(its.failures) + len(its.counted)} do not count: {note}"
        if not its.counted:
            rows.append((name, *["-"] * (len(head) - 2), note))
            continue
        rate = its.median("rate")
        rows.append(
            (
                name,
                figure(rate),
                figure(rate * batch.instance_bytes / 1e6),
                spread(ours.ratios(its, "rate")),
                figure(its.median("p50") * 1000),
                figure(its.median("p99") * 1000),
                spread(ours.ratios(its, "p99")),
                figure(its.median("cpu")),
                spread(ours.ratios(its, "cpu")),
                figure(its.median("memory")),
                figure(its.median("grown")),
                note,
            )
        )
    show(title, head, rows)
    if {"receiver", "storescp"} <= runs.keys():
        print(f"\nlike for like, receiver / storescp: {spread(runs['receiver'].ratios(runs['storescp'], 'rate'))}")
