"""The receiver between real sockets and a store service that remembers: every fragmentation, every ending."""

import contextlib
import os
import random
import resource
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_network
from typing import Any

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at run time
from structlog.testing import capture_logs

from dicom_node.dicom.query import Query
from dicom_node.dimse import listener, pdu
from dicom_node.dimse.access import AccessList, Caller
from dicom_node.dimse.association import Wire
from dicom_node.dimse.capacity import Capacity, Places
from dicom_node.dimse.contexts import ContextTable
from dicom_node.dimse.find import FindScp
from dicom_node.dimse.limits import Limits
from dicom_node.dimse.listener import Listener
from dicom_node.dimse.port import answers, open_port
from dicom_node.dimse.receiver import REST
from dicom_node.index.find import Page
from tests import raw_peer
from tests.raw_peer import EXPLICIT, IMPLICIT, MAMMOGRAM, STUDY_ROOT_FIND, VERIFICATION, RawPeer

CONTEXTS = ((MAMMOGRAM, [EXPLICIT]), (VERIFICATION, [IMPLICIT]), (STUDY_ROOT_FIND, [IMPLICIT]))


class Remembering:
    """A store service that keeps what came and answers what it is told."""

    def __init__(self) -> None:
        self.finished: list[tuple[str, int, bytes]] = []
        self.open = 0
        self.status = 0
        self.slow = 0.0
        self.tally = None

    def begin(self, command: Any, context_id: int) -> Any:
        self.open += 1
        return _Kept(self, command, context_id)


class _Kept:
    def __init__(self, store: Remembering, command: Any, context_id: int) -> None:
        self.store, self.command, self.context_id = store, command, context_id
        self.data = bytearray()
        self.is_open = True

    def write(self, *data: memoryview) -> None:
        assert self.is_open
        for view in data:
            self.data += view

    def finish(self) -> tuple[int, str]:
        time.sleep(self.store.slow)
        self.store.finished.append((self.command.affected_sop_instance_uid, self.context_id, bytes(self.data)))
        return self.store.status, "told so" if self.store.status else ""

    def discard(self) -> None:
        self.store.open -= self.is_open
        self.is_open = False


class Node:
    def __init__(self, **limits: Any) -> None:
        self.store = Remembering()
        self.find_goes_on = threading.Event()
        self.found = 0
        capacity = Capacity(
            associations=limits.pop("associations", 32),
            connections=limits.pop("connections", 128),
            connections_per_address=limits.pop("connections_per_address", 64),
            patience=limits.pop("patience", 0.2),
        )
        hosts = (ip_network(limits.pop("host", "127.0.0.0/8")),)
        services = frozenset({"echo", "store", "find"})
        wire = Wire(
            access=AccessList(
                [Caller(name="prone1", ae_title="PRONE_RM2", hosts=hosts, services=services)],
                ["SBB_NODE"],
            ),
            contexts=ContextTable(),
            limits=Limits(**limits),
            make_store=lambda **_: self.store,  # type: ignore[arg-type,return-value]  # a fake of the same shape
            services={pdu.C_FIND_RQ: partial(FindScp, find=self._find, retrieve_ae="SBB_NODE")},
            now=lambda: datetime.now(UTC),
        )
        self.socket = port = open_port(("127.0.0.1", 0))
        self.listener = Listener(port, wire=wire, places=Places.alone(capacity), own_title="OWN")
        self.listener.start()
        self.port = self.listener.port

    def _find(self, _query: Query) -> Iterator[Page]:
        self.found += 1
        while not self.find_goes_on.wait(0.01):
            yield Page([], is_last=False)


@pytest.fixture
def make_node() -> Iterator[Any]:
    nodes: list[Node] = []

    def make(**limits: Any) -> Node:
        nodes.append(Node(**limits))
        return nodes[-1]

    yield make
    for node in nodes:
        node.find_goes_on.set()
        node.listener.stop(0.0)


@pytest.fixture
def node(make_node: Any) -> Node:
    made: Node = make_node()
    return made


