"""The arithmetic of standings in words, for any day, release date and policy; and what the next package needs."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date

from sqlalchemy import Connection

from dicom_node.accreditation.cases import CaseState
from dicom_node.accreditation.explain import ExamOnFile, Explanation, explain
from dicom_node.accreditation.plan import Event, PortionPlan, calendar, calendar_end, plan_portion
from dicom_node.accreditation.policies import LATEST, Policy, choose_policy
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.standing import CountingExam, Standing
from dicom_node.errors import OperatorError
from dicom_node.index import exams
from dicom_node.index.engine import Index
from dicom_node.services.found import Rules, whats_so
from dicom_node.services.kept import read_surveys
from dicom_node.services.milestones import cycles_ahead, milestone_events


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPlan:
    """The plan of one unit, and what happens to it in the coming months, earliest first."""

    unit: str
    label: str
    portions: tuple[PortionPlan, ...]
    events: tuple[Event, ...]


def under_policy(rules: Rules, policy_id: str | None, configured: Mapping[str, Policy]) -> Rules:
    """Return the rules with another policy: a ``configured`` one by its id, or ``latest``; None changes nothing.

    Raises OperatorError when there is no such policy.
    """
    if policy_id is None:
        return rules
    known = {rules.policy.id: rules.policy, **configured}
    wanted = choose_policy(LATEST).id if policy_id == LATEST else policy_id
    if wanted not in known:
        raise OperatorError(f"there is no policy {policy_id!a}; known are {LATEST}, {', '.join(sorted(known))}")
    return replace(rules, policy=known[wanted])


def explain_unit(
    index: Index,
    rules: Rules,
    unit_id: str,
    *,
    portions: Iterable[Portion],
    today: date,
    release: date | None = None,
) -> list[Explanation]:
    """Explain where a configured unit stands on the local day ``today``, by what is on file now.

    With ``release`` also what would count for a package released that day. Raises DatabaseError, and OperatorError for
    days that are too near to an end of the calendar.
    """
    unit = rules.registry.units[unit_id]
    wanted = frozenset(portions)
    with inside_the_calendar(), index.read() as conn:
        found = [each for each in whats_so(conn, rules, [unit_id], today)[unit_id].standings if each.portion in wanted]
        return [
            explain(
                unit,
                standing,
                rules.policy,
                _worth_a_reason(conn, unit_id, standing.portion),
                today=today,
                release=release,
            )
            for standing in found
        ]


def plan_units(
    index: Index, rules: Rules, unit_ids: Iterable[str], *, today: date, release: date | None = None
) -> list[UnitPlan]:
    """Plan for configured units from the local day ``today``, by what is on file now, in the order of ``unit_ids``.

    ``release`` is a day, today or later, on which a package may be released; without it the one that is planned on
    record is taken. Raises DatabaseError, and OperatorError for days that are too near to an end of the calendar.
    """
    several = list(unit_ids)
    with inside_the_calendar(), index.read() as conn:
        situations = whats_so(conn, rules, several, today)
        plans = []
        for unit_id in several:
            standings = situations[unit_id].standings
            portions = tuple(
                plan_portion(
                    rules.registry.units[unit_id],
                    each,
                    _counting(conn, each, rules.policy, today, release),
                    rules.policy,
                    today=today,
                    asked=release,
                )
                for each in standings
            )
            plans.append(
                UnitPlan(
                    unit=unit_id,
                    label=rules.registry.units[unit_id].label,
                    portions=portions,
                    events=tuple(calendar(portions, standings[0].release, rules.policy.terms, today)),
                )
            )
        return plans


def milestones_ahead(index: Index, rules: Rules, *, today: date) -> list[Event]:
    """Return the milestones of the facility's cycles from ``today`` to the end of the calendar, earliest first.

    Raises DatabaseError, and OperatorError for days that are too near to an end of the calendar.
    """
    with inside_the_calendar(), index.read() as conn:
        events = milestone_events(cycles_ahead(conn, rules.registry.units.values(), rules.policy, today), today)
        return sorted((each for each in events if each.day <= calendar_end(today)), key=lambda each: each.day)


def _counting(conn: Connection, of: Standing, policy: Policy, today: date, asked: date | None) -> list[CountingExam]:
    """Return the exams that count and lie in the window of today, of the release in force or of the one asked about."""
    if of.portion is Portion.PHYSICIST:
        return [each.counting() for each in read_surveys(conn, [of.unit]) if not each.withdrawn]
    windows = policy.windows(of.portion)
    since = min(windows.first_day(today), windows.first_day(asked or today), of.window_first or date.max)
    listed = exams.listed(conn, unit_id=of.unit, portion=of.portion, since=since, until=today)
    return [
        CountingExam(exam_id=each.id, day=each.day, source=each.day_source)
        for each in listed
        if each.counts and each.day is not None
    ]


@contextmanager
def inside_the_calendar() -> Iterator[None]:
    """Raise OperatorError for days that are too near to an end of the calendar."""
    try:
        yield
    except OverflowError as error:
        raise OperatorError(f"no answer for these days: {error}") from None


def _worth_a_reason(conn: Connection, unit_id: str, portion: Portion) -> list[ExamOnFile]:
    """Return the unit's exams of a portion, excluded ones too, and those that nobody can tell; or its surveys."""
    if portion is Portion.PHYSICIST:
        return [
            ExamOnFile(exam_id=each.id, portion=portion, day=each.day, source=each.told_by, excluded=each.withdrawn)
            for each in read_surveys(conn, [unit_id])
        ]
    found = [each for one in (portion, Portion.UNCLEAR) for each in exams.listed(conn, unit_id=unit_id, portion=one)]
    return [
        ExamOnFile(
            exam_id=each.id,
            portion=each.portion,
            day=each.day,
            source=each.day_source,
            flags=each.flags,
            excluded=each.excluded,
            rejected=each.case is CaseState.REJECTED,
        )
        for each in found
    ]
