"""C-FIND on the index: SQL narrows what is looked at, ``dicom.matching`` decides.

Records come in pages, each read in a short transaction of its own that is over before the page is handed on, and each
beginning by key where the last one ended: memory stays flat, nothing is held while answers travel, and what was there
when the query began is seen once.
"""

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, tzinfo
from typing import Any, NamedTuple

from sqlalchemy import Connection, Date, Integer
from sqlalchemy.exc import DBAPIError

from dicom_node.dicom import zones
from dicom_node.dicom.keys import Level
from dicom_node.dicom.matching import matches
from dicom_node.dicom.query import Query
from dicom_node.index.countdown import Countdown
from dicom_node.index.engine import Index
from dicom_node.index.find_clauses import (
    EXAM_COLUMNS,
    OF_EXAM,
    TABLES,
    Clause,
    both,
    column_of,
    either,
    for_postgresql,
    join_above,
    modalities_of,
    name_of,
    narrow,
    one_of,
    select,
)
from dicom_node.index.find_ways import FEW, ByWords, Rows, Way, best_way
from dicom_node.index.tables import instance

FIRST_PAGE, LARGEST_PAGE = FEW, 2000
"""Rows read at a time: few at first, so that answers begin to leave, then twice as many as before each time, because a
page may cost a look at all the rows there are."""

FoundRecord = dict[str, str]
"""Keyword to text, several values joined by a backslash, for every keyword that the query matches or returns."""


class Page(NamedTuple):
    """Some records, and whether others may follow."""

    records: list[FoundRecord]
    is_last: bool


Row = tuple[Any, ...]

_KEYS = {
    Level.STUDY: ("study_uid",),
    Level.SERIES: ("study_uid", "series_uid"),  # the same series may turn up in two studies
    Level.IMAGE: ("sop_instance_uid",),
}
"""The columns that tell the records of a level apart and order them."""
_PATIENT = (
    "study.patient_id, study.issuer_of_patient_id, study.patient_name, study.patient_birth_date, study.patient_sex"
)


def find_pages(
    index: Index, query: Query, countdown: Countdown, *, home: tzinfo = UTC, page_size: int = FIRST_PAGE
) -> Iterator[Page]:
    """Yield the records that match, page by page; a page may be empty though others follow.

    Between two pages nothing is open in the index. ``home`` is the facility's zone, ``page_size`` that of the first
    page. Raises DatabaseError.
    """
    finder = _PatientFinder(query) if query.level is Level.PATIENT else _Finder(query, countdown, home)
    is_led = query.level <= Level.STUDY or not query.names_studies
    after: Row | None = None
    way: Way | ByWords | None = None
    while True:
        with index.read() as conn, reading(conn) as rows:
            if after is None and is_led:
                way = best_way(query, countdown, rows)
            read = rows(finder.page(way, after, page_size))
            found = finder.records(rows, read)
        is_last = len(read) < page_size
        yield Page(found, is_last)
        if is_last:
            return
        after = finder.position(read[-1])
        page_size = max(page_size, min(2 * page_size, LARGEST_PAGE))


@contextlib.contextmanager
def reading(conn: Connection) -> Iterator[Rows]:
    """Read rows by the driver's own cursor; SQLAlchemy's handling of a statement costs more than carrying it out."""
    driver_error = conn.dialect.loaded_dbapi.Error
    is_sqlite = conn.dialect.name == "sqlite"
    cursor = conn.connection.cursor()

    def rows(select: Clause) -> list[Row]:
        try:
            cursor.execute(select.text if is_sqlite else for_postgresql(select.text), select.values)
            return cursor.fetchall()  # type: ignore[return-value] # both drivers give tuples
        except driver_error as error:
            raise DBAPIError.instance(None, None, error, driver_error, hide_parameters=True) from error

    try:
        yield rows
    finally:
        cursor.close()


