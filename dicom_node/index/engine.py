"""Connections to the index: SQLite by default, PostgreSQL by URL, one writer at a time on both.

A commit that returned survives a power cut, so SQLite runs in WAL mode with ``synchronous = FULL`` (WAL with NORMAL may
lose the last commits) and PostgreSQL with ``synchronous_commit = on``. They are set on every connection and read back.
The one exception are the instances on SQLite, whose rows can be made again (``recording``). Write transactions take
their lock when they begin: in SQLite a read that turns into a write fails at once when another wrote meanwhile,
whatever the timeout.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError

from dicom_node.errors import DatabaseError, OperatorError
from dicom_node.index import schema, sqlite
from dicom_node.index.failures import translate_errors
from dicom_node.index.group_commit import GroupCommit
from dicom_node.index.prepared import Cursor
from dicom_node.index.record import Entry, Recorded
from dicom_node.index.recording import RecordingConnection
from dicom_node.index.turns import Turns

WRITER_LOCK = 0x5BB0D1C0
"""Key of the PostgreSQL advisory lock that a write transaction holds: any number that other programs do not use."""


def open_index(url: str, *, busy_timeout_s: float = 10.0, is_ready: bool = False) -> "Index":
    """Open the index at ``url``, making it or bringing its schema up to date first.

    ``url`` is ``sqlite:///PATH`` or ``postgresql://...`` (``postgresql+psycopg://`` is the same).
    ``busy_timeout_s`` is how long a transaction waits for another's lock. ``is_ready`` when another process of the node
    has just opened it: then neither damage nor an old schema is looked for.

    Raises OperatorError for a URL of another kind, DatabaseError when the database cannot be reached, is damaged or
    does not take the durable settings, SchemaTooNewError when a newer release wrote it.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise OperatorError("the database URL is not readable; write sqlite:///PATH or postgresql://...") from None
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        return _open_sqlite(parsed, busy_timeout_s, is_ready=is_ready)
    if parsed.drivername in {"postgresql", "postgresql+psycopg"}:
        return _open_postgresql(parsed.set(drivername="postgresql+psycopg"), busy_timeout_s)
    raise OperatorError(f"a database of the kind {parsed.drivername!r} cannot be used; use sqlite or postgresql")


class Index:
    """The index: short read and write transactions, and the recording of instances."""

    def __init__(self, engine: Engine, busy_timeout_s: float, turns: Turns | None = None) -> None:
        """``turns`` is where writers of several processes wait, if not in the database."""
        self.engine = engine
        self._turns = turns
        self._busy_timeout_s = busy_timeout_s
        self._writer = threading.Lock()
        self._recording = RecordingConnection(engine, _begin)
        self._group = GroupCommit(self._begin_recording, busy_timeout_s)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection in a transaction that only reads: keep it short, and never send on a network inside.

        On SQLite all its statements see the same moment; on PostgreSQL each sees what was committed when it began.
        """
        with translate_errors(), self.engine.connect() as conn:
            if conn.dialect.name == "sqlite":
                Cursor(conn).execute("BEGIN")
            yield conn

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection in the one write transaction; it commits durably at the end, or not at all on an exception.

        Raises DatabaseError when the lock is not free within the busy timeout. Not reentrant.
        """
        with translate_errors(), self._begin_write() as conn:
            yield conn

    def record(self, entry: Entry) -> Recorded:
        """Make one instance part of the index, whose object is durable, in a commit shared with all who waited.

        Of every process's reads that begin after the return, each sees it. On SQLite a power cut soon after may take
        the row; whoever starts the node makes it again from the object.

        Raises DatabaseError when the database is down, or locked for longer than the busy timeout: then the instance
        may be recorded or not, and recording it again is safe.
        """
        return self._group.record(entry)

    def close(self) -> None:
        """Close every connection that is not in use."""
        with contextlib.suppress(DatabaseError), self._turn():
            self._recording.close()
        self.engine.dispose()
        if self._turns is not None:
            self._turns.close()

    @contextlib.contextmanager
    def upgrade(self) -> Iterator[Connection]:
        """Like ``write``, for changes of the schema: SQLite checks foreign keys at the end alone."""
        with translate_errors(), self._begin_write(upgrades=True) as conn:
            conn.detach()  # its foreign keys are off: it must not be used again
            yield conn
            if conn.dialect.name == "sqlite" and conn.exec_driver_sql("PRAGMA foreign_key_check").first():
                raise DatabaseError(
                    "the upgrade of the index was undone: it would have left rows without their parents"
                )

    @contextlib.contextmanager
    def _begin_write(self, *, upgrades: bool = False) -> Iterator[Connection]:
        with self._turn(), self.engine.connect() as conn, conn.begin():
            cursor = Cursor(conn)
            if upgrades and conn.dialect.name == "sqlite":
                cursor.execute("PRAGMA foreign_keys = OFF")  # without effect once a transaction has begun
            _begin(cursor)
            yield conn

    @contextlib.contextmanager
    def _begin_recording(self) -> Iterator[Connection]:
        with self._turn(), self._recording.transaction() as conn:
            yield conn

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        # The threads of this process wait here, without polling, instead of in SQLite's busy handler.
        if not self._writer.acquire(timeout=self._busy_timeout_s):
            raise DatabaseError(f"the index is busy: its write lock was not free for {self._busy_timeout_s:g} s")
        try:
            with self._turns.taken(self._busy_timeout_s) if self._turns else contextlib.nullcontext():
                yield
        finally:
            self._writer.release()


