"""Queries against the index on both databases, and what an evaluator that knows neither finds for them."""

import random
from collections.abc import Iterator
from datetime import date
from itertools import product
from typing import Any

import pytest

from dicom_node.accreditation.portions import Portion
from dicom_node.dicom.query import Query
from dicom_node.index import find_ways
from dicom_node.index.engine import Index
from dicom_node.index.find import find_pages
from dicom_node.index.record import Entry
from tests import reference_find
from tests.entries import make_derivation, make_entry
from tests.querying import NOTHING_AGES, ask

TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"
STRUCTURED_REPORT = "1.2.840.10008.5.1.4.1.1.88.11"


def find(index: Index, query: Query, page_size: int = 3) -> list[dict[str, str]]:
    pages = find_pages(index, query, NOTHING_AGES, page_size=page_size)
    return [record for page in pages for record in page.records]


def _study(number: int, *images: dict[str, Any], **attributes: str) -> Iterator[Entry]:
    """Yield the entries of a study; each of ``images`` says what differs in an instance of its own series."""
    for place, image in enumerate(images, start=1):
        own = dict(image)
        derivation = make_derivation(
            own.pop("unit", ""), day=own.pop("day", None), portion=own.pop("portion", Portion.CLINICAL)
        )
        series = own.pop("series", place)
        yield make_entry(
            study_uid=f"1.2.{number}",
            series_uid=f"1.2.{number}.{series}",
            sop_instance_uid=f"1.2.{number}.{series}.{place}",
            sop_class_uid=own.pop("sop_class_uid", "1.2.840.10008.5.1.4.1.1.1.2"),
            seconds=number * 10 + place,
            derivation=derivation,
            **{"PatientID": f"ID{number}", "InstanceNumber": str(place)} | attributes | own,
        )


MAY, JUNE, OCTOBER = date(2026, 5, 4), date(2026, 6, 30), date(2026, 10, 1)
PRONE = {"unit": "prone1", "StationName": "TABLE", "DeviceSerialNumber": "S-1"}
UPRIGHT = {"unit": "upright_a", "StationName": "DIM_2", "DeviceSerialNumber": "S_2"}
REPORT = {"unit": "", "day": None, "portion": None, "Modality": "SR", "sop_class_uid": STRUCTURED_REPORT}

STUDIES: list[Entry] = [
    *_study(1, PRONE | {"day": MAY, "AcquisitionDate": "20260504"}, PatientName="SYNTH^ALPHA", StudyDate="20260504",
            StudyTime="1030", AccessionNumber="A-1", StudyID="1", StudyDescription="Stereo biopsy"),
    *_study(2, UPRIGHT | {"day": MAY, "AcquisitionDate": "20260504"}, UPRIGHT | {"day": JUNE, "series": 1},
            PatientName="synth^beta", StudyDate="20260505", StudyTime="103059.999", AccessionNumber="A_1",
            StudyDescription="100% O'Neil\\\"quoted\""),
    *_study(3, PRONE | {"day": OCTOBER}, UPRIGHT | {"day": MAY}, REPORT,
            PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう", StudyDate="20261001", StudyTime="000000",
            AccessionNumber="A%1"),
    *_study(4, UPRIGHT | {"day": OCTOBER, "portion": Portion.PHANTOM, "Modality": "DX"}, PatientName="QC^PHANTOM",
            StudyDate="20261001", StudyTime="235959.5", PatientID="QC*1", ReferringPhysicianName="SYNTH^DOCTOR"),
    *_study(5, REPORT, PatientName="Hong^Gildong=洪^吉洞=홍^길동", StudyDate="", StudyTime="", AccessionNumber=""),
    *_study(6, {"unit": "", "day": JUNE, "portion": Portion.UNCLEAR, "StationName": "TABLE", "SeriesNumber": "007",
                "ImageType": "ORIGINAL\\PRIMARY\\STEREO_MINUS", "Rows": "3328", "sop_class_uid": TOMOSYNTHESIS},
            PatientName="Müller^Ä", PatientID="", StudyDate="20260630", AccessionNumber="A\\1", PatientSex="F"),
    *_study(7, PRONE | {"day": JUNE}, PRONE | {"day": JUNE, "series": 1}, PRONE | {"day": JUNE, "series": 2},
            PatientName="SYNTH^ALPHA^B", PatientID="id1", StudyDate="20260630", StudyTime="10", PatientSex="O",
            SeriesDescription="L CC", AccessionNumber="a-1"),
    *_study(8, UPRIGHT | {"day": None, "AcquisitionDate": "20260504"}, PatientName="", StudyDate="20260504",
            PatientID="ID1", PatientBirthDate="", StudyDescription="50%_x"),
]  # fmt: skip

