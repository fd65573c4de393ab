"""Storage commitment on the association that asked, and over a new one: the truth about each instance, told once."""

import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from structlog.testing import capture_logs

from dicom_node import logs
from dicom_node.dimse import commitment as dimse_commitment
from dicom_node.dimse import pdu
from dicom_node.dimse.access import Destination
from dicom_node.dimse.reporting import destination_of
from dicom_node.errors import DatabaseError, StorageUnavailableError
from dicom_node.index.commitments import Sender
from dicom_node.index.tables import commitment
from dicom_node.services import commitment as service
from tests import raw_peer
from tests.archives import wait_until
from tests.committing import (
    COMMITMENT,
    INSTANCE,
    Facility,
    acceptance,
    action,
    ask,
    facility,
    failed,
    held,
    information,
    read_report,
    sender,
    taken,
    told,
)
from tests.factories import make_bto, make_mg, new_uid
from tests.live import free_port
from tests.raw_peer import MAMMOGRAM, RELEASE
from tests.receivers import raw_server
from tests.sites import receive


@pytest.fixture(scope="module")
def one_facility(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facility]:
    with facility(tmp_path_factory.mktemp("facility")) as made:
        yield made


@pytest.fixture
def node(one_facility: Facility) -> Facility:
    """A facility that nobody asked for commitment yet; nothing is late there."""
    one_facility.destinations.clear()
    one_facility.ahead = timedelta(0)
    with one_facility.stores.index.write() as conn:
        conn.execute(commitment.delete())
    return one_facility


class Unit:
    """A unit that takes reports, by another implementation."""

    def __init__(self) -> None:
        self.reports: list[Any] = []
        self.status = 0
        self._ae = AE("PRONE_RM2")
        syntaxes = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
        self._ae.add_supported_context(COMMITMENT, syntaxes, scu_role=False, scp_role=True)
        handlers = [(evt.EVT_N_EVENT_REPORT, self._report)]
        server = self._ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        assert server is not None
        self.port = int(server.server_address[1])

    def _report(self, event: evt.Event) -> tuple[int, None]:
        self.reports.append((event.assoc.requestor.ae_title, event.event_type, event.event_information))
        return self.status, None

    def close(self) -> None:
        self._ae.shutdown()


@pytest.fixture(scope="module")
def one_unit() -> Iterator[Unit]:
    unit = Unit()
    yield unit
    unit.close()


@pytest.fixture
def unit(one_unit: Unit) -> Unit:
    """A unit that was told nothing yet; it takes a quarter of a second to end one."""
    one_unit.reports.clear()
    one_unit.status = 0
    return one_unit


def stored(node: Facility, number: int = 1) -> list[Dataset]:
    images = [make_mg(InstanceNumber=each) for each in range(number)]
    for ds in images:
        receive(node.stores, ds)
    return images


# On the association that asked.


def test_what_is_held_is_committed_to_on_the_same_association(node: Facility, logs_as_they_were: None) -> None:
    logs.configure(level="info")
    images = stored(node, 3)
    with capture_logs() as written, sender(node.port) as peer:
        ask(peer, "2.25.9", *images)
        event_type, report = told(peer)
        assert (event_type, report.TransactionUID, report.RetrieveAETitle) == (1, "2.25.9", "SBB_NODE")
        assert held(report) == [ds.SOPInstanceUID for ds in images]
        assert peer.release()[0] == 6
        wait_until(lambda: node.state() == "reported")
        wait_until(lambda: any(log["event"] == "association.released" for log in written))
    (accepted, reported) = (log for log in written if log["event"].startswith("commitment"))
    assert (accepted["event"], accepted["instances"]) == ("commitment.accepted", 3)
    assert (reported["event"], reported["held"], reported["failed"]) == ("commitment.reported", 3, 0)
    node.reporter.run()  # nothing is left to say


def test_what_cannot_be_committed_to_is_told_with_the_reason(node: Facility) -> None:
    good, damaged, gone, other, never = *stored(node, 4), make_mg()
    data = bytearray(node.object_of(damaged).read_bytes())
    data[-1] ^= 1
    node.object_of(damaged).write_bytes(data)
    node.object_of(gone).unlink()
    other.SOPClassUID = make_bto().SOPClassUID
    private = Dataset()
    private.SOPClassUID, private.SOPInstanceUID = "1.2.826.0.1.3680043.10.1", new_uid()
    with sender(node.port) as peer:
        ask(peer, "2.25.9", good, damaged, gone, other, never, private)
        event_type, report = told(peer)
    assert event_type == 2
    assert held(report) == [good.SOPInstanceUID]
    assert failed(report) == {
        damaged.SOPInstanceUID: 0x0110,
        gone.SOPInstanceUID: 0x0112,
        other.SOPInstanceUID: 0x0119,
        never.SOPInstanceUID: 0x0112,
        private.SOPInstanceUID: 0x0122,
    }
    wait_until(lambda: node.requests()[0].failed == 5)


