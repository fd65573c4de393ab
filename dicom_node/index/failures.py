"""What SQLAlchemy and its drivers raise, turned into DatabaseError for the person who runs the node."""

import contextlib
import sqlite3
from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from dicom_node.errors import DatabaseError, IndexDamagedError

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Turn what SQLAlchemy raises into DatabaseError.

    Nothing of the statement and its values gets into the message or the traceback: they may be patient data, and
    PostgreSQL puts values into the details of its own messages.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise _error_of(error) from None


def concerns_the_database(error: BaseException) -> bool:
    """Tell whether an error is about the database as a whole (down, locked, full), so that others would meet it too."""
    return isinstance(error, (OperationalError, InterfaceError))


def damaged(error: sqlite3.Error | None) -> str:
    """Say that a SQLite file is damaged and what to do."""
    cause = f" ({error})" if error else ""
    return f"the index file is damaged{cause}; run `dicom-node rebuild` to make it anew from the stored files"


def _error_of(error: SQLAlchemyError) -> DatabaseError:
    driver_error = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(driver_error, sqlite3.Error) and getattr(driver_error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
        return IndexDamagedError(damaged(driver_error))
    return DatabaseError(_describe(error, driver_error))


def _describe(error: SQLAlchemyError, driver_error: BaseException | None) -> str:
    if isinstance(error, PoolTimeoutError):
        return "the index is busy: every connection to it is in use"
    if isinstance(driver_error, sqlite3.Error):
        # SQLite names tables and columns in its messages, never values.
        return f"the index failed: {driver_error}"
    state = getattr(driver_error, "sqlstate", None)
    if isinstance(error, OperationalError) and state is None:
        # The server was not reached, or is gone: libpq's first line names host, port and cause.
        return f"the index database cannot be reached: {str(driver_error).strip().splitlines()[0]}"
    cause = type(driver_error or error).__name__
    return f"the index failed: {cause}" + (f" (SQLSTATE {state})" if state else "")
