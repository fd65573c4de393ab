"""Request identifiers: what is understood, and what is refused."""

import contextlib
import zlib
from typing import Any

import pytest
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_node.dicom.identifiers import LARGEST, encoding_of, read_elements
from dicom_node.dicom.keys import KEYS, Level
from dicom_node.dicom.matching import AnyItem, Condition, Exact, Name, WildCard, Within, make_test
from dicom_node.dicom.query import LONGEST_VALUE, MOST_UIDS, Query, Root, parse_query
from dicom_node.errors import InvalidQueryError
from tests.factories import encode, item

SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
STUDY_UID, SERIES_UID = "1.2.826.1", "1.2.826.2"


def identifier(level: str | None = "STUDY", **keys: Any) -> Dataset:
    """Return an identifier with the keys, whatever the library thinks of their values."""
    ds = Dataset()
    for keyword, value in ({"QueryRetrieveLevel": level} | keys).items():
        if value is None and keyword == "QueryRetrieveLevel":
            continue
        ds.add(DataElement(keyword, dictionary_VR(keyword), value, validation_mode=IGNORE))
    return ds


def parse(ds: Dataset, root: Root = Root.STUDY, syntax: str = ImplicitVRLittleEndian) -> Query:
    return parse_query(encode(ds, syntax), encoding_of(syntax), root)


def conditions(query: Query) -> dict[str, Any]:
    return {condition.keyword: condition.test for condition in (*query.conditions, *query.instance_conditions)}


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_an_identifier_is_read_in_every_transfer_syntax(syntax: str) -> None:
    ds = identifier("IMAGE", StudyInstanceUID=STUDY_UID, SeriesInstanceUID=SERIES_UID, PatientName="SYNTH*", Rows=512)
    ds.ViewCodeSequence = [item(CodeValue="R-10242", CodeMeaning="")]
    query = parse(ds, syntax=syntax)
    assert query.level is Level.IMAGE
    assert conditions(query) == {
        "StudyInstanceUID": Exact(frozenset({STUDY_UID})),
        "SeriesInstanceUID": Exact(frozenset({SERIES_UID})),
        "PatientName": Name(("synth*",)),
        "Rows": make_test("US", "512"),
        "ViewCodeSequence": AnyItem((Condition("CodeValue", Exact(frozenset({"R-10242"}))),)),
    }
    assert [asked.keyword for asked in query.asked] == [
        "PatientName", "StudyInstanceUID", "SeriesInstanceUID", "Rows", "ViewCodeSequence",
    ]  # fmt: skip
    assert [asked.keyword for asked in query.asked[-1].items] == ["CodeValue", "CodeMeaning"]
    assert not query.has_unsupported_keys


def test_an_empty_key_is_returned_and_matches_everything() -> None:
    query = parse(identifier(StudyDate="", Modality="", PatientName=None, ViewCodeSequence=[]))
    assert query.conditions == query.instance_conditions == ()
    assert [asked.keyword for asked in query.asked] == ["StudyDate", "Modality", "PatientName"]
    assert query.has_unsupported_keys  # ViewCodeSequence belongs to instances


