"""The schema: migrated equals declared, newer is refused, killed leaves old or new, a backup comes first."""

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, make_url, text

from dicom_node.errors import DatabaseError, SchemaTooNewError
from dicom_node.index import schema, sqlite, tables
from dicom_node.index.engine import Index, open_index


def _types_differ(context: MigrationContext, _found: Any, _declared: Any, found: Any, declared: Any) -> bool:
    """Compare what would be written in a CREATE TABLE, collation included."""
    return bool(found.compile(context.dialect) != declared.compile(context.dialect))


def test_the_migrated_schema_is_the_declared_one(index: Index) -> None:
    with index.read() as conn:
        missing = produce_migrations(
            MigrationContext.configure(conn, opts={"compare_type": _types_differ}), tables.metadata
        )
    assert missing.upgrade_ops is not None
    assert missing.upgrade_ops.is_empty(), render_python_code(missing.upgrade_ops)


def test_text_is_ordered_by_bytes_on_both_databases(index: Index) -> None:
    with index.write() as conn:
        conn.execute(text("INSERT INTO node_state VALUES ('a', ''), ('B', ''), ('b', ''), ('Ä', ''), ('_', '')"))
        assert list(conn.execute(text("SELECT name FROM node_state ORDER BY name")).scalars()) == [
            "B",
            "_",
            "a",
            "b",
            "Ä",
        ]


def test_the_program_knows_its_newest_migration() -> None:
    assert ScriptDirectory(str(schema.migrations_folder())).get_current_head() == schema.REVISION


def test_a_newer_schema_is_refused_without_a_write(sqlite_url: str) -> None:
    open_index(sqlite_url).close()
    path = Path(make_url(sqlite_url).database or "")
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")
    before = hashlib.sha256(path.read_bytes()).digest()
    with pytest.raises(SchemaTooNewError, match="9999"):
        open_index(sqlite_url)
    assert hashlib.sha256(path.read_bytes()).digest() == before


def test_a_newer_schema_is_refused_on_postgres(postgres_url: str) -> None:
    with closing(open_index(postgres_url)) as index, index.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaTooNewError):
        open_index(postgres_url)


def test_the_database_of_another_program_is_refused(index_url: str) -> None:
    with closing(open_index(index_url)) as index, index.write() as conn:
        conn.execute(text("DROP TABLE alembic_version"))
    with pytest.raises(DatabaseError, match="another program"):
        open_index(index_url)


def test_nodes_that_start_together_make_one_schema(new_url: str) -> None:
    failures: list[BaseException] = []

    def start() -> None:
        try:
            open_index(new_url).close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.fixture
