"""Opening the index: durable settings, locks with a deadline, clear errors that hold no values."""

import contextlib
import os
import sqlite3
import threading
import traceback
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, insert, make_url, select, text

from dicom_node.errors import DatabaseError, OperatorError
from dicom_node.index import group_commit, record, sqlite
from dicom_node.index.engine import Index, open_index
from dicom_node.index.record import Entry, Recorded
from dicom_node.index.tables import node_state, study
from tests.entries import NOON, make_entry


def _path(url: str) -> Path:
    return Path(make_url(url).database or "")


def test_every_sqlite_connection_has_the_durable_settings(sqlite_index: Index) -> None:
    with sqlite_index.read() as first, sqlite_index.read() as second, sqlite_index.write() as third:
        for conn in (first, second, third):
            read_back = [
                conn.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "wal_autocheckpoint")
            ]
            assert read_back == ["wal", 2, 1, 10_000, sqlite.LOG_PAGES]


def test_postgres_commits_synchronously(postgres_url: str) -> None:
    with closing(open_index(postgres_url)) as index, index.read() as conn:
        assert conn.execute(text("SHOW synchronous_commit")).scalar_one() == "on"
        assert conn.execute(text("SHOW lock_timeout")).scalar_one() == "10s"


def _durability(conn: Connection) -> str:
    """Return how the transaction commits."""
    if conn.dialect.name == "sqlite":
        return {1: "relaxed", 2: "durable"}[conn.exec_driver_sql("PRAGMA synchronous").scalar_one()]
    return {"on": "durable"}[conn.execute(text("SHOW synchronous_commit")).scalar_one()]