STUDY_QUERIES: list[dict[str, str]] = [
    {},
    {"PatientID": "ID1"}, {"PatientID": "id1"}, {"PatientID": "ID?"}, {"PatientID": "*1"}, {"PatientID": "QC*1"},
    {"PatientID": "*"}, {"PatientID": "ID_"}, {"PatientID": "I%"},
    {"PatientName": "SYNTH^ALPHA"}, {"PatientName": "synth^*"}, {"PatientName": "*ALPHA*"}, {"PatientName": "YAMADA*"},
    {"PatientName": "山田*"}, {"PatientName": "*太郎"}, {"PatientName": "やまだ^たろう"},
    {"PatientName": "*=山田^太郎"},
    {"PatientName": "Hong^Gildong=洪^吉洞=홍^길동"}, {"PatientName": "홍*"}, {"PatientName": "müller^ä"},
    {"PatientName": "M?LLER^*"}, {"PatientName": "NOBODY"},
    {"AccessionNumber": "A-1"}, {"AccessionNumber": "A_1"}, {"AccessionNumber": "A%1"}, {"AccessionNumber": "A\\1"},
    {"AccessionNumber": "A?1"}, {"AccessionNumber": "A_*"}, {"AccessionNumber": "%"}, {"AccessionNumber": "a*"},
    {"StudyDescription": "100% O'Neil\\\"quoted\""}, {"StudyDescription": "*O'Neil*"},
    {"StudyDescription": "*\\*"}, {"StudyDescription": "*\"*"}, {"StudyDescription": "50%_x"},
    {"StudyDescription": "5?%?x"}, {"StudyDescription": "stereo*"}, {"StudyDescription": "' OR '1'='1"},
    {"StudyDate": "20260504"}, {"StudyDate": "20260504-20260630"}, {"StudyDate": "-20260504"},
    {"StudyDate": "20261001-"}, {"StudyDate": "2026.05.04"}, {"StudyDate": "19000101-19991231"},
    {"StudyTime": "1030"}, {"StudyTime": "103059"}, {"StudyTime": "10"}, {"StudyTime": "1000-1030"},
    {"StudyTime": "-0959"}, {"StudyTime": "235959-"}, {"StudyDate": "20260504-20260505", "StudyTime": "10-11"},
    {"StudyInstanceUID": "1.2.3"}, {"StudyInstanceUID": "1.2.3\\1.2.5\\9.9"}, {"StudyInstanceUID": "1.2"},
    {"ModalitiesInStudy": "SR"}, {"ModalitiesInStudy": "S?"}, {"ModalitiesInStudy": "MG"}, {"ModalitiesInStudy": "D?"},
    {"ModalitiesInStudy": "DX\\SR"}, {"SOPClassesInStudy": TOMOSYNTHESIS}, {"SOPClassesInStudy": "1.2.840"},
    {"NumberOfStudyRelatedInstances": "3"}, {"NumberOfStudyRelatedSeries": "2"}, {"ReferringPhysicianName": "synth^*"},
    {"PatientSex": "F"}, {"PatientBirthDate": "19700101"}, {"PatientBirthDate": "-19691231"},
    {"StationName": "TABLE"}, {"StationName": "DIM_2"}, {"StationName": "DIM?2"}, {"StationName": "dim*"},
    {"DeviceSerialNumber": "S_2"}, {"DeviceSerialNumber": "S-1"}, {"Modality": "SR"}, {"Modality": "MG\\DX"},
    {"AcquisitionDate": "20260504"}, {"AcquisitionDate": "20260601-"}, {"AcquisitionDate": "-20260531"},
    {"StationName": "TABLE", "AcquisitionDate": "20260504"}, {"StationName": "TABLE", "AcquisitionDate": "20261001"},
    {"StationName": "DIM_2", "AcquisitionDate": "20261001"}, {"Modality": "DX", "AcquisitionDate": "20260601-"},
    {"UnitID": "prone1"}, {"UnitID": "upright_a"}, {"UnitID": "*"}, {"UnitID": "upright*"}, {"UnitID": "prone1\\x"},
    {"UnitID": "prone1", "AcquisitionDay": "20261001"}, {"UnitID": "upright_a", "AcquisitionDay": "20261001"},
    {"UnitID": "prone1", "AcquisitionDate": "20260101-20260531", "PatientName": "SYNTH*"},
    {"Portion": "PHANTOM"}, {"Portion": "CLINICAL"}, {"Portion": "phantom"}, {"Portion": "UN*"},
    {"UnitID": "upright_a", "Portion": "CLINICAL"}, {"Portion": "PHANTOM", "StudyDate": "20261001"},
]  # fmt: skip
SERIES_QUERIES = [
    {}, {"Modality": "MG"}, {"Modality": "SR\\DX"}, {"SeriesNumber": "7"}, {"SeriesNumber": "1"},
    {"SeriesDescription": "L*"}, {"StationName": "TABLE"}, {"AcquisitionDate": "20260630"}, {"UnitID": "prone1"},
    {"Portion": "CLINICAL"}, {"NumberOfSeriesRelatedInstances": "2"}, {"PatientName": "SYNTH*"},
    {"UnitID": "upright_a", "AcquisitionDay": "20260504"}, {"SeriesInstanceUID": "1.2.3.1\\1.2.2.1"},
]  # fmt: skip

