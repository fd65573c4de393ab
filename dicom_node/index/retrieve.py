"""C-GET and C-MOVE on the index: which instances are selected, and where their bytes are."""

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, select

from dicom_node.dicom.keys import Level
from dicom_node.dicom.retrieve import Retrieval
from dicom_node.index.engine import Index
from dicom_node.index.tables import instance, series, study


class Selected(NamedTuple):
    """An instance to be sent: the content that is served, as it is stored."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    digest: str
    size: int
    """Bytes of the data set."""
    study_uid: str


def select_instances(index: Index, retrieval: Retrieval) -> Iterator[list[Selected]]:
    """Yield the instances wanted, series by series in the order of their numbers, and so the instances of each.

    Every list is read in a short transaction of its own; nothing is open in the index between two. Raises
    DatabaseError.
    """
    with index.read() as conn:
        found = conn.execute(_series_of(retrieval)).all()
    for study_uid, series_uid, _ in sorted(found, key=lambda row: (row[0], _order(row[2]), row[1])):
        with index.read() as conn:
            page = _instances_of(conn, study_uid, series_uid, retrieval.instance_uids)
        yield page


def _series_of(retrieval: Retrieval) -> Select[Any]:
    """Select study, UID and number of every series that holds what is wanted."""
    wanted: list[ColumnElement[bool]] = []
    tables: Any = series
    if retrieval.level is Level.PATIENT or retrieval.patient_id:
        tables = series.join(study, study.c.study_uid == series.c.study_uid)
        wanted.append(study.c.patient_id == retrieval.patient_id)
    if retrieval.study_uids:
        wanted.append(series.c.study_uid.in_(retrieval.study_uids))
    if retrieval.series_uids:
        wanted.append(series.c.series_uid.in_(retrieval.series_uids))
    columns = (series.c.study_uid, series.c.series_uid, series.c.series_number)
    return select(*columns).select_from(tables).where(*wanted)


def _instances_of(conn: Connection, study_uid: str, series_uid: str, uids: tuple[str, ...]) -> list[Selected]:
    columns = instance.c
    query = select(
        columns.instance_number,
        columns.sop_class_uid,
        columns.sop_instance_uid,
        columns.transfer_syntax_uid,
        columns.digest,
        columns.size,
    ).where(columns.study_uid == study_uid, columns.series_uid == series_uid)
    if uids:
        query = query.where(columns.sop_instance_uid.in_(uids))
    rows = sorted(conn.execute(query), key=lambda row: (_order(row[0]), row[2]))
    # A study may have a hundred thousand instances, of a handful of classes and syntaxes.
    return [
        Selected(sys.intern(sop_class), uid, sys.intern(syntax), digest, size, study_uid)
        for _, sop_class, uid, syntax, digest, size in rows
    ]


def _order(number: str) -> tuple[int, str]:
    """Return a key that sorts integer strings as numbers, what is none after them."""
    try:
        return int(number), ""
    except ValueError:
        return sys.maxsize, number
