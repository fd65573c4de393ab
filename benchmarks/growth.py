"""The node as its index grows: starting, storing and answering, with ten thousand rows and with ten million."""

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from benchmarks.contenders import CONTENDERS
from benchmarks.find import Asked, ask, load
from benchmarks.multiply import Template
from benchmarks.node import node_command
from benchmarks.population import ALL_STUDIES, STUDIES_A_DAY, instances_in, make_population, make_queries
from benchmarks.printing import figure, progress, show, spread
from benchmarks.sender import encode_messages, send
from benchmarks.servers import Server, running, started
from benchmarks.store import warm_up
from benchmarks.wire import LARGEST_UNIT
from benchmarks.workloads import WORKLOADS, make_batch

STUDIES = 800
"""Studies that are stored the usual way; the others are copies of them."""

UNITS = 100
"""Units that the copies belong to in turn."""

STORED = 400
"""Instances stored in a round, at each size."""

STREAMED = 100_000
"""Instances up to which all studies are asked for, too: above, they are more than the node gives in one answer."""

PATIENCE = 1800.0
"""Seconds that a start may take, and the first store after it."""


@dataclass(slots=True)
class Size:
    """The figures at one size of the index."""

    instances: int
    database: int
    """Bytes of the database."""
    start: float
    """Seconds from the start of the program until it listens."""
    ready: float
    """Seconds from then until it stores: the first review is done meanwhile."""
    rates: list[float] = field(default_factory=list)
    """Instances stored a second, a value a round."""
    shares: list[float] = field(default_factory=list)
    """Those over what the floor stores in the same round."""
    asked: dict[str, Asked] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def measure(sizes: Sequence[int], *, rounds: int, folder: Path) -> Sequence[Size]:
    """Grow an index to each size, in instances, measure there, and print a table."""
    ours = replace(CONTENDERS["ours"], command=partial(node_command, units=UNITS))
    place = Path(tempfile.mkdtemp(prefix="grown-", dir=folder))
    progress(f"growth: storing {instances_in(STUDIES)} instances")
    with started(ours, place) as server:
        load(server, make_population(STUDIES))
    database = place / "store" / "node.db"
    template = Template(database)
    found: list[Size] = []
    copies = 1
    for size in sorted(sizes):
        wanted = max(copies, round(size / instances_in(STUDIES)))
        progress(f"growth: to {wanted * instances_in(STUDIES)} instances")
        template.copy(
            range(copies, wanted),
            back=lambda n: timedelta(days=n * STUDIES // STUDIES_A_DAY),
            unit_of=lambda n, study_uid: f"u{(n * STUDIES + int(study_uid[-6:])) % UNITS:04d}",
        )
        copies = wanted
        os.sync()  # gigabytes that were written without a flush
        with started(ours, place, patience=PATIENCE) as server:
            ready = _until_it_stores(server, 10_000 * (len(found) + 1))
            at = Size(copies * instances_in(STUDIES), database.stat().st_size, server.started_in, ready)
            found.append(at)
            _measure(server, at, 100 * len(found), rounds, folder)
    _show(found, rounds)
    return found


def _until_it_stores(server: Server, number: int) -> float:
    """Send an instance until it is taken; return the seconds it took. Raises RuntimeError when it takes too long."""
    began = time.monotonic()
    while True:
        number += 1
        try:
            warm_up(server, number)
        except RuntimeError:
            if time.monotonic() - began > PATIENCE:
                raise
        else:
            return time.monotonic() - began


def _measure(server: Server, at: Size, number: int, rounds: int, folder: Path) -> None:
    queries = make_queries(STUDIES)
    if at.instances > STREAMED:
        del queries[ALL_STUDIES]
    at.asked = {kind: Asked() for kind in queries}
    for each in range(rounds):
        progress(f"growth: {at.instances} instances, round {each + 1} of {rounds}")
        for kind, of_kind in queries.items():
            ask(server.port, of_kind, at.asked[kind])
        try:
            rate = _store(server.port, number + each)
            with running(CONTENDERS["floor"], folder) as floor:
                share = rate / _store(floor.port, 1)
        except RuntimeError as error:
            at.failures.append(str(error))
        else:
            at.rates.append(rate)
            at.shares.append(share)


def _store(port: int, number: int) -> float:
    """Store small instances nobody has; return how many a second. Raises RuntimeError."""
    batch = make_batch(WORKLOADS["small"], STORED, number)
    sent = send(port, encode_messages(batch, LARGEST_UNIT), 1)
    if sent.failures:
        raise RuntimeError("; ".join(sorted(set(sent.failures))))
    return STORED / sent.wall


def _show(sizes: Sequence[Size], rounds: int) -> None:
    first = sizes[0]
    kinds = [kind for kind in first.asked if kind != ALL_STUDIES]
    rows = []
    for size in sizes:
        both = bool(size.shares and first.shares)
        ratio = [statistics.median(size.shares) / statistics.median(first.shares)] if both else []
        rows.append(
            (
                f"{size.instances:,}",
                figure(size.database / (1 << 20)),
                figure(size.start),
                figure(size.ready),
                figure(statistics.median(size.rates)) if size.rates else "-",
                spread(size.shares),
                spread(ratio),
                *(figure(statistics.median(size.asked[kind].p50) * 1000) for kind in kinds),
                "; ".join(sorted(set(size.failures))),
            )
        )
    show(
        f"One node as its index grows; 64 KiB at one association; p50 of answers in ms; medians of {rounds} rounds",
        ("instances", "MiB", "start s", "ready s", "stored/s", "over floor", "to the first", *kinds, "note"),
        rows,
    )
    streams = [(size, size.asked[ALL_STUDIES]) for size in sizes if ALL_STUDIES in size.asked]
    if streams:
        show(
            "All studies asked for at once",
            ("instances", "answers", "first ms", "p50 ms", "answers/s"),
            [
                (
                    f"{size.instances:,}",
                    f"{asked.answers:,.0f}",
                    *(figure(statistics.median(times) * 1000) for times in (asked.first, asked.p50)),
                    figure(statistics.median(asked.rate)),
                )
                for size, asked in streams
            ],
        )
