"""The node as its index grows: starting, storing and answering, with ten thousand rows and with ten million."""

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from benchmarks.contenders import CONTENDERS
from benchmarks.find import Asked, ask, load
from benchmarks.multiply import Template
from benchmarks.population import ALL_STUDIES, STUDIES_A_DAY, instances_in, make_population, make_queries
from benchmarks.printing import figure, progress, show, spread
from benchmarks.sender import encode_messages, send
from benchmarks.servers import running, started
from benchmarks.store import warm_up
from benchmarks.wire import LARGEST_UNIT
from benchmarks.workloads import WORKLOADS, make_batch

STUDIES = 800
"""Studies that are stored the usual way; the others are copies of them."""

STORED = 400
"""Instances stored in a round, at each size."""


@dataclass(slots=True)
class Size:
    """The figures at one size of the index."""

    instances: int
    database: int
    """Bytes of the database."""
    start: float
    """Seconds from the start of the program until it listens."""
    rates: list[float] = field(default_factory=list)
    """Instances stored a second, a value a round."""
    shares: list[float] = field(default_factory=list)
    """Those over what the floor stores in the same round."""
    asked: dict[str, Asked] = field(default_factory=dict)


def measure(sizes: Sequence[int], *, rounds: int, folder: Path) -> None:
    """Grow an index to each size, in instances, measure there, and print a table."""
    ours = CONTENDERS["ours"]
    place = Path(tempfile.mkdtemp(prefix="grown-", dir=folder))
    queries = {kind: of_kind for kind, of_kind in make_queries(STUDIES).items() if kind != ALL_STUDIES}
    progress(f"growth: storing {instances_in(STUDIES)} instances")
    with started(ours, place) as server:
        load(server, make_population(STUDIES))
    database = place / "store" / "node.db"
    template = Template(database)
    found: list[Size] = []
    copies = 1
    for size in sorted(sizes):
        wanted = max(1, round(size / instances_in(STUDIES)))
        progress(f"growth: to {wanted * instances_in(STUDIES)} instances")
        template.copy(range(copies, wanted), back=lambda n: timedelta(days=n * STUDIES // STUDIES_A_DAY))
        copies = max(copies, wanted)
        with started(ours, place, patience=1800.0) as server:
            at = Size(copies * instances_in(STUDIES), database.stat().st_size, server.started_in)
            at.asked = {kind: Asked() for kind in queries}
            warm_up(server, number=900 + len(found))
            for number in range(rounds):
                progress(f"growth: {at.instances} instances, round {number + 1} of {rounds}")
                rate = _store(server.port, 1000 + len(found) * rounds + number)
                with running(CONTENDERS["floor"], folder) as floor:
                    at.shares.append(rate / _store(floor.port, 1))
                at.rates.append(rate)
                for kind, of_kind in queries.items():
                    ask(server.port, of_kind, at.asked[kind])
        found.append(at)
    _show(found, rounds)


def _store(port: int, number: int) -> float:
    """Store small instances nobody has; return how many a second. Raises RuntimeError."""
    batch = make_batch(WORKLOADS["small"], STORED, number)
    sent = send(port, encode_messages(batch, LARGEST_UNIT), 1)
    if sent.failures:
        raise RuntimeError("; ".join(sorted(set(sent.failures))))
    return STORED / sent.wall


def _show(sizes: Sequence[Size], rounds: int) -> None:
    first = sizes[0]
    rows = []
    for size in sizes:
        grown = statistics.median(size.shares) / statistics.median(first.shares)
        rows.append(
            (
                f"{size.instances:,}",
                figure(size.database / (1 << 20)),
                figure(size.start),
                figure(statistics.median(size.rates)),
                spread(size.shares),
                f"{grown:.2f}",
                *(figure(statistics.median(asked.p50) * 1000) for asked in size.asked.values()),
            )
        )
    kinds = [f"{kind}, p50 ms" for kind in first.asked]
    show(
        f"One node as its index grows; stored: 64 KiB at one association; medians of {rounds} rounds",
        ("instances", "MiB", "start s", "stored/s", "over floor", f"of {first.instances:,}", *kinds),
        rows,
    )
