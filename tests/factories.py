"""Synthetic DICOM objects: each function returns a complete, small, legal pydicom Dataset with made-up values.

Every builder takes the same keyword arguments of `_base` (device, day, patient, UIDs) and any data element by its
keyword: ``make_mg(serial="SN-1", day=date(2026, 5, 4), stage="STEREO_MINUS", AccessionNumber="A1")``. A keyword given
as None leaves that element out. `encode` gives the data set bytes as they travel in a C-STORE, `write_file` a Part 10
file.
"""

import copy
import uuid
import zlib
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    BreastTomosynthesisImageStorage,
    DeflatedExplicitVRLittleEndian,
    DigitalMammographyXRayImageStorageForPresentation,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    KeyObjectSelectionDocumentStorage,
    SecondaryCaptureImageStorage,
    XRayRadiationDoseSRStorage,
)

DAY = date(2026, 5, 4)


def new_uid() -> str:
    """Return a UID nobody else has."""
    return f"2.25.{uuid.uuid4().int}"


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Return a code sequence item (PS3.3 8)."""
    ds = Dataset()
    ds.CodeValue = value
    ds.CodingSchemeDesignator = scheme
    ds.CodeMeaning = meaning
    return ds


def put(ds: Dataset, keyword: str, value: Any) -> None:
    """Set an element, also to a value that its VR forbids."""
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    ds[tag] = DataElement(tag, dictionary_VR(tag)[:2], value, validation_mode=IGNORE)


def item(**elements: Any) -> Dataset:
    """Return a sequence item with the given elements."""
    ds = Dataset()
    for keyword, value in elements.items():
        put(ds, keyword, value)
    return ds


def _da(day: date | None) -> str:
    return "" if day is None else day.strftime("%Y%m%d")


def _base(
    sop_class_uid: str,
    modality: str,
    *,
    serial: str = "SN-1001",
    station: str = "UPRIGHT_A",
    manufacturer: str = "Synthetic Imaging",
    model: str = "Mammo One",
    institution: str = "Synthetic Clinic",
    day: date | None = DAY,
    patient_id: str = "SYNTH-0001",
    patient_name: str = "SYNTH^PATIENT",
    study_uid: str | None = None,
    series_uid: str | None = None,
    sop_instance_uid: str | None = None,
) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = sop_class_uid
    ds.SOPInstanceUID = sop_instance_uid or new_uid()
    ds.StudyInstanceUID = study_uid or new_uid()
    ds.SeriesInstanceUID = series_uid or new_uid()
    ds.StudyDate = _da(day)
    ds.StudyTime = "090000"
    ds.SeriesDate = _da(day)
    ds.SeriesTime = "090100"
    ds.ContentDate = _da(day)
    ds.ContentTime = "090200"
    ds.AccessionNumber = "ACC-0001"
    ds.StudyID = "1"
    ds.SeriesNumber = 1
    ds.InstanceNumber = 1
    ds.Modality = modality
    ds.ReferringPhysicianName = ""
    ds.Manufacturer = manufacturer
    ds.ManufacturerModelName = model
    ds.InstitutionName = institution
    ds.StationName = station
    ds.DeviceSerialNumber = serial
    ds.SoftwareVersions = "1.0"
    ds.PatientName = patient_name
    ds.PatientID = patient_id
    ds.PatientBirthDate = "19700101"
    ds.PatientSex = "F"
    return ds


def _split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split keyword arguments in those of `_base` (lower case) and data elements (their keywords)."""
    base = {name: value for name, value in options.items() if name[0].islower()}
    return base, {name: value for name, value in options.items() if not name[0].islower()}


def _set_elements(ds: Dataset, elements: dict[str, Any]) -> Dataset:
    for keyword, value in elements.items():
        if value is None:
            if keyword in ds:
                delattr(ds, keyword)
        else:
            put(ds, keyword, value)
    return ds


