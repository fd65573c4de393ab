"""What a unit needs for its next testing package, and the days of the coming months on which something ends.

Three days of a unit and portion are told apart, and the first is never later than the second:

- ``counts_until``, exam day plus the policy's months: the last release date that is sure to admit the exam;
- ``last_release``, the last release date that admits it by the rule. From the day after ``counts_until`` to it, up to
  three days at ends of months, the answer hangs on how months are counted: nobody should plan for those days;
- the day by which a new exam is needed: the planned release date when no exam is sure to count for it, else, without a
  planned release, ``counts_until`` of the newest exam.

All days are local calendar days, all ends included; only the newest exam that counts matters. Where windows have
another length for some release dates (``windows``), the days are those up to which an exam counts without a gap.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from dicom_node.accreditation.months import add_months, counts_until
from dicom_node.accreditation.policies import Policy, Terms
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.standing import (
    CountingExam,
    Release,
    ReleaseState,
    Standing,
    State,
    due_day,
    window_end,
)
from dicom_node.accreditation.units import Enrolment, Unit
from dicom_node.accreditation.windows import Windows

CALENDAR_MONTHS = 14
"""Months that the calendar looks ahead: the longest window of the policies that ship."""

_ONE_DAY = timedelta(days=1)
_OVER = (ReleaseState.PASSED, ReleaseState.CLOSED)
_OUT_OF_SERVICE = (State.RETIRED, State.NOT_REQUIRED)


class Need(StrEnum):
    """Whether a new exam is needed."""

    NO = "no"
    """An exam on file is sure to count for the release."""
    BY = "by"
    """One is needed on or before ``needed_by``."""
    NOW = "now"
    """None is sure to count, and the day by which one was needed is past, or there never was one."""
    NOTHING_DUE = "nothing due"
    """The unit is retired or not applying, or its package is submitted, passed, deficient or closed."""


class EventKind(StrEnum):
    """What happens on a day of the calendar."""

    OPENS = "opens"
    """From this day on a new exam is sure to count for the planned release, which needs one."""
    LAST_DAY = "last_day"
    """Last release date that is sure to admit the newest exam."""
    AMBIGUOUS = "ambiguous"
    """From this day to ``until`` the answer hangs on how months are counted."""
    STOPS = "stops"
    """First release date that admits no exam on file."""
    PLANNED_RELEASE = "planned_release"
    DUE = "due"
    """Due date of the package that is out, printed in it or computed; of a planned one when it is known already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamAhead:
    """An exam on file that counts for the release of the plan."""

    exam_id: str
    day: date
    counts_until: date
    last_release: date
    ambiguous: bool
    """The release lies between the two: it counts by the rule, and nobody should rely on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortionPlan:
    """The plan of one unit in one portion. See the module for the days."""

    unit: str
    portion: Portion
    state: State
    """Standing today."""
    release: date | None
    """The release date that is planned for, or that is out; None without one."""
    release_state: ReleaseState | None
    """``planned`` for one that somebody asked about, too."""
    window_first: date | None
    window_last: date | None
    counting: tuple[ExamAhead, ...]
    """Exams on file that count for ``release``, without one for a package released today; newest first."""
    newest: date | None
    """Day of the newest exam on file, whether it counts or not."""
    counts_until: date | None
    last_release: date | None
    """Both of ``newest``; None when nothing ages."""
    need: Need
    needed_by: date | None
    needed_from: date | None
    """With ``need`` for a planned release: first day of an exam that is sure to count for it, today or later."""
    enrolment: Enrolment | None
    """The enrolment of the unit on the day of a planned release, else today."""
    left_out: date | None
    """Day of the newest exam on file that does not count because it was made outside of that enrolment."""

    @property
    def is_ageing(self) -> bool:
        """Tell whether the exams of the portion age."""
        return self.need is not Need.NOTHING_DUE and self.release_state in (None, ReleaseState.PLANNED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happens to a unit on a day, or from it to ``until``."""

    day: date
    until: date | None = None
    unit: str
    portion: Portion | None = None
    """None when it concerns the unit as a whole."""
    kind: EventKind
    words: str


def first_safe_day(release: date, windows: Windows) -> date:
    """Return the first exam day that is sure to count for a release: by the rule, and by adding months to it too.

    It is the window's first day, or the day after where that was clamped to the end of its month (a release of
    2026-08-31 and six months: the window begins on 2026-02-28, but that day plus six months is 2026-08-28, so
    2026-03-01). It is before the release for every window of one month or more.

    :raises OverflowError: a day is before year 1 or after year 9999.
    """
    first = windows.first_day(release)
    return first if counts_until(first, windows.months_on(release)) >= release else first + _ONE_DAY


