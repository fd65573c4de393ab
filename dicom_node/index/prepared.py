"""Statements that are compiled once and run on the driver's own cursor.

On the way of every instance, SQLAlchemy's handling of a statement costs several times what the database needs to carry
it out. These are written with SQLAlchemy like all others, and their values pass through the types of the columns like
all others; what is left out is what SQLAlchemy does anew at each call.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Dialect, Insert, Select, Update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from dicom_node.index.tables import PlainText, storable

_Process = Callable[[Any], Any] | None


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement as the driver of one kind of database takes it."""

    text: str
    positional: bool
    """The driver takes a sequence of values; otherwise values by name."""
    binds: tuple[tuple[str, _Process], ...]
    results: tuple[tuple[int, Callable[[Any], Any]], ...]
    """Position of the columns whose values are not used as the driver gives them."""
    driver_error: type[Exception]

    def values(self, of: Mapping[str, Any]) -> Any:
        """Return what the driver takes for these values."""
        if self.positional:
            return [of[name] if process is None else process(of[name]) for name, process in self.binds]
        return {name: of[name] if process is None else process(of[name]) for name, process in self.binds}


class Prepared:
    """A statement that is run many times, on either kind of database, in the caller's transaction.

    Its values are named as its ``bindparam`` are, and as the columns that it writes.
    """

    def __init__(self, statement: Select[*tuple[Any, ...]] | Insert | Update, columns: Sequence[str] = ()) -> None:
        """Take a statement; ``columns`` are those that it writes, all of them for an INSERT without any."""
        self._statement = statement
        self._columns = list(columns) or None
        self._compiled: dict[str, _Compiled] = {}

    def first(self, conn: Connection, values: Mapping[str, Any]) -> list[Any] | None:
        """Return the first row of a SELECT, None when there is none."""
        compiled = self._on(conn.dialect)
        cursor = conn.connection.cursor()
        try:
            cursor.execute(compiled.text, compiled.values(values))
            row = cursor.fetchone()
        except compiled.driver_error as error:
            raise _wrapped(error, compiled.driver_error) from error
        finally:
            cursor.close()
        if row is None:
            return None
        found = list(row)
        for position, process in compiled.results:
            found[position] = process(found[position])
        return found

    def write(self, conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run an INSERT or UPDATE once for each of ``rows``."""
        if not rows:
            return
        compiled = self._on(conn.dialect)
        cursor = conn.connection.cursor()
        try:
            if len(rows) == 1:
                cursor.execute(compiled.text, compiled.values(rows[0]))
            else:
                cursor.executemany(compiled.text, [compiled.values(row) for row in rows])
        except compiled.driver_error as error:
            raise _wrapped(error, compiled.driver_error) from error
        finally:
            cursor.close()

    def _on(self, dialect: Dialect) -> _Compiled:
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _compile(self._statement, self._columns, dialect)
        return compiled


def run_text(conn: Connection, text: str) -> None:
    """Run a statement without values that the driver takes as it is."""
    driver_error = conn.dialect.loaded_dbapi.Error
    cursor = conn.connection.cursor()
    try:
        cursor.execute(text)
    except driver_error as error:
        raise _wrapped(error, driver_error) from error
    finally:
        cursor.close()


def _wrapped(error: Exception, driver_error: type[Exception]) -> BaseException:
    """Return what SQLAlchemy raises for an error of the driver."""
    return DBAPIError.instance(None, None, error, driver_error, hide_parameters=True)


def _compile(
    statement: Select[*tuple[Any, ...]] | Insert | Update, columns: list[str] | None, dialect: Dialect
) -> _Compiled:
    compiled = statement.compile(dialect=dialect, column_keys=columns)
    assert isinstance(compiled, SQLCompiler)
    results = []
    if isinstance(statement, Select):
        for position, column in enumerate(statement.selected_columns):
            process = column.type.dialect_impl(dialect).result_processor(dialect, None)
            if process is not None:
                results.append((position, process))
    return _Compiled(
        text=compiled.string,
        positional=compiled.positional,
        binds=tuple(
            (name, _bind_processor(compiled.binds[name].type, dialect))
            for name in compiled.positiontup or compiled.binds
        ),
        results=tuple(results),
        driver_error=dialect.loaded_dbapi.Error,
    )


def _bind_processor(type_: TypeEngine[Any], dialect: Dialect) -> _Process:
    if isinstance(type_, PlainText):
        return storable  # what PlainText comes to, without two calls on the way: most columns are texts
    return type_.dialect_impl(dialect).bind_processor(dialect)
