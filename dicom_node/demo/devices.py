"""Simulated devices: the images they make, their C-STORE, and a peer's C-FIND. Nothing in them is of a person."""

import uuid
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # pynetdicom makes these names at run time
    StudyRootQueryRetrieveInformationModelFind,
)

from dicom_node.dicom.keys import BY_KEYWORD
from dicom_node.errors import DeliveryError

NODE_AE, HOST = "SBB_NODE", "127.0.0.1"

_NAMES = uuid.UUID("6f1f6b4e-6a0e-4f0c-9a63-0d6d0f6f2f5b")
"""Makes the UIDs of a demonstration the same each time, and nobody else's (PS3.5 B.2)."""

_ROWS = _COLUMNS = 64
_PHANTOM = ("113685", "DCM", "Stereotactic Breast Biopsy Accreditation Phantom")


class Kind(StrEnum):
    """What a simulated exam is of; the value names it in a sentence."""

    BIOPSY = "biopsy"
    PHANTOM = "phantom"
    MAMMOGRAM = "mammogram"


_STAGES = {
    Kind.BIOPSY: ("STEREO_SCOUT", "STEREO_MINUS", "STEREO_PLUS", "POSTFIRE_PLUS"),
    Kind.PHANTOM: ("STEREO_MINUS", "STEREO_PLUS"),
    Kind.MAMMOGRAM: ("", ""),
}
"""Image Type value 3 of each image of an exam (PS3.3 C.8.11.7.1.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device that sends: its AE title, and what its images say of where they were made ("": nothing)."""

    calling_ae: str
    serial: str = ""
    station: str = ""


def make_exam(device: Device, kind: Kind, day: date) -> list[Dataset]:
    """Return the images of one exam, as the device would send them."""
    about = f"{device.calling_ae}/{device.serial}/{device.station}/{kind}/{day}"
    return [_image(device, kind, day, about, number) for number in range(1, len(_STAGES[kind]) + 1)]


def send(device: Device, images: list[Dataset], port: int) -> None:
    """Store images in the node, on one association. Raises DeliveryError unless each is answered with 0x0000."""
    ae = AE(device.calling_ae)
    ae.add_requested_context(DigitalMammographyXRayImageStorageForPresentation, ExplicitVRLittleEndian)
    assoc = _associate(ae, port)
    try:
        answers = [assoc.send_c_store(image) for image in images]
    finally:
        assoc.release()
    for answer in answers:
        if answer.get("Status") != 0x0000:
            raise DeliveryError(f"the node did not store an image: {answer.get('ErrorComment', 'no answer')}")


def find_studies(calling_ae: str, port: int, *, unit_id: str, acquired: str) -> list[dict[str, str]]:
    """Ask the node for the studies of a unit by acquisition date, a range as in PS3.4 C.2.2.2.5.

    Returns for each study the text of AcquisitionDate and of the node's own Portion and CountsUntil. Raises
    DeliveryError when the query does not end with 0x0000.
    """
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = ""
    identifier.AcquisitionDate = acquired
    identifier.NumberOfStudyRelatedInstances = ""
    own = identifier.private_block(0x0079, "DICOM_NODE", create=True)
    for keyword, value in (("UnitID", unit_id), ("Portion", ""), ("CountsUntil", "")):
        key = BY_KEYWORD[keyword]
        own.add_new(key.tag & 0xFF, key.vr, value)
    ae = AE(calling_ae)
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind, ExplicitVRLittleEndian)
    assoc = _associate(ae, port)
    try:
        answers = list(assoc.send_c_find(identifier, StudyRootQueryRetrieveInformationModelFind))
    finally:
        assoc.release()
    if not answers or answers[-1][0].get("Status") != 0x0000:
        raise DeliveryError("the node did not answer a C-FIND")
    found = [study for _, study in answers if study is not None]
    return [
        {
            "AcquisitionDate": str(study.AcquisitionDate),
            "NumberOfStudyRelatedInstances": str(study.NumberOfStudyRelatedInstances),
            **{name: str(study[BY_KEYWORD[name].tag].value) for name in ("Portion", "CountsUntil")},
        }
        for study in found
    ]


def _associate(ae: AE, port: int) -> Association:
    assoc = ae.associate(HOST, port, ae_title=NODE_AE)
    if not assoc.is_established:
        raise DeliveryError(f"the node did not take an association from {ae.ae_title}")
    return assoc


def _image(device: Device, kind: Kind, day: date, about: str, number: int) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    ds.StudyInstanceUID = _uid(about)
    ds.SeriesInstanceUID = _uid(f"{about}/series")
    ds.SOPInstanceUID = _uid(f"{about}/{number}")
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = f"{day:%Y%m%d}"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = f"09{number:02}00"
    ds.AccessionNumber = ""
    ds.StudyID = "1"
    ds.SeriesNumber, ds.InstanceNumber = 1, number
    ds.PatientName = "SYNTH^DEMO"
    ds.PatientID = "ACRPHANTOM-1" if kind is Kind.PHANTOM else f"SYNTH-{day:%m%d}"
    ds.PatientBirthDate = ds.PatientSex = ""
    ds.ReferringPhysicianName = ""
    ds.Modality = "MG"
    ds.Manufacturer, ds.ManufacturerModelName = "Synthetic Imaging", "Demonstrator"
    ds.DeviceSerialNumber, ds.StationName = device.serial, device.station
    ds.ImageType = ["ORIGINAL", "PRIMARY", _STAGES[kind][number - 1]]
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.ImageLaterality, ds.ViewPosition = "L", "CC"
    if kind is Kind.PHANTOM:
        ds.DeviceSequence = Sequence([_code(*_PHANTOM)])
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = _ROWS, _COLUMNS
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    ds.PixelData = bytes(_ROWS * _COLUMNS * 2)
    ds["PixelData"].VR = "OW"
    return ds


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _uid(about: str) -> str:
    return f"2.25.{uuid.uuid5(_NAMES, about).int}"
