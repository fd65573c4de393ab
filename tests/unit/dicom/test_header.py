import json
import re
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_node.dicom.header import ATTRIBUTES
from dicom_node.dicom.keys import KEYS
from dicom_node.dicom.nested import NESTED_ATTRIBUTES
from dicom_node.dicom.uids import TRANSFER_SYNTAXES
from dicom_node.dicom.values import LONGEST_TEXT
from dicom_node.errors import UnreadableInstanceError
from tests.factories import code, encode, item, make_bto, make_kos, make_mg, make_rdsr, make_sc, new_uid, view_code
from tests.unit.dicom.reading import element, facts_of, read_bytes


def test_the_four_uids_and_the_transfer_syntax_are_read() -> None:
    ds = make_mg()
    facts = facts_of(ds)
    assert facts.sop_class_uid == ds.SOPClassUID
    assert facts.sop_instance_uid == ds.SOPInstanceUID
    assert facts.study_uid == ds.StudyInstanceUID
    assert facts.series_uid == ds.SeriesInstanceUID
    assert facts.transfer_syntax_uid == "1.2.840.10008.1.2.1"
    assert facts.flags == ()


def test_every_stored_key_that_is_there_is_read() -> None:
    ds = make_mg(
        IssuerOfPatientID="X", StudyDescription="D", AcquisitionDateTime="20260504090130", NumberOfFrames=2,
        SeriesDescription="S", ProtocolName="P", PerformedProcedureStepStartDate="20260504", Laterality="L",
        QualityControlImage="NO", ReferringPhysicianName="SYNTH^DOCTOR",
    )  # fmt: skip
    facts = facts_of(ds)
    assert {key.keyword for key in KEYS if key.stored} <= facts.attributes.keys()
    assert facts.get("PatientName") == "SYNTH^PATIENT"
    assert facts.get("Rows") == "4"
    assert facts.get("NumberOfFrames") == "2"
    assert facts.get("ImageType") == "ORIGINAL\\PRIMARY\\"


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
@pytest.mark.parametrize("make", [make_mg, make_bto, make_rdsr, make_kos, make_sc])
def test_every_transfer_syntax_tells_the_same(make: type[Dataset], syntax: str) -> None:
    ds = make(PatientName="山田^太郎")
    assert facts_of(ds, syntax).attributes == facts_of(ds).attributes


def test_an_absent_attribute_is_missing_and_an_empty_one_is_empty() -> None:
    facts = facts_of(make_mg(StationName=None, AccessionNumber=""))
    assert "StationName" not in facts.attributes
    assert facts.attributes["AccessionNumber"] == ""


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", [None, b"", b"\0\0", b"SECRET", b"1.2..3", b"1.02", b"1.2\\1.3", b"1.2/3", b"1.2\n3"])
def test_an_instance_that_cannot_be_placed_is_refused_by_name(keyword: str, value: bytes | None) -> None:
    data = encode(make_mg(**{keyword: None}))
    if value is not None:
        tag = {"SOPClassUID": 0x00080016, "SOPInstanceUID": 0x00080018, "StudyInstanceUID": 0x0020000D}
        data = element(tag.get(keyword, 0x0020000E), b"UI", value) + data
    with pytest.raises(UnreadableInstanceError, match=keyword) as raised:
        read_bytes(data)
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize("padding", [b"", b"\0", b" ", b"\0\0", b" \0"])
def test_a_padded_uid_is_read_without_its_padding(padding: bytes) -> None:
    data = element(0x00080018, b"UI", b"1.2.345" + padding) + encode(make_mg(SOPInstanceUID=None))
    assert read_bytes(data).facts.sop_instance_uid == "1.2.345"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"ROOM 2  ", "ROOM 2"),
        (b" ROOM 2\0", "ROOM 2"),
        (b"RO\0OM", "ROOM"),
        (b"A \\ B\\ ", "A\\B\\"),
        (b"RO\tOM\r\n2", "RO OM  2"),
        (b"\x01\x7f\x1b\x07", ""),
    ],
)
def test_padding_and_control_characters_are_stripped(raw: bytes, text: str) -> None:
    data = element(0x00081010, b"SH", raw) + encode(make_mg(StationName=None, SpecificCharacterSet=None))
    assert read_bytes(data).facts.get("StationName") == text


