"""Which instances a retrieval selects, on both databases, and what the use case hands out of them."""

import random
from pathlib import Path
from unittest.mock import ANY

import pytest

from dicom_node.archive.store import LocalArchive
from dicom_node.dicom.keys import Level
from dicom_node.dicom.retrieve import Retrieval
from dicom_node.errors import ObjectDamagedError
from dicom_node.index.engine import Index
from dicom_node.index.retrieve import Selected, select_instances
from dicom_node.services.retrieve import PIECE, RetrieveService
from tests import retrieving
from tests.entries import make_entry
from tests.raw_peer import EXPLICIT, MAMMOGRAM


def test_instances_come_series_by_series_in_the_order_of_their_numbers(index: Index) -> None:
    for uid, series, series_number, number in (
        ("1.1", "1.2.3.9", "2", "10"),
        ("1.2", "1.2.3.9", "2", "9"),
        ("1.3", "1.2.3.1", "10", ""),
        ("1.4", "1.2.3.1", "10", "1"),
        ("1.5", "1.2.3.5", "", "1"),
    ):
        entry = make_entry(series_uid=series, sop_instance_uid=uid, SeriesNumber=series_number, InstanceNumber=number)
        index.record(entry)
    pages = list(select_instances(index, Retrieval(level=Level.STUDY, study_uids=("1.2.3",))))
    assert [[each.sop_instance_uid for each in page] for page in pages] == [["1.2", "1.1"], ["1.4", "1.3"], ["1.5"]]
    assert pages[0][0] == Selected(MAMMOGRAM, "1.2", EXPLICIT, ANY, 1000, ANY)


def test_a_series_that_turns_up_in_two_studies_is_selected_in_the_one_named(index: Index) -> None:
    index.record(make_entry(study_uid="1.2.3", series_uid="1.9", sop_instance_uid="1.1", PatientID="SYNTH-A"))
    index.record(make_entry(study_uid="1.2.4", series_uid="1.9", sop_instance_uid="1.2", PatientID="SYNTH-A"))

    def uids(**keys: object) -> list[str]:
        pages = select_instances(index, Retrieval(**keys))  # type: ignore[arg-type]
        return [each.sop_instance_uid for page in pages for each in page]

    assert uids(level=Level.SERIES, study_uids=("1.2.4",), series_uids=("1.9",)) == ["1.2"]
    assert uids(level=Level.PATIENT, patient_id="SYNTH-A") == ["1.1", "1.2"]
    assert uids(level=Level.PATIENT, patient_id="synth-a") == []
    assert uids(level=Level.IMAGE, study_uids=("1.2.3",), series_uids=("1.9",), instance_uids=("1.2",)) == []
    assert uids(level=Level.STUDY, patient_id="SYNTH-B", study_uids=("1.2.3",)) == []


def test_of_an_instance_with_several_contents_the_one_that_is_served_is_selected(index: Index) -> None:
    first = make_entry(sop_instance_uid="1.1", content="first")
    index.record(first)
    index.record(make_entry(sop_instance_uid="1.1", content="second", series_uid="1.2.3.2", seconds=1))
    (page,) = select_instances(index, Retrieval(level=Level.STUDY, study_uids=("1.2.3",)))
    assert [each.digest for each in page] == [first.digest]


@pytest.mark.parametrize("size", [1, PIECE, PIECE + 1, 1024 * 1024, 1024 * 1024 + 1])
def test_pieces_are_short_and_together_the_data_set(sqlite_index: Index, tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    with LocalArchive.create(tmp_path / "data", min_free_bytes=0) as archive:
        kept = retrieving.Holdings(archive, sqlite_index, tmp_path / "data").keep(data)
        service = RetrieveService(index=sqlite_index, archive=archive)
        ((selected,),) = service.select(Retrieval(level=Level.STUDY, study_uids=("1.2.3",)))
        pieces = list(service.read(selected))
        assert b"".join(pieces) == data
        assert max(map(len, pieces)) <= PIECE
        assert selected.digest == kept.digest
        with pytest.raises(ObjectDamagedError, match="bytes instead of"):
            next(service.read(selected._replace(size=size + 1)))