def _set_pixels(ds: Dataset, rows: int = 4, columns: int = 6, frames: int = 1) -> None:
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows = rows
    ds.Columns = columns
    ds.BitsAllocated = 16
    ds.BitsStored = 12
    ds.HighBit = 11
    ds.PixelRepresentation = 0
    if frames > 1:
        ds.NumberOfFrames = frames
    ds.PixelData = bytes(range(256)) * (rows * columns * frames * 2 // 256 + 1)
    ds.PixelData = ds.PixelData[: rows * columns * frames * 2]
    ds["PixelData"].VR = "OW"


def view_code(value: str = "399162004", scheme: str = "SCT", meaning: str = "cranio-caudal") -> Sequence:
    """Return a View Code Sequence with an empty modifier sequence."""
    view = code(value, scheme, meaning)
    view.ViewModifierCodeSequence = Sequence()
    return Sequence([view])


def make_mg(
    *,
    stage: str = "",
    laterality: str = "L",
    phantom: str = "",
    quality_control: str = "",
    rows: int = 4,
    columns: int = 6,
    **options: Any,
) -> Dataset:
    """Return a mammography image for presentation.

    ``stage`` is Image Type value 3; ``phantom`` a DCM code of a phantom (113685 stereotactic, 113684 mammography);
    ``quality_control`` the value of Quality Control Image.
    """
    base, elements = _split(options)
    ds = _base(DigitalMammographyXRayImageStorageForPresentation, "MG", **base)
    ds.ImageType = ["ORIGINAL", "PRIMARY", stage]
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.AcquisitionDate = ds.StudyDate
    ds.AcquisitionTime = "090130"
    ds.ImageLaterality = laterality
    ds.ViewPosition = "CC"
    ds.ViewCodeSequence = view_code()
    ds.BurnedInAnnotation = "NO"
    if phantom:
        ds.DeviceSequence = Sequence([code(phantom, "DCM", "accreditation phantom")])
    if quality_control:
        ds.QualityControlImage = quality_control
    _set_pixels(ds, rows, columns)
    return _set_elements(ds, elements)


def make_stereo_pair(**options: Any) -> tuple[Dataset, Dataset]:
    """Return the two images of a stereotactic pair: same study and series, -15 and +15 degrees."""
    options = {"study_uid": new_uid(), "series_uid": new_uid()} | options
    minus = make_mg(stage="STEREO_MINUS", InstanceNumber=1, PositionerPrimaryAngle="-15", **options)
    plus = make_mg(stage="STEREO_PLUS", InstanceNumber=2, PositionerPrimaryAngle="15", **options)
    return minus, plus


def make_bto(*, stage: str = "TOMO_SCOUT", frames: int = 2, laterality: str = "L", **options: Any) -> Dataset:
    """Return a breast tomosynthesis object: its acquisition date stands in nested sequences only."""
    base, elements = _split(options)
    ds = _base(BreastTomosynthesisImageStorage, "MG", **base)
    started = f"{ds.StudyDate}090130" if ds.StudyDate else ""
    ds.ImageType = ["ORIGINAL", "PRIMARY", stage, "NONE"]
    ds.ContributingSourcesSequence = Sequence(
        [
            item(
                Manufacturer=ds.Manufacturer,
                ManufacturerModelName=ds.ManufacturerModelName,
                DeviceSerialNumber=ds.DeviceSerialNumber,
                DetectorID="DET-1",
                AcquisitionDateTime=started,
            )
        ]
    )
    ds.XRay3DAcquisitionSequence = Sequence([item(StartAcquisitionDateTime=started, PrimaryPositionerScanArc=15.0)])
    ds.SharedFunctionalGroupsSequence = Sequence(
        [item(FrameAnatomySequence=Sequence([item(FrameLaterality=laterality)]))]
    )
    ds.PerFrameFunctionalGroupsSequence = Sequence(
        item(
            FrameContentSequence=Sequence(
                [
                    item(
                        FrameAcquisitionDateTime=f"{started[:-2]}{31 + n:02}" if started else "",
                        FrameAcquisitionNumber=n,
                    )
                ]
            )
        )
        for n in range(frames)
    )
    ds.ViewCodeSequence = view_code()
    _set_pixels(ds, frames=frames)
    return _set_elements(ds, elements)


def _content(relationship: str, value_type: str, name: Dataset, **value: Any) -> Dataset:
    return item(RelationshipType=relationship, ValueType=value_type, ConceptNameCodeSequence=Sequence([name]), **value)


def make_rdsr(*, observer_serial: str | None = "SN-1001", protocol: str = "", **options: Any) -> Dataset:
    """Return an X-ray radiation dose report of one irradiation event, whose observer is the unit (TID 1002, 10003)."""
    base, elements = _split(options)
    ds = _base(XRayRadiationDoseSRStorage, "SR", **base)
    started = f"{ds.StudyDate}090130" if ds.StudyDate else ""
    event = [_content("CONTAINS", "DATETIME", code("111526", "DCM", "DateTime Started"), DateTime=started)]
    if protocol:
        event.append(_content("CONTAINS", "TEXT", code("125203", "DCM", "Acquisition Protocol"), TextValue=protocol))
    content = [
        _content("HAS OBS CONTEXT", "UIDREF", code("121012", "DCM", "Device Observer UID"), UID=new_uid()),
        _content(
            "HAS OBS CONTEXT", "TEXT", code("121014", "DCM", "Device Observer Manufacturer"), TextValue=ds.Manufacturer
        ),
    ]
    if observer_serial is not None:
        content.append(
            _content(
                "HAS OBS CONTEXT",
                "TEXT",
                code("121016", "DCM", "Device Observer Serial Number"),
                TextValue=observer_serial,
            )
        )
    content.append(
        _content(
            "CONTAINS",
            "CONTAINER",
            code("113706", "DCM", "Irradiation Event X-Ray Data"),
            ContinuityOfContent="SEPARATE",
            ContentSequence=Sequence(event),
        )
    )
    ds.ValueType = "CONTAINER"
    ds.ContinuityOfContent = "SEPARATE"
    ds.CompletionFlag = "COMPLETE"
    ds.VerificationFlag = "UNVERIFIED"
    ds.ConceptNameCodeSequence = Sequence([code("113701", "DCM", "X-Ray Radiation Dose Report")])
    ds.ContentSequence = Sequence(content)
    return _set_elements(ds, elements)


def make_kos(
    rejected: Iterable[Dataset] = (),
    *,
    title: tuple[str, str] = ("113001", "Rejected for Quality Reasons"),
    **options: Any,
) -> Dataset:
    """Return a key object selection that refers to ``rejected``; the default title rejects them."""
    base, elements = _split(options)
    images = list(rejected)
    if images:
        base = {"study_uid": images[0].StudyInstanceUID, "patient_id": images[0].PatientID} | base
    ds = _base(KeyObjectSelectionDocumentStorage, "KO", **base)
    references = [
        item(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID) for image in images
    ]
    ds.ValueType = "CONTAINER"
    ds.ContinuityOfContent = "SEPARATE"
    ds.ConceptNameCodeSequence = Sequence([code(title[0], "DCM", title[1])])
    ds.CurrentRequestedProcedureEvidenceSequence = Sequence(
        [
            item(
                StudyInstanceUID=ds.StudyInstanceUID,
                ReferencedSeriesSequence=Sequence(
                    [item(SeriesInstanceUID=new_uid(), ReferencedSOPSequence=Sequence(references))]
                ),
            )
        ]
    )
    ds.ContentSequence = Sequence(
        item(RelationshipType="CONTAINS", ValueType="IMAGE", ReferencedSOPSequence=Sequence([reference]))
        for reference in references
    )
    return _set_elements(ds, elements)


def make_sc(*, original: bool = False, **options: Any) -> Dataset:
    """Return a secondary capture; ``original`` makes it the vendor's way to send a real projection (Modality MG)."""
    base, elements = _split(options)
    ds = _base(SecondaryCaptureImageStorage, "MG" if original else "OT", **base)
    ds.ImageType = ["ORIGINAL" if original else "DERIVED", "PRIMARY" if original else "SECONDARY"]
    ds.ConversionType = "WSD"
    ds.DateOfSecondaryCapture = ds.StudyDate
    _set_pixels(ds)
    return _set_elements(ds, elements)


def make_document(*, sop_class_uid: str = EncapsulatedPDFStorage, **options: Any) -> Dataset:
    """Return an encapsulated document, a PDF unless another class is given."""
    base, elements = _split(options)
    ds = _base(sop_class_uid, "DOC", **base)
    ds.ConversionType = "WSD"
    ds.BurnedInAnnotation = "NO"
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocument = b"%PDF-1.4 synthetic" + b"\0" * 2
    return _set_elements(ds, elements)


def encode(ds: Dataset, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> bytes:
    """Return the bytes of the data set as they travel in a C-STORE, pixel data encapsulated where that is the rule."""
    syntax = UID(transfer_syntax_uid)
    if syntax.is_encapsulated and "PixelData" in ds:
        pixels = ds.PixelData
        ds = copy.deepcopy(ds)
        ds.PixelData = encapsulate([pixels])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = syntax.is_implicit_VR
    buffer.is_little_endian = syntax.is_little_endian
    write_dataset(buffer, ds)
    if syntax == DeflatedExplicitVRLittleEndian:
        compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        deflated = compressor.compress(buffer.getvalue()) + compressor.flush()
        return deflated + b"\0" * (len(deflated) % 2)
    return buffer.getvalue()


def write_file(path: Path, ds: Dataset, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> Path:
    """Write ``ds`` as a Part 10 file, as a peer program would, and return its path."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = UID("2.25.1")
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta)
    path.write_bytes(b"\0" * 128 + b"DICM" + buffer.getvalue() + encode(ds, transfer_syntax_uid))
    return path
