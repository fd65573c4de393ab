"""Fixtures that several rooms share."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dicom_node.index.engine import Index, open_index
from tests import postgres


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


@pytest.fixture(params=["sqlite", "postgres"])
def index_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, once for each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def index(index_url: str) -> Iterator[Index]:
    """An open, empty index, once for each kind of database."""
    with closing(open_index(index_url)) as opened:
        yield opened


@pytest.fixture
def sqlite_index(sqlite_url: str) -> Iterator[Index]:
    """An open, empty index on SQLite, for tests that are about something else."""
    with closing(open_index(sqlite_url)) as opened:
        yield opened


@pytest.fixture
def postgres_index(postgres_url: str) -> Iterator[Index]:
    """An open, empty index on PostgreSQL."""
    with closing(open_index(postgres_url)) as opened:
        yield opened
