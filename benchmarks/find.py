"""C-FIND side by side: servers that hold the same studies are asked the same questions, in turn."""

import contextlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contenders import Contender
from benchmarks.finding import Finder, Query
from benchmarks.population import ALL_STUDIES, instances_in, make_population, make_queries
from benchmarks.printing import figure, percentile, progress, show, spread
from benchmarks.sender import encode_messages, longest_unit, send
from benchmarks.servers import Server, running
from benchmarks.workloads import Batch

LOADERS = 4
"""Associations that load a server."""

STREAMS = 5
"""Times that all studies are asked for in a round."""


@dataclass(slots=True)
class Asked:
    """The questions of one kind to one server, over all rounds. Times in seconds."""

    p50: list[float] = field(default_factory=list)
    """The median of each round."""
    p99: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    """The median until the first response, of each round."""
    rate: list[float] = field(default_factory=list)
    """Responses a second, of each round."""
    answers: float = 0.0
    """Answers to a question, on average."""


Figures = dict[str, dict[str, Asked]]
"""By kind of question and contender."""


def compare(contenders: Sequence[Contender], *, studies: int, rounds: int, folder: Path) -> Figures:
    """Load every contender, compare their answers, measure and print a table."""
    batch, queries = make_population(studies), make_queries(studies)
    with contextlib.ExitStack() as stack:
        servers = []
        for contender in contenders:
            progress(f"find: loading {contender.name} with {len(batch.instances)} instances")
            server = stack.enter_context(running(contender, folder))
            load(server, batch)
            servers.append(server)
        check_answers(servers, queries)
        figures: Figures = {kind: {each.name: Asked() for each in contenders} for kind in queries}
        for number in range(rounds):
            for server in servers if number % 2 == 0 else reversed(servers):
                progress(f"find: round {number + 1} of {rounds}: {server.contender.name}")
                for kind, asked in queries.items():
                    ask(server.port, asked, figures[kind][server.contender.name])
    title = f"C-FIND among {instances_in(studies)} instances in {studies} studies; medians of {rounds} rounds"
    _show(title, figures)
    return figures


def load(server: Server, batch: Batch) -> None:
    """Store a batch. Raises RuntimeError when not every answer is Success."""
    messages = encode_messages(batch, longest_unit(server.port, batch.workload.sop_class_uid))
    sent = send(server.port, messages, LOADERS)
    if sent.failures:
        raise RuntimeError(f"{server.contender.name}: " + "; ".join(sorted(set(sent.failures))))


def ask(port: int, queries: Sequence[Query], asked: Asked) -> None:
    """Ask all questions of a kind, one after the other on one association, and add the figures of this round."""
    repeated = list(queries) * (STREAMS if len(queries) == 1 else 1)
    with Finder(port) as finder:
        finder.ask(repeated[0])  # nobody's first time is measured
        answers = [finder.ask(query) for query in repeated]
    times = [each.last for each in answers]
    total = sum(len(each.identifiers) for each in answers)
    asked.p50.append(statistics.median(times))
    asked.p99.append(percentile(times, 0.99))
    asked.first.append(statistics.median(each.first for each in answers))
    asked.rate.append(total / sum(times))
    asked.answers = total / len(answers)


def check_answers(servers: Sequence[Server], queries: Mapping[str, Sequence[Query]]) -> None:
    """Raise RuntimeError unless all servers give the same answers, as sets, and give some."""
    for kind, of_kind in queries.items():
        for query in of_kind[:5]:
            told = []
            for server in servers:
                with Finder(server.port) as finder:
                    told.append(sorted(query.read(each) for each in finder.ask(query).identifiers))
            if not told[0] or any(each != told[0] for each in told):
                counts = ", ".join(
                    f"{server.contender.name} {len(each)}" for server, each in zip(servers, told, strict=True)
                )
                raise RuntimeError(f"the answers to {kind!r} differ ({counts}): {query.keys}")


def _show(title: str, figures: Figures) -> None:
    rows = []
    for kind, by_contender in figures.items():
        ours = by_contender.get("ours")
        for name, asked in by_contender.items():
            ratios = [its / own for its, own in zip(asked.p50, ours.p50, strict=True)] if ours else []
            rows.append(
                (
                    f"{kind}: {name}",
                    figure(asked.answers),
                    figure(statistics.median(asked.first) * 1000),
                    figure(statistics.median(asked.p50) * 1000),
                    figure(statistics.median(asked.p99) * 1000),
                    figure(statistics.median(asked.rate)) if kind == ALL_STUDIES else "",
                    spread(ratios),
                )
            )
    show(title, ("question", "answers", "first ms", "p50 ms", "p99 ms", "answers/s", "p50: it / ours"), rows)
