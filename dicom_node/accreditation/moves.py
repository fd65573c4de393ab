"""Whether an attachment has left a host, which gets no fresh cases then: by the configuration, or by what is seen."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from dicom_node.accreditation.units import Registry, Unit, UnitKind

FEWEST = 3
"""Biopsies with an attachment on other hosts that tell, together with ``SPAN``, that it has moved there."""

SPAN = timedelta(days=30)
"""Least time from the first to the last of them: an attachment that is lent for some days has not moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Biopsy:
    """A biopsy exam on a unit, and the attachments it was made with."""

    unit: str
    day: date
    attachments: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """An attachment has left a host."""

    attachment: str
    since: date
    """The day after its assignment ended, or the day of its first biopsy elsewhere."""
    seen: int
    """Biopsies made with it elsewhere since then; 0 when the configuration alone tells."""


def may_be_left(unit: Unit, today: date) -> bool:
    """Tell whether a unit is one that needs an attachment: a host that is applying and enrolled on ``today``."""
    return unit.kind is UnitKind.UPRIGHT and unit.applying and unit.enrolment_on(today) is not None


def assigned_to(unit: Unit, registry: Registry, today: date) -> tuple[str, ...]:
    """Return the attachments that belong to a unit on ``today``."""
    return tuple(
        each.id
        for each in registry.attachments.values()
        if any(assignment.unit == unit.id and assignment.covers(today) for assignment in each.assignments)
    )


def left_by_assignment(unit: Unit, registry: Registry, last_here: date | None, today: date) -> Move | None:
    """Return the attachment whose assignment to a host has ended last, when none is or will be assigned any more.

    ``last_here`` is the day of the host's newest biopsy: one made after the assignment ended shows that the host has
    what it takes.
    """
    ended: list[tuple[date, str]] = []
    for attachment in registry.attachments.values():
        for assignment in attachment.assignments:
            if assignment.unit != unit.id:
                continue
            if assignment.last_day is None or assignment.last_day >= today:
                return None
            ended.append((assignment.last_day, attachment.id))
    if not ended:
        return None
    last_day, attachment_id = max(ended)
    if last_here is not None and last_here > last_day:
        return None
    return Move(attachment=attachment_id, since=last_day + timedelta(days=1), seen=0)


def left_by_use(
    unit: Unit,
    registry: Registry,
    *,
    last_here: date,
    used_here: Collection[str],
    elsewhere: Iterable[Biopsy],
    today: date,
) -> Move | None:
    """Return the attachment that is used on other hosts only, when the host has no other.

    ``used_here`` are the attachments of the host's newest biopsy, of the day ``last_here``; they stand for those
    assigned when none is. Each of them must have been used elsewhere at least ``FEWEST`` times, the last at least
    ``SPAN`` after the first, all after ``last_here`` and after it was assigned here.
    """
    moves = []
    several = list(elsewhere)
    for attachment_id in assigned_to(unit, registry, today) or sorted(used_here):
        after = max(last_here, _assigned_on(attachment_id, unit, registry, today) - timedelta(days=1))
        days = sorted(
            each.day
            for each in several
            if each.unit not in ("", unit.id) and attachment_id in each.attachments and after < each.day <= today
        )
        if len(days) < FEWEST or days[-1] - days[0] < SPAN:
            return None
        moves.append(Move(attachment=attachment_id, since=days[0], seen=len(days)))
    return min(moves, key=lambda each: (each.since, each.attachment), default=None)


def _assigned_on(attachment_id: str, unit: Unit, registry: Registry, today: date) -> date:
    """Return the first day of the assignment that holds on ``today``; the second of all days when it is open."""
    attachment = registry.attachments.get(attachment_id)
    held = [
        each.first_day
        for each in (attachment.assignments if attachment else ())
        if each.unit == unit.id and each.covers(today) and each.first_day is not None
    ]
    return max(held, default=date.min + timedelta(days=1))
