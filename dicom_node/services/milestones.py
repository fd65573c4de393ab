"""The milestones of the facility's accreditation cycles, from what is on record."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection

from dicom_node.accreditation.cycles import Cycle, CycleState, units_of
from dicom_node.accreditation.milestones import Milestone, MilestoneKind, MilestoneState, milestones
from dicom_node.accreditation.plan import Event, EventKind
from dicom_node.accreditation.policies import Policy
from dicom_node.accreditation.units import Unit
from dicom_node.alerts.phrases import in_days
from dicom_node.services.cycles import read_cycles

NOTHING_AHEAD = "No accreditation cycle is open, so nothing reminds of the next renewal; open one with its expiry:"

_NAMES = {
    MilestoneKind.COLLECT: "start collecting cases",
    MilestoneKind.NOTICE: "renewal notice expected",
    MilestoneKind.APPLICATION: "application due",
    MilestoneKind.EXPIRY: "accreditation ends",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleAhead:
    """A cycle that nobody closed, how far it is, and its milestones, earliest first."""

    cycle: Cycle
    state: CycleState
    policy_id: str
    milestones: tuple[Milestone, ...]


def cycles_ahead(conn: Connection, units: Iterable[Unit], policy: Policy, today: date) -> list[CycleAhead]:
    """Return the open cycles with what lies ahead of each on the local day ``today``, by expiry."""
    several = list(units)
    cycles = [cycle for cycle in read_cycles(conn) if not cycle.closed]
    found = []
    for cycle in sorted(cycles, key=lambda each: (each.expires_on or date.min, each.id)):
        state = cycle.state(units_of(cycle.facility, several, today))
        has_passed = state is CycleState.PASSED
        found.append(
            CycleAhead(
                cycle=cycle,
                state=state,
                policy_id=policy.id,
                milestones=tuple(
                    milestones(
                        cycle.expires_on,
                        (each.release for each in cycle.packages),
                        policy,
                        today=today,
                        has_passed=has_passed,
                        is_over=has_passed and _is_followed(cycle, cycles),
                    )
                ),
            )
        )
    return found


def _is_followed(cycle: Cycle, cycles: Iterable[Cycle]) -> bool:
    """Tell whether the facility's next expiry is on record."""
    ends = cycle.expires_on or date.min
    return any(each.facility == cycle.facility and (each.expires_on or date.min) > ends for each in cycles)


def milestone_events(cycles: Iterable[CycleAhead], today: date) -> list[Event]:
    """Return the milestones from ``today`` on as events of the calendar, which concern no single unit."""
    return [
        Event(
            day=each.day,
            unit="",
            kind=EventKind.MILESTONE,
            words=f"{_name(each)}, cycle {ahead.cycle.id}",
        )
        for ahead in cycles
        for each in ahead.milestones
        if each.state is MilestoneState.AHEAD and each.day >= today
    ]


def _name(of: Milestone) -> str:
    return f"{_NAMES[of.kind]}{' (estimate)' if of.is_estimate else ''}"


def is_next_cycle_missing(conn: Connection) -> bool:
    """Tell whether cycles were kept here and every one is closed."""
    return bool(cycles := read_cycles(conn)) and all(cycle.closed for cycle in cycles)


def ahead_sentences(cycles: Sequence[CycleAhead], today: date, *, is_unwatched: bool) -> list[str]:
    """Say of every open cycle what comes next, and what is past without being ended.

    ``is_unwatched`` tells that the next cycle is missing.
    """
    sentences = []
    if is_unwatched:
        sentences.append(f"{NOTHING_AHEAD} dicom-node cycles open --expires DAY")
    for ahead in cycles:
        left = [each for each in ahead.milestones if each.state is not MilestoneState.DONE]
        told = "; ".join(f"{_name(each)} {each.day} ({in_days(each.day, today)})" for each in left)
        sentences.append(
            f"Accreditation cycle {ahead.cycle.id}, {ahead.state}: {told or 'no milestone is left'} "
            f"(rule {ahead.policy_id})."
        )
    return sentences
