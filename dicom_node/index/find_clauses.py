"""The SQL of C-FIND: which column holds what is asked, and clauses that select at least what matches.

The text is put together from names of the tables alone; every value is bound. LIKE patterns escape what SQL would take
for a wild card. Whatever a clause selects too much, the evaluator in ``dicom.matching`` leaves out, so a clause may be
wide but never narrower than its condition.

The text is written for SQLite; ``for_postgresql`` makes the other of it. ``?`` is a bound value. A ``+`` before a
column keeps SQLite from choosing an index for it: which one leads to what is asked is found out beforehand
(``find_ways.py``).
"""

import contextlib
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Column, Date, Table

from dicom_node.dicom.keys import BY_KEYWORD, Level
from dicom_node.dicom.matching import (
    AllOf,
    AnyOf,
    Condition,
    DateAndTime,
    Empty,
    Exact,
    Name,
    Number,
    Test,
    WildCard,
    Within,
)
from dicom_node.index.countdown import Countdown
from dicom_node.index.tables import PlainText, exam, instance, series, storable, study

TABLES = {Level.STUDY: study, Level.SERIES: series, Level.IMAGE: instance}
"""The table with one row for each record of a level; patients have none."""

OF_EXAM = frozenset({"Portion", "DaysLeft", "CountsUntil"})
"""Keywords that are answered from an instance's exam."""

EXAM_COLUMNS = ("instance.unit_id", "exam.portion", "exam.day", "exam.counts")
"""What those are answered from."""

COUNTING = frozenset({"DaysLeft", "CountsUntil"})

_MOST_ALTERNATIVES = 20  # LIKE clauses beyond this are left to the evaluator

_COMPUTED: dict[str, Column[Any]] = {
    "ModalitiesInStudy": study.c.modalities,
    "SOPClassesInStudy": study.c.sop_classes,
    "NumberOfStudyRelatedSeries": study.c.series_count,
    "NumberOfStudyRelatedInstances": study.c.instance_count,
    "NumberOfSeriesRelatedInstances": series.c.instance_count,
    "StudyOffsetFromUTC": study.c.timezone_offset,
    "SeriesOffsetFromUTC": series.c.timezone_offset,
    "InstanceOffsetFromUTC": instance.c.timezone_offset,
}
UID_COLUMNS = frozenset({"study_uid", "series_uid", "sop_instance_uid"})
NAME_COLUMNS = ("name_alphabetic", "name_ideographic", "name_phonetic")

_JOINS = {
    (series, study): "JOIN study ON study.study_uid = series.study_uid",
    (instance, series): "JOIN series ON series.study_uid = instance.study_uid"
    " AND series.series_uid = instance.series_uid",
    (instance, study): "JOIN study ON study.study_uid = instance.study_uid",
    (instance, exam): "LEFT JOIN exam ON exam.study_uid = instance.study_uid AND exam.unit_id = instance.unit_id",
}


class Clause(NamedTuple):
    """A piece of SQL and the values bound in it, in their order."""

    text: str
    values: tuple[Any, ...] = ()


def for_postgresql(text: str) -> str:
    """Write for PostgreSQL what was written for SQLite."""
    return text.replace("?", "%s").replace("+", "")


def select(what: str, tables: str, where: Clause, rest: str = "", *values: Any) -> Clause:
    """Return a SELECT; ``rest`` follows its condition and has ``values`` bound in it."""
    text = f"SELECT {what} FROM {tables} WHERE {where.text} {rest}"  # noqa: S608 # names of the tables alone
    return Clause(text.rstrip(), (*where.values, *values))


def both(clauses: Sequence[Clause]) -> Clause:
    """Join clauses by AND; of none, what always holds."""
    if not clauses:
        return Clause("1 = 1")
    return Clause(
        " AND ".join(clause.text for clause in clauses), tuple(v for clause in clauses for v in clause.values)
    )


