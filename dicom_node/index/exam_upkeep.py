"""Keeping the exam rows what the instances, the rejections and people's decisions make of them.

Functions work in the caller's write transaction.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Row, Select, Text, bindparam, cast, exists, func, select, update

from dicom_node.accreditation.derive import Derivation
from dicom_node.accreditation.exams import Contribution, Override, Performed, fold
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.signals import Role
from dicom_node.index import decisions, rows
from dicom_node.index.decisions import InForce
from dicom_node.index.exams import exam_id
from dicom_node.index.tables import exam, instance, rejection

ExamKey = tuple[str, str]
"""Study Instance UID and unit id ("" for the unknown unit)."""

_QUIETLY = frozenset({"primary_count", "instance_count", "first_received_at", "last_received_at", "reviewed_at"})
"""Columns whose change is no reason for another review."""


def refold(conn: Connection, exams: Iterable[ExamKey], in_force: Mapping[str, InForce]) -> set[ExamKey]:
    """Work out exams anew and save what changed; a change makes an exam wait for a review again.

    ``in_force`` holds the decisions of every study among ``exams``. An exam without an acquired image has no row.
    Returns those of ``exams`` that have one.
    """
    present = set()
    for key in sorted(exams):
        study_uid, unit_id = key
        values = _fold(conn, key, in_force[study_uid].overrides.get(unit_id, Override()))
        saved = conn.execute(_SAVED, {"exam_id": exam_id(*key)}).mappings().first()
        if values is None:
            if saved is not None:
                conn.execute(exam.delete().where(exam.c.id == exam_id(*key)))
            continue
        present.add(key)
        if saved is None:
            conn.execute(
                exam.insert().values(values | {"id": exam_id(*key), "study_uid": study_uid, "unit_id": unit_id})
            )
            continue
        changed = {name: value for name, value in values.items() if saved[name] != value}
        if changed:
            if not changed.keys() <= _QUIETLY:
                changed["reviewed_at"] = None
            conn.execute(update(exam).where(exam.c.id == exam_id(*key)).values(changed))
    return present


def refold_study(conn: Connection, study_uid: str) -> set[ExamKey]:
    """Work out every exam of a study anew, after a decision; returns those that have a row."""
    units = select(instance.c.unit_id).where(instance.c.study_uid == study_uid)
    held = select(exam.c.unit_id).where(exam.c.study_uid == study_uid)
    keys = {(study_uid, unit_id) for unit_id in conn.execute(units.union(held)).scalars()}
    return refold(conn, keys, decisions.in_force_of(conn, [study_uid]))


def derived_for(conn: Connection, study_uid: str, derived_unit: str) -> list[tuple[str, str]]:
    """Return SOP Instance UID and digest of the instances of a study that the rules give to a unit ("" for none)."""
    query = select(instance.c.sop_instance_uid, instance.c.digest).where(
        instance.c.study_uid == study_uid, instance.c.derived_unit_id == derived_unit
    )
    return [(row.sop_instance_uid, row.digest) for row in conn.execute(query.order_by(instance.c.sop_instance_uid))]


def reassign(conn: Connection, study_uid: str, derivations: Mapping[str, Derivation]) -> set[ExamKey]:
    """Give instances, by SOP Instance UID, what the rules make of them after a decision, and refold the study's exams.

    Returns the exams of the study that have a row.
    """
    for sop_instance_uid, derivation in derivations.items():
        conn.execute(
            update(instance)
            .where(instance.c.sop_instance_uid == sop_instance_uid, instance.c.study_uid == study_uid)
            .values(rows.derived_values(derivation))
        )
    return refold_study(conn, study_uid)


def _fold(conn: Connection, key: ExamKey, override: Override) -> rows.Row | None:
    """Return the values of an exam row, None for an exam without an acquired image."""
    groups = conn.execute(_GROUPS, {"study_uid": key[0], "unit_id": key[1]}).all()
    primary = [group for group in groups if group.role == Role.PRIMARY]
    if not primary:
        return None
    folded = fold([_contribution(group) for group in groups], override)
    first = min(primary, key=lambda group: (group.first_received_at, group.attribution))
    attribution_flags = {flag for group in primary for flag in json.loads(group.attribution_flags)}
    return {
        "portion": folded.portion.value,
        "rule": folded.rule,
        "day": folded.day,
        "day_source": folded.source,
        "flags": [*folded.flags, *sorted(attribution_flags - set(folded.flags))],
        "stages": list(folded.stages),
        "attachments": list(folded.attachments),
        "attribution": first.attribution,
        "candidates": sorted({unit_id for group in primary for unit_id in json.loads(group.candidates)}),
        "unregistered": any(group.unregistered for group in primary),
        "excluded": folded.excluded,
        "counts": folded.counts,
        "primary_count": sum(group.number for group in primary),
        "instance_count": sum(group.number for group in groups),
        "first_received_at": min(group.first_received_at for group in groups),
        "last_received_at": max(group.last_received_at for group in groups),
    }


def _groups_query() -> Select[*tuple[Any, ...]]:
    """Make the query for the instances of an exam, alike ones together."""
    told = (
        select(
            *(instance.c[name] for name in ("role", "portion", "rule", "acquisition_day", "day_source", "stage")),
            *(instance.c[name] for name in ("attachment_id", "attribution", "unregistered", "received_at")),
            # JSON has no equality in PostgreSQL; its text, which this program wrote, has.
            *(cast(instance.c[name], Text).label(name) for name in ("day_flags", "attribution_flags", "candidates")),
            exists().where(rejection.c.rejected_uid == instance.c.sop_instance_uid).label("rejected"),
        )
        .where(instance.c.study_uid == bindparam("study_uid"), instance.c.unit_id == bindparam("unit_id"))
        .subquery()
    )
    by = [column for column in told.c if column.name != "received_at"]
    return select(
        *by,
        func.count().label("number"),
        func.min(told.c.received_at).label("first_received_at"),
        func.max(told.c.received_at).label("last_received_at"),
    ).group_by(*by)


# Made once: on the way of every instance, making a statement costs more than running it.
_GROUPS = _groups_query()
_SAVED = select(exam).where(exam.c.id == bindparam("exam_id"))
_INSERT = exam.insert()


def _contribution(group: Row[*tuple[Any, ...]]) -> Contribution:
    return Contribution(
        portion=Portion(group.portion) if group.portion else None,
        rule=group.rule,
        performed=Performed(
            day=group.acquisition_day, source=group.day_source, flags=tuple(json.loads(group.day_flags))
        ),
        stage=group.stage,
        attachment=group.attachment_id or None,
        count=group.number,
        rejected=bool(group.rejected),
    )