def test_every_content_under_a_uid_is_read_again(node: Facility) -> None:
    first = make_mg(ImageComments="one")
    receive(node.stores, first)
    path = node.object_of(first)
    second = make_mg(sop_instance_uid=first.SOPInstanceUID, ImageComments="two")
    receive(node.stores, second)
    with sender(node.port) as peer:
        ask(peer, "2.25.9", first)
        assert told(peer)[0] == 1
        path.unlink()
        ask(peer, "2.25.10", first)
        assert failed(told(peer)[1]) == {first.SOPInstanceUID: 0x0112}


def test_an_instance_that_is_late_is_waited_for(tmp_path: Path) -> None:
    with facility(tmp_path, grace=60.0, pause=0.05) as node, sender(node.port) as peer:
        late = make_mg()
        ask(peer, "2.25.9", late)
        peer.send(raw_peer.message(3, raw_peer.echo_request(8)))
        assert peer.read_response()[0].field == 0x8030  # nothing was said about it meanwhile
        receive(node.stores, late)
        assert held(told(peer)[1]) == [late.SOPInstanceUID]


def test_a_volume_that_cannot_be_read_is_no_damage(node: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    (image,) = stored(node)

    def fails(*_: Any) -> Iterator[int]:
        raise StorageUnavailableError("the volume is gone")

    monkeypatch.setattr(service, "rehashing", fails)
    with sender(node.port) as peer:
        ask(peer, "2.25.9", image)
        assert failed(told(peer)[1]) == {image.SOPInstanceUID: 0x0213}


def test_a_large_object_is_read_in_steps(node: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    image = make_mg(rows=1024, columns=2600)
    receive(node.stores, image)
    with sender(node.port) as peer:
        ask(peer, "2.25.9", image)
    wait_until(node.is_free)
    (claimed,) = node.commitments.claim()
    monkeypatch.setattr(service, "STEP", 0.0)
    assert len(list(node.commitments.look(claimed))) >= 1024 * 2600 * 2 // 2**20


WRONG: list[tuple[dict[str, Any], int]] = [
    ({"sop_class": MAMMOGRAM}, 0x0118),
    ({"instance": "2.25.1"}, 0x0112),
    ({"instance": "no UID"}, 0x0117),
    ({"kind": 2}, 0x0123),
    ({"data": None}, 0x0115),
    ({"data": b"\x08\x00\x95\x11\xff"}, 0x0115),
]


def test_a_wrong_request_is_answered_and_the_association_goes_on(node: Facility) -> None:
    good = information("2.25.9", [(MAMMOGRAM, "2.25.1")])
    with sender(node.port) as peer:
        for options, status in WRONG:
            peer.send(action(**{"data": good, **options}))
            answer, _ = peer.read_response()
            assert (answer.field, answer.status) == (0x8130, status)
            assert 0 < len(answer.text(0x0902)) <= 64
        assert peer.release()[0] == 6
    assert node.requests() == []


def test_more_than_the_node_holds_for_one_association_is_refused_until_it_has_reported(
    node: Facility, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dimse_commitment, "MOST_WAITING", 2)
    images = stored(node, 2)
    with sender(node.port) as peer:
        ask(peer, "2.25.9", *images)
        peer.send(action(information("2.25.10", [(MAMMOGRAM, "2.25.1")])))
        answer, _ = peer.read_response()
        assert (answer.field, answer.status) == (0x8130, 0x0213)
        assert "too many instances" in answer.text(0x0902)
        assert told(peer)[0] == 1
        ask(peer, "2.25.10", *images)
        assert peer.release()[0] == 6


def test_a_request_that_cannot_be_kept_is_not_acknowledged(node: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise DatabaseError("the index is busy")

    with sender(node.port) as peer:
        monkeypatch.setattr(service.Commitments, "accept", fails)
        peer.send(action(information("2.25.9", [(MAMMOGRAM, "2.25.1")])))
        assert peer.read_response()[0].status == 0x0213


def test_other_requests_are_answered_while_a_report_is_not_taken_yet(node: Facility) -> None:
    one, other = stored(node, 2)
    with sender(node.port) as peer:
        ask(peer, "2.25.1", one)
        command, _ = read_report(peer)
        ask(peer, "2.25.2", other)
        peer.send(raw_peer.message(3, raw_peer.echo_request(8)))
        assert peer.read_response()[0].field == 0x8030
        peer.send(taken(command.message_id))
        assert told(peer)[1].TransactionUID == "2.25.2"
    wait_until(lambda: [each.state for each in node.requests()] == ["reported"] * 2)


def test_reading_for_longer_than_a_peer_may_be_idle_ends_no_association(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: Any) -> Iterator[int]:
        ends = time.monotonic() + 1.0
        while time.monotonic() < ends:
            yield 1

    monkeypatch.setattr(service, "rehashing", slow)
    monkeypatch.setattr(service, "STEP", 0.01)
    with facility(tmp_path, idle=0.4) as node, sender(node.port) as peer:
        (image,) = stored(node)
        ask(peer, "2.25.9", image)
        assert held(told(peer)[1]) == [image.SOPInstanceUID]


def test_a_report_that_is_answered_with_a_failure_is_tried_again(node: Facility) -> None:
    (image,) = stored(node)
    with sender(node.port) as peer:
        ask(peer, "2.25.9", image)
        command, _ = read_report(peer)
        peer.send(taken(command.message_id, 0x0110))
        wait_until(lambda: node.requests()[0].attempts == 1)
    assert (node.state(), node.requests()[0].last_error) == ("waiting", "it answered the report with status 0110")


@pytest.mark.parametrize("error", [DatabaseError("the index is busy"), ValueError("a fault")])
def test_what_fails_after_the_acknowledgement_is_left_to_the_job(
    node: Facility, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: Any) -> None:
        raise error

    (image,) = stored(node)
    with sender(node.port) as peer:
        monkeypatch.setattr(service.Commitments, "look", fails)
        ask(peer, "2.25.9", image)
        wait_until(node.is_free)
        peer.send(raw_peer.message(3, raw_peer.echo_request(8)))
        assert peer.read_response()[0].field == 0x8030


# The same request again.


def test_the_same_request_again_is_looked_at_and_reported_again(node: Facility) -> None:
    (image,) = stored(node)
    with sender(node.port) as peer:
        ask(peer, "2.25.9", image)
        assert told(peer)[0] == 1
        node.object_of(image).unlink()
        ask(peer, "2.25.9", image)
        assert failed(told(peer)[1]) == {image.SOPInstanceUID: 0x0112}
    assert len(node.requests()) == 1


def test_the_same_request_on_another_association_is_reported_there_alone(tmp_path: Path) -> None:
    with (
        facility(tmp_path, grace=60.0, pause=0.05) as node,
        sender(node.port) as first,
        sender(node.port) as second,
    ):
        late = make_mg()
        ask(first, "2.25.9", late)
        ask(second, "2.25.9", late)
        receive(node.stores, late)
        assert told(second)[0] == 1
        wait_until(lambda: node.state() == "reported")
        assert first.release()[0] == 6


def test_a_transaction_uid_in_use_for_others_is_told(node: Facility) -> None:
    one, other = stored(node, 2)
    with sender(node.port) as peer:
        ask(peer, "2.25.9", one)
        read_report(peer)  # not taken: the transaction is still open
    wait_until(node.is_free)
    with sender(node.port) as peer:
        ask(peer, "2.25.9", other)
        event_type, report = told(peer)
        assert (event_type, held(report), failed(report)) == (2, [], {other.SOPInstanceUID: 0x0131})
        ask(peer, "2.25.9", one)
        assert told(peer)[0] == 1
        ask(peer, "2.25.9", other)
        assert told(peer)[0] == 1  # the other one has ended


# Over a new association.


@pytest.mark.parametrize("ending", [RELEASE, raw_peer.struct.pack(">BBLL", 7, 0, 4, 0), b""])
def test_a_peer_that_leaves_at_once_is_called(node: Facility, unit: Unit, ending: bytes) -> None:
    (image,) = stored(node)
    node.reach(unit.port)
    with sender(node.port, called=b"SBB_OLD") as peer:
        ask(peer, "2.25.9", image)
        peer.send(ending)
    wait_until(node.is_free)
    node.reporter.run()
    ((title, event_type, report),) = unit.reports
    assert (title, event_type, held(report)) == ("SBB_OLD", 1, [image.SOPInstanceUID])
    assert node.state() == "reported"


def test_a_scu_of_another_implementation_that_leaves_at_once_is_called(tmp_path: Path, unit: Unit) -> None:
    with facility(tmp_path, pause=1.0) as node:
        node.reach(unit.port)
        (image,) = stored(node)
        ae = AE("PRONE_RM2")
        ae.add_requested_context(COMMITMENT)
        association = ae.associate("127.0.0.1", node.port, ae_title="SBB_NODE")
        request = Dataset()
        request.TransactionUID = new_uid()
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
        request.ReferencedSOPSequence = [reference]
        status, _ = association.send_n_action(request, 1, COMMITMENT, INSTANCE)
        association.release()
        assert (status.Status, association.is_released) == (0, True)
        wait_until(node.is_free)
        node.reporter.run()
        assert [report.TransactionUID for _, _, report in unit.reports] == [request.TransactionUID]


def test_a_peer_that_never_takes_the_report_is_called(tmp_path: Path, unit: Unit) -> None:
    with facility(tmp_path, idle=0.3) as node:
        node.reach(unit.port)
        (image,) = stored(node)
        with sender(node.port) as peer:
            ask(peer, "2.25.9", image)
            read_report(peer)
            assert peer.read_unit()[0] == 7
        wait_until(node.is_free)
        node.reporter.run()
        assert len(unit.reports) == 1


def test_reports_to_one_peer_share_an_association(node: Facility, unit: Unit) -> None:
    images = stored(node, 3)
    for number, ds in enumerate(images):
        with sender(node.port) as peer:
            ask(peer, f"2.25.{number}", ds)
    node.reach(unit.port)
    wait_until(lambda: _free(node) == 3)
    node.reporter.run()
    assert [report.TransactionUID for _, _, report in unit.reports] == ["2.25.0", "2.25.1", "2.25.2"]


def _free(node: Facility) -> int:
    with node.stores.index.read() as conn:
        return int(conn.exec_driver_sql("SELECT count(*) FROM commitment WHERE lease = ''").scalar_one())


def left(node: Facility, *images: Dataset) -> None:
    """Ask and leave."""
    with sender(node.port) as peer:
        ask(peer, "2.25.9", *images)
    wait_until(node.is_free)


def test_a_report_that_is_not_taken_is_tried_for_days(node: Facility, unit: Unit) -> None:
    (image,) = stored(node)
    left(node, image)
    node.reach(free_port())
    node.reporter.run()
    (request,) = node.requests()
    assert (request.state, request.attempts) == ("waiting", 1)
    assert request.last_error.startswith("units.prone1: ")
    node.reporter.run()
    assert node.requests()[0].attempts == 1  # it is not due yet
    node.reach(unit.port)
    unit.status = 0x0110
    node.ahead = timedelta(hours=1)
    node.reporter.run()
    assert len(unit.reports) == 1
    assert node.requests()[0].last_error == "units.prone1 answered the report with status 0110"
    unit.status = 0
    node.ahead = timedelta(hours=3)
    node.reporter.run()
    assert (len(unit.reports), node.state(), node.requests()[0].attempts) == (2, "reported", 3)


def test_a_report_that_nobody_takes_for_a_week_is_given_up(node: Facility) -> None:
    left(node, *stored(node))
    node.reach(free_port())
    node.ahead = timedelta(days=7)
    with capture_logs() as written:
        node.reporter.run()
    assert node.state() == "given up"
    assert [(log["log_level"], log["event"]) for log in written] == [("error", "commitment.given_up")]


def test_a_caller_without_a_port_is_named_with_the_key_to_add(node: Facility, unit: Unit) -> None:
    (image,) = stored(node)
    left(node, image)
    with capture_logs() as written:
        node.reporter.run()
    (line,) = written
    assert (line["log_level"], line["event"]) == ("warning", "commitment.not_reported")
    assert "units.prone1" in line["reason"]
    assert "port = 104" in line["reason"]
    node.reach(unit.port)  # somebody did
    node.ahead = timedelta(hours=1)
    node.reporter.run()
    assert len(unit.reports) == 1


def test_what_was_read_again_is_not_read_once_more_for_each_attempt(
    node: Facility, monkeypatch: pytest.MonkeyPatch
) -> None:
    (image,) = stored(node)
    left(node, image)
    node.reach(free_port())
    node.reporter.run()
    node.ahead = timedelta(minutes=1)

    def fails(*_: Any) -> Iterator[int]:
        raise AssertionError("it was read again")

    with monkeypatch.context() as changed:
        changed.setattr(service, "rehashing", fails)
        node.reporter.run()
    node.object_of(image).unlink()
    node.ahead = timedelta(hours=2)
    node.reporter.run()
    assert (node.requests()[0].attempts, node.requests()[0].failed) == (3, 1)


def test_a_peer_that_breaks_off_gets_the_report_later(node: Facility) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(acceptance())
        connection.recv(1)
        connection.shutdown(socket.SHUT_RDWR)

    left(node, *stored(node))
    with raw_server(talk) as port:
        node.reach(port)
        node.reporter.run()
    assert (node.state(), node.requests()[0].attempts) == ("waiting", 1)


def test_a_late_instance_is_waited_for_when_the_peer_has_left(tmp_path: Path, unit: Unit) -> None:
    with facility(tmp_path, grace=60.0) as node:
        node.reach(unit.port)
        late = make_mg()
        left(node, late)
        node.reporter.run()
        assert (unit.reports, node.requests()[0].attempts) == ([], 0)
        receive(node.stores, late)
        node.ahead = timedelta(seconds=10)
        node.reporter.run()
        assert held(unit.reports[0][2]) == [late.SOPInstanceUID]


def test_two_that_look_at_once_report_once(node: Facility, unit: Unit) -> None:
    left(node, *stored(node))
    node.reach(unit.port)
    together = [threading.Thread(target=node.reporter.run) for _ in range(4)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    assert len(unit.reports) == 1


def test_what_a_node_that_is_gone_held_is_free_at_the_next_start(node: Facility) -> None:
    left(node, *stored(node))
    assert len(node.commitments.claim()) == 1
    assert not node.is_free()
    node.commitments.free_all()
    assert node.is_free()


def test_what_is_looked_at_when_the_node_stops_is_left_to_the_next_start(
    tmp_path: Path, unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    with facility(tmp_path) as node:
        left(node, *stored(node))
        node.reach(unit.port)

        def stops(*_: Any) -> Iterator[int]:
            node.reporter.stop()
            yield 1

        monkeypatch.setattr(service, "rehashing", stops)
        monkeypatch.setattr(service, "STEP", 0.0)
        node.reporter.run()
        assert (unit.reports, node.is_free(), node.requests()[0].attempts) == ([], True, 0)


def test_what_is_being_reported_when_the_node_stops_is_left_to_the_next_start(tmp_path: Path) -> None:
    with facility(tmp_path) as node:

        def talk(connection: socket.socket) -> None:
            connection.recv(4096)
            connection.sendall(acceptance())
            connection.recv(1)  # the report begins
            node.reporter.stop()

        left(node, *stored(node))
        with raw_server(talk) as port:
            node.reach(port)
            node.reporter.run()
        assert (node.is_free(), node.requests()[0].attempts) == (True, 0)


def test_a_caller_that_is_being_called_when_the_node_stops_gets_the_report_later(tmp_path: Path) -> None:
    with facility(tmp_path) as node:
        asked: list[bytes] = []

        def talk(connection: socket.socket) -> None:
            connection.recv(4096)
            node.reporter.stop()
            connection.sendall(acceptance())
            asked.append(connection.recv(6))

        left(node, *stored(node))
        with raw_server(talk) as port:
            node.reach(port)
            node.reporter.run()
        assert asked[0][:1] != bytes([pdu.DATA_TF])
        assert (node.is_free(), node.requests()[0].attempts) == (True, 0)


def test_a_caller_that_wants_tls_is_not_called_without(node: Facility, unit: Unit) -> None:
    left(node, *stored(node))
    node.reach(unit.port, tls=True)
    node.reporter.run()
    assert unit.reports == []
    assert "[node.tls] is not in the configuration" in node.requests()[0].last_error


def test_a_caller_is_found_by_its_name_and_else_by_its_address() -> None:
    def at(name: str, address: str, title: str = "MAMMO") -> Destination:
        return Destination(
            name=name, ae_title=title, address=address, port=104, tls=False, services=frozenset({"commit"})
        )

    def found(caller: str, address: str) -> str:
        asked = Sender(caller=caller, calling_ae="MAMMO", called_ae="SBB_NODE", peer_address=address)
        destination = destination_of(asked, listed)
        return "" if destination is None else f"{destination.name} {destination.address}"

    listed = [at("units.a", "10.0.0.1"), at("units.b", "10.0.0.2"), at("units.b", "10.0.0.3")]
    listed.append(at("units.c", "10.0.0.4", "OTHER"))
    assert found("units.a", "10.0.0.1") == "units.a 10.0.0.1"
    assert found("attachments.x, units.b", "10.0.0.3") == "units.b 10.0.0.3"
    assert found("units.b", "10.9.9.9") == "units.b 10.0.0.2"
    assert found("attachments.x", "10.0.0.2") == "units.b 10.0.0.2"  # another entry of the same machine
    assert found("attachments.x", "10.0.0.9") == ""
    assert found("units.c", "10.0.0.4") == ""
