"""What needs a person, as the index has it: images of unknown devices, exams without a unit or a day, conflicts.

Functions work in the caller's transaction. ``since`` leaves out exams that are too old to count; an
exam without a day is never left out.
"""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Text, and_, cast, func, or_, select, update

from dicom_node.accreditation.portions import COUNTING_PORTIONS, Portion
from dicom_node.index.decisions import linked_studies
from dicom_node.index.tables import conflict, exam, instance, series

SHOWN = 5
"""How many exams or doubts of a finding are named."""

_SEVERAL = 2
"""Units that match make an exam ambiguous."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exams:
    """Some exams: how many, the newest of them by id, the newest day, and when the last was received."""

    count: int
    ids: tuple[str, ...]
    newest_day: date | None
    last_received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownDevice:
    """A device that no unit's configuration names and that made biopsy images, with their exams."""

    serial: str
    station: str
    manufacturer: str
    sender: str
    """Calling AE title; "" for an import."""
    exams: Exams


@dataclass(frozen=True, slots=True, kw_only=True)
class UnattributedExams:
    """Exams of one sender that may count for a unit nobody can tell."""

    sender: str
    candidates: tuple[str, ...]
    doubts: tuple[str, ...]
    exams: Exams


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflicts:
    """Instances of one sender that came again with other content."""

    sender: str
    count: int
    studies: int
    last_received_at: datetime


def unknown_devices(conn: Connection, since: date) -> list[UnknownDevice]:
    """Return the devices that made biopsy images and are no unit, by serial number, else by station name."""
    query = (
        select(
            exam.c.id,
            exam.c.day,
            exam.c.last_received_at,
            instance.c.calling_ae,
            series.c.device_serial_number,
            series.c.station_name,
            series.c.manufacturer,
        )
        .select_from(exam)
        .join(instance, and_(instance.c.study_uid == exam.c.study_uid, instance.c.unit_id == exam.c.unit_id))
        .join(series, and_(series.c.study_uid == instance.c.study_uid, series.c.series_uid == instance.c.series_uid))
        .where(exam.c.unit_id == "", exam.c.unregistered, instance.c.unregistered, *_alive(since))
        .order_by(exam.c.last_received_at.desc(), exam.c.id)
        .distinct()
    )
    devices: dict[tuple[str, str], list[Any]] = {}
    for row in conn.execute(query):
        serial = row.device_serial_number
        devices.setdefault((serial, "" if serial else row.station_name), []).append(row)
    return [
        UnknownDevice(
            serial=rows[0].device_serial_number,
            station=rows[0].station_name,
            manufacturer=rows[0].manufacturer,
            sender=rows[0].calling_ae,
            exams=_exams(list({row.id: row for row in rows}.values())),
        )
        for _, rows in sorted(devices.items())
    ]


def unattributed_exams(conn: Connection, since: date) -> list[UnattributedExams]:
    """Return the exams that may count and wait to be told their unit, one at most being likely, by their sender."""
    by_sender: dict[str, list[Any]] = {}
    for row in _without_unit(conn, since):
        if len(row.candidates) < _SEVERAL:
            by_sender.setdefault(row.ae or "", []).append(row)
    return [_waiting(name, rows) for name, rows in sorted(by_sender.items())]


def ambiguous_exams(conn: Connection, since: date) -> list[UnattributedExams]:
    """Return the exams that may count and that two or more units match, by the sender of their images and the units."""
    several: dict[tuple[str, tuple[str, ...]], list[Any]] = {}
    for row in _without_unit(conn, since):
        if len(row.candidates) >= _SEVERAL:
            several.setdefault((row.ae or "", tuple(row.candidates)), []).append(row)
    return [_waiting(name, rows) for (name, _), rows in sorted(several.items())]


def _without_unit(conn: Connection, since: date) -> Iterable[Any]:
    sender = (
        select(func.min(instance.c.calling_ae))
        .where(instance.c.study_uid == exam.c.study_uid, instance.c.unit_id == exam.c.unit_id)
        .scalar_subquery()
    )
    query = (
        select(
            exam.c.id,
            exam.c.study_uid,
            exam.c.day,
            exam.c.last_received_at,
            exam.c.candidates,
            exam.c.attribution,
            exam.c.stages,
            sender.label("ae"),
        )
        .where(exam.c.unit_id == "", ~exam.c.unregistered, exam.c.portion != Portion.NEITHER, *_alive(since))
        .order_by(exam.c.last_received_at.desc(), exam.c.id)
    )
    linked = linked_studies(conn)
    return [row for row in conn.execute(query) if row.stages or row.study_uid not in linked]


def _waiting(sender: str, rows: Sequence[Any]) -> UnattributedExams:
    return UnattributedExams(
        sender=sender,
        candidates=tuple(sorted({unit_id for row in rows for unit_id in row.candidates})),
        doubts=tuple(sorted({row.attribution for row in rows[:SHOWN]} - {""})),
        exams=_exams(rows),
    )


def undated_exams(conn: Connection, unit_ids: Collection[str]) -> dict[str, tuple[Exams, tuple[str, ...]]]:
    """Return by unit the exams that would count had they a day, and what is wrong with their dates."""
    query = select(exam.c.unit_id, exam.c.id, exam.c.day, exam.c.last_received_at, exam.c.flags).where(
        exam.c.unit_id.in_(unit_ids),
        exam.c.day.is_(None),
        exam.c.portion.in_(COUNTING_PORTIONS),
        ~exam.c.excluded,
    )
    return {
        unit_id: (_exams(rows), tuple(sorted({flag for row in rows for flag in row.flags}))[:SHOWN])
        for unit_id, rows in _by_unit(conn, query).items()
    }


