"""A DICOMDIR: the directory of a file set, written from the headers of its files (PS3.3 annex F, PS3.10 clause 8).

The files themselves are never opened here and never changed: a directory record tells what a header tells, and what a
header lacks although its record must have it (PS3.3 F.5) is made up in the record alone.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pydicom.uid import EncapsulatedCDAStorage, ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from dicom_node.dicom.datetimes import parse_da
from dicom_node.dicom.facts import InstanceFacts
from dicom_node.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.dicom.uids import DOCUMENTS

_IN_USE = 0xFFFF
_UTF_8 = "ISO_IR 192"
_SHORT_VRS = {"CS": 16, "DA": 8, "IS": 12, "LO": 64, "PN": 324, "SH": 16, "ST": 1024, "TM": 14, "UI": 64}
"""Value representations of the records, and the characters their values have room for (PS3.5 6.2)."""

_MADE_UP = {
    "PatientID": "UNKNOWN",
    "StudyDate": "19000101",
    "StudyTime": "000000",
    "StudyID": "1",
    "Modality": "OT",
    "SeriesNumber": "1",
    "InstanceNumber": "1",
}
"""Stands in a record for what it must have (Type 1) and the header has not; as DCMTK's dcmgpdir invents it."""


@dataclass(frozen=True, slots=True)
class Filed:
    """A file of the set, with its header."""

    file_id: tuple[str, ...]
    """Its path from the DICOMDIR: at most 8 parts, each at most 8 of ``A-Z0-9_`` (PS3.10 8.5)."""
    facts: InstanceFacts


@dataclass(slots=True)
class _Record:
    """A directory record: its elements but the offsets, and the records below it."""

    type: str
    elements: list[tuple[int, str, str]]
    """Tag, VR, text; in no order."""
    below: list["_Record"] = field(default_factory=list)
    body: bytes = b""
    offset: int = 0
    """Bytes from the beginning of the file to the record's item."""


def build_directory(files: Iterable[Filed], instance_uid: str, file_set_id: str = "") -> bytes:
    """Return the bytes of a DICOMDIR of ``files``, each found under its patient, study and series, in their order.

    ``instance_uid`` is the directory's own SOP Instance UID, ``file_set_id`` at most 16 of ``A-Z0-9_``.
    """
    patients = _tree(files)
    meta = _meta(instance_uid)
    head = [_text(0x00041130, "CS", file_set_id)]
    # Element (0004,1220) begins after the four before it; its first item 12 bytes later.
    start = len(meta) + len(head[0]) + 12 + 12 + 10 + 12
    everything = list(_placed(patients, start))
    first, last = (patients[0].offset, patients[-1].offset) if patients else (0, 0)
    head += [_long(0x00041200, first), _long(0x00041202, last), _short(0x00041212, 0)]
    items = b"".join(_item(record, following) for record, following in everything)
    return meta + b"".join(head) + struct.pack("<HH2sHI", 0x0004, 0x1220, b"SQ", 0, len(items)) + items


def _tree(files: Iterable[Filed]) -> list[_Record]:
    patients: dict[tuple[str, ...], _Record] = {}
    studies: dict[tuple[str, ...], _Record] = {}
    series: dict[tuple[str, ...], _Record] = {}
    for filed in files:
        facts = filed.facts
        patient = (facts.get("PatientID"), facts.get("PatientName"))
        study = (*patient, facts.study_uid)
        in_series = (*study, facts.series_uid)
        if patient not in patients:
            patients[patient] = _record("PATIENT", facts, ((0x00100010, "PN", "PatientName"),
                                                           (0x00100020, "LO", "PatientID")))  # fmt: skip
        if study not in studies:
            studies[study] = _record("STUDY", facts, _STUDY)
            patients[patient].below.append(studies[study])
        if in_series not in series:
            series[in_series] = _record("SERIES", facts, _SERIES)
            studies[study].below.append(series[in_series])
        series[in_series].below.append(_leaf(filed))
    return list(patients.values())


