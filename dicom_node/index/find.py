"""C-FIND on the index: SQL narrows what is looked at, ``dicom.matching`` decides.

Every clause made here selects at least what the query matches, by bound parameters only; what it selects too much the
evaluator leaves out. Records come in pages, each read in a short transaction of its own that is over before the page is
handed on, and each beginning by key where the last one ended: memory stays flat, nothing is held while answers travel,
and what was there when the query began is seen once.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Date,
    FromClause,
    RowMapping,
    Select,
    Table,
    and_,
    func,
    or_,
    select,
    tuple_,
)

from dicom_node.dicom.keys import BY_KEYWORD, Level
from dicom_node.dicom.matching import Condition, Exact, Name, Test, WildCard, Within, matches
from dicom_node.dicom.query import Query
from dicom_node.index.engine import Index
from dicom_node.index.tables import exam, instance, series, study

PAGE_SIZE = 200
"""Records read at a time."""

CountsUntil = Callable[[str, str, date], date | None]
"""From unit id, portion and exam day to the last day on which the exam counts; None where nothing ages."""

FoundRecord = dict[str, str]
"""Keyword to text, several values joined by a backslash, for every keyword that the query matches or returns."""

_TABLES = {Level.STUDY: study, Level.SERIES: series, Level.IMAGE: instance}
_UIDS = {Level.STUDY: "study_uid", Level.SERIES: "series_uid", Level.IMAGE: "sop_instance_uid"}
_COMPUTED: Mapping[str, ColumnElement[Any]] = {
    "ModalitiesInStudy": study.c.modalities,
    "SOPClassesInStudy": study.c.sop_classes,
    "NumberOfStudyRelatedSeries": study.c.series_count,
    "NumberOfStudyRelatedInstances": study.c.instance_count,
    "NumberOfSeriesRelatedInstances": series.c.instance_count,
}
_PATIENT_COLUMNS = (
    study.c.patient_id,
    study.c.issuer_of_patient_id,
    study.c.patient_name,
    study.c.patient_birth_date,
    study.c.patient_sex,
)
_OF_EXAM = frozenset({"Portion", "DaysLeft", "CountsUntil"})
_MOST_ALTERNATIVES = 20  # LIKE clauses beyond this are left to the evaluator


def find_pages(
    index: Index, query: Query, *, counts_until: CountsUntil, today: date, page_size: int = PAGE_SIZE
) -> Iterator[list[FoundRecord]]:
    """Yield the records that match, page by page; a page may be empty though others follow.

    Between two pages nothing is open in the index. ``today`` is what DaysLeft counts from. Raises DatabaseError.
    """
    finder: _PatientFinder | _Finder
    finder = _PatientFinder(query) if query.level is Level.PATIENT else _Finder(query, counts_until, today)
    after: Sequence[str] | None = None
    while True:
        with index.read() as conn:
            rows = conn.execute(finder.page(after).limit(page_size)).mappings().all()
            found = finder.records(conn, rows)
        yield found
        if len(rows) < page_size:
            return
        after = finder.position(rows[-1])


class _Finder:
    """Finds studies, series or instances: one record for each row of the level's table."""

    def __init__(self, query: Query, counts_until: CountsUntil, today: date) -> None:
        self._query = query
        self._counts_until = counts_until
        self._today = today
        self._table = _TABLES[query.level]
        self._uid = self._table.c[_UIDS[query.level]]
        self._below = query.descending
        self._own = query.keywords - self._below

    def page(self, after: Sequence[str] | None) -> Select[Any]:
        """Select the rows that follow ``after``, in the order of their UID."""
        columns = [*_columns(self._own, self._query.level), self._uid.label("uid")]
        clauses = [*_narrow_all(self._query.conditions, self._query.level)]
        below = list(_narrow_all(self._query.instance_conditions, self._query.level))
        if below and self._table is study:
            # Of the levels below STUDY nothing is asked without naming one study, whose instances are looked at anyway.
            matching = select(instance.c.study_uid).select_from(_join(instance, self._columns_below())).where(*below)
            clauses.append(study.c.study_uid.in_(matching))
        if after is not None:
            clauses.append(self._uid > after[0])
        return select(*columns).select_from(_join(self._table, columns)).where(*clauses).order_by(self._uid)

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
        return _columns(self._below, self._query.level)

    def _instances_below(self, conn: Connection, uids: list[str]) -> dict[str, list[FoundRecord]]:
        """Return, for each study or series, what its instances have in the descending keys, each combination once."""
        columns = self._columns_below()
        uid = instance.c[self._uid.name]
        statement = select(*columns, uid.label("uid")).distinct().select_from(_join(instance, columns))
        clauses = [uid.in_(uids), *_narrow_all(self._query.instance_conditions, self._query.level)]
        if self._table is series:
            # The same series may turn up in two studies; the query names the study.
            study_named = [each for each in self._query.conditions if each.keyword == "StudyInstanceUID"]
            clauses += _narrow_all(study_named, Level.IMAGE)
        grouped = defaultdict(list)
        for row in conn.execute(statement.where(*clauses)).mappings():
            grouped[row["uid"]].append(self._record(row, self._below))
        return grouped

    def _record(self, row: RowMapping, keywords: frozenset[str]) -> FoundRecord:
        record = {keyword: _text(row[keyword]) for keyword in keywords - _OF_EXAM}
        return record | self._exam_texts(row) if keywords & _OF_EXAM else record

    def _exam_texts(self, row: RowMapping) -> FoundRecord:
        ages = row["exam_counts"] and row["exam_day"]
        until = self._counts_until(row["exam_unit"], row["exam_portion"], row["exam_day"]) if ages else None
        return {
            "Portion": _text(row["exam_portion"]).upper(),  # a CS has no lower case (PS3.5 6.2)
            "CountsUntil": _text(until),
            "DaysLeft": "" if until is None else str((until - self._today).days),
        }


