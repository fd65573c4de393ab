"""Attribute matching of C-FIND: the one place that decides whether a stored record answers a query.

PS3.4 C.2.2.2. The index may narrow by SQL what is looked at; it always hands every candidate to ``matches``. Values are
decoded text without padding. What the standard leaves open is decided here:

- Person names match without regard to case, and a key without ``=`` matches any of the three component groups.
- A stored value that is not known (empty or absent) matches every key (C.2.2.1.2, C.2.2.1.3). Not so for unique keys,
  which identify, nor for the node's own keys and those asked above their level, for which it would find every study.
- A key with several values, of an attribute that may have several (and of Modality), matches when any of them does.
- A time covers what it says: a key of 1030 matches every time in that minute.
- Integer strings are compared as numbers.
- Of a date and a time that are compared as one range (C.2.2.2.5.4), a date whose time is not known is its whole day.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dicom_node.dicom.extended import BASELINE, Extended
from dicom_node.dicom.fuzzy import FuzzyName, fuzzy_test
from dicom_node.dicom.spans import Span, span, split_range

WILD_CARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
"""The value representations in which ``*`` and ``?`` are wild cards (PS3.4 C.2.2.2.4)."""

SPAN_VRS = frozenset({"DA", "TM", "DT"})
"""The value representations of range matching (PS3.4 C.2.2.2.5)."""

NUMBER_VRS = frozenset({"IS", "US", "UL", "SS", "SL"})

_ONE_TEXT_VRS = frozenset({"LT", "ST", "UR", "UT"})  # in these a backslash never separates values (PS3.5 6.4)
_INTEGER = re.compile(r" *[+-]?[0-9]{1,20} *")

Record = Mapping[str, Any]
"""Keyword to text; of a sequence: JSON text, or inside an item the list of items itself."""


@dataclass(frozen=True, slots=True)
class Exact:
    """Single value matching, or any of several values (a list of UIDs among them)."""

    values: frozenset[str]

    def accepts(self, stored: str) -> bool:
        """Tell whether ``stored`` is one of the values."""
        return stored in self.values


@dataclass(frozen=True, slots=True)
class WildCard:
    """Wild card matching: ``*`` is any run of characters, ``?`` any one character."""

    pattern: str

    def accepts(self, stored: str) -> bool:
        """Tell whether the whole of ``stored`` fits the pattern."""
        return fits(self.pattern, stored)

    @property
    def prefix(self) -> str:
        """The literal text before the first wild card."""
        return self.pattern[: min(at for at in map(self.pattern.find, "*?") if at >= 0)]

    @property
    def longest_literal(self) -> str:
        """The longest literal run of the pattern."""
        return max(self.pattern.replace("?", "*").split("*"), key=len)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Several values: one has to accept."""

    tests: "tuple[ValueTest, ...]"

    def accepts(self, stored: str) -> bool:
        """Tell whether one of the tests accepts ``stored``."""
        return any(test.accepts(stored) for test in self.tests)


@dataclass(frozen=True, slots=True)
class AllOf:
    """Multiple value matching (PS3.4 C.2.2.2.8): each has to accept one of the stored values."""

    tests: "tuple[ValueTest, ...]"

    def accepts(self, stored: Iterable[str]) -> bool:
        """Tell whether each of the tests accepts one of the values."""
        values = list(stored)
        return all(any(map(test.accepts, values)) for test in self.tests)


@dataclass(frozen=True, slots=True)
class Name:
    """Matching of a person name by component group (PS3.5 6.2.1), without regard to case.

    ``groups`` are folded patterns; one alone is looked for in every group, several in the group at their place.
    """

    groups: tuple[str, ...]

    def accepts(self, stored: str) -> bool:
        """Tell whether the name matches."""
        names = fold_name(stored)
        if len(self.groups) == 1:
            return any(_name_fits(self.groups[0], name) for name in names if name)
        return all(_name_fits(group, name) for group, name in zip(self.groups, names, strict=True) if group)


@dataclass(frozen=True, slots=True)
class Within:
    """Range matching of DA, TM or DT, both ends included; an open end is None. A single value is a range of one."""

    vr: str
    low: Span | None
    high: Span | None
    days_around: int = 0
    """Days by which a stored value may lie outside before it is brought to the zone of the request."""

    def accepts(self, stored: str) -> bool:
        """Tell whether the moment at which ``stored`` begins lies in the range; what is no ``vr`` value does not."""
        try:
            moment = span(self.vr, stored)
        except ValueError:
            return False
        return (self.low is None or _is_at_or_after(moment, self.low)) and (
            self.high is None or _is_at_or_before(moment, self.high)
        )