def biopsies_on(conn: Connection, unit_ids: Collection[str], since: date) -> dict[str, tuple[Exams, tuple[str, ...]]]:
    """Return by unit the clinical exams made on it and the attachments they were made with."""
    query = select(exam.c.unit_id, exam.c.id, exam.c.day, exam.c.last_received_at, exam.c.attachments).where(
        exam.c.unit_id.in_(unit_ids), exam.c.portion == Portion.CLINICAL, *_alive(since)
    )
    return {
        unit_id: (_exams(rows), tuple(sorted({name for row in rows for name in row.attachments})))
        for unit_id, rows in _by_unit(conn, query).items()
    }


def biopsies_outside(
    conn: Connection, unit_ids: Collection[str], since: date, is_outside: Callable[[str, date], bool]
) -> dict[str, Exams]:
    """Return by unit the dated biopsies made on it on days of which ``is_outside`` says so of the unit."""
    if not unit_ids:
        return {}
    query = select(exam.c.unit_id, exam.c.id, exam.c.day, exam.c.last_received_at).where(
        exam.c.unit_id.in_(unit_ids), exam.c.portion == Portion.CLINICAL, exam.c.day >= since, ~exam.c.excluded
    )
    found = {
        unit_id: [row for row in rows if is_outside(unit_id, row.day)]
        for unit_id, rows in _by_unit(conn, query).items()
    }
    return {unit_id: _exams(rows) for unit_id, rows in found.items() if rows}


def attachments_to_review(conn: Connection, quiet_since: datetime) -> set[str]:
    """Return the attachments of exams that changed after their review and are quiet since a time."""
    query = select(cast(exam.c.attachments, Text)).where(*_settled(quiet_since)).distinct()
    return {name for text in conn.execute(query).scalars() for name in json.loads(text)}


def waiting_for(conn: Connection, unit_ids: Collection[str], since: date) -> dict[str, tuple[str, ...]]:
    """Return by unit the ids of exams that a person could find to be its: without a unit, or of an unclear portion.

    Those received last come first.
    """
    could_be = and_(exam.c.unit_id == "", cast(exam.c.candidates, Text) != "[]", exam.c.portion != Portion.NEITHER)
    unclear = and_(exam.c.unit_id.in_(unit_ids), exam.c.portion == Portion.UNCLEAR)
    query = select(exam.c.unit_id, exam.c.candidates, exam.c.id).where(or_(could_be, unclear), *_alive(since))
    wanted = set(unit_ids)
    found: dict[str, list[str]] = {}
    for row in conn.execute(query.order_by(exam.c.last_received_at.desc(), exam.c.id)):
        for unit_id in {row.unit_id} if row.unit_id else wanted.intersection(row.candidates):
            found.setdefault(unit_id, []).append(row.id)
    return {unit_id: tuple(ids) for unit_id, ids in found.items()}


def conflicts(conn: Connection) -> list[Conflicts]:
    """Return the instances that came again with other content and wait for a decision, by the sender of the other."""
    query = (
        select(
            conflict.c.calling_ae,
            func.count(conflict.c.sop_instance_uid.distinct()).label("instances"),
            func.count(conflict.c.study_uid.distinct()).label("studies"),
            func.max(conflict.c.received_at).label("last_received_at"),
        )
        .where(conflict.c.decided_at.is_(None))
        .group_by(conflict.c.calling_ae)
        .order_by(conflict.c.calling_ae)
    )
    return [
        Conflicts(
            sender=row.calling_ae, count=row.instances, studies=row.studies, last_received_at=row.last_received_at
        )
        for row in conn.execute(query)
    ]


def units_to_review(conn: Connection, quiet_since: datetime) -> list[str]:
    """Return the units ("" for none) with exams that changed after their review and are quiet since a time."""
    query = select(exam.c.unit_id).where(*_settled(quiet_since)).distinct().order_by(exam.c.unit_id)
    return list(conn.execute(query).scalars())


def mark_reviewed(conn: Connection, unit_ids: Collection[str], quiet_since: datetime, now: datetime) -> None:
    """Record that units were reviewed with their settled exams as they are in this transaction."""
    conn.execute(update(exam).where(exam.c.unit_id.in_(unit_ids), *_settled(quiet_since)).values(reviewed_at=now))


def _settled(quiet_since: datetime) -> list[ColumnElement[bool]]:
    return [exam.c.reviewed_at.is_(None), exam.c.last_received_at <= quiet_since]


def _alive(since: date) -> list[ColumnElement[bool]]:
    return [~exam.c.excluded, or_(exam.c.day.is_(None), exam.c.day >= since)]


def _by_unit(conn: Connection, query: Select[*tuple[Any, ...]]) -> dict[str, list[Any]]:
    """Return the exams of a query by unit, those received last first."""
    rows: dict[str, list[Any]] = {}
    for row in conn.execute(query.order_by(exam.c.last_received_at.desc(), exam.c.id)):
        rows.setdefault(row.unit_id, []).append(row)
    return rows


def _exams(rows: Sequence[Any]) -> Exams:
    """Summarise exams that are ordered by when they were received, newest first."""
    return Exams(
        count=len(rows),
        ids=tuple(row.id for row in rows[:SHOWN]),
        newest_day=max((row.day for row in rows if row.day is not None), default=None),
        last_received_at=rows[0].last_received_at,
    )