class _PatientFinder:
    """Finds patients: the studies with one Patient ID and issuer; without an ID, those alike in all that is known."""

    _KEYWORDS = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")
    _COUNTS = ("NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances")

    def __init__(self, query: Query) -> None:
        self._query = query
        self._last: tuple[str, ...] = ()

    def page(self, after: Sequence[str] | None) -> Select[Any]:
        """Select the distinct patient-level values that follow ``after``, the Patient ID first."""
        clauses = list(_narrow_all(self._query.conditions, Level.PATIENT))
        if after is not None:
            clauses += [study.c.patient_id >= after[0], tuple_(*_PATIENT_COLUMNS) > tuple_(*after)]
        return select(*_PATIENT_COLUMNS).distinct().where(*clauses).order_by(*_PATIENT_COLUMNS)

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


# Which column holds what.


def _column(keyword: str, level: Level) -> ColumnElement[Any]:
    """Return the column of a keyword that is asked at ``level``; not for those of the exam."""
    if keyword in _COMPUTED:
        return _COMPUTED[keyword]
    key = BY_KEYWORD[keyword]
    if keyword == "AcquisitionDate" and level < Level.IMAGE:
        return instance.c.acquisition_day
    table = _TABLES.get(key.level, study)
    if key.column in {"study_uid", "series_uid"}:
        table = _TABLES[max(level, key.level)]
    return table.c[key.column]


def _columns(keywords: Iterable[str], level: Level) -> list[ColumnElement[Any]]:
    """Return the columns of the keywords, each under its keyword."""
    keywords = frozenset(keywords)
    columns: list[ColumnElement[Any]] = [
        _column(keyword, level).label(keyword) for keyword in sorted(keywords - _OF_EXAM)
    ]
    if keywords & _OF_EXAM:
        columns += [
            instance.c.unit_id.label("exam_unit"),
            exam.c.portion.label("exam_portion"),
            exam.c.day.label("exam_day"),
            exam.c.counts.label("exam_counts"),
        ]
    return columns