def plan_portion(
    unit: Unit,
    standing: Standing,
    exams: Iterable[CountingExam],
    policy: Policy,
    *,
    today: date,
    asked: date | None = None,
) -> PortionPlan:
    """Plan for a portion whose ``standing`` was computed for ``today`` under ``policy``.

    ``exams`` are the unit's counting exams of the portion that are not older than the windows of today and of the
    release in force; those dated after ``today`` do not count yet. ``asked`` is a release date, today or later, that
    somebody asks about instead of a planned one on record. Of a unit whose package is out, submitted or deficient the
    plan is what it is, whatever is asked; after one that passed or is closed the next may be asked about.

    :raises OverflowError: a day is before year 1 or after year 9999.
    """
    windows = policy.windows(standing.portion)
    release, serving = standing.release, standing.state not in _OUT_OF_SERVICE
    if serving and asked is not None and (release is None or release.state in (ReleaseState.PLANNED, *_OVER)):
        release = Release(released_on=asked, due_on=None, state=ReleaseState.PLANNED)
    planned = release is not None and release.state is ReleaseState.PLANNED
    enrolment = unit.enrolment_on(release.released_on if release is not None and planned else today)
    serving = serving and enrolment is not None
    on_file = {exam.exam_id: exam for exam in exams if exam.day <= today}
    if standing.newest is not None:
        on_file[standing.newest.exam_id] = standing.newest
    newest_first = sorted(on_file.values(), key=lambda exam: (exam.day, exam.exam_id), reverse=True)
    outside = [exam for exam in newest_first if enrolment is not None and not enrolment.covers(exam.day)]
    newest_first = [exam for exam in newest_first if exam not in outside]
    target = release or Release(released_on=today, due_on=None, state=ReleaseState.PLANNED)
    counting = [e for e in newest_first if serving and windows.admits(e.day, target.released_on, target.due_on)]
    ahead = tuple(_ahead(exam, target.released_on, windows) for exam in counting)
    newest = newest_first[0] if newest_first else None
    ageing = serving and (release is None or release.state is ReleaseState.PLANNED)
    until = windows.counts_until(newest.day, today) if ageing and newest is not None else None
    need, by = _need(standing, release, ahead, until, today) if serving else (Need.NOTHING_DUE, None)
    return PortionPlan(
        unit=standing.unit,
        portion=standing.portion,
        state=standing.state,
        release=None if release is None else release.released_on,
        release_state=None if release is None else release.state,
        window_first=None if release is None else windows.first_day(release.released_on),
        window_last=None if release is None else window_end(release, windows),
        counting=ahead,
        newest=None if newest is None else newest.day,
        counts_until=until,
        last_release=None if until is None or newest is None else windows.last_release(newest.day, today),
        need=need,
        needed_by=by,
        enrolment=enrolment,
        left_out=outside[0].day if outside else None,
        needed_from=(
            max(today, first_safe_day(release.released_on, windows), _first_enrolled(enrolment))
            if release is not None and ageing and need in (Need.BY, Need.NOW)
            else None
        ),
    )


def _need(
    standing: Standing, release: Release | None, counting: Sequence[ExamAhead], until: date | None, today: date
) -> tuple[Need, date | None]:
    """Tell whether a new exam is needed of a unit in service, and by when."""
    if release is None:
        by = until
        if by is None:
            return Need.NOW, None
    elif release.state is ReleaseState.PLANNED:
        if any(not exam.ambiguous for exam in counting):
            return Need.NO, None
        by = release.released_on
    elif release.state is ReleaseState.RECORDED:
        if counting:
            return Need.NO, None
        assert standing.due is not None  # a package is out
        by = standing.due
    else:
        return Need.NOTHING_DUE, None
    return Need.BY if today <= by else Need.NOW, by


def _first_enrolled(enrolment: Enrolment | None) -> date:
    return date.min if enrolment is None or enrolment.first_day is None else enrolment.first_day


def _ahead(exam: CountingExam, release: date, windows: Windows) -> ExamAhead:
    until = windows.counts_until(exam.day, release)
    return ExamAhead(
        exam_id=exam.exam_id,
        day=exam.day,
        counts_until=until,
        last_release=windows.last_release(exam.day, release),
        ambiguous=until < release,
    )


