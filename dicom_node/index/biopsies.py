"""The biopsies of hosts, by the attachments they were made with. Functions work in the caller's transaction."""

import json
from collections.abc import Collection, Iterable, Iterator
from datetime import date

from sqlalchemy import ColumnElement, Connection, Text, cast, func, select

from dicom_node.accreditation.moves import Biopsy
from dicom_node.accreditation.portions import Portion
from dicom_node.index.tables import exam

_AT_ONCE = 500
"""Most values in one IN list."""

_ATTACHMENTS = cast(exam.c.attachments, Text)
_MADE = (exam.c.portion == Portion.CLINICAL, exam.c.counts)


def attachments_of(conn: Connection, exam_ids: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the attachments of exams that have any, by exam id."""
    query = select(exam.c.id, exam.c.attachments).where(exam.c.id.in_(exam_ids), _ATTACHMENTS != "[]")
    return {row.id: tuple(row.attachments) for row in conn.execute(query)}


def made_after(conn: Connection, unit_ids: Iterable[str], day: date) -> tuple[Biopsy, ...]:
    """Return the biopsies with an attachment on some units after a day, in order of their days."""
    query = select(exam.c.unit_id, exam.c.day, exam.c.attachments).where(*_MADE, exam.c.day > day, _ATTACHMENTS != "[]")
    found = [
        Biopsy(unit=row.unit_id, day=row.day, attachments=tuple(row.attachments))
        for some in _in_parts(unit_ids)
        for row in conn.execute(query.where(some))
    ]
    return tuple(sorted(found, key=lambda each: (each.day, each.unit, each.attachments)))


def last_with(conn: Connection, attachment_id: str, unit_ids: Iterable[str]) -> dict[str, date]:
    """Return the day of the newest biopsy with an attachment on each of some units that has one."""
    query = select(exam.c.unit_id, _ATTACHMENTS.label("names"), func.max(exam.c.day).label("last"))
    query = query.where(*_MADE, _ATTACHMENTS != "[]").group_by(exam.c.unit_id, _ATTACHMENTS)
    last: dict[str, date] = {}
    for some in _in_parts(unit_ids):
        for row in conn.execute(query.where(some)):
            if attachment_id in json.loads(row.names):
                last[row.unit_id] = max(row.last, last.get(row.unit_id, date.min))
    return last


def _in_parts(unit_ids: Iterable[str]) -> Iterator[ColumnElement[bool]]:
    several = list(unit_ids)
    return (exam.c.unit_id.in_(several[at : at + _AT_ONCE]) for at in range(0, len(several), _AT_ONCE))
