"""C-MOVE: to destinations that take everything, and to those that are down, slow, picky, refuse, or break off."""

import contextlib
import io
import random
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from pynetdicom import AE, StoragePresentationContexts, evt
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

from dicom_node.dimse import move as dimse_move
from dicom_node.dimse import pdu
from dicom_node.dimse.access import Destination
from dicom_node.dimse.calling import Patience
from dicom_node.index.engine import Index
from tests import raw_peer, retrieving
from tests.archives import wait_until
from tests.live import free_port
from tests.raw_peer import EXPLICIT, IMPLICIT, MAMMOGRAM, SECONDARY_CAPTURE, RawPeer
from tests.receivers import raw_server
from tests.retrieving import STUDY_ROOT_MOVE, Got, Holdings, cancel, converse, counts, read_message, wanted

# pynetdicom drops the socket of a connection that its peer broke, without closing it.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")

LOSSLESS = "1.2.840.10008.1.2.4.70"
SHORT = Patience(connect=0.5, answer=0.5, response=0.5, sending=0.5)


@pytest.fixture
def holdings(tmp_path: Path, sqlite_index: Index) -> Iterator[Holdings]:
    with retrieving.holding(tmp_path / "data", sqlite_index) as made:
        yield made


@dataclass
class Taker:
    """A destination of the library's making, and what came."""

    port: int
    taken: dict[str, bytes] = field(default_factory=dict)
    requests: list[Any] = field(default_factory=list)
    associations: list[Any] = field(default_factory=list)
    aborted: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def taking(
    statuses: Callable[[int], int] = lambda number: 0,
    *,
    contexts: tuple[tuple[str, list[str]], ...] = ((MAMMOGRAM, [EXPLICIT]),),
    tls: ssl.SSLContext | None = None,
) -> Iterator[Taker]:
    """Take instances and answer each with what ``statuses`` says to its number, from 1."""
    taker = Taker(0)

    def take(event: Any) -> int:
        taker.taken[event.request.AffectedSOPInstanceUID] = event.request.DataSet.getvalue()
        taker.requests.append(event.request)
        if (status := statuses(len(taker.requests))) < 0:
            event.assoc.abort()
        return status

    ae = AE("PACS2")
    for sop_class, syntaxes in contexts:
        ae.add_supported_context(sop_class, syntaxes)
    handlers = [
        (evt.EVT_C_STORE, take),
        (evt.EVT_ACCEPTED, lambda event: taker.associations.append(event.assoc.requestor.primitive)),
        (evt.EVT_ABORTED, lambda _event: taker.aborted.set()),
    ]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=tls)
    assert server is not None
    taker.port = server.server_address[1]
    try:
        yield taker
    finally:
        ae.shutdown()


def to(port: int, *, tls: bool = False, services: tuple[str, ...] = ("move-destination",)) -> Any:
    destination = Destination(
        name="peers.second",
        ae_title="PACS2",
        address="127.0.0.1",
        port=port,
        tls=tls,
        services=frozenset(services),
    )
    return lambda: [destination]


def peer_of(port: int) -> RawPeer:
    return RawPeer(port, calling=b"PACS", contexts=((STUDY_ROOT_MOVE, [IMPLICIT]),))


def request(destination: bytes = b"PACS2 ", *, number: int = 7) -> bytes:
    title = raw_peer.element(0x0600, destination) if destination else b""
    high = raw_peer.element(0x0700, b"\1\0")
    command = raw_peer.command_set(0x0021, number, STUDY_ROOT_MOVE, title, high, data=True)
    return raw_peer.message(1, command, wanted("STUDY", StudyInstanceUID="1.2.3"))


def move(holdings: Holdings, destinations: Any, ask: bytes | None = None, **options: Any) -> Got:
    with (
        retrieving.serving(holdings.service(), destinations=destinations, **options) as node,
        peer_of(node.port) as peer,
    ):
        return converse(peer, request() if ask is None else ask)