def either(clauses: Sequence[Clause]) -> Clause:
    """Join clauses by OR."""
    text = " OR ".join(clause.text for clause in clauses)
    return Clause(f"({text})", tuple(value for clause in clauses for value in clause.values))


# Which column holds what.


@cache
def column_of(keyword: str, level: Level) -> Column[Any]:
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


@cache
def name_of(column: Column[Any]) -> str:
    """Return a column's name with its table's."""
    return f"{column.table.name}.{column.name}"


@cache
def join_above(table: Table, keywords: frozenset[str], level: Level) -> str:
    """Name ``table`` and join to it the tables above that hold what is asked at ``level``."""
    needed = {column_of(keyword, level).table for keyword in keywords - OF_EXAM}
    if keywords & OF_EXAM:
        needed.add(exam)
    return " ".join(
        [table.name, *(join for (base, other), join in _JOINS.items() if base is table and other in needed)]
    )


# Clauses: each selects at least what its condition matches.


def narrow(conditions: Iterable[Condition], level: Level, countdown: Countdown | None) -> list[Clause]:
    """Return a clause for each condition that SQL can say something about."""
    clauses = (_narrow(condition, level, countdown) for condition in conditions)
    return [clause for clause in clauses if clause is not None]


def modalities_of(conditions: Iterable[Condition]) -> list[Clause]:
    """Ask studies for a modality that is asked of their instances: a study knows those of all it has."""
    clauses = (
        _clause("+study.modalities", condition.test, multiple=True, as_dates=False)
        for condition in conditions
        if condition.keyword == "Modality"
    )
    return [clause for clause in clauses if clause is not None]


def _narrow(condition: Condition, level: Level, countdown: Countdown | None) -> Clause | None:
    keyword, test = condition.keyword, condition.test
    if keyword in OF_EXAM and isinstance(test, Empty):
        return None
    if keyword in COUNTING and countdown is not None:
        return counting(test, countdown)
    if keyword == "Portion":
        return _clause("upper(exam.portion)", test, multiple=False, as_dates=False)
    if keyword.startswith("NumberOfPatient"):
        return None
    column = column_of(keyword, level)
    name = name_of(column)
    if column.name not in UID_COLUMNS:
        name = "+" + name
    if isinstance(test, Empty):
        return Clause(f"{name} = ''") if isinstance(column.type, PlainText) else None
    if isinstance(test, Name):
        clause = _name_clause(test) if keyword == "PatientName" else None
    else:
        clause = _clause(name, test, multiple=condition.multiple, as_dates=isinstance(column.type, Date))
    if clause is None or not condition.unknown_matches:
        return clause
    return either([Clause(f"{name} = ''"), clause])


def _clause(name: str, test: Test, *, multiple: bool, as_dates: bool) -> Clause | None:
    match test:
        case Exact(values) if not multiple:
            return one_of(name, sorted(values))
        case Exact(values) if len(values) <= _MOST_ALTERNATIVES:
            return either([_contains(name, value) for value in sorted(values)])
        case WildCard():
            return _like(name, "" if multiple else test.prefix, test.longest_literal)
        case Within("DA"):
            return between(name, test, as_dates=as_dates)
        case DateAndTime(days=days):
            return between(name, days, as_dates=as_dates)
        case AllOf(tests) if len(tests) <= _MOST_ALTERNATIVES:
            return both(
                [clause for each in tests if (clause := _clause(name, each, multiple=multiple, as_dates=as_dates))]
            )
        case AnyOf(tests) if len(tests) <= _MOST_ALTERNATIVES:
            clauses = [_clause(name, each, multiple=multiple, as_dates=as_dates) for each in tests]
            return either([clause for clause in clauses if clause is not None]) if None not in clauses else None
    return None


def one_of(name: str, values: Sequence[str]) -> Clause:
    """Ask for one of some values."""
    bound = tuple(map(storable, values))
    if len(bound) == 1:
        return Clause(f"{name} = ?", bound)
    return Clause(f"{name} IN ({', '.join('?' * len(bound))})", bound)


