"""Keeping the exam rows what the instances, the rejections and people's decisions make of them.

Functions work in the caller's write transaction.
"""

import json
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, Text, bindparam, cast, exists, func, select

from dicom_node.accreditation.derive import Derivation
from dicom_node.accreditation.exams import Override
from dicom_node.index import decisions, rows
from dicom_node.index.decisions import InForce
from dicom_node.index.exam_tally import TALLY_COLUMNS, ExamTally, Member, read_tally
from dicom_node.index.exams import exam_id
from dicom_node.index.prepared import Cursor, Prepared
from dicom_node.index.tables import exam, instance, rejection

ExamKey = tuple[str, str]
"""Study Instance UID and unit id ("" for the unknown unit)."""

_QUIETLY = frozenset(TALLY_COLUMNS)
"""Columns whose change is no reason for another review."""


class GrowingExam:
    """An exam that gets more instances in this transaction."""

    def __init__(self, held: rows.Row | None, *, of_new_study: bool) -> None:
        """Begin with the ``TALLY_COLUMNS`` of its row, None when there is none."""
        self.has_row = held is not None
        # None when its instances have to tell: no row counts those that came before the first image.
        self.tally = read_tally(held) if held is not None else ExamTally() if of_new_study else None
        # What its row says.
        self.kinds = self.tally.kinds if self.tally is not None and self.has_row else None
        self.has_new_image = False

    def add(self, member: Member) -> None:
        """Count one more member in."""
        self.has_new_image |= member.told.primary
        if self.tally is not None:
            self.tally.add(member)


def save_grown(cursor: Cursor, exams: Mapping[ExamKey, GrowingExam], in_force: Mapping[str, InForce]) -> set[ExamKey]:
    """Save exams whose new instances have been inserted; returns those that have a row.

    ``in_force`` holds the decisions of the studies that have any.
    """
    present, unknown, counts = set(), set(), []
    for key, growing in exams.items():
        tally = growing.tally
        if tally is None:
            if growing.has_row or growing.has_new_image:
                unknown.add(key)
        elif growing.kinds is tally.kinds:  # more of the kinds it has: nothing but the counts can change
            counts.append(tally.counts() | {"exam_id": exam_id(*key)})
            present.add(key)
        elif tally.primary_count:
            save = _save if growing.has_row else _insert
            save(cursor, key, tally, in_force.get(key[0], InForce()))
            present.add(key)
    _UPDATE_COUNTS.write(cursor, counts)
    return present | refold(cursor.conn, unknown)


def refold(conn: Connection, exams: Collection[ExamKey]) -> set[ExamKey]:
    """Work out exams anew from their instances and save what changed; a change makes an exam wait for a review again.

    An exam without an acquired image has no row. Returns those of ``exams`` that have one.
    """
    if not exams:
        return set()
    in_force = decisions.in_force_of(conn, {study_uid for study_uid, _ in exams})
    present = set()
    for key in sorted(exams):
        tally = _fold(conn, key)
        if tally.primary_count:
            _save(Cursor(conn), key, tally, in_force[key[0]])
            present.add(key)
        else:
            conn.execute(exam.delete().where(exam.c.id == exam_id(*key)))
    return present


def _save(cursor: Cursor, key: ExamKey, tally: ExamTally, in_force: InForce) -> None:
    """Make an exam's row what its tally, with an acquired image in it, and the decisions in its study come to.

    A change makes the exam wait for a review again, unless it says nothing new.
    """
    found = _SAVED.first(cursor, {"exam_id": exam_id(*key)})
    if found is None:
        _insert(cursor, key, tally, in_force)
        return
    saved = dict(zip(exam.c.keys(), found, strict=True))
    values = tally.values(in_force.overrides.get(key[1], Override()))
    changed = {name for name, value in values.items() if saved[name] != value}
    if changed:
        reviewed_at = saved["reviewed_at"] if changed <= _QUIETLY else None
        _UPDATE.write(cursor, [values | {"exam_id": exam_id(*key), "reviewed_at": reviewed_at}])


def _insert(cursor: Cursor, key: ExamKey, tally: ExamTally, in_force: InForce) -> None:
    """Give an exam its row."""
    study_uid, unit_id = key
    values = tally.values(in_force.overrides.get(unit_id, Override()))
    row = values | {"id": exam_id(*key), "study_uid": study_uid, "unit_id": unit_id, "reviewed_at": None}
    _INSERT.write(cursor, [row])


