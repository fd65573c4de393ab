"""When people are reminded of a standing: a ladder of days before, the day itself, then weekly.

A reminder is worked out from the standing alone, never from what was sent before: after days without a review only the
lowest rung that was crossed is due. Whoever sends compares its ``key`` and ``stage`` with what was last sent.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from dicom_node.accreditation.standing import Standing, State

DEFAULT_LADDER = (60, 30, 14, 7, 3, 1)
"""Days before the cutoff."""


class Severity(StrEnum):
    """How urgent a reminder is."""

    INFO = "info"
    WARNING = "warning"
    """30 days or fewer are left."""
    CRITICAL = "critical"
    """7 days or fewer are left, or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reminder:
    """One reminder of one unit and portion."""

    key: str
    """The same for every reminder of one exam running out, or of one due date without an exam."""
    stage: str
    """``d60`` and the like for the rungs, ``d0`` for the day itself, ``lapsed-w0``, ``lapsed-w1``, ... after it."""
    on: date
    """The local day the stage begins; a late review still finds it due."""
    severity: Severity


def due_reminder(standing: Standing, ladder: Iterable[int], today: date) -> Reminder | None:
    """Return the reminder that holds on ``today``, the lowest rung crossed; None when nothing is near or counted down.

    A missing exam is never reminded of: the unit may not have begun. Stages count to the standing's cutoff, the weeks
    of a lapse from the first day on which the newest exam no longer counts, by the rule; of a due date from the day
    after it.
    """
    begun = [reminder for reminder in _reminders(standing, ladder, today) if reminder.on <= today]
    return begun[-1] if begun else None


def next_reminder(standing: Standing, ladder: Iterable[int], today: date) -> Reminder | None:
    """Return the first reminder that begins after ``today``, None when none will."""
    coming = [reminder for reminder in _reminders(standing, ladder, today) if reminder.on > today]
    return coming[0] if coming else None


def _reminders(standing: Standing, ladder: Iterable[int], today: date) -> list[Reminder]:
    """List the reminders before and on the day, then those of this week and the next of a lapse, earliest first."""
    cutoff = standing.cutoff
    if cutoff is None:
        return []
    if standing.state is State.SHORT:
        subject, last_good_day = f"due-{cutoff.isoformat()}", cutoff
    elif standing.newest is not None and standing.last_release is not None:
        # In the days between the cutoff and the last release the exam still counts: no lapse is announced yet.
        subject, last_good_day = standing.newest.day.isoformat(), standing.last_release
    else:
        return []
    key = f"eligibility/{standing.unit}/{standing.portion}/{subject}"

    def reminder(stage: str, on: date) -> Reminder:
        return Reminder(key=key, stage=stage, on=on, severity=_severity((cutoff - max(on, today)).days))

    before = [reminder(f"d{days}", cutoff - timedelta(days=days)) for days in sorted({0, *ladder}, reverse=True)]
    first_lapsed_day = last_good_day + timedelta(days=1)
    weeks = max(0, (today - first_lapsed_day).days // 7 + 1)
    shown = range(max(0, weeks - 1), weeks + 1)
    after = [reminder(f"lapsed-w{week}", first_lapsed_day + timedelta(weeks=week)) for week in shown]
    return before + after


def _severity(days_left: int) -> Severity:
    if days_left <= 7:
        return Severity.CRITICAL
    return Severity.WARNING if days_left <= 30 else Severity.INFO