def counting(test: Test, countdown: Countdown) -> Clause:
    """Ask for exams that count, made on days from which counting until the asked ones is possible."""
    if not countdown.ageing_units:
        return Clause("1 = 0")
    clauses = [
        one_of("exam.unit_id", sorted(countdown.ageing_units)),
        one_of("exam.portion", [portion.value for portion in countdown.policy.months]),
        Clause("exam.counts"),
    ]
    low = high = None
    if isinstance(test, Within):
        low, high = (None if end is None else end.first.date() for end in (test.low, test.high))
    elif isinstance(test, Number):
        with contextlib.suppress(OverflowError):
            low = high = countdown.today + timedelta(days=test.value)
    if low is not None and (earliest := countdown.earliest_day(low)) is not None:
        clauses.append(Clause("exam.day >= ?", (earliest.isoformat(),)))
    if high is not None and (latest := countdown.latest_day(high)) is not None:
        clauses.append(Clause("exam.day <= ?", (latest.isoformat(),)))
    return both(clauses)


def _like(name: str, prefix: str, literal: str) -> Clause:
    """Ask for two literal parts of a wild card at most: LIKE with many wild cards of its own can take for ever.

    SQLite's LIKE takes no notice of ASCII case, which only makes it wider.
    """
    contains = _contains(name, literal)
    return both([Clause(f"{name} LIKE ? ESCAPE '/'", (_escaped(prefix) + "%",)), contains]) if prefix else contains


def _contains(name: str, literal: str) -> Clause:
    return Clause(f"{name} LIKE ? ESCAPE '/'", (f"%{_escaped(literal)}%",))


def _escaped(literal: str) -> str:
    for character in "/%_":
        literal = literal.replace(character, "/" + character)
    return storable(literal)


def between(name: str, days: Within, *, as_dates: bool) -> Clause:
    """Compare days as dates, or as text where the column has the text of DA."""
    clauses = []
    for end, comparison, around in ((days.low, ">=", -days.days_around), (days.high, "<=", days.days_around)):
        with contextlib.suppress(OverflowError):  # the calendar's own end is none here
            if end is None:
                continue
            day = (end.first.date() + timedelta(days=around)).isoformat()
            clauses.append(Clause(f"{name} {comparison} ?", (day if as_dates else day.replace("-", ""),)))
    return both(clauses)


def begins_with(name: str, prefix: str) -> Clause:
    """Ask for what begins with ``prefix``, which is not empty, as a range that an index can be asked for."""
    prefix = storable(prefix)
    after = _after(prefix)
    return Clause(f"{name} >= ? AND {name} < ?", (prefix, after)) if after else Clause(f"{name} >= ?", (prefix,))


def _after(prefix: str) -> str:
    """Return the least text that is greater than all that begins with ``prefix``, "" when there is none."""
    while prefix:
        last = ord(prefix[-1]) + 1
        prefix = prefix[:-1]
        if last <= sys.maxunicode:
            return prefix + chr(0xE000 if last == 0xD800 else last)
    return ""


def _name_clause(name: Name) -> Clause:
    if len(name.groups) == 1:
        return either([_name_like(column, name.groups[0]) for column in NAME_COLUMNS])
    pairs = zip(NAME_COLUMNS, name.groups, strict=True)
    return both([_name_like(column, group) for column, group in pairs if group])


def _name_like(column: str, pattern: str) -> Clause:
    if "*" not in pattern and "?" not in pattern:
        return one_of(f"+study.{column}", [pattern])
    wild_card = WildCard(pattern)
    # The evaluator takes components left out at the end for empty ones, so their delimiters may be missing.
    return _like(f"+study.{column}", wild_card.prefix.rstrip("^"), wild_card.longest_literal.strip("^"))