def next_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program with one more migration, which makes a table anew while another refers to it."""
    folder = tmp_path / "migrations"
    shutil.copytree(schema.migrations_folder(), folder)
    (folder / "versions" / "9998_next.py").write_text(
        "import os, sqlalchemy as sa\n"
        "from alembic import op\n"
        f"revision = '9998'\ndown_revision = {schema.REVISION!r}\n"
        "def upgrade():\n"
        "    op.create_table('extra', sa.Column('id', sa.Integer(), primary_key=True))\n"
        "    anew = 'always' if op.get_bind().dialect.name == 'sqlite' else 'auto'\n"
        "    with op.batch_alter_table('study', recreate=anew) as batch:\n"
        "        batch.add_column(sa.Column('extra', sa.Text(), server_default='', nullable=False))\n"
        "    if os.environ.get('TEST_KILL'): os.kill(os.getpid(), 9)\n"
        "    if os.environ.get('TEST_ORPHAN'): op.execute('DELETE FROM study')\n"
    )
    monkeypatch.setattr(schema, "migrations_folder", lambda: folder)
    monkeypatch.setattr(schema, "REVISION", "9998")
    return folder


def _revision_before(release: Path) -> str:
    """Return the revision of this release, which the next one builds on."""
    return str(ScriptDirectory(str(release)).get_revision("9998").down_revision)


def _add_study_and_series(url: str) -> None:
    at = datetime(2026, 11, 23, 10, tzinfo=UTC)
    with closing(open_index(url)) as index, index.write() as conn:
        conn.execute(tables.study.insert().values(study_uid="1.2", first_received_at=at, last_received_at=at))
        conn.execute(tables.series.insert().values(study_uid="1.2", series_uid="1.3", first_received_at=at))


@pytest.fixture
def old_database(index_url: str) -> str:
    """A database of this release, with rows that refer to each other."""
    _add_study_and_series(index_url)
    return index_url


def test_an_upgrade_keeps_the_rows_and_leaves_a_backup(old_database: str, next_release: Path) -> None:
    old = _revision_before(next_release)
    with closing(open_index(old_database)) as index, index.read() as conn:
        assert conn.execute(text("SELECT study_uid, extra FROM study")).all() == [("1.2", "")]
        assert conn.execute(text("SELECT series_uid FROM series")).all() == [("1.3",)]
        if conn.dialect.name == "sqlite":
            assert conn.execute(text("PRAGMA foreign_keys")).scalar() == 1
    if old_database.startswith("sqlite"):
        path = Path(make_url(old_database).database or "")
        copy = path.with_name(f"node.db.schema-{old}.bak")
        with closing(sqlite3.connect(copy)) as saved:
            assert saved.execute("SELECT version_num FROM alembic_version").fetchone() == (old,)
            assert saved.execute("SELECT study_uid FROM study").fetchall() == [("1.2",)]
        assert sorted(file.name for file in path.parent.iterdir()) == [
            "node.db",
            "node.db.lock",
            copy.name,
            "node.db.turn",
        ]


def test_an_upgrade_that_would_orphan_rows_is_undone(
    old_database: str, next_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_ORPHAN", "1")
    with pytest.raises(DatabaseError):
        open_index(old_database)
    monkeypatch.delenv("TEST_ORPHAN")
    with closing(open_index(old_database)) as index, index.read() as conn:
        assert conn.execute(text("SELECT study_uid FROM study")).all() == [("1.2",)]


_UPGRADE = """
import sys
from pathlib import Path
from dicom_node.index import schema
from dicom_node.index.engine import open_index
schema.migrations_folder = lambda: Path(sys.argv[2])
schema.REVISION = "9998"
open_index(sys.argv[1])
"""


def test_an_upgrade_killed_half_way_leaves_the_old_schema(old_database: str, next_release: Path) -> None:
    command = [sys.executable, "-c", _UPGRADE, old_database, str(next_release)]
    killed = subprocess.run(command, env={**os.environ, "TEST_KILL": "1"}, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with pytest.MonkeyPatch.context() as as_before:
        as_before.undo()
        as_before.setattr(schema, "REVISION", _revision_before(next_release))
        with closing(open_index(old_database)) as index, index.read() as conn:
            assert schema.current_revision(conn) == _revision_before(next_release)
            assert not inspect(conn).has_table("extra")
            assert conn.execute(text("SELECT study_uid FROM study")).all() == [("1.2",)]
    open_index(old_database).close()  # and the next start finishes it


@pytest.mark.parametrize("moment", [0.0, 0.1, 0.2, 0.3, 0.4, 0.6])
def test_a_node_killed_while_it_makes_the_schema_starts_again(new_url: str, moment: float) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"print('.', flush=True)\nfrom dicom_node.index.engine import open_index\nopen_index({new_url!r})",
        ],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    with process.stdout:
        try:
            process.wait(0.3 + moment)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    with closing(open_index(new_url)) as index, index.read() as conn:
        assert schema.current_revision(conn) == schema.REVISION
        assert {table.name for table in tables.metadata.sorted_tables} <= set(inspect(conn).get_table_names())


def test_the_backup_of_an_interrupted_upgrade_is_made_anew(sqlite_url: str) -> None:
    _add_study_and_series(sqlite_url)
    path = Path(make_url(sqlite_url).database or "")
    (path.parent / "node.db.schema-0001.bak.part").write_bytes(b"half a copy")
    with closing(sqlite3.connect(sqlite.back_up(path, "0001"))) as saved:
        assert saved.execute("SELECT count(*) FROM study").fetchone() == (1,)


def test_nothing_is_upgraded_without_a_backup(
    sqlite_url: str, next_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as as_before:
        as_before.setattr(schema, "REVISION", _revision_before(next_release))
        _add_study_and_series(sqlite_url)
    old = _revision_before(next_release)
    (Path(make_url(sqlite_url).database or "").parent / f"node.db.schema-{old}.bak").mkdir()
    with pytest.raises(DatabaseError, match="nothing was upgraded"):
        open_index(sqlite_url)
    monkeypatch.setattr(schema, "REVISION", old)
    open_index(sqlite_url).close()


def test_the_migrations_are_those_shipped_with_the_package_else_those_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "dicom_node"
    monkeypatch.setattr(schema, "files", lambda _name: package)
    assert schema.migrations_folder() == tmp_path / "migrations"
    (package / "_migrations").mkdir(parents=True)
    assert schema.migrations_folder() == package / "_migrations"
