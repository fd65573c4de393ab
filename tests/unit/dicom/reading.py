"""Short ways to read synthetic objects in tests of the header."""

from datetime import UTC, datetime
from io import BytesIO

from pydicom.dataset import Dataset

from dicom_node.accreditation.signals import Signals
from dicom_node.dicom.facts import InstanceFacts, Provenance, ReadInstance
from dicom_node.dicom.header import read_instance
from tests.factories import encode

EXPLICIT = "1.2.840.10008.1.2.1"

PROVENANCE = Provenance(
    calling_ae="UPRIGHT_A",
    called_ae="SBB_NODE",
    peer_address="127.0.0.1",
    received_at=datetime(2026, 5, 4, 12, tzinfo=UTC),
)


def read_bytes(data: bytes, transfer_syntax_uid: str = EXPLICIT) -> ReadInstance:
    """Read a data set as it came over the wire."""
    return read_instance(BytesIO(data), 0, len(data), transfer_syntax_uid, PROVENANCE)


def facts_of(ds: Dataset, transfer_syntax_uid: str = EXPLICIT) -> InstanceFacts:
    """Return the facts of an object."""
    return read_bytes(encode(ds, transfer_syntax_uid), transfer_syntax_uid).facts


def signals_of(ds: Dataset) -> Signals:
    """Return the signals of an object."""
    return read_bytes(encode(ds)).signals


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """Encode an element of a 16-bit length in Explicit VR Little Endian, whatever its value."""
    return tag.to_bytes(4, "big")[1::-1] + tag.to_bytes(4, "big")[:1:-1] + vr + len(value).to_bytes(2, "little") + value
