"""The SQL side of C-FIND: which column holds what is asked, and clauses that select at least what matches.

Bound parameters only; LIKE patterns escape what SQL would take for a wild card. Whatever a clause selects too much, the
evaluator in ``dicom.matching`` leaves out, so a clause may be wide but never narrower than its condition.
"""

import contextlib
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Date, FromClause, Table, and_, func, or_

from dicom_node.dicom.keys import BY_KEYWORD, Level
from dicom_node.dicom.matching import Condition, Exact, Name, Number, Test, WildCard, Within
from dicom_node.index.countdown import Countdown
from dicom_node.index.tables import exam, instance, series, study

TABLES = {Level.STUDY: study, Level.SERIES: series, Level.IMAGE: instance}
"""The table with one row for each record of a level; patients have none."""

_INDEXED = frozenset(
    {"UnitID", "StationName", "DeviceSerialNumber", "AcquisitionDate", "AcquisitionDay", "DaysLeft", "CountsUntil"}
)
OF_EXAM = frozenset({"Portion", "DaysLeft", "CountsUntil"})
"""Keywords that are answered from an instance's exam."""

_MOST_ALTERNATIVES = 20  # LIKE clauses beyond this are left to the evaluator

_COMPUTED: Mapping[str, ColumnElement[Any]] = {
    "ModalitiesInStudy": study.c.modalities,
    "SOPClassesInStudy": study.c.sop_classes,
    "NumberOfStudyRelatedSeries": study.c.series_count,
    "NumberOfStudyRelatedInstances": study.c.instance_count,
    "NumberOfSeriesRelatedInstances": series.c.instance_count,
}


# Which column holds what.


def _column(keyword: str, level: Level) -> ColumnElement[Any]:
    """Return the column of a keyword that is asked at ``level``; not for those of the exam."""
    if keyword in _COMPUTED:
        return _COMPUTED[keyword]
    key = BY_KEYWORD[keyword]
    if keyword == "AcquisitionDate" and level < Level.IMAGE:
        return instance.c.acquisition_day
    table = TABLES.get(key.level, study)
    if key.column in {"study_uid", "series_uid"}:
        table = TABLES[max(level, key.level)]
    return table.c[key.column]


def columns_of(keywords: Iterable[str], level: Level) -> list[ColumnElement[Any]]:
    """Return the columns of the keywords, each under its keyword."""
    keywords = frozenset(keywords)
    columns: list[ColumnElement[Any]] = [
        _column(keyword, level).label(keyword) for keyword in sorted(keywords - OF_EXAM)
    ]
    if keywords & OF_EXAM:
        columns += [
            instance.c.unit_id.label("exam_unit"),
            exam.c.portion.label("exam_portion"),
            exam.c.day.label("exam_day"),
            exam.c.counts.label("exam_counts"),
        ]
    return columns


def join_above(table: Table, columns: Iterable[ColumnElement[Any]]) -> FromClause:
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


def text_of(value: object) -> str:
    if value is None:
        return ""
    return value.isoformat().replace("-", "") if isinstance(value, date) else str(value)


# Clauses: each selects at least what its condition matches.


def is_selective(condition: Condition) -> bool:
    """Tell whether an index leads to the few instances that have what is asked."""
    return condition.keyword in _INDEXED and isinstance(condition.test, Exact | Within | Number)


def narrow(condition: Condition, level: Level, countdown: Countdown | None) -> ColumnElement[bool] | None:
    keyword, test = condition.keyword, condition.test
    if keyword in {"DaysLeft", "CountsUntil"} and countdown is not None:
        return _counting(test, countdown)
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


def _counting(test: Test, countdown: Countdown) -> ColumnElement[bool]:
    """Ask for exams that count, made on days from which counting until the asked ones is possible."""
    clauses: list[ColumnElement[bool]] = [exam.c.counts.is_(True), exam.c.unit_id.in_(sorted(countdown.ageing_units))]
    low = high = None
    if isinstance(test, Within):
        low, high = (None if end is None else end.first.date() for end in (test.low, test.high))
    elif isinstance(test, Number):
        with contextlib.suppress(OverflowError):
            low = high = countdown.today + timedelta(days=test.value)
    if low is not None and (earliest := countdown.earliest_day(low)) is not None:
        clauses.append(exam.c.day >= earliest)
    if high is not None and (latest := countdown.latest_day(high)) is not None:
        clauses.append(exam.c.day <= latest)
    return and_(*clauses)


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
            clauses.append(compare(end.first.date() if isinstance(column.type, Date) else text_of(end.first.date())))
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
