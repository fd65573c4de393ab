"""What devices sent last, as it came: who called, what the images say of the device and of its clock.

Functions work in the caller's transaction.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, column, func, select, values

from dicom_node.accreditation.names import NameUse
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.signals import Role
from dicom_node.index.tables import PlainText, exam, instance, series


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An exam by the image of it that was received first."""

    unit_id: str
    received_at: datetime
    """Of that image."""
    last_received_at: datetime
    """Of the exam's newest instance."""
    calling_ae: str
    """"" for an import."""
    peer_address: str
    serial: str
    station: str
    made_on: date | None
    """The day the device wrote, whether it can be trusted or not; None when it wrote none."""


def newest_of_each(conn: Connection, unit_ids: Collection[str]) -> dict[str, Arrival]:
    """Return the exam of each unit that began to be received last."""
    if not unit_ids:
        return {}
    asked = values(column("unit_id", PlainText), name="asked").data([(each,) for each in unit_ids]).cte("asked")
    newest = (
        select(exam.c.id)
        .where(exam.c.unit_id == asked.c.unit_id)
        .order_by(exam.c.first_received_at.desc(), exam.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    chosen = select(newest.label("exam_id")).select_from(asked).cte("chosen")
    query = select(exam.c.unit_id, exam.c.last_received_at, _FIRST_IMAGE.label("image"))
    rows = conn.execute(query.select_from(chosen).join(exam, exam.c.id == chosen.c.exam_id)).all()
    return {each.unit_id: each for each in _arrivals(conn, rows)}


def newest_of(
    conn: Connection, unit_id: str, most: int, portions: Collection[Portion] = tuple(Portion)
) -> tuple[Arrival, ...]:
    """Return the exams of a unit and of some portions that began to be received last, the newest first."""
    query = (
        select(exam.c.unit_id, exam.c.last_received_at, _FIRST_IMAGE.label("image"))
        .where(exam.c.unit_id == unit_id, exam.c.portion.in_(portions))
        .order_by(exam.c.first_received_at.desc(), exam.c.id.desc())
        .limit(most)
    )
    return _arrivals(conn, conn.execute(query).all())


def with_several_stations(conn: Connection, serials: Collection[str]) -> set[str]:
    """Return those serial numbers, to the letter, under which images of more than one station name came."""
    if not serials:
        return set()
    asked = values(column("serial", PlainText), name="asked").data([(each,) for each in serials]).cte("asked")
    named = and_(series.c.device_serial_number == asked.c.serial, series.c.station_name != "")
    # Two looks into an index instead of all the series of the device.
    least = select(func.min(series.c.station_name)).where(named).scalar_subquery()
    greatest = select(func.max(series.c.station_name)).where(named).scalar_subquery()
    query = select(asked.c.serial, least.label("least"), greatest.label("greatest"))
    return {row.serial for row in conn.execute(query) if row.least != row.greatest}


def stations_of(conn: Connection, serial: str, calling_aes: Collection[str]) -> tuple[NameUse, ...]:
    """Return the station names under which a serial number came in calls by some AE titles, first used first."""
    query = (
        select(
            series.c.station_name,
            func.min(series.c.first_received_at).label("first_at"),
            func.max(series.c.first_received_at).label("last_at"),
            func.count(series.c.study_uid.distinct()).label("studies"),
        )
        .where(series.c.device_serial_number == serial, series.c.station_name != "", _was_called_by(calling_aes))
        .group_by(series.c.station_name)
    )
    found = (
        NameUse(name=row.station_name, first_at=row.first_at, last_at=row.last_at, count=row.studies)
        for row in conn.execute(query)
    )
    return tuple(sorted(found, key=lambda each: (each.first_at, each.name)))


def _was_called_by(calling_aes: Collection[str]) -> ColumnElement[bool]:
    """Tell of a series whether some instance of it came in a call by one of the AE titles."""
    return (
        select(instance.c.sop_instance_uid)
        .where(
            instance.c.study_uid == series.c.study_uid,
            instance.c.series_uid == series.c.series_uid,
            instance.c.calling_ae.in_(calling_aes),
        )
        .exists()
    )


def _arrivals(conn: Connection, rows: Collection[Any]) -> tuple[Arrival, ...]:
    """Return exams of which id, newest receipt and first image are known, in their order."""
    uids = [row.image for row in rows if row.image is not None]
    if not uids:
        return ()
    query = (
        select(
            *(instance.c[name] for name in ("sop_instance_uid", "received_at", "calling_ae", "peer_address")),
            instance.c.day_candidates,
            series.c.device_serial_number,
            series.c.station_name,
        )
        .join(series, and_(series.c.study_uid == instance.c.study_uid, series.c.series_uid == instance.c.series_uid))
        .where(instance.c.sop_instance_uid.in_(uids))
    )
    images = {image.sop_instance_uid: image for image in conn.execute(query)}
    return tuple(_arrival(row, images[row.image]) for row in rows if row.image in images)


def _arrival(row: Any, image: Any) -> Arrival:
    dates = image.day_candidates
    return Arrival(
        unit_id=row.unit_id,
        received_at=image.received_at,
        last_received_at=row.last_received_at,
        calling_ae=image.calling_ae,
        peer_address=image.peer_address,
        serial=image.device_serial_number,
        station=image.station_name,
        made_on=date.fromisoformat(dates[0][1]) if dates and dates[0][1] else None,
    )


_FIRST_IMAGE = (
    select(instance.c.sop_instance_uid)
    .where(
        instance.c.study_uid == exam.c.study_uid,
        instance.c.unit_id == exam.c.unit_id,
        instance.c.role == Role.PRIMARY,
    )
    .order_by(instance.c.received_at, instance.c.sop_instance_uid)
    .limit(1)
    .scalar_subquery()
)