def _begin(cursor: Cursor) -> None:
    """Begin a transaction that writes, with the lock that lets one at a time."""
    if cursor.dialect.name == "sqlite":
        cursor.execute("BEGIN IMMEDIATE")
    else:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [WRITER_LOCK])


def _open_sqlite(url: URL, busy_timeout_s: float, *, is_ready: bool) -> Index:
    path = sqlite.database_path(url)
    sqlite.make_ready(path)
    engine = create_engine(
        url, hide_parameters=True, pool_size=8, max_overflow=24, pool_timeout=busy_timeout_s,
        connect_args={"timeout": busy_timeout_s},
    )  # fmt: skip

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        sqlite.configure(connection, busy_timeout_s)

    index = Index(engine, busy_timeout_s, Turns(Path(f"{path}.turn"), sqlite.FILE_MODE))
    if is_ready:
        return index
    with _closed_on_failure(index), sqlite.preparing(path, busy_timeout_s):
        with translate_errors(), engine.connect() as conn:
            sqlite.check_undamaged(conn)
        schema.bring_up_to_date(index.read, index.upgrade, before_upgrade=lambda old: sqlite.back_up(path, old))
    return index


def _open_postgresql(url: URL, busy_timeout_s: float) -> Index:
    options = f"-c synchronous_commit=on -c lock_timeout={int(busy_timeout_s * 1000)} -c timezone=UTC"
    connect_args: dict[str, Any] = {
        "connect_timeout": max(2, int(busy_timeout_s)),
        "tcp_user_timeout": int(busy_timeout_s * 1000),  # a vanished server fails a statement instead of hanging it
        "options": " ".join(filter(None, [url.query.get("options", ""), options])),  # type: ignore[list-item] # a URL may repeat a key; this one cannot be
        "client_encoding": "utf8",
        "application_name": "dicom-node",
    }
    try:
        engine = create_engine(
            url.difference_update_query(["options"]), hide_parameters=True, pool_size=8, max_overflow=24,
            pool_timeout=busy_timeout_s, pool_pre_ping=True, paramstyle="format", connect_args=connect_args,
        )  # fmt: skip
    except ModuleNotFoundError:
        raise OperatorError("PostgreSQL needs the extra dicom-node[postgres]; install it") from None
    index = Index(engine, busy_timeout_s)
    with _closed_on_failure(index):
        with index.read() as conn:
            for setting, expected in (("synchronous_commit", "on"), ("server_encoding", "UTF8")):
                actual = conn.execute(text(f"SHOW {setting}")).scalar_one()
                if actual != expected:
                    raise DatabaseError(f"PostgreSQL has {setting} = {actual}; the index needs {expected}")
        schema.bring_up_to_date(index.read, index.upgrade, before_upgrade=lambda _old: None)
    return index


@contextlib.contextmanager
def _closed_on_failure(index: Index) -> Iterator[None]:
    try:
        yield
    except BaseException:
        index.close()
        raise
