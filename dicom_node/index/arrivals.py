"""What devices sent last, as it came: who called, what the images say of the device and of its clock.

Functions work in the caller's transaction.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, literal_column, select

from dicom_node.accreditation.names import NameUse
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.signals import Role
from dicom_node.index.prepared import Cursor, Prepared
from dicom_node.index.tables import exam, instance, series


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


def newest_of_each(conn: Connection, unit_ids: Iterable[str]) -> dict[str, Arrival]:
    """Return the exam of each unit that began to be received last."""
    cursor = Cursor(conn)
    found: dict[str, Arrival] = {}
    for unit_id in unit_ids:
        row = _NEWEST.first(cursor, {"unit_id": unit_id})
        image = _IMAGE.first(cursor, {"uid": row[1]}) if row is not None and row[1] is not None else None
        if row is not None and image is not None:
            found[unit_id] = _arrival(unit_id, row[0], image[1:])
    return found


def newest_of(
    conn: Connection, unit_id: str, most: int, portions: Collection[Portion] = tuple(Portion)
) -> tuple[Arrival, ...]:
    """Return the exams of a unit and of some portions that began to be received last, the newest first."""
    # The exams are chosen before their images are looked up.
    chosen = (
        select(exam.c.id)
        .where(exam.c.unit_id == unit_id, exam.c.portion.in_(portions))
        .order_by(*_LAST_FIRST)
        .limit(most)
        .subquery()
    )
    query = (
        select(exam.c.unit_id, exam.c.last_received_at, _FIRST_IMAGE.label("image"))
        .where(exam.c.id.in_(select(chosen.c.id)))
        .order_by(*_LAST_FIRST)
    )
    return _arrivals(conn, conn.execute(query).all())


def with_several_stations(conn: Connection, serials: Iterable[str]) -> set[str]:
    """Return those serial numbers, to the letter, under which images of more than one station name came."""
    cursor = Cursor(conn)
    found = set()
    for serial in serials:
        row = _STATIONS.first(cursor, {"serial": serial})
        if row is not None and row[0] != row[1]:
            found.add(serial)
    return found


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
    """Return exams of which unit, newest receipt and first image are known, in their order."""
    uids = [row.image for row in rows if row.image is not None]
    if not uids:
        return ()
    images = {image[0]: image for image in conn.execute(_IMAGES.where(instance.c.sop_instance_uid.in_(uids)))}
    return tuple(
        _arrival(row.unit_id, row.last_received_at, images[row.image][1:]) for row in rows if row.image in images
    )


def _arrival(unit_id: str, last_received_at: datetime, image: Sequence[Any]) -> Arrival:
    received_at, calling_ae, peer_address, dates, serial, station = image
    return Arrival(
        unit_id=unit_id,
        received_at=received_at,
        last_received_at=last_received_at,
        calling_ae=calling_ae,
        peer_address=peer_address,
        serial=serial,
        station=station,
        made_on=date.fromisoformat(dates[0][1]) if dates and dates[0][1] else None,
    )


_LAST_FIRST = (exam.c.first_received_at.desc(), exam.c.id.desc())
# A prepared statement has no values but those it is run with.
_ONE: ColumnElement[int] = literal_column("1")
_NONE: ColumnElement[int] = literal_column("0")
_FIRST_IMAGE = (
    select(instance.c.sop_instance_uid)
    .where(
        instance.c.study_uid == exam.c.study_uid,
        instance.c.unit_id == exam.c.unit_id,
        instance.c.role == literal_column(f"'{Role.PRIMARY}'"),
    )
    .order_by(instance.c.received_at, instance.c.sop_instance_uid)
    .limit(_ONE)
    .offset(_NONE)
    .scalar_subquery()
)
_CHOSEN = (
    select(exam.c.id)
    .where(exam.c.unit_id == bindparam("unit_id"))
    .order_by(*_LAST_FIRST)
    .limit(_ONE)
    .offset(_NONE)
    .correlate(None)
    .scalar_subquery()
)
_NEWEST = Prepared(select(exam.c.last_received_at, _FIRST_IMAGE.label("image")).where(exam.c.id == _CHOSEN))
_IMAGES = select(
    *(instance.c[name] for name in ("sop_instance_uid", "received_at", "calling_ae", "peer_address", "day_candidates")),
    series.c.device_serial_number,
    series.c.station_name,
).join(series, and_(series.c.study_uid == instance.c.study_uid, series.c.series_uid == instance.c.series_uid))
_IMAGE = Prepared(_IMAGES.where(instance.c.sop_instance_uid == bindparam("uid")))
_NAMED = (series.c.device_serial_number == bindparam("serial"), series.c.station_name != literal_column("''"))
# Two looks into an index instead of all the series of the device.
_STATIONS = Prepared(
    select(
        select(func.min(series.c.station_name)).where(*_NAMED).scalar_subquery(),
        select(func.max(series.c.station_name)).where(*_NAMED).scalar_subquery(),
    )
)
