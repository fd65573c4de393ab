"""The identifier of a query, as bytes: a small data set that is read whole and written by hand.

PS3.5 section 7 (data elements, sequences) and annex A (transfer syntaxes). The library's general reader of data sets is
not used on purpose: an identifier is a peer's text, and this reader refuses what is cut short, nests too deep or
inflates too far, and does nothing else.
"""

import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache

from pydicom.datadict import dictionary_VR
from pydicom.uid import UID

from dicom_node.dicom.keys import BY_TAG
from dicom_node.errors import InvalidQueryError

LARGEST = 1 << 17
"""Longest identifier that is read, in bytes, inflated if it came deflated."""

MOST_ELEMENTS = 500
"""Most elements of an identifier, those of items included."""

DEEPEST = 8
"""Deepest nesting of sequences that is read."""

_LONG_LENGTH_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_UNDEFINED = 0xFFFFFFFF
_STRUCTS = {order: tuple(struct.Struct(order + kind) for kind in ("HH", "L", "H")) for order in "<>"}  # tag, lengths
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a transfer syntax writes a data set."""

    implicit: bool
    little_endian: bool = True
    deflated: bool = False

    @property
    def order(self) -> str:
        """The byte order as ``struct`` names it."""
        return "<" if self.little_endian else ">"


def encoding_of(transfer_syntax_uid: str) -> Encoding:
    """Return the encoding of an uncompressed or deflated transfer syntax."""
    uid = UID(transfer_syntax_uid)
    return Encoding(uid.is_implicit_VR, uid.is_little_endian, uid.is_deflated)


@dataclass(frozen=True, slots=True)
class Element:
    """One data element: its value as it came, or the items of its sequence."""

    tag: int
    value: bytes
    items: tuple[tuple["Element", ...], ...] | None = None


def read_elements(
    data: bytes, encoding: Encoding, *, largest: int = LARGEST, most_elements: int = MOST_ELEMENTS
) -> tuple[Element, ...]:
    """Read an identifier. Raises InvalidQueryError when it is not a whole data set or larger than any identifier is."""
    if encoding.deflated:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = inflater.decompress(data, largest + 1)
        except zlib.error:
            raise InvalidQueryError("the identifier cannot be inflated") from None
        if not inflater.eof and len(data) <= largest:
            raise _cut_short()
    if len(data) > largest:
        raise InvalidQueryError("the identifier is too long")
    reader = _Reader(data, encoding, most_elements)
    return reader.elements(len(data), depth=0)


class _Reader:
    def __init__(self, data: bytes, encoding: Encoding, most_elements: int) -> None:
        self._data = data
        self._most_elements = most_elements
        self._at = 0
        self._count = 0
        self._use(encoding)

    def _use(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._tags, self._longs, self._shorts = _STRUCTS[encoding.order]

    def elements(self, end: int, *, depth: int, delimited: bool = False) -> tuple[Element, ...]:
        """Read elements up to ``end``, or up to the item delimitation when ``delimited``."""
        if depth > DEEPEST:
            raise InvalidQueryError("the identifier nests too deep")
        found: list[Element] = []
        while self._at < end:
            tag = self._tag(end)
            if tag == _ITEM_END and delimited:
                self._unpack(self._longs, end)
                return tuple(found)
            self._count += 1
            if self._count > self._most_elements:
                raise InvalidQueryError("the identifier has too many elements")
            element = self._element(tag, end, depth)
            if tag & 0xFFFF:  # a group length (gggg,0000) says nothing
                found.append(element)
        if delimited:
            raise _cut_short()
        return tuple(found)

    def _element(self, tag: int, end: int, depth: int) -> Element:
        vr, length = self._vr_and_length(tag, end)
        is_sequence = vr == b"SQ" or length == _UNDEFINED
        if not is_sequence and vr == b"UN" and length:
            # A relay that did not know the element wrote its implicit encoding as UN (PS3.5 6.2.2).
            is_sequence = _dictionary_vr(tag) == b"SQ"
        if not is_sequence:
            start, self._at = self._at, self._end_of(length, end)
            return Element(tag, self._data[start : self._at])
        outer = self._encoding
        if vr == b"UN":
            self._use(Encoding(implicit=True))
        items = self._items(end if length == _UNDEFINED else self._end_of(length, end), depth, length == _UNDEFINED)
        self._use(outer)
        return Element(tag, b"", items)

    def _vr_and_length(self, tag: int, end: int) -> tuple[bytes, int]:
        if self._encoding.implicit:
            return _dictionary_vr(tag), self._unpack(self._longs, end)
        start, self._at = self._at, self._end_of(2, end)
        vr = self._data[start : self._at]
        if vr in _LONG_LENGTH_VRS:
            self._at = self._end_of(2, end)
            return vr, self._unpack(self._longs, end)
        return vr, self._unpack(self._shorts, end)

    def _items(self, end: int, depth: int, delimited: bool) -> tuple[tuple[Element, ...], ...]:
        items: list[tuple[Element, ...]] = []
        while self._at < end:
            tag, length = self._tag(end), self._unpack(self._longs, end)
            if tag == _SEQUENCE_END and delimited:
                return tuple(items)
            if tag != _ITEM:
                raise InvalidQueryError("a sequence of the identifier holds something else than items")
            until = end if length == _UNDEFINED else self._end_of(length, end)
            items.append(self.elements(until, depth=depth + 1, delimited=length == _UNDEFINED))
        if delimited:
            raise _cut_short()
        return tuple(items)

    def _tag(self, end: int) -> int:
        start, self._at = self._at, self._end_of(4, end)
        group, number = self._tags.unpack_from(self._data, start)
        return int(group << 16 | number)

    def _unpack(self, kind: struct.Struct, end: int) -> int:
        start, self._at = self._at, self._end_of(kind.size, end)
        return int(kind.unpack_from(self._data, start)[0])

    def _end_of(self, length: int, end: int) -> int:
        if self._at + length > end:
            raise _cut_short()
        return self._at + length


def _cut_short() -> InvalidQueryError:
    return InvalidQueryError("the identifier is cut short")


@lru_cache(maxsize=512)
def _dictionary_vr(tag: int) -> bytes:
    key = BY_TAG.get(tag)
    if key is not None:
        return key.vr.encode()
    try:
        return dictionary_VR(tag).encode()
    except KeyError:
        return b"UN"


def has_short_length(vr: str, encoding: Encoding) -> bool:
    """Tell whether an element's length directly follows what ``element_head`` writes."""
    return encoding.implicit or vr.encode() not in _LONG_LENGTH_VRS


def element_head(tag: int, vr: str, encoding: Encoding) -> bytes:
    """Encode what stands before an element's length, where ``has_short_length``."""
    head = _STRUCTS[encoding.order][0].pack(tag >> 16, tag & 0xFFFF)
    return head if encoding.implicit else head + vr.encode()


def write_element(tag: int, vr: str, value: bytes, encoding: Encoding) -> bytes:
    """Encode one element; a value of odd length is padded as its VR wants it (PS3.5 6.2)."""
    if len(value) % 2:
        value += b"\0" if vr == "UI" else b" "
    head = element_head(tag, vr, encoding)
    if not has_short_length(vr, encoding):
        return head + struct.pack(encoding.order + "HL", 0, len(value)) + value
    return head + struct.pack(encoding.order + ("L" if encoding.implicit else "H"), len(value)) + value


def write_sequence(tag: int, items: list[bytes], encoding: Encoding) -> bytes:
    """Encode a sequence of items whose elements are encoded already, every length given."""
    group, number = _ITEM >> 16, _ITEM & 0xFFFF
    header = encoding.order + "HHL"
    return write_element(
        tag, "SQ", b"".join(struct.pack(header, group, number, len(item)) + item for item in items), encoding
    )
