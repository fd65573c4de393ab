"""Simulated devices: the images they make, their C-STORE, and a peer's C-FIND. Nothing in them is of a person."""

import uuid
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from io import BytesIO

from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation, ExplicitVRLittleEndian
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # pynetdicom makes these names at run time
    StudyRootQueryRetrieveInformationModelFind,
)

from dicom_node.dicom.asking import answer_as_names, encode_request, parse_key, read_answer
from dicom_node.dicom.identifiers import encoding_of
from dicom_node.dicom.keys import Level
from dicom_node.dimse.calling import Calling, Patience, Proposed, call
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
    SPECIMEN = "specimen radiograph"


_STAGES = {
    Kind.BIOPSY: ("STEREO_SCOUT", "PREFIRE_MINUS", "PREFIRE_PLUS", "POSTFIRE_PLUS"),
    Kind.PHANTOM: ("STEREO_MINUS", "STEREO_PLUS"),
    Kind.MAMMOGRAM: ("", ""),
    Kind.SPECIMEN: ("",),
}
"""Image Type value 3 of each image of an exam (PS3.3 C.8.11.7.1.4)."""

_CC = ("399162004", "SCT", "cranio-caudal")
_MLO = ("399368009", "SCT", "medio-lateral oblique")
_OF_SPECIMEN = ("127457009", "SCT", "Tissue specimen obtained by biopsy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device that sends: its AE title, and what its images say of where they were made ("": nothing)."""

    calling_ae: str
    serial: str = ""
    station: str = ""


def make_exam(device: Device, kind: Kind, day: date, *, patient_id: str = "") -> list[Dataset]:
    """Return the images of one exam, as the device would send them.

    A biopsy has what a case needs but its mammogram and its specimen: make them, on their own days and devices, with
    the same ``patient_id``. Else the patient is one of the day.
    """
    about = f"{device.calling_ae}/{device.serial}/{device.station}/{kind}/{day}"
    patient_id = patient_id or ("ACRPHANTOM-1" if kind is Kind.PHANTOM else f"SYNTH-{day:%m%d}")
    return [
        _image(device, kind, day, patient_id, about=about, number=number) for number in range(1, len(_STAGES[kind]) + 1)
    ]


def encode(image: Dataset) -> bytes:
    """Return an image as it travels, in explicit VR little endian."""
    buffer = BytesIO()
    dcmwrite(buffer, image, implicit_vr=False, little_endian=True)
    return buffer.getvalue()


def send(device: Device, images: list[Dataset], port: int) -> None:
    """Store images in the node, on one association. Raises PeerError, and DeliveryError for another answer than 0."""
    with _call(device.calling_ae, port, DigitalMammographyXRayImageStorageForPresentation) as node:
        for image in images:
            status, comment = node.store(
                node.context(image.SOPClassUID),
                sop_class_uid=image.SOPClassUID,
                sop_instance_uid=image.SOPInstanceUID,
                data=[encode(image)],
            )
            if status:
                raise DeliveryError(f"the node did not store an image: {status:04X} {comment}")


def find_studies(calling_ae: str, port: int, *, unit_id: str, acquired: str) -> list[dict[str, str]]:
    """Ask the node for the studies of a unit by acquisition date, a range as in PS3.4 C.2.2.2.5.

    Returns for each study the text of AcquisitionDate and of the node's own Portion and CountsUntil. Raises PeerError,
    and DeliveryError when the query does not end with 0x0000.
    """
    shown = ("AcquisitionDate", "NumberOfStudyRelatedInstances", "Portion", "CountsUntil")
    keys = [f"AcquisitionDate={acquired}", f"UnitID={unit_id}", "StudyInstanceUID", *shown[1:]]
    encoding = encoding_of(ExplicitVRLittleEndian)
    identifier = encode_request(map(parse_key, keys), Level.STUDY, encoding)
    model = StudyRootQueryRetrieveInformationModelFind
    with _call(calling_ae, port, model) as node:
        *answers, final = node.find(node.context(model), identifier)
    if final.status:
        raise DeliveryError("the node did not answer a C-FIND")
    found = [answer_as_names(read_answer(answer.data_set, encoding)) for answer in answers]
    return [{name: study[name] for name in shown} for study in found]


def _call(calling_ae: str, port: int, sop_class_uid: str) -> Calling:
    return call(
        (HOST, port),
        calling_ae=calling_ae,
        called_ae=NODE_AE,
        contexts=[Proposed(sop_class_uid, (ExplicitVRLittleEndian,))],
        patience=Patience(),
    )


def _image(device: Device, kind: Kind, day: date, patient_id: str, *, about: str, number: int) -> Dataset:
    ds = Dataset()
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
    ds.PatientID = patient_id
    ds.PatientBirthDate = ds.PatientSex = ""
    ds.ReferringPhysicianName = ""
    ds.Modality = "MG"
    ds.Manufacturer, ds.ManufacturerModelName = "Synthetic Imaging", "Demonstrator"
    ds.DeviceSerialNumber, ds.StationName = device.serial, device.station
    ds.ImageType = ["ORIGINAL", "PRIMARY", _STAGES[kind][number - 1]]
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.InstitutionName, ds.OperatorsName = "Demonstration Center", "SYNTH^OPERATOR"
    ds.ImageLaterality, ds.BurnedInAnnotation = "L", "NO"
    oblique = kind is Kind.MAMMOGRAM and number > 1
    ds.ViewPosition = "MLO" if oblique else "CC"
    view = _code(*(_MLO if oblique else _CC))
    view.ViewModifierCodeSequence = Sequence([_code(*_OF_SPECIMEN)] if kind is Kind.SPECIMEN else [])
    ds.ViewCodeSequence = Sequence([view])
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
