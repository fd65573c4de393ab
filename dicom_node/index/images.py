"""Reads of stored instances one by one: where the bytes of each are, and what the rules made of it.

Functions work in the caller's transaction.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, select

from dicom_node.index.tables import conflict, instance, rejection

_REJECTED = exists().where(rejection.c.rejected_uid == instance.c.sop_instance_uid).label("rejected")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """An instance with the content that is served."""

    sop_instance_uid: str
    sop_class_uid: str
    study_uid: str
    series_uid: str
    transfer_syntax_uid: str
    digest: str
    size: int
    """Bytes of the data set."""
    unit_id: str
    role: str
    portion: str
    rule: str
    stage: str
    instance_number: str
    acquisition_day: date | None
    day_source: str
    rejected: bool
    """A key object selection rejects it."""


_COLUMNS = tuple(instance.c[name] for name in StoredImage.__slots__ if name != "rejected")


def of_exam(conn: Connection, study_uid: str, unit_id: str) -> list[StoredImage]:
    """Return the instances of an exam, by UID."""
    return _images(conn, instance.c.study_uid == study_uid, instance.c.unit_id == unit_id)


def with_uids(conn: Connection, sop_instance_uids: Collection[str]) -> list[StoredImage]:
    """Return those of the instances that the index has, by UID."""
    return _images(conn, instance.c.sop_instance_uid.in_(sop_instance_uids))


def _images(conn: Connection, *wanted: ColumnElement[bool]) -> list[StoredImage]:
    query = select(*_COLUMNS, _REJECTED).where(*wanted).order_by(instance.c.sop_instance_uid)
    return [StoredImage(**_plain(row._asdict())) for row in conn.execute(query)]


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"rejected": bool(values["rejected"])}


def contents_of(conn: Connection, sop_instance_uids: Collection[str]) -> dict[str, set[str]]:
    """Return the digests of every content that the index has under each of these UIDs."""
    found: dict[str, set[str]] = {}
    for table in (instance, conflict):
        query = select(table.c.sop_instance_uid, table.c.digest).where(table.c.sop_instance_uid.in_(sop_instance_uids))
        for uid, digest in conn.execute(query):
            found.setdefault(uid, set()).add(digest)
    return found
