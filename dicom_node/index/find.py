"""C-FIND on the index: SQL narrows what is looked at, ``dicom.matching`` decides.

Records come in pages, each read in a short transaction of its own that is over before the page is handed on, and each
beginning by key where the last one ended: memory stays flat, nothing is held while answers travel, and what was there
when the query began is seen once.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, func, or_, select, tuple_

from dicom_node.dicom.keys import Level
from dicom_node.dicom.matching import Condition, matches
from dicom_node.dicom.query import Query
from dicom_node.index.countdown import Countdown
from dicom_node.index.engine import Index
from dicom_node.index.find_clauses import OF_EXAM, TABLES, columns_of, is_selective, join_above, narrow, text_of
from dicom_node.index.tables import instance, series, study

FIRST_PAGE, LARGEST_PAGE = 200, 2000
"""Rows read at a time: few at first, so that answers begin to leave, then twice as many as before each time, because a
page may cost a look at all the rows there are."""

FoundRecord = dict[str, str]
"""Keyword to text, several values joined by a backslash, for every keyword that the query matches or returns."""

_UIDS = {Level.STUDY: "study_uid", Level.SERIES: "series_uid", Level.IMAGE: "sop_instance_uid"}
_PATIENT_COLUMNS = (
    study.c.patient_id,
    study.c.issuer_of_patient_id,
    study.c.patient_name,
    study.c.patient_birth_date,
    study.c.patient_sex,
)


def find_pages(
    index: Index, query: Query, countdown: Countdown, *, page_size: int = FIRST_PAGE
) -> Iterator[list[FoundRecord]]:
    """Yield the records that match, page by page; a page may be empty though others follow.

    Between two pages nothing is open in the index. ``page_size`` is that of the first. Raises DatabaseError.
    """
    finder = _PatientFinder(query) if query.level is Level.PATIENT else _Finder(query, countdown)
    after: Sequence[str] | None = None
    while True:
        with index.read() as conn:
            rows = conn.execute(finder.page(after, page_size)).mappings().all()
            found = finder.records(conn, rows)
        yield found
        if len(rows) < page_size:
            return
        after = finder.position(rows[-1])
        page_size = max(page_size, min(2 * page_size, LARGEST_PAGE))


class _Finder:
    """Finds studies, series or instances: one record for each row of the level's table."""

    def __init__(self, query: Query, countdown: Countdown) -> None:
        self._query = query
        self._countdown = countdown
        self._table = TABLES[query.level]
        self._uid = self._table.c[_UIDS[query.level]]
        self._below = query.descending
        self._own = query.keywords - self._below

    def page(self, after: Sequence[str] | None, size: int) -> Select[Any]:
        """Select up to ``size`` rows that follow ``after``, in the order of their UID."""
        columns = [*columns_of(self._own, self._query.level), self._uid.label("uid")]
        clauses = self._narrow(self._query.conditions)
        if self._table is study:  # below it a query names one study, whose instances are looked at anyway
            clauses += self._has_instances()
        if after is not None:
            clauses.append(self._uid > after[0])
        selected = select(*columns).select_from(join_above(self._table, columns)).where(*clauses)
        return selected.order_by(self._uid).limit(size)

    def _has_instances(self) -> list[ColumnElement[bool]]:
        """Ask for studies with an instance below that the conditions on instances may accept."""
        below = self._narrow(self._query.instance_conditions)
        if not below:
            return []
        instances = select(instance.c.study_uid).select_from(join_above(instance, self._columns_below())).where(*below)
        if any(is_selective(condition) for condition in self._query.instance_conditions):
            return [study.c.study_uid.in_(instances)]
        # What most studies have is sooner found by looking into each study in turn.
        return [instances.where(instance.c.study_uid == study.c.study_uid).correlate(study).exists()]

    def _narrow(self, conditions: Iterable[Condition], level: Level | None = None) -> list[ColumnElement[bool]]:
        level = self._query.level if level is None else level
        clauses = (narrow(condition, level, self._countdown) for condition in conditions)
        return [clause for clause in clauses if clause is not None]

    @staticmethod
    def position(row: RowMapping) -> Sequence[str]:
        """Return where the page that ends with ``row`` ends."""
        return (row["uid"],)

    def records(self, conn: Connection, rows: Sequence[RowMapping]) -> list[FoundRecord]:
        """Return the records of the rows that match."""
        below = self._instances_below(conn, [row["uid"] for row in rows]) if self._below else {}
        found = []
        for row in rows:
            record = self._record(row, self._own)
            if not matches(self._query.conditions, record):
                continue
            if self._below:
                instances = [each for each in below[row["uid"]] if matches(self._query.instance_conditions, each)]
                if self._query.instance_conditions and not instances:
                    continue
                record |= {keyword: _joined(each[keyword] for each in instances) for keyword in self._below}
            found.append(record)
        return found

    def _columns_below(self) -> list[ColumnElement[Any]]:
        return columns_of(self._below, self._query.level)

    def _instances_below(self, conn: Connection, uids: list[str]) -> dict[str, list[FoundRecord]]:
        """Return, for each study or series, what its instances have in the descending keys, each combination once."""
        columns = self._columns_below()
        uid = instance.c[self._uid.name]
        statement = select(*columns, uid.label("uid")).distinct().select_from(join_above(instance, columns))
        clauses = [uid.in_(uids), *self._narrow(self._query.instance_conditions)]
        if self._table is series:
            # The same series may turn up in two studies; the query names the study.
            study_named = [each for each in self._query.conditions if each.keyword == "StudyInstanceUID"]
            clauses += self._narrow(study_named, Level.IMAGE)
        grouped = defaultdict(list)
        for row in conn.execute(statement.where(*clauses)).mappings():
            grouped[row["uid"]].append(self._record(row, self._below))
        return grouped

    def _record(self, row: RowMapping, keywords: frozenset[str]) -> FoundRecord:
        record = {keyword: text_of(row[keyword]) for keyword in keywords - OF_EXAM}
        return record | self._exam_texts(row) if keywords & OF_EXAM else record

    def _exam_texts(self, row: RowMapping) -> FoundRecord:
        ages = row["exam_counts"] and row["exam_day"]
        until = self._countdown.until(row["exam_unit"], row["exam_portion"], row["exam_day"]) if ages else None
        return {
            "Portion": text_of(row["exam_portion"]).upper(),  # a CS has no lower case (PS3.5 6.2)
            "CountsUntil": text_of(until),
            "DaysLeft": "" if until is None else str((until - self._countdown.today).days),
        }