@dataclass(frozen=True, slots=True)
class DateAndTime:
    """Range matching of a date and its time as one moment, both ends included; an open end is None."""

    time_keyword: str
    days: Within
    """The range of the date alone."""
    low: datetime | None
    high: datetime | None

    def accepts(self, stored: str, time: str = "") -> bool:
        """Tell whether the moment lies in the range: of a date alone, whether some moment of the day does."""
        try:
            day = span("DA", stored)
            first, last = day.first, day.last
            if time:
                first = last = moment_of(day, span("TM", time).first)
        except ValueError:
            return False
        return (self.low is None or self.low <= last) and (self.high is None or first <= self.high)


def moment_of(day: Span, time: datetime) -> datetime:
    """Return the moment at which it is so late, by the time of day that ``time`` has, on the day of ``day``."""
    return datetime.combine(day.first.date(), time.time())


@dataclass(frozen=True, slots=True)
class Empty:
    """Empty value matching (PS3.4 C.2.2.2.7): what has a value is not accepted."""

    def accepts(self, stored: str) -> bool:
        """Tell whether the value is empty."""
        return not stored


@dataclass(frozen=True, slots=True)
class Number:
    """An integer, however it is written."""

    value: int

    def accepts(self, stored: str) -> bool:
        """Tell whether ``stored`` is the same number."""
        return _INTEGER.fullmatch(stored) is not None and int(stored) == self.value


@dataclass(frozen=True, slots=True)
class AnyItem:
    """Sequence matching: one stored item has to match every condition (PS3.4 C.2.2.2.6)."""

    conditions: tuple["Condition", ...]

    def accepts(self, stored: Any) -> bool:
        """Tell whether an item matches."""
        return any(matches(self.conditions, item) for item in items_of(stored))


ValueTest = Exact | WildCard | Name | FuzzyName | Within | Number
Test = ValueTest | AnyOf | AllOf | DateAndTime | Empty | AnyItem


@dataclass(frozen=True, slots=True)
class Condition:
    """One key of a query that narrows it, and what its stored value must be."""

    keyword: str
    test: Test
    multiple: bool = False
    """Stored values are joined by a backslash; one has to match."""
    unknown_matches: bool = True
    """A stored value that is not known matches."""

    def holds(self, record: Record) -> bool:
        """Tell whether the record satisfies the condition."""
        stored = record.get(self.keyword, "")
        if isinstance(self.test, Empty):
            return self.test.accepts(stored)
        if not stored:
            return self.unknown_matches
        if isinstance(self.test, DateAndTime):
            return self.test.accepts(stored, record.get(self.test.time_keyword, ""))
        if self.multiple:
            values = (value.strip() for value in stored.split("\\"))
            return self.test.accepts(values) if isinstance(self.test, AllOf) else any(map(self.test.accepts, values))
        return self.test.accepts(stored)


def matches(conditions: Iterable[Condition], record: Record) -> bool:
    """Tell whether a record satisfies every condition. Without any, it does: universal matching."""
    return all(condition.holds(record) for condition in conditions)


def make_test(
    vr: str, text: str, *, multiple: bool = False, every: bool = False, extended: Extended = BASELINE
) -> Test | None:
    """Return the test that a key's value asks for; None when it matches everything (empty, or ``*`` alone).

    ``multiple``: the key may have several values, any of which is to match, or with ``every`` each of them. A sequence
    has no such value: its test is made of its item's keys. Raises ValueError, saying in a few words what is wrong,
    when the value is none that a key of ``vr`` may have.
    """
    text = text.strip(" \0")
    if extended.empty and text == '""':
        return Empty()
    tests = [_value_test(vr, value, extended) for value in (_values(text) if multiple or vr == "UI" else [text])]
    known = [test for test in tests if test is not None]
    if every and len(known) > 1:
        return AllOf(tuple(known))
    if len(known) < len(tests) or not known:
        return None
    if all(isinstance(test, Exact) for test in known):
        return Exact(frozenset().union(*(test.values for test in known if isinstance(test, Exact))))
    return known[0] if len(known) == 1 else AnyOf(tuple(known))


def _value_test(vr: str, text: str, extended: Extended) -> ValueTest | None:
    if not text or set(text) == {"*"}:
        return None
    if vr in SPAN_VRS:
        return _range_test(vr, text)
    if vr in NUMBER_VRS:
        if _INTEGER.fullmatch(text) is None:
            raise ValueError("is not a whole number")
        return Number(int(text))
    if vr == "UI" and ("*" in text or "?" in text):
        raise ValueError("is a UID and takes no wild card")
    if vr == "PN":
        return (fuzzy_test(text) if extended.fuzzy else None) or _name_test(text)
    return _text_test(vr, text)


