"""The supervisor of receiving processes in this process, over real ones that die over and over, or hang."""

import contextlib
import errno
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dicom_node import workers
from dicom_node.dimse.listener import open_port
from dicom_node.errors import HostError
from dicom_node.reception import Ports
from dicom_node.settings import load_settings
from dicom_node.site import Site, Stores, open_stores
from dicom_node.workers import Workers
from tests.live import CONFIG

MARKER = ".dicom-node-archive"


def wait_for(what: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    config = tmp_path / "dicom-node.toml"
    config.write_text(CONFIG.format(port=11112), encoding="utf-8")
    opened = open_stores(Site.of(load_settings(config, {}).settings), create=True)
    opened.archive.claims.run_node()
    with contextlib.closing(opened):
        yield opened


@pytest.fixture
def started(stores: Stores) -> Iterator[Workers]:
    made = Workers(stores, Ports(plain=open_port(("127.0.0.1", 0))), number=2, own_title="OWN")
    made.start()
    yield made
    made.stop(0.0, threading.Event())
    assert not made._living


def kill(running: Workers, number: int, how: signal.Signals = signal.SIGKILL) -> int:
    """Send a signal to a process of this number, as soon as there is one; return its id."""
    wait_for(lambda: number in running._living)
    process = running._living[number].process.pid
    os.kill(process, how)
    return process


def test_they_answer_for_the_node(started: Workers) -> None:
    assert started.is_well
    assert started.associations == 0
    assert started._ports.answer("OWN")


def test_one_that_keeps_dying_is_tried_again_and_again_and_makes_the_node_unwell(
    stores: Stores, started: Workers, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workers, "PAUSES", (0.0, 0.01, 0.02))
    root = stores.site.settings.storage.path
    (root / MARKER).rename(root / "aside")  # what starts now cannot open the archive
    kill(started, 1)
    wait_for(lambda: started._deaths[1] >= workers.OFTEN)
    (root / "aside").rename(root / MARKER)
    wait_for(lambda: len(started._ready()) == 2)
    assert not started.is_well
    assert started._deaths[2] == 0
    monkeypatch.setattr(workers, "STEADY", 0.0)
    wait_for(lambda: started.is_well)
    assert capfd.readouterr().err.count("is the archive's volume mounted?") >= workers.OFTEN - 1


def test_the_pauses_grow_so_that_it_never_spins() -> None:
    assert list(workers.PAUSES) == sorted(workers.PAUSES)
    assert workers.PAUSES[0] == 0
    assert workers.PAUSES[-1] >= 10


def test_while_none_is_to_be_started_yet_the_supervisor_sleeps(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PAUSES", (3.0,))
    made = Workers(stores, Ports(plain=open_port(("127.0.0.1", 0))), number=1, own_title="OWN")
    made.start()
    turns = 0
    listen = made._listen

    def counting(seconds: float) -> None:
        nonlocal turns
        turns += not made._living
        listen(seconds)

    made._listen = counting  # type: ignore[method-assign]
    kill(made, 1)
    wait_for(lambda: made._deaths[1])
    wait_for(lambda: made.is_well)
    assert 1 <= turns <= 3.0 / workers._TURN + 1
    made.stop(0.0, threading.Event())


def test_where_the_system_lets_no_process_start_it_is_tried_again(
    started: Workers, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real, refusals = subprocess.Popen, iter([errno.EAGAIN, errno.ENOMEM])

    def refused(*arguments: Any, **options: Any) -> Any:
        if number := next(refusals, None):
            raise OSError(number, os.strerror(number))
        return real(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", refused)
    old = kill(started, 1)
    wait_for(lambda: started.is_well and started._living[1].process.pid != old)
    assert capfd.readouterr().err.count("cannot be started") == 2


def test_one_that_hangs_is_ended_and_replaced(started: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    hung = kill(started, 2, signal.SIGSTOP)
    monkeypatch.setattr(workers, "PATIENCE", 10.0)
    wait_for(lambda: 2 in started._living and started._living[2].process.pid != hung)
    monkeypatch.setattr(workers, "PATIENCE", 60.0)
    wait_for(lambda: started.is_well)


def test_a_configuration_is_in_force_when_taking_it_returns_also_while_one_is_being_replaced(
    stores: Stores, started: Workers
) -> None:
    old = kill(started, 1)
    wait_for(lambda: 1 in started._living and started._living[1].process.pid != old)
    started.take(stores.site)
    assert [worker.serial for worker in started._living.values()] == [1, 1]


def test_without_one_that_starts_the_start_fails_and_leaves_nothing(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.01)
    made = Workers(stores, Ports(plain=open_port(("127.0.0.1", 0))), number=1, own_title="OWN")
    processes = [worker.process for worker in made._living.values()]
    with pytest.raises(HostError, match="did not start"):
        made.start()
    assert [process.poll() for process in processes] == [-signal.SIGKILL]
    assert not made._living
