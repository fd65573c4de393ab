"""The items that association requests and acceptances are made of, as bytes (PS3.8 9.3.2 and 9.3.3, PS3.7 D.3.3)."""

import struct
from collections.abc import Iterator

from dicom_node.dimse.pdu import ProtocolError

HEADER = 4
"""Bytes of an item before its value: type, reserved, length."""


def encode_item(kind: int, value: bytes) -> bytes:
    """Encode an item or sub-item."""
    return struct.pack(">BxH", kind, len(value)) + value


def read_items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the whole encoding of each item, its header included.

    Raises ProtocolError where one is cut short.
    """
    at, end = 0, len(data)
    while at < end:
        after = at + HEADER + int.from_bytes(data[at + 2 : at + 4], "big")
        if at + HEADER > end or after > end:
            raise ProtocolError("an item of the association is cut short")
        yield data[at], data[at:after]
        at = after


def counted(text: bytes) -> bytes:
    """Encode a text with its length in front of it."""
    return struct.pack(">H", len(text)) + text


def split(data: bytes) -> tuple[bytes, bytes]:
    """Return a text with its length in front of it, and what follows. Raises ProtocolError when it is cut short."""
    end = 2 + int.from_bytes(data[:2], "big")
    if len(data) < max(2, end):
        raise ProtocolError("a sub-item of the association is cut short")
    return data[2:end], data[end:]


def uid_and_rest(value: bytes) -> tuple[str, bytes]:
    """Return the UID that the value of a sub-item begins with, and what follows it. Raises ProtocolError."""
    uid, rest = split(value)
    return uid.strip(b"\0 ").decode("ascii", "replace"), rest
