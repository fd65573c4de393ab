"""A throw-away PostgreSQL server for the tests: the one that DICOM_NODE_TEST_PG names, or Debian's programs."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

START_SECONDS = 30


class NoPostgresError(Exception):
    """No server can be had here; the message says why."""


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Give the URL of a server on which databases can be made, for as long as the block runs."""
    given = os.environ.get("DICOM_NODE_TEST_PG")
    if given:
        yield given
        return
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not programs:
        raise NoPostgresError("PostgreSQL is not installed and DICOM_NODE_TEST_PG is not set")
    with _running(programs[-1].parent) as url:
        yield url


@contextlib.contextmanager
def database(server_url: str, *, template: str = "template0") -> Iterator[str]:
    """Give the URL of a fresh database on the server: an empty one, or a copy of ``template``."""
    name = f"test_{uuid.uuid4().hex}"
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as conn:
            conn.execute(text(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE {template}"))
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
        with admin.connect() as conn:
            conn.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        admin.dispose()


@contextlib.contextmanager
def _running(programs: Path) -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="dicom-node-pg-", dir="/tmp"))  # a socket's path must be short
    # The server refuses to run as root; it ends with the test process, however that ends.
    as_user = ["setpriv", "--pdeathsig", "TERM"]
    if os.geteuid() == 0:
        as_user += ["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    try:
        subprocess.run(
            [*as_user, programs / "initdb", "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True, **quiet,
        )  # fmt: skip
        settings = ["fsync=off", "listen_addresses=", f"unix_socket_directories={folder}", "max_connections=200"]
        process = subprocess.Popen(
            [*as_user, programs / "postgres", "-D", data, *(part for setting in settings for part in ("-c", setting))],
            **quiet,
        )
        url = f"postgresql+psycopg://tester@/postgres?host={folder}"
        try:
            _wait_until_up(url, process)
            yield url
        finally:
            process.send_signal(3)  # SIGQUIT: at once; nothing of it is kept
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_up(url: str, process: "subprocess.Popen[bytes]") -> None:
    engine = create_engine(url)
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            engine.connect().close()
        except OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            engine.dispose()
            return
