"""The identifier of one C-FIND answer: a record of decoded texts into bytes, in a character set that holds all of it.

PS3.4 C.4.1.1.3.2: what was asked comes back, with an empty value where none is known, and Query/Retrieve Level and
where the objects can be had from. Specific Character Set (0008,0005) is in every answer: the one the request named
where it expresses the answer, else ISO_IR 100, else ISO_IR 192.

All answers to one query are alike but for their values, and queries are alike but for what they look for. So what does
not change is encoded once, in a layout, and layouts are kept for the next query.
"""

import struct
import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from pydicom.datadict import dictionary_VR, tag_for_keyword

from dicom_node.dicom import charsets, zones
from dicom_node.dicom.charsets import CharacterSets
from dicom_node.dicom.identifiers import Encoding, element_head, has_short_length, write_element, write_sequence
from dicom_node.dicom.keys import PRIVATE_CREATOR, PRIVATE_GROUP
from dicom_node.dicom.matching import AnyItem, items_of, matches
from dicom_node.dicom.query import CHARACTER_SET_VRS, Asked, Query

LONGEST_TEXT = 0xFFFE
"""Longest value of a text element in explicit VR encodings, in bytes; what is longer loses values from its end."""

_KEPT_LAYOUTS = 64

_ASCII_VRS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})
_NUMBER_SIZES = {"US": 2, "UL": 4}
_UTF_8 = charsets.character_sets(charsets.UTF_8)

_ALWAYS = (
    Asked(0x00080005, "CS", "SpecificCharacterSet"),
    Asked(0x00080052, "CS", "QueryRetrieveLevel"),
    Asked(0x00080054, "AE", "RetrieveAETitle"),
    Asked(0x00080056, "CS", "InstanceAvailability"),
)


_ZONE = Asked(0x00080201, "SH", "TimezoneOffsetFromUTC")
"""In the answers to a query that names one, if that was negotiated (PS3.4 C.4.1.1.3.2)."""


class _Piece(NamedTuple):
    """One element whose value differs from answer to answer, and what stands before it."""

    before: bytes
    """The elements before it that never change; of a ``plain`` one also its own tag and VR."""
    element: Asked
    keyword: str
    plain: bool
    """A short text: its length and its bytes follow ``before``."""
    padding: bytes


class _Layout(NamedTuple):
    """The answers to queries of one kind, in one character set."""

    sets: CharacterSets
    pieces: tuple[_Piece, ...]
    after: bytes
    """The elements after the last piece."""


