"""What an association costs without an instance: opening and releasing it, and letting it stand idle."""

import contextlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import wire
from benchmarks.contenders import Contender
from benchmarks.printing import figure, percentile, progress, show
from benchmarks.servers import Server, running
from benchmarks.workloads import MAMMOGRAM

OPENED = 100
"""Associations opened and released one after the other in a round."""

CONTEXTS = 20
"""Presentation contexts that each proposes."""

IDLE = 30
"""Associations that stand idle at once, or as many of them as a receiver serves at a time."""

IDLE_SECONDS = 3.0

PATIENCE = 2.0
"""Seconds to wait for an acceptance before a receiver is taken to serve no more at a time."""


@dataclass(slots=True)
class Cost:
    """One contender's figures, a value a round."""

    open_p50: list[float] = field(default_factory=list)
    """Seconds from the connection to the acceptance."""
    open_p99: list[float] = field(default_factory=list)
    release_p50: list[float] = field(default_factory=list)
    """Seconds from the request to release to its answer."""
    idle: list[float] = field(default_factory=list)
    """Processor time used while associations stood idle, as a share of one core."""
    at_once: int = 0
    """How many stood idle."""
    failures: list[str] = field(default_factory=list)


def compare(contenders: Sequence[Contender], *, rounds: int, folder: Path) -> dict[str, Cost]:
    """Measure and print a table."""
    costs = {each.name: Cost() for each in contenders}
    for number in range(rounds):
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            progress(f"associations, round {number + 1} of {rounds}: {contender.name}")
            try:
                with running(contender, folder) as server:
                    _open_and_release(server.port, costs[contender.name])
                    _stand_idle(server, costs[contender.name])
            except (RuntimeError, OSError) as error:
                costs[contender.name].failures.append(str(error))
    rows = [
        (
            name,
            *(
                figure(statistics.median(values) * factor) if values else "-"
                for values, factor in (
                    (cost.open_p50, 1000.0),
                    (cost.open_p99, 1000.0),
                    (cost.release_p50, 1000.0),
                    (cost.idle, 100.0),
                )
            ),
            str(cost.at_once or "-"),
            "; ".join(sorted(set(cost.failures))),
        )
        for name, cost in costs.items()
    ]
    show(
        f"Associations with {CONTEXTS} contexts, one after the other, and idle at once; medians of {rounds} rounds",
        ("contender", "open p50 ms", "p99 ms", "release p50 ms", "idle: % of a core", "at once", "note"),
        rows,
    )
    return costs


def _contexts() -> dict[int, tuple[str, str]]:
    """Return contexts for one SOP class in two transfer syntaxes, over and over, as devices propose them."""
    return {2 * at + 1: (MAMMOGRAM, (wire.EXPLICIT, wire.IMPLICIT)[at % 2]) for at in range(CONTEXTS)}


def _open_and_release(port: int, cost: Cost) -> None:
    contexts = _contexts()
    opening, releasing = [], []
    for number in range(OPENED + 1):
        began = time.perf_counter()
        assoc = wire.Association(port, contexts)
        opened = time.perf_counter()
        assoc.release()
        if number:  # nobody's first time is measured
            opening.append(opened - began)
            releasing.append(time.perf_counter() - opened)
    cost.open_p50.append(statistics.median(opening))
    cost.open_p99.append(percentile(opening, 0.99))
    cost.release_p50.append(statistics.median(releasing))


def _stand_idle(server: Server, cost: Cost) -> None:
    contexts = _contexts()
    with contextlib.ExitStack() as stack:
        several: list[wire.Association] = []
        with contextlib.suppress(TimeoutError, ConnectionError):  # it serves no more at a time
            while len(several) < IDLE:
                several.append(stack.enter_context(wire.Association(server.port, contexts, timeout=PATIENCE)))
        time.sleep(1.0)  # what opening them still costs is over
        cpu, began = server.cpu_seconds(), time.monotonic()
        time.sleep(IDLE_SECONDS)
        cost.idle.append((server.cpu_seconds() - cpu) / (time.monotonic() - began))
        cost.at_once = len(several)