_STUDY = (
    (0x00080020, "DA", "StudyDate"),
    (0x00080030, "TM", "StudyTime"),
    (0x00080050, "SH", "AccessionNumber"),
    (0x00081030, "LO", "StudyDescription"),
    (0x0020000D, "UI", "StudyInstanceUID"),
    (0x00200010, "SH", "StudyID"),
)
_SERIES = (
    (0x00080060, "CS", "Modality"),
    (0x0020000E, "UI", "SeriesInstanceUID"),
    (0x00200011, "IS", "SeriesNumber"),
)
_IMAGE = ((0x00200013, "IS", "InstanceNumber"),)
_DOCUMENT = (
    (0x00080023, "DA", "ContentDate"),
    (0x00080033, "TM", "ContentTime"),
    (0x00200013, "IS", "InstanceNumber"),
    (0x00420010, "ST", "DocumentTitle"),
)


def _leaf(filed: Filed) -> _Record:
    facts = filed.facts
    if facts.sop_class_uid in DOCUMENTS:
        record = _record("ENCAP DOC", facts, _DOCUMENT)
        mime = "text/XML" if facts.sop_class_uid == EncapsulatedCDAStorage else "application/pdf"
        record.elements.append((0x00420012, "LO", mime))
    else:
        record = _record("IMAGE", facts, _IMAGE)
    record.elements += (
        (0x00041500, "CS", "\\".join(filed.file_id)),
        (0x00041510, "UI", facts.sop_class_uid),
        (0x00041511, "UI", facts.sop_instance_uid),
        (0x00041512, "UI", facts.transfer_syntax_uid),
    )
    return record


def _record(of_type: str, facts: InstanceFacts, keys: Sequence[tuple[int, str, str]]) -> _Record:
    elements = [(tag, vr, _told(facts.get(keyword), vr) or _MADE_UP.get(keyword, "")) for tag, vr, keyword in keys]
    if not all(text.isascii() for _, _, text in elements):
        elements.append((0x00080005, "CS", _UTF_8))
    return _Record(of_type, elements)


def _told(text: str, vr: str) -> str:
    """Return what a header tells, "" for a date that is none: a record's dates are."""
    return "" if vr == "DA" and parse_da(text) is None else text.strip()


def _placed(records: Sequence[_Record], start: int) -> Iterator[tuple[_Record, int]]:
    """Yield every record as it stands in the file, with the offset of its next sibling (0 for none).

    ``start`` is the offset of the first. Records below one follow it at once.
    """
    flat: list[tuple[_Record, _Record | None]] = []
    _flatten(records, flat)
    for record, _ in flat:
        record.body = _body(record)
        record.offset = start
        start += 8 + 12 + 10 + 12 + len(record.body)
    for record, following in flat:
        yield record, 0 if following is None else following.offset


def _flatten(records: Sequence[_Record], into: list[tuple[_Record, _Record | None]]) -> None:
    for place, record in enumerate(records, start=1):
        into.append((record, records[place] if place < len(records) else None))
        _flatten(record.below, into)


def _body(record: _Record) -> bytes:
    """Return a record's elements after the three that place it, in the order of their tags."""
    elements = [(0x00041430, "CS", record.type), *record.elements]
    return b"".join(_text(tag, vr, text) for tag, vr, text in sorted(elements))


def _item(record: _Record, following: int) -> bytes:
    below = record.below[0].offset if record.below else 0
    content = _long(0x00041400, following) + _short(0x00041410, _IN_USE) + _long(0x00041420, below) + record.body
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def _meta(instance_uid: str) -> bytes:
    elements = b"".join(
        (
            struct.pack("<HH2sHI2s", 0x0002, 0x0001, b"OB", 0, 2, b"\0\1"),
            _text(0x00020002, "UI", MediaStorageDirectoryStorage),
            _text(0x00020003, "UI", instance_uid),
            _text(0x00020010, "UI", ExplicitVRLittleEndian),
            _text(0x00020012, "UI", IMPLEMENTATION_CLASS_UID),
            _text(0x00020013, "SH", IMPLEMENTATION_VERSION_NAME),
        )
    )
    return bytes(128) + b"DICM" + _long(0x00020000, len(elements)) + elements


def _text(tag: int, vr: str, text: str) -> bytes:
    """Encode an element; a text that its VR has no room for is cut, never the bytes of one character."""
    if tag != 0x00041500:  # a file ID has several values, each short enough
        text = text[: _SHORT_VRS[vr]]
    value = text.encode("utf-8", "replace")
    value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


def _long(tag: int, value: int) -> bytes:
    return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, b"UL", 4, value)


def _short(tag: int, value: int) -> bytes:
    return struct.pack("<HH2sHH", tag >> 16, tag & 0xFFFF, b"US", 2, value)
