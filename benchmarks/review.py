"""The daily review of many units: what the node does each morning, by itself and in one process."""

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.contenders import CONTENDERS
from benchmarks.find import load
from benchmarks.multiply import Template
from benchmarks.node import write_config
from benchmarks.population import LAST_DAY, STUDIES_A_DAY, make_population
from benchmarks.printing import figure, progress, show
from benchmarks.servers import started
from dicom_node.services.review import review
from dicom_node.settings.load import load_settings
from dicom_node.site import Site, open_stores

EXAMS_A_UNIT = 200
STUDIES = 200
"""Studies that are stored the usual way; the others are copies of them."""

SPAN = 40
"""Copies that lie one behind the other in time, so that the exams of a unit spread over some five years."""

LATER = timedelta(days=120)
"""From the newest exam to the day of the first review."""


def measure(sizes: Sequence[int], *, rounds: int, folder: Path) -> Sequence[Sequence[str]]:
    """Review so many units with ``EXAMS_A_UNIT`` exams each, and print a table."""
    rows = [_measured(units, rounds, folder) for units in sizes]
    show(
        f"Review of units with {EXAMS_A_UNIT} exams each; seconds; medians of {rounds} days",
        ("units", "exams", "first, all is news", "another day", "alerts", "messages"),
        rows,
    )
    return rows


def _measured(units: int, rounds: int, parent: Path) -> tuple[str, ...]:
    folder = Path(tempfile.mkdtemp(prefix="review-", dir=parent))
    progress(f"review: making {units} units")
    with started(CONTENDERS["ours"], folder) as server:
        load(server, make_population(STUDIES, per_study=1))
        port = server.port
    copies = units * EXAMS_A_UNIT // STUDIES
    Template(folder / "store" / "node.db").copy(
        range(1, copies + 1),
        back=lambda n: timedelta(days=n % SPAN * STUDIES // STUDIES_A_DAY),
        unit_of=lambda n, study_uid: f"u{(n * STUDIES + int(study_uid[-6:])) % units:04d}",
    )
    os.sync()
    site = Site.of(load_settings(write_config(port, folder, units), {}).settings)
    stores = open_stores(site)
    try:
        seconds, opened, queued = [], 0, 0
        for number in range(rounds + 1):
            progress(f"review: {units} units, day {number + 1} of {rounds + 1}")
            day = LAST_DAY + LATER + timedelta(days=number)
            began = time.perf_counter()
            result = review(
                stores.index,
                site.rules,
                site.channels,
                today=day,
                now=datetime(day.year, day.month, day.day, 12, tzinfo=UTC),
                digest="weekly",
            )
            seconds.append(time.perf_counter() - began)
            opened += len(result.opened)
            queued += len(result.queued)
    finally:
        stores.close()
    return (
        f"{units:,}",
        f"{units * EXAMS_A_UNIT:,}",
        figure(seconds[0]),
        figure(statistics.median(seconds[1:])),
        f"{opened:,}",
        f"{queued:,}",
    )
