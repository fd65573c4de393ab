"""The connection that instances are recorded on: kept open from one transaction to the next.

On SQLite its commits are not flushed. What it commits can be made again from the files, which are durable before: a
node that starts indexes every object without a row before it listens. SQLite writes one log in order, so whatever
another connection commits durably takes all earlier rows along, and no durable row refers to one that a power cut took.
PostgreSQL's commits are flushed as ever: its server may lose power while the node lives on, and start without the last
rows while nothing would record them again.
"""

import contextlib
from collections.abc import Callable, Iterator

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from dicom_node.index.prepared import Cursor


class RecordingConnection:
    """Made when it is first used, and anew after every error. For one thread at a time."""

    def __init__(self, engine: Engine, begin: Callable[[Cursor], None]) -> None:
        """Connect to the database of ``engine``; ``begin`` begins a transaction and takes the write lock."""
        self._engine = engine
        self._begin = begin
        self._cursor: Cursor | None = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give the connection in a write transaction; it commits at the end, or not at all on an exception."""
        try:
            cursor = self._in_transaction()
            yield cursor.conn
            cursor.commit()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; a transaction that it is in is undone."""
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            cursor.close_connection()

    def _in_transaction(self) -> Cursor:
        if self._cursor is not None:
            try:
                self._begin(self._cursor)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                self.close()  # the server dropped it meanwhile
            else:
                return self._cursor
        self._cursor = self._open()
        self._begin(self._cursor)
        return self._cursor

    def _open(self) -> Cursor:
        conn = self._engine.connect()
        conn.detach()  # the pool gives its connections to those whose commits have to be flushed
        cursor = Cursor(conn)
        if conn.dialect.name == "sqlite":
            cursor.execute("PRAGMA synchronous = NORMAL")
        return cursor
