"""What the audit trail tells of a node at work: in one process with real sockets, files and index."""

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dicom_node.archive import audit as archive_audit
from dicom_node.dicom.audit_message import EVENTS, AuditSource, encode, messages_of
from dicom_node.dicom.commitment import Reference, Request
from dicom_node.dimse import pdu
from dicom_node.dimse.capacity import Capacity, Places
from dicom_node.dimse.port import open_port
from dicom_node.index import decisions
from dicom_node.index.commitments import Sender
from dicom_node.index.exams import exam_id
from dicom_node.index.record import Outcome
from dicom_node.reception import Ports, Reception
from dicom_node.services import audit
from dicom_node.services.audit import CallAudit, NoTrail
from dicom_node.services.audit_recovery import recover_transfers
from dicom_node.services.decisions import Verdict
from dicom_node.site import Stores, utc_now
from tests import raw_peer
from tests.archives import wait_until
from tests.factories import encode as encode_ds
from tests.factories import make_mg
from tests.querying import identifier
from tests.raw_peer import EXPLICIT, IMPLICIT, MAMMOGRAM, STUDY_ROOT_FIND, RawPeer
from tests.retrieving import STUDY_ROOT_GET, STUDY_ROOT_MOVE, converse, wanted
from tests.sites import START, opened_site, receive, write_site

PLANTED = ("SYNTH", "ACC-0001", "19700101")
STORE = ((MAMMOGRAM, [EXPLICIT]),)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    with opened_site(write_site(tmp_path)) as stores:
        yield stores
        for path in (tmp_path / "data" / "audit").glob("*.jsonl"):
            assert not any(word in path.read_text() for word in PLANTED), "patient data in the audit trail"


@contextmanager
def receiving(stores: Stores) -> Iterator[int]:
    port = open_port(("127.0.0.1", 0))
    reception = Reception(stores, Ports(plain=port), places=Places.alone(Capacity()), own_title="OWN", now=utc_now)
    reception.start()
    try:
        yield int(port.getsockname()[1])
    finally:
        reception.stop(2.0, threading.Event())


def send(peer: RawPeer, ds: Dataset, number: int = 1) -> int:
    request = raw_peer.store_request(MAMMOGRAM, ds.SOPInstanceUID, number)
    peer.send(raw_peer.message(1, request, encode_ds(ds), 16000))
    response, _ = peer.read_response()
    assert response.status is not None
    return response.status


def told(stores: Stores) -> list[tuple[str, dict[str, Any]]]:
    return [(record.event, dict(record.details)) for record in stores.archive.audit.read()]


def events(stores: Stores) -> list[str]:
    return [event for event, _ in told(stores)]


def test_an_association_that_stores_is_told_with_its_studies_and_counts(stores: Stores) -> None:
    first, again = make_mg(), make_mg()
    other = make_mg()
    other.StudyInstanceUID = first.StudyInstanceUID
    changed = make_mg()
    changed.SOPInstanceUID, changed.StudyInstanceUID = first.SOPInstanceUID, first.StudyInstanceUID
    with receiving(stores) as port, RawPeer(port, contexts=STORE) as peer:
        assert [send(peer, ds, n) for n, ds in enumerate((first, other, first, changed, again), 1)] == [0] * 5
        assert events(stores) == ["association.accepted", "store.began", "store.began"]
        peer.send(raw_peer.RELEASE)
        peer.read_unit()
        wait_until(lambda: "association.ended" in events(stores))
    by_event = told(stores)
    association = by_event[0][1]["association"]
    assert all(details["association"] == association for _, details in by_event)
    assert by_event[0][1] | {"calling_ae": "PRONE_RM2", "called_ae": "SBB_NODE", "peer": "127.0.0.1"} == by_event[0][1]
    ended = {details["study_uid"]: details for event, details in by_event if event == "store.ended"}
    assert ended[first.StudyInstanceUID]["new"] == {MAMMOGRAM: 2}
    assert ended[first.StudyInstanceUID]["duplicate"] == {MAMMOGRAM: 1}
    assert ended[first.StudyInstanceUID]["conflict"] == {MAMMOGRAM: 1}
    assert ended[again.StudyInstanceUID]["new"] == {MAMMOGRAM: 1}
    assert by_event[-1][0] == "association.ended"
    assert by_event[-1][1]["how"] == "released"
    assert by_event[-1][1]["instances"] == 5
    assert stores.archive.audit.verify().problem == ""


