"""Identifiers read by hand against pydicom's reading of the same bytes."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_node.dicom.identifiers import Element, encoding_of, read_elements
from tests.factories import encode

SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
TEXT_KEYS = ["PatientName", "PatientID", "AccessionNumber", "StudyDescription"]
UID_KEYS = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
SEQUENCES = ["ReferencedStudySequence", "ViewCodeSequence", "RequestAttributesSequence"]

texts = st.text(st.sampled_from("ABZ019*?^-."), max_size=15)
uids = st.lists(st.integers(0, 10**9), min_size=2, max_size=6).map(lambda parts: ".".join(map(str, parts)))


def datasets(depth: int = 0) -> st.SearchStrategy[Dataset]:
    """Data sets of keys, up to three levels of sequences."""
    keys: dict[str, st.SearchStrategy[object]] = {
        **dict.fromkeys(TEXT_KEYS, texts),
        **dict.fromkeys(UID_KEYS, uids | st.just("")),
        "StudyDate": st.sampled_from(["", "20261123", "20261001-", "20260101-20261123"]),
        "ModalitiesInStudy": st.sampled_from(["", "MG", "MG\\\\SR"]),
    }
    if depth < 3:
        keys |= dict.fromkeys(SEQUENCES, st.lists(datasets(depth + 1), max_size=2))
    return st.lists(st.sampled_from(sorted(keys)), unique=True, max_size=5).flatmap(
        lambda names: st.fixed_dictionaries({name: keys[name] for name in names}).map(_dataset)
    )


def _dataset(values: dict[str, object]) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, Sequence(value) if isinstance(value, list) else value)
    return ds


def _encoded(ds: Dataset, syntax: UID, *, undefined: bool) -> bytes:
    for element in ds.iterall():
        if element.VR == "SQ":
            element.is_undefined_length = undefined
    return encode(ds, syntax)


def _as_pydicom_reads(ds: Dataset) -> tuple[Element, ...]:
    found = []
    for tag in sorted(ds.keys()):
        raw = ds.get_item(tag)
        value = raw.value if isinstance(raw, RawDataElement) else b""
        element = ds[tag]
        items = tuple(_as_pydicom_reads(item) for item in element.value) if element.VR == "SQ" else None
        found.append(Element(int(tag), value or b"" if items is None else b"", items))
    return tuple(found)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
@given(ds=datasets(), undefined=st.booleans())
def test_an_identifier_is_read_as_pydicom_reads_it(syntax: UID, ds: Dataset, undefined: bool) -> None:
    data = _encoded(ds, syntax, undefined=undefined)
    read = read_elements(data, encoding_of(syntax))
    file = BytesIO()
    meta = b"\2\0\x10\0UI" + len(_even(syntax)).to_bytes(2, "little") + _even(syntax)
    file.write(bytes(128) + b"DICM\2\0\0\0UL\4\0" + len(meta).to_bytes(4, "little") + meta + data)
    file.seek(0)
    assert read == _as_pydicom_reads(dcmread(file))


def _even(uid: str) -> bytes:
    return uid.encode() + b"\0" * (len(uid) % 2)
