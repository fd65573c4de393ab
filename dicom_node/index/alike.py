"""Exams of devices that say the same of themselves. Functions work in the caller's transaction."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, func, select

from dicom_node.accreditation.signals import Role
from dicom_node.dicom.keys import BY_KEYWORD, Level
from dicom_node.index.tables import exam, instance, series


class Sample(NamedTuple):
    """An acquired image of an exam, for all that are like it."""

    exam_id: str
    unit_id: str
    digest: str


def exams_with(conn: Connection, values: Mapping[str, str]) -> list[Sample]:
    """Return an image of each exam that has these values of attributes or association fields, whatever their case.

    Attributes that the index does not hold are not looked at. Empty when it holds none of them.
    """
    query, is_asked = _images().group_by(exam.c.id, exam.c.unit_id).order_by(exam.c.id), False
    for name, value in values.items():
        column = _column(name)
        if column is not None:
            is_asked = True
            # Beyond ASCII the databases fold otherwise than the rules: then all are looked at.
            query = query.where(func.lower(column) == value.lower()) if value.isascii() else query
    return [Sample(*row) for row in conn.execute(query)] if is_asked else []


def kinds_of(conn: Connection, unit_id: str) -> list[Sample]:
    """Return an image of each kind of device and sender that a unit's exams came from."""
    kind = (series.c.device_serial_number, series.c.manufacturer, series.c.station_name, instance.c.calling_ae)
    query = _images(func.min(exam.c.id), func.min(exam.c.unit_id)).where(exam.c.unit_id == unit_id).group_by(*kind)
    return [Sample(*row) for row in conn.execute(query)]


def _images(of_id: Any = exam.c.id, of_unit: Any = exam.c.unit_id) -> Select[str, str, str]:
    on_unit = (instance.c.study_uid == exam.c.study_uid) & (instance.c.unit_id == exam.c.unit_id)
    of_series = (series.c.study_uid == instance.c.study_uid) & (series.c.series_uid == instance.c.series_uid)
    return (
        select(of_id, of_unit, func.min(instance.c.digest))
        .select_from(exam)
        .join(instance, on_unit)
        .join(series, of_series)
        .where(instance.c.role == Role.PRIMARY)
    )


def _column(name: str) -> Any:
    if name == "calling_ae":
        return instance.c.calling_ae
    key = BY_KEYWORD.get(name)
    return series.c[key.column] if key is not None and key.level is Level.SERIES else None
