"""The figures that docs/performance.md sets goals for, gathered from the parts that were measured."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.associations import Cost
from benchmarks.find import Figures
from benchmarks.growth import Size
from benchmarks.population import ALL_STUDIES
from benchmarks.printing import figure, show
from benchmarks.senders import SENDERS, Rates
from benchmarks.store import Table

HELD_AGAINST = (
    ("C-STORE, ours / floor", "ours", "floor", "rate", ("small", "prone")),
    ("C-STORE, ours / floor-early", "ours", "floor-early", "rate", ("upright", "dbt", "huge")),
    ("C-STORE, ours / orthanc", "ours", "orthanc", "rate", ()),
    ("C-STORE, ours / storescp", "ours", "storescp", "rate", ()),
    ("C-STORE, receiver alone / storescp", "receiver", "storescp", "rate", ()),
    ("p99 of an instance, ours / orthanc", "ours", "orthanc", "p99", ()),
    ("CPU of the receiver, ours / orthanc", "ours", "orthanc", "cpu", ()),
)
"""What is divided by what, of which figure, and of which workloads (none: of all)."""

SENDERS_AFTER = "C-STORE, receiver alone / storescp"
"""The line behind which the figures of DCMTK's senders stand."""

EARLIER = 100_000
"""Instances at which questions are held against those at the largest size."""


@dataclass(slots=True)
class Results:
    """What the parts returned; empty for those that were not run."""

    store: dict[str, Table] = field(default_factory=dict)
    """By workload."""
    senders: Rates = field(default_factory=dict)
    find: Figures = field(default_factory=dict)
    growth: Sequence[Size] = ()
    review: Sequence[Sequence[str]] = ()
    associations: dict[str, Cost] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)
    """Seconds, by part."""


def show_summary(results: Results) -> None:
    """Print every figure that was measured, and how long the parts took."""
    rows = list(_figures(results))
    if rows:
        show("Medians of all rounds", ("figure", "measured"), rows)
    took = ", ".join(f"{part} {seconds / 60:.1f}" for part, seconds in results.took.items())
    print(f"\nminutes: {took}; in all {sum(results.took.values()) / 60:.1f}")


def _figures(results: Results) -> Iterator[tuple[str, str]]:
    for title, one, other, name, workloads in HELD_AGAINST:
        for workload, table in results.store.items():
            if not workloads or workload in workloads:
                measured = [
                    f"{statistics.median(ratios):.2f} at {at_once}"
                    for at_once, by_name in table.items()
                    if one in by_name and other in by_name and (ratios := by_name[one].ratios(by_name[other], name))
                ]
                if measured:
                    yield f"{title}: {workload}", ", ".join(measured)
        if title == SENDERS_AFTER:
            yield from _of_senders(results.senders)
    for at_once, by_name in results.store.get("huge", {}).items():
        if (ours := by_name.get("ours")) is not None and ours.counted:
            yield (
                f"memory above base while {at_once} x 2 GiB arrive, MiB",
                f"{figure(ours.median('grown'))} in one process, {figure(ours.median('grown_in_all'))} in all",
            )
    yield from _of_find(results.find)
    if len(results.growth) > 1:
        yield from _of_growth(results.growth)
    for units, exams, first, another, *_ in results.review:
        yield f"review of {units} units with {exams} exams, s", f"{first} at first, {another} on another day"
    if "ours" in results.associations:
        cost = results.associations["ours"]
        for title, values, factor in (
            ("association set-up p50, ms", cost.open_p50, 1000.0),
            (f"{cost.at_once} idle associations, % of a core", cost.idle, 100.0),
        ):
            if values:
                yield title, figure(statistics.median(values) * factor)


def _of_senders(rates: Rates) -> Iterator[tuple[str, str]]:
    for sender in SENDERS:
        ours, others = rates.get((sender, "ours"), {}), rates.get((sender, "orthanc"), {})
        ratios = [ours[number] / others[number] for number in ours.keys() & others.keys()]
        if ratios:
            yield f"{sender} with its defaults to ours / to orthanc", f"{statistics.median(ratios):.2f}"


def _of_find(figures: Figures) -> Iterator[tuple[str, str]]:
    for kind, by_name in figures.items():
        if {"ours", "orthanc"} <= by_name.keys():
            ours, other = by_name["ours"], by_name["orthanc"]
            if kind != ALL_STUDIES:
                yield f"C-FIND p50, orthanc / ours: {kind}", figure(_ratio(other.p50, ours.p50))
            else:
                yield "C-FIND answers a second, ours / orthanc", figure(_ratio(ours.rate, other.rate))
    if (asked := figures.get(ALL_STUDIES, {}).get("ours")) is not None:
        yield "C-FIND first answer of all studies, ms", figure(statistics.median(asked.first) * 1000)


def _of_growth(sizes: Sequence[Size]) -> Iterator[tuple[str, str]]:
    least, largest = sizes[0], sizes[-1]
    earlier = min(sizes, key=lambda size: abs(size.instances - EARLIER))
    if earlier is not largest:
        for kind, asked in largest.asked.items():
            if kind == ALL_STUDIES:
                continue
            ratio = statistics.median(asked.p50) / statistics.median(earlier.asked[kind].p50)
            yield f"C-FIND p50 at {largest.instances:,} / at {earlier.instances:,}: {kind}", f"{ratio:.2f}"
    for size in [each for each in sizes if ALL_STUDIES in each.asked][-1:]:
        first = figure(statistics.median(size.asked[ALL_STUDIES].first) * 1000)
        yield f"C-FIND first answer of all studies at {size.instances:,}, ms", first
    if least.shares and largest.shares:
        ratio = statistics.median(largest.shares) / statistics.median(least.shares)
        yield f"store rate over floor at {largest.instances:,} / at {least.instances:,}", f"{ratio:.2f}"


def _ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the median of the ratios round by round."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))