def test_a_study_arrives_byte_for_byte_and_says_who_asked_for_it(holdings: Holdings) -> None:
    noise = random.Random(5)
    kept = [holdings.keep(noise.randbytes(size), number=size) for size in (1, 30_001, 1_048_577)]
    kept.append(holdings.keep(b"lossless", syntax=LOSSLESS, series="1.2.3.2", SeriesNumber="2"))
    kept.append(holdings.keep(b"capture", sop_class=SECONDARY_CAPTURE, series="1.2.3.3", SeriesNumber="3"))
    contexts = ((MAMMOGRAM, [EXPLICIT, LOSSLESS]), (SECONDARY_CAPTURE, [EXPLICIT]))
    with taking(contexts=contexts) as taker:
        got = move(holdings, to(taker.port))
    assert taker.taken == {each.uid: each.data for each in kept}
    assert list(taker.taken) == [each.uid for each in kept]
    for stored in taker.requests:
        assert (stored.MoveOriginatorApplicationEntityTitle, stored.MoveOriginatorMessageID) == ("PACS", 7)
        assert stored.Priority == 1
    (association,) = taker.associations
    assert (association.calling_ae_title, association.called_ae_title) == ("SBB_NODE", "PACS2")
    proposed = {
        (each.abstract_syntax, *each.transfer_syntax) for each in association.presentation_context_definition_list
    }
    assert proposed == {(MAMMOGRAM, EXPLICIT), (MAMMOGRAM, LOSSLESS), (SECONDARY_CAPTURE, EXPLICIT)}
    assert (got.final.field, got.final.message_id, got.final.status) == (0x8021, 7, 0)
    assert counts(got.final) == (None, 5, 0, 0)
    told = [counts(response) for response in got.pending]
    assert told == sorted(told, reverse=True)
    assert all(sum(number or 0 for number in each) == 5 for each in told)


def test_nothing_found_is_a_success_and_calls_nobody(holdings: Holdings) -> None:
    got = move(holdings, to(free_port()))
    assert (got.final.status, counts(got.final)) == (0, (None, 0, 0, 0))


@pytest.mark.parametrize(
    ("title", "services"),
    [(b"STRANGER", ("move-destination",)), (b"", ("move-destination",)), (b"PACS2 ", ("echo", "move"))],
)
def test_only_a_destination_that_is_configured_as_one_is_sent_to(
    holdings: Holdings, title: bytes, services: tuple[str, ...]
) -> None:
    holdings.keep(b"1")
    with taking() as taker:
        got = move(holdings, to(taker.port, services=services), request(title))
        assert (got.final.status, counts(got.final), got.failed) == (0xA801, (None, 0, 0, 0), [])
        assert taker.associations == []


