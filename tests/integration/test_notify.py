"""The service manager's socket, played by real datagram sockets."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node import notify


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A bound datagram socket whose name stands in the environment."""
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    name = (
        f"/proc/self/cwd/{os.getpid()}"
        if request.param == "path"
        else f"@dicom-node-test-{tmp_path.name}-{os.getpid()}"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(name.replace("@", "\0"))
        bound.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield bound


def test_ready_comes_with_one_line_of_status(manager: socket.socket) -> None:
    assert notify.ready("listening on\n127.0.0.1:11112")
    assert manager.recv(4096) == b"READY=1\nSTATUS=listening on 127.0.0.1:11112"


def test_ready_without_a_status_is_ready_alone(manager: socket.socket) -> None:
    assert notify.ready()
    assert manager.recv(4096) == b"READY=1"


def test_a_reload_tells_the_monotonic_time(manager: socket.socket) -> None:
    before = time.monotonic_ns() // 1000
    assert notify.reloading()
    first, second = manager.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    name, value = second.split("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(value) <= time.monotonic_ns() // 1000


def test_stopping_and_the_watchdog_have_their_words(manager: socket.socket) -> None:
    assert notify.stopping("draining")
    assert notify.alive()
    assert [manager.recv(4096), manager.recv(4096)] == [b"STOPPING=1\nSTATUS=draining", b"WATCHDOG=1"]


@pytest.mark.parametrize("address", [None, "", "relative/path", "vsock:2:1", "/nowhere/at/all", "@nobody-listens-here"])
def test_without_a_manager_nothing_fails(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify.ready()


def test_a_manager_that_does_not_read_does_not_hold_the_node(manager: socket.socket) -> None:
    assert not all(notify.alive() for _ in range(100_000))


@pytest.mark.parametrize(
    ("period", "process", "seconds"),
    [
        ("60000000", None, 60.0),
        ("500000", "own", 0.5),
        ("60000000", "1", None),
        ("0", None, None),
        ("", None, None),
        ("soon", None, None),
        (None, "own", None),
    ],
)
def test_the_watchdog_s_period_is_for_this_process_alone(
    period: str | None, process: str | None, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WATCHDOG_USEC", period), ("WATCHDOG_PID", process)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, str(os.getpid()) if value == "own" else value)
    assert notify.watchdog_seconds() == seconds
