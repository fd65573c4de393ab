"""C-FIND over associations against an evaluator of the original data sets: one case a row, on both databases."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at run time
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
)

from dicom_node.accreditation.units import Identity, Registry, Unit, UnitKind
from dicom_node.dicom.facts import Provenance
from dicom_node.dicom.header import read_data_set
from dicom_node.index import find_ways
from dicom_node.index.engine import open_index
from dicom_node.services.ingest import Indexer
from tests import postgres
from tests.entries import NOON
from tests.factories import code, encode, make_bto, make_mg, make_rdsr
from tests.querying import HOME, TODAY, identifier, listening, make_service
from tests.reference_datasets import (
    DATE_TIME,
    EMPTY,
    FUZZY,
    MULTIPLE,
    RELATIONAL,
    ZONE,
    Facility,
    expected,
    uids,
)

PATIENT, STUDY = PatientRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelFind
PRONE, UPRIGHT = {"serial": "S-1", "station": "TABLE"}, {"serial": "S_2", "station": "DIM_2"}
FACILITY = Facility({"S-1": "prone1", "S_2": "upright_a"}, HOME)
MAGNIFIED = code("399163009", "SCT", "magnification")


def _study(number: int, *images: dict[str, Any], **common: Any) -> Iterator[Dataset]:
    """Yield the images of a study; ``series`` of an image is the number of its series, else each has its own."""
    for place, image in enumerate(images, start=1):
        own = common | image
        make, series = own.pop("make", make_mg), own.pop("series", place)
        yield make(
            study_uid=f"1.2.{number}", series_uid=f"1.2.{number}.{series}",
            sop_instance_uid=f"1.2.{number}.{series}.{place}",
            **{"PatientID": f"ID{number}", "InstanceNumber": place, "SeriesNumber": series} | own,
        )  # fmt: skip


MAY_4, MAY_5, JUNE, OCTOBER = "20260504", "20260505", "20260630", "20261001"
DATA_SETS: list[Dataset] = [
    *_study(1, PRONE | {"AcquisitionDate": MAY_4, "AcquisitionTime": "103000"}, PatientName="SMITH^MARY^J",
            StudyDate=MAY_4, StudyTime="1030", AccessionNumber="A-1", StudyDescription="Stereo biopsy",
            SeriesDate=MAY_4, SeriesTime="1035", ContentDate=MAY_4, ContentTime="104000"),
    *_study(2, UPRIGHT | {"AcquisitionDate": MAY_4}, UPRIGHT | {"AcquisitionDate": JUNE, "series": 1},
            PatientName="Smyth^Marie", StudyDate=MAY_5, StudyTime="103059.999", AccessionNumber="A_1",
            StudyDescription="100% O'Neil \\ \"quoted\"", TimezoneOffsetFromUTC="+0200"),
    *_study(3, PRONE | {"AcquisitionDate": OCTOBER}, UPRIGHT | {"AcquisitionDate": MAY_4},
            {"make": make_rdsr, "serial": "S-1", "SeriesDescription": "Dose"},
            PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう", StudyDate=OCTOBER, StudyTime="000000",
            SpecificCharacterSet=["", "ISO 2022 IR 87"], AccessionNumber="A%1"),
    *_study(4, UPRIGHT | {"AcquisitionDate": OCTOBER, "Modality": "DX", "ViewCodeSequence": [MAGNIFIED]},
            PatientName="O'Brien^Ann-Marie", StudyDate=OCTOBER, StudyTime="235959.5", PatientID="QC*1",
            ReferringPhysicianName="Schmidt^Carl", TimezoneOffsetFromUTC="-0800", StudyDescription="50%_x"),
    *_study(5, {"make": make_rdsr, "serial": "S_2"}, PatientName="Hong^Gildong=洪^吉洞=홍^길동", StudyDate="",
            StudyTime="", AccessionNumber="", StudyDescription=""),
    *_study(6, {"serial": "S-9", "AcquisitionDate": JUNE, "station": "TABLE", "stage": "STEREO_MINUS", "Rows": 3328},
            SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Änne", PatientID="", StudyDate=JUNE, PatientSex="O",
            StudyTime="", AccessionNumber="A\\1"),
    *_study(7, *(PRONE | {"AcquisitionDate": JUNE, "series": series, "AcquisitionTime": f"23{30 + series}00"}
                 for series in (1, 1, 2)),
            PatientName="Mueller^Anne", PatientID="id1", StudyDate=JUNE, StudyTime="10", SeriesDescription="L CC",
            AccessionNumber="a-1", TimezoneOffsetFromUTC="+0000"),
    *_study(8, UPRIGHT | {"AcquisitionDate": MAY_4}, PatientName="", StudyDate=MAY_4, PatientID="ID1",
            PatientBirthDate="", AccessionNumber="B-8", StudyTime="0900"),
    *_study(9, {"make": make_bto, "serial": "S_2", "AcquisitionDateTime": "20260504120000+0200", "day": None},
            PatientName="Jonsson^Karl^^Dr", StudyDate=MAY_4, StudyTime="1700", StudyDescription="Tomo biopsy",
            SpecificCharacterSet="GB18030", InstitutionName="医院"),
    *_study(10, PRONE | {"AcquisitionDate": MAY_5, "AcquisitionDateTime": "20260505003000"},
            PatientName="Johnson^Katherine", StudyDate=MAY_5, StudyTime="0030", TimezoneOffsetFromUTC="+0530",
            PatientID="ID1", ContentDate=MAY_5, ContentTime="0040"),
]  # fmt: skip

IN_1, IN_3, IN_7 = ({"StudyInstanceUID": f"1.2.{number}"} for number in (1, 3, 7))
IMAGE_1, IMAGE_7 = IN_1 | {"SeriesInstanceUID": "1.2.1.1"}, IN_7 | {"SeriesInstanceUID": "1.2.7.1"}


def view(value: str, scheme: str = "") -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator = value, scheme
    return ds


Case = tuple[str, str, tuple[int, ...], dict[str, Any]]
"""Information model, level, what is negotiated, and the keys."""
CASES: dict[str, Case] = {
    **{
        f"study: {name}": (STUDY, "STUDY", (), keys)
        for name, keys in {
            "everything": {},
            "patient id": {"PatientID": "ID1"},
            "patient id has its case": {"PatientID": "id1"},
            "patient id with one character open": {"PatientID": "ID?"},
            "patient id that ends so": {"PatientID": "*1"},
            "an asterisk finds itself": {"PatientID": "QC*1"},
            "an underscore is no wild card": {"PatientID": "ID_"},
            "a percent sign is no wild card": {"PatientID": "I%"},
            "nothing to tell from anything": {"PatientID": "*"},
            "name in another case": {"PatientName": "smith^mary^j"},
            "name that begins so": {"PatientName": "SM*"},
            "name that holds so": {"PatientName": "*MAR*"},
            "family name alone is not the name": {"PatientName": "SMITH"},
            "name with an apostrophe": {"PatientName": "O'Brien*"},
            "name in any group": {"PatientName": "山田*"},
            "name in the ideographic group": {"PatientName": "=山田^太郎"},
            "name in the wrong group": {"PatientName": "=Yamada*"},
            "name in the phonetic group": {"PatientName": "==やまだ*"},
            "name in all groups": {"PatientName": "Hong^Gildong=洪^吉洞=홍^길동"},
            "name with accents": {"PatientName": "müller^änne"},
            "name without accents": {"PatientName": "Muller*"},
            "name in Latin-1": {"PatientName": "MÜLLER*", "SpecificCharacterSet": "ISO_IR 100"},
            "name in Japanese": {"PatientName": "山田*", "SpecificCharacterSet": ["", "ISO 2022 IR 87"]},
            "name in Korean": {"PatientName": "*홍*", "SpecificCharacterSet": ["", "ISO 2022 IR 149"]},
            "accession number": {"AccessionNumber": "A-1"},
            "accession number with an underscore": {"AccessionNumber": "A_1"},
            "accession number with a percent sign": {"AccessionNumber": "A%1"},
            "accession number with a backslash": {"AccessionNumber": "A\\1"},
            "accession number with one open": {"AccessionNumber": "A?1"},
            "text with every kind of quote": {"StudyDescription": "100% O'Neil \\ \"quoted\""},
            "text with a quote inside": {"StudyDescription": "*O'N*"},
            "text that would be SQL": {"StudyDescription": "' OR '1'='1"},
            "text with two open and a sign": {"StudyDescription": "5?%?x"},
            "two quotation marks are two characters": {"StudyDescription": '""'},
            "date": {"StudyDate": MAY_4},
            "dates from to": {"StudyDate": f"{MAY_4}-{JUNE}"},
            "dates up to": {"StudyDate": f"-{MAY_4}"},
            "dates from": {"StudyDate": f"{OCTOBER}-"},
            "dates with dots": {"StudyDate": "2026.05.04"},
            "dates of another century": {"StudyDate": "19000101-19991231"},
            "minute": {"StudyTime": "1030"},
            "hour": {"StudyTime": "10"},
            "times from to": {"StudyTime": "1000-1030"},
            "times up to": {"StudyTime": "-0959"},
            "times from": {"StudyTime": "235959-"},
            "each of date and time": {"StudyDate": f"{MAY_4}-{MAY_5}", "StudyTime": "1000-1100"},
            "list of UIDs": {"StudyInstanceUID": "1.2.3\\1.2.5\\9.9"},
            "a UID that begins another": {"StudyInstanceUID": "1.2.1"},
            "modality": {"ModalitiesInStudy": "SR"},
            "modalities, one of": {"ModalitiesInStudy": "DX\\SR"},
            "modalities with one open": {"ModalitiesInStudy": "D?"},
            "number of instances": {"NumberOfStudyRelatedInstances": "3"},
            "referring physician": {"ReferringPhysicianName": "schmidt*"},
            "birth date": {"PatientBirthDate": "19700101"},
            "sex": {"PatientSex": "O"},
            "station": {"StationName": "TABLE"},
            "station with an underscore": {"StationName": "DIM_2"},
            "unit": {"UnitID": "prone1"},
            "unit that begins so": {"UnitID": "upright*"},
            "unit on a day": {"UnitID": "upright_a", "AcquisitionDate": MAY_4},
            "unit on a day that was another unit's": {"UnitID": "upright_a", "AcquisitionDay": OCTOBER, **IN_3},
            "serial from a day on": {"DeviceSerialNumber": "S-1", "AcquisitionDate": "20260601-"},
            "modality of an image on a day": {"Modality": "DX", "AcquisitionDate": OCTOBER},
            "two modalities of images": {"Modality": "SR\\DX"},
        }.items()
    },
    "patient: everything": (PATIENT, "PATIENT", (), {"PatientName": ""}),
    "patient: name": (PATIENT, "PATIENT", (), {"PatientName": "mueller*"}),
    "patient: id": (PATIENT, "PATIENT", (), {"PatientID": "ID3"}),
    "patient: birth date": (PATIENT, "PATIENT", (), {"PatientID": "ID2", "PatientBirthDate": "19700101"}),
    "patient root: studies of a patient": (PATIENT, "STUDY", (), {"PatientID": "ID1", "StudyDate": ""}),
    "patient root: series": (PATIENT, "SERIES", (), {"PatientID": "id1", **IN_7, "SeriesNumber": ""}),
    "patient root: images": (PATIENT, "IMAGE", (), {"PatientID": "id1", **IMAGE_7, "InstanceNumber": "2"}),
    "series: everything": (STUDY, "SERIES", (), IN_3),
    "series: modality": (STUDY, "SERIES", (), IN_3 | {"Modality": "SR"}),
    "series: number however written": (STUDY, "SERIES", (), IN_7 | {"SeriesNumber": "02"}),
    "series: description": (STUDY, "SERIES", (), IN_3 | {"SeriesDescription": "D*"}),
    "series: unit": (STUDY, "SERIES", (), IN_3 | {"UnitID": "prone1"}),
    "series: key of the study as well": (STUDY, "SERIES", (), IN_3 | {"PatientName": "SMITH*"}),
    "series: instances": (STUDY, "SERIES", (), IN_7 | {"NumberOfSeriesRelatedInstances": "2"}),
    "image: everything": (STUDY, "IMAGE", (), IMAGE_7),
    "image: number": (STUDY, "IMAGE", (), IMAGE_7 | {"InstanceNumber": "2"}),
    "image: image type": (STUDY, "IMAGE", (), IMAGE_1 | {"ImageType": "PRIMARY\\NONE"}),
    "image: rows": (STUDY, "IMAGE", (), IMAGE_1 | {"Rows": "4"}),
    "image: view": (STUDY, "IMAGE", (), IMAGE_1 | {"ViewCodeSequence": [view("399162004", "SCT")]}),
    "image: view of another scheme": (STUDY, "IMAGE", (), IMAGE_1 | {"ViewCodeSequence": [view("399162004", "99X")]}),
    "image: view that holds so": (STUDY, "IMAGE", (), IMAGE_1 | {"ViewCodeSequence": [view("3991*")]}),
    "image: acquisition time": (STUDY, "IMAGE", (), IMAGE_7 | {"AcquisitionTime": "2330-2331"}),
    "relational: images of a day": (STUDY, "IMAGE", (RELATIONAL,), {"AcquisitionDate": MAY_4}),
    "relational: images by study keys": (STUDY, "IMAGE", (RELATIONAL,), {"PatientName": "SM*", "InstanceNumber": "1"}),
    "relational: image by its UID": (STUDY, "IMAGE", (RELATIONAL,), {"SOPInstanceUID": "1.2.7.2.3\\1.2.3.1.1"}),
    "relational: images by unit": (STUDY, "IMAGE", (RELATIONAL,), {"UnitID": "prone1"}),
    "relational: images of studies": (STUDY, "IMAGE", (RELATIONAL,), {"StudyInstanceUID": "1.2.1\\1.2.7"}),
    "relational: images of a view": (
        STUDY, "IMAGE", (RELATIONAL,), {"ViewCodeSequence": [view("399163009")], "Modality": "DX"}
    ),
    "relational: series by its UID": (STUDY, "SERIES", (RELATIONAL,), {"SeriesInstanceUID": "1.2.3.2"}),
    "relational: series by station": (STUDY, "SERIES", (RELATIONAL,), {"StationName": "TABLE"}),
    "relational: series of a day": (STUDY, "SERIES", (RELATIONAL,), {"AcquisitionDate": MAY_4, "UnitID": "prone1"}),
    "relational: all series": (STUDY, "SERIES", (RELATIONAL,), {}),
    "relational: studies without a patient": (PATIENT, "STUDY", (RELATIONAL,), {"StudyDate": f"{JUNE}-"}),
    "date-time: one range": (
        STUDY, "STUDY", (DATE_TIME,), {"StudyDate": f"{MAY_4}-{MAY_5}", "StudyTime": "1045-0945"}
    ),
    "date-time: from a moment": (STUDY, "STUDY", (DATE_TIME,), {"StudyDate": f"{MAY_5}-", "StudyTime": "1000-"}),
    "date-time: to a moment": (STUDY, "STUDY", (DATE_TIME,), {"StudyDate": f"-{MAY_5}", "StudyTime": "-0915"}),
    "date-time: a range and a time": (
        STUDY, "STUDY", (DATE_TIME,), {"StudyDate": f"{MAY_4}-{OCTOBER}", "StudyTime": "1030"}
    ),
    "date-time: open at different ends": (
        STUDY, "STUDY", (DATE_TIME,), {"StudyDate": f"{MAY_4}-", "StudyTime": "-1030"}
    ),
    "date-time: of images": (
        STUDY, "IMAGE", (RELATIONAL, DATE_TIME),
        {"AcquisitionDate": "20260629-20260630", "AcquisitionTime": "08-233159"},
    ),
    "date-time: of content": (
        STUDY, "IMAGE", (RELATIONAL, DATE_TIME), {"ContentDate": f"{MAY_4}-{MAY_5}", "ContentTime": "1030-0030"}
    ),
    "date-time: of series": (
        STUDY, "SERIES", (RELATIONAL, DATE_TIME), {"SeriesDate": f"{MAY_4}-{MAY_5}", "SeriesTime": "1000-08"}
    ),
    **{
        f"fuzzy: {name}": (STUDY, "STUDY", (FUZZY,), {"PatientName": key})
        for name, key in {
            "same": "SMITH^MARY^J", "sound": "Schmitt^Mary", "any order": "mary smith", "one word": "smith",
            "typing error": "Johnsom^Katherine", "swapped letters": "Jhonson^Katherine", "letter missing": "Jonson",
            "other first letter by sound": "Catherine", "beginning": "Kath", "too short for a beginning": "Ka",
            "open beginning": "Ka*", "accents": "Muller Anne", "apostrophe": "OBRIEN", "hyphen": "marie ann",
            "ideographic": "山田", "ideographic group": "=山田^太郎", "kana": "やまだ",
            "inner wild card is literal": "S*H^MARY*", "nobody": "Xylophon^Zzz", "two errors": "Jahnsan^Katherine",
        }.items()
    },
    "fuzzy: referring physician": (STUDY, "STUDY", (FUZZY,), {"ReferringPhysicianName": "Karl Schmit"}),
    "fuzzy: patients": (PATIENT, "PATIENT", (FUZZY,), {"PatientName": "Smith"}),
    "fuzzy: with a date": (STUDY, "STUDY", (FUZZY,), {"PatientName": "smith", "StudyDate": MAY_4}),
    "fuzzy: images": (STUDY, "IMAGE", (RELATIONAL, FUZZY), {"PatientName": "Muller"}),
    "zone: date east of it": (
        STUDY, "STUDY", (ZONE,), {"StudyDate": "20261002", "StudyTime": "", "TimezoneOffsetFromUTC": "+0100"}
    ),
    "zone: day before": (
        STUDY, "STUDY", (ZONE,), {"StudyDate": MAY_4, "TimezoneOffsetFromUTC": "+0000"}
    ),
    "zone: time alone": (STUDY, "STUDY", (ZONE,), {"StudyTime": "15-16", "TimezoneOffsetFromUTC": "+0000"}),
    "zone: date and time as one": (
        STUDY, "STUDY", (ZONE, DATE_TIME),
        {"StudyDate": f"{MAY_4}-{MAY_5}", "StudyTime": "1850-1000", "TimezoneOffsetFromUTC": "+0000"},
    ),
    "zone: date-time": (
        STUDY, "IMAGE", (RELATIONAL, ZONE), {"AcquisitionDateTime": "20260504-", "TimezoneOffsetFromUTC": "-0500"}
    ),
    "zone: date-time of a zone of its own": (
        STUDY, "IMAGE", (RELATIONAL, ZONE),
        {"AcquisitionDateTime": "202605041000+0000-202605041900+0000", "TimezoneOffsetFromUTC": "+1000"},
    ),
    "zone: image times": (
        STUDY, "IMAGE", (RELATIONAL, ZONE),
        {"AcquisitionDate": "20260701", "AcquisitionTime": "01-013159", "TimezoneOffsetFromUTC": "+0200"},
    ),
    "zone: not negotiated": (STUDY, "STUDY", (), {"StudyTime": "15-16", "TimezoneOffsetFromUTC": "+0000"}),
    "empty value: text": (STUDY, "STUDY", (EMPTY,), {"StudyDescription": '""'}),
    "empty value: date": (STUDY, "STUDY", (EMPTY,), {"StudyDate": '""'}),
    "empty value: patient id": (STUDY, "STUDY", (EMPTY,), {"PatientID": '""'}),
    "empty value: unit": (STUDY, "STUDY", (EMPTY,), {"UnitID": '""'}),
    "several values: each modality": (STUDY, "STUDY", (MULTIPLE,), {"ModalitiesInStudy": "SR\\MG"}),
    "several values: of which one is nowhere": (STUDY, "STUDY", (MULTIPLE,), {"ModalitiesInStudy": "MG\\PT"}),
    "several values: one modality": (STUDY, "STUDY", (MULTIPLE,), {"ModalitiesInStudy": "DX"}),
    "several values: of the image type": (
        STUDY, "IMAGE", (RELATIONAL, MULTIPLE), {"ImageType": "STEREO_MINUS\\ORIGINAL"}
    ),
    "several values: of an image type that no image has": (
        STUDY, "IMAGE", (RELATIONAL, MULTIPLE), {"ImageType": "STEREO_MINUS\\DERIVED"}
    ),
    "several values: any modality of an image": (STUDY, "STUDY", (MULTIPLE,), {"Modality": "SR\\DX"}),
    "several values: any of the UIDs": (STUDY, "STUDY", (MULTIPLE,), {"StudyInstanceUID": "1.2.3\\1.2.4"}),
    "several values: not of an attribute with one": (STUDY, "STUDY", (MULTIPLE,), {"AccessionNumber": "A\\1"}),
}  # fmt: skip


class Asked:
    """A node that holds the data sets, and an association with it for each thing negotiated."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._associations: dict[tuple[int, ...], Association] = {}

    def __call__(self, model: str, negotiated: tuple[int, ...], ds: Dataset) -> list[tuple[int, Dataset | None]]:
        return [(status.Status, found) for status, found in self.statuses(model, negotiated, ds)]

    def statuses(self, model: str, negotiated: tuple[int, ...], ds: Dataset) -> list[tuple[Dataset, Dataset | None]]:
        if negotiated not in self._associations:
            self._associations[negotiated] = self._associate(negotiated)
        return list(self._associations[negotiated].send_c_find(ds, model))

    def _associate(self, negotiated: tuple[int, ...]) -> Association:
        ae, items = AE(ae_title="PACS"), []
        for model in (PATIENT, STUDY):
            ae.add_requested_context(model, [ExplicitVRLittleEndian])
            item = SOPClassExtendedNegotiation()
            item.sop_class_uid = model
            item.service_class_application_information = bytes(place in negotiated for place in range(7))
            items.append(item)
        assoc = ae.associate("127.0.0.1", self._port, ae_title="SBB_NODE", ext_neg=items if negotiated else None)
        assert assoc.is_established
        granted = assoc.acceptor.sop_class_extended
        assert set(granted.values()) == ({bytes(place in negotiated for place in range(7))} if negotiated else set())
        return assoc

    def close(self) -> None:
        for assoc in self._associations.values():
            assoc.release()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with ExitStack() as stack:
        url = f"sqlite:///{Path(tmp_path_factory.mktemp('table')) / 'node.db'}"
        if request.param == "postgres":
            server = request.getfixturevalue("postgres_server")
            template = request.getfixturevalue("postgres_template")
            url = stack.enter_context(postgres.database(server, template=template))
        index = stack.enter_context(closing(open_index(url)))
        units = {
            name: Unit(id=name, label=name, kind=UnitKind.UPRIGHT, identities=(Identity(device_serial=serial),))
            for serial, name in FACILITY.units.items()
        }
        indexer = Indexer(index=index, registry=lambda: Registry(units=units), local_day=lambda _: TODAY)
        for place, ds in enumerate(DATA_SETS):
            data, received_at = encode(ds), NOON + timedelta(seconds=place)
            provenance = Provenance(calling_ae="A", called_ae="B", peer_address="::1", received_at=received_at)
            read = read_data_set(
                data, len(data), lambda at, size, data=data: data[at : at + size], ExplicitVRLittleEndian, provenance
            )
            indexer.record(read, provenance, digest=hashlib.sha256(data).hexdigest(), size=len(data))
        listener = stack.enter_context(listening(make_service(index).find))
        yield stack.enter_context(closing(Asked(listener.port)))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore::UserWarning")  # the library's opinion of keys that are no values
