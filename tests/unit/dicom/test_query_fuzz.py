"""Whatever bytes a peer sends as an identifier: a query or a refusal, and never anything else."""

import contextlib
from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.dicom import zones
from dicom_node.dicom.answers import AnswerEncoder
from dicom_node.dicom.extended import Extended
from dicom_node.dicom.identifiers import Encoding, encoding_of
from dicom_node.dicom.matching import matches
from dicom_node.dicom.query import Query, Root, parse_query
from dicom_node.errors import InvalidQueryError
from tests.factories import encode, item
from tests.querying import identifier

ENCODINGS = st.builds(Encoding, implicit=st.booleans(), little_endian=st.booleans(), deflated=st.booleans())
TEXT = st.text(max_size=40)


EXTENDED = st.binary(max_size=8).map(Extended.of)


def read(data: bytes, encoding: Encoding, root: Root, extended: Extended) -> Query | None:
    with contextlib.suppress(InvalidQueryError):
        return parse_query(data, encoding, root, extended)
    return None


@given(data=st.binary(max_size=400), encoding=ENCODINGS, root=st.sampled_from(Root), extended=EXTENDED)
def test_random_bytes_are_refused_or_read(data: bytes, encoding: Encoding, root: Root, extended: Extended) -> None:
    read(data, encoding, root, extended)


SEED = identifier(
    "IMAGE", StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.4", PatientName="SYNTH^*", AcquisitionDate="20260101-",
    AcquisitionTime="10-", AcquisitionDateTime="20260101-20270101+0100", TimezoneOffsetFromUTC="+0100",
    StudyDate="20260101-20260102", StudyTime="10-1130", InstanceNumber="7", AccessionNumber="A\\B*", StudyID='""',
    Rows="12", ImageType="A*", UnitID="prone1", DaysLeft="3",
    ViewCodeSequence=[item(CodeValue="R-10242", ViewModifierCodeSequence=[item(CodeValue="G-8310")])],
)  # fmt: skip
SEEDS = [(encoding_of(syntax), encode(SEED, syntax)) for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)]


@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=6),
    stored=st.dictionaries(
        st.sampled_from(
            [
                "PatientName",
                "AcquisitionDate",
                "AcquisitionTime",
                "AcquisitionDateTime",
                "StudyDate",
                "StudyTime",
                "ImageType",
                "Rows",
                "ViewCodeSequence",
                "InstanceOffsetFromUTC",
            ]
        ),
        TEXT | st.sampled_from(["20260101", "1030", "00010101", "20260101103000.5-0500", "+0200"]),
    ),
    extended=st.sampled_from([b"", b"\1\1\1\1\1\1\1", b"\1\1\0\1", b"\1\0\1\0\0\1\1"]),
)
def test_a_damaged_identifier_that_is_read_can_be_matched_and_answered(
    seed: tuple[Encoding, bytes], changes: list[tuple[int, int]], stored: dict[str, str], extended: bytes
) -> None:
    encoding, whole = seed
    data = bytearray(whole)
    for at, value in changes:
        data[at % len(data)] = value
    query = read(bytes(data), encoding, Root.STUDY, Extended.of(extended))
    if query is not None:
        if query.zone is not None:
            zones.adjust(stored, query.zone, UTC)
        matches((*query.conditions, *query.instance_conditions), stored)
        answer = AnswerEncoder(query, encoding, retrieve_ae="SBB_NODE").encode(stored)
        assert len(answer) % 2 == 0
