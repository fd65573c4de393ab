"""The audit trail on a real folder: numbered, chained, written by several processes, and what a check finds."""

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dicom_node.archive import audit
from dicom_node.archive.audit import AuditTrail, Head
from dicom_node.archive.space import Volume
from dicom_node.archive.store import LocalArchive
from dicom_node.errors import StorageUnavailableError
from tests.archives import wait_until


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[LocalArchive]:
    with LocalArchive.create(tmp_path / "var", min_free_bytes=0) as archive:
        yield archive


@pytest.fixture
def trail(archive: LocalArchive) -> AuditTrail:
    return archive.audit


def write(trail: AuditTrail, number: int) -> None:
    for each in range(number):
        trail.append("query.answered", {"matches": each})


def written(tmp_path: Path, number: int) -> Path:
    """Make an archive, write so many lines, close it; return the segment."""
    with LocalArchive.create(tmp_path / "var", min_free_bytes=0) as archive:
        write(archive.audit, number)
    return tmp_path / "var" / "audit" / "000000000001.jsonl"


def segments(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "var" / "audit").glob("*.jsonl"))


def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "SEGMENT", 600)


def test_what_was_appended_is_read_in_order_from_any_number_and_backwards(
    trail: AuditTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_segments(monkeypatch)
    write(trail, 10)
    assert [record.seq for record in trail.read()] == list(range(1, 11))
    assert [record.details["matches"] for record in trail.read(8)] == [7, 8, 9]
    assert [record.seq for record in trail.read_back()] == list(range(10, 0, -1))
    assert list(trail.read(11)) == []
    check = trail.verify()
    assert (check.records, check.problem, check.head) == (10, "", trail.head())


def test_the_trail_goes_on_over_segments_and_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_segments(monkeypatch)
    for _ in range(4):
        root = tmp_path / "var"
        opened = LocalArchive.open if root.exists() else LocalArchive.create
        with opened(root, min_free_bytes=0) as archive:
            write(archive.audit, 5)
            assert archive.audit.verify().problem == ""
    assert len(segments(tmp_path)) > 3
    assert segments(tmp_path)[0].stem == "000000000001"


def test_an_archive_of_before_gets_its_trail(tmp_path: Path) -> None:
    LocalArchive.create(tmp_path / "var", min_free_bytes=0).close()
    (tmp_path / "var" / "audit").rmdir()
    with LocalArchive.open(tmp_path / "var", min_free_bytes=0) as again:
        assert list(again.audit.read()) == []
        assert again.audit.verify().problem == ""
        write(again.audit, 1)
        assert again.audit.verify().records == 1
    assert (tmp_path / "var" / "audit").stat().st_mode & 0o777 == 0o750
    assert segments(tmp_path)[0].stat().st_mode & 0o777 == 0o640


def flip_a_byte(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b'"matches":1', b'"matches":7'), *lines[2:]]


def test_every_flipped_byte_is_found(tmp_path: Path, trail: AuditTrail) -> None:
    write(trail, 2)
    path = segments(tmp_path)[0]
    good = path.read_bytes()
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert trail.verify(trail_head := Head(2, json.loads(good.splitlines()[1])["sha256"])).problem, place
    path.write_bytes(good)
    assert trail.verify(trail_head).problem == ""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (flip_a_byte, "line 2 of audit/000000000001.jsonl does not match its sum"),
        (lambda lines: lines[1:], "line 1 of audit/000000000001.jsonl has the number 2; 1 should come"),
        (lambda lines: [lines[0], *lines[2:]], "line 2 of audit/000000000001.jsonl has the number 3; 2 should come"),
        (
            lambda lines: [lines[1], lines[0], *lines[2:]],
            "line 1 of audit/000000000001.jsonl has the number 2; 1 should come",
        ),
        (lambda lines: lines[:-1], "the end is missing: it went up to number 4 before"),
        (lambda lines: [*lines[:2], b"", *lines[2:]], "line 3 of audit/000000000001.jsonl does not match its sum"),
    ],
)
def test_a_changed_missing_or_moved_line_is_found(tmp_path: Path, trail: AuditTrail, change: Any, told: str) -> None:
    write(trail, 4)
    head = trail.head()
    path = segments(tmp_path)[0]
    path.write_bytes(b"".join(line + b"\n" for line in change(path.read_bytes().splitlines())))
    assert trail.verify(head).problem == told


def test_a_line_written_anew_with_a_right_sum_is_found_by_the_next(tmp_path: Path, trail: AuditTrail) -> None:
    write(trail, 3)
    path = segments(tmp_path)[0]
    lines = path.read_bytes().splitlines()
    entry = json.loads(lines[1])
    forged = audit._encoded(Head(1, entry["before"]), next(trail.read()).at, "forged", {})
    path.write_bytes(b"".join(line + b"\n" for line in (lines[0], forged.line, lines[2])))
    assert forged.seq == 2
    assert trail.verify().problem == "line 3 of audit/000000000001.jsonl does not follow the line before it (number 2)"


