"""Several receiving processes on one port: killed, orphaned, drained, reloaded, at their limits; all of it for real."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import raw_peer
from tests.archives import received_files
from tests.factories import encode, make_mg
from tests.live import CONFIG, LiveNode, live_node
from tests.raw_peer import EXPLICIT, IMPLICIT, MAMMOGRAM, VERIFICATION, RawPeer

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

CONTEXTS = ((MAMMOGRAM, [EXPLICIT]), (VERIFICATION, [IMPLICIT]))
SENDERS = 6
TWO = CONFIG.replace("[storage]", "workers = 2\n\n[storage]")
SENDER = '\n[senders.s{0}]\nrole = "router"\nae_title = "S{0}"\nhost = "127.0.0.1"\n'
MANY = TWO + "".join(SENDER.format(number) for number in range(SENDERS))


def events(node: LiveNode, name: str) -> list[dict[str, Any]]:
    """The events of a name in the log, each a whole line."""
    lines = [json.loads(line) for line in node.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


def wait_for(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What comes true in the end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come to it")


def workers(node: LiveNode) -> dict[int, int]:
    """The receiving processes by number, as the log tells of them."""
    return {line["worker"]: line["process"] for line in events(node, "worker.listening")}


def is_running(process: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def store(peer: RawPeer, side: int = 64) -> tuple[str, int]:
    ds = make_mg(rows=side, columns=side)
    peer.send(raw_peer.message(1, raw_peer.store_request(MAMMOGRAM, ds.SOPInstanceUID), encode(ds)))
    return str(ds.SOPInstanceUID), peer.read_response()[0].status


def echo(peer: RawPeer) -> int:
    peer.send(raw_peer.message(3, raw_peer.echo_request()))
    return peer.read_response()[0].status


class Sender(threading.Thread):
    """Stores on one association until told to stop or cut off."""

    def __init__(self, node: LiveNode, number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.title = f"S{number}"
        self.peer = RawPeer(node.port, calling=self.title.encode(), contexts=CONTEXTS)
        self.halt = stop
        self.statuses: dict[str, int] = {}
        self.was_cut = False

    def run(self) -> None:
        with self.peer:
            while not self.halt.is_set():
                try:
                    uid, status = store(self.peer)
                except OSError:
                    self.was_cut = True
                    return
                self.statuses[uid] = status


@pytest.fixture
def node(tmp_path: Path) -> Iterator[LiveNode]:
    """A node with two receiving processes, both listening."""
    with live_node(tmp_path, config=MANY) as running:
        assert sorted(workers(running)) == [1, 2]
        yield running


def serving(node: LiveNode) -> dict[str, int]:
    """The number of the process that serves each AE title, of those it accepted last."""
    return {line["calling_ae"]: line["worker"] for line in events(node, "association.accepted")}


def open_on_both(node: LiveNode, stack: contextlib.ExitStack, calling: bytes = b"PRONE_RM2") -> None:
    """Open associations until each process serves one of this caller."""
    before = len(events(node, "association.accepted"))
    for _ in range(30):
        stack.enter_context(RawPeer(node.port, calling=calling, contexts=CONTEXTS))
        if len({line["worker"] for line in events(node, "association.accepted")[before:]}) == 2:
            return
    raise AssertionError("one process got them all")


def test_a_killed_process_is_replaced_and_the_others_do_not_notice(node: LiveNode) -> None:
    stop = threading.Event()
    senders = [Sender(node, number, stop) for number in range(SENDERS)]
    served_by = wait_for(lambda: serving(node) if len(serving(node)) == SENDERS else None)
    for sender in senders:
        sender.start()
    wait_for(lambda: all(sender.statuses for sender in senders))
    victim = served_by["S0"]
    old = workers(node)
    os.kill(old[victim], signal.SIGKILL)
    wait_for(lambda: workers(node)[victim] != old[victim])
    stop.set()
    for sender in senders:
        sender.join(timeout=60)
    for sender in senders:
        assert set(sender.statuses.values()) == {0}
        assert sender.was_cut == (served_by[sender.title] == victim)
    assert workers(node)[3 - victim] == old[3 - victim]
    [died] = events(node, "worker.died")
    assert (died["worker"], died["reason"], died["seconds"]) == (victim, "ended by signal 9 (Killed)", 0.0)

    with RawPeer(node.port, contexts=CONTEXTS) as peer:
        assert store(peer)[1] == 0
    acknowledged = {uid for sender in senders for uid in sender.statuses}
    with sqlite3.connect(node.data / "node.db") as index:
        rows = dict(index.execute("SELECT sop_instance_uid, digest FROM instance"))
    index.close()
    assert acknowledged <= set(rows)
    assert {path.stem for path in (node.data / "objects").rglob("*.dcm")} >= set(rows.values())
    assert node.stop() == 0
    assert received_files(node.data) == []


def test_without_their_node_they_end_and_a_new_one_starts(node: LiveNode) -> None:
    with contextlib.ExitStack() as peers:
        open_on_both(node, peers)
        assert node.process is not None
        orphans = workers(node).values()
        node.process.kill()
        node.process.wait(timeout=30)
        wait_for(lambda: not any(map(is_running, orphans)) and _is_refused(node.port))
    assert len(events(node, "worker.orphaned")) == 2
    node.start()
    with RawPeer(node.port, contexts=CONTEXTS) as peer:
        assert store(peer)[1] == 0


def test_on_sigterm_what_is_under_way_ends_in_every_process(node: LiveNode) -> None:
    with contextlib.ExitStack() as peers:
        open_on_both(node, peers)
        halfway = []
        for number in range(SENDERS):
            ds = make_mg(rows=256, columns=256)
            request = raw_peer.message(1, raw_peer.store_request(MAMMOGRAM, ds.SOPInstanceUID), encode(ds))
            peer = peers.enter_context(RawPeer(node.port, calling=f"S{number}".encode(), contexts=CONTEXTS))
            peer.send(request[: len(request) // 2])
            halfway.append((peer, request))
        assert len(set(serving(node).values())) == 2
        wait_for(lambda: len(received_files(node.data)) == SENDERS)  # what begins after the signal is refused
        assert node.process is not None
        node.process.send_signal(signal.SIGTERM)
        wait_for(lambda: events(node, "node.draining"))
        wait_for(lambda: _is_refused(node.port))
        for peer, request in halfway:
            peer.send(request[len(request) // 2 :])
            assert peer.read_response()[0].status == 0
            peer.release()
    assert node.process.wait(timeout=60) == 0
    assert events(node, "node.draining")[0]["associations"] >= SENDERS
    assert not any(map(is_running, workers(node).values()))
    assert not events(node, "worker.died")


def _is_refused(port: int) -> bool:
    try:
        # From another address: a connection to a free port can come to meet itself.
        socket.create_connection(("127.0.0.1", port), timeout=5, source_address=("127.0.0.2", 0)).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def test_a_second_sigterm_cuts_the_draining_short(tmp_path: Path) -> None:
    config = TWO.replace('drain = "5 s"', 'drain = "1 h"')
    with live_node(tmp_path, config=config) as node, contextlib.ExitStack() as peers:
        open_on_both(node, peers)
        assert node.process is not None
        node.process.send_signal(signal.SIGTERM)
        wait_for(lambda: events(node, "node.draining"))
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(timeout=60) == 0
        assert not any(map(is_running, workers(node).values()))


def test_a_good_configuration_is_taken_by_all_and_a_bad_one_by_none(node: LiveNode) -> None:
    def calls(title: bytes) -> int:
        with RawPeer(node.port, calling=title, contexts=CONTEXTS) as peer:
            return peer.answer[0]

    def reload(config: str, event: str) -> None:
        before = len(events(node, event))
        node.config.write_text(config.format(port=node.port), encoding="utf-8")
        assert node.process is not None
        node.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(events(node, event)) > before)

    assert calls(b"S7") == 3
    reload(MANY + SENDER.format(7), "config.reloaded")
    with contextlib.ExitStack() as peers:
        open_on_both(node, peers, b"S7")
    reload(TWO + "[senders.s8]\nnonsense = 1\n", "config.rejected")
    with contextlib.ExitStack() as peers:
        open_on_both(node, peers, b"S7")
    # One that starts later works by what the node has accepted last, whatever stands in the file.
    old = workers(node)
    for process in old.values():
        os.kill(process, signal.SIGKILL)
    wait_for(lambda: not set(old.values()) & set(workers(node).values()))
    with contextlib.ExitStack() as peers:
        open_on_both(node, peers, b"S7")
    assert node.stop() == 0


def test_what_only_a_restart_changes_stays_for_a_process_that_starts_later(node: LiveNode) -> None:
    moved = MANY.replace('path = "data"', 'path = "elsewhere"').replace("workers = 2", "max_associations = 1")
    node.config.write_text(moved.format(port=node.port), encoding="utf-8")
    assert node.process is not None
    node.process.send_signal(signal.SIGHUP)
    [held] = wait_for(lambda: events(node, "config.needs_restart"))
    assert held["keys"] == "node.max_associations, node.workers, storage"
    wait_for(lambda: events(node, "config.reloaded"))
    old = workers(node)[1]
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: workers(node)[1] != old)
    with contextlib.ExitStack() as peers:
        open_on_both(node, peers)
        with RawPeer(node.port, contexts=CONTEXTS) as peer:
            assert store(peer)[1] == 0
    assert not (node.folder / "elsewhere").exists()


@pytest.mark.parametrize("option", [socket.SO_REUSEADDR, socket.SO_REUSEPORT])
def test_a_port_that_another_program_has_is_refused(tmp_path: Path, option: int) -> None:
    node = LiveNode(tmp_path, config=TWO)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, option, 1)
        other.bind(("127.0.0.1", node.port))
        other.listen()
        node.start(wait=False)
        assert node.process is not None
        assert node.process.wait(timeout=60) == 1
    assert "Address already in use" in node.log.read_text()


@pytest.mark.parametrize("number", [1, 2])
def test_nobody_is_let_in_before_everybody_can_be_served(tmp_path: Path, number: int) -> None:
    node = LiveNode(tmp_path, config=TWO.replace("workers = 2", f"workers = {number}"))
    try:
        node.start(wait=False)
        wait_for(lambda: not _is_refused(node.port))
        assert len(events(node, "node.recovered")) == 1
        with RawPeer(node.port, contexts=CONTEXTS) as peer:
            assert store(peer)[1] == 0
        node.wait_until_up()
        # Another node beside it finds the port taken, and does not join it.
        beside = tmp_path / "beside"
        beside.mkdir()
        other = LiveNode(beside, config=TWO)
        other.config.write_text(TWO.format(port=node.port), encoding="utf-8")
        other.start(wait=False)
        assert other.process is not None
        assert other.process.wait(timeout=60) == 1
        assert "Address already in use" in other.log.read_text()
    finally:
        node.kill()


def test_the_limits_hold_for_all_together(tmp_path: Path) -> None:
    config = TWO.replace("workers = 2", "workers = 2\nmax_associations = 4")
    with live_node(tmp_path, config=config) as node, contextlib.ExitStack() as peers:
        several = [peers.enter_context(RawPeer(node.port, contexts=CONTEXTS)) for _ in range(4)]
        assert [peer.answer[0] for peer in several] == [2] * 4
        with RawPeer(node.port, contexts=CONTEXTS) as peer:
            assert peer.answer[0] == 3
            assert peer.answer[7:10] == bytes([2, 3, 2])  # transient, presentation, local limit exceeded (PS3.8 9.3.4)
        for _ in range(10):
            several.pop().release()
            several.append(peers.enter_context(RawPeer(node.port, contexts=CONTEXTS)))
            assert several[-1].answer[0] == 2
        # The places of a process that died are free again.
        served_by = [line["worker"] for line in events(node, "association.accepted")][-1]
        old = workers(node)[served_by]
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: workers(node)[served_by] != old)
        assert peers.enter_context(RawPeer(node.port, contexts=CONTEXTS)).answer[0] == 2


def test_the_connections_of_an_address_are_counted_for_all_together(tmp_path: Path) -> None:
    config = TWO.replace("[storage]", "[node.limits]\nmax_connections_per_address = 3\n\n[storage]")
    with live_node(tmp_path, config=config) as node, contextlib.ExitStack() as peers:
        for _ in range(3):
            assert peers.enter_context(RawPeer(node.port, contexts=CONTEXTS)).answer[0] == 2
        with pytest.raises(ConnectionError):
            RawPeer(node.port, contexts=CONTEXTS)
        wait_for(lambda: events(node, "connection.refused"))


def test_one_process_is_the_node_itself(tmp_path: Path) -> None:
    with live_node(tmp_path, config=TWO.replace("workers = 2", "workers = 1")) as node:
        with RawPeer(node.port, contexts=CONTEXTS) as peer:
            assert (store(peer)[1], echo(peer)) == (0, 0)
        assert not events(node, "worker.listening")
        assert node.process is not None
        assert Path(f"/proc/{node.process.pid}/task/{node.process.pid}/children").read_text() == ""
