"""What the index holds already about an instance that is to be recorded, in one look."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, bindparam, exists, literal_column, select

from dicom_node.index.exam_tally import TALLY_COLUMNS
from dicom_node.index.prepared import Cursor, Prepared
from dicom_node.index.rows import SERIES_HELD, STUDY_HELD, Row
from dicom_node.index.tables import decision, exam, instance, rejection, series, study


@dataclass(slots=True, kw_only=True)
class Place:
    """What instances of one series and one unit find when they come; None for a row that is not there."""

    decided: bool
    """People decided something about exams of the study."""
    study: Row | None
    """The ``STUDY_HELD`` columns."""
    series: Row | None
    """The ``SERIES_HELD`` columns."""
    exam: Row | None
    """The ``TALLY_COLUMNS`` of the exam of the study on the unit."""


@dataclass(slots=True, kw_only=True)
class Known:
    """What there is about an instance itself."""

    digest: str | None
    """Of the content that is recorded under the SOP Instance UID."""
    rejected: bool
    """A key object selection rejects the instance."""


def look_up(cursor: Cursor, sop_instance_uid: str) -> Known:
    """Return what there is about an instance whose place is known."""
    found = _INSTANCE.first(cursor, {"sop_instance_uid": sop_instance_uid})
    assert found is not None
    return Known(digest=found[0], rejected=bool(found[1]))


def look_up_with_place(
    cursor: Cursor, *, sop_instance_uid: str, study_uid: str, series_uid: str, unit_id: str
) -> tuple[Known, Place]:
    """Return what there is about an instance; and about its study, its series, and the study's exam on a unit."""
    found = _KNOWN.first(
        cursor,
        {"sop_instance_uid": sop_instance_uid, "study_uid": study_uid, "series_uid": series_uid, "unit_id": unit_id},
    )
    assert found is not None
    digest, rejected, decided = found[:3]
    return Known(digest=digest, rejected=bool(rejected)), Place(
        decided=bool(decided),
        study=_row(STUDY_HELD, found[3:_SERIES_AT]),
        series=_row(SERIES_HELD, found[_SERIES_AT:_EXAM_AT]),
        exam=_row(TALLY_COLUMNS, found[_EXAM_AT:]),
    )


def whole_study(cursor: Cursor, held: Row) -> Row:
    """Return a study's row with all columns that it has in the database; those that are held hold."""
    return _whole(_STUDY, study, cursor, held)


def whole_series(cursor: Cursor, held: Row) -> Row:
    """Return a series' row with all columns that it has in the database; those that are held hold."""
    return _whole(_SERIES, series, cursor, held)


def _whole(query: Prepared, table: Table, cursor: Cursor, held: Row) -> Row:
    found = query.first(cursor, held)
    return held if found is None else dict(zip(table.c.keys(), found, strict=True)) | held


def _row(columns: Sequence[str], values: list[Any]) -> Row | None:
    """Return a row; none of them has nothing in its first column."""
    return None if values[0] is None else dict(zip(columns, values, strict=True))


_SERIES_AT = 3 + len(STUDY_HELD)
_EXAM_AT = _SERIES_AT + len(SERIES_HELD)

_IS_STUDY = study.c.study_uid == bindparam("study_uid")
_IS_SERIES = (series.c.study_uid == bindparam("study_uid")) & (series.c.series_uid == bindparam("series_uid"))
_STUDY = Prepared(select(study).where(_IS_STUDY))
_SERIES = Prepared(select(series).where(_IS_SERIES))

_OF_INSTANCE = (
    instance.c.digest,
    exists().where(rejection.c.rejected_uid == bindparam("sop_instance_uid")).label("rejected"),
)
_ONE_ROW = select(literal_column("1").label("one")).subquery("one_row")
"""One row to join to, so that there is an answer whatever there is."""

_WITH_INSTANCE = _ONE_ROW.outerjoin(instance, instance.c.sop_instance_uid == bindparam("sop_instance_uid"))

_INSTANCE = Prepared(select(*_OF_INSTANCE).select_from(_WITH_INSTANCE))
_KNOWN = Prepared(
    select(
        *_OF_INSTANCE,
        exists().where(decision.c.study_uid == bindparam("study_uid")).label("decided"),
        *(study.c[name] for name in STUDY_HELD),
        *(series.c[name] for name in SERIES_HELD),
        *(exam.c[name] for name in TALLY_COLUMNS),
    ).select_from(
        _WITH_INSTANCE.outerjoin(study, _IS_STUDY)
        .outerjoin(series, _IS_SERIES)
        .outerjoin(exam, (exam.c.study_uid == bindparam("study_uid")) & (exam.c.unit_id == bindparam("unit_id")))
    )
)
