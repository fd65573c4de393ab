"""Queries as people write them, and answers as people read them: identifiers of the node's own requests.

PS3.4 C.4.1.1.3.1 (request identifier) and C.4.1.1.3.2 (response identifier).
"""

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from dicom_node.dicom import charsets
from dicom_node.dicom.identifiers import Element, Encoding, read_elements, write_element, write_sequence
from dicom_node.dicom.keys import BY_KEYWORD, BY_TAG, PRIVATE_CREATOR, PRIVATE_GROUP, Level
from dicom_node.errors import OperatorError

CHARACTER_SET, LEVEL = 0x00080005, 0x00080052
_CREATOR = PRIVATE_GROUP << 16 | 0x10
_TAG = re.compile(r"\(?([0-9A-Fa-f]{4}),([0-9A-Fa-f]{4})\)?")
_NUMBERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d"}
_WITH_CHARACTER_SET = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_TEXTS = _WITH_CHARACTER_SET | {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"}

_LEVEL_OF = {0x00100020: Level.PATIENT, 0x0020000D: Level.STUDY, 0x0020000E: Level.SERIES, 0x00080018: Level.IMAGE}
"""Unique key to its level."""


@dataclass(frozen=True, slots=True)
class AskedKey:
    """One key of a request: to match when it has a value, to be returned in any case."""

    tag: int
    vr: str
    value: str

    @property
    def name(self) -> str:
        """The keyword, or ``gggg,eeee`` where there is none."""
        return name_of(self.tag)


def name_of(tag: int) -> str:
    """Return the keyword of an attribute, or ``gggg,eeee`` where there is none."""
    key = BY_TAG.get(tag)
    return key.keyword if key else keyword_for_tag(tag) or f"{tag >> 16:04X},{tag & 0xFFFF:04X}"


def parse_key(text: str) -> AskedKey:
    """Read ``KEY=VALUE`` or ``KEY``; a key is a keyword or ``gggg,eeee``. Raises OperatorError.

    The node's own keys, such as CountsUntil, are keywords like others.
    """
    name, _, value = text.partition("=")
    name = name.strip()
    written = _TAG.fullmatch(name)
    if written:
        tag = int(written[1] + written[2], 16)
    elif name in BY_KEYWORD:
        tag = BY_KEYWORD[name].tag
    else:
        found = tag_for_keyword(name) if name else None
        if found is None:
            raise OperatorError(f"{name!a} is no attribute; write a keyword such as StudyDate, or a tag as 0008,0020")
        tag = int(found)
    key = BY_TAG.get(tag)
    try:
        vr = key.vr if key else dictionary_VR(tag)[:2]
    except KeyError:
        raise OperatorError(f"{name!a} is not in the dictionary, so nobody knows how to write it") from None
    asked = AskedKey(tag, vr, value)
    _encoded(asked, Encoding(implicit=True))
    return asked


def level_of(keys: Iterable[AskedKey]) -> Level:
    """Return the level of a request that names none: that of its lowest unique key with a value, else STUDY."""
    levels = [_LEVEL_OF[key.tag] for key in keys if key.tag in _LEVEL_OF and key.value]
    return max(levels, default=Level.STUDY)


def encode_request(keys: Iterable[AskedKey], level: Level, encoding: Encoding) -> bytes:
    """Encode a request identifier; of keys that occur twice the last one counts."""
    by_tag = {key.tag: key for key in keys} | {LEVEL: AskedKey(LEVEL, "CS", level.name)}
    if any(tag >> 16 == PRIVATE_GROUP for tag in by_tag):
        by_tag[_CREATOR] = AskedKey(_CREATOR, "LO", PRIVATE_CREATOR)
    if CHARACTER_SET not in by_tag and not all(key.value.isascii() for key in by_tag.values()):
        by_tag[CHARACTER_SET] = AskedKey(CHARACTER_SET, "CS", charsets.UTF_8)
    return b"".join(_encoded(by_tag[tag], encoding) for tag in sorted(by_tag))


def _encoded(key: AskedKey, encoding: Encoding) -> bytes:
    """Encode one key. Raises OperatorError for a value that its VR does not have."""
    if key.vr == "SQ":
        if key.value:
            raise OperatorError(f"{key.name} is a sequence and cannot be matched here; leave its value out")
        return write_sequence(key.tag, [], encoding)
    value = b""
    if key.vr in _TEXTS:
        value = key.value.encode("utf-8")
    elif key.value:
        try:
            value = b"".join(_number(text, key.vr, encoding) for text in key.value.split("\\"))
        except (KeyError, ValueError, struct.error):
            raise OperatorError(f"{key.name} cannot be {key.value!a}") from None
    return write_element(key.tag, key.vr, value, encoding)


def _number(text: str, vr: str, encoding: Encoding) -> bytes:
    form = _NUMBERS[vr]
    return struct.pack(encoding.order + form, float(text) if form in "fd" else int(text))


def read_answer(data: bytes, encoding: Encoding) -> dict[int, str]:
    """Return the attributes of a response identifier as text, by tag; the node's own by those of the key table.

    Values are joined by backslashes, a sequence is told by its number of items, and what is no text is left out. The
    text is the peer's and may hold anything. Raises InvalidQueryError when it is not a whole data set.
    """
    elements = read_elements(data, encoding)
    texts = {element.tag: element for element in elements}
    named = texts.get(CHARACTER_SET)
    sets = charsets.character_sets(_text(named.value, charsets.DEFAULT, "CS") if named else "")
    blocks = {
        element.tag & 0xFF
        for element in elements
        if element.tag >> 16 == PRIVATE_GROUP
        and element.tag & 0xFF00 == 0
        and _text(element.value, charsets.DEFAULT, "LO") == PRIVATE_CREATOR
    }
    read: dict[int, str] = {}
    for element in elements:
        tag = element.tag
        if tag >> 16 == PRIVATE_GROUP and tag >> 8 & 0xFF in blocks:
            tag = PRIVATE_GROUP << 16 | 0x1000 | tag & 0xFF
        elif tag >> 16 & 1:
            continue
        text = _read(element, tag, sets, encoding)
        if text is not None:
            read[tag] = text
    return read


def _read(element: Element, tag: int, sets: charsets.CharacterSets, encoding: Encoding) -> str | None:
    if element.items is not None:
        return f"({len(element.items)} item{'' if len(element.items) == 1 else 's'})" if element.items else ""
    key = BY_TAG.get(tag)
    try:
        vr = key.vr if key else dictionary_VR(tag)[:2]
    except KeyError:
        return None
    if vr in _TEXTS:
        return _text(element.value, sets, vr)
    form = _NUMBERS.get(vr)
    if form is None or len(element.value) % struct.calcsize(form):
        return None
    return "\\".join(str(number) for (number,) in struct.iter_unpack(encoding.order + form, element.value))


def _text(value: bytes, sets: charsets.CharacterSets, vr: str) -> str:
    known = sets if vr in _WITH_CHARACTER_SET else charsets.DEFAULT
    return charsets.decode(value, known, name=vr == "PN")[0].strip(" \0")


def answer_as_names(answer: Mapping[int, str]) -> dict[str, str]:
    """Return an answer by keyword."""
    return {name_of(tag): text for tag, text in answer.items()}