class AnswerEncoder:
    """Encodes the answers to one query in one transfer syntax."""

    def __init__(self, query: Query, encoding: Encoding, *, retrieve_ae: str) -> None:
        """Prepare for ``query``; ``retrieve_ae`` is the AE title under which the objects can be retrieved."""
        self._encoding = encoding
        self._order: Literal["little", "big"] = "little" if encoding.little_endian else "big"
        self._pack_length = struct.Struct(encoding.order + ("L" if encoding.implicit else "H")).pack
        self._item_tests = {
            condition.keyword: condition.test for condition in query.conditions if isinstance(condition.test, AnyItem)
        }
        self._layouts = _layouts(
            query.asked,
            query.private_block,
            query.character_set,
            encoding,
            level=query.level.name,
            retrieve_ae=retrieve_ae,
            zone=None if query.zone is None else zones.offset_text(query.zone),
        )

    def encode(self, record: Mapping[str, Any]) -> bytes:
        """Return the identifier of the answer for ``record``: keyword to text, values joined by a backslash."""
        if self._item_tests:
            # Only the items that match are sent (PS3.4 C.2.2.2.6).
            record = dict(record)
            for keyword, test in self._item_tests.items():
                record[keyword] = [item for item in items_of(record.get(keyword)) if matches(test.conditions, item)]
        encoded = self._in_first_fitting_set(record)
        if not self._encoding.deflated:
            return encoded
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        encoded = deflater.compress(encoded) + deflater.flush()
        return encoded + b"\0" * (len(encoded) % 2)

    def _in_first_fitting_set(self, record: Mapping[str, Any]) -> bytes:
        for layout in self._layouts:
            try:
                return self._laid_out(layout, record)
            except UnicodeEncodeError:
                continue
        raise AssertionError("UTF-8 expresses every text")

    def _laid_out(self, layout: _Layout, record: Mapping[str, Any]) -> bytes:
        parts: list[bytes] = []
        get, pack_length = record.get, self._pack_length
        for before, element, keyword, plain, padding in layout.pieces:
            text = get(keyword, "")
            if plain:
                short = len(text) <= LONGEST_TEXT and text.isascii()
                value = text.encode() if short else self._value(element.vr, text, layout.sets)
                if len(value) % 2:
                    value += padding
                parts += (before, pack_length(len(value)), value)
            else:
                parts += (before, self._element(element, text, layout.sets))
        parts.append(layout.after)
        return b"".join(parts)

    def _elements(self, asked: Iterable[Asked], values: Mapping[str, Any], sets: CharacterSets) -> bytes:
        return b"".join(self._element(element, values.get(element.keyword, ""), sets) for element in asked)

    def _element(self, element: Asked, value: Any, sets: CharacterSets) -> bytes:
        if element.vr == "SQ":
            items = [self._elements(element.items or _all_of(item), item, sets) for item in items_of(value)]
            return write_sequence(element.tag, items, self._encoding)
        return write_element(element.tag, element.vr, self._value(element.vr, value, sets), self._encoding)

    def _value(self, vr: str, value: Any, sets: CharacterSets) -> bytes:
        text = value if isinstance(value, str) else ""
        if vr in _NUMBER_SIZES:
            size = _NUMBER_SIZES[vr]
            fits = text.isdecimal() and int(text) < 1 << 8 * size
            return int(text).to_bytes(size, self._order) if fits else b""
        if vr not in _ASCII_VRS and vr not in CHARACTER_SET_VRS:
            return b""
        encoded = _encode_text(vr, text, sets)
        while len(encoded) > LONGEST_TEXT:
            text = text.rpartition("\\")[0] or text[: len(text) // 2]
            encoded = _encode_text(vr, text, sets)
        return encoded


@lru_cache(maxsize=_KEPT_LAYOUTS)
def _layouts(
    asked: tuple[Asked, ...],
    private_block: int,
    character_set: str,
    encoding: Encoding,
    *,
    level: str,
    retrieve_ae: str,
    zone: str | None,
) -> tuple[_Layout, ...]:
    """Return the layouts of the answers, in the order in which their character sets are to be tried."""
    elements = [*asked, *_ALWAYS]
    if any(element.tag >> 16 == PRIVATE_GROUP for element in asked):
        elements.append(Asked(PRIVATE_GROUP << 16 | private_block, "LO", "PrivateCreator"))
    if zone is not None:
        elements.append(_ZONE)
    elements.sort(key=lambda element: element.tag)
    fixed = {
        "QueryRetrieveLevel": level,
        "RetrieveAETitle": retrieve_ae,
        "InstanceAvailability": "ONLINE",
        "PrivateCreator": PRIVATE_CREATOR,
        "TimezoneOffsetFromUTC": zone or "",
    }
    sets = {name: charsets.character_sets(name) for name in (character_set, charsets.LATIN_1, charsets.UTF_8)}
    return tuple(
        _lay_out(elements, {**fixed, "SpecificCharacterSet": name}, known, encoding)
        for name, known in sets.items()
        if name and known.known
    )


def _lay_out(elements: Iterable[Asked], fixed: Mapping[str, str], sets: CharacterSets, encoding: Encoding) -> _Layout:
    pieces, before = [], b""
    for element in elements:
        tag, vr, keyword = element.tag, element.vr, element.keyword
        if keyword in fixed:
            before += write_element(tag, vr, fixed[keyword].encode("ascii", "replace"), encoding)
            continue
        plain = has_short_length(vr, encoding) and (vr in _ASCII_VRS or vr in CHARACTER_SET_VRS)
        if plain:
            before += element_head(tag, vr, encoding)
        pieces.append(_Piece(before, element, keyword, plain, b"\0" if vr == "UI" else b" "))
        before = b""
    return _Layout(sets, tuple(pieces), before)


def _encode_text(vr: str, text: str, sets: CharacterSets) -> bytes:
    if text.isascii() or vr not in CHARACTER_SET_VRS:
        return text.encode("ascii", "replace")
    if sets == _UTF_8:
        return text.encode("utf-8", "replace")
    return charsets.encode(text, sets, name=vr == "PN")


def _all_of(item: Mapping[str, Any]) -> list[Asked]:
    """Return everything that a stored item holds, in the order of tags."""
    keywords = {tag_for_keyword(keyword): keyword for keyword in item}
    return [Asked(tag, dictionary_VR(tag), keywords[tag]) for tag in sorted(tag for tag in keywords if tag is not None)]
