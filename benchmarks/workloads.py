"""What is sent: synthetic mammograms made in memory, with random pixels and the headers of a biopsy.

The instances of one batch have headers of equal length and share their pixels, so a batch needs the memory of one
instance and its messages can be put together before the clock starts.
"""

import functools
import random
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydicom.datadict import dictionary_VR, tag_for_keyword

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
    associations: tuple[int, ...] = (1, 4, 8)
    """Associations at once, in turn, unless others are asked for."""

    @property
    def pixel_bytes(self) -> int:
        """Bytes of the pixel data."""
        return self.rows * self.columns * self.frames * 2


WORKLOADS = {
    each.name: each
    for each in (
        Workload("small", "64 KiB", 800, 128, 256),
        Workload("prone", "2 MiB, a stereotactic image of a prone table", 120, 1024, 1024),
        Workload("upright", "17 MB, a full-field mammogram", 24, 3328, 2560),
        Workload("dbt", "150 MiB, a tomosynthesis volume", 4, 1280, 1024, 60, TOMOSYNTHESIS, (1, 4)),
        Workload("huge", "2 GiB", 4, 1024, 1024, 1024, TOMOSYNTHESIS, (4,)),
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
    instances = [_instance(workload, number, at) for at in range(count or workload.count)]
    if len({len(each.header) for each in instances}) != 1:
        raise AssertionError("headers of one batch differ in length")
    return Batch(workload, instances, _pixels(workload))


@functools.lru_cache(maxsize=2)  # of a workload and of the warm-up's: they are up to 2 GiB
def _pixels(workload: Workload) -> bytes:
    noise = random.Random(workload.name).randbytes(min(workload.pixel_bytes, 1 << 24))
    return (noise * (workload.pixel_bytes // len(noise) + 1))[: workload.pixel_bytes]


def _uid(batch: int, kind: int, number: int) -> str:
    """Return a UID of fixed length (PS3.5 B.2: a number below 2 to the 128 after 2.25)."""
    return f"2.25.1{batch:08d}{kind:04d}{number:012d}"


def _instance(workload: Workload, batch: int, at: int) -> Instance:
    study = at // PER_STUDY
    day = f"2026{study % 12 + 1:02d}{study % 28 + 1:02d}"
    time = f"{study % 10 + 8:02d}{at % 60:02d}00"
    study_uid, series_uid, sop_instance_uid = (_uid(batch, kind, at if kind == 3 else study) for kind in (1, 2, 3))
    header = encode(
        {
            **COMMON,
            "ImageType": "ORIGINAL\\PRIMARY\\\\STEREO_SCOUT",
            "SOPClassUID": workload.sop_class_uid,
            "SOPInstanceUID": sop_instance_uid,
            **dict.fromkeys(("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"), day),
            **dict.fromkeys(("StudyTime", "AcquisitionTime", "ContentTime"), time),
            "AccessionNumber": f"A{study:07d}",
            "StationName": f"UNIT{study % UNITS:02d}",
            "SeriesDescription": "SCOUT",
            "PatientName": f"SYNTH^PATIENT{study:06d}",
            "PatientID": f"P{study:06d}",
            "DeviceSerialNumber": f"SN{study % UNITS:04d}",
            "StudyInstanceUID": study_uid,
            "SeriesInstanceUID": series_uid,
            "StudyID": f"{study:06d}",
            "SeriesNumber": "1",
            "InstanceNumber": f"{at % PER_STUDY + 1:02d}",
            "ImageLaterality": "LR"[study % 2],
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "NumberOfFrames": str(workload.frames),
            "Rows": workload.rows,
            "Columns": workload.columns,
            "BitsAllocated": 16,
            "BitsStored": 14,
            "HighBit": 13,
            "PixelRepresentation": 0,
        }
    )
    pixel_element = struct.pack("<HH2s2xL", 0x7FE0, 0x0010, b"OW", workload.pixel_bytes)
    return Instance(study_uid, series_uid, sop_instance_uid, header + pixel_element)


COMMON: Mapping[str, str] = {
    "Modality": "MG",
    "PresentationIntentType": "FOR PRESENTATION",
    "Manufacturer": "Synthetic Imaging",
    "InstitutionName": "Synthetic Clinic",
    "StudyDescription": "STEREOTACTIC BIOPSY",
    "ManufacturerModelName": "Biopsy Table",
    "PatientBirthDate": "19600101",
    "PatientSex": "F",
    "KVP": "28",
    "SoftwareVersions": "1.0",
    "ViewPosition": "CC",
}
"""What all synthetic headers say."""


@functools.cache
def tag_and_vr(keyword: str) -> tuple[int, str]:
    """Return the tag and the value representation of an attribute (PS3.6)."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is no keyword")
    return tag, dictionary_VR(tag)


def encode(values: Mapping[str, str | int]) -> bytes:
    """Encode a flat data set of texts and unsigned shorts, by keyword, in explicit VR little endian (PS3.5 7.1.2)."""
    data = bytearray()
    for (tag, vr), value in sorted((tag_and_vr(keyword), value) for keyword, value in values.items()):
        body = struct.pack("<H", value) if isinstance(value, int) else value.encode("ascii")
        body += (b"\0" if vr == "UI" else b" ") * (len(body) % 2)
        data += struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode("ascii"), len(body)) + body
    return bytes(data)


def encode_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Encode the preamble and the file meta information of a Part 10 file (PS3.10 7.1)."""
    body = struct.pack("<HH2s2xL2s", 2, 1, b"OB", 2, b"\0\1") + encode(
        {
            "MediaStorageSOPClassUID": sop_class_uid,
            "MediaStorageSOPInstanceUID": sop_instance_uid,
            "TransferSyntaxUID": transfer_syntax_uid,
            "ImplementationClassUID": "2.25.1",
        }
    )
    return bytes(128) + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(body)) + body
