"""Where a unit stands in each portion on a given day.

What ages depends on the testing package (the *release*):

- none, or one that is only planned: the exams age. The window slides with each day, and the newest exam is counted down
  to the last day on which a package may be released and still admit it.
- recorded: nothing ages. The window is frozen at the release date; a portion without an exam inside is counted down to
  the package's due date: the printed one, else the policy's days of testing after the release.
- submitted, passed, deficient, closed: nothing ages and nothing is counted down. The state is ``secured`` when an exam
  lies inside the window, else ``ok``: what was submitted may never have passed through this node.

Exams and packages bear on the enrolment in whose days they fall: a unit that moved to another site begins anew there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum

from dicom_node.accreditation.policies import Policy, Terms
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.units import Enrolment, Unit
from dicom_node.accreditation.windows import Windows


class State(StrEnum):
    """Standing of a unit in a portion."""

    OK = "ok"
    """The newest exam counts, and will for longer than the warning days; or nothing is due at all."""
    NEARING = "nearing"
    """The newest exam counts, and the day it is counted down to is within the warning days or just past."""
    LAPSED = "lapsed"
    """A package released today would admit no exam of the unit."""
    MISSING = "missing"
    """The unit never had an exam of the portion, or no survey was ever recorded."""
    SECURED = "secured"
    """An exam lies inside the window of the package."""
    SHORT = "short"
    """No exam lies inside the window of the recorded package."""
    RETIRED = "retired"
    NOT_REQUIRED = "not required"
    """The unit is not applying for accreditation, or is enrolled nowhere on that day."""


SEVERITY = (
    State.NOT_REQUIRED,
    State.RETIRED,
    State.SECURED,
    State.OK,
    State.NEARING,
    State.MISSING,
    State.LAPSED,
    State.SHORT,
)
"""States from best to worst. A package that is out and short has a due date running, so it is the worst."""


class ReleaseState(StrEnum):
    """Life of a testing package (a release) of a unit, in its order."""

    PLANNED = "planned"
    RECORDED = "recorded"
    SUBMITTED = "submitted"
    PASSED = "passed"
    DEFICIENT = "deficient"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A testing package of one unit: the day it was (or is expected to be) released, and its printed due date."""

    released_on: date
    due_on: date | None
    state: ReleaseState


@dataclass(frozen=True, slots=True, kw_only=True)
class CountingExam:
    """A dated exam of one portion that nobody excluded, or a survey that nobody withdrew."""

    exam_id: str
    day: date
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one unit stands in one portion. All dates are local calendar dates, all ends included."""

    unit: str
    portion: Portion
    state: State
    newest: CountingExam | None
    """The newest exam that counts (with a recorded release: the newest inside the window, else the newest of all)."""
    counts_until: date | None
    """The exam's date plus the policy's months, clamped: the day reminders count to. None when nothing ages."""
    last_release: date | None
    """The latest release date whose window admits the exam. None when nothing ages."""
    days_left: int | None
    """Days from today to ``cutoff``; negative once past."""
    cutoff: date | None
    """What is counted down to: ``counts_until``, or the package's due date when short."""
    release: Release | None
    """The release in force."""
    window_first: date | None
    """First exam day, included, that the release in force admits."""
    window_last: date | None
    """Last exam day, included, that the release in force admits: its due date where one is recorded."""
    due: date | None = None
    """Day on which the package is due when it is recorded (``due_day``); None in every other state."""
    policy_id: str
    counts_for_planned: bool | None = None
    """With a planned release: would the newest exam still count for it? None without a plan or an exam."""


