from datetime import date

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dicom_node.accreditation.signals import Phantom, Role
from dicom_node.dicom.signals import _PHANTOMS
from tests.factories import code, item, make_bto, make_kos, make_mg, make_rdsr, make_sc
from tests.unit.dicom.reading import signals_of


def test_a_mammogram_tells_its_device_its_sender_and_its_patient() -> None:
    signals = signals_of(
        make_mg(DetectorID="DET-1", DeviceUID="1.2.3", StudyDescription="Mammo, left", ProtocolName="ROUTINE")
    )
    assert signals.role is Role.PRIMARY
    assert (signals.manufacturer, signals.model) == ("Synthetic Imaging", "Mammo One")
    assert (signals.device_serial, signals.station_name) == ("SN-1001", "UPRIGHT_A")
    assert signals.institution == "Synthetic Clinic"
    assert (signals.detector_id, signals.device_uid) == ("DET-1", "1.2.3")
    assert (signals.calling_ae, signals.called_ae, signals.peer_address) == ("UPRIGHT_A", "SBB_NODE", "127.0.0.1")
    assert signals.study_day == date(2026, 5, 4)
    assert signals.patient_id == "SYNTH-0001"
    assert signals.words == ("synth", "patient", "0001", "mammo", "left", "routine")
    assert signals.attributes["StudyDescription"] == "Mammo, left"
    assert (signals.phantom, signals.quality_control_image, signals.test_pattern) == (None, False, False)


@pytest.mark.parametrize(
    ("ds", "role"),
    [
        (make_bto(), Role.PRIMARY),
        (make_rdsr(), Role.EVIDENCE),
        (make_kos(), Role.CONTROL),
        (make_sc(), Role.SECONDARY),
        (make_sc(original=True), Role.PRIMARY),
    ],
)
def test_every_kind_of_object_has_its_role(ds: Dataset, role: Role) -> None:
    assert signals_of(ds).role is role


def test_words_are_whole_and_folded_and_come_once() -> None:
    signals = signals_of(make_mg(patient_name="QATAR^ACRES", patient_id="ACR-12", SeriesDescription="acr_phantom ACR"))
    assert signals.words == ("qatar", "acres", "acr", "12", "phantom")


def acquired_by(serial: str) -> Sequence:
    purpose = Sequence([code("109101", "DCM", "Acquisition Equipment")])
    return Sequence([item(PurposeOfReferenceCodeSequence=purpose, DeviceSerialNumber=serial, StationName="UPRIGHT_B")])


def test_the_device_that_acquired_comes_before_the_workstation_that_processed() -> None:
    signals = signals_of(make_mg(serial="WORKSTATION", ContributingEquipmentSequence=acquired_by("SN-2002")))
    assert (signals.device_serial, signals.station_name) == ("SN-2002", "UPRIGHT_B")
    assert signals.manufacturer == "Synthetic Imaging"


def test_a_tomosynthesis_object_is_of_the_device_of_its_one_source() -> None:
    ds = make_bto()
    ds.DeviceSerialNumber = "WORKSTATION"
    signals = signals_of(ds)
    assert signals.device_serial == "SN-1001"
    assert signals.detector_id == "DET-1"
    ds.ContributingSourcesSequence.append(item(DeviceSerialNumber="SN-2002", DetectorID="DET-2"))
    signals = signals_of(ds)
    assert signals.device_serial == "WORKSTATION"
    assert signals.detector_id == ""


def test_a_dose_report_without_a_serial_of_its_own_is_of_its_observer() -> None:
    ds = make_rdsr(observer_serial="SN-3003", DeviceSerialNumber=None)
    assert signals_of(ds).device_serial == "SN-3003"
    ds = make_rdsr(observer_serial="SN-3003", serial="SN-1001")
    assert signals_of(ds).device_serial == "SN-1001"


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_a_device_uid_that_is_the_studys_names_no_device(keyword: str) -> None:
    ds = make_mg()
    ds.DeviceUID = ds[keyword].value
    assert signals_of(ds).device_uid == ""


@pytest.mark.parametrize(
    ("value", "scheme", "phantom"),
    [
        ("113685", "DCM", Phantom.STEREOTACTIC),
        ("113684", "DCM", Phantom.OTHER),
        ("113691", "DCM", Phantom.OTHER),
        ("706342009", "SCT", Phantom.OTHER),
        ("113685", "99LOCAL", None),
        ("111111", "DCM", None),
    ],
)
def test_a_coded_phantom_is_recognised(value: str, scheme: str, phantom: Phantom | None) -> None:
    devices = Sequence([item(CodeMeaning="paddle"), code(value, scheme, "phantom")])
    assert signals_of(make_mg(DeviceSequence=devices)).phantom is phantom


def test_every_code_of_a_phantom_device_is_recognised_and_no_other_code_is() -> None:
    named = [Code(value, scheme, "") for value, scheme in _PHANTOMS]
    assert all(any(code == known for known in codes.cid4052.concepts.values()) for code in named)
    assert all(any(code == known for code in named) for known in codes.cid4052.concepts.values())


def test_a_quality_control_subject_is_a_phantom_of_unknown_kind_unless_it_is_coded() -> None:
    assert signals_of(make_mg(QualityControlSubject="YES")).phantom is Phantom.UNKNOWN_KIND
    assert signals_of(make_mg(QualityControlSubject="NO")).phantom is None
    assert signals_of(make_mg(phantom="113685", QualityControlSubject="YES")).phantom is Phantom.STEREOTACTIC


@pytest.mark.parametrize(("value", "flag"), [("YES", True), ("BOTH", True), ("NO", False), ("", False)])
def test_a_quality_control_image_is_one_unless_it_says_no_or_nothing(value: str, flag: bool) -> None:
    assert signals_of(make_mg(QualityControlImage=value)).quality_control_image is flag


@pytest.mark.parametrize(
    ("elements", "flag"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "", "FLAT_FIELD"]}, True),
        ({"SeriesDescription": "Flat field"}, True),
        ({"ProtocolName": "TESTPATTERN"}, True),
        ({"StudyDescription": "Test Pattern TG18"}, True),
        ({"StudyDescription": "Field test"}, False),
        ({"patient_name": "FLAT^FIELD"}, False),
    ],
)
def test_flat_fields_and_test_patterns_are_recognised_by_what_they_are_called(
    elements: dict[str, object], flag: bool
) -> None:
    assert signals_of(make_mg(**elements)).test_pattern is flag
