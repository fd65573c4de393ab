"""What people decided about exams, and what of it is in force.

A decision is never changed or removed; the newest of a kind holds. Functions work in the caller's transaction.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, bindparam, func, select

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
    """The instances of a study that the rules give to ``unit_id`` are of the unit ``value``."""
    CLASSIFY = "classify"
    """The exam is of the portion ``value``; "" is: as the rules say."""
    EXCLUDE = "exclude"
    """The exam counts toward nothing."""
    INCLUDE = "include"
    """The exam is no longer excluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision of a person. ``unit_id`` is the exam's unit; for ATTRIBUTE: the unit by the rules, "" for none."""

    id: str
    kind: DecisionKind
    study_uid: str
    unit_id: str
    value: str = ""
    reason: str
    decided_by: str
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """The decisions that hold in one study."""

    assigned: Mapping[str, str] = field(default_factory=dict)
    """Unit by the rules ("" for none) to the unit a person said."""
    overrides: Mapping[str, Override] = field(default_factory=dict)
    """Unit to what holds for its exam."""


def insert(conn: Connection, new: Decision) -> bool:
    """Add a decision; return False, changing nothing, when its id is known.

    Raises OperatorError when the value is none that the kind takes.
    """
    if new.kind is DecisionKind.CLASSIFY and new.value and new.value not in EXAM_PORTIONS:
        raise OperatorError(f"an exam cannot be classified as that; use one of {', '.join(EXAM_PORTIONS)}")
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
                reason=row.reason,
                decided_by=row.decided_by,
                decided_at=row.decided_at,
            )
        )
    return found


def in_force_of(conn: Connection, study_uids: Collection[str]) -> dict[str, InForce]:
    """Return what holds in each of the studies."""
    found = of_studies(conn, study_uids)
    return {study_uid: in_force(found.get(study_uid, ())) for study_uid in study_uids}


def of_study(conn: Connection, study_uid: str) -> list[Decision]:
    """Return the decisions of a study, oldest first."""
    return of_studies(conn, [study_uid]).get(study_uid, [])


def in_force(decisions: Iterable[Decision]) -> InForce:
    """Return what holds of one study's decisions, which come oldest first.

    What was decided about an exam goes along when the exam is given to another unit, unless that unit's exam has a
    decision of its own.
    """
    assigned: dict[str, str] = {}
    overrides: dict[str, Override] = {}
    for each in decisions:
        held = overrides.get(each.unit_id, Override())
        match each.kind:
            case DecisionKind.ATTRIBUTE:
                before = assigned.get(each.unit_id, each.unit_id)
                if before in overrides:
                    overrides.setdefault(each.value, overrides[before])
                assigned[each.unit_id] = each.value
            case DecisionKind.CLASSIFY:
                portion = Portion(each.value) if each.value else None
                overrides[each.unit_id] = Override(portion=portion, excluded=held.excluded, reason=held.reason)
            case DecisionKind.EXCLUDE:
                overrides[each.unit_id] = Override(portion=held.portion, excluded=True, reason=each.reason)
            case DecisionKind.INCLUDE:
                overrides[each.unit_id] = Override(portion=held.portion)
    return InForce(assigned=assigned, overrides=overrides)
