"""Queries as people write them, and answers as people read them, against pydicom's reading and writing."""

from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.dicom.asking import answer_as_names, encode_request, level_of, parse_key, read_answer
from dicom_node.dicom.identifiers import encoding_of
from dicom_node.dicom.keys import Level
from dicom_node.errors import InvalidQueryError, OperatorError
from tests.factories import encode

SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]


def asked(level: Level, *keys: str, syntax: str = ImplicitVRLittleEndian) -> Dataset:
    """Return the identifier of keys as pydicom reads it."""
    data = encode_request([parse_key(key) for key in keys], level, encoding_of(syntax))
    return read_dataset(BytesIO(data), UID(syntax).is_implicit_VR, UID(syntax).is_little_endian)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_request_is_what_pydicom_reads(syntax: str) -> None:
    ds = asked(
        Level.IMAGE,
        "SOPInstanceUID=2.25.1",
        "(0008,0060)=MG",
        "0020,000d=2.25.33",
        "Rows=512",
        "ViewCodeSequence",
        "ImageType=ORIGINAL\\PRIMARY",
        "PatientName=",
        syntax=syntax,
    )
    assert [element.tag for element in ds] == sorted(element.tag for element in ds)
    assert (ds.QueryRetrieveLevel, ds.SOPInstanceUID, ds.Modality) == ("IMAGE", "2.25.1", "MG")
    assert (ds.StudyInstanceUID, ds.Rows, len(ds.ViewCodeSequence)) == ("2.25.33", 512, 0)
    assert (list(ds.ImageType), ds.PatientName) == (["ORIGINAL", "PRIMARY"], "")
    assert "SpecificCharacterSet" not in ds


def test_a_character_set_is_named_where_one_is_needed() -> None:
    assert asked(Level.STUDY, "StudyDescription=Br\xfcste").StudyDescription == "Br\xfcste"
    assert asked(Level.STUDY, "StudyDescription=Br\xfcste").SpecificCharacterSet == "ISO_IR 192"


def test_the_node_s_own_keys_come_with_their_creator() -> None:
    ds = asked(Level.STUDY, "UnitID=prone1", "CountsUntil")
    assert ds[0x00790010].value == "DICOM_NODE"
    assert ds.private_block(0x0079, "DICOM_NODE")[1].value in ("prone1", b"prone1")
    assert 0x00791004 in ds


def test_of_a_key_that_is_given_twice_the_last_one_counts() -> None:
    ds = asked(Level.STUDY, "StudyDate", "StudyDate=20260504", "QueryRetrieveLevel=IMAGE")
    assert (ds.StudyDate, ds.QueryRetrieveLevel) == ("20260504", "STUDY")


@pytest.mark.parametrize(
    ("keys", "level"),
    [
        ([], Level.STUDY),
        (["PatientID=1"], Level.PATIENT),
        (["PatientID=1", "StudyInstanceUID=2.25.1"], Level.STUDY),
        (["SeriesInstanceUID=2.25.1"], Level.SERIES),
        (["SOPInstanceUID=2.25.1", "SeriesInstanceUID=2.25.1"], Level.IMAGE),
        (["SOPInstanceUID", "StudyDate=2026"], Level.STUDY),
    ],
)
def test_the_level_is_that_of_the_lowest_unique_key_with_a_value(keys: list[str], level: Level) -> None:
    assert level_of([parse_key(key) for key in keys]) is level


@pytest.mark.parametrize("text", ["", "=1", "Day", "0008", "0008,00zz", "0011,1001", "Rows=1x", "Rows=70000"])
def test_what_is_no_key_is_told(text: str) -> None:
    with pytest.raises(OperatorError):
        parse_key(text)


def test_pixels_are_no_key() -> None:
    with pytest.raises(OperatorError, match="PixelData cannot be"):
        parse_key("PixelData=1")


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_an_answer_of_pydicom_is_read(syntax: str) -> None:
    ds = Dataset()
    ds.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    ds.PatientName = "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce"
    ds.StudyInstanceUID = "2.25.1"
    ds.ModalitiesInStudy = ["MG", "SR"]
    ds.Rows = 512
    ds.ViewCodeSequence = Sequence([Dataset(), Dataset()])
    ds.RequestAttributesSequence = Sequence([])
    ds.FrameIncrementPointer = 0x00181063
    block = ds.private_block(0x0079, "DICOM_NODE", create=True)
    block.add_new(4, "DA", "20270520")
    foreign = ds.private_block(0x0011, "SOMEBODY", create=True)
    foreign.add_new(1, "LO", "theirs")
    answer = answer_as_names(read_answer(encode(ds, syntax), encoding_of(syntax)))
    assert answer == {
        "SpecificCharacterSet": "\\ISO 2022 IR 87",
        "PatientName": "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce",
        "StudyInstanceUID": "2.25.1",
        "ModalitiesInStudy": "MG\\SR",
        "Rows": "512",
        "ViewCodeSequence": "(2 items)",
        "RequestAttributesSequence": "",
        "CountsUntil": "20270520",
    }


def test_the_node_s_keys_are_found_in_whatever_block_they_come() -> None:
    ds = Dataset()
    ds.add_new(0x00790010, "LO", "SOMEBODY")
    ds.add_new(0x00791004, "LO", "theirs")
    ds.add_new(0x00790011, "LO", "DICOM_NODE")
    ds.add_new(0x00791104, "DA", "20270520")
    answer = read_answer(encode(ds, ExplicitVRLittleEndian), encoding_of(ExplicitVRLittleEndian))
    assert answer_as_names(answer) == {"CountsUntil": "20270520"}


def test_an_answer_that_is_cut_short_is_no_answer() -> None:
    with pytest.raises(InvalidQueryError, match="cut short"):
        read_answer(b"\x08\0\x05\0\xff\0\0\0x", encoding_of(ImplicitVRLittleEndian))