def test_a_query_finds_what_the_data_sets_say(node: Asked, name: str) -> None:
    model, level, negotiated, keys = CASES[name]
    named = dict.fromkeys(["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"][: LEVEL[level]], "")
    ds = identifier(level, **{"PatientID": ""} | named | keys)
    answers = node(model, negotiated, ds)
    found = [ds for _, ds in answers if ds is not None]
    assert [status for status, _ in answers] == [0xFF00] * len(found) + [0x0000]
    assert uids(found, level) == expected(DATA_SETS, FACILITY, ds, frozenset(negotiated))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_no_index_leads_to_is_found_by_going_through_all(node: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_ways, "MOST", -1)
    monkeypatch.setattr(find_ways, "MOST_OF_A_WORD", 0)
    for name in CASES:
        if name.startswith(("fuzzy: ", "relational: ")):
            test_a_query_finds_what_the_data_sets_say(node, name)


def test_answers_are_in_the_zone_of_the_request_and_name_it(node: Asked) -> None:
    keys = {"StudyInstanceUID": "1.2.3\\1.2.4\\1.2.5", "StudyDate": "", "StudyTime": "", "PatientBirthDate": ""}
    ds = identifier("STUDY", TimezoneOffsetFromUTC="+0100", **keys)
    told = {
        found.StudyInstanceUID: (found.StudyDate, found.StudyTime, found.TimezoneOffsetFromUTC, found.PatientBirthDate)
        for _, found in node(STUDY, (ZONE,), ds)
        if found is not None
    }
    assert told == {
        "1.2.3": ("20261001", "060000", "+0100", "19700101"),  # midnight in the facility's zone
        "1.2.4": ("20261002", "085959.5", "+0100", "19700101"),
        "1.2.5": ("", "", "+0100", "19700101"),
    }
    assert all("TimezoneOffsetFromUTC" not in found for _, found in node(STUDY, (), ds) if found is not None)


