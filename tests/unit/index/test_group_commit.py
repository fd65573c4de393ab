"""Who writes for whom, without a database."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dicom_node.errors import DatabaseError
from dicom_node.index import group_commit
from dicom_node.index.group_commit import GroupCommit
from dicom_node.index.record import Entry
from tests.entries import make_entry

SECONDS = 20
"""How long a test waits for what has to happen, however busy the machine is."""


class Recorder:
    """A group commit whose transactions begin when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, busy_timeout_s: float = SECONDS) -> None:
        self.begun = threading.Semaphore(0)
        self.may_write = threading.Semaphore(0)
        self.groups: list[list[Entry]] = []
        self.group = GroupCommit(self._begin, busy_timeout_s)
        monkeypatch.setattr(group_commit, "write_entries", self._write)

    @contextlib.contextmanager
    def _begin(self) -> Iterator[Any]:
        self.begun.release()
        assert self.may_write.acquire(timeout=SECONDS)
        yield None

    def _write(self, _conn: object, entries: list[Entry]) -> list[Any]:
        self.groups.append(entries)
        return list(entries)

    def start(self, results: list[Any], *, waiting: int) -> threading.Thread:
        """Record an entry in a thread of its own; returns once ``waiting`` entries wait."""

        def record() -> None:
            try:
                results.append(self.group.record(make_entry()))
            except DatabaseError as error:
                results.append(error)

        thread = threading.Thread(target=record)
        thread.start()
        while len(self.group._queue) < waiting:
            thread.join(0.001)
        return thread


def test_who_is_written_returns_while_the_next_group_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    results: list[Any] = []
    first = [recorder.start(results, waiting=number) for number in (1, 2)]
    assert recorder.begun.acquire(timeout=SECONDS)
    recorder.may_write.release()
    for thread in first:
        thread.join(SECONDS)
    assert len(results) == 2
    following = [recorder.start(results, waiting=number) for number in (1, 2, 3)]
    assert recorder.begun.acquire(timeout=SECONDS)
    assert len(results) == 2
    recorder.may_write.release()
    for thread in following:
        thread.join(SECONDS)
    assert [len(group) for group in recorder.groups] == [2, 3]
    assert len(results) == 5


def test_those_who_came_too_late_for_a_group_are_led_by_their_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "GROUP_SIZE", 2)
    recorder = Recorder(monkeypatch)
    results: list[Any] = []
    threads = [recorder.start(results, waiting=number) for number in (1, 2, 3, 4, 5)]
    for _ in range(3):
        assert recorder.begun.acquire(timeout=SECONDS)
        recorder.may_write.release()
    for thread in threads:
        thread.join(SECONDS)
    assert [len(group) for group in recorder.groups] == [2, 2, 1]
    assert len(results) == 5


def test_who_waited_too_long_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch, busy_timeout_s=0.05)
    led: list[Any] = []
    gave_up: list[Any] = []
    leader = recorder.start(led, waiting=1)
    follower = recorder.start(gave_up, waiting=2)
    follower.join(SECONDS)
    assert isinstance(gave_up[0], DatabaseError)
    recorder.may_write.release()
    leader.join(SECONDS)
    assert recorder.groups == [[led[0]]]
    recorder.may_write.release()
    recorder.group.record(make_entry())
    assert len(recorder.groups) == 2