def _values(text: str) -> list[str]:
    return [value for value in (part.strip(" \0") for part in text.split("\\")) if value]


def _text_test(vr: str, value: str) -> Exact | WildCard:
    if "\\" in value and vr not in _ONE_TEXT_VRS:  # stored values are without padding each
        value = "\\".join(part.strip(" ") for part in value.split("\\"))
    if vr in WILD_CARD_VRS and ("*" in value or "?" in value):
        return WildCard(value)
    return Exact(frozenset({value}))


def _range_test(vr: str, text: str) -> Within:
    low, high = _ends(vr, text)
    if low is not None and high is not None and not _is_at_or_before(low, high):
        raise ValueError("ends before it begins")
    return Within(vr, low, high)


def _ends(vr: str, text: str) -> tuple[Span | None, Span | None]:
    try:
        low, high = (span(vr, end) if end else None for end in split_range(vr, text))
    except ValueError:
        raise ValueError(f"is no {vr} value or range") from None
    return low, high


def date_and_time(date: str, time: str, time_keyword: str) -> DateAndTime | None:
    """Return the test for a date and its time; None when they are not both ranges of one form (PS3.4 C.2.2.2.5.4).

    Raises ValueError, saying in a few words what is wrong, when one of them is no range or the end comes too early.
    """
    if "-" not in date or "-" not in time:
        return None
    days, times = _ends("DA", date), _ends("TM", time)
    if [end is None for end in days] != [end is None for end in times]:
        return None
    low, high = (
        None if day is None or clock is None else moment_of(day, clock.last if is_end else clock.first)
        for is_end, day, clock in zip((False, True), days, times, strict=True)
    )
    if low is not None and high is not None and high < low:
        raise ValueError("ends before it begins")
    return DateAndTime(time_keyword, Within("DA", *days), low, high)


def _is_at_or_after(moment: Span, low: Span) -> bool:
    return _from(low, low.first, moment) >= timedelta(0)


def _is_at_or_before(moment: Span, high: Span) -> bool:
    return _from(high, high.last, moment) <= timedelta(0)


def _from(end: Span, limit: datetime, moment: Span) -> timedelta:
    """Return the time from ``limit`` of ``end`` to where ``moment`` begins, by UTC where both told their offset."""
    difference = moment.first - limit
    if moment.offset is not None and end.offset is not None:
        difference += end.offset - moment.offset
    return difference


def _name_test(text: str) -> Name | None:
    groups = text.split("=")
    folded = ["" if set(group.strip()) <= {"*"} else _fold_group(group) for group in groups[:3]]
    if not any(folded):
        return None
    return Name((folded[0],) if len(groups) == 1 else (*folded, "", "")[:3])


def fold_name(text: str) -> tuple[str, str, str]:
    """Return the alphabetic, ideographic and phonetic group of a person name, folded for comparing without case.

    Folded: Unicode composed and case-folded, components without surrounding spaces, empty ones at the end left out
    (PS3.5 6.2.1). A group that is absent is "".
    """
    groups = [_fold_group(group) for group in text.split("=")[:3]]
    return (*groups, "", "")[:3]  # type: ignore[return-value] # there is at least one group


def _fold_group(group: str) -> str:
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", group).casefold())
    return "^".join(component.strip(" \0") for component in folded.split("^")).rstrip("^")


def _name_fits(pattern: str, name: str) -> bool:
    if "*" not in pattern and "?" not in pattern:
        return pattern == name
    # Components left out at the end are there all the same: "doe^*" fits "doe" (PS3.5 6.2.1).
    return fits(pattern, name) or fits(pattern, name + "^" * (4 - name.count("^")))


def fits(pattern: str, text: str) -> bool:
    """Tell whether ``text`` as a whole fits a pattern of ``*`` and ``?``; every other character is literal.

    Takes at most len(pattern) * len(text) steps, whatever a peer thinks up.
    """
    at = where = 0
    star, resume = -1, 0
    while where < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, resume = at, where
            at += 1
        elif at < len(pattern) and (pattern[at] == "?" or pattern[at] == text[where]):
            at += 1
            where += 1
        elif star >= 0:
            resume += 1
            at, where = star + 1, resume
        else:
            return False
    return not pattern[at:].strip("*")


def items_of(stored: Any) -> list[dict[str, Any]]:
    """Return the items of a stored sequence: JSON text, or the list itself; nothing when it is neither."""
    if isinstance(stored, str):
        try:
            stored = json.loads(stored)
        except ValueError:
            return []
    return [item for item in stored if isinstance(item, dict)] if isinstance(stored, list) else []
