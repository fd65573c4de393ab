"""C-FIND over real associations: what a peer gets, how a query ends, and what a peer that misbehaves costs."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at run time
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
)

from dicom_node.dicom.query import Query
from dicom_node.errors import DatabaseError
from dicom_node.index.engine import Index
from dicom_node.index.find import Page
from dicom_node.index.tables import study
from tests.entries import NOON, make_derivation, make_entry
from tests.querying import identifier, listening, make_service, wait_until

STUDY_ROOT, PATIENT_ROOT = StudyRootQueryRetrieveInformationModelFind, PatientRootQueryRetrieveInformationModelFind


@contextmanager
def associated(
    port: int, *, syntax: str = ExplicitVRLittleEndian, handlers: Any = (), maximum_pdu: int = 16382
) -> Iterator[Association]:
    ae = AE(ae_title="PACS")
    for model in (STUDY_ROOT, PATIENT_ROOT):
        ae.add_requested_context(model, [syntax])
    assoc = ae.associate("127.0.0.1", port, ae_title="SBB_NODE", max_pdu=maximum_pdu, evt_handlers=list(handlers))
    assert assoc.is_established
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()


Answers = list[tuple[Dataset, Dataset | None]]


def query(assoc: Association, ds: Dataset, model: str = STUDY_ROOT) -> Answers:
    return list(assoc.send_c_find(ds, model))


def statuses(answers: Answers) -> list[int]:
    return [status.Status for status, _ in answers]


def records(answers: Answers) -> list[Dataset]:
    return [ds for _, ds in answers if ds is not None]


def numbered_uid(place: int) -> str:
    return f"1.2.{1_000_000 + place}"


def add_studies(index: Index, number: int) -> None:
    rows = [
        {
            "study_uid": numbered_uid(place), "patient_name": f"SYNTH^{place}", "patient_id": f"{place}",
            "series_count": 1, "instance_count": 1, "first_received_at": NOON, "last_received_at": NOON, "flags": [],
        }
        for place in range(number)
    ]  # fmt: skip
    with index.write() as conn:
        conn.execute(study.insert(), rows)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_study_is_found_by_unit_and_day(sqlite_index: Index, syntax: str) -> None:
    sqlite_index.record(make_entry(derivation=make_derivation("prone1"), StationName="TABLE", PatientName="Müller^A"))
    ds = identifier(
        "STUDY", StudyInstanceUID="", PatientName="müller*", UnitID="prone1", DaysLeft="", AcquisitionDate="20261101-"
    )
    with listening(make_service(sqlite_index).find) as node, associated(node.port, syntax=syntax) as assoc:
        answers = query(assoc, ds)
        assert statuses(answers) == [0xFF00, 0x0000]
        (found,) = records(answers)
        assert (found.StudyInstanceUID, str(found.PatientName), found.AcquisitionDate) == (
            "1.2.3",
            "Müller^A",
            "20261120",
        )
        assert (found.QueryRetrieveLevel, found.RetrieveAETitle, found.InstanceAvailability) == (
            "STUDY",
            "SBB_NODE",
            "ONLINE",
        )
        assert found.SpecificCharacterSet == "ISO_IR 192"
        own = found.private_block(0x0079, "DICOM_NODE")
        values = [own[element].value for element in (1, 3)]
        assert [v.decode().strip() if isinstance(v, bytes) else str(v) for v in values] == ["prone1", "178"]
        assert query(assoc, identifier("PATIENT", PatientID="", PatientName=""), PATIENT_ROOT)[0][0].Status == 0xFF00


def test_a_broken_hierarchy_is_answered_a900_and_the_association_goes_on(sqlite_index: Index) -> None:
    with listening(make_service(sqlite_index).find) as node, associated(node.port) as assoc:
        ((status, ds),) = query(assoc, identifier("SERIES", Modality="MG"))
        assert (status.Status, ds) == (0xA900, None)
        assert status.ErrorComment == "StudyInstanceUID must have one value at the SERIES level"
        assert statuses(query(assoc, identifier("PATIENT", PatientID="1"))) == [0xA900]
        assert statuses(query(assoc, identifier("STUDY", PatientID="1"))) == [0x0000]


def test_a_key_that_is_not_supported_is_told_by_the_status_of_every_answer(sqlite_index: Index) -> None:
    add_studies(sqlite_index, 2)
    with listening(make_service(sqlite_index).find) as node, associated(node.port) as assoc:
        answers = query(assoc, identifier("STUDY", StudyInstanceUID="", PatientComments="none"))
        assert statuses(answers) == [0xFF01, 0xFF01, 0x0000]
        assert all("PatientComments" not in ds for ds in records(answers))


def test_thousands_of_answers_come_whole_and_in_order(sqlite_index: Index) -> None:
    add_studies(sqlite_index, 3000)
    with listening(make_service(sqlite_index).find) as node, associated(node.port) as assoc:
        answers = query(assoc, identifier("STUDY", StudyInstanceUID="", PatientName=""))
    assert [ds.StudyInstanceUID for ds in records(answers)] == [numbered_uid(place) for place in range(3000)]
    assert statuses(answers)[-1] == 0x0000


def test_a_cap_on_matches_ends_with_a700_and_says_so(sqlite_index: Index) -> None:
    add_studies(sqlite_index, 30)
    with listening(make_service(sqlite_index, matches=20).find) as node, associated(node.port) as assoc:
        answers = query(assoc, identifier("STUDY", StudyInstanceUID=""))
    assert statuses(answers) == [0xFF00] * 20 + [0xA700]
    assert answers[-1][0].ErrorComment == "more than 20 matches; ask for less"


@pytest.mark.parametrize(
    ("error", "code", "comment"),
    [
        (DatabaseError("the index is busy"), 0xA700, "the index is busy"),
        (RuntimeError("SECRET^NAME"), 0xC001, "unexpected error, see the node's log"),
    ],
)
def test_a_failure_in_the_middle_ends_with_a_failure(
    error: Exception, code: int, comment: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def find(_query: Query) -> Iterator[Page]:
        yield Page([{"StudyInstanceUID": "1.2.3"}], is_last=False)
        raise error

    with listening(find) as node, associated(node.port) as assoc:
        answers = query(assoc, identifier("STUDY", StudyInstanceUID="", PatientName="SECRET^NAME"))
    assert statuses(answers) == [0xFF00, code]
    assert answers[-1][0].ErrorComment == comment
    logged = capfd.readouterr()
    assert "query.answered" in logged.err
    assert "SECRET" not in logged.err + logged.out


@pytest.mark.parametrize("maximum_pdu", [20, 100, 16382, 0])
def test_no_unit_is_longer_than_the_peer_takes(sqlite_index: Index, maximum_pdu: int) -> None:
    add_studies(sqlite_index, 40)
    lengths: list[int] = []

    def note(event: evt.Event) -> None:
        if event.pdu.pdu_type == 0x04:
            lengths.append(event.pdu.pdu_length)

    with (
        listening(make_service(sqlite_index).find) as node,
        associated(node.port, handlers=[(evt.EVT_PDU_RECV, note)], maximum_pdu=maximum_pdu) as assoc,
    ):
        answers = query(assoc, identifier("STUDY", StudyInstanceUID="", PatientName=""))
    assert len(records(answers)) == 40
    assert max(lengths) <= (maximum_pdu or 1 << 20)


def test_a_cancel_in_the_middle_of_five_thousand_answers_ends_them(sqlite_index: Index) -> None:
    add_studies(sqlite_index, 5000)
    service, cancelled = make_service(sqlite_index), threading.Event()

    def find(wanted: Query) -> Iterator[Page]:
        for number, page in enumerate(service.find(wanted)):
            yield page
            if number == 2:
                assert cancelled.wait(20)

    asked = threading.Event()

    def sent(event: evt.Event) -> None:
        if event.pdu.pdu_type == 0x04 and asked.is_set():
            cancelled.set()

    with listening(find) as node, associated(node.port, handlers=[(evt.EVT_PDU_SENT, sent)]) as assoc:
        answers: Answers = []
        for answer in assoc.send_c_find(identifier("STUDY", StudyInstanceUID=""), STUDY_ROOT, msg_id=7):
            answers.append(answer)
            if len(answers) == 1100:
                asked.set()
                assoc.send_c_cancel(7, query_model=STUDY_ROOT)
        assert statuses(answers)[-1] == 0xFE00
        assert len(records(answers)) == 200 + 400 + 800 + 1600  # the last of them was being read when the cancel came
        assert statuses(query(assoc, identifier("STUDY", PatientID="none"))) == [0x0000]


@pytest.mark.parametrize("leave", [Association.abort, lambda assoc: assoc.dul.socket.close()])
def test_a_peer_that_leaves_in_the_middle_ends_its_query(leave: Callable[[Association], None]) -> None:
    closed = threading.Event()

    def find(_query: Query) -> Iterator[Page]:
        try:
            while True:
                yield Page([{"StudyInstanceUID": "1.2.3"}], is_last=False)
                time.sleep(0.01)
        finally:
            closed.set()

    with listening(find) as node:
        with associated(node.port) as assoc:
            answers = assoc.send_c_find(identifier("STUDY", StudyInstanceUID=""), STUDY_ROOT)
            next(answers)
            leave(assoc)
        assert closed.wait(20)
        wait_until(lambda: node.associations == 0)
        with associated(node.port) as assoc:
            assert assoc.is_established


def test_a_query_identifier_that_cannot_be_read_is_refused_without_an_abort(sqlite_index: Index) -> None:
    nested = Dataset()
    for _ in range(12):
        outer = Dataset()
        outer.ViewCodeSequence = [nested]
        nested = outer
    nested.QueryRetrieveLevel = "STUDY"
    with listening(make_service(sqlite_index).find) as node, associated(node.port) as assoc:
        ((status, _),) = query(assoc, nested)
        assert (status.Status, status.ErrorComment) == (0xA900, "the identifier nests too deep")
        assert assoc.is_established
