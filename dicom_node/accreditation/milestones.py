"""Milestones of an accreditation cycle, ahead of the testing package: what is expected of the facility by which day.

From the expiry and the policy's terms: the renewal notice, the day the application is due, the first day whose cases
the package will admit, and the expiry itself. The programme sends one notice in three years, so each is reminded of.

A milestone ends by what is recorded of the cycle's packages, never by its day alone:

- a package that is recorded, or further on, ends the notice and the application;
- collecting cases ends with the last planned release, once a package is recorded; of planned ones the earliest decides;
- the notice ends, too, on the day the application is due, which then says the same more urgently;
- when every package has passed, only the expiry is left, until the next cycle is recorded or this one is closed.

The package of an addendum, released while more than the policy's ``addendum_months`` are left, says nothing of the
renewal; cases are collected for it all the same. All days are local calendar days, months those of ``months``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum

from dicom_node.accreditation.cycles import Joining, joining
from dicom_node.accreditation.explain import rule_sentence
from dicom_node.accreditation.months import add_months
from dicom_node.accreditation.plan import first_safe_day
from dicom_node.accreditation.policies import Policy
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.reminders import Reminder, Severity
from dicom_node.accreditation.standing import Release, ReleaseState

DEFAULT_LADDER = (60, 30, 14, 7, 1)
"""Days before a milestone."""


class MilestoneKind(StrEnum):
    """What is expected on a day."""

    COLLECT = "collect"
    """First exam day that the earliest planned release admits in the clinical portion."""
    NOTICE = "notice"
    """The renewal notice is expected."""
    APPLICATION = "application"
    """The application is due."""
    EXPIRY = "expiry"
    """Last day of the accreditation."""


class MilestoneState(StrEnum):
    """Whether a milestone lies ahead."""

    AHEAD = "ahead"
    """Its day is today or later."""
    PAST = "past"
    """Its day is past, and nothing that is recorded ended it."""
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestone:
    """One milestone of a cycle."""

    kind: MilestoneKind
    day: date
    arithmetic: str
    """How the day was reached, in one or two sentences."""
    state: MilestoneState = MilestoneState.AHEAD
    is_estimate: bool = False
    """No release is planned, so the day hangs on the earliest that is possible."""
    is_quiet: bool = False
    """Told on its day and after it alone: the renewal has passed, and only the next cycle is to be recorded."""


REPEATED = frozenset({MilestoneKind.APPLICATION, MilestoneKind.EXPIRY})
"""What is told weekly once it is past."""

_MOST = {MilestoneKind.NOTICE: Severity.INFO, MilestoneKind.COLLECT: Severity.WARNING}
"""How urgent a kind becomes at most; the others become critical."""


def milestones(
    expires_on: date | None,
    releases: Iterable[Release],
    policy: Policy,
    *,
    today: date,
    has_passed: bool = False,
    is_over: bool = False,
) -> list[Milestone]:
    """Return the milestones of a cycle, earliest first.

    ``expires_on`` is the last day of the accreditation that is renewed, None before the first one: then there is
    nothing but the day to collect cases from, once a release is planned. ``releases`` are the packages of its units;
    closed ones say nothing. ``has_passed`` tells that every unit's package has passed; ``is_over`` that the cycle is
    closed, or has passed and a later one is recorded.

    :raises OverflowError: a day is before year 1.
    """
    several = [each for each in releases if each.state is not ReleaseState.CLOSED]
    has_begun = any(
        each.state is not ReleaseState.PLANNED
        and joining(expires_on, each.released_on, policy.terms) is not Joining.ADDENDUM
        for each in several
    )
    planned = min((each.released_on for each in several if each.state is ReleaseState.PLANNED), default=None)
    found = [] if expires_on is None else _of_renewal(expires_on, policy)
    due = next((each.day for each in found if each.kind is MilestoneKind.APPLICATION), None)
    if (earliest := planned or due) is not None:
        found.append(_collect(earliest, policy, is_planned=planned is not None))
    ended = {MilestoneKind.NOTICE, MilestoneKind.APPLICATION} if has_begun else set()
    ended |= {MilestoneKind.NOTICE} if due is not None and due <= today else set()
    ended |= {MilestoneKind.COLLECT} if has_begun and planned is None else set()
    ended |= set(MilestoneKind) if is_over else set()
    made = [
        replace(
            each,
            state=MilestoneState.DONE if each.kind in ended else _state(each.day, today),
            is_quiet=each.kind is MilestoneKind.EXPIRY and has_passed and has_begun,
        )
        for each in found
    ]
    return sorted(made, key=lambda each: (each.day, list(MilestoneKind).index(each.kind)))


def _state(day: date, today: date) -> MilestoneState:
    return MilestoneState.AHEAD if today <= day else MilestoneState.PAST


def _of_renewal(expires_on: date, policy: Policy) -> list[Milestone]:
    """Return what hangs on the expiry alone: notice, application, and the expiry itself."""
    terms = policy.terms
    notice, latest = (add_months(expires_on, -each) for each in (terms.notice_months, terms.application_months))
    after_notice = notice + timedelta(days=terms.application_days)
    due = min(after_notice, latest)
    return [
        Milestone(
            kind=MilestoneKind.NOTICE,
            day=notice,
            arithmetic=f"{expires_on} minus {_months(terms.notice_months)} is {notice}.",
        ),
        Milestone(
            kind=MilestoneKind.APPLICATION,
            day=due,
            arithmetic=(
                f"The notice expected on {notice} plus {terms.application_days} calendar days is {after_notice}; "
                f"{expires_on} minus {_months(terms.application_months)} is {latest}; the earlier day is {due}."
            ),
        ),
        Milestone(
            kind=MilestoneKind.EXPIRY,
            day=expires_on,
            arithmetic=f"The accreditation is recorded to end on {expires_on}, that day included.",
        ),
    ]


def _collect(release: date, policy: Policy, *, is_planned: bool) -> Milestone:
    """Return the first exam day that a release admits in the clinical portion."""
    windows = policy.windows(Portion.CLINICAL)
    first, safe = windows.first_day(release), first_safe_day(release, windows)
    minus = f"{release} minus {_months(windows.months_on(release))} is {first}."
    if is_planned:
        words = f"The earliest release that is planned is {release}; {minus}"
    else:
        words = (
            f"No release is planned, so this is an estimate: the earliest possible one is taken to be {release}, the "
            f"day the application is due; {minus}"
        )
    if safe > first:
        words += f" A case of {first} counts by one way of counting months only; one of {safe} counts by both."
    return Milestone(kind=MilestoneKind.COLLECT, day=first, arithmetic=words, is_estimate=not is_planned)


def _months(number: int) -> str:
    return f"{number} calendar month{'' if number == 1 else 's'}"


def milestone_reminder(cycle_id: str, of: Milestone, ladder: Iterable[int], today: date) -> Reminder | None:
    """Return the reminder that holds on ``today``, the lowest rung crossed; None when nothing is near.

    Of an application and an expiry that are past a new stage begins each week; of the others the day is the last.
    """
    begun = [each for each in _reminders(cycle_id, of, ladder, today) if each.on <= today]
    return begun[-1] if begun else None


def next_milestone_reminder(cycle_id: str, of: Milestone, ladder: Iterable[int], today: date) -> Reminder | None:
    """Return the first reminder that begins after ``today``, None when none will."""
    coming = [each for each in _reminders(cycle_id, of, ladder, today) if each.on > today]
    return coming[0] if coming else None


def _reminders(cycle_id: str, of: Milestone, ladder: Iterable[int], today: date) -> list[Reminder]:
    if of.state is MilestoneState.DONE:
        return []
    key = f"milestone/{cycle_id}/{of.kind}/{of.day}"

    def reminder(stage: str, on: date) -> Reminder:
        return Reminder(key=key, stage=stage, on=on, severity=_severity(of, (of.day - max(on, today)).days))

    rungs = {0} if of.is_quiet else {0, *ladder}
    before = [reminder(f"d{days}", of.day - timedelta(days=days)) for days in sorted(rungs, reverse=True)]
    if of.kind not in REPEATED:
        return before
    weeks = max(0, (today - of.day).days + 6) // 7  # of a lapse, that of today included
    shown = range(max(0, weeks - 1), weeks + 1)
    return before + [reminder(f"past-w{week}", of.day + timedelta(days=1, weeks=week)) for week in shown]


def _severity(of: Milestone, days_left: int) -> Severity:
    by_days = Severity.CRITICAL if days_left <= 7 else Severity.WARNING if days_left <= 30 else Severity.INFO
    most = Severity.WARNING if of.is_quiet else _MOST.get(of.kind, Severity.CRITICAL)
    order = list(Severity)
    return min(by_days, most, key=order.index)


def milestone_rule(kind: MilestoneKind, policy: Policy) -> str:
    """State what the programme asks for a milestone, with its source."""
    terms = policy.terms
    if kind is MilestoneKind.COLLECT:
        return rule_sentence(policy, Portion.CLINICAL)
    if kind is MilestoneKind.EXPIRY:
        return f"Rule {policy.id}: without a renewal the accreditation ends with its expiry ({policy.program})."
    if kind is MilestoneKind.NOTICE:
        asked = f"the renewal notice comes about {_months(terms.notice_months)} before the expiry"
        sources = [policy.term_source("notice_months")]
    else:
        asked = (
            f"the application is due {terms.application_days} calendar days after the renewal notice, and "
            f"{_months(terms.application_months)} before the expiry at the latest"
        )
        sources = [policy.term_source(name) for name in ("application_days", "application_months")]
    return f"Rule {policy.id}: {asked} ({'; '.join(dict.fromkeys(sources))})."