def test_a_destination_that_is_down_fails_every_instance_and_is_named(
    holdings: Holdings, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = io.StringIO()  # pytest's own would lose a line that is written while it is read
    monkeypatch.setattr(sys, "stderr", log)
    kept = [holdings.keep(bytes([number]), number=number) for number in range(3)]
    got = move(holdings, to(free_port()))
    assert (got.final.status, counts(got.final)) == (0xA702, (None, 0, 3, 0))
    assert got.failed == [each.uid for each in kept]
    assert got.final.text(0x0902) == "PACS2: nobody listens there"

    def told() -> list[str]:
        return [line for line in log.getvalue().splitlines(keepends=True) if "retrieve.answered" in line]

    wait_until(lambda: any(line.endswith("\n") for line in told()))
    (line,) = told()
    for words in ('"peers.second"', '"failed": 3', '"status": "A702"', "nobody listens there"):
        assert words in line


def test_a_destination_takes_what_fits_its_contexts_and_the_rest_is_counted(holdings: Holdings) -> None:
    plain = holdings.keep(b"plain", number=1)
    lossless = holdings.keep(b"lossless", number=2, syntax=LOSSLESS)
    capture = holdings.keep(b"capture", number=3, sop_class=SECONDARY_CAPTURE)
    with taking() as taker:
        got = move(holdings, to(taker.port))
    assert taker.taken == {plain.uid: b"plain"}
    assert (got.final.status, counts(got.final), got.failed) == (0xB000, (None, 1, 2, 0), [lossless.uid, capture.uid])
    assert got.final.text(0x0902) == f"not taken in transfer syntax {LOSSLESS}"


def test_a_destination_that_takes_no_context_fails_all(holdings: Holdings) -> None:
    holdings.keep(b"lossless", syntax=LOSSLESS)
    with taking() as taker:
        got = move(holdings, to(taker.port))
        assert taker.taken == {}
    assert (got.final.status, counts(got.final)) == (0xA702, (None, 0, 1, 0))
    assert got.final.text(0x0902).startswith("PACS2: the peer accepts no presentation context")


def test_what_the_destination_answers_is_counted(holdings: Holdings) -> None:
    kept = [holdings.keep(bytes([number]), number=number) for number in range(4)]
    with taking(lambda number: [0, 0xB000, 0xA700, 0][number - 1]) as taker:
        got = move(holdings, to(taker.port))
    assert (got.final.status, counts(got.final), got.failed) == (0xB000, (None, 2, 1, 1), [kept[2].uid])
    assert got.final.text(0x0902) == "the receiver refused an instance with A700"


def test_a_destination_that_breaks_off_fails_the_rest(holdings: Holdings) -> None:
    kept = [holdings.keep(bytes([number]), number=number) for number in range(4)]
    with taking(lambda number: 0 if number < 2 else -1) as taker:
        got = move(holdings, to(taker.port))
    assert (got.final.status, counts(got.final)) == (0xB000, (None, 1, 3, 0))
    assert got.failed == [each.uid for each in kept[1:]]
    assert got.final.text(0x0902).startswith("PACS2: the peer aborted the association")


def test_a_destination_that_breaks_off_on_one_instance_gets_the_others(holdings: Holdings) -> None:
    kept = [holdings.keep(bytes([number]), number=number) for number in range(4)]
    with taking(lambda number: -1 if number in (1, 3) else 0) as taker:
        got = move(holdings, to(taker.port))
    assert (got.final.status, counts(got.final), got.failed) == (0xB000, (None, 2, 2, 0), [kept[0].uid, kept[2].uid])
    assert len(taker.associations) == 3


def test_a_destination_that_breaks_off_on_every_instance_is_given_up(holdings: Holdings) -> None:
    for number in range(10):
        holdings.keep(bytes([number]), number=number)
    with taking(lambda _number: -1) as taker:
        got = move(holdings, to(taker.port))
    assert (got.final.status, counts(got.final)) == (0xA702, (None, 0, 10, 0))
    assert len(taker.associations) == 3


def test_a_destination_that_rejects_the_association_is_named_with_its_reason(holdings: Holdings) -> None:
    holdings.keep(b"1")

    def reject(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(pdu.associate_reject(1, 1, 3))
        connection.recv(1)

    with raw_server(reject) as port:
        got = move(holdings, to(port))
    assert (got.final.status, counts(got.final)) == (0xA702, (None, 0, 1, 0))
    assert got.final.text(0x0902).startswith("PACS2: the peer refuses the association: calling AE title")


def silent(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass


class Hanging:
    """Answers instances from a number on when it is let go."""

    def __init__(self, first: int = 1) -> None:
        self._first = first
        self.released = threading.Event()

    def __call__(self, number: int) -> int:
        if number >= self._first:
            self.released.wait(60)
        return 0


def last_of(peer: RawPeer) -> pdu.Command:
    """Read to the final response."""
    while (response := read_message(peer)[0]).status == 0xFF00:
        pass
    return response


def test_a_destination_that_says_nothing_is_given_up_after_its_time(holdings: Holdings) -> None:
    holdings.keep(b"1")
    with raw_server(silent) as port:
        got = move(holdings, to(port), patience=SHORT)
    assert (got.final.status, counts(got.final)) == (0xA702, (None, 0, 1, 0))
    assert got.final.text(0x0902).startswith("PACS2: the peer did not answer the association request")


def test_a_destination_that_never_answers_an_instance_is_given_up_after_its_time(holdings: Holdings) -> None:
    holdings.keep(b"1")
    hanging = Hanging()
    with taking(hanging) as taker:
        got = move(holdings, to(taker.port), patience=SHORT)
        hanging.released.set()
    assert (got.final.status, counts(got.final)) == (0xA702, (None, 0, 1, 0))


def test_a_cancel_is_answered_while_the_destination_hangs_in_an_instance(holdings: Holdings) -> None:
    for number in range(3):
        holdings.keep(bytes([number]), number=number)
    hanging = Hanging(2)
    with (
        taking(hanging) as taker,
        retrieving.serving(holdings.service(), destinations=to(taker.port)) as node,
        peer_of(node.port) as peer,
    ):
        peer.send(request())
        wait_until(lambda: len(taker.requests) == 2)
        peer.send(cancel(7))
        final = last_of(peer)
        assert (final.status, counts(final)) == (0xFE00, (2, 1, 0, 0))
        hanging.released.set()
        assert taker.aborted.wait(20)
        assert peer.release()[0] == 6


def test_a_cancel_is_answered_while_the_destination_does_not_even_associate(holdings: Holdings) -> None:
    holdings.keep(b"1")
    called = threading.Event()

    def hear(connection: socket.socket) -> None:
        called.set()
        silent(connection)

    with (
        raw_server(hear) as port,
        retrieving.serving(holdings.service(), destinations=to(port), places=1, patience=Patience()) as node,
        peer_of(node.port) as peer,
    ):
        peer.send(request())
        assert called.wait(20)
        peer.send(cancel(7))
        final = last_of(peer)
        assert (final.status, counts(final)) == (0xFE00, (1, 0, 0, 0))
        # That transfer still waits for the destination, and there is room for one.
        got = converse(peer, request(number=8))
        assert (got.final.status, counts(got.final)) == (0xA702, (None, 0, 0, 0))
        assert got.final.text(0x0902) == "as many transfers are under way as there may be"


def test_a_transfer_for_which_the_system_has_no_thread_keeps_no_place(
    holdings: Holdings, monkeypatch: pytest.MonkeyPatch
) -> None:
    holdings.keep(b"1")

    def no_thread(**_: Any) -> Any:
        raise RuntimeError("can't start new thread")

    with (
        taking(lambda _: 0) as taker,
        retrieving.serving(holdings.service(), destinations=to(taker.port), places=1) as node,
        peer_of(node.port) as peer,
    ):
        with monkeypatch.context() as patched:
            patched.setattr(dimse_move, "threading", SimpleNamespace(Thread=no_thread, Lock=threading.Lock))
            got = converse(peer, request())
            assert (got.final.status, counts(got.final)) == (0xA702, (None, 0, 0, 0))
        got = converse(peer, request(number=8))
        assert (got.final.status, counts(got.final)) == (0, (None, 1, 0, 0))


@pytest.mark.parametrize("words", [raw_peer.RELEASE, pdu.abort(0), b""])
def test_a_peer_that_leaves_ends_the_transfer(holdings: Holdings, words: bytes) -> None:
    for number in range(2):
        holdings.keep(bytes([number]), number=number)
    hanging = Hanging()
    with (
        taking(hanging) as taker,
        retrieving.serving(holdings.service(), destinations=to(taker.port)) as node,
    ):
        with peer_of(node.port) as peer:
            peer.send(request())
            wait_until(lambda: len(taker.requests) == 1)
            peer.send(words)
            if words == raw_peer.RELEASE:
                assert read_until_unit(peer, 6)
        wait_until(lambda: node.associations == 0)
        hanging.released.set()
        assert taker.aborted.wait(20)
        assert len(taker.requests) == 1


def read_until_unit(peer: RawPeer, kind: int) -> bool:
    while peer.read_unit()[0] != kind:
        pass
    return True


def test_damaged_bytes_are_not_sent_and_the_others_are(holdings: Holdings) -> None:
    noise = random.Random(3)
    kept = [holdings.keep(noise.randbytes(2_000_000), number=number) for number in range(3)]
    holdings.damage(kept[1])
    with taking() as taker:
        got = move(holdings, to(taker.port))
    assert taker.taken == {each.uid: each.data for each in (kept[0], kept[2])}
    assert (got.final.status, counts(got.final), got.failed) == (0xB000, (None, 2, 1, 0), [kept[1].uid])


def test_more_contexts_than_fit_one_association_take_several(holdings: Holdings) -> None:
    classes = [str(context.abstract_syntax) for context in StoragePresentationContexts]
    classes = [sop_class for sop_class in classes if uid_to_service_class(sop_class) is StorageServiceClass][:70]
    syntaxes = [EXPLICIT, IMPLICIT]
    kept = {
        holdings.keep(f"{sop_class} {syntax}".encode(), number=number, sop_class=sop_class, syntax=syntax).uid
        for number, sop_class in enumerate(classes)
        for syntax in syntaxes
    }
    with taking(contexts=tuple((sop_class, syntaxes) for sop_class in classes)) as taker:
        got = move(holdings, to(taker.port))
    assert taker.taken.keys() == kept
    assert [len(each.presentation_context_definition_list) for each in taker.associations] == [128, 12]
    assert (got.final.status, counts(got.final)) == (0, (None, 140, 0, 0))


def test_an_error_that_nobody_foresaw_ends_the_request_too(holdings: Holdings, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [holdings.keep(bytes([number]), number=number) for number in range(2)]
    service = holdings.service()

    def fail(_self: object, _selected: object) -> Iterator[bytes]:
        raise RuntimeError("SECRET^NAME")

    monkeypatch.setattr(type(service), "read", fail)
    with taking() as taker:
        got = move(holdings, to(taker.port))
    assert (got.final.status, got.failed) == (0xA702, [each.uid for each in kept])
    assert got.final.text(0x0902) == "unexpected error, see the node's log"


def test_a_destination_is_called_by_tls_where_it_wants_that(holdings: Holdings) -> None:
    kept = holdings.keep(bytes(100_000))
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    with taking(tls=server) as taker:
        got = move(holdings, to(taker.port, tls=True), tls=client)
        assert (got.final.status, taker.taken) == (0, {kept.uid: kept.data})
        stranger = move(holdings, to(taker.port, tls=True), tls=ssl.create_default_context())
        assert (stranger.final.status, counts(stranger.final)) == (0xA702, (None, 0, 1, 0))
        assert "certificate" in stranger.final.text(0x0902)
        without = move(holdings, to(taker.port, tls=True))
        assert without.final.text(0x0902) == "PACS2: TLS is not set up here, see the node's log"


def test_a_peer_that_waits_for_long_hears_something(holdings: Holdings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicom_node.dimse.retrieve.KEPT_UP", 0.05)
    holdings.keep(b"1")
    hanging = Hanging()
    with (
        taking(hanging) as taker,
        retrieving.serving(holdings.service(), destinations=to(taker.port)) as node,
        peer_of(node.port) as peer,
    ):
        peer.send(request())
        heard = [read_message(peer)[0] for _ in range(3)]
        assert [(each.status, counts(each)) for each in heard] == [(0xFF00, (1, 0, 0, 0))] * 3
        hanging.released.set()
        final = last_of(peer)
        assert final.status == 0