def test_a_connection_that_breaks_ends_the_association_in_the_trail(stores: Stores) -> None:
    ds = make_mg()
    with receiving(stores) as port:
        with RawPeer(port, contexts=STORE) as peer:
            assert send(peer, ds) == 0
        wait_until(lambda: "association.ended" in events(stores))
    assert events(stores) == ["association.accepted", "store.began", "store.ended", "association.ended"]
    assert told(stores)[-1][1]["how"] in {"aborted", "broken"}


def test_an_instance_that_cannot_be_recorded_is_not_acknowledged(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = make_mg()
    with receiving(stores) as port, RawPeer(port, contexts=STORE) as peer:
        with monkeypatch.context() as full:

            def refuse(_file: int, _data: bytes) -> None:
                raise OSError(errno.ENOSPC, "no space")

            full.setattr(archive_audit, "write_all", refuse)
            assert send(peer, ds) == 0xA700
        assert send(peer, ds) == 0
    assert [details["study_uid"] for event, details in told(stores) if event == "store.began"] == [ds.StudyInstanceUID]


def test_a_query_is_told_without_its_values(stores: Stores) -> None:
    receive(stores, make_mg())
    find = ((STUDY_ROOT_FIND, [IMPLICIT]),)
    with receiving(stores) as port, RawPeer(port, calling=b"PACS", contexts=find) as peer:
        asked = encode_ds(identifier("STUDY", PatientName="SYNTH^*", StudyInstanceUID="", StudyDate=""), IMPLICIT)
        peer.send(raw_peer.message(1, raw_peer.command_set(pdu.C_FIND_RQ, 1, STUDY_ROOT_FIND, data=True), asked))
        wait_until(lambda: "query.answered" in events(stores))
    (query,) = [details for event, details in told(stores) if event == "query.answered"]
    assert (query["level"], query["matches"], query["status"]) == ("STUDY", 1, "0000")
    assert query["keywords"] == ["PatientName", "StudyDate", "StudyInstanceUID"]


def test_a_retrieval_is_told_with_its_studies_and_a_refused_one_with_its_status(tmp_path: Path) -> None:
    ds, peers = make_mg(), '[peers.viewer]\nae_title = "VIEWER"\nhost = "127.0.0.0/8"\nallow = ["get", "move"]\n'
    contexts = ((STUDY_ROOT_GET, [IMPLICIT]), (STUDY_ROOT_MOVE, [IMPLICIT]), (MAMMOGRAM, [EXPLICIT]))
    asked = wanted("STUDY", StudyInstanceUID=ds.StudyInstanceUID)
    nowhere = raw_peer.element(0x0600, b"NOWHERE")
    with opened_site(write_site(tmp_path, more=peers)) as stores:
        receive(stores, ds)
        with receiving(stores) as port:
            with RawPeer(port, calling=b"VIEWER", contexts=contexts, receives=(MAMMOGRAM,)) as peer:
                command = raw_peer.command_set(pdu.C_GET_RQ, 1, STUDY_ROOT_GET, data=True)
                assert converse(peer, raw_peer.message(1, command, asked)).final.status == 0
                command = raw_peer.command_set(pdu.C_MOVE_RQ, 2, STUDY_ROOT_MOVE, nowhere, data=True)
                assert converse(peer, raw_peer.message(3, command, asked)).final.status == 0xA801
            wait_until(lambda: "association.ended" in events(stores))
        lines = [(event, details) for event, details in told(stores) if event.startswith("retrieve")]
        assert [event for event, _ in lines] == ["retrieve.began", "retrieve.ended", "retrieve.ended"]
        got, moved = lines[1][1], lines[2][1]
        assert (got["study_uids"], got["destination_ae"], got["destination"]) == (
            [ds.StudyInstanceUID],
            "VIEWER",
            "127.0.0.1",
        )
        assert (got["sent"], got["failed"], got["status"]) == (1, 0, "0000")
        assert (moved["study_uids"], moved["destination_ae"], moved["status"]) == ([], "NOWHERE", "A801")


def test_a_refusal_is_told_with_its_reason(stores: Stores) -> None:
    with receiving(stores) as port, RawPeer(port, calling=b"STRANGER\x1b[2J") as peer:
        assert peer.answer[0] == 3
        wait_until(lambda: "association.refused" in events(stores))
    (refused,) = told(stores)
    assert refused[1]["calling_ae"].startswith("STRANGER")
    assert refused[1]["peer"] == "127.0.0.1"
    assert refused[1]["code"] == "1/1/3"
    assert "is not listed" in refused[1]["reason"]


class Lines(NoTrail):
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def append(self, event: str, details: Any, *, durable: bool = False) -> None:
        self.lines.append((event, dict(details)))


def test_a_flood_of_refusals_is_told_by_its_first_ones_and_a_number_a_minute() -> None:
    trail, seconds = Lines(), [0.0]
    calls = CallAudit(trail, clock=lambda: seconds[0])

    def refuse(times: int, peer: str = "10.0.0.1") -> None:
        for _ in range(times):
            calls.refused(calling_ae="X", called_ae="Y", peer=peer, code="1/1/3", reason="not listed")

    refuse(1000)
    refuse(1, "10.0.0.2")
    assert len(trail.lines) == audit.FEW + 1
    seconds[0] = 61.0
    refuse(1000)
    assert [details.get("count") for _, details in trail.lines[audit.FEW + 1 :]] == [1000 - audit.FEW]
    seconds[0] = 122.0
    calls.association(calling_ae="A", called_ae="Y", peer="10.0.0.9")  # anybody's call tells what is due
    assert trail.lines[-1][1]["count"] == 1000
    refuse(5)
    calls.end()
    assert trail.lines[-1][1]["count"] == 5
    seconds[0] = 300.0
    refuse(1)
    seconds[0] = 400.0
    refuse(1)
    assert "count" not in trail.lines[-1][1]


def test_many_addresses_do_not_fill_the_memory() -> None:
    trail = Lines()
    calls = CallAudit(trail, clock=lambda: 0.0)
    for number in range(audit.MOST_ADDRESSES + 500):
        calls.refused(calling_ae="X", called_ae="Y", peer=f"10.{number}", code="1/1/3", reason="not listed")
    assert len(trail.lines) == audit.MOST_ADDRESSES + audit.FEW
    calls.end()
    assert trail.lines[-1][1]["count"] == 500 - audit.FEW


def test_what_an_association_stores_after_its_end_is_told_too() -> None:
    trail = Lines()
    association = CallAudit(trail).association(calling_ae="A", called_ae="B", peer="10.0.0.1")
    association.accepted(name="units.a", contexts=1)
    association.ended(how="aborted", seconds=1.0)
    association.ended(how="broken", seconds=1.0)
    association.stored(study_uid="1.2", sop_class_uid="1.3", outcome=Outcome.NEW, received_at=START.isoformat())
    assert [event for event, _ in trail.lines] == [
        "association.accepted",
        "association.ended",
        "store.began",
        "store.ended",
    ]


def test_an_association_of_many_studies_tells_them_as_it_goes() -> None:
    trail = Lines()
    association = CallAudit(trail).association(calling_ae="A", called_ae="B", peer="10.0.0.1")
    association.accepted(name="units.a", contexts=1)
    for number in range(250):
        association.stored(
            study_uid=f"1.{number}", sop_class_uid="1.3", outcome=Outcome.NEW, received_at=START.isoformat()
        )
    counts = [event for event, _ in trail.lines]
    assert (counts.count("store.began"), counts.count("store.ended")) == (250, 200)
    association.ended(how="released", seconds=1.0)
    assert [event for event, _ in trail.lines].count("store.ended") == 250


def test_what_a_killed_node_was_at_is_told_at_the_next_start(stores: Stores) -> None:
    trail = stores.archive.audit
    audit.node_started(trail, version="1", port=104)
    association = CallAudit(trail).association(calling_ae="PRONE_RM2", called_ae="SBB_NODE", peer="127.0.0.1")
    association.accepted(name="units.prone1", contexts=1)
    before, begun = make_mg(), make_mg()
    for ds in (before, begun):
        at = utc_now()
        receive(stores, ds, at=at)
        association.stored(
            study_uid=ds.StudyInstanceUID,
            sop_class_uid=MAMMOGRAM,
            outcome=Outcome.NEW,
            received_at=at.isoformat(),
        )
    unrecorded = make_mg()  # its first line was lost by a power cut
    receive(stores, unrecorded, at=utc_now())
    assert recover_transfers(trail, stores.index) == 3
    found = {details["study_uid"]: details for event, details in told(stores) if event == "store.ended"}
    assert set(found) == {before.StudyInstanceUID, begun.StudyInstanceUID, unrecorded.StudyInstanceUID}
    assert all(details["recovered"] and details["new"] == {MAMMOGRAM: 1} for details in found.values())
    assert found[unrecorded.StudyInstanceUID]["calling_ae"] == "PRONE_RM2"
    audit.node_started(trail, version="1", port=104)
    assert recover_transfers(trail, stores.index) == 0


def test_an_orderly_stop_leaves_nothing_to_recover(stores: Stores) -> None:
    trail = stores.archive.audit
    assert recover_transfers(trail, stores.index) == 0
    receive(stores, make_mg(), at=utc_now() + timedelta(seconds=60))
    audit.node_started(trail, version="1", port=104)
    audit.node_stopped(trail)
    assert recover_transfers(trail, stores.index) == 0
    assert events(stores) == ["node.started", "node.stopped"]


def test_decisions_of_people_are_told_without_their_reasons(stores: Stores) -> None:
    ds = make_mg(serial="PT-4471")
    receive(stores, ds)
    verdict = Verdict(by="jane", at=START, reason="it was SYNTH^PATIENT")
    stores.decisions().exclude(exam_id(ds.StudyInstanceUID, "prone1"), verdict)
    ((event, details),) = told(stores)
    assert event == "exam.decided"
    with stores.index.read() as conn:
        (made,) = decisions.of_study(conn, ds.StudyInstanceUID)
    assert details == {
        "by": "jane",
        "decision": made.id,
        "kind": "exclude",
        "study_uid": ds.StudyInstanceUID,
        "unit": "prone1",
        "value": "",
    }


def test_a_report_of_commitment_is_told(stores: Stores) -> None:
    ds, commitments = make_mg(), stores.commitments()
    receive(stores, ds)
    asked = Request("2.25.9", (Reference(ds.SOPClassUID, ds.SOPInstanceUID), Reference(ds.SOPClassUID, "2.25.8")))
    sender = Sender(caller="units.prone1", calling_ae="PRONE_RM2", called_ae="SBB_NODE", peer_address="127.0.0.1")
    held, look = commitments.accept(asked, sender), None
    looking = commitments.look(held)
    while look is None:
        try:
            next(looking)
        except StopIteration as end:
            look = end.value
    commitments.reported(held, look)
    ((event, details),) = told(stores)
    assert event == "commitment.reported"
    assert (details["transaction_uid"], details["committed"], details["failed"]) == ("2.25.9", 1, 1)
    assert (details["calling_ae"], details["peer"]) == ("PRONE_RM2", "127.0.0.1")


def test_every_line_the_rooms_write_has_a_message(stores: Stores) -> None:
    source = AuditSource(ae_title="SBB_NODE", facility="Synthetic Center")
    with receiving(stores) as port:
        with RawPeer(port, contexts=STORE) as peer:
            send(peer, make_mg())
        wait_until(lambda: "association.ended" in events(stores))
    for event, details in told(stores):
        assert event in EVENTS
        for message in messages_of(event, details, source):
            assert encode(message, START, source)
