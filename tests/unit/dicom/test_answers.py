"""Response identifiers: what the peer reads when it decodes them with another program's reader."""

import json
from io import BytesIO
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom.dsutils import decode

from dicom_node.dicom.answers import LONGEST_TEXT, AnswerEncoder
from dicom_node.dicom.identifiers import encoding_of
from dicom_node.dicom.query import Root, parse_query
from tests.factories import encode, item

SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]

JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"
VIEWS = [
    {
        "CodeValue": "R-10242",
        "CodingSchemeDesignator": "SRT",
        "CodeMeaning": "cranio-caudal",
        "ViewModifierCodeSequence": [{"CodeValue": "G-8310"}],
    },
    {"CodeValue": "R-10226", "CodingSchemeDesignator": "SRT", "CodeMeaning": "medio-lateral oblique"},
]


def asked(level: str = "STUDY", **keys: Any) -> Dataset:
    ds = Dataset()
    ds.QueryRetrieveLevel = level
    if level == "IMAGE":
        ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.1", "1.2.2"
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    return ds


def raw_answer(request: Dataset, record: dict[str, str], syntax: str = ImplicitVRLittleEndian) -> bytes:
    encoding = encoding_of(syntax)
    query = parse_query(encode(request, syntax), encoding, Root.STUDY)
    return AnswerEncoder(query, encoding, retrieve_ae="SBB_NODE").encode(record)


def answer(request: Dataset, record: dict[str, str], syntax: str = ImplicitVRLittleEndian) -> Dataset:
    data = raw_answer(request, record, syntax)
    encoding = encoding_of(syntax)
    return decode(BytesIO(data), encoding.implicit, encoding.little_endian, encoding.deflated)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_was_asked_comes_back_in_every_transfer_syntax(syntax: str) -> None:
    request = asked(
        "IMAGE", SOPInstanceUID="", InstanceNumber="", Rows=None, ImageType="", PatientName="", ViewCodeSequence=[]
    )
    record = {
        "StudyInstanceUID": "1.2.1",
        "SeriesInstanceUID": "1.2.2",
        "SOPInstanceUID": "1.2.3",
        "InstanceNumber": "7",
        "Rows": "3328",
        "ImageType": "ORIGINAL\\PRIMARY\\STEREO_MINUS",
        "ViewCodeSequence": json.dumps(VIEWS),
        "AccessionNumber": "not asked",
    }
    ds = answer(request, record, syntax)
    assert [element.tag for element in ds] == sorted(element.tag for element in ds)
    assert (ds.QueryRetrieveLevel, ds.RetrieveAETitle, ds.InstanceAvailability) == ("IMAGE", "SBB_NODE", "ONLINE")
    assert (ds.SOPInstanceUID, ds.InstanceNumber, ds.Rows) == ("1.2.3", 7, 3328)
    assert list(ds.ImageType) == ["ORIGINAL", "PRIMARY", "STEREO_MINUS"]
    assert ds.PatientName == ""
    assert [view.CodeMeaning for view in ds.ViewCodeSequence] == ["cranio-caudal", "medio-lateral oblique"]
    assert ds.ViewCodeSequence[0].ViewModifierCodeSequence[0].CodeValue == "G-8310"
    assert "AccessionNumber" not in ds
    assert ds.SpecificCharacterSet == "ISO_IR 100"


def test_of_a_sequence_only_the_matching_items_and_their_asked_elements_are_sent() -> None:
    request = asked("IMAGE", ViewCodeSequence=[item(CodeValue="R-10226", CodeMeaning="")])
    ds = answer(request, {"ViewCodeSequence": json.dumps(VIEWS)})
    assert len(ds.ViewCodeSequence) == 1
    assert {element.keyword for element in ds.ViewCodeSequence[0]} == {"CodeValue", "CodeMeaning"}


def test_own_keys_come_back_in_the_block_they_were_asked_in_with_their_creator() -> None:
    request = asked()
    request.add_new(0x00790042, "LO", "DICOM_NODE")
    request.add_new(0x00794201, "LO", "")
    request.add_new(0x00794203, "IS", "")
    data = raw_answer(request, {"UnitID": "prone1\\upright_a", "DaysLeft": "-12"}, ExplicitVRLittleEndian)
    ds = read_dataset(BytesIO(data), False, True)
    block = ds.private_block(0x0079, "DICOM_NODE")
    assert list(block[1].value) == ["prone1", "upright_a"]
    assert block[3].value == -12
    assert block[3].VR == "IS"


