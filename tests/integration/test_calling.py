"""Associations that the node opens, with real peers and with peers made of bytes that behave badly."""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # pynetdicom makes these names at run time
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from dicom_node.dimse import pdu
from dicom_node.dimse.calling import Calling, Patience, Proposed, Response, SubOperations, call
from dicom_node.dimse.pdu import Command
from dicom_node.errors import PeerRefusedError, PeerUnavailableError
from tests.archives import wait_until
from tests.called import COMMITMENT, peer
from tests.factories import encode
from tests.live import free_port
from tests.raw_peer import EXPLICIT, IMPLICIT, MAMMOGRAM, STUDY_ROOT_FIND, VERIFICATION, command_set, item, message
from tests.receivers import raw_server

SHORT = Patience(connect=0.3, answer=0.3, response=0.3, sending=0.3)
LONG = Patience(connect=20, answer=20, response=20, sending=20)

ECHO = Proposed(VERIFICATION, (IMPLICIT,))
STORE = Proposed(MAMMOGRAM, (EXPLICIT,))


def calling(port: int, *contexts: Proposed, patience: Patience = LONG, **options: Any) -> Calling:
    return call(
        ("127.0.0.1", port),
        calling_ae="SBB_NODE",
        called_ae="PEER",
        contexts=contexts or (ECHO, STORE),
        patience=patience,
        **options,
    )


def accept(*contexts: tuple[int, int, str], maximum: int = 16384) -> bytes:
    """An A-ASSOCIATE-AC with the results of contexts: id, result, transfer syntax."""
    body = bytes([0, 1, 0, 0]) + bytes(64) + item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, result, syntax in contexts:
        body += item(0x21, bytes([number, 0, result, 0]) + item(0x40, syntax.encode()))
    body += item(0x50, item(0x51, maximum.to_bytes(4, "big")) + item(0x52, b"1.2.3"))
    return bytes([2, 0]) + len(body).to_bytes(4, "big") + body


BOTH = accept((1, 0, IMPLICIT), (3, 0, EXPLICIT))


def read_unit(connection: socket.socket) -> bytes:
    head = connection.recv(6, socket.MSG_WAITALL)
    return head + connection.recv(int.from_bytes(head[2:6], "big"), socket.MSG_WAITALL)


def answering(*units: bytes, then: Callable[[socket.socket], None] | None = None) -> Callable[[socket.socket], None]:
    """A peer that answers each unit it gets with the next of ``units``, then does something else or nothing."""

    def talk(connection: socket.socket) -> None:
        for unit in units:
            read_unit(connection)
            connection.sendall(unit)
        if then is not None:
            then(connection)

    return talk


def echo_response(message_id: int = 1, status: int = 0, field: int = 0x8030) -> bytes:
    command = pdu.command_set(field, {2: VERIFICATION, 0x120: message_id, 0x900: status}, has_data_set=False)
    return message(1, command)


# Real peers.


@pytest.mark.parametrize("maximum", [0, 4096, 16383, 1 << 20])
def test_the_bytes_of_a_data_set_arrive_as_they_are_whatever_length_the_peer_takes(maximum: int) -> None:
    taken: list[tuple[bytes, Any]] = []

    def take(event: Any) -> int:
        taken.append((event.request.DataSet.getvalue(), event.request))
        return 0xB000

    pieces: list[bytes | memoryview] = [os.urandom(100_001), b"", memoryview(os.urandom(3)), os.urandom(300_000)]
    small: list[bytes | memoryview] = [b"x"]
    with peer([(evt.EVT_C_STORE, take)], maximum=maximum) as port, calling(port) as association:
        assert association.echo() == 0
        context_id = association.context(MAMMOGRAM, EXPLICIT)
        for number, data in enumerate((pieces, small), start=1):
            answer = association.store(
                context_id,
                sop_class_uid=MAMMOGRAM,
                sop_instance_uid=f"2.25.{number}",
                data=data,
                move_originator=("PACS", 7) if number == 1 else None,
            )
            assert answer == (0xB000, "")
    assert taken[0][0] == b"".join(pieces)
    assert taken[0][1].AffectedSOPInstanceUID == "2.25.1"
    assert taken[0][1].MoveOriginatorApplicationEntityTitle == "PACS"
    assert taken[0][1].MoveOriginatorMessageID == 7
    assert taken[1][0] == b"x"
    assert taken[1][1].MoveOriginatorMessageID is None