@pytest.mark.parametrize("size", [512, 513, 4096, 5000, 60_000])
def test_an_overlong_text_is_cut_and_flagged(size: int) -> None:
    data = element(0x00081030, b"LO", b"x" * size) + encode(make_mg())
    facts = read_bytes(data).facts
    assert facts.get("StudyDescription") == "x" * LONGEST_TEXT
    assert facts.flags == (("StudyDescription: cut at 512 characters",) if size > 512 else ())


def test_text_outside_its_character_set_is_replaced_and_flagged() -> None:
    data = element(0x00080005, b"CS", b"ISO_IR 192") + element(0x00100010, b"PN", b"SYNTH\xff^A ")
    facts = read_bytes(data + encode(make_mg(SpecificCharacterSet=None, PatientName=None))).facts
    assert facts.get("PatientName") == "SYNTH\ufffd^A"
    assert facts.flags == ("PatientName: not in its character set",)


def test_an_unknown_character_set_is_flagged() -> None:
    data = element(0x00080005, b"CS", b"KLINGON ") + encode(make_mg(SpecificCharacterSet=None))
    assert read_bytes(data).facts.flags == ("SpecificCharacterSet: not a defined term",)


def test_names_are_decoded_by_the_character_set() -> None:
    name = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"
    data = element(0x00080005, b"CS", b"\\ISO 2022 IR 87") + element(0x00100010, b"PN", name)
    facts = read_bytes(data + encode(make_mg(SpecificCharacterSet=None, PatientName=None))).facts
    assert facts.get("PatientName") == "Yamada^Tarou=山田^太郎"


@pytest.mark.parametrize(
    ("written", "kept"),
    [(b"20260504", "20260504"), (b"2026.05.04", "20260504"), (b"ANONYMIZED", "ANONYMIZED"), (b"        ", "")],
)
def test_dates_are_kept_in_one_form_where_they_are_dates(written: bytes, kept: str) -> None:
    data = element(0x00080020, b"DA", written) + encode(make_mg(StudyDate=None))
    assert read_bytes(data).facts.get("StudyDate") == kept


def test_an_attribute_that_an_archive_wrote_as_unknown_is_read_by_the_dictionary() -> None:
    data = b"\x28\0\x10\0UN\0\0\2\0\0\0\4\1" + b"\x08\0\x10\x10UN\0\0\6\0\0\0ROOM 2"
    facts = read_bytes(data + encode(make_mg(Rows=None, StationName=None))).facts
    assert facts.get("Rows") == "260"
    assert facts.get("StationName") == "ROOM 2"


def test_a_number_cut_short_is_flagged() -> None:
    data = element(0x00280010, b"US", b"\4") + encode(make_mg(Rows=None))
    facts = read_bytes(data).facts
    assert facts.get("Rows") == ""
    assert facts.flags == ("Rows: not a whole number of values",)


def test_a_sequence_in_the_place_of_a_text_is_flagged() -> None:
    data = b"\x08\0\x10\x10SQ\0\0\0\0\0\0" + encode(make_mg(StationName=None))
    facts = read_bytes(data).facts
    assert facts.get("StationName") == ""
    assert facts.flags == ("StationName: a sequence where a value belongs",)


def test_a_text_in_the_place_of_a_sequence_is_no_sequence() -> None:
    data = element(0x00540220, b"LO", b"CC") + encode(make_mg(ViewCodeSequence=None))
    assert json.loads(read_bytes(data).facts.get("ViewCodeSequence")) == []


def test_views_are_json() -> None:
    views = view_code("R-10242", "SNM3", "cranio-caudal")
    views[0].ViewModifierCodeSequence = Sequence([code("G-8310", "SRT", "specimen")])
    assert json.loads(facts_of(make_mg(ViewCodeSequence=views)).get("ViewCodeSequence")) == [
        {
            "CodeValue": "R-10242",
            "CodingSchemeDesignator": "SNM3",
            "CodeMeaning": "cranio-caudal",
            "ViewModifierCodeSequence": [
                {"CodeValue": "G-8310", "CodingSchemeDesignator": "SRT", "CodeMeaning": "specimen"}
            ],
        }
    ]