def _join(table: Table, columns: Iterable[ColumnElement[Any]]) -> FromClause:
    """Join to ``table`` the tables above it that the columns stand in."""
    needed = {getattr(base, "table", None) for column in columns for base in column.base_columns}
    joined: FromClause = table
    if table is instance and series in needed:
        same_series = and_(series.c.study_uid == table.c.study_uid, series.c.series_uid == table.c.series_uid)
        joined = joined.join(series, same_series)
    if table is not study and study in needed:
        joined = joined.join(study, study.c.study_uid == table.c.study_uid)
    if exam in needed:
        same_exam = and_(exam.c.study_uid == instance.c.study_uid, exam.c.unit_id == instance.c.unit_id)
        joined = joined.outerjoin(exam, same_exam)
    return joined


def _text(value: object) -> str:
    if value is None:
        return ""
    return value.isoformat().replace("-", "") if isinstance(value, date) else str(value)


def _joined(values: Iterable[str]) -> str:
    return "\\".join(sorted(set(values) - {""}))


# Clauses: each selects at least what its condition matches.


def _narrow_all(conditions: Iterable[Condition], level: Level) -> Iterator[ColumnElement[bool]]:
    for condition in conditions:
        clause = _narrow(condition, level)
        if clause is not None:
            yield clause


def _narrow(condition: Condition, level: Level) -> ColumnElement[bool] | None:
    keyword, test = condition.keyword, condition.test
    if keyword in {"DaysLeft", "CountsUntil"}:
        return exam.c.counts.is_(True)
    if keyword == "Portion":
        column: ColumnElement[Any] = func.upper(exam.c.portion)
    elif keyword.startswith("NumberOfPatient"):
        return None
    else:
        column = _column(keyword, level)
    if isinstance(test, Name):
        clause = _name_clause(test) if keyword == "PatientName" else None
    else:
        clause = _clause(column, test, multiple=condition.multiple)
    if clause is None or not condition.unknown_matches:
        return clause
    return or_(column == "", clause)


def _clause(column: ColumnElement[Any], test: Test, *, multiple: bool) -> ColumnElement[bool] | None:
    match test:
        case Exact(values) if not multiple:
            return column.in_(sorted(values))
        case Exact(values) if len(values) <= _MOST_ALTERNATIVES:
            return or_(*(column.contains(value, autoescape=True) for value in sorted(values)))
        case WildCard():
            return _like(column, "" if multiple else test.prefix, test.longest_literal)
        case Within("DA"):
            return _between(column, test)
    return None


def _like(column: ColumnElement[Any], prefix: str, literal: str) -> ColumnElement[bool]:
    """Ask for two literal parts of a wild card at most: LIKE with many wild cards of its own can take for ever.

    SQLite's LIKE takes no notice of ASCII case, which only makes it wider.
    """
    clause = column.contains(literal, autoescape=True)
    return and_(column.startswith(prefix, autoescape=True), clause) if prefix else clause


def _between(column: ColumnElement[Any], days: Within) -> ColumnElement[bool]:
    """Compare days as dates, or as text where the column has the text of DA."""
    clauses = []
    for end, compare in ((days.low, column.__ge__), (days.high, column.__le__)):
        if end is not None:
            clauses.append(compare(end.first.date() if isinstance(column.type, Date) else _text(end.first.date())))
    return and_(*clauses)


def _name_clause(name: Name) -> ColumnElement[bool]:
    columns = (study.c.name_alphabetic, study.c.name_ideographic, study.c.name_phonetic)
    if len(name.groups) == 1:
        return or_(*(_name_like(column, name.groups[0]) for column in columns))
    return and_(*(_name_like(column, group) for column, group in zip(columns, name.groups, strict=True) if group))


def _name_like(column: ColumnElement[Any], pattern: str) -> ColumnElement[bool]:
    if "*" not in pattern and "?" not in pattern:
        return column == pattern
    wild_card = WildCard(pattern)
    # The evaluator takes components left out at the end for empty ones, so their delimiters may be missing.
    return _like(column, wild_card.prefix.rstrip("^"), wild_card.longest_literal.strip("^"))