def standing(
    unit: Unit,
    portion: Portion,
    exams: Iterable[CountingExam],
    releases: Iterable[Release],
    policy: Policy,
    *,
    today: date,
    warn_days: int,
) -> Standing:
    """Tell where ``unit`` stands in ``portion`` on the local day ``today``.

    ``exams`` are the unit's counting exams of the portion, ``releases`` its testing packages, both in any order; of the
    exams, those that ``deciding_days`` tells of are enough. An exam later than ``today`` does not count yet. Whether an
    exam still counts is decided by the rule alone (``last_release``); the countdown runs to ``counts_until``, up to
    three days earlier, so that a warning is never late. ``warn_days`` is the number of days before the cutoff, that day
    included, from which the state is ``nearing``.
    """
    windows = policy.windows(portion)
    past = sorted((exam for exam in exams if exam.day <= today), key=lambda exam: (exam.day, exam.exam_id))
    enrolment = unit.enrolment_on(today)
    if enrolment is not None:
        past = [exam for exam in past if enrolment.covers(exam.day)]
    newest = past[-1] if past else None
    release = release_in_force(bearing_on(enrolment, releases))
    is_out = release is not None and release.state is ReleaseState.RECORDED
    still = Standing(
        unit=unit.id,
        portion=portion,
        state=State.OK,
        newest=newest,
        counts_until=None,
        last_release=None,
        days_left=None,
        cutoff=None,
        release=release,
        window_first=None if release is None else windows.first_day(release.released_on),
        window_last=None if release is None else window_end(release, windows),
        due=due_day(release, policy.terms) if release is not None and is_out else None,
        policy_id=policy.id,
    )
    if unit.retired_on is not None and unit.retired_on < today:
        return replace(still, state=State.RETIRED)
    if not unit.applying or enrolment is None:
        return replace(still, state=State.NOT_REQUIRED)
    if release is not None and release.state is not ReleaseState.PLANNED:
        inside = [e for e in past if windows.admits(e.day, release.released_on, release.due_on)]
        if inside:
            return replace(still, state=State.SECURED, newest=inside[-1])
        if still.due is None:
            return still
        return replace(still, state=State.SHORT, cutoff=still.due, days_left=(still.due - today).days)
    if newest is None:
        return replace(still, state=State.MISSING)
    cutoff = windows.counts_until(newest.day, today)
    latest = windows.last_release(newest.day, today)
    still_counts = State.NEARING if (cutoff - today).days <= warn_days else State.OK
    planned = None if release is None else windows.admits(newest.day, release.released_on, release.due_on)
    return replace(
        still,
        state=still_counts if today <= latest else State.LAPSED,
        counts_until=cutoff,
        last_release=latest,
        cutoff=cutoff,
        days_left=(cutoff - today).days,
        counts_for_planned=planned,
    )


def bearing_on(enrolment: Enrolment | None, releases: Iterable[Release]) -> list[Release]:
    """Return the packages that belong to an enrolment, released while it lasts; without one all of them."""
    return [each for each in releases if enrolment is None or enrolment.covers(each.released_on)]


def deciding_days(releases: Iterable[Release], windows: Windows, today: date) -> set[date]:
    """Return the days of which a standing depends on the newest exam up to each, and on no other exam.

    ``releases`` are those that bear on the enrolment in force, in whose days those exams lie.
    """
    release = release_in_force(releases)
    return {today} if release is None else {today, min(today, window_end(release, windows))}


def window_end(release: Release, windows: Windows) -> date:
    """Return the last exam day, included, that a package admits: its due date where one is recorded."""
    return release.due_on or windows.last_day(release.released_on)


def due_day(release: Release, terms: Terms) -> date:
    """Return the day a package is due: the one printed in it, else ``terms.testing_days`` days after its release.

    :raises OverflowError: the day is after year 9999.
    """
    return release.due_on or release.released_on + timedelta(days=terms.testing_days)


def release_in_force(releases: Iterable[Release]) -> Release | None:
    """Return the newest release that is not closed, else the newest closed one, else None.

    Of two with the same date the one further on in its life is taken; of two that are alike in that too, the stricter:
    the one with the earlier due date.
    """
    lives = list(ReleaseState)

    def rank(release: Release) -> tuple[bool, date, int, int]:
        strictness = -(release.due_on or date.max).toordinal()
        return release.state is not ReleaseState.CLOSED, release.released_on, lives.index(release.state), strictness

    return max(releases, default=None, key=rank)


def is_not_watched(standing: Standing) -> bool:
    """Tell whether nobody keeps surveys of the unit here, and no package asks for one: then nobody is bothered."""
    return standing.portion is Portion.PHYSICIST and standing.state is State.MISSING


def worst(standings: Iterable[Standing]) -> Standing:
    """Return the worst standing of a unit's portions; of equally bad ones that with the earliest cutoff.

    A physicist report that nobody watches (``is_not_watched``) is left out where there is another.

    :raises ValueError: there is no standing.
    """
    several = list(standings)
    return max(
        [each for each in several if not is_not_watched(each)] or several,
        key=lambda s: (SEVERITY.index(s.state), -(s.cutoff or date.max).toordinal()),
    )


def earliest_cutoff(standings: Iterable[Standing]) -> date | None:
    """Return a unit's cutoff: the earliest of its portions, whichever portion is the worst; None when none runs."""
    return min((s.cutoff for s in standings if s.cutoff is not None), default=None)
