"""The stretch of time that a date, time or date-time value covers: what range matching compares.

PS3.5 6.2 (DA, TM, DT) and PS3.4 C.2.2.2.5: a value says as much as it says, so a time of 1030 covers the whole minute.
"""

import calendar
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

_DA = re.compile(r"(\d{4})(\.?)(\d{2})\2(\d{2})")  # with dots: ACR-NEMA 2.0, still met
_TM = re.compile(r"(\d{2})(?:(:?)(\d{2})(?:\2(\d{2})(?:\.(\d{1,6}))?)?)?")  # with colons: likewise
_DT = re.compile(r"(\d{4})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,6}))?)?)?)?)?)?([+-]\d{4})?")

LONGEST = 26
"""Length of the longest value, a DT with a fraction and an offset."""

_FURTHEST_WEST = -12 * 60
_FURTHEST_EAST = 14 * 60


@dataclass(frozen=True, slots=True)
class Span:
    """The first and the last moment that a value covers, both included, to the microsecond.

    ``first`` and ``last`` are naive, as the value wrote them; a time of day lies on 1 January of year 1. ``offset`` is
    the offset from UTC that a DT carried, or None.
    """

    first: datetime
    last: datetime
    offset: timedelta | None = None


def span(vr: str, text: str) -> Span:
    """Return what the ``vr`` (DA, TM or DT) value ``text`` covers. Raises ValueError for anything else."""
    text = text.strip(" \0")
    if len(text) > LONGEST:
        raise ValueError(f"not a {vr} value")
    return _span(vr, text)


@lru_cache(maxsize=4096)  # the values of a query's candidates are mostly alike
def _span(vr: str, text: str) -> Span:
    pattern = {"DA": _DA, "TM": _TM, "DT": _DT}[vr]
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError(f"not a {vr} value")
    if vr == "DA":
        year, _dot, month, day = match.groups()
        return _cover([year, month, day])
    if vr == "TM":
        hour, _colon, minute, second, fraction = match.groups()
        return _cover(["0001", "01", "01", hour, minute, second], fraction)
    *parts, fraction, offset = match.groups()
    covered = _cover(parts, fraction)
    return covered if offset is None else Span(covered.first, covered.last, _offset(offset))


def _cover(parts: list[str | None], fraction: str | None = None) -> Span:
    """Return the span of year, month ... second, of which the last ones may be None."""
    known = [int(part) for part in parts if part is not None]
    year, month, day, hour, minute, second = known + [1, 1, 1, 0, 0, 0][len(known) :]
    second = 59 if second == 60 else second  # a leap second counts as the one before it
    first = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 # naive, as it was written
    if fraction is not None:
        unit = 10 ** (6 - len(fraction))
        first = first.replace(microsecond=int(fraction) * unit)
        return Span(first, first + timedelta(microseconds=unit - 1))
    return Span(first, _end(first, len(known)))


def _end(first: datetime, known: int) -> datetime:
    """Return the last microsecond of the year, month, day, hour, minute or second that begins at ``first``."""
    if known == 1:
        return first.replace(month=12, day=31, hour=23, minute=59, second=59, microsecond=999999)
    if known == 2:
        last_day = calendar.monthrange(first.year, first.month)[1]
        return first.replace(day=last_day, hour=23, minute=59, second=59, microsecond=999999)
    length = {3: timedelta(days=1), 4: timedelta(hours=1), 5: timedelta(minutes=1)}.get(known, timedelta(seconds=1))
    return first + (length - timedelta(microseconds=1))


def _offset(text: str) -> timedelta:
    """Return an offset from UTC, -1200 to +1400 (PS3.5 6.2)."""
    minutes = int(text[1:3]) * 60 + int(text[3:5])
    minutes = -minutes if text[0] == "-" else minutes
    if int(text[3:5]) > 59 or not _FURTHEST_WEST <= minutes <= _FURTHEST_EAST:
        raise ValueError("not an offset from UTC")
    return timedelta(minutes=minutes)


def split_range(vr: str, text: str) -> tuple[str, str]:
    """Split ``low-high``, ``low-``, ``-high`` or a single value into its ends; an open end is "".

    The hyphen of a DT may begin an offset from UTC as well: what can be read as one value with an offset is one value
    (2026-0500), and an offset is split from a range by where the date-times end.
    """
    text = text.strip(" \0")
    candidates = [at for at, character in enumerate(text) if character == "-"]
    if not candidates or (vr == "DT" and _is_value(vr, text)):
        return text, text
    for at in candidates:
        low, high = text[:at].strip(), text[at + 1 :].strip()
        if (low or high) and all(not end or _is_value(vr, end) for end in (low, high)):
            return low, high
    raise ValueError(f"not a {vr} value or range")


def _is_value(vr: str, text: str) -> bool:
    try:
        span(vr, text)
    except ValueError:
        return False
    return True
