"""``python -m benchmarks``: measure the whole, or one part."""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from benchmarks import associations, find, growth, review, senders, store
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.printing import progress, show_machine
from benchmarks.summary import Results, show_summary
from benchmarks.workloads import WORKLOADS

USUAL_WORKLOADS = "small,prone,upright,dbt"
STORING = ",".join(CONTENDERS)
HUGE = "huge"
STORING_HUGE = "ours,floor-early"
SENT = "prone"
SENT_TO = "ours,orthanc,storescp"
ASKED = "ours,orthanc"
ASSOCIATED = "ours,orthanc,storescp"
STUDIES = 1600
SIZES = "1e4,1e5,1e6,1e7"
UNITS = "50,500,5000"

Option = Callable[[Callable[..., None]], Callable[..., None]]


def _contender_option(default: str) -> Option:
    return click.option("--contender", default=default, show_default=True, help="Who takes part.")


def _at_once_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "-a", "--associations", "at_once", default="", help="Associations at once, instead of the workload's own."
    )(command)


def _common(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that every part has."""
    rounds = click.option("--rounds", default=5, show_default=True, help="Rounds; the tables show medians.")
    folder = click.option(
        "--folder",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        default=Path("/var/tmp"),
        show_default=True,
        help="Where everything is made, in a folder that is removed: its disk is measured.",
    )
    return rounds(folder(command))


def _named(names: str) -> list[Contender]:
    """Return the contenders of these names that are present here."""
    chosen = []
    for each in _split(names, CONTENDERS):
        if CONTENDERS[each].is_present():
            chosen.append(CONTENDERS[each])
        else:
            progress(f"{each} is not installed and is left out")
    return chosen


def _split(names: str, known: dict[str, Any]) -> list[str]:
    several = names.split(",")
    for each in several:
        if each not in known:
            raise click.BadParameter(f"{each!r} is none of {', '.join(known)}")
    return several


def _numbers(text: str) -> Sequence[int]:
    return [int(float(number)) for number in text.split(",")]


class Session:
    """Some parts, measured one after the other in a folder of their own."""

    def __init__(self, place: Path, rounds: int) -> None:
        """Have nothing measured yet."""
        self.place = place
        self.rounds = rounds
        self.results = Results()
        self.has_failed = False

    def store(self, names: str, workload: str, at_once: str, count: int) -> None:
        """C-STORE of one workload."""
        which = WORKLOADS[workload]
        several = _numbers(at_once) if at_once else which.associations
        with self._part(f"store {workload}"):
            self.results.store[workload] = store.compare(
                _named(names), which, several, count=count, rounds=self.rounds, folder=self.place
            )

    def senders(self, names: str, workload: str, count: int) -> None:
        """C-STORE by DCMTK's senders."""
        with self._part("senders"):
            self.results.senders = senders.compare(
                _named(names), WORKLOADS[workload], count=count, rounds=self.rounds, folder=self.place
            )

    def find(self, names: str, studies: int) -> None:
        """C-FIND of those that answer it."""
        contenders = [each for each in _named(names) if each.finds]
        with self._part("find"):
            self.results.find = find.compare(contenders, studies=studies, rounds=self.rounds, folder=self.place)

    def growth(self, sizes: str) -> None:
        """The node as its index grows."""
        with self._part("growth"):
            self.results.growth = growth.measure(_numbers(sizes), rounds=self.rounds, folder=self.place)

    def review(self, units: str) -> None:
        """The daily review."""
        with self._part("review"):
            self.results.review = review.measure(_numbers(units), rounds=self.rounds, folder=self.place)

    def associations(self, names: str) -> None:
        """Opening, releasing and idle associations."""
        with self._part("associations"):
            self.results.associations = associations.compare(_named(names), rounds=self.rounds, folder=self.place)

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        """Take the time of a part, and remove what it made.

        When it fails, the others are measured all the same, and the whole has failed.
        """
        began = time.monotonic()
        try:
            yield
        except (RuntimeError, OSError) as error:
            print(f"\n{name} failed: {error}")
            self.has_failed = True
        for left in self.place.iterdir():
            shutil.rmtree(left, ignore_errors=True)
        os.sync()
        seconds = time.monotonic() - began
        self.results.took[name] = seconds
        progress(f"{name}: {seconds:.0f} s")


@contextmanager
def _session(folder: Path, rounds: int) -> Iterator[Session]:
    """Give a folder for everything that is made, and remove it; then print the summary of what was measured."""
    with tempfile.TemporaryDirectory(
        prefix="dicom-node-bench-", dir=folder.resolve(), ignore_cleanup_errors=True
    ) as name:
        show_machine(Path(name))
        session = Session(Path(name), rounds)
        yield session
    show_summary(session.results)
    if session.has_failed:
        sys.exit(1)


@click.group()
def main() -> None:
    """Measure the node beside other receivers on this machine, on the loopback (docs/performance.md)."""


@main.command("all")
@click.option("--times", default=1, show_default=True, help="So many times the instances that are sent in a round.")
@_at_once_option
@_common
def all_command(*, times: int, at_once: str, rounds: int, folder: Path) -> None:
    """Every part, one after the other: about half an hour."""
    with _session(folder, rounds) as session:
        for workload in _split(USUAL_WORKLOADS, WORKLOADS):
            session.store(STORING, workload, at_once, WORKLOADS[workload].count * times)
        session.store(STORING_HUGE, HUGE, "", WORKLOADS[HUGE].count)
        session.senders(SENT_TO, SENT, WORKLOADS[SENT].count // 2 * times)
        session.find(ASKED, STUDIES)
        session.growth(SIZES)
        session.review(UNITS)
        session.associations(ASSOCIATED)


@main.command("store")
@click.option("--workload", default=USUAL_WORKLOADS, show_default=True, help=f"Of {', '.join(WORKLOADS)}.")
@_at_once_option
@_contender_option(STORING)
@click.option("--count", default=0, help="Instances a round, instead of the workload's own number.")
@_common
def store_command(*, workload: str, at_once: str, contender: str, count: int, rounds: int, folder: Path) -> None:
    """C-STORE: rates, latencies, processor time and memory."""
    with _session(folder, rounds) as session:
        for each in _split(workload, WORKLOADS):
            session.store(contender, each, at_once, count or WORKLOADS[each].count)


@main.command("senders")
@click.option("--workload", type=click.Choice(list(WORKLOADS)), default=SENT, show_default=True)
@_contender_option(SENT_TO)
@click.option("--count", default=0, help="Instances a round, instead of half the workload's own number.")
@_common
def senders_command(*, workload: str, contender: str, count: int, rounds: int, folder: Path) -> None:
    """C-STORE by DCMTK's own senders."""
    with _session(folder, rounds) as session:
        session.senders(contender, workload, count or WORKLOADS[workload].count // 2)


@main.command("find")
@click.option("--studies", default=STUDIES, show_default=True, help="Studies, of 12 or 13 instances each.")
@_contender_option(ASKED)
@_common
def find_command(*, studies: int, contender: str, rounds: int, folder: Path) -> None:
    """C-FIND: five selective kinds of question, and the stream of all studies."""
    with _session(folder, rounds) as session:
        session.find(contender, studies)


@main.command("associations")
@_contender_option(ASSOCIATED)
@_common
def associations_command(*, contender: str, rounds: int, folder: Path) -> None:
    """Opening and releasing associations, and what idle ones cost."""
    with _session(folder, rounds) as session:
        session.associations(contender)


@main.command("growth")
@click.option("--sizes", default=SIZES, show_default=True, help="Instances in the index.")
@_common
def growth_command(*, sizes: str, rounds: int, folder: Path) -> None:
    """Starting, storing and answering as the index grows; ten million instances take 10 GB."""
    with _session(folder, rounds) as session:
        session.growth(sizes)


@main.command("review")
@click.option("--units", default=UNITS, show_default=True, help="Units, with 200 exams each.")
@_common
def review_command(*, units: str, rounds: int, folder: Path) -> None:
    """The daily review of many units."""
    with _session(folder, rounds) as session:
        session.review(units)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped and the folder removed
    main()
