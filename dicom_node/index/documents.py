"""Encapsulated documents of units; some may be a physicist's report. Functions work in the caller's transaction."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, select

from dicom_node.dicom.datetimes import parse_da, parse_dt
from dicom_node.dicom.uids import DOCUMENTS
from dicom_node.index.tables import instance, series, study

_DATES = (
    ("AcquisitionDateTime", instance.c.acquisition_date_time),
    ("ContentDate", instance.c.content_date),
    ("SeriesDate", series.c.series_date),
    ("StudyDate", study.c.study_date),
)
"""Where the day of a document stands, best first: when its content was made (PS3.3 C.24.2), then what it belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """An encapsulated document of a known unit."""

    sop_instance_uid: str
    unit_id: str
    day: date | None
    """The day it tells of itself; None when it tells none."""
    day_source: str
    """Attribute the day came from, "" for none."""
    calling_ae: str
    """"" for an import."""
    received_at: datetime


def documents(conn: Connection, unit_ids: Collection[str]) -> list[Document]:
    """Return the documents of some units, the one received last first."""
    query = (
        select(
            instance.c.sop_instance_uid,
            instance.c.unit_id,
            instance.c.calling_ae,
            instance.c.received_at,
            *(column for _, column in _DATES),
        )
        .join(series, (series.c.study_uid == instance.c.study_uid) & (series.c.series_uid == instance.c.series_uid))
        .join(study, study.c.study_uid == instance.c.study_uid)
        # Documents have no day of acquisition, which leaves few rows of a unit to look at.
        .where(
            instance.c.unit_id.in_(set(unit_ids) - {""}),
            instance.c.acquisition_day.is_(None),
            instance.c.sop_class_uid.in_(DOCUMENTS),
        )
        .order_by(instance.c.received_at.desc(), instance.c.sop_instance_uid)
    )
    found = []
    for uid, unit_id, calling_ae, received_at, *texts in conn.execute(query):
        day, source = _day(texts)
        found.append(
            Document(
                sop_instance_uid=uid,
                unit_id=unit_id,
                day=day,
                day_source=source,
                calling_ae=calling_ae,
                received_at=received_at,
            )
        )
    return found


def _day(texts: list[str]) -> tuple[date | None, str]:
    for (source, _), text in zip(_DATES, texts, strict=True):
        day = parse_dt(text) if source == "AcquisitionDateTime" else parse_da(text)
        if day is not None and day.year > 1900:  # what devices write when they know none
            return day, source
    return None, ""
