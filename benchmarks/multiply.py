"""Makes a large index of a small one: further studies by copying the rows that real instances left.

A node that grew for years is not measured in an afternoon. So the rows of some studies that were stored the usual way
are written again and again, with other UIDs, patients and days, and whatever else the columns hold. There are no
files behind the copies; the index does not need them to be asked.
"""

import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Self

from benchmarks.population import MARK
from dicom_node.index.exams import exam_id

_TABLES = ("study", "name_word", "series", "exam", "instance")
_DATES = frozenset(
    {"study_date", "series_date", "acquisition_date", "content_date", "acquisition_day", "day"}
)  # as DICOM text, or as the database keeps days
_INDEXES = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}")

Row = tuple[Any, ...]
ChooseUnit = Callable[[int, str], str]
"""The unit of a study, by the number of the copy and the template's Study Instance UID."""


class Template:
    """The rows that are copied. Use it while no node runs on the database."""

    def __init__(self, database: Path) -> None:
        """Read them all: everything that holds ``MARK``."""
        self._database = database
        with closing(sqlite3.connect(database)) as connection:
            self._tables = [_Table.read(connection, name) for name in _TABLES]

    def copy(self, copies: range, *, back: Callable[[int], timedelta], unit_of: ChooseUnit | None = None) -> None:
        """Write the rows again once for each number in ``copies``, each number above zero and never used before.

        The days of copy number n lie ``back(n)`` before the template's. Without ``unit_of`` the units stay.
        """
        with closing(sqlite3.connect(self._database, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")  # nothing here has to survive
            connection.execute("PRAGMA cache_size = -1000000")
            indexes = connection.execute(_INDEXES).fetchall()
            for name, _ in indexes:  # made anew at the end, in one go: row by row they take many times as long
                connection.execute(f"DROP INDEX {name}")
            for number in copies:
                connection.execute("BEGIN")
                for table in self._tables:
                    marks = ", ".join("?" * len(table.columns))
                    copied = table.copied(number, back(number), unit_of)
                    connection.executemany(f"INSERT INTO {table.name} VALUES ({marks})", copied)
                connection.execute("COMMIT")
            for _, statement in indexes:
                connection.execute(statement)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@dataclass(frozen=True, slots=True)
class _Table:
    """The rows of one table; what of a row changes in a copy is given by the number of its column."""

    name: str
    columns: dict[str, int]
    rows: list[Row]
    marked: list[int]
    dated: list[int]

    @classmethod
    def read(cls, connection: sqlite3.Connection, name: str) -> Self:
        found = connection.execute(f"SELECT * FROM {name} WHERE study_uid LIKE '2.25.{MARK}%'")
        columns = {each[0]: at for at, each in enumerate(found.description)}
        rows = found.fetchall()
        return cls(
            name=name,
            columns=columns,
            rows=rows,
            marked=[at for at in columns.values() if any(isinstance(row[at], str) and MARK in row[at] for row in rows)],
            dated=[at for column, at in columns.items() if column in _DATES],
        )

    def copied(self, number: int, back: timedelta, unit_of: ChooseUnit | None) -> Iterator[Row]:
        """Yield the rows as copy ``number`` has them."""
        mark = f"{int(MARK) + number}"
        days: dict[str, str] = {}
        columns = self.columns
        study = columns["study_uid"]
        unit, its_id, digest = columns.get("unit_id"), columns.get("id"), columns.get("digest")
        derived, reviewed, tally = (columns.get(name) for name in ("derived_unit_id", "reviewed_at", "tally"))
        for row in self.rows:
            new = list(row)
            for at in self.marked:
                new[at] = row[at].replace(MARK, mark, 1)
            for at in self.dated:
                if row[at]:
                    new[at] = days.get(row[at]) or days.setdefault(row[at], _earlier(row[at], back))
            if digest is not None:
                new[digest] = hashlib.sha256(f"{number} {row[digest]}".encode()).hexdigest()  # all over, as real ones
            if reviewed is not None and row[reviewed] is None:
                new[reviewed] = row[columns["last_received_at"]]  # else all of them would be reviewed at the start
            if tally is not None:
                new[tally] = ""  # it holds the template's days; without it, the next instance of the exam adds up anew
            if unit is not None and unit_of is not None:
                new[unit] = unit_of(number, row[study])
                if derived is not None:
                    new[derived] = new[unit]
            if its_id is not None and unit is not None:
                new[its_id] = exam_id(new[study], new[unit])
            yield tuple(new)


def _earlier(day: str, back: timedelta) -> str:
    """Return an earlier day in the form that ``day`` has, YYYYMMDD or YYYY-MM-DD."""
    moved = date.fromisoformat(day) - back
    return moved.isoformat() if _ISO.fullmatch(day) else moved.isoformat().replace("-", "")
