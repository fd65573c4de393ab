"""The calendar day of a date or date-time, as the unit wrote it: no zone is applied and no time of day kept."""

import re
from datetime import date
from functools import lru_cache

_DA = re.compile(r"([0-9]{4})(\.?)([0-9]{2})\2([0-9]{2})")
_LONGEST_DA = len("2026.05.04")
_DT = re.compile(r"([0-9]{8})(?:[0-9]{2}){0,3}(?:\.[0-9]{1,6})?(?:[+-][0-9]{4})?")


def parse_da(text: str) -> date | None:
    """Return the day of a DA (PS3.5 6.2), YYYYMMDD or YYYY.MM.DD as old devices write it; None when it is none."""
    text = text.strip(" \0")
    return _da(text) if len(text) <= _LONGEST_DA else None


def parse_dt(text: str) -> date | None:
    """Return the day of a DT (PS3.5 6.2) that tells at least the day; None for less or for what is no DT.

    The day is the local one: an offset suffix says where that is and changes nothing.
    """
    match = _DT.fullmatch(text.strip(" \0"))
    return _da(match[1]) if match else None


@lru_cache(maxsize=1024)
def _da(text: str) -> date | None:
    match = _DA.fullmatch(text)
    return _date(match[1], match[3], match[4]) if match else None


def _date(year: str, month: str, day: str) -> date | None:
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None
