"""What people decided about exams, and what of it is in force.

A decision is never changed or removed; the newest of a kind holds. Functions work in the caller's transaction.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import Connection, bindparam, func, select

from dicom_node.accreditation.cases import CaseDecision, CaseState, Link, LinkRole
from dicom_node.accreditation.exams import Override
from dicom_node.accreditation.portions import EXAM_PORTIONS, Portion
from dicom_node.errors import OperatorError
from dicom_node.index.tables import decision

# Made once: on the way of an instance, making a statement costs more than running it.
_OF_STUDIES = (
    select(decision)
    .where(decision.c.study_uid.in_(bindparam("study_uids", expanding=True)))
    .order_by(decision.c.number)
)


class DecisionKind(StrEnum):
    """What a decision is about."""

    ATTRIBUTE = "attribute"
    """The instances of a study that the rules give to ``unit_id`` are of the unit ``value``. Those that are named
    stay so, whatever the rules become."""
    CLASSIFY = "classify"
    """The exam is of the portion ``value``; "" is: as the rules say."""
    EXCLUDE = "exclude"
    """The exam counts toward nothing."""
    INCLUDE = "include"
    """The exam is no longer excluded, confirmed or rejected, and nothing is linked to it."""
    CONFIRM = "confirm"
    """The exam is a case that can be submitted; ``value`` is the day of its correlating mammogram, YYYY-MM-DD, or ""
    for none, as of a phantom."""
    REJECT = "reject"
    """The exam is a case that cannot be submitted: it counts toward nothing."""
    LINK = "link"
    """A study belongs to the case: ``value`` is what it is to it and its Study Instance UID, joined by a space."""
    CARRY = "carry"
    """What was decided about the exam of ``unit_id`` goes along to that of ``value``, and the instances that are named
    are of ``value``, whatever the rules say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision of a person. ``unit_id`` is the exam's unit; for ATTRIBUTE: the unit by the rules, "" for none."""

    id: str
    kind: DecisionKind
    study_uid: str
    unit_id: str
    value: str = ""
    instances: tuple[str, ...] = ()
    """SOP Instance UIDs; of ATTRIBUTE and CARRY alone."""
    reason: str
    decided_by: str
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """The decisions that hold in one study."""

    assigned: Mapping[str, str] = field(default_factory=dict)
    """Unit by the rules ("" for none) to the unit a person said."""
    placed: Mapping[str, str] = field(default_factory=dict)
    """SOP Instance UID to the unit a person said."""
    overrides: Mapping[str, Override] = field(default_factory=dict)
    """Unit to what holds for its exam."""

    def unit_for(self, sop_instance_uid: str, derived_unit: str) -> str | None:
        """Return the unit a person said an instance is of that the rules give to a unit; None when nobody did."""
        return self.placed.get(sop_instance_uid, self.assigned.get(derived_unit))


def insert(conn: Connection, new: Decision) -> bool:
    """Add a decision; return False, changing nothing, when its id is known.

    Raises OperatorError when the value is none that the kind takes.
    """
    if new.kind is DecisionKind.CLASSIFY and new.value and new.value not in EXAM_PORTIONS:
        raise OperatorError(f"an exam cannot be classified as that; use one of {', '.join(EXAM_PORTIONS)}")
    if new.kind is DecisionKind.CONFIRM and new.value:
        _day(new.value)
    if new.kind is DecisionKind.LINK:
        _link(new.value)
    if conn.execute(select(decision.c.id).where(decision.c.id == new.id)).first() is not None:
        return False
    number = conn.execute(select(func.coalesce(func.max(decision.c.number), 0))).scalar_one() + 1
    conn.execute(
        decision.insert().values(
            id=new.id,
            number=number,
            kind=new.kind,
            study_uid=new.study_uid,
            unit_id=new.unit_id,
            value=new.value,
            instances=list(new.instances),
            reason=new.reason,
            decided_by=new.decided_by,
            decided_at=new.decided_at,
        )
    )
    return True