def held_tally(cursor: Cursor, key: ExamKey) -> rows.Row | None:
    """Return the ``TALLY_COLUMNS`` of an exam's row, None when there is none."""
    held = _HELD.first(cursor, {"study_uid": key[0], "unit_id": key[1]})
    return None if held is None else dict(zip(TALLY_COLUMNS, held, strict=True))


def refold_study(conn: Connection, study_uid: str) -> set[ExamKey]:
    """Work out every exam of a study anew, after a decision; returns those that have a row."""
    units = select(instance.c.unit_id).where(instance.c.study_uid == study_uid)
    held = select(exam.c.unit_id).where(exam.c.study_uid == study_uid)
    keys = {(study_uid, unit_id) for unit_id in conn.execute(units.union(held)).scalars()}
    return refold(conn, keys)


class Derived(NamedTuple):
    """An instance, the unit it is of, and the one the rules give it to ("" for none)."""

    sop_instance_uid: str
    digest: str
    unit_id: str
    derived_unit_id: str


def derived_in(conn: Connection, study_uid: str) -> list[Derived]:
    """Return the instances of a study, by SOP Instance UID."""
    query = select(*(instance.c[name] for name in Derived._fields)).where(instance.c.study_uid == study_uid)
    return [Derived(*row) for row in conn.execute(query.order_by(instance.c.sop_instance_uid))]


def reassign(conn: Connection, study_uid: str, derivations: Mapping[str, Derivation]) -> set[ExamKey]:
    """Give instances, by SOP Instance UID, what the rules make of them after a decision, and refold the study's exams.

    Returns the exams of the study that have a row.
    """
    return rederive(conn, study_uid, {uid: rows.derived_values(each) for uid, each in derivations.items()})


def rederive(conn: Connection, study_uid: str, values: Mapping[str, rows.Row]) -> set[ExamKey]:
    """Give instances, by SOP Instance UID, other values of their derived columns, and refold the study's exams.

    Returns the exams of the study that have a row.
    """
    cursor = Cursor(conn)
    alike: dict[tuple[str, ...], list[rows.Row]] = {}
    for uid, each in values.items():
        alike.setdefault(tuple(each), []).append(each | {"of_uid": uid, "of_study": study_uid})
    for columns, several in alike.items():
        _rewriting(columns).write(cursor, several)
    return refold_study(conn, study_uid)


def _fold(conn: Connection, key: ExamKey) -> ExamTally:
    """Add up the instances of an exam."""
    tally = ExamTally()
    for group in conn.execute(_GROUPS, {"study_uid": key[0], "unit_id": key[1]}).mappings():
        lists = {name: json.loads(group[name]) for name in ("day_flags", "attribution_flags", "candidates")}
        tally.add(
            Member.of(
                {**group, **lists},
                rejected=bool(group["rejected"]),
                first_received_at=group["first_received_at"],
                last_received_at=group["last_received_at"],
                number=group["number"],
            )
        )
    return tally


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


@lru_cache(maxsize=4)  # with and without the unit by the rules
def _rewriting(columns: tuple[str, ...]) -> Prepared:
    """Make the statement that gives an instance other values of some columns."""
    is_it = (instance.c.sop_instance_uid == bindparam("of_uid")) & (instance.c.study_uid == bindparam("of_study"))
    return Prepared(instance.update().where(is_it), columns)


# Made once: on the way of an instance, making a statement costs more than running it.
_GROUPS = _groups_query()
_SAVED = Prepared(select(exam).where(exam.c.id == bindparam("exam_id")))
_HELD = Prepared(
    select(*(exam.c[name] for name in TALLY_COLUMNS)).where(
        exam.c.study_uid == bindparam("study_uid"), exam.c.unit_id == bindparam("unit_id")
    )
)
_INSERT = Prepared(exam.insert())
_OF_EXAM = exam.update().where(exam.c.id == bindparam("exam_id"))
_UPDATE = Prepared(_OF_EXAM, [name for name in exam.c.keys() if name not in {"id", "study_uid", "unit_id"}])  # noqa: SIM118 # a collection of columns, not a dict
_UPDATE_COUNTS = Prepared(_OF_EXAM, [name for name in TALLY_COLUMNS if name != "tally"])