IMAGE_QUERIES = [
    {}, {"InstanceNumber": "1"}, {"InstanceNumber": "02"}, {"AcquisitionDate": "20260504"},
    {"AcquisitionDate": "20260505-"},
    {"ImageType": "STEREO_MINUS"}, {"ImageType": "ST*\\AXIAL"}, {"ImageType": "stereo*"}, {"Rows": "3328"},
    {"UnitID": "prone1"}, {"AcquisitionDay": "20260601-20261231"}, {"Portion": "UNCLEAR"},
    {"SOPClassUID": STRUCTURED_REPORT}, {"SOPInstanceUID": "1.2.7.1.1\\1.2.3.1.1"},
]  # fmt: skip


@pytest.fixture
def filled(index: Index) -> Index:
    for entry in STUDIES:
        index.record(entry)
    return index


@pytest.fixture(params=["by an index", "through all studies"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for studies as the indexes lead, and as where none does."""
    if request.param == "through all studies":
        monkeypatch.setattr(find_ways, "MOST", -1)


def check(index: Index, level: str, keys: dict[str, str]) -> None:
    uid = reference_find.UIDS[level]
    found = [record[uid] for record in find(index, ask(level, **{uid: ""} | keys))]
    assert len(found) == len(set(found)), (level, keys)
    assert set(found) == reference_find.expected(STUDIES, level, keys), (level, keys)


def test_the_table_holds_enough_different_queries() -> None:
    answers = [frozenset(reference_find.expected(STUDIES, "STUDY", keys)) for keys in STUDY_QUERIES]
    assert len(STUDY_QUERIES) >= 80
    assert len(set(answers)) >= 30
    assert sum(1 for answer in answers if not answer) <= 15


@pytest.mark.usefixtures("way")
def test_studies_are_found_as_the_reference_finds_them(filled: Index) -> None:
    for keys in STUDY_QUERIES:
        check(filled, "STUDY", keys)


def test_series_and_instances_are_found_as_the_reference_finds_them(filled: Index) -> None:
    for keys, study in product(SERIES_QUERIES, range(1, 9)):
        check(filled, "SERIES", {"StudyInstanceUID": f"1.2.{study}"} | keys)
    for keys, (study, series) in product(
        IMAGE_QUERIES, [(1, 1), (2, 1), (3, 1), (3, 3), (6, 1), (7, 1), (7, 2), (9, 1)]
    ):
        check(
            filled, "IMAGE", {"StudyInstanceUID": f"1.2.{study}", "SeriesInstanceUID": f"1.2.{study}.{series}"} | keys
        )


@pytest.mark.usefixtures("way")
def test_keys_together_narrow_as_they_do_for_the_reference(filled: Index) -> None:
    chance = random.Random(20261123)
    single = [keys for keys in STUDY_QUERIES if len(keys) == 1]
    for _ in range(150):
        keys: dict[str, str] = {}
        for more in chance.sample(single, chance.randint(2, 4)):
            keys |= more
        check(filled, "STUDY", keys)
