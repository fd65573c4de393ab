"""The identifier of one C-FIND answer: a record of decoded texts into bytes, in a character set that holds all of it.

PS3.4 C.4.1.1.3.2: what was asked comes back, with an empty value where none is known, and Query/Retrieve Level and
where the objects can be had from. Specific Character Set (0008,0005) is in every answer: the one the request named
where it expresses the answer, else ISO_IR 100, else ISO_IR 192.
"""

import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydicom.datadict import dictionary_VR, tag_for_keyword

from dicom_node.dicom import charsets
from dicom_node.dicom.charsets import CharacterSets
from dicom_node.dicom.identifiers import Encoding, write_element, write_sequence
from dicom_node.dicom.keys import PRIVATE_CREATOR, PRIVATE_GROUP
from dicom_node.dicom.matching import AnyItem, items_of, matches
from dicom_node.dicom.query import CHARACTER_SET_VRS, Asked, Query

LONGEST_TEXT = 0xFFFE
"""Longest value of a text element in explicit VR encodings, in bytes; what is longer loses values from its end."""

_ASCII_VRS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})
_NUMBER_SIZES = {"US": 2, "UL": 4}
_UTF_8 = charsets.character_sets(charsets.UTF_8)

_ALWAYS = (
    Asked(0x00080005, "CS", "SpecificCharacterSet"),
    Asked(0x00080052, "CS", "QueryRetrieveLevel"),
    Asked(0x00080054, "AE", "RetrieveAETitle"),
    Asked(0x00080056, "CS", "InstanceAvailability"),
)


class AnswerEncoder:
    """Encodes the answers to one query in one transfer syntax."""

    def __init__(self, query: Query, encoding: Encoding, *, retrieve_ae: str) -> None:
        """Prepare for ``query``; ``retrieve_ae`` is the AE title under which the objects can be retrieved."""
        self._encoding = encoding
        self._order: Literal["little", "big"] = "little" if encoding.little_endian else "big"
        self._fixed = {
            "QueryRetrieveLevel": query.level.name,
            "RetrieveAETitle": retrieve_ae,
            "InstanceAvailability": "ONLINE",
            "PrivateCreator": PRIVATE_CREATOR,
        }
        asked = [*query.asked, *_ALWAYS]
        if any(element.tag >> 16 == PRIVATE_GROUP for element in query.asked):
            asked.append(Asked(PRIVATE_GROUP << 16 | query.private_block, "LO", "PrivateCreator"))
        self._asked = sorted(asked, key=lambda element: element.tag)
        self._item_tests = {
            condition.keyword: condition.test for condition in query.conditions if isinstance(condition.test, AnyItem)
        }
        sets = {name: charsets.character_sets(name) for name in (query.character_set, charsets.LATIN_1, charsets.UTF_8)}
        self._sets = {name: known for name, known in sets.items() if name and known.known}

    def encode(self, record: Mapping[str, str]) -> bytes:
        """Return the identifier of the answer for ``record``: keyword to text, values joined by a backslash."""
        values: dict[str, Any] = {**record, **self._fixed}
        for keyword, test in self._item_tests.items():
            # Only the items that match are sent (PS3.4 C.2.2.2.6).
            values[keyword] = [item for item in items_of(values.get(keyword)) if matches(test.conditions, item)]
        encoded = self._in_first_fitting_set(values)
        if not self._encoding.deflated:
            return encoded
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        encoded = deflater.compress(encoded) + deflater.flush()
        return encoded + b"\0" * (len(encoded) % 2)

    def _in_first_fitting_set(self, values: dict[str, Any]) -> bytes:
        for name, sets in self._sets.items():
            values["SpecificCharacterSet"] = name
            try:
                return self._elements(self._asked, values, sets)
            except UnicodeEncodeError:
                continue
        raise AssertionError("UTF-8 expresses every text")

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