class _Columns:
    """What is selected for some keywords asked at a level, and how a row becomes a record."""

    def __init__(self, keywords: frozenset[str], level: Level, countdown: Countdown) -> None:
        self._countdown = countdown
        self._keywords = sorted(keywords - OF_EXAM)
        columns = [column_of(keyword, level) for keyword in self._keywords]
        self._of_exam = bool(keywords & OF_EXAM)
        names = [name_of(column) for column in columns]
        self.text = ", ".join([*names, *EXAM_COLUMNS] if self._of_exam else names)
        self._converted = [
            (keyword, isinstance(column.type, Date))
            for keyword, column in zip(self._keywords, columns, strict=True)
            if isinstance(column.type, Date | Integer)
        ]

    def record(self, row: Row) -> FoundRecord:
        """Return what a row says, whose first values are those of the columns."""
        record = dict(zip(self._keywords, row, strict=False))
        for keyword, is_day in self._converted:
            value = record[keyword]
            record[keyword] = _day(value) if is_day else str(value)
        return record | self._exam_texts(row) if self._of_exam else record

    def _exam_texts(self, row: Row) -> FoundRecord:
        first = len(self._keywords)
        unit_id, portion, day, counts = row[first : first + len(EXAM_COLUMNS)]
        until = self._countdown.until(unit_id, portion, _date(day)) if counts and day else None
        return {
            "Portion": (portion or "").upper(),  # a CS has no lower case (PS3.5 6.2)
            "CountsUntil": _day(until),
            "DaysLeft": "" if until is None else str((until - self._countdown.today).days),
        }


def _date(day: date | str) -> date:
    return date.fromisoformat(day) if isinstance(day, str) else day


def _day(day: date | str | None) -> str:
    """Return the text of DA; SQLite gives days as text."""
    return "" if day is None else str(day).replace("-", "")


class _Finder:
    """Finds studies, series or instances: one record for each row of the level's table."""

    def __init__(self, query: Query, countdown: Countdown, home: tzinfo) -> None:
        self._query = query
        self._countdown = countdown
        self._home = home
        self._table = TABLES[query.level].name
        self._key = [f"{self._table}.{name}" for name in _KEYS[query.level]]
        self._below = query.descending
        self._own = query.keywords - self._below
        self._columns = _Columns(self._own, query.level, countdown)
        self._filters = narrow(query.conditions, query.level, countdown)
        if query.level is Level.STUDY:
            self._filters += modalities_of(query.instance_conditions)

    def page(self, way: Way | ByWords | None, after: Row | None, size: int) -> Clause:
        """Select up to ``size`` rows that follow ``after``, in the order of their UIDs."""
        clauses = [*self._filters]
        if way is not None:
            clauses.append(way.among(f"{self._table}.study_uid"))
        elif not self._query.names_studies:  # of studies that are named, the instances are looked at anyway
            clauses += self._has_instances()
        key = ", ".join(self._key)
        if after is not None:
            clauses.append(Clause(f"({key}) > ({', '.join('?' * len(after))})", after))
        where = both(clauses)
        columns = ", ".join(filter(None, [self._columns.text, key]))
        tables = join_above(TABLES[self._query.level], self._own, self._query.level)
        return select(columns, tables, where, f"ORDER BY {key} LIMIT ?", size)

    def _has_instances(self) -> list[Clause]:
        """Ask for studies or series with an instance below that the conditions on instances may accept."""
        below = narrow(self._query.instance_conditions, self._query.level, self._countdown)
        if not below:
            return []
        keywords = frozenset(condition.keyword for condition in self._query.instance_conditions)
        tables = join_above(instance, keywords, self._query.level)
        its_own = [Clause(f"instance.{name} = {self._table}.{name}") for name in _KEYS[self._query.level]]
        where = both([*its_own, *below])
        found = select("1", tables, where)
        return [Clause(f"EXISTS ({found.text})", found.values)]

    def position(self, row: Row) -> Row:
        """Return where the page that ends with ``row`` ends."""
        return row[-len(self._key) :]

    def records(self, rows: Rows, page: list[Row]) -> list[FoundRecord]:
        """Return the records of the rows that match."""
        conditions, of_instance = self._query.conditions, self._query.instance_conditions
        below = self._instances_below(rows, [self.position(row) for row in page]) if self._below and page else {}
        zone = self._query.zone
        found = []
        for row in page:
            record = self._columns.record(row)
            if zone is not None:
                zones.adjust(record, zone, self._home)
            if conditions and not matches(conditions, record):
                continue
            if self._below:
                instances = [each for each in below[self.position(row)] if matches(of_instance, each)]
                if of_instance and not instances:
                    continue
                record |= {keyword: _joined(each[keyword] for each in instances) for keyword in self._below}
            found.append(record)
        return found

    def _instances_below(self, rows: Rows, above: list[Row]) -> dict[Row, list[FoundRecord]]:
        """Return, for each study or series, what its instances have in the descending keys, each combination once."""
        columns = _Columns(self._below, self._query.level, self._countdown)
        key = [f"instance.{name}" for name in _KEYS[self._query.level]]
        where = both(
            [one_of(name, sorted(set(values))) for name, values in zip(key, zip(*above, strict=True), strict=True)]
        )
        tables = join_above(instance, self._below, self._query.level)
        grouped = defaultdict(list)
        for row in rows(select(f"DISTINCT {columns.text}, {', '.join(key)}", tables, where)):
            grouped[self.position(row)].append(columns.record(row))
        return grouped