def test_storescp_writes_what_was_sent(tmp_path: Path) -> None:
    if shutil.which("storescp") is None:
        pytest.skip("DCMTK's storescp is not installed (Debian: dcmtk)")
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = MAMMOGRAM, "2.25.77"
    image.PixelData = os.urandom(200_000)
    image["PixelData"].VR = "OW"
    data = encode(image, EXPLICIT)
    with storescp(tmp_path) as port:
        with calling(port) as association:
            assert association.echo() == 0
            answer = association.store(
                association.context(MAMMOGRAM), sop_class_uid=MAMMOGRAM, sop_instance_uid="2.25.77", data=[data]
            )
        assert answer == (0, "")
        wait_until(lambda: any(path.stat().st_size > len(data) for path in tmp_path.iterdir()))
        (written,) = tmp_path.iterdir()
        assert written.read_bytes().endswith(data)


@contextlib.contextmanager
def storescp(folder: Path) -> Iterator[int]:
    """Run DCMTK's receiver, which writes what it gets below a folder; gives its port."""
    while True:
        port = free_port()
        scp = subprocess.Popen(["storescp", "-B", "-od", str(folder), "-aet", "PEER", str(port)])
        try:
            wait_until(lambda: scp.poll() is not None or _listens(port))  # noqa: B023 - it waits here
            if scp.poll() is None:
                yield port
                return
        finally:
            scp.terminate()
            scp.wait(timeout=20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_an_event_is_reported_in_the_role_of_an_scp() -> None:
    reports: list[tuple[int, str]] = []

    def take(event: Any) -> tuple[int, None]:
        reports.append((event.event_type, event.event_information.TransactionUID))
        return 0x0110, None

    information = Dataset()
    information.TransactionUID = "2.25.9"
    offer = Proposed(COMMITMENT, (EXPLICIT,))
    roles = {COMMITMENT: (False, True)}
    with (
        peer([(evt.EVT_N_EVENT_REPORT, take)], roles={COMMITMENT: (False, True)}) as port,
        calling(port, offer, roles=roles) as association,
    ):
        status = association.event_report(
            association.context(COMMITMENT),
            sop_class_uid=str(StorageCommitmentPushModel),
            sop_instance_uid="1.2.840.10008.1.20.1.1",
            event_type=2,
            data=encode(information, EXPLICIT),
        )
    assert status == 0x0110
    assert reports == [(2, "2.25.9")]


def _found(keyword: str, value: str) -> Dataset:
    ds = Dataset()
    setattr(ds, keyword, value)
    return ds


def test_responses_of_a_query_come_one_by_one_and_it_can_be_cancelled() -> None:
    asked: list[Dataset] = []

    def answer(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        asked.append(event.identifier)
        number = 0
        while not event.is_cancelled:
            number += 1
            yield 0xFF00, _found("StudyInstanceUID", f"2.25.{number}")
        yield 0xFE00, None

    identifier = encode(_found("QueryRetrieveLevel", "STUDY"), IMPLICIT)
    with (
        peer([(evt.EVT_C_FIND, answer)]) as port,
        calling(port, Proposed(STUDY_ROOT_FIND, (IMPLICIT,))) as association,
    ):
        responses: list[Response] = []
        for response in association.find(association.context(STUDY_ROOT_FIND), identifier):
            responses.append(response)
            if len(responses) == 2:
                association.cancel()
    assert asked[0].QueryRetrieveLevel == "STUDY"
    assert responses[1].data_set == encode(_found("StudyInstanceUID", "2.25.2"), IMPLICIT)
    assert not responses[1].is_last
    assert responses[-1][:3] == (0xFE00, "", b"")


class _Kept:
    """A store service that keeps data sets in memory and says what it is told to."""

    def __init__(self, status: int = 0) -> None:
        self.status = status
        self.commands: list[Command] = []
        self.data = b""
        self.discarded = 0

    def begin(self, command: Command, context_id: int) -> "_Kept":
        self.commands.append(command)
        return self

    def write(self, *data: memoryview) -> None:
        self.data += b"".join(data)

    def finish(self) -> tuple[int, str]:
        return self.status, "kept it" if self.status else ""

    def discard(self) -> None:
        self.discarded += 1


def test_instances_of_a_get_arrive_on_the_same_association() -> None:
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = MAMMOGRAM, "2.25.77"
    image.PixelData = os.urandom(50_000)
    image["PixelData"].VR = "OW"
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = UID(EXPLICIT)

    def answer(_event: Any) -> Iterator[Any]:
        yield 2
        yield 0xFF00, image
        yield 0xFF00, image

    model = str(StudyRootQueryRetrieveInformationModelGet)
    kept = _Kept()
    with (
        peer([(evt.EVT_C_GET, answer)], roles={MAMMOGRAM: (True, True)}) as port,
        calling(port, Proposed(model, (EXPLICIT,)), STORE, roles={MAMMOGRAM: (False, True)}) as association,
    ):
        identifier = encode(_found("QueryRetrieveLevel", "STUDY"), EXPLICIT)
        responses = list(association.get(association.context(model), identifier, store=kept))
    assert responses[-1].status == 0
    assert responses[-1].sub_operations == SubOperations(0, 2, 0, 0)
    assert [command.affected_sop_instance_uid for command in kept.commands] == ["2.25.77"] * 2
    assert kept.data == encode(image, EXPLICIT) * 2
    assert kept.discarded == 2


def test_a_move_tells_the_counts_of_its_end() -> None:
    destination: list[str] = []

    def answer(event: Any) -> Iterator[Any]:
        destination.append(event.move_destination)
        yield None, None

    model = str(StudyRootQueryRetrieveInformationModelMove)
    with (
        peer([(evt.EVT_C_MOVE, answer)]) as port,
        calling(port, Proposed(model, (EXPLICIT,))) as association,
    ):
        identifier = encode(_found("QueryRetrieveLevel", "STUDY"), EXPLICIT)
        (response,) = association.move(association.context(model), identifier, destination="PACS")
    assert destination == ["PACS"]
    assert response.status == 0xA801


def test_over_tls_everything_is_the_same_and_a_stranger_is_not_talked_to() -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    data = os.urandom(3_000_000)
    taken: list[bytes] = []

    def take(event: Any) -> int:
        taken.append(event.request.DataSet.getvalue())
        return 0

    with peer([(evt.EVT_C_STORE, take)], tls=server) as port:
        with calling(port, tls=client) as association:
            context_id = association.context(MAMMOGRAM)
            assert association.store(context_id, sop_class_uid=MAMMOGRAM, sop_instance_uid="2.25.1", data=[data]) == (
                0,
                "",
            )
            assert association.echo() == 0
        with pytest.raises(PeerUnavailableError, match="the peer's certificate is not accepted"):
            calling(port, tls=ssl.create_default_context())
    assert taken == [data]
    with (
        raw_server(lambda connection: connection.sendall(BOTH)) as port,
        pytest.raises(PeerUnavailableError, match="TLS failed"),
    ):
        calling(port, tls=client)
    with raw_server(lambda _: None) as port, pytest.raises(PeerUnavailableError, match="TLS was not answered in time"):
        calling(port, tls=client, patience=SHORT)


def test_extended_negotiation_and_user_identity_reach_the_peer() -> None:
    heard: list[Any] = []

    def identity(event: Any) -> tuple[bool, None]:
        heard.append((event.user_id_type, event.primary_field, event.secondary_field))
        return True, None

    def extended(event: Any) -> dict[str, bytes]:
        heard.append(dict(event.app_info))
        return {STUDY_ROOT_FIND: b"\x01\x00"}

    handlers = [(evt.EVT_USER_ID, identity), (evt.EVT_SOP_EXTENDED, extended)]
    with (
        peer(handlers) as port,
        calling(
            port,
            Proposed(STUDY_ROOT_FIND, (IMPLICIT,)),
            extended={STUDY_ROOT_FIND: b"\x01\x01"},
            identity=("dicom-node", "synthetic"),
        ) as association,
    ):
        assert association.extended == {STUDY_ROOT_FIND: b"\x01\x00"}
    assert (2, b"dicom-node", b"synthetic") in heard
    assert {STUDY_ROOT_FIND: b"\x01\x01"} in heard


# Peers that say no.


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((1, 1, 3), "calling AE title not recognized$"),
        ((1, 1, 7), "called AE title not recognized$"),
        ((1, 1, 2), "application context name not supported$"),
        ((1, 2, 2), "protocol version not supported$"),
        ((2, 3, 1), "temporary congestion$"),
        ((2, 3, 2), "local limit exceeded$"),
        ((2, 1, 1), "no reason given, for the moment$"),
        ((1, 9, 9), "reason 9 of source 9"),
    ],
)
def test_a_refusal_is_told_in_words(numbers: tuple[int, int, int], words: str) -> None:
    with (
        raw_server(answering(pdu.associate_reject(*numbers))) as port,
        pytest.raises(PeerRefusedError, match=words),
    ):
        calling(port)