@pytest.mark.parametrize(
    ("ds", "root", "complaint"),
    [
        (identifier(None, PatientID="1"), Root.STUDY, "QueryRetrieveLevel is missing"),
        (identifier(""), Root.STUDY, "QueryRetrieveLevel is missing"),
        (identifier("STUDIES"), Root.STUDY, "is not PATIENT, STUDY, SERIES or IMAGE"),
        (identifier("PATIENT", PatientID="1"), Root.STUDY, "no PATIENT level"),
        (identifier("STUDY", StudyInstanceUID=STUDY_UID), Root.PATIENT, "PatientID must have one value at the STUDY"),
        (identifier("STUDY", PatientID="A*"), Root.PATIENT, "PatientID must have one value"),
        (identifier("STUDY", PatientID=""), Root.PATIENT, "PatientID must have one value"),
        (identifier("SERIES", Modality="MG"), Root.STUDY, "StudyInstanceUID must have one value at the SERIES"),
        (identifier("SERIES", StudyInstanceUID=["1.2", "1.3"]), Root.STUDY, "StudyInstanceUID must have one value"),
        (identifier("SERIES", StudyInstanceUID="*"), Root.STUDY, "StudyInstanceUID"),
        (identifier("IMAGE", StudyInstanceUID=STUDY_UID), Root.STUDY, "SeriesInstanceUID must have one value"),
        (identifier("IMAGE", SeriesInstanceUID=SERIES_UID), Root.STUDY, "StudyInstanceUID must have one value"),
        (
            identifier("IMAGE", StudyInstanceUID=STUDY_UID, SeriesInstanceUID=SERIES_UID),
            Root.PATIENT,
            "PatientID must have one value",
        ),
        (identifier("STUDY", SeriesInstanceUID=SERIES_UID), Root.STUDY, "SeriesInstanceUID is below the STUDY level"),
        (identifier("STUDY", SOPInstanceUID="1.2.3"), Root.STUDY, "SOPInstanceUID is below"),
        (identifier("STUDY", StudyDate="yesterday"), Root.STUDY, "StudyDate is no DA value or range"),
        (identifier("STUDY", StudyTime="2200-0200"), Root.STUDY, "StudyTime ends before it begins"),
        (identifier("STUDY", StudyInstanceUID="1.2.*"), Root.STUDY, "takes no wild card"),
        (identifier("STUDY", PatientID="A" * (LONGEST_VALUE + 1)), Root.STUDY, "longer than"),
        (identifier("STUDY", StudyInstanceUID=["1.2"] * (MOST_UIDS + 1)), Root.STUDY, "more than"),
        (
            identifier(
                "IMAGE", StudyInstanceUID=STUDY_UID, SeriesInstanceUID=SERIES_UID,
                ViewCodeSequence=[item(CodeValue="1"), item(CodeValue="2")],
            ),
            Root.STUDY,
            "more than one item",
        ),
        (identifier("STUDY", SpecificCharacterSet="KLINGON", PatientID=b"\xe9"), Root.STUDY, "SpecificCharacterSet"),
        (identifier("STUDY", SpecificCharacterSet="ISO_IR 192", PatientID=b"\xe9"), Root.STUDY, "PatientID does not"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::UserWarning")  # the library's opinion of what a hostile peer writes
def test_a_broken_rule_is_named_without_repeating_a_value(ds: Dataset, root: Root, complaint: str) -> None:
    with pytest.raises(InvalidQueryError, match=complaint) as caught:
        parse(ds, root)
    assert len(str(caught.value)) <= 64
    values = [str(element.value) for element in ds if element.keyword != "QueryRetrieveLevel"]
    assert not any(value in str(caught.value) for value in values if len(value) > 1)


def test_no_complaint_about_any_key_is_longer_than_an_error_comment() -> None:
    for key in KEYS:
        for value in ("?", "x", "20270101-20260101", "2-1"):
            complaint = ""
            try:
                make_test(key.vr, value)
            except ValueError as error:
                complaint = f"{key.keyword} {error}"
            assert len(complaint) <= 64


def test_keys_of_the_levels_above_are_matched_and_returned() -> None:
    query = parse(identifier("SERIES", StudyInstanceUID=STUDY_UID, PatientName="SYNTH^*", StudyDate=""))
    assert set(conditions(query)) == {"StudyInstanceUID", "PatientName"}
    assert {asked.keyword for asked in query.asked} == {"StudyInstanceUID", "PatientName", "StudyDate"}
    assert not query.has_unsupported_keys


def test_unit_and_day_are_asked_of_the_instances_above_their_level() -> None:
    ds = identifier(StationName="SYNTH_1", AcquisitionDate="20260501-", Modality="MG", PatientID="7")
    query = parse(ds)
    assert {condition.keyword for condition in query.instance_conditions} == {
        "StationName",
        "AcquisitionDate",
        "Modality",
    }
    assert not any(condition.unknown_matches for condition in query.instance_conditions)
    assert query.descending == {"StationName", "AcquisitionDate", "Modality"}
    assert [condition.keyword for condition in query.conditions] == ["PatientID"]

    of_series = parse(
        identifier("SERIES", StudyInstanceUID=STUDY_UID, StationName="SYNTH_1", AcquisitionDate="20260501")
    )
    assert [condition.keyword for condition in of_series.instance_conditions] == ["AcquisitionDate"]
    assert {condition.keyword for condition in of_series.conditions} == {"StudyInstanceUID", "StationName"}

    of_patient = parse(identifier("PATIENT", StationName="SYNTH_1"), Root.PATIENT)
    assert of_patient.instance_conditions == of_patient.conditions == of_patient.asked == ()
    assert of_patient.has_unsupported_keys


def private(creator: str | None, block: int, vr: str = "LO", value: Any = "prone1") -> Dataset:
    ds = identifier()
    if creator is not None:
        ds.add_new(0x00790000 | block, "LO", creator)
    ds.add_new(0x00790000 | block << 8 | 1, vr, value)
    return ds


@pytest.mark.parametrize("block", [0x10, 0x42, 0xFF])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_nodes_own_keys_are_found_in_whatever_block_is_reserved(block: int, syntax: str) -> None:
    query = parse(private("DICOM_NODE", block), syntax=syntax)
    assert conditions(query) == {"UnitID": Exact(frozenset({"prone1"}))}
    assert query.asked[0].tag == 0x00790000 | block << 8 | 1
    assert query.private_block == block
    assert not query.has_unsupported_keys


def test_an_own_key_is_understood_as_un_and_in_block_10_without_a_creator() -> None:
    assert "UnitID" in conditions(parse(private(None, 0x10, "UN", b"prone1"), syntax=ExplicitVRLittleEndian))


def test_private_keys_of_others_are_not_supported() -> None:
    for ds in (private("SOMEBODY", 0x10), private(None, 0x11)):
        query = parse(ds)
        assert query.asked == query.instance_conditions == ()
        assert query.has_unsupported_keys


def test_our_block_beside_anothers_is_ours() -> None:
    ds = private("SOMEBODY", 0x10)
    ds.add_new(0x00790011, "LO", "DICOM_NODE")
    ds.add_new(0x00791105, "DA", "20260501-20260502")
    query = parse(ds)
    assert set(conditions(query)) == {"AcquisitionDay"}
    assert isinstance(conditions(query)["AcquisitionDay"], Within)
    assert query.has_unsupported_keys


@pytest.mark.parametrize(
    ("sets", "name", "folded"),
    [
        ("ISO_IR 100", "MÜLLER^A*", "müller^a*"),
        ("ISO_IR 192", "山田*", "山田*"),
        (["", "ISO 2022 IR 87"], "山田^太郎", "山田^太郎"),
        (["", "ISO 2022 IR 149"], "김희중", "김희중"),
        ("GB18030", "王^小东", "王^小东"),
    ],
)
def test_keys_are_decoded_by_the_character_set_of_the_request(sets: Any, name: str, folded: str) -> None:
    query = parse(identifier(SpecificCharacterSet=sets, PatientName=name))
    assert conditions(query)["PatientName"] == Name((folded,))
    assert query.character_set == (sets if isinstance(sets, str) else "\\".join(sets))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_text_without_a_character_set_is_read_as_utf_8_where_it_is_that() -> None:
    assert conditions(parse(identifier(PatientID="é*".encode())))["PatientID"] == WildCard("é*")
    assert conditions(parse(identifier(PatientID=b"\xe9*")))["PatientID"] == WildCard("é*")


def test_a_backslash_in_a_key_with_one_value_is_a_character() -> None:
    query = parse(identifier(PatientID="A\\B%_'", ModalitiesInStudy="MG\\US"))
    assert conditions(query)["PatientID"] == Exact(frozenset({"A\\B%_'"}))
    assert conditions(query)["ModalitiesInStudy"] == Exact(frozenset({"MG", "US"}))


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_an_identifier_that_is_cut_anywhere_is_refused_or_read_and_never_anything_else(syntax: str) -> None:
    ds = identifier("IMAGE", StudyInstanceUID=STUDY_UID, SeriesInstanceUID=SERIES_UID)
    ds.ViewCodeSequence = [item(CodeValue="R-10242", ViewModifierCodeSequence=[item(CodeValue="G-8310")])]
    whole = encode(ds, syntax)
    for length in range(len(whole)):
        with contextlib.suppress(InvalidQueryError):
            read_elements(whole[:length], encoding_of(syntax))


def _undefined_lengths(ds: Dataset) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, True
    for element in ds:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for each in element.value:
                each.is_undefined_length_sequence_item = True
    write_dataset(stream, ds)
    return stream.getvalue()


def test_sequences_of_undefined_length_are_read() -> None:
    ds = identifier("IMAGE", StudyInstanceUID=STUDY_UID, SeriesInstanceUID=SERIES_UID, Columns=8)
    ds.ViewCodeSequence = [item(CodeValue="R-10242")]
    data = _undefined_lengths(ds)
    assert b"\xff\xff\xff\xff" in data
    query = parse_query(data, encoding_of(ImplicitVRLittleEndian), Root.STUDY)
    assert "ViewCodeSequence" in conditions(query)


def test_what_no_peer_would_send_is_refused_before_it_costs_anything() -> None:
    implicit, deflated = encoding_of(ImplicitVRLittleEndian), encoding_of(DeflatedExplicitVRLittleEndian)
    with pytest.raises(InvalidQueryError, match="too long"):
        read_elements(bytes(LARGEST + 1), implicit)
    with pytest.raises(InvalidQueryError, match="too long"):
        read_elements(zlib.compress(bytes(LARGEST * 100), wbits=-zlib.MAX_WBITS), deflated)
    with pytest.raises(InvalidQueryError, match="inflated"):
        read_elements(b"no deflated stream", deflated)
    with pytest.raises(InvalidQueryError, match="too many"):
        read_elements(b"\x10\x00\x20\x00\0\0\0\0" * 600, implicit)
    nested = b"\x54\x00\x20\x02\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 300
    with pytest.raises(InvalidQueryError, match="too deep"):
        read_elements(nested, implicit)
