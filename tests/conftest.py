"""Fixtures that several rooms share."""

import contextlib
import logging
import shutil
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.transport import AssociationSocket
from sqlalchemy import make_url

from dicom_node.index.engine import Index, open_index
from tests import postgres

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


def _shut(self: AssociationSocket) -> None:
    """Close a connection of the tests' own peers, which the library leaves open when the other end has left already."""
    if self.socket is not None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


AssociationSocket._shutdown_socket = _shut  # type: ignore[method-assign]


_get_msg = DIMSEServiceProvider.get_msg


def _get_unless_paused(self: DIMSEServiceProvider, block: bool = False) -> Any:
    """Leave the answers to who asked.

    The library's own thread stops at a checkpoint while a request is under way; having passed it a moment before, it
    takes the first answer and throws it away.
    """
    if self.assoc.is_requestor and not block and not self.assoc._reactor_checkpoint.is_set():
        return None, None
    return _get_msg(self, block)


DIMSEServiceProvider.get_msg = _get_unless_paused  # type: ignore[method-assign]


@pytest.hookimpl(trylast=True)  # after they were shuffled
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that take longest, so that none of them is left alone at the end."""
    items.sort(key=lambda item: item.get_closest_marker("faults") is None)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server; the test is skipped, with the reason, where none can be had."""
    try:
        with postgres.server() as url:
            yield url
    except postgres.NoPostgresError as reason:
        pytest.skip(str(reason))


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path}/index/node.db"


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database of the test's own."""
    with postgres.database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite index without rows, to copy: making the schema takes longer than most tests."""
    path = tmp_path_factory.mktemp("template") / "node.db"
    open_index(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """The name of a PostgreSQL database that holds an index without rows, to copy."""
    with postgres.database(postgres_server) as url:
        open_index(url).close()
        yield str(make_url(url).database)


@pytest.fixture
def sqlite_index_url(sqlite_url: str, sqlite_template: Path) -> str:
    """The URL of a SQLite index without rows: ``sqlite_url``, made."""
    path = Path(str(make_url(sqlite_url).database))
    path.parent.mkdir(mode=0o750)
    shutil.copy(sqlite_template, path)
    return sqlite_url


@pytest.fixture
def postgres_index_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """The URL of a PostgreSQL index without rows, the test's own."""
    with postgres.database(postgres_server, template=postgres_template) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def new_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database without anything in it, once for each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["sqlite", "postgres"])
def index_url(request: pytest.FixtureRequest) -> str:
    """The URL of an index without rows, once for each kind of database."""
    return str(request.getfixturevalue(f"{request.param}_index_url"))


@pytest.fixture
def index(index_url: str) -> Iterator[Index]:
    """An open, empty index, once for each kind of database."""
    with closing(open_index(index_url)) as opened:
        yield opened


@pytest.fixture
def sqlite_index(sqlite_index_url: str) -> Iterator[Index]:
    """An open, empty index on SQLite, for tests that are about something else."""
    with closing(open_index(sqlite_index_url)) as opened:
        yield opened


@pytest.fixture
def postgres_index(postgres_index_url: str) -> Iterator[Index]:
    """An open, empty index on PostgreSQL."""
    with closing(open_index(postgres_index_url)) as opened:
        yield opened


@pytest.fixture
def logs_as_they_were() -> Iterator[None]:
    """Put back what configuring the logs changes for the whole process; pytest's own hooks are among it."""
    hooks = threading.excepthook, sys.unraisablehook, warnings.showwarning
    root = logging.getLogger()
    level, handlers = root.level, [*root.handlers]
    config = structlog.get_config()
    yield
    threading.excepthook, sys.unraisablehook, warnings.showwarning = hooks
    root.setLevel(level)
    root.handlers[:] = handlers
    structlog.configure(**config)
    structlog.contextvars.clear_contextvars()
