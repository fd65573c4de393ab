"""What a SQLite index needs of its file: a local disk, durable settings, one process at a time while it is prepared.

WAL mode shares memory between processes through a mapped file, which network file systems do not offer; an index there
would be damaged sooner or later.
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import URL, Connection

from dicom_node.errors import DatabaseError, IndexDamagedError, OperatorError
from dicom_node.index.failures import damaged

FILE_MODE = 0o640
FOLDER_MODE = 0o750

NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "fuse.sshfs", "fuse.glusterfs"})

CHECK_SECONDS = 1.0
"""How long the check for damage may read at opening; a file too large for it is checked as far as that goes."""


LOG_PAGES = 4000
"""Pages of the log after which a commit carries them over into the database, which takes two flushes. Of SQLite's own
1000, forty instances are full, and one store in forty waits for it; beyond 4096 every read has more to search."""


def database_path(url: URL) -> Path:
    """Return the file that a SQLite URL names. Raises OperatorError when it names none."""
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise OperatorError("the index must be a file; write sqlite:///PATH")
    return Path(url.database).absolute()


def make_ready(path: Path) -> None:
    """Make the folder and an empty file, readable by owner and group alone; refuse a network file system."""
    try:
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        kind = _file_system(path.parent)
        if kind in NETWORK_FILE_SYSTEMS:
            raise DatabaseError(f"{path.parent} is on a network file system ({kind}); use a local disk or PostgreSQL")
        # SQLite gives its -wal and -shm files the mode of the database.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
    except OSError as error:
        raise DatabaseError(f"the index file {path} cannot be opened: {error.strerror}") from None


def _file_system(folder: Path) -> str:
    """Return the type of the file system that ``folder`` is on, "" when the system does not tell (proc(5))."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with contextlib.suppress(OSError), Path("/proc/self/mountinfo").open(encoding="utf-8") as mounts:
        for line in mounts:
            mount, _, source = line.partition(" - ")
            if mount.split()[2] == number:
                return source.split()[0]
    return ""


def configure(connection: sqlite3.Connection, busy_timeout_s: float) -> None:
    """Make a new connection durable and read back that it is. Raises DatabaseError when a setting does not hold."""
    busy_ms = int(busy_timeout_s * 1000)
    for setting, value, expected in (
        ("busy_timeout", str(busy_ms), busy_ms),  # first: the others may have to wait
        ("journal_mode", "WAL", "wal"),
        ("synchronous", "FULL", 2),
        ("foreign_keys", "ON", 1),
        ("wal_autocheckpoint", str(LOG_PAGES), LOG_PAGES),
    ):
        connection.execute(f"PRAGMA {setting} = {value}")
        actual = connection.execute(f"PRAGMA {setting}").fetchone()[0]
        if actual != expected:
            raise DatabaseError(f"SQLite has {setting} = {actual}; the index needs {expected}")


@contextlib.contextmanager
def preparing(path: Path, timeout_s: float) -> Iterator[None]:
    """Hold the file lock under which one process at a time turns WAL mode on and brings the schema up to date.

    SQLite's own locks do not do: turning WAL mode on does not wait for another process that does the same.
    """
    deadline = time.monotonic() + timeout_s
    try:
        handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise DatabaseError(f"the lock file {path}.lock cannot be opened: {error.strerror}") from None
    with os.fdopen(handle, "r+b") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise DatabaseError("the index is busy: another process has been preparing it too long") from None
                time.sleep(0.05)
        yield


def check_undamaged(conn: Connection) -> None:
    """Raise IndexDamagedError when SQLite finds damage within ``CHECK_SECONDS`` of reading."""
    driver = conn.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    is_over = threading.Event()

    def stop() -> None:
        is_over.set()
        driver.interrupt()  # a progress handler would not do: SQLite walks through a whole table between two calls

    timer = threading.Timer(CHECK_SECONDS, stop)
    timer.start()
    try:
        found = [row[0] for row in driver.execute("PRAGMA quick_check(1)")]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return
        raise DatabaseError(f"the index cannot be read: {error}") from None
    except sqlite3.DatabaseError as error:
        raise IndexDamagedError(damaged(error)) from None
    finally:
        timer.cancel()
        timer.join()  # or it would interrupt what comes next
    if found != ["ok"] and not is_over.is_set():  # what was not looked at any more may be reported as missing
        raise IndexDamagedError(damaged(None))


def back_up(path: Path, revision: str) -> Path:
    """Copy the database beside itself, as it is at schema ``revision``, and flush the copy. Raises DatabaseError."""
    copy = path.with_name(f"{path.name}.schema-{revision}.bak")
    unfinished = copy.with_name(f"{copy.name}.part")
    try:
        unfinished.unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(unfinished)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, not three
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(copy)
    except (OSError, sqlite3.Error) as error:
        raise DatabaseError(f"nothing was upgraded: the copy {copy} cannot be made first: {error}") from None
    return copy


def set_aside(url: URL) -> Path | None:
    """Rename a damaged database, so that a new one can take its place; None when there is none.

    Only while no process has it open.
    """
    path = database_path(url)
    if not path.exists():
        return None
    aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside
