"""Part 10 files: the preamble and file meta the node writes, and the reading of its own and of others' (PS3.10 7.1)."""

import json
import re
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import BinaryIO

from dicom_node import __version__
from dicom_node.dicom.facts import Provenance
from dicom_node.dicom.uids import is_uid
from dicom_node.errors import UnreadableInstanceError

IMPLEMENTATION_CLASS_UID = "2.25.237731737039968285580759678497515637791"
"""Implementation Class UID of this program in files and associations: a UUID of its own (PS3.5 B.2)."""

IMPLEMENTATION_VERSION_NAME = f"DCMNODE_{__version__}"[:16]

PROVENANCE_UID = "2.25.150287661377898752352302423046244201461"
"""Private Information Creator UID (0002,0100) under which the node keeps an instance's provenance as JSON."""

_PREAMBLE_LENGTH = 128
_PREFIX = b"DICM"
_LONG_LENGTH = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})

# The file meta of a peer's file is read into memory as far as these: enough for any private information seen, little
# enough that a folder of hostile files does no harm.
_LARGEST_VALUE = 64 * 1024
_MOST_ELEMENTS = 100
_LONGEST_TEXT = 128

_TIME = "1970-01-01T00:00:00.000000+00:00"
"""Stands for the time of receipt, which has this length always."""

# The end of the provenance's JSON, in a fixed width: it is written when the rest of the file is there.
_SEAL = b'"size":%15d,"sha256":"%64b"}'
_UNSEALED = _SEAL % (0, b"")
_SEAL_LENGTH = len(_UNSEALED)
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Seal:
    """What the node knows of a data set once its last byte is here; the file meta of a whole instance tells it."""

    size: int
    """Bytes of the data set."""
    digest: str
    """SHA-256 of the data set bytes, in hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What the file meta says. Each UID is one (PS3.5 9.1), or "" where the file names none that is."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    provenance: Provenance | None
    """None in a file this node did not write."""
    seal: Seal | None
    """None in a file this node did not write."""
    data_set_offset: int
    """Bytes from the start of the file to the first byte of the data set."""


def build_preamble_and_meta(
    sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, provenance: Provenance
) -> bytes:
    """Return what stands before the data set in the node's files, not sealed yet.

    A preamble of zeros, the prefix and the file meta group: the UIDs, this implementation, the AE titles of the
    sender (0002,0016) and of the node (0002,0018), and the whole provenance under `PROVENANCE_UID`. An AE title that
    breaks its VR is kept as it came in the provenance alone. Raises ValueError for a text that is no UID.
    """
    before, after = _sender_elements(
        provenance.calling_ae,
        provenance.called_ae,
        provenance.peer_address,
        provenance.implementation_uid,
        provenance.implementation_version,
    )
    elements = b"".join(
        (
            _VERSION_ELEMENT,
            _uid_element(0x0002, sop_class_uid),
            _uid_element(0x0003, sop_instance_uid),
            _uid_element(0x0010, transfer_syntax_uid),
            before,
            provenance.received_at.astimezone(UTC).isoformat(timespec="microseconds").encode(),
            after,
        )
    )
    return _BEGINNING + len(elements).to_bytes(4, "little") + elements


def sealed(preamble_and_meta: bytes, seal: Seal) -> bytes:
    """Return the preamble and file meta, as ``build_preamble_and_meta`` makes them, with a seal, in the same length."""
    return preamble_and_meta[:-_SEAL_LENGTH] + _SEAL % (seal.size, seal.digest.encode("ascii"))


def read_meta(file: BinaryIO) -> Meta:
    """Read the preamble and file meta of a seekable file from its start; the position afterwards is not defined.

    Tolerates what is found in the field: a group length that is wrong or missing, elements out of order, unknown
    elements, UIDs that are none. The data set begins at the first element of another group.

    Raises UnreadableInstanceError when the file is no Part 10 file, its meta is cut short or beyond reason, or no
    usable transfer syntax is named.
    """
    file.seek(0)
    head = file.read(_PREAMBLE_LENGTH + len(_PREFIX))
    if head[_PREAMBLE_LENGTH:] != _PREFIX:
        raise UnreadableInstanceError("not a DICOM file: no DICM after a preamble of 128 bytes (PS3.10 7.1)")
    offset = len(head)
    values: dict[int, bytes] = {}
    told_end = 0
    for _ in range(_MOST_ELEMENTS):
        if offset == told_end and _uid(values, 0x0100) == PROVENANCE_UID:
            break  # the node's own group length is right, and a peer's data set may begin with bytes of any kind
        header = file.read(8)
        if header[:2] != b"\2\0":
            break
        if len(header) < 8:
            raise UnreadableInstanceError("file meta is cut short")
        vr = header[4:6]
        if vr in _LONG_LENGTH:
            extra = file.read(4)
            if len(extra) < 4:
                raise UnreadableInstanceError("file meta is cut short")
            size, length = 12, int.from_bytes(extra, "little")
        elif vr.isalpha() and vr.isupper():
            size, length = 8, int.from_bytes(header[6:8], "little")
        else:
            raise UnreadableInstanceError("file meta is not in Explicit VR Little Endian (PS3.10 7.1)")
        if length > _LARGEST_VALUE:
            raise UnreadableInstanceError("an element of the file meta is longer than 64 KiB")
        value = file.read(length)
        if len(value) < length:
            raise UnreadableInstanceError("file meta is cut short")
        values[int.from_bytes(header[2:4], "little")] = value
        offset += size + length
        if header[2:4] == b"\0\0" and length == 4:
            told_end = offset + int.from_bytes(value, "little")
    else:
        raise UnreadableInstanceError(f"file meta has more than {_MOST_ELEMENTS} elements")
    transfer_syntax_uid = _uid(values, 0x0010)
    if not transfer_syntax_uid:
        raise UnreadableInstanceError("file meta names no usable Transfer Syntax UID (0002,0010)")
    provenance, seal = None, None
    if _uid(values, 0x0100) == PROVENANCE_UID and 0x0102 in values:
        provenance, seal = _provenance_and_seal(values[0x0102])
    return Meta(
        sop_class_uid=_uid(values, 0x0002),
        sop_instance_uid=_uid(values, 0x0003),
        transfer_syntax_uid=transfer_syntax_uid,
        provenance=provenance,
        seal=seal,
        data_set_offset=offset,
    )


def _element(element: int, vr: bytes, value: bytes) -> bytes:
    """Encode one element of group 0002, padded to an even length (PS3.5 6.2, 7.1.2)."""
    if len(value) % 2:
        value += b"\0" if vr in {b"UI", b"OB"} else b" "
    if vr in _LONG_LENGTH:
        return struct.pack("<HH2sHI", 0x0002, element, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 0x0002, element, vr, len(value)) + value


_VERSION_ELEMENT = _element(0x0001, b"OB", b"\0\1")
_BEGINNING = bytes(_PREAMBLE_LENGTH) + _PREFIX + b"\2\0\0\0UL\4\0"
"""All before the value of the group length (0002,0000)."""


def _uid_element(element: int, uid: str) -> bytes:
    if not is_uid(uid):
        raise ValueError("file meta needs conformant UIDs")
    return _element(element, b"UI", uid.encode())


@lru_cache(maxsize=64)
def _sender_elements(
    calling_ae: str, called_ae: str, peer_address: str, implementation_uid: str, implementation_version: str
) -> tuple[bytes, bytes]:
    """Return what stands before and after the time of receipt, the same for all instances of an association."""
    texts = {
        "peer_address": peer_address,
        "calling_ae": calling_ae,
        "called_ae": called_ae,
        "implementation_uid": implementation_uid,
        "implementation_version": implementation_version,
    }
    # All of these are short; a peer that sends a long one must not make the node's own file unreadable.
    record = {"received_at": _TIME} | {name: text[:_LONGEST_TEXT] for name, text in texts.items()}
    elements = b"".join(
        (
            _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode()),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode()),
            _ae_element(0x0016, calling_ae),
            _ae_element(0x0018, called_ae),
            _element(0x0100, b"UI", PROVENANCE_UID.encode()),
            _element(0x0102, b"OB", _json(record)),
        )
    )
    before, _, after = elements.partition(_TIME.encode())  # the first: no text of a peer's as long stands before it
    return before, after


def _ae_element(element: int, title: str) -> bytes:
    """Encode an AE title, or nothing for one that its VR does not allow (PS3.5 6.2: AE)."""
    title = title.strip(" ")
    if not 0 < len(title) <= 16 or not title.isascii() or not title.isprintable() or "\\" in title:
        return b""
    return _element(element, b"AE", title.encode())


def _json(record: dict[str, str]) -> bytes:
    text = json.dumps(record, separators=(",", ":")).encode("ascii")[:-1] + b","
    return text + b" " * ((len(text) + _SEAL_LENGTH) % 2) + _UNSEALED


def _provenance_and_seal(value: bytes) -> tuple[Provenance | None, Seal | None]:
    """Return what an element of the node's own holds; None each when it is not what the node writes."""
    try:
        record = json.loads(value)
        received_at = datetime.fromisoformat(record["received_at"])
        if received_at.tzinfo is None:
            return None, None
        provenance = Provenance(
            calling_ae=str(record["calling_ae"]),
            called_ae=str(record["called_ae"]),
            peer_address=str(record["peer_address"]),
            received_at=received_at.astimezone(UTC),
            implementation_uid=str(record["implementation_uid"]),
            implementation_version=str(record["implementation_version"]),
        )
        size, digest = record.get("size"), record.get("sha256")
        whole = isinstance(size, int) and isinstance(digest, str) and _DIGEST.fullmatch(digest)
        return provenance, Seal(size, digest) if whole else None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None, None


def _uid(values: dict[int, bytes], element: int) -> str:
    text = values.get(element, b"").rstrip(b"\0 ").decode("latin-1")
    return text if is_uid(text) else ""