def test_a_peer_that_accepts_no_context_is_told_apart() -> None:
    with (
        raw_server(answering(accept((1, 4, IMPLICIT), (3, 3, EXPLICIT)))) as port,
        pytest.raises(PeerRefusedError, match="no presentation context: abstract syntax not supported, transfer"),
    ):
        calling(port)


def test_a_context_that_was_refused_is_named_when_it_is_asked_for() -> None:
    with raw_server(answering(accept((1, 0, IMPLICIT), (3, 3, EXPLICIT)))) as port:
        association = calling(port)
        with pytest.raises(PeerRefusedError, match=f"does not take {MAMMOGRAM}: abstract syntax not supported"):
            association.context(MAMMOGRAM)
        association.abort()


def test_nobody_there_is_told_at_once() -> None:
    with pytest.raises(PeerUnavailableError, match="nobody listens there"):
        calling(free_port())


# Peers that behave badly.


def _drip(data: bytes) -> Callable[[socket.socket], None]:
    """Send a byte at a time, for as long as somebody takes them."""

    def talk(connection: socket.socket) -> None:
        read_unit(connection)
        for byte in data:
            connection.sendall(bytes([byte]))
            if not threading.Event().wait(0.02):
                continue

    return talk


def _hang_up(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


UNKNOWN_UNIT = b"\x42\x00" + bytes(4)


@pytest.mark.parametrize(
    ("talk", "words"),
    [
        (lambda _: None, "did not answer the association request in time"),
        (_drip(BOTH + bytes(1000)), "did not answer the association request in time"),
        (_hang_up, "closed the connection"),
        (answering(BOTH[:50], then=_hang_up), "closed the connection"),
        (answering(UNKNOWN_UNIT), "broke the protocol: unknown type"),
        (answering(bytes([2, 0]) + (1 << 31).to_bytes(4, "big")), "broke the protocol: a protocol data unit is too"),
        (answering(accept((5, 0, IMPLICIT))), "a presentation context that was not proposed"),
        (answering(accept((1, 0, EXPLICIT))), "a transfer syntax that was not proposed"),
        (answering(BOTH[:-4]), "in time"),
        (answering(echo_response()), "broke the protocol: data came before the association"),
        (answering(pdu.abort(1)), "aborted the association: unrecognized unit"),
        (answering(pdu.release(pdu.RELEASE_RP)), "broke the protocol: a unit came out of turn"),
    ],
)
def test_an_association_that_does_not_come_about_ends_in_time_and_in_words(
    talk: Callable[[socket.socket], None], words: str
) -> None:
    with raw_server(talk) as port, pytest.raises(PeerUnavailableError, match=words):
        calling(port, patience=SHORT)


@pytest.mark.parametrize(
    ("talk", "words"),
    [
        (answering(BOTH), "did not answer a request in time"),
        (answering(BOTH, echo_response()[:30]), "did not answer a request in time"),
        (answering(BOTH, echo_response()[:30], then=_hang_up), "closed the connection"),
        (answering(BOTH, echo_response(2)), "answered a request that was not made"),
        (answering(BOTH, echo_response(field=0x8001)), "answered a request that was not made"),
        (answering(BOTH, message(1, b"\0\0\0\0\4\0\0\0")), "command set is cut short|not well formed"),
        (answering(BOTH, bytes([4, 0]) + (1 << 20).to_bytes(4, "big")), "longer than the maximum length offered"),
        (answering(BOTH, message(1, command_set(0x30, 1, VERIFICATION, data=False))), "a request that is not served"),
        (answering(BOTH, message(3, command_set(1, 1, MAMMOGRAM, data=True), b"x")), "a request that is not served"),
        (answering(BOTH, BOTH), "a unit came out of turn"),
        (answering(BOTH, pdu.abort(0)), "aborted the association: no reason given"),
        (answering(BOTH, pdu.release(pdu.RELEASE_RQ)), "released the association before it had answered"),
    ],
)
def test_a_response_that_does_not_come_ends_the_association_in_time_and_in_words(
    talk: Callable[[socket.socket], None], words: str
) -> None:
    with raw_server(talk) as port:
        association = calling(port, patience=SHORT)
        with pytest.raises(PeerUnavailableError, match=words):
            association.echo()
        with pytest.raises(PeerUnavailableError, match="aborted on this side"):
            association.echo()
        association.release()


def test_a_response_that_drips_is_not_waited_for() -> None:
    def drip(connection: socket.socket) -> None:
        read_unit(connection)
        connection.sendall(BOTH)
        _drip(bytes([4, 0, 0, 0, 0x10, 0, 0, 0, 0x0F, 0xFC, 1, 1]) + bytes(4000))(connection)

    with raw_server(drip) as port:
        association = calling(port, patience=SHORT)
        with pytest.raises(PeerUnavailableError, match="did not answer a request in time"):
            association.echo()


def _endless() -> Iterator[bytes]:
    while True:
        yield bytes(1 << 20)


def test_a_peer_that_reads_nothing_is_left() -> None:
    with raw_server(answering(BOTH)) as port:
        association = calling(port, patience=SHORT)
        with pytest.raises(PeerUnavailableError, match="the peer takes no data"):
            association.store(3, sop_class_uid=MAMMOGRAM, sop_instance_uid="2.25.1", data=_endless())


def test_the_identifier_that_orthanc_appends_to_a_command_is_passed_over() -> None:
    failed = pdu.command_set(0x8020, {2: STUDY_ROOT_FIND, 0x120: 1, 0x900: 0xC000}, has_data_set=False)
    talk = answering(accept((1, 0, IMPLICIT)), b"", message(1, failed + encode(_found("PatientID", "1"), IMPLICIT)))
    with raw_server(talk) as port, calling(port, Proposed(STUDY_ROOT_FIND, (IMPLICIT,))) as association:
        assert [each.status for each in association.find(1, b"identifier")] == [0xC000]
        association.abort()


def test_a_connection_that_is_not_taken_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as held:
        port = full.getsockname()[1]
        for _ in range(2):  # the backlog of 0 holds one, and the next one waits
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        with pytest.raises(PeerUnavailableError, match="the connection was not taken in time"):
            calling(port, patience=SHORT)


def test_a_peer_that_aborts_in_the_middle_of_a_data_set_is_heard() -> None:
    def talk(connection: socket.socket) -> None:
        read_unit(connection)
        connection.sendall(BOTH)
        read_unit(connection)
        connection.sendall(pdu.abort(6))
        connection.close()

    with raw_server(talk) as port:
        association = calling(port)
        with pytest.raises(PeerUnavailableError, match="aborted the association: invalid parameter value"):
            association.store(3, sop_class_uid=MAMMOGRAM, sop_instance_uid="2.25.1", data=_endless())


def test_a_data_set_is_never_held() -> None:
    def read_all(connection: socket.socket) -> None:
        read_unit(connection)
        connection.sendall(BOTH)
        while connection.recv(1 << 20):
            pass

    with raw_server(read_all) as port:
        association = calling(port, patience=SHORT)
        piece = bytes(1 << 20)
        tracemalloc.start()
        try:
            with pytest.raises(PeerUnavailableError, match="did not answer a request in time"):
                association.store(
                    3, sop_class_uid=MAMMOGRAM, sop_instance_uid="2.25.1", data=(piece for _ in range(100))
                )
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 2 << 20


@pytest.mark.parametrize("sending", [True, False], ids=["sending", "waiting"])
def test_another_thread_ends_a_blocked_call(sending: bool) -> None:
    farewell: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        read_unit(connection)
        connection.sendall(BOTH)
        if not sending:
            read_unit(connection)
            farewell.append(read_unit(connection))

    with raw_server(talk) as port:
        association = calling(port)
        errors: list[Exception] = []

        def work() -> None:
            try:
                if sending:
                    association.store(3, sop_class_uid=MAMMOGRAM, sop_instance_uid="2.25.1", data=_endless())
                else:
                    association.echo()
            except PeerUnavailableError as error:
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        began = time.monotonic()
        thread.join(0.2)
        assert thread.is_alive()
        association.abort()
        thread.join(20)
        assert time.monotonic() - began < 20
        association.abort()
        assert str(errors[0]) == "the association was aborted on this side"
        if not sending:
            wait_until(lambda: farewell == [pdu.abort(0, source=0)])


def test_what_the_data_set_s_source_raises_goes_to_the_caller_and_ends_the_association() -> None:
    aborted: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        read_unit(connection)
        connection.sendall(BOTH)
        unit = read_unit(connection)
        while unit[0] == pdu.DATA_TF:
            unit = read_unit(connection)
        aborted.append(unit)

    def broken() -> Iterator[bytes]:
        yield bytes(100)
        raise OSError(5, "the disk is gone")

    with raw_server(talk) as port:
        association = calling(port)
        with pytest.raises(OSError, match="the disk is gone"):
            association.store(3, sop_class_uid=MAMMOGRAM, sop_instance_uid="2.25.1", data=broken())
        wait_until(lambda: aborted == [pdu.abort(0, source=0)])


def test_both_may_ask_for_the_release_at_once() -> None:
    answers: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        read_unit(connection)
        connection.sendall(BOTH + pdu.release(pdu.RELEASE_RQ))
        answers.append(read_unit(connection))
        answers.append(read_unit(connection))
        connection.sendall(pdu.release(pdu.RELEASE_RP))

    with raw_server(talk) as port:
        calling(port).release()
        wait_until(lambda: answers == [pdu.release(pdu.RELEASE_RQ), pdu.release(pdu.RELEASE_RP)])


def test_who_stops_listening_to_a_query_ends_the_association() -> None:
    pending = pdu.command_set(0x8020, {2: STUDY_ROOT_FIND, 0x120: 1, 0x900: 0xFF00}, has_data_set=True)
    ended: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        answering(accept((1, 0, IMPLICIT)), b"", message(1, pending, b"x"))(connection)
        ended.append(read_unit(connection))

    with raw_server(talk) as port:
        association = calling(port, Proposed(STUDY_ROOT_FIND, (IMPLICIT,)))
        for response in association.find(1, b"identifier"):
            assert response.data_set == b"x"
            break
        wait_until(lambda: ended == [pdu.abort(0, source=0)])