def test_an_item_may_have_a_character_set_of_its_own() -> None:
    views = view_code()
    views[0].SpecificCharacterSet = "ISO_IR 100"
    views[0].CodeMeaning = "crânio"
    facts = facts_of(make_mg(ViewCodeSequence=views))
    assert json.loads(facts.get("ViewCodeSequence"))[0]["CodeMeaning"] == "crânio"


def test_private_elements_are_named_by_creator_and_need_one() -> None:
    ds = make_mg()
    ds.private_block(0x0045, "GEMS_SENO_02", create=True).add_new(0x06, "DS", "15")
    ds.add_new(0x00450011, "LO", "GEMS_OTHER")
    ds.add_new(0x00451106, "DS", "7")
    ds.add_new(0x00451206, "DS", "9")
    attributes = facts_of(ds).attributes
    assert attributes["GEMS_SENO_02:0045,06"] == "15"
    assert attributes["GEMS_OTHER:0045,06"] == "7"
    assert not any(value == "9" for value in attributes.values())


@pytest.mark.parametrize(("element_hex", "value", "text"), [
    (0x71, b" " * 64, ""),
    (0x71, b"Source: 0.0\nTcount: 0", "Source: 0.0 Tcount: 0"),
    (0x71, b"\x01\x02\xff\xfe", "0102fffe"),
    (0x71, b"\xff" * 64, "64 bytes"),
])  # fmt: skip
def test_opaque_private_values_are_shown_as_what_they_are(element_hex: int, value: bytes, text: str) -> None:
    ds = make_mg()
    ds.private_block(0x0045, "GEMS_SENO_02", create=True).add_new(element_hex, "OB", value)
    assert facts_of(ds).get("GEMS_SENO_02:0045,71") == text


def test_a_known_private_element_is_read_in_implicit_vr() -> None:
    ds = make_mg()
    ds.private_block(0x0045, "GEMS_SENO_02", create=True).add_new(0x06, "DS", "15")
    ds.private_block(0x1269, "IMS s.r.l. Biopsy Private Code", create=True).add_new(0x01, "IS", "1")
    facts = facts_of(ds, "1.2.840.10008.1.2")
    assert facts.get("GEMS_SENO_02:0045,06") == "15"
    assert facts.get("IMS s.r.l. Biopsy Private Code:1269,01") == "1"


def test_the_earliest_nested_date_of_a_tomosynthesis_object_is_read() -> None:
    ds = make_bto()
    ds.ContributingSourcesSequence.append(item(AcquisitionDateTime="20260503", DeviceSerialNumber="SN-1002"))
    ds.ContributingSourcesSequence.append(item(AcquisitionDateTime="unknown"))
    facts = facts_of(ds)
    assert facts.get("ContributingSourcesSequence.AcquisitionDateTime") == "20260503"
    assert facts.get("ContributingSourcesSequence.DeviceSerialNumber") == "SN-1001\\SN-1002"
    assert facts.get("XRay3DAcquisitionSequence.StartAcquisitionDateTime") == "20260504090130"
    assert facts.get("FrameContentSequence.FrameAcquisitionDateTime") == "20260504090131"
    assert facts.get("FrameLaterality") == "L"


def test_biopsy_targets_are_found_in_the_functional_groups_too() -> None:
    target = Sequence([item(TargetUID="1.2.3")])
    ds = make_bto()
    ds.SharedFunctionalGroupsSequence[0].BiopsyTargetSequence = target
    assert json.loads(facts_of(ds).get("BiopsyTargetSequence")) == [{"TargetUID": "1.2.3"}]
    assert json.loads(facts_of(make_mg(BiopsyTargetSequence=target)).get("BiopsyTargetSequence")) == [
        {"TargetUID": "1.2.3"}
    ]
    assert "BiopsyTargetSequence" not in facts_of(make_bto()).attributes


def test_only_the_equipment_that_acquired_the_image_is_read_of_those_that_contributed() -> None:
    def equipment(purpose: str, serial: str) -> Dataset:
        purposes = Sequence([code(purpose, "DCM", "purpose")])
        return item(PurposeOfReferenceCodeSequence=purposes, DeviceSerialNumber=serial, Manufacturer="Synthetic")

    sequence = Sequence([equipment("109102", "PROCESSOR"), equipment("109101", "SN-7")])
    facts = facts_of(make_mg(ContributingEquipmentSequence=sequence))
    assert facts.get("ContributingEquipmentSequence.DeviceSerialNumber") == "SN-7"


