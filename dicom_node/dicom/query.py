"""A C-FIND request identifier, read and checked: what is asked at which level, and what is to be returned.

PS3.4 C.4.1 (C-FIND), C.6.1 and C.6.2 (the Patient Root and Study Root models), C.2.2 (keys). Above the level of the
query every unique key is given with one value, unless relational queries were negotiated (``dicom.extended``).

What the standard leaves open is decided here:

- Keys of the levels above are answered and matched too, though a hierarchical query should not hold them: many do.
- A key the node does not support is left out of the answers, which then carry the status 0xFF01 (PS3.4 C.4.1.1.4). A
  key of a level below counts as one; a unique key of a level below that has a value is an error.
- Text beyond ASCII in a request that names no character set is read as UTF-8 where it is that, else as Latin-1.
- The node's own keys are elements ``xx01`` to ``xx05`` of the block that ``DICOM_NODE`` reserves in group 0079 of the
  identifier (PS3.5 7.8.1). Block 10 is understood without its private creator too, for tools that cannot send one.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import Literal

from pydicom.datadict import dictionary_keyword, dictionary_VM, dictionary_VR

from dicom_node.dicom import charsets, zones
from dicom_node.dicom.extended import BASELINE, Extended
from dicom_node.dicom.identifiers import Element, Encoding, read_elements
from dicom_node.dicom.keys import (
    BY_KEYWORD,
    BY_TAG,
    DESCENDING_KEYWORDS,
    KEYS,
    PRIVATE_CREATOR,
    PRIVATE_GROUP,
    Key,
    KeyType,
    Level,
)
from dicom_node.dicom.matching import AnyItem, Condition, Exact, date_and_time, make_test
from dicom_node.errors import InvalidQueryError

LONGEST_VALUE = 1024
"""Longest value of a key but a list of UIDs, in characters; the longest that the standard allows is a name of 194."""

MOST_UIDS = 1000
"""Most values in a list of UIDs."""

CHARACTER_SET_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""The value representations that Specific Character Set rules (PS3.5 6.1.2.3)."""

_CHARACTER_SET, _LEVEL, _ZONE = 0x00080005, 0x00080052, 0x00080201
_NO_KEYS = frozenset(
    {
        _CHARACTER_SET,
        _LEVEL,
        0x00080054,  # Retrieve AE Title and
        0x00080056,  # Instance Availability: in every answer, and the same in each
        _ZONE,  # of no effect unless negotiated (PS3.4 C.4.1.1.3.1)
    }
)


_UNIQUE_KEYS = tuple(key for key in KEYS if key.type is KeyType.UNIQUE)

_character_sets = lru_cache(maxsize=64)(charsets.character_sets)


class Root(StrEnum):
    """The information model of a query."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"

    @property
    def top(self) -> Level:
        """The highest level of the model; keys of the patient belong to it in Study Root as well."""
        return Level[self.value]


@dataclass(frozen=True, slots=True)
class Asked:
    """An element to be returned, with its tag on the wire; of a sequence also those of its items (none: all)."""

    tag: int
    vr: str
    keyword: str
    items: tuple["Asked", ...] = ()


@dataclass(frozen=True)
class Query:
    """A query that follows the rules."""

    level: Level
    conditions: tuple[Condition, ...]
    """On the record of the level; keys of the levels above included."""
    instance_conditions: tuple[Condition, ...]
    """On one instance below (keys of DESCENDING_KEYWORDS asked above their level): one has to satisfy all of them."""
    asked: tuple[Asked, ...]
    """In ascending order of tags."""
    private_block: int
    """The block of group 0079 in which the node's own keys are answered."""
    character_set: str
    """Specific Character Set of the request, several values joined by a backslash; "" when it named none."""
    has_unsupported_keys: bool
    zone: timedelta | None = None
    """The offset from UTC in which dates and times are asked and answered; None for as they are stored."""

    @cached_property
    def keywords(self) -> frozenset[str]:
        """Every keyword that the query matches or returns, and what is needed to bring those to its zone."""
        conditions = (*self.conditions, *self.instance_conditions)
        keywords = frozenset(asked.keyword for asked in self.asked) | {condition.keyword for condition in conditions}
        return keywords if self.zone is None else keywords | zones.needed_for(keywords - self._descending(keywords))

    def _descending(self, keywords: frozenset[str]) -> frozenset[str]:
        return frozenset(keyword for keyword in keywords if descends(keyword, self.level))

    @cached_property
    def descending(self) -> frozenset[str]:
        """The keywords among them that belong to instances below the level."""
        return self._descending(self.keywords)

    @property
    def names_studies(self) -> bool:
        """Tell whether the query names the study, or the few studies, that its records are of."""
        return any(
            condition.keyword == "StudyInstanceUID" and isinstance(condition.test, Exact)
            for condition in self.conditions
        )


_asked = lru_cache(maxsize=512)(Asked)  # most queries ask for the same


