"""An independent reference of the date rules: it walks the calendar day by day and knows no month lengths.

Nothing of the product is used here, so that an error of the product cannot be repeated.
"""

from datetime import date, timedelta
from functools import cache

ONE_DAY = timedelta(days=1)


@cache
def months_before(day: date, months: int) -> date:
    """Walk back until ``months`` ends of month were met, then on to the same day of the month if it is further back."""
    walker, met = day, 0
    while met < months:
        yesterday = walker - ONE_DAY
        met += yesterday.month != walker.month
        walker = yesterday
    while walker.day > day.day:
        walker -= ONE_DAY
    return walker


@cache
def months_after(day: date, months: int) -> date:
    """Walk forward until ``months`` beginnings of month were met, then on to the same day while the month lasts."""
    walker, met = day, 0
    while met < months:
        tomorrow = walker + ONE_DAY
        met += tomorrow.month != walker.month
        walker = tomorrow
    while walker.day < day.day and (walker + ONE_DAY).month == walker.month:
        walker += ONE_DAY
    return walker


def admitted(exam_day: date, release: date, months: int, due: date | None = None) -> bool:
    """Tell whether the window of a release holds the exam day."""
    end = due if due is not None else months_after(release, months)
    return not (exam_day < months_before(release, months) or exam_day > end)


def latest_release(exam_day: date, months: int) -> date:
    """Try release dates from far too late down to the first that still reaches back to the exam."""
    release = exam_day + timedelta(days=31 * months + 5)
    while months_before(release, months) > exam_day:
        release -= ONE_DAY
    return release


def state_without_release(exam_days: list[date], months: int, today: date, warn_days: int) -> str:
    """Tell ok, nearing, lapsed or missing by asking which packages, released day after day, would find an exam."""
    done = [day for day in exam_days if day <= today]
    if not done:
        return "missing"
    if not any(admitted(day, today, months) for day in done):
        return "lapsed"
    sure_until = max(months_after(day, months) for day in done)
    return "nearing" if sure_until <= today + timedelta(days=warn_days) else "ok"


def state_with_recorded_release(
    exam_days: list[date], months: int, today: date, release: date, due: date | None
) -> str:
    """Tell secured or short."""
    inside = [day for day in exam_days if day <= today and admitted(day, release, months, due)]
    return "secured" if inside else "short"
