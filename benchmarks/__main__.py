"""``python -m benchmarks``: measure the whole, or one part."""

import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from benchmarks import associations, find, growth, review, senders, store
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.printing import progress, show_machine
from benchmarks.workloads import WORKLOADS

ASSOCIATIONS = "1,4,8"
USUAL_WORKLOADS = "small,prone,upright,dbt"
STORING = ",".join(CONTENDERS)
SENT_TO = "ours,orthanc,storescp"
ASKED = "ours,orthanc"
ASSOCIATED = "ours,orthanc,storescp,pynetdicom"
STUDIES = 1600
SIZES = "1e4,1e5,1e6,1e7"
UNITS = "50,500,5000"

Option = Callable[[Callable[..., None]], Callable[..., None]]


def _contender_option(default: str) -> Option:
    return click.option("--contender", default=default, show_default=True, help="Who takes part.")


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


@contextmanager
def _place(folder: Path) -> Iterator[Path]:
    """Give a folder for everything that is made, and remove it."""
    with tempfile.TemporaryDirectory(
        prefix="dicom-node-bench-", dir=folder.resolve(), ignore_cleanup_errors=True
    ) as name:
        show_machine(Path(name))
        yield Path(name)


@click.group()
def main() -> None:
    """Measure the node beside other receivers on this machine, on the loopback (docs/performance.md)."""


@main.command("all")
@_common
def all_command(*, rounds: int, folder: Path) -> None:
    """Every part, one after the other: an hour or more."""
    with _place(folder) as place:
        _store(STORING, USUAL_WORKLOADS, ASSOCIATIONS, rounds=rounds, count=0, place=place)
        senders.compare(_named(SENT_TO), WORKLOADS["prone"], rounds=rounds, count=0, folder=place)
        find.compare(_named(ASKED), studies=STUDIES, rounds=rounds, folder=place)
        associations.compare(_named(ASSOCIATED), rounds=rounds, folder=place)
        growth.measure(_numbers(SIZES), rounds=rounds, folder=place)
        review.measure(_numbers(UNITS), rounds=rounds, folder=place)


@main.command("store")
@click.option("--workload", default=USUAL_WORKLOADS, show_default=True, help=f"Of {', '.join(WORKLOADS)}.")
@click.option("-a", "--associations", "at_once", default=ASSOCIATIONS, show_default=True, help="Associations at once.")
@_contender_option(STORING)
@click.option("--count", default=0, help="Instances a round, instead of the workload's own number.")
@_common
def store_command(*, workload: str, at_once: str, contender: str, count: int, rounds: int, folder: Path) -> None:
    """C-STORE: rates, latencies, processor time and memory."""
    with _place(folder) as place:
        _store(contender, workload, at_once, rounds=rounds, count=count, place=place)


def _store(names: str, workloads: str, at_once: str, *, rounds: int, count: int, place: Path) -> None:
    contenders = _named(names)
    for each in _split(workloads, WORKLOADS):
        for number in _numbers(at_once):
            store.compare(contenders, WORKLOADS[each], number, rounds=rounds, count=count, folder=place)
    print("\nWhat is so when it answers Success:\n")
    for contender in contenders:
        print(f"- {contender.name}: {contender.guarantee}")


@main.command("senders")
@click.option("--workload", type=click.Choice(list(WORKLOADS)), default="prone", show_default=True)
@_contender_option(SENT_TO)
@click.option("--count", default=0, help="Instances a round, instead of half the workload's own number.")
@_common
def senders_command(*, workload: str, contender: str, count: int, rounds: int, folder: Path) -> None:
    """C-STORE by DCMTK's own senders."""
    with _place(folder) as place:
        senders.compare(_named(contender), WORKLOADS[workload], rounds=rounds, count=count, folder=place)


@main.command("find")
@click.option("--studies", default=STUDIES, show_default=True, help="Studies, of 12 or 13 instances each.")
@_contender_option(ASKED)
@_common
def find_command(*, studies: int, contender: str, rounds: int, folder: Path) -> None:
    """C-FIND: five selective kinds of question, and the stream of all studies."""
    contenders = [each for each in _named(contender) if each.finds]
    with _place(folder) as place:
        find.compare(contenders, studies=studies, rounds=rounds, folder=place)


@main.command("associations")
@_contender_option(ASSOCIATED)
@_common
def associations_command(*, contender: str, rounds: int, folder: Path) -> None:
    """Opening and releasing associations, and what idle ones cost."""
    with _place(folder) as place:
        associations.compare(_named(contender), rounds=rounds, folder=place)


@main.command("growth")
@click.option("--sizes", default=SIZES, show_default=True, help="Instances in the index.")
@_common
def growth_command(*, sizes: str, rounds: int, folder: Path) -> None:
    """Starting, storing and answering as the index grows; ten million instances take 10 GB."""
    with _place(folder) as place:
        growth.measure(_numbers(sizes), rounds=rounds, folder=place)


@main.command("review")
@click.option("--units", default=UNITS, show_default=True, help="Units, with 200 exams each.")
@_common
def review_command(*, units: str, rounds: int, folder: Path) -> None:
    """The daily review of many units."""
    with _place(folder) as place:
        review.measure(_numbers(units), rounds=rounds, folder=place)


def _numbers(text: str) -> Sequence[int]:
    return [int(float(number)) for number in text.split(",")]


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped and the folder removed
    main()