class _PatientFinder:
    """Finds patients: the studies with one Patient ID and issuer; without an ID, those alike in all that is known."""

    _KEYWORDS = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")
    _COUNTS = ("NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances")

    def __init__(self, query: Query) -> None:
        self._query = query
        self._filters = narrow(query.conditions, Level.PATIENT, None)
        self._last: Row = ()

    def page(self, way: Way | ByWords | None, after: Row | None, size: int) -> Clause:
        """Select up to ``size`` distinct patient-level values that follow ``after``, the Patient ID first."""
        clauses = [*self._filters]
        if way is not None:
            clauses.append(way.among("study.study_uid"))
        if after is not None:
            clauses.append(Clause("study.patient_id >= ?", after[:1]))
        # The ids come from their index in order; only what belongs to so many of them has to be sorted then.
        ids = select("DISTINCT patient_id", "study", both(clauses), "ORDER BY patient_id LIMIT ?", size)
        last = select("max(patient_id)", f"({ids.text}) AS ids", Clause("1 = 1", ids.values))
        clauses.append(Clause(f"study.patient_id <= ({last.text})", last.values))
        if after is not None:
            clauses.append(Clause(f"({_PATIENT}) > (?, ?, ?, ?, ?)", after))
        return select(f"DISTINCT {_PATIENT}", "study", both(clauses), f"ORDER BY {_PATIENT} LIMIT ?", size)

    @staticmethod
    def position(row: Row) -> Row:
        """Return where the page that ends with ``row`` ends."""
        return row

    def records(self, rows: Rows, page: list[Row]) -> list[FoundRecord]:
        """Return one record for each patient that matches, even where a page ends between two of its rows."""
        wants_counts = not self._query.keywords.isdisjoint(self._COUNTS)
        counts = self._counts(rows, page) if wants_counts and page else {}
        found = []
        for row in page:
            patient = _patient(row)
            if patient == self._last:
                continue
            record = dict(zip(self._KEYWORDS, row, strict=True))
            if wants_counts:
                record |= {keyword: str(count) for keyword, count in zip(self._COUNTS, counts[patient], strict=True)}
            if matches(self._query.conditions, record):
                found.append(record)
                self._last = patient
        return found

    @staticmethod
    def _counts(rows: Rows, page: list[Row]) -> dict[Row, list[int]]:
        ids = sorted({row[0] for row in page if row[0]})
        nameless = sorted({row[2] for row in page if not row[0]})
        wanted = [one_of("study.patient_id", ids)] if ids else []
        if nameless:
            wanted.append(both([Clause("study.patient_id = ''"), one_of("+study.patient_name", nameless)]))
        what = f"{_PATIENT}, count(*), sum(series_count), sum(instance_count)"
        totals: dict[Row, list[int]] = defaultdict(lambda: [0, 0, 0])
        for row in rows(select(what, "study", either(wanted), f"GROUP BY {_PATIENT}")):
            total = totals[_patient(row[:5])]
            for place, count in enumerate(row[5:]):
                total[place] += count
        return totals


def _patient(values: Row) -> Row:
    """Return what tells one patient from another: Patient ID and issuer, or everything where there is no ID."""
    return values[:2] if values[0] else values


def _joined(values: Iterable[str]) -> str:
    return "\\".join(sorted(set(values) - {""}))
