"""Timezone query adjustment (PS3.4 C.4.1.1.3.1): dates and times in the offset from UTC that a request names.

A date and its time are moved together, as a moment; a date-time by itself. Stored values are in the Timezone Offset
From UTC (0008,0201) of the instance they were taken from, else in the facility's zone. A date whose time is not known,
a time whose date is not known, and a date-time without an hour cannot be moved and stay as they are; so do birth dates
and the days that the node works out.
"""

import re
from collections.abc import MutableMapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

from dicom_node.dicom.matching import DateAndTime, Test, Within, moment_of
from dicom_node.dicom.spans import Span, span

TIME_OF = {
    "StudyDate": "StudyTime",
    "SeriesDate": "SeriesTime",
    "AcquisitionDate": "AcquisitionTime",
    "ContentDate": "ContentTime",
}
"""The keywords of the dates that have a time beside them, and of those times."""

OFFSET_OF = {
    "StudyDate": "StudyOffsetFromUTC",
    "SeriesDate": "SeriesOffsetFromUTC",
    "AcquisitionDate": "InstanceOffsetFromUTC",
    "ContentDate": "InstanceOffsetFromUTC",
    "AcquisitionDateTime": "InstanceOffsetFromUTC",
}
"""What the index calls the offset that the instance named from which a date was taken."""

ADJUSTED = frozenset({*TIME_OF, *TIME_OF.values(), "AcquisitionDateTime"})
"""The keywords of what is moved."""

_DAYS_AROUND = 2  # from -1200 to +1400 are 26 hours
_OFFSET = re.compile(r"[+-](\d{2})([0-5]\d)")
_TO_THE_HOUR = 10  # characters of a date-time with an hour


def offset(text: str) -> timedelta:
    """Return an offset from UTC, -1200 to +1400. Raises ValueError for anything else."""
    if _OFFSET.fullmatch(text) is None:
        raise ValueError("no offset from UTC")
    found = span("DT", f"2000010100{text}").offset
    assert found is not None
    return found


def offset_text(east: timedelta) -> str:
    """Return an offset from UTC as it is written."""
    minutes = abs(east) // timedelta(minutes=1)
    return f"{'-' if east < timedelta(0) else '+'}{minutes // 60:02}{minutes % 60:02}"


def needed_for(keywords: frozenset[str]) -> frozenset[str]:
    """Return what has to be known to move those of ``keywords`` that can be."""
    needed = set()
    for date, its_offset in OFFSET_OF.items():
        pair = {date, TIME_OF.get(date, date)}
        if not pair.isdisjoint(keywords):
            needed |= {*pair, its_offset}
    return frozenset(needed)


def in_zone(test: Test, zone: timedelta) -> Test:
    """Return the test of a key that is asked in ``zone``, for stored values that are brought to it."""
    match test:
        case Within():
            return _within(test, zone)
        case DateAndTime():
            return replace(test, days=_within(test.days, zone))
    return test


def _within(test: Within, zone: timedelta) -> Within:
    if test.vr == "DT":
        return replace(test, low=_placed(test.low, zone), high=_placed(test.high, zone))
    return replace(test, days_around=_DAYS_AROUND)


def _placed(end: Span | None, zone: timedelta) -> Span | None:
    return end if end is None or end.offset is not None else replace(end, offset=zone)


def adjust(record: MutableMapping[str, Any], zone: timedelta, home: tzinfo) -> None:
    """Bring the dates and times of a record to ``zone``; ``home`` is the facility's. The offsets are taken out."""
    for date, time in TIME_OF.items():
        if record.get(date) and record.get(time):
            record[date], record[time] = _moved_pair(
                record[date], record[time], record.get(OFFSET_OF[date], ""), zone, home
            )
    if record.get("AcquisitionDateTime"):
        its_offset = record.get(OFFSET_OF["AcquisitionDateTime"], "")
        record["AcquisitionDateTime"] = _moved(record["AcquisitionDateTime"], its_offset, zone, home)
    for its_offset in OFFSET_OF.values():
        record.pop(its_offset, None)


def _moved_pair(date: str, time: str, its_offset: str, zone: timedelta, home: tzinfo) -> tuple[str, str]:
    try:
        moment = _at(moment_of(span("DA", date), span("TM", time).first), its_offset, zone, home)
    except (ValueError, OverflowError):
        return date, time
    return f"{moment:%Y%m%d}", _clock(moment, time.replace(":", ""))


def _moved(date_time: str, its_offset: str, zone: timedelta, home: tzinfo) -> str:
    try:
        covered = span("DT", date_time)
        if covered.offset is not None:
            its_offset = offset_text(covered.offset)
        written = re.split("[+-]", date_time)[0]
        if len(written) < _TO_THE_HOUR:
            return date_time
        moment = _at(covered.first, its_offset, zone, home)
    except (ValueError, OverflowError):
        return date_time
    return f"{moment:%Y%m%d}{_clock(moment, written[8:])}{offset_text(zone)}"


def _at(local: datetime, its_offset: str, zone: timedelta, home: tzinfo) -> datetime:
    """Return what the clocks in ``zone`` say at a moment that is written in the zone of the instance."""
    try:
        there: tzinfo = timezone(offset(its_offset))
    except ValueError:
        there = home
    return local.replace(tzinfo=there).astimezone(UTC).astimezone(timezone(zone))


def _clock(moment: datetime, written: str) -> str:
    """Write a time as exactly as it was written, and to the minute where only then it is right."""
    hours_minutes_seconds, point, fraction = written.partition(".")
    digits = max(len(hours_minutes_seconds), 4 if moment.minute else 2)
    return f"{moment:%H%M%S}"[:digits] + point + fraction
