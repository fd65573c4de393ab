"""Small words that several commands share: facts in lines, sizes, lists."""

import shutil
import sys
import textwrap
from collections.abc import Iterable
from datetime import date, datetime, timedelta, tzinfo

import click

from dicom_node.cli.output import printable

WIDTH = 100
"""Characters of a line of running text."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def own_name() -> str:
    """Return what a person types to call this program: its name where the shell finds it, else its path."""
    return "dicom-node" if shutil.which("dicom-node") else sys.argv[0]


def write_facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Write one line a fact, its name in front; a fact without a value is left out."""
    told = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in told), default=0)
    for name, value in told:
        click.echo(f"{name:<{width}}  {printable(value)}")


def write_sentence(text: str, *, first: str = "", rest: str = "", width: int = WIDTH) -> None:
    """Write a text in lines of a length that reads well; ``first`` and ``rest`` begin its lines."""
    lines = textwrap.wrap(
        printable(text),
        width=width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    click.echo("\n".join(lines))


def size_words(size: int) -> str:
    """Return a number of bytes as people read it: ``412 GiB``."""
    number, unit = float(size), 0
    while number >= 1024 and unit < len(_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return f"{number:.0f} {_UNITS[unit]}" if unit == 0 or number >= 10 else f"{number:.1f} {_UNITS[unit]}"


def day_words(day: date | None) -> str:
    """Return a day, or that there is none."""
    return "no date" if day is None else day.isoformat()


def span_words(span: timedelta) -> str:
    """Return how long something lasted, in its largest unit: ``12 d``, ``3 h``, ``5 min``."""
    seconds = max(0, int(span.total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def moment_words(at: datetime, zone: tzinfo, now: datetime) -> str:
    """Return a time near to now as people say it: ``today 11:52``, ``Sun 16:20``; a far one as its day."""
    local, today = at.astimezone(zone), now.astimezone(zone).date()
    days = (local.date() - today).days
    named = {-1: "yesterday", 0: "today", 1: "tomorrow"}
    if days in named:
        return f"{named[days]} {local:%H:%M}"
    return f"{local:%a %H:%M}" if -7 < days < 0 else f"{local:%Y-%m-%d}"
