"""Reads of exams: which count for a unit, which wait for a review, which need a person.

Functions work in the caller's transaction.
"""

import base64
import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, or_, select

from dicom_node.accreditation.cases import CaseState
from dicom_node.accreditation.portions import COUNTING_PORTIONS, Portion
from dicom_node.accreditation.standing import CountingExam
from dicom_node.index.decisions import linked_studies
from dicom_node.index.prepared import Cursor, Prepared
from dicom_node.index.tables import exam, instance

_ID_LENGTH = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamRecord:
    """A row of ``exam``: the instances of one study made on one unit. Times are aware UTC, days local to the unit."""

    id: str
    study_uid: str
    unit_id: str
    """"" when nobody can tell."""
    portion: Portion
    rule: str
    day: date | None
    day_source: str
    flags: tuple[str, ...]
    stages: tuple[str, ...]
    attachments: tuple[str, ...]
    attribution: str
    """The evidence for the unit, or the doubt where ``unit_id`` is ""."""
    candidates: tuple[str, ...]
    """Units it could be, where ``unit_id`` is ""."""
    unregistered: bool
    """A biopsy on a device that no unit's configuration names."""
    excluded: bool
    case_state: str
    """What a person said of it as a case: confirmed or rejected; "" for nothing."""
    counts: bool
    primary_count: int
    instance_count: int
    first_received_at: datetime
    last_received_at: datetime
    reviewed_at: datetime | None

    @property
    def why_not(self) -> str:
        """Why the exam counts toward nothing, in words; "" when it counts."""
        if self.portion not in COUNTING_PORTIONS:
            return f"{self.portion}: {self.rule}"
        if self.excluded:
            return "a person excluded it"
        if self.case_state == CaseState.REJECTED:
            return "a person rejected it: it cannot be submitted"
        if self.day is None:
            return "undated: " + ("; ".join(self.flags) or "no date")
        return "" if self.unit_id else f"of no known unit: {self.attribution}"

    @property
    def would_not_count(self) -> str:
        """Why the exam would count toward nothing if nobody had decided about it as a case; "" when it would count."""
        return replace(self, case_state="").why_not

    @property
    def case(self) -> CaseState:
        """What it is as a case that can be submitted."""
        if self.case_state == CaseState.REJECTED:
            return CaseState.REJECTED
        if self.why_not:
            return CaseState.NONE
        return CaseState.CONFIRMED if self.case_state else CaseState.CANDIDATE


_COLUMNS = tuple(exam.c[name] for name in ExamRecord.__slots__)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRecord:
    """What the rules made of one instance of an exam, for a person to look at."""

    sop_instance_uid: str
    series_uid: str
    digest: str
    received_at: datetime
    calling_ae: str
    derived_unit_id: str
    unit_id: str
    attachment_id: str
    attribution: str
    attribution_flags: tuple[str, ...]
    role: str
    acquisition_day: date | None
    day_source: str
    day_flags: tuple[str, ...]
    day_candidates: tuple[tuple[str, str], ...]
    """Attribute and day (YYYY-MM-DD, or "" when it held none) of every date that was considered."""
    portion: str
    """"" for an instance that is no primary image."""
    rule: str
    stage: str
    flags: tuple[str, ...]


@lru_cache(maxsize=256)  # the instances of an exam come one after another
def exam_id(study_uid: str, unit_id: str) -> str:
    """Return the id of the exam of a study on a unit ("" for the unknown one): short, and the same after a rebuild."""
    digest = hashlib.sha256(f"{study_uid}\0{unit_id}".encode()).digest()
    return base64.b32encode(digest).decode("ascii").lower()[:_ID_LENGTH]


def get(conn: Connection, of_id: str) -> ExamRecord | None:
    """Return the exam with this id, None when there is none."""
    row = conn.execute(select(*_COLUMNS).where(exam.c.id == of_id)).first()
    return None if row is None else _record(row)


def of_study(conn: Connection, study_uid: str) -> list[ExamRecord]:
    """Return the exams of a study, by unit."""
    return _records(conn, select(*_COLUMNS).where(exam.c.study_uid == study_uid).order_by(exam.c.unit_id))


def of_unit(conn: Connection, unit_id: str) -> list[ExamRecord]:
    """Return every exam of a unit, counting or not, newest day first and undated ones last."""
    query = select(*_COLUMNS).where(exam.c.unit_id == unit_id)
    return _records(conn, query.order_by(exam.c.day.is_(None), exam.c.day.desc(), exam.c.id))