@pytest.mark.parametrize(
    ("negotiated", "keys", "comment"),
    [
        ((ZONE,), {"TimezoneOffsetFromUTC": "CET"}, "TimezoneOffsetFromUTC is no offset from UTC"),
        ((DATE_TIME,), {"StudyDate": "20260505-20260504", "StudyTime": "10-11"}, "StudyDate ends before it begins"),
        ((RELATIONAL,), {"SeriesInstanceUID": "1.2.3"}, "SeriesInstanceUID is below the STUDY level"),
        ((), {"StudyDate": "soon"}, "StudyDate is no DA value or range"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_identifier_that_breaks_a_rule_is_refused_in_words(
    node: Asked, negotiated: tuple[int, ...], keys: dict[str, str], comment: str
) -> None:
    ((status, found),) = node.statuses(STUDY, negotiated, identifier("STUDY", **keys))
    assert (status.Status, status.ErrorComment, found) == (0xA900, comment, None)


LEVEL = {"PATIENT": 0, "STUDY": 1, "SERIES": 2, "IMAGE": 3}


def test_the_cases_tell_queries_apart() -> None:
    answers = {}
    for name, (_, level, negotiated, keys) in CASES.items():
        ds = identifier(level, **keys)
        answers[name] = level, tuple(expected(DATA_SETS, FACILITY, ds, frozenset(negotiated)))
    assert len(CASES) >= 100
    assert len(set(answers.values())) >= 60
    assert sum(1 for _, found in answers.values() if not found) <= 15
