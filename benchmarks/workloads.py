"""What is sent: synthetic mammograms made in memory, with random pixels and the headers of a biopsy.

The instances of one batch have headers of equal length and share their pixels, so a batch needs the memory of one
instance and its messages can be put together before the clock starts.
"""

import io
import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset

MAMMOGRAM = "1.2.840.10008.5.1.4.1.1.1.2"
TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"

PER_STUDY = 12
UNITS = 4
"""Units whose serials turn up in the headers."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A kind of instance, and how many are sent in one round."""

    name: str
    title: str
    count: int
    rows: int
    columns: int
    frames: int = 1
    sop_class_uid: str = MAMMOGRAM

    @property
    def pixel_bytes(self) -> int:
        """Bytes of the pixel data."""
        return self.rows * self.columns * self.frames * 2


WORKLOADS = {
    each.name: each
    for each in (
        Workload("small", "64 KiB", 1000, 128, 256),
        Workload("prone", "2 MiB, a stereotactic image of a prone table", 200, 1024, 1024),
        Workload("upright", "17 MB, a full-field mammogram", 40, 3328, 2560),
        Workload("dbt", "150 MiB, a tomosynthesis volume", 8, 1280, 1024, 60, TOMOSYNTHESIS),
        Workload("huge", "2 GiB", 4, 1024, 1024, 1024, TOMOSYNTHESIS),
    )
}
"""By name."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance without its pixels."""

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    header: bytes
    """The data set up to the pixel data's value, in explicit VR little endian."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Instances of one workload; each data set is a header and the shared pixels."""

    workload: Workload
    instances: Sequence[Instance]
    pixels: bytes

    @property
    def instance_bytes(self) -> int:
        """Bytes of one data set."""
        return len(self.instances[0].header) + len(self.pixels)

    @property
    def bytes(self) -> int:
        """Bytes of all data sets."""
        return len(self.instances) * self.instance_bytes

    def series(self) -> Iterator[tuple[str, str]]:
        """Yield the study and series UID of each series."""
        return iter(dict.fromkeys((each.study_uid, each.series_uid) for each in self.instances))


def make_batch(workload: Workload, count: int = 0, number: int = 1) -> Batch:
    """Make ``count`` instances (0: as many as the workload has). Batches of different numbers share no UID."""
    pixels = random.Random(workload.name).randbytes(min(workload.pixel_bytes, 1 << 24))
    pixels = (pixels * (workload.pixel_bytes // len(pixels) + 1))[: workload.pixel_bytes]
    instances = [_instance(workload, number, at) for at in range(count or workload.count)]
    if len({len(each.header) for each in instances}) != 1:
        raise AssertionError("headers of one batch differ in length")
    return Batch(workload, instances, pixels)


def _uid(batch: int, kind: int, number: int) -> str:
    """Return a UID of fixed length (PS3.5 B.2: a number below 2 to the 128 after 2.25)."""
    return f"2.25.1{batch:08d}{kind:04d}{number:012d}"


def _instance(workload: Workload, batch: int, at: int) -> Instance:
    study = at // PER_STUDY
    ds = Dataset()
    ds.ImageType = ["ORIGINAL", "PRIMARY", "", "STEREO_SCOUT"]
    ds.SOPClassUID = workload.sop_class_uid
    ds.SOPInstanceUID = _uid(batch, 3, at)
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = f"2026{study % 12 + 1:02d}{study % 28 + 1:02d}"
    ds.StudyTime = ds.AcquisitionTime = ds.ContentTime = f"{study % 10 + 8:02d}{at % 60:02d}00"
    ds.AccessionNumber = f"A{study:07d}"
    ds.Modality = "MG"
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.Manufacturer = "Synthetic Imaging"
    ds.InstitutionName = "Synthetic Clinic"
    ds.StationName = f"UNIT{study % UNITS:02d}"
    ds.StudyDescription = "STEREOTACTIC BIOPSY"
    ds.SeriesDescription = "SCOUT"
    ds.ManufacturerModelName = "Biopsy Table"
    ds.PatientName = f"SYNTH^PATIENT{study:06d}"
    ds.PatientID = f"P{study:06d}"
    ds.PatientBirthDate = "19600101"
    ds.PatientSex = "F"
    ds.KVP = "28"
    ds.DeviceSerialNumber = f"SN{study % UNITS:04d}"
    ds.SoftwareVersions = "1.0"
    ds.ViewPosition = "CC"
    ds.StudyInstanceUID = _uid(batch, 1, study)
    ds.SeriesInstanceUID = _uid(batch, 2, study)
    ds.StudyID = f"{study:06d}"
    ds.SeriesNumber = 1
    ds.InstanceNumber = f"{at % PER_STUDY + 1:02d}"
    ds.ImageLaterality = "LR"[study % 2]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    if workload.frames > 1:
        ds.NumberOfFrames = workload.frames
    ds.Rows, ds.Columns = workload.rows, workload.columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 14, 13
    ds.PixelRepresentation = 0
    pixel_element = struct.pack("<HH2s2xL", 0x7FE0, 0x0010, b"OW", workload.pixel_bytes)
    return Instance(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID, encode(ds) + pixel_element)


def encode(ds: Dataset) -> bytes:
    """Return a data set in explicit VR little endian."""
    out = io.BytesIO()
    file = DicomIO(out)
    file.is_implicit_VR, file.is_little_endian = False, True
    write_dataset(file, ds)
    return out.getvalue()