class _PatientFinder:
    """Finds patients: the studies with one Patient ID and issuer; without an ID, those alike in all that is known."""

    _KEYWORDS = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")
    _COUNTS = ("NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances")

    def __init__(self, query: Query) -> None:
        self._query = query
        self._last: tuple[str, ...] = ()

    def page(self, after: Sequence[str] | None, size: int) -> Select[Any]:
        """Select up to ``size`` distinct patient-level values that follow ``after``, the Patient ID first."""
        clauses = [
            clause
            for condition in self._query.conditions
            if (clause := narrow(condition, Level.PATIENT, None)) is not None
        ]
        if after is not None:
            clauses.append(study.c.patient_id >= after[0])
        # The ids come from their index in order; only what belongs to so many of them has to be sorted then.
        ids = select(study.c.patient_id).distinct().where(*clauses).order_by(study.c.patient_id).limit(size).subquery()
        clauses.append(study.c.patient_id <= select(func.max(ids.c.patient_id)).scalar_subquery())
        if after is not None:
            clauses.append(tuple_(*_PATIENT_COLUMNS) > tuple_(*after))
        return select(*_PATIENT_COLUMNS).distinct().where(*clauses).order_by(*_PATIENT_COLUMNS).limit(size)

    @staticmethod
    def position(row: RowMapping) -> Sequence[str]:
        """Return where the page that ends with ``row`` ends."""
        return _patient_values(row)

    def records(self, conn: Connection, rows: Sequence[RowMapping]) -> list[FoundRecord]:
        """Return one record for each patient that matches, even where a page ends between two of its rows."""
        wants_counts = not self._query.keywords.isdisjoint(self._COUNTS)
        counts = self._counts(conn, rows) if wants_counts and rows else {}
        found = []
        for row in rows:
            patient = _patient(_patient_values(row))
            if patient == self._last:
                continue
            record = dict(zip(self._KEYWORDS, _patient_values(row), strict=True))
            if wants_counts:
                record |= {keyword: str(count) for keyword, count in zip(self._COUNTS, counts[patient], strict=True)}
            if matches(self._query.conditions, record):
                found.append(record)
                self._last = patient
        return found

    def _counts(self, conn: Connection, rows: Sequence[RowMapping]) -> dict[tuple[str, ...], list[int]]:
        ids = {row["patient_id"] for row in rows} - {""}
        names = {row["patient_name"] for row in rows if not row["patient_id"]}
        statement = (
            select(*_PATIENT_COLUMNS, func.count(), func.sum(study.c.series_count), func.sum(study.c.instance_count))
            .where(or_(study.c.patient_id.in_(ids), and_(study.c.patient_id == "", study.c.patient_name.in_(names))))
            .group_by(*_PATIENT_COLUMNS)
        )
        totals: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
        for *values, studies, in_series, instances in conn.execute(statement):
            total = totals[_patient(tuple(values))]
            for place, count in enumerate((studies, in_series, instances)):
                total[place] += count
        return totals


def _patient_values(row: RowMapping) -> tuple[str, ...]:
    return tuple(row[column.name] for column in _PATIENT_COLUMNS)


def _patient(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return what tells one patient from another: Patient ID and issuer, or everything where there is no ID."""
    return values[:2] if values[0] else values


def _joined(values: Iterable[str]) -> str:
    return "\\".join(sorted(set(values) - {""}))