def listed(
    conn: Connection,
    *,
    unit_id: str | None = None,
    portion: Portion | None = None,
    since: date | None = None,
    until: date | None = None,
    cases: Collection[CaseState] = (),
    with_neither: bool = False,
) -> list[ExamRecord]:
    """Return exams, newest day first and undated ones last; of one unit ("" is the unknown one) or portion if given.

    ``since`` and ``until`` bound the day, both included, and leave undated exams out. Exams that are known to count
    toward neither portion, such as mammograms, come with ``with_neither``, or when their portion is asked for.
    ``cases`` keeps those alone that are one of these as a case.
    """
    query = select(*_COLUMNS)
    if unit_id is not None:
        query = query.where(exam.c.unit_id == unit_id)
    if portion is not None:
        query = query.where(exam.c.portion == portion)
    elif not with_neither:
        query = query.where(exam.c.portion != Portion.NEITHER)
    if since is not None:
        query = query.where(exam.c.day >= since)
    if until is not None:
        query = query.where(exam.c.day <= until)
    found = _records(conn, query.order_by(exam.c.day.is_(None), exam.c.day.desc(), exam.c.id))
    return [each for each in found if not cases or each.case in cases]


def newest_counting(
    conn: Connection, unit_id: str, portion: Portion, until: date, since: date | None = None
) -> CountingExam | None:
    """Return the newest exam that counts for a unit up to a day, that of the highest id of several; None without any.

    ``since`` leaves out those of an earlier day, such as were made before the unit was enrolled. It is found by the
    index, however many exams the unit has.
    """
    found = _NEWEST.first(Cursor(conn), {"unit_id": unit_id, "portion": portion.value, "until": until})
    newest = None if found is None else CountingExam(exam_id=found[0], day=found[1], source=found[2])
    return None if newest is None or (since is not None and newest.day < since) else newest


def unattributed(conn: Connection, since: date | None = None) -> list[ExamRecord]:
    """Return the exams of no known unit that might count for one, newest received first.

    ``since`` leaves out those of an earlier day, which are too old to count. What a person linked to a case as its
    mammogram or specimen is of no unit that is wanted.
    """
    query = select(*_COLUMNS).where(exam.c.unit_id == "", exam.c.portion != Portion.NEITHER, ~exam.c.excluded)
    if since is not None:
        query = query.where(or_(exam.c.day.is_(None), exam.c.day >= since))
    found = _records(conn, query.order_by(exam.c.last_received_at.desc(), exam.c.id))
    linked = linked_studies(conn)
    return [each for each in found if each.stages or each.study_uid not in linked]


def undated(conn: Connection) -> list[ExamRecord]:
    """Return the exams without a day that might count with one, newest received first."""
    query = select(*_COLUMNS).where(exam.c.day.is_(None), exam.c.portion != Portion.NEITHER, ~exam.c.excluded)
    return _records(conn, query.order_by(exam.c.last_received_at.desc(), exam.c.id))


def last_received(conn: Connection) -> dict[str, datetime]:
    """Return when each unit's newest instance was received; "" is the unknown unit."""
    query = select(exam.c.unit_id, func.max(exam.c.last_received_at).label("at")).group_by(exam.c.unit_id)
    return {row.unit_id: row.at for row in conn.execute(query)}


def instances_of(conn: Connection, study_uid: str, unit_id: str) -> list[InstanceRecord]:
    """Return the instances of an exam in the order they were received."""
    query = select(*(instance.c[name] for name in InstanceRecord.__slots__))
    query = query.where(instance.c.study_uid == study_uid, instance.c.unit_id == unit_id)
    rows = conn.execute(query.order_by(instance.c.received_at, instance.c.sop_instance_uid))
    return [InstanceRecord(**_with_tuples(row)) for row in rows]


def _records(conn: Connection, query: Any) -> list[ExamRecord]:
    return [_record(row) for row in conn.execute(query)]


def _record(row: Row[Any]) -> ExamRecord:
    values = _with_tuples(row)
    return ExamRecord(**values | {"portion": Portion(values["portion"])})


def _with_tuples(row: Row[Any]) -> dict[str, Any]:
    return {
        name: tuple(tuple(each) if isinstance(each, list) else each for each in value)
        if isinstance(value, list)
        else value
        for name, value in row._asdict().items()
    }


_COUNTING = (exam.c.unit_id == bindparam("unit_id"), exam.c.portion == bindparam("portion"), exam.c.counts)
_NEWEST_DAY = select(func.max(exam.c.day)).where(*_COUNTING, exam.c.day <= bindparam("until")).scalar_subquery()
_NEWEST = Prepared(
    select(exam.c.id, exam.c.day, exam.c.day_source)
    .where(*_COUNTING, exam.c.day == _NEWEST_DAY)
    .order_by(exam.c.id.desc())
)