@lru_cache(maxsize=512)
def descends(keyword: str, level: Level) -> bool:
    """Tell whether a key asked at ``level`` is answered from the instances below."""
    return keyword in DESCENDING_KEYWORDS and BY_KEYWORD[keyword].level > level in {Level.STUDY, Level.SERIES}


def parse_query(identifier: bytes, encoding: Encoding, root: Root, extended: Extended = BASELINE) -> Query:
    """Read a request identifier by what was negotiated.

    Raises InvalidQueryError, in a sentence without values, when it breaks a rule.
    """
    elements = {element.tag: element for element in read_elements(identifier, encoding)}
    level = level_of(elements, root)
    return _Parser(elements, encoding, level, root, extended).parse()


def level_of(elements: Mapping[int, Element], root: Root) -> Level:
    """Return the QueryRetrieveLevel of an identifier, its elements by tag. Raises InvalidQueryError."""
    text = elements[_LEVEL].value.strip(b" \0") if _LEVEL in elements else b""
    if not text:
        raise InvalidQueryError("QueryRetrieveLevel is missing")
    level = Level.__members__.get(text.decode("ascii", "replace"))
    if level is None:
        raise InvalidQueryError("QueryRetrieveLevel is not PATIENT, STUDY, SERIES or IMAGE")
    if level < root.top:
        raise InvalidQueryError("Study Root has no PATIENT level")
    return level