@pytest.mark.parametrize("which", [0, 1, -1])
def test_a_missing_segment_is_found(
    tmp_path: Path, trail: AuditTrail, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    small_segments(monkeypatch)
    write(trail, 12)
    head = trail.head()
    assert len(segments(tmp_path)) > 2
    segments(tmp_path)[which].unlink()
    assert trail.verify(head).problem


def test_a_torn_end_is_removed_by_the_next_append(tmp_path: Path) -> None:
    path = written(tmp_path, 3)
    path.write_bytes(path.read_bytes()[:-20])
    with LocalArchive.open(tmp_path / "var", min_free_bytes=0) as again:
        assert again.audit.verify().records == 2
        write(again.audit, 2)
        assert [record.seq for record in again.audit.read()] == [1, 2, 3, 4]
        assert again.audit.verify().problem == ""


def test_a_damaged_last_line_stays_and_the_trail_goes_on_behind_it(tmp_path: Path) -> None:
    path = written(tmp_path, 3)
    damaged = path.read_bytes()[:-10] + b"0" * 9 + b"\n"
    path.write_bytes(damaged)
    for _ in range(2):
        with LocalArchive.open(tmp_path / "var", min_free_bytes=0) as again:
            write(again.audit, 1)
            assert again.audit.verify().problem == "line 3 of audit/000000000001.jsonl does not match its sum"
    assert path.read_bytes() == damaged
    assert [each.name for each in segments(tmp_path)] == ["000000000001.jsonl", "000000000004.jsonl"]
    assert [json.loads(line)["seq"] for line in segments(tmp_path)[1].read_bytes().splitlines()] == [4, 5]


def test_a_segment_that_a_crash_left_empty_is_written_to(tmp_path: Path) -> None:
    written(tmp_path, 3).with_name("000000000004.jsonl").touch()
    with LocalArchive.open(tmp_path / "var", min_free_bytes=0) as again:
        write(again.audit, 2)
        check = again.audit.verify()
        assert (check.records, check.problem) == (5, "")


WRITER = """
import sys
from pathlib import Path
from dicom_node.archive import audit
from dicom_node.archive.store import LocalArchive
audit.SEGMENT = 20_000
with LocalArchive.open(Path(sys.argv[1]), min_free_bytes=0) as archive:
    for each in range(200):
        archive.audit.append("query.answered", {"writer": sys.argv[2], "matches": each})
"""


def test_processes_and_threads_that_write_at_once_make_one_chain(tmp_path: Path, archive: LocalArchive) -> None:
    root = tmp_path / "var"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(root), str(number)], cwd=Path(__file__).parents[2])
        for number in range(2)
    ]
    threads = [threading.Thread(target=write, args=(archive.audit, 100)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [writer.wait(60) for writer in writers] == [0, 0]
    write(archive.audit, 1)  # after others made new segments
    check = archive.audit.verify()
    assert (check.records, check.problem) == (701, "")
    of_one = [record.details["matches"] for record in archive.audit.read() if record.details.get("writer") == "1"]
    assert of_one == list(range(200))
    assert len(segments(tmp_path)) > 3


def test_a_line_that_cannot_be_written_is_not_there(
    tmp_path: Path, trail: AuditTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(trail, 2)

    def half(file: int, data: bytes) -> None:
        os.write(file, data[:30])
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as full:
        full.setattr(audit, "write_all", half)
        with pytest.raises(StorageUnavailableError, match=r"cannot write the audit trail: the volume is full"):
            write(trail, 1)
    assert segments(tmp_path)[0].read_bytes().count(b"\n") == 2
    write(trail, 1)
    assert trail.verify().records == 3


def test_a_line_is_made_durable_soon_or_at_once_when_asked(trail: AuditTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(Volume, "flush_data", lambda _volume, _fd: flushed.append(1))
    trail.append("node.started", {}, durable=True)
    assert flushed == [1]
    write(trail, 5)
    wait_until(lambda: len(flushed) == 2)
    trail.flush()
    assert len(flushed) == 3


def test_closing_makes_durable_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(audit, "FLUSH_AFTER", 3600.0)
    monkeypatch.setattr(Volume, "flush_data", lambda _volume, _fd: flushed.append(1))
    with LocalArchive.create(tmp_path / "var", min_free_bytes=0) as archive:
        write(archive.audit, 1)
    assert flushed


def test_closing_makes_durable_what_came_during_the_last_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushing, goes_on, flushed = threading.Event(), threading.Event(), []

    def flush(_volume: Volume, _fd: int) -> None:
        flushing.set()
        assert goes_on.wait(20)
        flushed.append(1)

    monkeypatch.setattr(audit, "FLUSH_AFTER", 0.0)
    with LocalArchive.create(tmp_path / "var", min_free_bytes=0) as archive:
        monkeypatch.setattr(Volume, "flush_data", flush)
        write(archive.audit, 1)
        assert flushing.wait(20)
        write(archive.audit, 1)
        closing = threading.Thread(target=archive.audit.close)
        closing.start()
        wait_until(archive.audit._closed.is_set)
        goes_on.set()
        closing.join()
        assert len(flushed) == 2


def test_the_last_lines_are_read_without_those_before_them(trail: AuditTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    write(trail, 100)
    looked_at: list[bytes] = []
    decoded = audit._decoded
    monkeypatch.setattr(audit, "_decoded", lambda line: looked_at.append(line) or decoded(line))
    assert [each.seq for each in trail.read(98)] == [98, 99, 100]
    assert [*trail.read(101)] == []
    assert len(looked_at) < 10
