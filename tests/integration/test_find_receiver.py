"""Queries in the receiver, asked by a peer made of bytes: what comes between two batches, and what must not."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dicom_node.dicom.query import Query
from dicom_node.index.find import Page
from tests import raw_peer
from tests.querying import listening, wait_until
from tests.raw_peer import IMPLICIT, RELEASE, STUDY_ROOT_FIND, VERIFICATION, RawPeer

CONTEXTS = ((VERIFICATION, [IMPLICIT]), (STUDY_ROOT_FIND, [IMPLICIT]))
IDENTIFIER = b"\x08\0\x52\0\x06\0\0\0STUDY \x20\0\x0d\0\0\0\0\0"
RECORD = {"StudyInstanceUID": "1.2.3"}


class Search:
    """A use case that finds a record each time it is let go on."""

    def __init__(self) -> None:
        self.began = 0
        self.ended = 0
        self.turns = threading.Semaphore(0)

    def find(self, _query: Query) -> Iterator[Page]:
        self.began += 1
        try:
            while True:
                assert self.turns.acquire(timeout=20)
                yield Page([RECORD], is_last=False)
        finally:
            self.ended += 1


def peer_of(port: int, **options: Any) -> RawPeer:
    return RawPeer(port, calling=b"PACS", contexts=CONTEXTS, **options)


def request(message_id: int, context_id: int = 3, identifier: bytes | None = IDENTIFIER) -> bytes:
    command = raw_peer.command_set(0x0020, message_id, STUDY_ROOT_FIND, data=identifier is not None)
    return raw_peer.message(context_id, command, identifier)


def cancel(message_id: int) -> bytes:
    return raw_peer.message(3, raw_peer.command_set(0x0FFF, message_id, "", data=False))


def next_status(peer: RawPeer) -> tuple[int, int]:
    """Return message id and status of the next response; its identifier is read too."""
    response, _ = peer.read_response()
    assert response.field == 0x8020
    if response.has_data_set:
        peer.read_unit()
    return response.message_id, response.status


def read_cancelled(peer: RawPeer) -> None:
    """Read the final response to request 5, and at most one answer that was on its way when the cancel came."""
    if (told := next_status(peer)) == (5, 0xFF00):
        told = next_status(peer)
    assert told == (5, 0xFE00)


def test_requests_that_come_together_are_answered_one_after_the_other() -> None:
    with listening(lambda _query: iter([Page([RECORD, RECORD], is_last=True)])) as node, peer_of(node.port) as peer:
        peer.send(request(9) + request(10))
        assert [next_status(peer) for _ in range(6)] == [(9, 0xFF00)] * 2 + [(9, 0)] + [(10, 0xFF00)] * 2 + [(10, 0)]


def test_only_a_cancel_of_the_query_itself_ends_it() -> None:
    search = Search()
    with listening(search.find) as node, peer_of(node.port) as peer:
        peer.send(request(5))
        wait_until(lambda: search.began == 1)
        peer.send(cancel(4))
        search.turns.release(2)
        assert [next_status(peer) for _ in range(2)] == [(5, 0xFF00)] * 2
        peer.send(cancel(5))
        search.turns.release()
        read_cancelled(peer)
        wait_until(lambda: search.ended == 1)


def test_a_cancel_overtakes_nothing_that_came_before_it() -> None:
    search = Search()
    with listening(search.find) as node, peer_of(node.port) as peer:
        peer.send(request(5) + request(6) + cancel(5))
        wait_until(lambda: search.began == 1)
        search.turns.release(3)
        assert [next_status(peer) for _ in range(3)] == [(5, 0xFF00)] * 3
        assert search.began == 1  # the second request waits, and all that follows it


def test_a_cancel_after_the_end_is_of_no_effect() -> None:
    with listening(lambda _query: iter([Page([], is_last=True)])) as node, peer_of(node.port) as peer:
        for number in range(1, 4):
            peer.send(request(number))
            assert next_status(peer) == (number, 0)
            peer.send(cancel(number))


@pytest.mark.parametrize("words", [RELEASE, b"\x07\0\0\0\0\4\0\0\0\0"])
def test_a_release_or_an_abort_ends_the_query(words: bytes) -> None:
    search = Search()
    with listening(search.find) as node, peer_of(node.port) as peer:
        peer.send(request(5))
        wait_until(lambda: search.began == 1)
        peer.send(words)
        search.turns.release()
        wait_until(lambda: search.ended == 1)
        wait_until(lambda: node.associations == 0 or words == RELEASE)
        if words == RELEASE:
            assert next_status(peer) == (5, 0xFF00)
            assert peer.read_unit()[0] == 6


def test_a_query_in_the_context_of_another_service_aborts_the_association() -> None:
    search = Search()
    with listening(search.find) as node, peer_of(node.port) as peer:
        peer.send(request(5, context_id=1))
        assert peer.read_unit()[0] == 7
    assert search.began == 0


def test_a_query_without_an_identifier_is_refused() -> None:
    with listening(Search().find) as node, peer_of(node.port) as peer:
        peer.send(request(5, identifier=None))
        assert next_status(peer) == (5, 0xA900)
        peer.send(raw_peer.message(1, raw_peer.echo_request(6)))
        assert peer.read_response()[0].status == 0


def test_a_peer_that_reads_no_answers_is_dropped() -> None:
    ended = threading.Event()

    def find(_query: Query) -> Iterator[Page]:
        try:
            while True:
                yield Page([RECORD] * 2000, is_last=False)
        finally:
            ended.set()

    with listening(find, sending=0.3) as node, peer_of(node.port) as peer:
        peer.send(request(5))
        assert ended.wait(20)
        wait_until(lambda: node.associations == 0)


def test_the_time_of_a_search_is_not_the_peers() -> None:
    search = Search()
    with listening(search.find, idle=0.5, unit=0.5) as node, peer_of(node.port) as peer:
        peer.send(request(5) + cancel(5)[:9])  # half a unit, that goes on after the wait
        wait_until(lambda: search.began == 1)
        threading.Event().wait(1.2)
        search.turns.release()
        assert next_status(peer) == (5, 0xFF00)
        peer.send(cancel(5)[9:])
        search.turns.release()
        read_cancelled(peer)


def test_a_stopping_node_lets_a_query_end_and_then_aborts() -> None:
    search = Search()
    with listening(search.find) as node, peer_of(node.port) as peer:
        peer.send(request(5))
        wait_until(lambda: search.began == 1)
        stopping = threading.Thread(target=node.stop, args=(20.0,))
        stopping.start()
        search.turns.release()
        assert next_status(peer) == (5, 0xFF00)
        peer.send(cancel(5))
        search.turns.release()
        read_cancelled(peer)
        assert peer.read_unit()[0] == 7
        stopping.join(20)
        assert not stopping.is_alive()


def test_a_node_that_may_wait_no_longer_aborts_a_query() -> None:
    search = Search()
    with listening(search.find) as node, peer_of(node.port) as peer:
        peer.send(request(5))
        wait_until(lambda: search.began == 1)
        search.turns.release(1_000_000)  # so that it never waits for one itself
        node.stop(0.0)
        wait_until(lambda: search.ended == 1)
