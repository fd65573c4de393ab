"""Whatever a peer sends, reading it gives facts that fit the index or one kind of error."""

from functools import cache

from hypothesis import example, given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_node.dicom.uids import TRANSFER_SYNTAXES, is_uid
from dicom_node.dicom.values import LONGEST_TEXT
from dicom_node.errors import UnreadableInstanceError
from tests.factories import code, encode, item, make_bto, make_kos, make_mg, make_rdsr, make_sc
from tests.unit.dicom.reading import read_bytes

SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.70"]


@cache
def samples() -> tuple[tuple[str, bytes], ...]:
    """Return a data set of every kind in every structure of transfer syntax, with the same bytes in every run."""
    rich = make_mg(
        SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎", stage="STEREO_MINUS",
        DeviceSequence=Sequence([code("113685", "DCM", "phantom")]), SoftwareVersions=["1", "2"],
        BiopsyTargetSequence=Sequence([item(TargetUID="1.2.3")]), PositionerPrimaryAngle="-15",
    )  # fmt: skip
    rich.private_block(0x0045, "GEMS_SENO_02", create=True).add_new(0x06, "DS", "15")
    objects: list[Dataset] = [rich, make_bto(), make_rdsr(protocol="STEREO"), make_kos([make_mg()]), make_sc()]
    for number, ds in enumerate(objects):
        for place, keyword in enumerate(("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")):
            setattr(ds, keyword, f"1.2.{number}.{place}")
    return tuple((syntax, encode(ds, syntax)) for ds in objects for syntax in SYNTAXES)


_TELLING = [
    b"\0", b"\xff\xff\xff\xff", b"\xff\xff", b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0", b"SQ",
    b"UN", b"\x1b$B", b"\\", b"^=", b"\x00\x00\x00\x80", b"\xe0\x7f\x10\x00", b"\x08\x00\x05\x00",
]  # fmt: skip
edits = st.lists(
    st.tuples(
        st.integers(0, 4000),
        st.integers(0, 8),
        st.one_of(st.sampled_from(_TELLING), st.binary(max_size=12)),
    ),
    min_size=1,
    max_size=6,
)


def check(data: bytes, syntax: str) -> None:
    try:
        facts = read_bytes(data, syntax).facts
    except UnreadableInstanceError:
        return
    assert all(map(is_uid, (facts.sop_class_uid, facts.sop_instance_uid, facts.study_uid, facts.series_uid)))
    assert all(map(is_uid, facts.rejected_uids))
    for name, text in facts.attributes.items():
        assert "\0" not in text
        assert "\x1b" not in text
        text.encode()
        assert len(text) <= LONGEST_TEXT or name in {"ViewCodeSequence", "BiopsyTargetSequence"}


@given(sample=st.integers(0, 19), edits=edits)
def test_a_mutated_data_set_gives_facts_or_the_one_error(sample: int, edits: list[tuple[int, int, bytes]]) -> None:
    syntax, data = samples()[sample]
    for where, replaced, inserted in edits:
        at = where % (len(data) + 1)
        data = data[:at] + inserted + data[at + replaced :]
    check(data, syntax)


@given(data=st.binary(max_size=300), syntax=st.sampled_from(TRANSFER_SYNTAXES))
@example(data=b"\x08\0\x16\0UI\0\0", syntax="1.2.840.10008.1.2.1")
def test_any_bytes_give_the_one_error(data: bytes, syntax: str) -> None:
    check(data, syntax)