# The calendar.


def calendar_end(today: date) -> date:
    """Return the last day of the calendar: ``CALENDAR_MONTHS`` calendar months after today, clamped."""
    return add_months(today, CALENDAR_MONTHS)


def calendar(plans: Sequence[PortionPlan], recorded: Release | None, terms: Terms, today: date) -> list[Event]:
    """Return what happens to one unit from ``today`` to ``calendar_end``, both included, earliest first.

    ``plans`` are those of its portions, ``recorded`` its release in force, ``terms`` those of the policy. Days that are
    past are left out; of ambiguous days that have begun already the rest is told. Of a unit for which nothing is due
    there is nothing.

    :raises OverflowError: a day is after year 9999.
    """
    end = calendar_end(today)
    events = [event for plan in plans for event in _of_portion(plan, today)] + list(_of_unit(plans, recorded, terms))
    order = list(EventKind)
    within = [event for event in events if today <= event.day <= end]
    return sorted(within, key=lambda e: (e.day, order.index(e.kind), e.portion or ""))


def _of_portion(plan: PortionPlan, today: date) -> Iterator[Event]:
    """Yield the days of one portion, past ones too."""
    if not plan.is_ageing:
        return

    def event(kind: EventKind, day: date, words: str, until: date | None = None) -> Event:
        return Event(day=day, until=until, unit=plan.unit, portion=plan.portion, kind=kind, words=words)

    exam = f"the {plan.portion.evidence} of {plan.newest}"
    if plan.counts_until is not None and plan.last_release is not None:
        needed = "" if plan.release is not None else "; have a new one by then"
        yield event(EventKind.LAST_DAY, plan.counts_until, f"last day on which {exam} counts{needed}")
        doubtful = max(today, plan.counts_until + _ONE_DAY)
        if doubtful <= plan.last_release:
            words = f"do not rely on {exam}: whether it still counts hangs on how months are counted"
            yield event(EventKind.AMBIGUOUS, doubtful, words, plan.last_release)
        words = f"{exam} no longer counts, and no other does"
        yield event(EventKind.STOPS, plan.last_release + _ONE_DAY, words)
    if plan.needed_from is not None and plan.need is Need.BY and plan.needed_from > today:
        words = f"from here on a new {plan.portion.evidence} counts for the package planned for {plan.release}"
        yield event(EventKind.OPENS, plan.needed_from, words)


def _of_unit(plans: Sequence[PortionPlan], recorded: Release | None, terms: Terms) -> Iterator[Event]:
    """Yield the days of the unit's testing package."""
    if not plans or all(plan.need is Need.NOTHING_DUE for plan in plans):
        return
    unit, planned = plans[0].unit, plans[0].release
    if planned is not None and plans[0].release_state is ReleaseState.PLANNED:
        words = "planned release of the testing package: " + "; ".join(_at_release(plan) for plan in plans)
        yield Event(day=planned, unit=unit, kind=EventKind.PLANNED_RELEASE, words=words)
    if recorded is None or recorded.state not in (ReleaseState.PLANNED, ReleaseState.RECORDED):
        return
    if recorded.state is ReleaseState.PLANNED and recorded.released_on != planned:
        words = "release that is planned on record; another day was asked about"
        yield Event(day=recorded.released_on, unit=unit, kind=EventKind.PLANNED_RELEASE, words=words)
    if recorded.state is ReleaseState.RECORDED:
        computed = "" if recorded.due_on is not None else f" ({terms.testing_days} days from it; none is printed)"
        words = f"due date of the package of {recorded.released_on}{computed}{_lacking(plans)}"
        yield Event(day=due_day(recorded, terms), unit=unit, kind=EventKind.DUE, words=words)
    elif recorded.due_on is not None:
        words = f"due date of the package planned for {recorded.released_on}"
        yield Event(day=recorded.due_on, unit=unit, kind=EventKind.DUE, words=words)


def _at_release(plan: PortionPlan) -> str:
    if plan.need is Need.NO:
        return f"{plan.portion.label} has {plan.portion.one} that counts"
    doubtful = " (the one on file is not to be relied on)" if plan.counting else ""
    return f"{plan.portion.label} needs a new {plan.portion.noun} by then{doubtful}"


def _lacking(plans: Iterable[PortionPlan]) -> str:
    lacking = [f"a {plan.portion.evidence}" for plan in plans if plan.need is not Need.NO]
    return f": {' and '.join(lacking)} needed by then" if lacking else ": something of every portion is inside"