def test_the_content_of_a_dose_report_becomes_attributes() -> None:
    facts = facts_of(make_rdsr(observer_serial="SN-9", protocol="STEREO"))
    assert facts.get("DeviceObserverSerialNumber") == "SN-9"
    assert facts.get("DeviceObserverManufacturer") == "Synthetic Imaging"
    assert facts.get("AcquisitionProtocol") == "STEREO"
    assert facts.get("DateTimeStarted") == "20260504090130"


def test_devices_keep_value_and_scheme_at_the_same_place() -> None:
    devices = Sequence([item(CodeMeaning="a paddle"), code("113685", "DCM", "phantom")])
    facts = facts_of(make_mg(DeviceSequence=devices))
    assert facts.get("DeviceSequence.CodeValue") == "\\113685"
    assert facts.get("DeviceSequence.CodingSchemeDesignator") == "\\DCM"


def test_a_rejecting_key_object_selection_names_what_it_rejects() -> None:
    images = [make_mg(), make_mg()]
    uids = tuple(str(image.SOPInstanceUID) for image in images)
    for title in ("113001", "113037", "113038", "113039"):
        assert facts_of(make_kos(images, title=(title, "Rejected"))).rejected_uids == uids
    assert facts_of(make_kos(images, title=("113000", "Of Interest"))).rejected_uids == ()
    assert facts_of(make_kos(images, ContentSequence=None)).rejected_uids == uids


def test_a_rejected_uid_that_is_none_is_left_out() -> None:
    kos = make_kos([make_mg()])
    kos.ContentSequence.append(item(ReferencedSOPSequence=Sequence([item(ReferencedSOPInstanceUID="x")])))
    good = kos.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    data = encode(kos)
    assert read_bytes(data).facts.rejected_uids == (good,)


def test_a_key_object_selection_with_many_references_is_read_whole() -> None:
    images = [Dataset() for _ in range(2000)]
    for image in images:
        image.SOPClassUID, image.SOPInstanceUID, image.StudyInstanceUID, image.PatientID = (
            "1.2.3", new_uid(), "1.2.4", "SYNTH",
        )  # fmt: skip
    assert len(facts_of(make_kos(images)).rejected_uids) == 2000


def test_facts_of_an_object_beyond_the_limits_are_those_before_them() -> None:
    deep = (b"\x99\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff") * 1000
    data = encode(make_mg(PixelData=None)) + deep
    facts = read_bytes(data).facts
    assert facts.flags == ("nested deeper than 32 sequences: not checked further",)
    assert facts.get("PatientID") == "SYNTH-0001"


def test_every_attribute_of_facts_has_a_name_that_a_rule_may_use() -> None:
    purpose = Sequence([code("109101", "DCM", "Acquisition Equipment")])
    equipment = Sequence([item(PurposeOfReferenceCodeSequence=purpose, DeviceSerialNumber="SN-7")])
    target = Sequence([item(TargetUID="1.2.3")])
    objects = [
        make_bto(ContributingEquipmentSequence=equipment, BiopsyTargetSequence=target),
        make_mg(phantom="113685", UDISequence=Sequence([item(UniqueDeviceIdentifier="X")])),
        make_rdsr(protocol="STEREO"),
        make_kos([make_mg()]),
        make_sc(),
    ]
    names = {name for ds in objects for name in facts_of(ds).attributes}
    assert names <= ATTRIBUTES
    assert NESTED_ATTRIBUTES - names < {
        "DeviceObserverName", "DeviceObserverModelName", "StationAETitle", "StartOfXRayIrradiation",
        *(f"{sequence}.{keyword}" for sequence in ("ContributingEquipmentSequence", "ContributingSourcesSequence")
          for keyword in ("Manufacturer", "ManufacturerModelName", "StationName", "InstitutionName")),
    }  # fmt: skip


def test_the_documentation_lists_the_attributes_a_rule_may_use() -> None:
    text = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text(encoding="utf-8")
    section = text.split("## Attributes that rules and attribute maps see")[1].split("\n## ")[0]
    assert set(re.findall(r"`([A-Z][A-Za-z0-9.]+)`", section)) == ATTRIBUTES