class _Parser:
    def __init__(
        self, elements: dict[int, Element], encoding: Encoding, level: Level, root: Root, extended: Extended
    ) -> None:
        self._elements = elements
        self._extended = extended
        self._byte_order: Literal["little", "big"] = "little" if encoding.little_endian else "big"
        self._level = level
        self._root = root
        self._block = self._private_block()
        named = elements[_CHARACTER_SET].value if _CHARACTER_SET in elements else b""
        self._character_set = named.decode("ascii", "replace").strip(" \0")
        self._sets = _character_sets(self._character_set)
        self._zone = self._asked_zone() if extended.zone else None

    def parse(self) -> Query:
        conditions: list[Condition] = []
        instance_conditions: list[Condition] = []
        asked: list[Asked] = []
        unsupported = False
        combined = {condition.keyword: condition for condition in self._combined()}
        in_combined = {*combined, *(zones.TIME_OF[date] for date in combined)}
        for tag, element in sorted(self._elements.items(), key=itemgetter(0)):
            if tag in _NO_KEYS or self._is_creator(tag):
                continue
            key = self._key(tag)
            if key is None or not self._is_answered(key):
                if key is not None and key.type is KeyType.UNIQUE and element.value.strip(b" \0"):
                    raise InvalidQueryError(f"{key.keyword} is below the {self._level.name} level")
                unsupported = True
                continue
            asked.append(_asked(tag, key.vr, key.keyword, self._asked_items(element)))
            condition = combined.get(key.keyword)
            if key.keyword not in in_combined and (element.value or element.items):
                condition = self._condition(key, element)
            if condition is not None:
                (instance_conditions if descends(key.keyword, self._level) else conditions).append(condition)
        if not self._extended.relational:
            self._check_hierarchy(conditions)
        return Query(
            level=self._level,
            conditions=tuple(conditions),
            instance_conditions=tuple(instance_conditions),
            asked=tuple(asked),
            private_block=self._block,
            character_set=self._character_set,
            has_unsupported_keys=unsupported,
            zone=self._zone,
        )

    def _private_block(self) -> int:
        for tag in sorted(self._elements):
            if self._is_creator(tag) and self._elements[tag].value.strip(b" \0") == PRIVATE_CREATOR.encode():
                return tag & 0xFF
        taken = any(self._is_creator(tag) and tag & 0xFF == 0x10 for tag in self._elements)
        return 0 if taken else 0x10

    @staticmethod
    def _is_creator(tag: int) -> bool:
        return tag >> 16 & 1 == 1 and 0x10 <= tag & 0xFFFF <= 0xFF

    def _key(self, tag: int) -> Key | None:
        if tag >> 16 != PRIVATE_GROUP:
            return BY_TAG.get(tag)
        return BY_TAG.get(PRIVATE_GROUP << 16 | 0x1000 | tag & 0xFF) if tag >> 8 & 0xFF == self._block else None

    def _is_answered(self, key: Key) -> bool:
        if key.level is Level.PATIENT and not key.column:  # what a patient has is counted where patients are answered
            return self._level is Level.PATIENT
        return key.level <= self._level or descends(key.keyword, self._level)

    def _asked_zone(self) -> timedelta | None:
        element = self._elements.get(_ZONE)
        text = "" if element is None else element.value.decode("ascii", "replace").strip(" \0")
        try:
            return zones.offset(text) if text else None
        except ValueError:
            raise InvalidQueryError("TimezoneOffsetFromUTC is no offset from UTC") from None

    def _combined(self) -> Iterator[Condition]:
        """Yield the conditions on dates that are compared together with their times."""
        if not self._extended.date_time:
            return
        for date, time in zones.TIME_OF.items():
            keys = BY_KEYWORD[date], BY_KEYWORD[time]
            elements = [self._elements.get(key.tag) for key in keys]
            if descends(date, self._level) or not all(self._is_answered(key) for key in keys) or None in elements:
                continue
            first, second = (element.value.decode("ascii", "replace") for element in elements if element is not None)
            if max(len(first), len(second)) > LONGEST_VALUE:
                continue  # refused as each of them is
            try:
                test = date_and_time(first, second, time)
            except ValueError as error:
                raise InvalidQueryError(f"{date} {error}") from None
            if test is not None:
                yield Condition(date, test if self._zone is None else zones.in_zone(test, self._zone))

    def _condition(self, key: Key, element: Element) -> Condition | None:
        if key.vr == "SQ":
            conditions = self._item_conditions(key.keyword, element)
            return Condition(key.keyword, AnyItem(conditions)) if conditions else None
        knows = key.type is not KeyType.UNIQUE and not key.private and not descends(key.keyword, self._level)
        # Multiple value matching is of attributes that may have several; any of a list of UIDs and of Modality matches.
        every = self._extended.multiple and key.multiple and key.vr != "UI" and dictionary_VM(key.tag) != "1"
        return self._make_condition(
            key.keyword, key.vr, element, multiple=key.multiple, every=every, unknown_matches=knows
        )

    def _make_condition(
        self,
        keyword: str,
        vr: str,
        element: Element,
        *,
        multiple: bool = False,
        every: bool = False,
        unknown_matches: bool = True,
    ) -> Condition | None:
        text = self._text(keyword, vr, element.value)
        if vr == "UI" and text.count("\\") >= MOST_UIDS:
            raise InvalidQueryError(f"{keyword} lists more than {MOST_UIDS} UIDs")
        if vr != "UI" and len(text) > LONGEST_VALUE:
            raise InvalidQueryError(f"{keyword} is longer than {LONGEST_VALUE} characters")
        try:
            test = make_test(vr, text, multiple=multiple, every=every, extended=self._extended)
        except ValueError as error:
            raise InvalidQueryError(f"{keyword} {error}") from None
        if test is not None and self._zone is not None and keyword in zones.ADJUSTED:
            test = zones.in_zone(test, self._zone)
        return None if test is None else Condition(keyword, test, multiple, unknown_matches)

    def _text(self, keyword: str, vr: str, value: bytes) -> str:
        if vr == "US" and len(value) == 2:
            return str(int.from_bytes(value, self._byte_order))
        if vr not in CHARACTER_SET_VRS or (value.isascii() and b"\x1b" not in value):
            return value.decode("ascii", "replace")
        if not self._character_set:
            with contextlib.suppress(UnicodeDecodeError):
                return value.decode("utf-8")
        text, legible = charsets.decode(value, self._sets, name=vr == "PN")
        if not legible or not self._sets.known:
            raise InvalidQueryError(f"{keyword} does not fit the SpecificCharacterSet")
        return text

    def _item_conditions(self, keyword: str, element: Element) -> tuple[Condition, ...]:
        items = element.items or ()
        if len(items) > 1:
            raise InvalidQueryError(f"{keyword} has more than one item to match")
        found = []
        for inner in items[0] if items else ():
            name, vr = _of_dictionary(inner.tag)
            if not name:
                continue
            if vr == "SQ":
                nested = self._item_conditions(name, inner)
                condition = Condition(name, AnyItem(nested)) if nested else None
            else:
                condition = self._make_condition(name, vr, inner)
            if condition is not None:
                found.append(condition)
        return tuple(found)

    def _asked_items(self, element: Element) -> tuple[Asked, ...]:
        if not element.items:
            return ()
        found = []
        for inner in element.items[0]:
            keyword, vr = _of_dictionary(inner.tag)
            if keyword:
                found.append(Asked(inner.tag, vr, keyword, self._asked_items(inner)))
        return tuple(sorted(found, key=lambda asked: asked.tag))

    def _check_hierarchy(self, conditions: list[Condition]) -> None:
        """Check that every level above has its unique key with one value (PS3.4 C.4.1.2.1)."""
        by_keyword = {condition.keyword: condition.test for condition in conditions}
        for key in _UNIQUE_KEYS:
            if self._root.top <= key.level < self._level:
                test = by_keyword.get(key.keyword)
                if not isinstance(test, Exact) or len(test.values) != 1:
                    raise InvalidQueryError(f"{key.keyword} must have one value at the {self._level.name} level")


def _of_dictionary(tag: int) -> tuple[str, str]:
    """Return keyword and VR of a standard element; two empty texts for any other."""
    try:
        return dictionary_keyword(tag), dictionary_VR(tag)
    except KeyError:
        return "", ""
