"""Identifiers of C-GET and C-MOVE: what is understood, and what is refused."""

from typing import Any

import pytest
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.dicom.identifiers import encoding_of
from dicom_node.dicom.keys import Level
from dicom_node.dicom.query import Root
from dicom_node.dicom.retrieve import Retrieval, parse_retrieval
from dicom_node.errors import InvalidQueryError
from tests.factories import encode

STUDY, SERIES, IMAGE = {"StudyInstanceUID": "1.2.3"}, {"SeriesInstanceUID": "1.2.3.4"}, {"SOPInstanceUID": "1.2.3.4.5"}
PATIENT = {"PatientID": "SYNTH-0001"}


def parse(root: Root, level: str | None, syntax: str = ImplicitVRLittleEndian, **keys: Any) -> Retrieval:
    ds = Dataset()
    for keyword, value in ({"QueryRetrieveLevel": level} | keys).items():
        if value is not None:
            ds.add(DataElement(keyword, dictionary_VR(keyword), value, validation_mode=IGNORE))
    return parse_retrieval(encode(ds, syntax), encoding_of(syntax), root)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_every_level_of_both_models_is_understood(syntax: str) -> None:
    assert parse(Root.PATIENT, "PATIENT", syntax, **PATIENT) == Retrieval(level=Level.PATIENT, patient_id="SYNTH-0001")
    assert parse(Root.STUDY, "STUDY", syntax, **STUDY) == Retrieval(level=Level.STUDY, study_uids=("1.2.3",))
    assert parse(Root.PATIENT, "SERIES", syntax, **PATIENT, **STUDY, **SERIES) == Retrieval(
        level=Level.SERIES, patient_id="SYNTH-0001", study_uids=("1.2.3",), series_uids=("1.2.3.4",)
    )
    assert parse(Root.STUDY, "IMAGE", syntax, **STUDY, **SERIES, **IMAGE) == Retrieval(
        level=Level.IMAGE, study_uids=("1.2.3",), series_uids=("1.2.3.4",), instance_uids=("1.2.3.4.5",)
    )


def test_a_list_of_uids_stands_at_the_level_itself_and_each_counts_once() -> None:
    several = ["1.2.3", "1.2.4", "1.2.3"]
    assert parse(Root.STUDY, "STUDY", StudyInstanceUID=several).study_uids == ("1.2.3", "1.2.4")
    found = parse(Root.STUDY, "IMAGE", **STUDY, **SERIES, SOPInstanceUID=["1.2.9", "1.2.8"])
    assert found.instance_uids == ("1.2.9", "1.2.8")


def test_what_is_no_unique_key_of_the_model_is_passed_over() -> None:
    more = {"PatientName": "SYNTH^ONE", "StudyDate": "nonsense", "RetrieveAETitle": "SOMEONE", "PatientID": "OTHER"}
    assert parse(Root.STUDY, "STUDY", **STUDY, **more) == Retrieval(level=Level.STUDY, study_uids=("1.2.3",))


def test_an_empty_key_below_the_level_selects_nothing() -> None:
    found = parse(Root.STUDY, "STUDY", **STUDY, SeriesInstanceUID="", SOPInstanceUID="")
    assert found == Retrieval(level=Level.STUDY, study_uids=("1.2.3",))


@pytest.mark.parametrize(
    ("root", "level", "keys", "words"),
    [
        (Root.STUDY, None, STUDY, "QueryRetrieveLevel is missing"),
        (Root.STUDY, "FRAME", STUDY, "QueryRetrieveLevel is not"),
        (Root.STUDY, "PATIENT", PATIENT, "has no PATIENT level"),
        (Root.STUDY, "STUDY", {}, "StudyInstanceUID is missing"),
        (Root.STUDY, "STUDY", {"StudyInstanceUID": ""}, "StudyInstanceUID is missing"),
        (Root.STUDY, "STUDY", {"StudyInstanceUID": "*"}, "no UID"),
        (Root.STUDY, "STUDY", {"StudyInstanceUID": ["1.2", "1.2.?"]}, "no UID"),
        (Root.STUDY, "STUDY", STUDY | SERIES, "SeriesInstanceUID is below"),
        (Root.STUDY, "SERIES", SERIES, "StudyInstanceUID must have one value"),
        (Root.STUDY, "SERIES", {"StudyInstanceUID": ["1.2", "1.3"]} | SERIES, "StudyInstanceUID must have one value"),
        (Root.STUDY, "IMAGE", STUDY | IMAGE, "SeriesInstanceUID must have one value"),
        (Root.PATIENT, "STUDY", STUDY, "PatientID must have one value"),
        (Root.PATIENT, "PATIENT", {}, "PatientID is missing"),
        (Root.PATIENT, "PATIENT", {"PatientID": "*"}, "PatientID must have one value"),
        (Root.PATIENT, "PATIENT", {"PatientID": ["A", "B"]}, "PatientID must have one value"),
    ],
)
def test_what_breaks_a_rule_is_refused_in_words_without_values(
    root: Root, level: str | None, keys: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidQueryError, match=words):
        parse(root, level, **keys)


@pytest.mark.parametrize(
    ("named", "raw"),
    [(b"ISO_IR 100", b"\xc4BC-1 "), (b"", b"\xc4BC-1 "), (b"ISO_IR 192", b"\xc3\x84BC-1"), (b"", b"\xc3\x84BC-1")],
)
def test_a_patient_id_is_read_in_the_character_set_of_the_request(named: bytes, raw: bytes) -> None:
    sets = b"\x08\0\x05\0" + len(named).to_bytes(4, "little") + named
    level = b"\x08\0\x52\0\x08\0\0\0PATIENT "
    data = sets + level + b"\x10\0\x20\0" + len(raw).to_bytes(4, "little") + raw
    assert parse_retrieval(data, encoding_of(ImplicitVRLittleEndian), Root.PATIENT).patient_id == "ÄBC-1"


def test_a_patient_id_that_does_not_fit_the_character_set_is_refused() -> None:
    data = b"\x08\0\x05\0\x0c\0\0\0ISO_IR 1000 \x08\0\x52\0\x08\0\0\0PATIENT \x10\0\x20\0\x02\0\0\0\xc4 "
    with pytest.raises(InvalidQueryError, match="SpecificCharacterSet"):
        parse_retrieval(data, encoding_of(ImplicitVRLittleEndian), Root.PATIENT)


def test_an_identifier_that_is_cut_short_is_refused() -> None:
    with pytest.raises(InvalidQueryError):
        parse_retrieval(b"\x08\0\x52\0\x10\0\0\0STUDY ", encoding_of(ImplicitVRLittleEndian), Root.STUDY)
