import json
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from dicom_node.dicom.facts import Provenance
from dicom_node.dicom.part10 import (
    IMPLEMENTATION_CLASS_UID,
    PROVENANCE_UID,
    Meta,
    Seal,
    build_preamble_and_meta,
    read_meta,
    sealed,
)
from dicom_node.dicom.uids import is_uid
from dicom_node.errors import UnreadableInstanceError
from tests.factories import encode, make_mg, write_file

MG = "1.2.840.10008.5.1.4.1.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


def provenance(**changes: object) -> Provenance:
    fields: dict[str, object] = {
        "calling_ae": "PRONE_RM2",
        "called_ae": "SBB_NODE",
        "peer_address": "127.0.0.1",
        "received_at": datetime(2026, 5, 4, 9, 0, 0, 123456, tzinfo=UTC),
        "implementation_uid": "1.2.3",
        "implementation_version": "SYNTH_1",
    }
    return Provenance(**(fields | changes))  # type: ignore[arg-type]


def test_what_is_written_is_read_back() -> None:
    head = build_preamble_and_meta(MG, "2.25.1", EXPLICIT, provenance())
    meta = read_meta(BytesIO(head + b"data set"))
    assert meta.data_set_offset == len(head)
    assert (meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax_uid) == (MG, "2.25.1", EXPLICIT)
    assert meta.provenance == provenance()


def test_the_preamble_is_zero() -> None:
    head = build_preamble_and_meta(MG, "2.25.1", EXPLICIT, provenance())
    assert head[:132] == bytes(128) + b"DICM"
    assert len(head) % 2 == 0


def test_pydicom_reads_the_file(tmp_path: Path) -> None:
    ds = make_mg()
    path = tmp_path / "x.dcm"
    path.write_bytes(build_preamble_and_meta(ds.SOPClassUID, ds.SOPInstanceUID, EXPLICIT, provenance()) + encode(ds))
    read = dcmread(path)
    meta = read.file_meta
    assert read.PatientID == ds.PatientID
    assert meta.FileMetaInformationGroupLength == len(path.read_bytes()) - len(encode(ds)) - 132 - 12
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.SourceApplicationEntityTitle == "PRONE_RM2"
    assert meta.ReceivingApplicationEntityTitle == "SBB_NODE"
    assert meta.PrivateInformationCreatorUID == PROVENANCE_UID
    assert json.loads(meta.PrivateInformation)["peer_address"] == "127.0.0.1"


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("dcmdump") is None, reason="DCMTK is not installed")
def test_dcmtk_reads_the_file_without_complaint(tmp_path: Path) -> None:
    ds = make_mg()
    path = tmp_path / "x.dcm"
    path.write_bytes(build_preamble_and_meta(ds.SOPClassUID, ds.SOPInstanceUID, EXPLICIT, provenance()) + encode(ds))
    dump = subprocess.run(["dcmdump", str(path)], capture_output=True, text=True, check=True)
    assert dump.stderr == ""
    assert "PRONE_RM2" in dump.stdout
    assert "PatientID" in dump.stdout


def test_the_uids_of_the_node_are_uids() -> None:
    assert is_uid(IMPLEMENTATION_CLASS_UID)
    assert is_uid(PROVENANCE_UID)


@pytest.mark.parametrize("title", ["", "A\\B", "A\nB", "A" * 17, "UNITÉ", "A\0B", "   "])
def test_an_ae_title_its_vr_forbids_stands_in_the_provenance_alone(title: str) -> None:
    head = build_preamble_and_meta(MG, "2.25.1", EXPLICIT, provenance(calling_ae=title))
    assert "SourceApplicationEntityTitle" not in dcmread(BytesIO(head + encode(make_mg()))).file_meta
    read = read_meta(BytesIO(head)).provenance
    assert read is not None
    assert read.calling_ae == title


@given(calling_ae=st.text(max_size=16), version=st.text(max_size=70_000), hours=st.integers(-12, 14))
def test_no_peer_can_make_the_meta_unreadable(calling_ae: str, version: str, hours: int) -> None:
    received_at = datetime(2026, 5, 4, 9, tzinfo=timezone(timedelta(hours=hours)))
    head = build_preamble_and_meta(
        MG,
        "2.25.1",
        EXPLICIT,
        provenance(calling_ae=calling_ae, implementation_version=version, received_at=received_at),
    )
    read = read_meta(BytesIO(head)).provenance
    assert read is not None
    assert read.calling_ae == calling_ae
    assert read.received_at == received_at
    assert read.received_at.tzinfo is UTC


def test_a_text_that_is_no_uid_is_not_written() -> None:
    with pytest.raises(ValueError, match="conformant"):
        build_preamble_and_meta(MG, "../1", EXPLICIT, provenance())


