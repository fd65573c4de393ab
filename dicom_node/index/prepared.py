"""Statements that are compiled once and run on the driver's own cursor.

On the way of every instance, SQLAlchemy's handling of a statement costs several times what the database needs to carry
it out. These are written with SQLAlchemy like all others, and their values come to what the types of the columns make
of them; what is left out is what SQLAlchemy does anew at each call.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import JSON, Boolean, Connection, Date, Delete, Dialect, Insert, Select, Update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from dicom_node.index.tables import PlainText, UtcDateTime, storable

_Process = Callable[[Any], Any]
_Pick = Callable[[Mapping[str, Any]], tuple[Any, ...]]


class Cursor:
    """The driver's own cursor in a transaction of SQLAlchemy. What it raises comes out as SQLAlchemy's DBAPIError."""

    __slots__ = ("_connection", "_driver_error", "_on", "conn", "dialect")

    def __init__(self, conn: Connection) -> None:
        """Open one on a connection of SQLAlchemy, which serves the statements that are not prepared."""
        self.conn = conn
        self.dialect = conn.dialect
        self._driver_error = conn.dialect.loaded_dbapi.Error
        connection = conn.connection.dbapi_connection
        assert connection is not None
        self._connection = connection
        self._on = connection.cursor()

    def execute(self, text: str, values: Sequence[Any] = ()) -> None:
        """Run a statement as the driver takes it."""
        try:
            self._on.execute(text, values)
        except self._driver_error as error:
            raise self._wrapped(error) from error

    def execute_many(self, text: str, several: Sequence[Sequence[Any]]) -> None:
        """Run a statement that returns nothing once for each of ``several`` values."""
        try:
            self._on.executemany(text, several)
        except self._driver_error as error:
            raise self._wrapped(error) from error

    def first(self) -> tuple[Any, ...] | None:
        """Return the first row of the statement that was run, None when there is none."""
        try:
            return self._on.fetchone()
        except self._driver_error as error:
            raise self._wrapped(error) from error

    def commit(self) -> None:
        """Commit, whether SQLAlchemy knows of the transaction or not."""
        if self.conn.in_transaction():
            self.conn.commit()
            return
        try:
            self._connection.commit()
        except self._driver_error as error:
            raise self._wrapped(error) from error

    def close_connection(self) -> None:
        """Undo what was not committed and close the driver's connection, which must not be the pool's."""
        # SQLite keeps a closed connection's transaction, and its lock, for as long as someone holds a statement.
        with contextlib.suppress(self._driver_error):
            self._connection.rollback()
        self._connection.close()

    def _wrapped(self, error: Exception) -> BaseException:
        lost = self.dialect.is_disconnect(error, self._connection, None)  # type: ignore[arg-type] # the driver's own error
        return DBAPIError.instance(
            None, None, error, self._driver_error, hide_parameters=True, connection_invalidated=lost
        )


class Prepared:
    """A statement that is run many times, on either kind of database, in the caller's transaction.

    Its values are named as its ``bindparam`` are, and as the columns that it writes.
    """

    def __init__(
        self, statement: Select[*tuple[Any, ...]] | Insert | Update | Delete, columns: Sequence[str] = ()
    ) -> None:
        """Take a statement; ``columns`` are those that it writes, all of them for an INSERT without any."""
        self._statement = statement
        self._columns = list(columns) or None
        self._compiled: dict[str, _Compiled] = {}

    def first(self, cursor: Cursor, values: Mapping[str, Any]) -> list[Any] | None:
        """Return the first row of a SELECT, None when there is none."""
        compiled = self._on(cursor.dialect)
        cursor.execute(compiled.text, compiled.values(values))
        row = cursor.first()
        if row is None:
            return None
        found = list(row)
        for position, process in compiled.results:
            value = found[position]
            if value is not None:
                found[position] = process(value)
        return found

    def write(self, cursor: Cursor, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run an INSERT, UPDATE or DELETE once for each of ``rows``."""
        if not rows:
            return
        compiled = self._on(cursor.dialect)
        if len(rows) == 1:
            cursor.execute(compiled.text, compiled.values(rows[0]))
        else:
            cursor.execute_many(compiled.text, [compiled.values(row) for row in rows])

    def _on(self, dialect: Dialect) -> "_Compiled":
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _compile(self._statement, self._columns, dialect)
        return compiled


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement as the driver of one kind of database takes it: its values by position."""

    text: str
    pick: _Pick
    """All values, in the driver's order."""
    pick_texts: _Pick
    """Those of PlainText columns."""
    texts: tuple[int, ...]
    """Where they stand among all."""
    binds: tuple[tuple[int, _Process], ...]
    """Where values stand that the driver does not take as they are, but for texts."""
    results: tuple[tuple[int, _Process], ...]
    """Where values stand that are not used as the driver gives them."""

    def values(self, of: Mapping[str, Any]) -> list[Any]:
        """Return what the driver takes for these values."""
        values = list(self.pick(of))
        for position, process in self.binds:
            value = values[position]
            if value is not None:
                values[position] = process(value)
        # Looked at together, since hardly any text has to change.
        together = "".join(self.pick_texts(of))
        if not together.isascii() or "\0" in together:
            for position in self.texts:
                values[position] = storable(values[position])
        return values


