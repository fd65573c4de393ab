"""What commands write: tables for people, JSON for programs, and nothing that could steer a terminal."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from enum import Enum
from pathlib import Path
from typing import Any

import click

from dicom_node.logs import wants_colour


@dataclass(frozen=True, slots=True)
class Cell:
    """A text in a table with a style of rich, such as ``bold red``, which only a terminal shows."""

    text: str
    style: str = ""


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that reads the option ``--json``, passed as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON for programs: UTC times, stable keys.")(
        command
    )


def write_json(value: object) -> None:
    """Write a value as JSON: dataclasses and mappings as objects, times in UTC, dates as dates.

    What could steer a terminal is escaped as JSON escapes it, so that programs read it as it was.
    """
    text = json.dumps(jsonable(value), indent=2, ensure_ascii=False)
    click.echo("".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text))


def jsonable(value: object) -> Any:
    """Return a value in the types JSON has. Raises TypeError for what has no such form."""
    match value:
        case None | bool() | int() | float():
            return value
        case Enum():
            return jsonable(value.value)
        case str():
            return value
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case Path():
            return str(value)
        case Mapping():
            return {str(jsonable(key)): jsonable(entry) for key, entry in value.items()}
        case list() | tuple():
            return [jsonable(entry) for entry in value]
        case set() | frozenset():
            return sorted(jsonable(entry) for entry in value)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
        case _:
            raise TypeError(f"a {type(value).__name__} has no JSON form")


def printable(text: str) -> str:
    """Escape control characters: much of what is shown came from a peer."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def local(moment: datetime | None, zone: tzinfo) -> str:
    """Return a moment as people of the facility read it, such as ``2026-11-23 14:05 CST``; "" for None."""
    return "" if moment is None else f"{moment.astimezone(zone):%Y-%m-%d %H:%M %Z}"


def write_table(headers: Sequence[str], rows: Iterable[Sequence[Cell | str | int | date | None]]) -> None:
    """Write a table: with colours and borders' room on a terminal, else as columns that programs can cut.

    Numbers stand to the right. None is an empty cell.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    right = [bool(column) and all(_is_number(cell.text) for cell in column) for column in zip(*cells, strict=True)]
    right = right or [False] * len(headers)
    if sys.stdout.isatty() or wants_colour(sys.stdout):
        _write_rich(headers, cells, right)
    else:
        _write_plain(headers, cells, right)


def _cell(value: Cell | str | int | date | None) -> Cell:
    if isinstance(value, Cell):
        return Cell(printable(value.text), value.style)
    return Cell("" if value is None else printable(str(value)))


def _is_number(text: str) -> bool:
    return not text or text == "-" or text.removeprefix("-").isdigit()


def _write_plain(headers: Sequence[str], cells: list[list[Cell]], right: list[bool]) -> None:
    texts = [list(headers), *([cell.text for cell in row] for row in cells)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        padded = [
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(row, widths, right, strict=True)
        ]
        click.echo("  ".join(padded).rstrip())


def _write_rich(headers: Sequence[str], cells: list[list[Cell]], right: list[bool]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only terminals need it
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(box=None, pad_edge=False, header_style="bold")
    for header, to_right in zip(headers, right, strict=True):
        table.add_column(header, justify="right" if to_right else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell.text, style=cell.style) for cell in row))
    Console(highlight=False).print(table)
