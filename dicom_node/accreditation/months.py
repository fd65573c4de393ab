"""Calendar-month arithmetic for testing packages: which exam days a release date admits, and the way back.

A *release* is the day a testing package was released, a *window* the exam days it admits, both ends included. All days
are plain local calendar dates of the proleptic Gregorian calendar, as ``datetime.date`` counts them. Months are
calendar months: stepping by months keeps the day of the month, or takes the last day of a month that is too short, so
six months are 181 to 184 days. The programme defines no method of its own; this one never admits a day that a plain
reading of "within N months" would refuse.

Stepping back and stepping forward are not each other's inverse at month ends. The window is the rule; everything else
is derived from it, and no derived day is stepped from again.
"""

from calendar import monthrange
from datetime import date


def add_months(day: date, months: int) -> date:
    """Step from ``day`` by calendar months, back when ``months`` is negative.

    The day of the month stays; in a month that has no such day the result is that month's last day (2026-08-31 and
    six months back is 2026-02-28).

    :raises OverflowError: the result is before year 1 or after year 9999.
    """
    year, month_index = divmod(day.year * 12 + day.month - 1 + months, 12)
    if not date.min.year <= year <= date.max.year:
        raise OverflowError("the calendar ends at year 9999 and begins at year 1")
    month = month_index + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def first_day(release: date, months: int) -> date:
    """Return the first exam day, included, that a package released on ``release`` admits."""
    return add_months(release, -months)


def last_day(release: date, months: int) -> date:
    """Return the last exam day, included, that a package without a recorded due date admits."""
    return add_months(release, months)


def admits(exam_day: date, release: date, months: int, due: date | None = None) -> bool:
    """Tell whether an exam of ``exam_day`` counts for a package released on ``release``.

    Both ends of the window are included. ``due`` is the due date recorded for the package; without one the window ends
    ``months`` calendar months after the release.
    """
    return first_day(release, months) <= exam_day <= (last_day(release, months) if due is None else due)


def last_release(exam_day: date, months: int) -> date:
    """Return the latest release date whose window still admits ``exam_day``.

    Derived from ``first_day``: an exam of a month's last day is admitted by every release date of the month ``months``
    later, because all the days which that exam's month lacks are clamped to it. It is up to three days after
    ``counts_until`` and never before it.

    :raises OverflowError: the result is after year 9999.
    """
    same_day = add_months(exam_day, months)
    if exam_day.day < monthrange(exam_day.year, exam_day.month)[1]:
        return same_day
    return same_day.replace(day=monthrange(same_day.year, same_day.month)[1])


def counts_until(exam_day: date, months: int) -> date:
    """Return the day reminders count to: ``exam_day`` plus ``months``, clamped to the month's end.

    Every release date up to it, itself included, admits the exam. Where ``last_release`` is later, the days between are
    safe by the rule and unsafe for somebody who adds months, so reminders take the earlier day.

    :raises OverflowError: the result is after year 9999.
    """
    return add_months(exam_day, months)