def wait_for(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


DATA = bytes(range(256)) * 40


def store(number: int = 1, data: bytes = DATA, size: int = 16000) -> bytes:
    return raw_peer.message(1, raw_peer.store_request(MAMMOGRAM, f"1.2.{number}", number), data, size)


def test_an_instance_arrives_as_it_was_sent(node: Node) -> None:
    with RawPeer(node.port) as peer:
        peer.send(store())
        response, _ = peer.read_response()
        assert (response.field, response.message_id, response.status) == (0x8001, 1, 0)
        assert peer.release()[0] == 6
    assert node.store.finished == [("1.2.1", 1, DATA)]
    assert node.store.open == 0


@pytest.mark.parametrize("size", [1, 2, 3, 7, 113, 16378])
def test_every_size_of_value_gives_the_same_bytes(node: Node, size: int) -> None:
    data = DATA[:1000] if size < 10 else DATA
    with RawPeer(node.port) as peer:
        peer.send(store(1, data, size), store(2, data, size))
        assert [peer.read_response()[0].message_id for _ in range(2)] == [1, 2]
    assert [kept for _, _, kept in node.store.finished] == [data, data]


def test_several_values_in_one_unit_and_messages_back_to_back(node: Node) -> None:
    command = raw_peer.store_request(MAMMOGRAM, "1.2.9", 9)
    parts = raw_peer.values(1, command, command=True, size=20) + raw_peer.values(1, DATA, command=False, size=900)
    with RawPeer(node.port) as peer:
        peer.send(raw_peer.unit(*parts[:3]) + raw_peer.unit(*parts[3:9]) + raw_peer.unit(*parts[9:]) + store(10))
        assert [peer.read_response()[0].status for _ in range(2)] == [0, 0]
    assert [uid for uid, _, _ in node.store.finished] == ["1.2.9", "1.2.10"]
    assert {kept for _, _, kept in node.store.finished} == {DATA}


@pytest.mark.parametrize("seed", range(5))
def test_a_stream_dripped_in_random_pieces_arrives_whole(node: Node, seed: int) -> None:
    chance = random.Random(seed)
    stream = b"".join(store(number, DATA[: 500 * number], 333) for number in range(1, 6))
    stream += raw_peer.message(3, raw_peer.echo_request(6)) + store(7)
    with RawPeer(node.port) as peer:
        threading.Thread(
            target=peer.drip, args=(stream, (chance.choice([1, 5, 6, 7, 12, 400, 5000]) for _ in range(100000)))
        ).start()
        assert [peer.read_response()[0].message_id for _ in range(7)] == [1, 2, 3, 4, 5, 6, 7]
    assert [len(kept) for _, _, kept in node.store.finished] == [500, 1000, 1500, 2000, 2500, len(DATA)]


def test_echo_between_stores_is_served_by_the_library(node: Node) -> None:
    with RawPeer(node.port) as peer:
        for number in range(1, 4):
            peer.send(store(number))
            assert peer.read_response()[0].field == 0x8001
            peer.send(raw_peer.message(3, raw_peer.echo_request(50 + number)))
            response, _ = peer.read_response()
            assert (response.field, response.message_id, response.status) == (0x8030, 50 + number, 0)
        assert peer.release()[0] == 6


@pytest.mark.parametrize(
    "before",
    [
        raw_peer.command_set(0x8130, 1, VERIFICATION, data=False),  # a response to nothing
        raw_peer.command_set(0x8FFF, 1, VERIFICATION, data=False),  # not even a response
        raw_peer.command_set(0x0FFF, 1, "", data=False),  # a cancel of nothing
    ],
)
def test_what_comes_too_late_is_passed_over(node: Node, before: bytes) -> None:
    with RawPeer(node.port) as peer:
        peer.send(raw_peer.message(3, before), raw_peer.message(3, raw_peer.echo_request(5)))
        assert peer.read_response()[0].message_id == 5
        assert peer.release()[0] == 6


def test_an_echo_with_odd_elements_is_answered(node: Node) -> None:
    odd = raw_peer.element(0x0002, b"\xff\xfe") + raw_peer.element(0x0100, b"\x30\0")
    odd += raw_peer.element(0x0110, b"\7\0") + raw_peer.element(0x0700, b"\1\2\3\4\5\6")  # no (0000,0800)
    with RawPeer(node.port) as peer:
        peer.send(raw_peer.message(3, raw_peer.element(0x0000, len(odd).to_bytes(4, "little")) + odd))
        assert peer.read_response()[0].message_id == 7


def test_an_association_that_rested_still_echoes_stores_and_releases(node: Node) -> None:
    with RawPeer(node.port) as peer:
        time.sleep(REST + 0.5)
        peer.send(raw_peer.message(3, raw_peer.echo_request(7)))
        assert peer.read_response()[0].message_id == 7
        time.sleep(REST + 0.5)
        peer.send(store())
        assert peer.read_response()[0].status == 0
        time.sleep(REST + 0.5)
        assert peer.release()[0] == 6
    wait_for(lambda: node.listener.associations == 0)


def test_a_rested_association_notices_that_its_peer_left(node: Node) -> None:
    with RawPeer(node.port):
        time.sleep(REST + 0.5)
    wait_for(lambda: node.listener.associations == 0)


def test_pynetdicom_as_a_peer_can_echo_and_release(node: Node) -> None:
    ae = AE(ae_title="PRONE_RM2")
    ae.add_requested_context(Verification)
    assoc = ae.associate("127.0.0.1", node.port, ae_title="SBB_NODE")
    assert assoc.is_established
    assert assoc.send_c_echo().Status == 0
    assoc.release()
    assert assoc.is_released


def test_a_failure_is_answered_with_its_comment_and_the_association_goes_on(node: Node) -> None:
    node.store.status = 0xA700
    with RawPeer(node.port) as peer:
        peer.send(store(1))
        response, raw = peer.read_response()
        assert response.status == 0xA700
        assert b"told so" in raw
        node.store.status = 0
        peer.send(store(2))
        assert peer.read_response()[0].status == 0


def test_a_response_is_cut_to_the_peers_maximum_length(node: Node) -> None:
    with RawPeer(node.port, maximum=32) as peer:
        peer.send(store())
        assert peer.read_response()[0].status == 0


@pytest.mark.parametrize("maximum", range(1, 9))
def test_a_maximum_length_that_leaves_room_for_nothing_is_none(node: Node, maximum: int) -> None:
    with RawPeer(node.port, maximum=maximum) as peer:
        peer.send(raw_peer.message(3, raw_peer.echo_request()))
        assert peer.read_response()[0].status == 0


def test_a_request_without_a_data_set_is_answered(node: Node) -> None:
    with RawPeer(node.port) as peer:
        peer.send(raw_peer.message(1, raw_peer.store_request(MAMMOGRAM, "1.2.3", data=False)))
        assert peer.read_response()[0].field == 0x8001


@pytest.mark.parametrize("after", [6, 40, 200, 5000, 10000])
def test_a_connection_lost_in_the_middle_leaves_nothing(node: Node, after: int) -> None:
    peer = RawPeer(node.port)
    peer.send(store()[:after])
    peer.socket.close()
    wait_for(lambda: node.listener.associations == 0)
    assert node.store.open == 0
    assert node.store.finished == []


def test_an_abort_in_the_middle_leaves_nothing(node: Node) -> None:
    with RawPeer(node.port) as peer:
        whole = store(size=100)
        peer.send(whole[: whole.index(raw_peer.unit(raw_peer.values(1, DATA, command=False, size=100)[5]))])
        wait_for(lambda: node.store.open == 1)
        peer.send(b"\x07\0\0\0\0\4\0\0\0\0")
        assert peer.is_closed()
    wait_for(lambda: node.listener.associations == 0)
    assert node.store.open == 0
    assert node.store.finished == []


@pytest.mark.parametrize(
    "bad",
    [
        raw_peer.unit(raw_peer.values(1, b"data", command=False, size=9)[0]),  # a data set without its command
        raw_peer.message(1, raw_peer.store_request(MAMMOGRAM, "1.2.3")) * 2,  # a command inside a data set
        b"\x04\0\x00\x10\x00\x00",  # longer than was offered
        b"\x09\0\0\0\0\4\0\0\0\0",  # no such unit
        raw_peer.message(1, b"\1\2\3\4\5"),  # no command set
        raw_peer.message(1, b"\0" * 20000),  # too long for a command set
        b"\x05\0\0\0\0\0",  # a release request without its four bytes
        b"\x07\0\0\0\0\1\0",  # an abort without them
        b"\x01\0\0\0\0\4\0\0\0\0",  # an association request in the association
        raw_peer.message(3, raw_peer.command_set(0x0031, 1, VERIFICATION, data=False)),  # no such command
        raw_peer.message(3, raw_peer.command_set(0x0140, 1, VERIFICATION, data=False)),  # none that is served
    ],
)
def test_a_peer_that_breaks_the_protocol_is_aborted(node: Node, bad: bytes) -> None:
    with RawPeer(node.port) as peer:
        peer.send(bad)
        assert peer.read_unit()[0] == 7
        assert peer.is_closed()
    wait_for(lambda: node.listener.associations == 0)
    assert node.store.open == 0


def test_a_peer_that_stops_inside_a_unit_is_dropped(make_node: Any) -> None:
    node = make_node(unit=0.6)
    with RawPeer(node.port) as peer:
        peer.send(store()[:3000])
        assert peer.is_closed()
    wait_for(lambda: node.listener.associations == 0)
    assert node.store.open == 0


def test_a_dripping_peer_does_not_extend_the_deadline_of_its_unit(make_node: Any) -> None:
    node = make_node(unit=0.8)
    with RawPeer(node.port) as peer:
        stream = store()
        sent = 0
        with pytest.raises(OSError):  # noqa: PT012 - the loop is what fails in the end
            for sent in range(600, 1200):
                peer.send(stream[sent : sent + 1] if sent > 600 else stream[:601])
                time.sleep(0.02)
        assert sent < 1100
    wait_for(lambda: node.listener.associations == 0)


def test_an_idle_peer_is_aborted(make_node: Any) -> None:
    node = make_node(idle=0.5)
    with RawPeer(node.port) as peer:
        assert peer.read_unit()[0] == 7


def test_a_silent_connection_is_closed_and_never_becomes_an_association(make_node: Any) -> None:
    node = make_node(request=0.4)
    with RawPeer(node.port, contexts=None) as peer:
        peer.send(b"\1\0\0\0")
        assert peer.is_closed()
    assert node.listener.associations == 0


def test_a_giant_association_request_is_refused_by_its_header(node: Node) -> None:
    with RawPeer(node.port, contexts=None) as peer:
        peer.send(b"\1\0\x7f\xff\xff\xff")
        assert peer.is_closed()


def test_a_malformed_association_request_is_aborted(node: Node) -> None:
    request = raw_peer.associate_request(b"PRONE_RM2", b"SBB_NODE", [])
    proposal = raw_peer.item(0x20, b"\1\0\0\0" + raw_peer.item(0x30, MAMMOGRAM.encode()))
    with RawPeer(node.port, contexts=None) as peer:
        peer.send(b"\1\0" + (len(request) - 6 + len(proposal)).to_bytes(4, "big") + request[6:] + proposal)
        assert peer.read_unit()[0] == 7
        assert peer.is_closed()


def test_another_protocol_version_is_rejected(node: Node) -> None:
    request = raw_peer.associate_request(b"PRONE_RM2", b"SBB_NODE", [(MAMMOGRAM, [EXPLICIT])])
    with capture_logs() as lines, RawPeer(node.port, contexts=None) as peer:
        peer.send(request[:6] + b"\0\2" + request[8:])
        answer = peer.read_unit()
        assert (answer[0], tuple(answer[7:10])) == (3, (1, 2, 2))
        assert peer.is_closed()
        wait_for(lambda: node.listener.associations == 0)
    assert [line["event"] for line in lines] == ["association.rejected"]
    assert "version" in lines[0]["reason"]


def test_each_proposal_is_answered_whoever_serves_it(node: Node) -> None:
    contexts = [(VERIFICATION, [IMPLICIT]), ("1.2.3.4", [EXPLICIT]), (MAMMOGRAM, ["1.2.3.5"]), *CONTEXTS]
    with RawPeer(node.port, contexts=contexts) as peer:
        results = {item[4]: item[6] for item in raw_peer.items(peer.answer[74:]) if item[0] == 0x21}
        assert results == {1: 0, 3: 3, 5: 4, 7: 0, 9: 0, 11: 0}
        peer.send(raw_peer.message(9, raw_peer.echo_request(4)))
        assert peer.read_response()[0].status == 0


def test_time_the_node_takes_is_not_the_peers(make_node: Any) -> None:
    node = make_node(unit=0.5, idle=0.5)
    node.store.slow = 1.0
    with RawPeer(node.port) as peer:
        peer.send(store(1) + store(2))
        assert [peer.read_response()[0].status for _ in range(2)] == [0, 0]


def test_a_request_waits_while_a_query_is_answered_and_a_cancel_overtakes(node: Node) -> None:
    find = raw_peer.command_set(0x0020, 5, STUDY_ROOT_FIND, raw_peer.element(0x0700, b"\0\0"), data=True)
    identifier = b"\x08\0\x52\0\x06\0\0\0STUDY "
    with RawPeer(node.port, contexts=CONTEXTS) as peer:
        peer.send(raw_peer.message(5, find, identifier))
        wait_for(lambda: node.found == 1)
        cancel = raw_peer.command_set(0x0FFF, 5, "", data=False)
        peer.send(raw_peer.message(5, cancel) + store(6))
        response, _ = peer.read_response()
        assert (response.field, response.status) == (0x8020, 0xFE00)
        assert peer.read_response()[0].field == 0x8001
        find = raw_peer.command_set(0x0020, 7, STUDY_ROOT_FIND, raw_peer.element(0x0700, b"\0\0"), data=True)
        peer.send(raw_peer.message(5, find, identifier) + store(8))
        wait_for(lambda: node.found == 2)
        time.sleep(0.3)
        assert len(node.store.finished) == 1
        node.find_goes_on.set()
        assert [peer.read_response()[0].message_id for _ in range(2)] == [7, 8]


def test_a_stranger_is_rejected_before_anything_is_made_for_it(node: Node) -> None:
    with RawPeer(node.port, calling=b"STRANGER") as peer:
        assert peer.answer[0] == 3
        assert tuple(peer.answer[7:10]) == (1, 1, 3)
    with RawPeer(node.port, called=b"OTHER") as peer:
        assert tuple(peer.answer[7:10]) == (1, 1, 7)


@pytest.mark.parametrize(
    ("contexts", "words"),
    [
        ([("1.2.3.4", [IMPLICIT]), (MAMMOGRAM, ["1.2.3.5"])], "proposes (1.2.3.4, "),
        ([], "it proposes no presentation context"),
    ],
)
def test_an_association_that_could_do_nothing_is_rejected_in_words(node: Node, contexts: Any, words: str) -> None:
    with capture_logs() as lines, RawPeer(node.port, contexts=contexts) as peer:
        assert tuple(peer.answer[7:10]) == (1, 1, 1)
    (line,) = [line for line in lines if line["event"] == "association.rejected"]
    assert words in line["reason"]


def test_an_association_is_served_beyond_1024_open_files(node: Node) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 1300:
        if hard != resource.RLIM_INFINITY and hard < 1300:
            pytest.skip(f"this process may open {hard} files only")
        resource.setrlimit(resource.RLIMIT_NOFILE, (1300, hard))
    with contextlib.ExitStack() as files:
        for _ in range(1100):
            files.callback(os.close, os.open("/dev/null", os.O_RDONLY))
        with RawPeer(node.port, contexts=CONTEXTS) as peer:
            assert peer.socket.fileno() > 1024
            peer.send(store(1), raw_peer.message(3, raw_peer.echo_request(2)))
            assert [peer.read_response()[0].status for _ in range(2)] == [0, 0]
            time.sleep(REST + 0.1)
            assert peer.release()[0] == 6
    wait_for(lambda: node.listener.associations == 0)


def test_a_title_padded_with_nul_is_admitted(node: Node) -> None:
    with RawPeer(node.port, calling=b"PRONE_RM2".ljust(16, b"\0"), called=b"SBB_NODE".ljust(16, b"\0")) as peer:
        assert peer.answer[0] == 2


def test_more_associations_than_allowed_are_told_to_come_again(make_node: Any) -> None:
    node = make_node(associations=2)
    with RawPeer(node.port) as first, RawPeer(node.port) as second:
        assert (first.answer[0], second.answer[0]) == (2, 2)
        with RawPeer(node.port) as third:
            assert tuple(third.answer[7:10]) == (2, 3, 2)
        first.release()
    wait_for(lambda: node.listener.associations == 0)
    with RawPeer(node.port) as again:
        assert again.answer[0] == 2


def test_a_request_waits_for_a_place_that_is_freed_soon(make_node: Any) -> None:
    node = make_node(associations=1, patience=20.0)
    with RawPeer(node.port) as first, RawPeer(node.port, contexts=None) as second:
        second.send(raw_peer.associate_request(b"PRONE_RM2", b"SBB_NODE", CONTEXTS))
        second.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            second.read_unit()
        assert first.release()[0] == 6
        second.socket.settimeout(20.0)
        assert second.read_unit()[0] == 2


def test_who_waits_for_a_place_is_told_that_the_node_is_stopping(make_node: Any) -> None:
    node = make_node(associations=1, patience=20.0)
    with RawPeer(node.port), RawPeer(node.port, contexts=None) as second:
        second.send(raw_peer.associate_request(b"PRONE_RM2", b"SBB_NODE", CONTEXTS))
        second.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            second.read_unit()
        stopping = threading.Thread(target=node.listener.stop, args=(10.0,))
        stopping.start()
        second.socket.settimeout(20.0)
        assert tuple(second.read_unit()[7:10]) == (2, 3, 1)
        stopping.join(timeout=20)


def test_a_connection_that_gets_no_thread_leaves_its_place(make_node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    node = make_node(connections=1)

    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched, capture_logs() as lines:
        patched.setattr(listener, "start_new_thread", no_thread)
        with RawPeer(node.port, contexts=None) as peer:
            assert peer.is_closed()
        assert [line["event"] for line in lines] == ["connection.failed"]
    with RawPeer(node.port) as peer:
        assert peer.answer[0] == 2


def test_strangers_shut_out_neither_a_unit_nor_the_nodes_own_check(make_node: Any) -> None:
    node = make_node(connections=8, host="127.1.0.1/32")
    with capture_logs() as lines, contextlib.ExitStack() as strangers:
        for number in range(1, 13):
            strangers.enter_context(RawPeer(node.port, contexts=None, source=f"127.2.0.{number}"))
        wait_for(lambda: [line["event"] for line in lines] == ["connection.refused"] * 8)
        assert answers(node.socket, "OWN")
        with RawPeer(node.port, source="127.1.0.1") as unit:
            assert unit.answer[0] == 2


def test_connections_are_limited_before_they_become_associations(make_node: Any) -> None:
    node = make_node(connections=3)
    silent = [RawPeer(node.port, contexts=None) for _ in range(3)]
    try:
        time.sleep(0.2)
        with RawPeer(node.port, contexts=None) as one_more:
            assert one_more.is_closed()
    finally:
        for peer in silent:
            peer.socket.close()

    def admitted() -> bool:
        try:
            with RawPeer(node.port) as peer:
                return peer.answer[0] == 2
        except ConnectionError:
            return False

    wait_for(admitted)


def test_stopping_lets_a_store_end_and_then_aborts(node: Node) -> None:
    node.store.slow = 0.5
    with RawPeer(node.port) as peer, RawPeer(node.port) as idle:
        peer.send(store())
        wait_for(lambda: node.store.open == 1)
        stopping = threading.Thread(target=node.listener.stop, args=(10.0,))
        stopping.start()
        assert idle.read_unit()[0] == 7
        assert peer.read_response()[0].status == 0
        assert peer.read_unit()[0] == 7
        stopping.join(timeout=10)
        assert not stopping.is_alive()
    assert len(node.store.finished) == 1


def test_stopping_ends_in_time_with_peers_that_hang(node: Node) -> None:
    hung = [RawPeer(node.port) for _ in range(10)]
    for peer in hung:
        peer.send(store()[:2000])
    wait_for(lambda: node.store.open == 10)
    began = time.monotonic()
    node.listener.stop(0.5)
    assert time.monotonic() - began < 10
    assert node.listener.associations == 0
    assert node.store.open == 0
    for peer in hung:
        peer.socket.close()
