"""What units and attachments were used for, and by which devices they were shown, as the index has it.

Functions work in the caller's transaction. A biopsy is a clinical exam with a day that nobody excluded.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, Text, and_, cast, func, or_, select

from dicom_node.accreditation.portions import Portion
from dicom_node.index.tables import exam, instance, series

_BIOPSY = and_(exam.c.portion == Portion.CLINICAL, exam.c.day.is_not(None), ~exam.c.excluded)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentBiopsy:
    """A biopsy that was made with an attachment on a unit ("" when nobody can tell on which)."""

    unit_id: str
    attachment: str
    exam_id: str
    day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One way in which images of a unit came: who sent them, and what they say of the device. Times are aware UTC."""

    calling_ae: str
    """"" for an import."""
    peer_address: str
    serial: str
    manufacturer: str
    station: str
    instances: int
    first_received_at: datetime
    last_received_at: datetime


def biopsies_since(conn: Connection, since: date) -> dict[str, int]:
    """Return by unit how many biopsies were made on it from a day on, that day included; none are left out."""
    query = select(exam.c.unit_id, func.count()).where(_BIOPSY, exam.c.day >= since).group_by(exam.c.unit_id)
    return {row[0]: row[1] for row in conn.execute(query)}


def last_biopsies(conn: Connection) -> dict[str, date]:
    """Return by unit the day of the last biopsy made on it; units without any are left out."""
    query = select(exam.c.unit_id, func.max(exam.c.day)).where(_BIOPSY).group_by(exam.c.unit_id)
    return {row[0]: row[1] for row in conn.execute(query)}


def biopsies_with(conn: Connection, attachments: Collection[str]) -> list[AttachmentBiopsy]:
    """Return the biopsies made with some attachments, one for each of them, oldest first."""
    wanted = set(attachments)
    query = select(exam.c.unit_id, exam.c.id, exam.c.day, exam.c.attachments).where(
        _BIOPSY, cast(exam.c.attachments, Text) != "[]"
    )
    return [
        AttachmentBiopsy(unit_id=row.unit_id, attachment=name, exam_id=row.id, day=row.day)
        for row in conn.execute(query.order_by(exam.c.day, exam.c.id))
        for name in row.attachments
        if name in wanted
    ]


def shown_by(conn: Connection, unit_id: str, since: date) -> list[Shown]:
    """Return who sent the images of a unit since a day, and what they say of the device, last received first.

    What has no day of its own is looked at as well, whenever it came.
    """
    by = (
        instance.c.calling_ae,
        instance.c.peer_address,
        series.c.device_serial_number,
        series.c.manufacturer,
        series.c.station_name,
    )
    last = func.max(instance.c.received_at)
    query = (
        select(
            *by, func.count().label("instances"), func.min(instance.c.received_at).label("first"), last.label("last")
        )
        .select_from(instance)
        .join(series, and_(series.c.study_uid == instance.c.study_uid, series.c.series_uid == instance.c.series_uid))
        .where(instance.c.unit_id == unit_id)
        .where(or_(instance.c.acquisition_day >= since, instance.c.acquisition_day.is_(None)))
        .group_by(*by)
        .order_by(last.desc(), *by)
    )
    return [
        Shown(
            calling_ae=row.calling_ae,
            peer_address=row.peer_address,
            serial=row.device_serial_number,
            manufacturer=row.manufacturer,
            station=row.station_name,
            instances=row.instances,
            first_received_at=row.first,
            last_received_at=row.last,
        )
        for row in conn.execute(query)
    ]