@pytest.mark.parametrize(
    ("requested", "name", "answered"),
    [
        (None, "SYNTH^PATIENT", "ISO_IR 100"),
        ("ISO_IR 192", "SYNTH^PATIENT", "ISO_IR 192"),
        (["", "ISO 2022 IR 87"], "SYNTH^PATIENT", ["", "ISO 2022 IR 87"]),
        (None, "Müller^Ä", "ISO_IR 100"),
        ("ISO_IR 192", "Müller^Ä", "ISO_IR 192"),
        ("ISO_IR 144", "Müller^Ä", "ISO_IR 100"),
        ("ISO_IR 144", "Люкceмбypг", "ISO_IR 144"),
        ("ISO_IR 100", "Люкceмбypг", "ISO_IR 192"),
        (None, JAPANESE, "ISO_IR 192"),
        ("ISO_IR 100", JAPANESE, "ISO_IR 192"),
        (["", "ISO 2022 IR 87"], JAPANESE, ["", "ISO 2022 IR 87"]),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동", ["", "ISO 2022 IR 149"]),
        (["", "ISO 2022 IR 149"], JAPANESE + "ä", "ISO_IR 192"),
        ("GB18030", "Wang^XiaoDong=王^小东", "GB18030"),
        ("KLINGON", "Müller", "ISO_IR 100"),
    ],
)
@pytest.mark.filterwarnings("ignore:Unknown encoding:UserWarning")
def test_an_answer_is_in_the_character_set_of_the_request_where_that_expresses_it(
    requested: Any, name: str, answered: Any
) -> None:
    request = asked(PatientName="", **({} if requested is None else {"SpecificCharacterSet": requested}))
    ds = answer(request, {"PatientName": name})
    assert ds.SpecificCharacterSet == answered
    assert str(ds.PatientName) == name


def test_the_other_chinese_set_is_chosen_where_it_was_asked_for() -> None:
    request = asked(PatientName="", SpecificCharacterSet=["", "ISO 2022 IR 58"])
    data = raw_answer(request, {"PatientName": "Zhang^XiaoDong=张^小东"})
    # PS3.5 K.2 writes this name so; the library's reader does not take the escape sequence out of the text.
    assert b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab" in data


@pytest.mark.parametrize(("text", "sent"), [("70000", b""), ("-1", b""), ("x", b""), ("", b""), ("12", b"\x0c\x00")])
def test_a_number_that_its_element_cannot_hold_is_sent_empty(text: str, sent: bytes) -> None:
    data = raw_answer(asked("IMAGE", Rows=None), {"Rows": text})
    assert data.endswith(b"\x28\x00\x10\x00" + len(sent).to_bytes(4, "little") + sent)


@pytest.mark.filterwarnings("ignore:The value length:UserWarning")
def test_values_that_do_not_fit_one_element_are_left_out_from_the_end() -> None:
    uids = [f"1.2.826.0.1.3680043.{number}" for number in range(5000)]
    ds = answer(asked(SOPClassesInStudy="", StudyDescription=""), {
        "SOPClassesInStudy": "\\".join(uids), "StudyDescription": "ä" * (LONGEST_TEXT + 2),
    }, ExplicitVRLittleEndian)  # fmt: skip
    sent = list(ds.SOPClassesInStudy)
    assert sent == uids[: len(sent)]
    assert len("\\".join(uids[: len(sent) + 1])) > LONGEST_TEXT
    assert set(ds.StudyDescription) == {"ä"}


def test_half_a_surrogate_pair_from_a_stored_sequence_does_not_stop_an_answer() -> None:
    ds = answer(asked("IMAGE", ViewCodeSequence=[]), {"ViewCodeSequence": r'[{"CodeMeaning": "\ud800"}]'})
    assert ds.ViewCodeSequence[0].CodeMeaning == "?"