def test_only_what_can_be_made_again_on_the_same_machine_is_committed_without_a_flush(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recording on SQLite; whatever transactions come before and after."""
    recordings: list[str] = []
    others: list[str] = []

    def write_entries(conn: Connection, entries: Sequence[Entry]) -> list[Recorded]:
        recordings.append(_durability(conn))
        return record.write_entries(conn, entries)

    monkeypatch.setattr(group_commit, "write_entries", write_entries)
    for _ in range(3):
        index.record(make_entry())
        for transaction in (index.write, index.upgrade, index.read):
            with transaction() as conn:
                others.append(_durability(conn))
        with pytest.raises(DatabaseError):
            index.record(replace(make_entry(), size=None))  # type: ignore[arg-type] # what cannot be written
    assert recordings == ["relaxed" if index.engine.dialect.name == "sqlite" else "durable"] * 6
    assert others == ["durable"] * 9


def test_a_closed_index_has_no_file_open(sqlite_index: Index, sqlite_url: str) -> None:
    def opened() -> set[str]:
        held = set()
        for each in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):  # the one that lists them
                held.add(str(each.readlink()))
        return {path for path in held if path.startswith(str(_path(sqlite_url)))}

    sqlite_index.record(make_entry())
    assert opened()
    sqlite_index.close()
    assert not opened()
    sqlite_index.record(make_entry())


def test_a_setting_that_does_not_hold_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as in_memory, pytest.raises(DatabaseError, match="journal_mode"):
        sqlite.configure(in_memory, 1.0)


def test_a_write_transaction_takes_its_lock_when_it_begins(sqlite_index: Index, sqlite_url: str) -> None:
    with (
        sqlite_index.write(),
        closing(sqlite3.connect(_path(sqlite_url), timeout=0)) as other,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("BEGIN IMMEDIATE")


def test_a_reader_sees_one_moment_while_others_write(sqlite_index: Index) -> None:
    with sqlite_index.read() as reader:
        assert reader.execute(select(node_state)).all() == []
        with sqlite_index.write() as writer:
            writer.execute(insert(node_state).values(name="a", value="1"))
        assert reader.execute(select(node_state)).all() == []
    with sqlite_index.read() as reader:
        assert reader.execute(select(node_state)).all() == [("a", "1")]


def test_an_exception_undoes_the_transaction(index: Index) -> None:
    def fail_after_writing() -> None:
        with index.write() as conn:
            conn.execute(insert(node_state).values(name="a", value="1"))
            raise ValueError

    with pytest.raises(ValueError):
        fail_after_writing()
    with index.read() as conn:
        assert conn.execute(select(node_state)).all() == []


def test_writers_of_two_nodes_take_turns(index: Index, index_url: str) -> None:
    """Read, then write: with two writers at once, counts would be lost."""
    with index.write() as conn:
        conn.execute(insert(node_state).values(name="count", value="0"))

    def count_up(own: Index) -> None:
        for _ in range(25):
            with own.write() as conn:
                value = conn.execute(select(node_state.c.value)).scalar_one()
                conn.execute(node_state.update().values(value=str(int(value) + 1)))

    with closing(open_index(index_url)) as other:
        threads = [threading.Thread(target=count_up, args=[own]) for own in (index, other, index, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with index.read() as conn:
        assert conn.execute(select(node_state.c.value)).scalar_one() == "100"


def test_a_locked_database_is_an_error_after_the_deadline_and_works_again_after(index_url: str) -> None:
    with closing(open_index(index_url)) as holder, closing(open_index(index_url, busy_timeout_s=0.2)) as waiting:
        with holder.write():
            with pytest.raises(DatabaseError), waiting.write():
                pytest.fail("two writers at once")
            with pytest.raises(DatabaseError):
                waiting.record(make_entry())
            with waiting.read() as conn:
                assert conn.execute(select(study)).all() == []
        waiting.record(make_entry())
        with holder.read() as conn:
            assert len(conn.execute(select(study)).all()) == 1


def test_a_writer_of_the_same_node_waits_with_a_deadline_too(index_url: str) -> None:
    with (
        closing(open_index(index_url, busy_timeout_s=0.2)) as index,
        index.write(),
        pytest.raises(DatabaseError, match="busy"),
        index.write(),
    ):
        pytest.fail("two writers at once")


def test_a_damaged_file_is_refused_with_what_to_do(sqlite_url: str) -> None:
    open_index(sqlite_url).close()
    with _path(sqlite_url).open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(8 * 4096))
    with pytest.raises(DatabaseError, match="dicom-node rebuild"):
        open_index(sqlite_url)


@pytest.mark.parametrize(("seconds", "is_found"), [(600.0, True), (0.005, False)])
def test_the_check_for_damage_ends_in_the_middle_of_a_table_that_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, is_found: bool
) -> None:
    path, page, pages = tmp_path / "large.db", 512, 100_000
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA page_size = {page}")
        connection.execute("CREATE TABLE large (value BLOB)")
        connection.execute("INSERT INTO large VALUES (zeroblob(?))", (page * pages,))
        connection.commit()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 2 * page)
        file.write(b"\xff" * 4)  # where the last page but one says which page is the next
    monkeypatch.setattr(sqlite, "CHECK_SECONDS", seconds)
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as conn:
        if is_found:
            with pytest.raises(DatabaseError, match="dicom-node rebuild"):
                sqlite.check_undamaged(conn)
        else:
            sqlite.check_undamaged(conn)
    engine.dispose()
    path.unlink()  # it is large


def test_a_file_that_is_no_database_is_refused_with_what_to_do(sqlite_url: str) -> None:
    path = _path(sqlite_url)
    path.parent.mkdir()
    path.write_bytes(b"this is not a database" * 1000)
    with pytest.raises(DatabaseError, match="dicom-node rebuild"):
        open_index(sqlite_url)
    assert path.read_bytes().startswith(b"this is not")


def test_damage_met_later_says_what_to_do(sqlite_url: str) -> None:
    with closing(open_index(sqlite_url)) as index:
        for number in range(50):
            index.record(make_entry(sop_instance_uid=f"1.2.{number}"))
    with closing(open_index(sqlite_url)) as index:
        size = _path(sqlite_url).stat().st_size
        with _path(sqlite_url).open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(size - 4096))
        index.engine.dispose()  # what a connection has read once it does not read again
        with pytest.raises(DatabaseError, match="dicom-node rebuild"):
            index.record(make_entry())


def test_a_damaged_database_is_set_aside_for_a_new_one(sqlite_url: str) -> None:
    assert sqlite.set_aside(make_url(sqlite_url)) is None
    _path(sqlite_url).parent.mkdir()
    _path(sqlite_url).write_bytes(b"damaged")
    aside = sqlite.set_aside(make_url(sqlite_url))
    assert aside is not None
    assert aside.read_bytes() == b"damaged"
    open_index(sqlite_url).close()


def test_only_owner_and_group_may_read_the_files(sqlite_url: str) -> None:
    before = os.umask(0)
    try:
        with closing(open_index(sqlite_url)) as index:
            index.record(make_entry())
            modes = {path.name: path.stat().st_mode & 0o777 for path in _path(sqlite_url).parent.iterdir()}
            names = ["node.db", "node.db-wal", "node.db-shm", "node.db.lock", "node.db.turn"]
            assert modes == dict.fromkeys(names, 0o640)
            assert _path(sqlite_url).parent.stat().st_mode & 0o777 == 0o750
    finally:
        os.umask(before)


def test_a_network_file_system_is_refused(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_file_system", lambda _folder: "nfs4")
    with pytest.raises(DatabaseError, match="nfs4"):
        open_index(sqlite_url)


def test_the_file_system_of_a_folder_is_known(tmp_path: Path) -> None:
    assert sqlite._file_system(Path("/proc")) == "proc"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://localhost/x", "no url"])
def test_another_kind_of_url_is_the_operators_error(url: str) -> None:
    with pytest.raises(OperatorError):
        open_index(url)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseError, match="cannot be opened"):
        open_index(f"sqlite:///{tmp_path}/file/node.db")


def test_a_server_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="cannot be reached"):
        open_index(f"postgresql://tester:secret@/none?host={tmp_path}", busy_timeout_s=2)


def test_lost_connections_are_made_again(postgres_url: str, postgres_server: str) -> None:
    admin = create_engine(postgres_server)
    with closing(open_index(postgres_url)) as index:
        index.record(make_entry())
        kill = text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = :name")
        with admin.connect() as conn:
            assert conn.execute(kill, {"name": make_url(postgres_url).database}).scalar_one() > 0
        admin.dispose()
        index.record(make_entry())


def test_an_error_holds_no_value(index: Index) -> None:
    secret = "SYNTH^SECRET"
    with index.write() as conn:
        conn.execute(insert(study).values(study_uid=secret, first_received_at=NOON, last_received_at=NOON))
    with pytest.raises(DatabaseError) as caught, index.write() as conn:
        conn.execute(insert(study).values(study_uid=secret, first_received_at=NOON, last_received_at=NOON))
    assert secret not in "".join(traceback.format_exception(caught.value))


def test_an_error_in_recording_holds_no_value(index: Index) -> None:
    secret = "SYNTH^SECRET"
    without_size = replace(make_entry(PatientName=secret, ImageType=secret), size=None)  # type: ignore[arg-type] # what cannot be written
    with pytest.raises(DatabaseError) as caught:
        index.record(without_size)
    assert secret not in "".join(traceback.format_exception(caught.value))


def test_text_no_database_can_store_is_left_out(index: Index) -> None:
    with index.write() as conn:
        conn.execute(insert(node_state).values(name="a", value="before\0after \ud800 ä"))
        assert conn.execute(select(node_state.c.value)).scalar_one() == "beforeafter  ä"
        assert conn.execute(select(node_state.c.name).where(node_state.c.name == "a\0")).scalar_one() == "a"