def _compile(
    statement: Select[*tuple[Any, ...]] | Insert | Update | Delete, columns: list[str] | None, dialect: Dialect
) -> _Compiled:
    compiled = statement.compile(dialect=dialect, column_keys=columns)
    assert isinstance(compiled, SQLCompiler)
    assert compiled.positiontup is not None
    names = compiled.positiontup
    types = [compiled.binds[name].type for name in names]
    texts = tuple(position for position, type_ in enumerate(types) if isinstance(type_, PlainText))
    selected = [column.type for column in statement.selected_columns] if isinstance(statement, Select) else []
    return _Compiled(
        text=compiled.string,
        pick=_picker(names),
        pick_texts=_picker([names[position] for position in texts]),
        texts=texts,
        binds=_processes(_bind_process(type_, dialect) for type_ in types),
        results=_processes(_result_process(type_, dialect) for type_ in selected),
    )


def _picker(names: Sequence[str]) -> _Pick:
    """Return a function that takes the values of ``names`` out of a mapping."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda of: tuple(of[name] for name in names)


def _processes(of: Iterable[_Process | None]) -> tuple[tuple[int, _Process], ...]:
    return tuple((position, process) for position, process in enumerate(of) if process is not None)


def _bind_process(type_: TypeEngine[Any], dialect: Dialect) -> _Process | None:
    """Return what makes the driver's value of one that is not None; None when the driver takes it as it is."""
    if isinstance(type_, PlainText):
        return None  # texts are looked at together
    if dialect.name == "sqlite":
        for kind, process in _SQLITE_BINDS.items():
            if isinstance(type_, kind):
                return process
    return type_.dialect_impl(dialect).bind_processor(dialect)


def _result_process(type_: TypeEngine[Any], dialect: Dialect) -> _Process | None:
    """Return what makes the value of the driver's, which is not None; None when it is the same."""
    if dialect.name == "sqlite":
        for kind, process in _SQLITE_RESULTS.items():
            if isinstance(type_, kind):
                return process
    return type_.dialect_impl(dialect).result_processor(dialect, None)


# What SQLAlchemy's own come to, several calls deep: an instance has many of them, most like those of the one before.


@lru_cache(maxsize=256)
def _sqlite_time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(" ", "microseconds").removesuffix("+00:00")


@lru_cache(maxsize=256)
def _from_sqlite_time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _json_text(value: Any) -> str:
    if isinstance(value, tuple):
        return _tuple_text(value)
    return "[]" if value == [] else json.dumps(value)


@lru_cache(maxsize=256)
def _tuple_text(value: tuple[Any, ...]) -> str:
    return json.dumps(value)


def _from_json_text(text: str) -> Any:
    return [] if text == "[]" else json.loads(text)


_SQLITE_BINDS: dict[type[TypeEngine[Any]], _Process | None] = {
    UtcDateTime: _sqlite_time, JSON: _json_text, Date: date.isoformat, Boolean: None,
}  # fmt: skip
_SQLITE_RESULTS: dict[type[TypeEngine[Any]], _Process] = {UtcDateTime: _from_sqlite_time, JSON: _from_json_text}
