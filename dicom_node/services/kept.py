"""What people keep books of, as the values that the rules work with. Functions work in the caller's transaction."""

from collections.abc import Collection
from datetime import date

from sqlalchemy import Connection

from dicom_node.accreditation.surveys import BY_A_PERSON, LogKind, QcLog, Survey
from dicom_node.index import entries
from dicom_node.index.entries import Entry, EntryKind


def read_surveys(conn: Connection, unit_ids: Collection[str] | None = None) -> list[Survey]:
    """Return the surveys as they are in force, withdrawn ones too, of some units where they are given."""
    found = entries.current(conn, EntryKind.SURVEY, unit_ids)
    return [survey_of(each) for each in found if not is_dismissed(each)]


def read_logs(conn: Connection, unit_ids: Collection[str] | None = None) -> list[QcLog]:
    """Return the logs as they are in force, withdrawn ones too, of some units where they are given."""
    return [log_of(each) for each in entries.current(conn, EntryKind.QC_LOG, unit_ids)]


def is_dismissed(entry: Entry) -> bool:
    """Tell whether the entry says of a document that it is no report of a survey."""
    return bool(entry.data.get("dismissed", False))


def survey_of(entry: Entry) -> Survey:
    """Return a version of an entry as the survey it tells of."""
    return Survey(
        id=entry.id,
        unit=entry.unit_id,
        day=date.fromisoformat(entry.data["day"]),
        source=entry.data.get("source", BY_A_PERSON),
        note=entry.note,
        withdrawn=entry.data.get("withdrawn", False),
    )


def log_of(entry: Entry) -> QcLog:
    """Return a version of an entry as the log it tells of."""
    return QcLog(
        id=entry.id,
        unit=entry.unit_id,
        kind=LogKind(entry.data["kind"]),
        first=date.fromisoformat(entry.data["first"]),
        last=date.fromisoformat(entry.data["last"]),
        note=entry.note,
        withdrawn=entry.data.get("withdrawn", False),
    )