def of_studies(conn: Connection, study_uids: Collection[str]) -> dict[str, list[Decision]]:
    """Return the decisions of each study that has any, oldest first."""
    found: dict[str, list[Decision]] = {}
    for row in conn.execute(_OF_STUDIES, {"study_uids": list(study_uids)}):
        found.setdefault(row.study_uid, []).append(
            Decision(
                id=row.id,
                kind=DecisionKind(row.kind),
                study_uid=row.study_uid,
                unit_id=row.unit_id,
                value=row.value,
                instances=tuple(row.instances),
                reason=row.reason,
                decided_by=row.decided_by,
                decided_at=row.decided_at,
            )
        )
    return found


def reasons(conn: Connection) -> dict[str, str]:
    """Return the reason of every decision, by id."""
    return {row.id: row.reason for row in conn.execute(select(decision.c.id, decision.c.reason))}


def in_force_of(conn: Connection, study_uids: Collection[str]) -> dict[str, InForce]:
    """Return what holds in each of the studies."""
    found = of_studies(conn, study_uids)
    return {study_uid: in_force(found.get(study_uid, ())) for study_uid in study_uids}


def linked_studies(conn: Connection) -> set[str]:
    """Return the studies that people linked to cases, as mammogram or specimen."""
    with_links = set(conn.scalars(select(decision.c.study_uid).where(decision.c.kind == DecisionKind.LINK)))
    held = in_force_of(conn, with_links) if with_links else {}
    overrides = [override for each in held.values() for override in each.overrides.values()]
    return {link.study_uid for override in overrides for link in override.links}


def of_study(conn: Connection, study_uid: str) -> list[Decision]:
    """Return the decisions of a study, oldest first."""
    return of_studies(conn, [study_uid]).get(study_uid, [])


def in_force(decisions: Iterable[Decision]) -> InForce:
    """Return what holds of one study's decisions, which come oldest first.

    What was decided about an exam goes along when the exam is given to another unit, unless that unit's exam has a
    decision of its own.
    """
    assigned: dict[str, str] = {}
    placed: dict[str, str] = {}
    overrides: dict[str, Override] = {}
    for each in decisions:
        held = overrides.get(each.unit_id, Override())
        placed |= dict.fromkeys(each.instances, each.value)
        match each.kind:
            case DecisionKind.ATTRIBUTE:
                before = assigned.get(each.unit_id, each.unit_id)
                if before in overrides:
                    overrides.setdefault(each.value, overrides[before])
                assigned[each.unit_id] = each.value
            case DecisionKind.CARRY:
                if each.unit_id in overrides:
                    overrides.setdefault(each.value, held)
            case DecisionKind.CLASSIFY:
                portion = Portion(each.value) if each.value else None
                overrides[each.unit_id] = replace(held, portion=portion)
            case DecisionKind.EXCLUDE:
                overrides[each.unit_id] = replace(held, excluded=True, reason=each.reason)
            case DecisionKind.INCLUDE:
                overrides[each.unit_id] = Override(portion=held.portion)
            case DecisionKind.CONFIRM:
                overrides[each.unit_id] = replace(held, case=_case(CaseState.CONFIRMED, each))
            case DecisionKind.REJECT:
                overrides[each.unit_id] = replace(held, case=_case(CaseState.REJECTED, each))
            case DecisionKind.LINK:
                overrides[each.unit_id] = replace(held, links=held.links | {_link(each.value)})
    return InForce(assigned=assigned, placed=placed, overrides=overrides)


def link_value(link: Link) -> str:
    """Return the value of a LINK decision."""
    return f"{link.role} {link.study_uid}"


def _case(state: CaseState, by: Decision) -> CaseDecision:
    return CaseDecision(
        state=state,
        mammogram_day=_day(by.value) if by.value else None,
        decided_by=by.decided_by,
        decided_at=by.decided_at,
        reason=by.reason,
    )


def _link(value: str) -> Link:
    role, _, study_uid = value.partition(" ")
    if role not in set(LinkRole) or not study_uid:
        raise OperatorError(f"a study is linked as one of {', '.join(LinkRole)}")
    return Link(role=LinkRole(role), study_uid=study_uid)


def _day(value: str) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise OperatorError("the day of a mammogram is written YYYY-MM-DD") from None
