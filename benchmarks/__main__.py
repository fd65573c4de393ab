"""``python -m benchmarks``: measure the whole, or one part."""

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from benchmarks import associations, find, store
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.printing import progress, show_machine
from benchmarks.workloads import WORKLOADS

_USUAL = "small,prone,upright,dbt"

rounds_option = click.option("--rounds", default=5, show_default=True, help="Rounds; the tables show medians.")
folder_option = click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("/var/tmp"),
    show_default=True,
    help="Where the stores are made, each in a folder that is removed: the disk that is measured.",
)


def _named(names: str, known: dict[str, Contender]) -> list[Contender]:
    """Return the contenders of these names that are present here."""
    chosen = []
    for name in names.split(","):
        if name not in known:
            raise click.BadParameter(f"{name!r} is none of {', '.join(known)}")
        if known[name].is_present():
            chosen.append(known[name])
        else:
            progress(f"{name} is not installed and is left out")
    return chosen


@contextmanager
def _place(folder: Path) -> Iterator[Path]:
    """Give a folder for everything that is made, and remove it."""
    with tempfile.TemporaryDirectory(prefix="dicom-node-bench-", dir=folder, ignore_cleanup_errors=True) as name:
        show_machine(Path(name))
        yield Path(name)


@click.group()
def main() -> None:
    """Measure the node beside other receivers on this machine, on the loopback (docs/performance.md)."""


@main.command("store")
@click.option("--workload", default=_USUAL, show_default=True, help=f"Of {', '.join(WORKLOADS)}.")
@click.option("-a", "--associations", "at_once", default="1,4,8", show_default=True, help="Associations at once.")
@click.option("--contender", default=",".join(CONTENDERS), show_default=True, help="Who takes part.")
@click.option("--count", default=0, help="Instances a round, instead of the workload's own number.")
@rounds_option
@folder_option
def store_command(*, workload: str, at_once: str, contender: str, count: int, rounds: int, folder: Path) -> None:
    """C-STORE: rates, latencies, processor time and memory."""
    contenders = _named(contender, CONTENDERS)
    with _place(folder) as place:
        for name in workload.split(","):
            if name not in WORKLOADS:
                raise click.BadParameter(f"{name!r} is none of {', '.join(WORKLOADS)}")
            for number in at_once.split(","):
                store.compare(contenders, WORKLOADS[name], int(number), rounds=rounds, count=count, folder=place)
        print("\nat Success:")
        for each in contenders:
            print(f"  {each.name:12} {each.guarantee}")


@main.command("find")
@click.option("--studies", default=1600, show_default=True, help="Studies, of 12 or 13 instances each.")
@click.option("--contender", default="ours,orthanc", show_default=True, help="Who takes part.")
@rounds_option
@folder_option
def find_command(*, studies: int, contender: str, rounds: int, folder: Path) -> None:
    """C-FIND: five selective kinds of question, and the stream of all studies."""
    contenders = [each for each in _named(contender, CONTENDERS) if each.finds]
    with _place(folder) as place:
        find.compare(contenders, studies=studies, rounds=rounds, folder=place)


@main.command("associations")
@click.option("--contender", default="ours,orthanc,storescp,pynetdicom", show_default=True, help="Who takes part.")
@rounds_option
@folder_option
def associations_command(*, contender: str, rounds: int, folder: Path) -> None:
    """Opening and releasing associations, and what idle ones cost."""
    contenders = _named(contender, CONTENDERS)
    with _place(folder) as place:
        associations.compare(contenders, rounds=rounds, folder=place)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped and the folder removed
    main()