def test_a_foreign_file_has_no_provenance(tmp_path: Path) -> None:
    ds = make_mg()
    path = write_file(tmp_path / "x.dcm", ds, "1.2.840.10008.1.2")
    with path.open("rb") as file:
        meta = read_meta(file)
        file.seek(meta.data_set_offset)
        assert file.read() == encode(ds, "1.2.840.10008.1.2")
    assert meta.provenance is None
    assert meta.transfer_syntax_uid == "1.2.840.10008.1.2"


def test_a_wrong_group_length_does_no_harm() -> None:
    head = build_preamble_and_meta(MG, "2.25.1", EXPLICIT, provenance())
    wrong = head[:140] + b"\xff\xff\xff\x7f" + head[144:]
    assert read_meta(BytesIO(wrong + b"data set")).data_set_offset == len(head)


@pytest.mark.parametrize("value", [b"", b"not json", b"[]", b"{}", b'{"received_at": 1}', b"\xff\xfe", b"[" * 60_000])
def test_a_provenance_that_is_not_the_nodes_is_none(value: bytes) -> None:
    value += b" " * (len(value) % 2)
    length = len(value).to_bytes(4, "little")
    creator = PROVENANCE_UID.encode() + b"\0" * (len(PROVENANCE_UID) % 2)
    head = (
        bytes(128)
        + b"DICM"
        + b"\2\0\x10\0UI\x14\0"
        + EXPLICIT.encode()
        + b"\0"
        + b"\2\0\0\1UI"
        + len(creator).to_bytes(2, "little")
        + creator
        + b"\2\0\2\1OB\0\0"
        + length
        + value
    )
    assert read_meta(BytesIO(head)).provenance is None


@pytest.mark.parametrize(
    "content", [b"", b"DICM", bytes(132), bytes(127) + b"DICM", b"\x08\0\x16\0UI\2\0001" + bytes(200)]
)
def test_what_is_no_part_10_file_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(UnreadableInstanceError, match="not a DICOM file"):
        read_meta(BytesIO(content))


def test_meta_that_is_cut_short_is_refused_or_ends_where_an_element_ends() -> None:
    head = build_preamble_and_meta(MG, "2.25.1", EXPLICIT, provenance())
    refused = 0
    for end in range(132, len(head)):
        try:
            meta = read_meta(BytesIO(head[:end]))
        except UnreadableInstanceError:
            refused += 1
        else:
            assert end - 1 <= meta.data_set_offset <= end
            assert meta.transfer_syntax_uid == EXPLICIT
    assert refused > 0.9 * (len(head) - 132)


def test_a_giant_or_endless_meta_is_refused() -> None:
    long = bytes(128) + b"DICM" + b"\2\0\2\1OB\0\0\xff\xff\xff\x7f"
    with pytest.raises(UnreadableInstanceError, match="64 KiB"):
        read_meta(BytesIO(long))
    many = bytes(128) + b"DICM" + b"\2\0\x16\0AE\0\0" * 1000
    with pytest.raises(UnreadableInstanceError, match="more than"):
        read_meta(BytesIO(many))


def test_meta_without_a_transfer_syntax_is_refused() -> None:
    with pytest.raises(UnreadableInstanceError, match="Transfer Syntax"):
        read_meta(BytesIO(bytes(128) + b"DICM" + b"\2\0\x16\0AE\2\0AB"))


def test_the_data_set_begins_after_the_nodes_own_meta_whatever_its_first_bytes_are() -> None:
    head = build_preamble_and_meta(MG, "2.25.1", EXPLICIT, provenance())
    assert read_meta(BytesIO(head + b"\x02\x00\x10\x00UI\x04\x001.2\0")).data_set_offset == len(head)


def test_a_peer_that_calls_itself_a_time_changes_no_time_of_receipt() -> None:
    sender = provenance(implementation_version="1970-01-01T00:00:00.000000+00:00", calling_ae="1970-01-01T00:00")
    for second in (1, 2):
        sender = replace(sender, received_at=datetime(2026, 5, 4, 9, 0, second, tzinfo=UTC))
        head = build_preamble_and_meta(MG, "2.25.1", EXPLICIT, sender)
        assert read_meta(BytesIO(head)).provenance == sender


def test_a_seal_is_read_back_and_changes_no_length(tmp_path: Path) -> None:
    head = build_preamble_and_meta(MG, "2.25.1", EXPLICIT, provenance())
    seal = Seal(5 * 1024**4, "0123456789abcdef" * 4)
    path = tmp_path / "sealed.dcm"

    def meta_of(data: bytes) -> Meta:
        path.write_bytes(data)
        with path.open("rb") as file:
            return read_meta(file)

    assert meta_of(head).seal is None
    assert len(sealed(head, seal)) == len(head)
    assert meta_of(sealed(head, seal)).seal == seal
    assert meta_of(sealed(head, seal)).provenance == provenance()
