"""Which index leads to what a query asks.

The databases would have to guess how many rows have a value; here each index that could serve is asked, up to a limit,
and the one that leads to the fewest rows is taken. Where none leads to few, nearly everything matches or no index
knows: then the studies are gone through in the order of their UID.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from dicom_node.dicom.fuzzy import FuzzyName, Word, is_mistyped, sound_of
from dicom_node.dicom.keys import Level
from dicom_node.dicom.matching import Condition, DateAndTime, Empty, Exact, Name, Number, Test, WildCard, Within
from dicom_node.dicom.query import Query
from dicom_node.index.countdown import Countdown
from dicom_node.index.find_clauses import (
    COUNTING,
    NAME_COLUMNS,
    Clause,
    begins_with,
    between,
    both,
    column_of,
    counting,
    either,
    name_of,
    one_of,
    select,
)

FEW = 200
"""Rows that are looked at without a search for a better way."""

MOST = 20_000
"""Rows beyond which a way is none."""

MOST_OF_A_WORD = 200_000
"""Rows beyond which a word of a name leads nowhere."""

_OF_STUDY = frozenset({"PatientID", "AccessionNumber", "StudyID", "StudyDate", "PatientBirthDate"})
_OF_SERIES = ("StationName", "DeviceSerialNumber")
_OWN_UIDS = {"SeriesInstanceUID": "series.series_uid", "SOPInstanceUID": "instance.sop_instance_uid"}
_DAYS = frozenset({"AcquisitionDate", "AcquisitionDay"})

Rows = Callable[[Clause], list[tuple[Any, ...]]]
"""Reads the rows of a SELECT."""


class Way(NamedTuple):
    """A way to studies: tables, and what to ask of the rows of each. A study may be met more than once."""

    parts: tuple[tuple[str, Clause], ...]

    def among(self, uid: str) -> Clause:
        """Ask for a Study Instance UID that it leads to."""
        uids = self._select("study_uid")
        return Clause(f"{uid} IN ({uids.text})", uids.values)

    def number(self, most: int) -> Clause:
        """Count the rows it leads to, up to ``most``."""
        rows = self._select("1")
        return select("count(*)", f"({rows.text} LIMIT ?) AS found", Clause("1 = 1", (*rows.values, most)))

    def _select(self, what: str) -> Clause:
        selects = [select(what, table, clause) for table, clause in self.parts]
        return Clause(
            " UNION ALL ".join(each.text for each in selects), tuple(value for each in selects for value in each.values)
        )


class ByWords(NamedTuple):
    """Ways by the words of a fuzzy name, to the studies that all of them lead to.

    ``lead`` is followed; of each study it leads to, or of every one where there is none, the ``rest`` is asked.
    """

    lead: Way | None
    rest: tuple[Way, ...]

    def among(self, uid: str) -> Clause:
        """Ask for a Study Instance UID that they lead to; the table of studies has to be joined."""
        led = [self.lead.among(uid)] if self.lead is not None else []
        return both([*led, *(self._has(way, uid) for way in self.rest)])

    @staticmethod
    def _has(way: Way, uid: str) -> Clause:
        # The plus signs keep SQLite to the index that has the few words of one study together.
        of_words = [Clause(part.text.replace("name_word.", "+name_word."), part.values) for _, part in way.parts[:-1]]
        found = select("1", "name_word", both([Clause(f"name_word.study_uid = {uid}"), either(of_words)]))
        return either([Clause(f"EXISTS ({found.text})", found.values), _NAMELESS[1]])


def best_way(query: Query, countdown: Countdown, rows: Rows) -> Way | ByWords | None:
    """Return the way to the fewest studies; None when there is no way to few. ``rows`` is asked how many each has.

    The words of a fuzzy name lead on even where each leads to many: nothing else narrows what is looked at by them.
    """
    best, least = None, MOST + 1
    for way in ways(query, countdown):
        ((number,),) = rows(way.number(least))
        if number < least:
            best, least = way, number
        if least <= FEW:
            return best
    words = list(_by_fuzzy_name(query, rows))
    if not words:
        return best
    numbers = [rows(way.number(MOST_OF_A_WORD))[0][0] for way in words]
    number, place = min(zip(numbers, range(len(words)), strict=True))
    if best is not None and least <= number:
        return best
    # A word that many have is not looked up again for every page, unless others may leave hardly any.
    if number <= MOST or (len(words) > 1 and number < MOST_OF_A_WORD):
        return ByWords(words[place], tuple(words[:place] + words[place + 1 :]))
    return ByWords(None, tuple(words))


_NAMELESS = ("study", Clause("study.name_alphabetic = ''"))
"""The studies whose patient's name is not known in any of its groups."""


def _by_fuzzy_name(query: Query, rows: Rows) -> Iterator[Way]:
    """Yield a way for each word of a fuzzy name of the patient."""
    for condition in query.conditions:
        if condition.keyword == "PatientName" and isinstance(condition.test, FuzzyName):
            for word in condition.test.words:
                yield Way((*(("name_word", clause) for clause in _like(word, rows)), _NAMELESS))


def _like(word: Word, rows: Rows) -> Iterator[Clause]:
    """Yield what to ask of the words of names to find all that fit ``word``."""
    if word.may_be_a_beginning:
        yield begins_with("name_word.word", word.text)
    else:
        yield one_of("name_word.word", [word.text])
    sound = sound_of(word.text)
    if sound:
        # With ``<> ''``, as the index leaves out the words that have none.
        yield both([one_of("name_word.sound", [sound]), Clause("name_word.sound <> ''")])
    if word.may_be_mistyped:
        length = len(word.text)
        alike = both(
            [
                begins_with("name_word.word", word.text[0]),
                Clause("length(word) BETWEEN ? AND ?", (length - 1, length + 1)),
            ]
        )
        mistyped = [
            each for (each,) in rows(select("DISTINCT word", "name_word", alike)) if is_mistyped(word.text, each)
        ]
        if mistyped:
            yield one_of("name_word.word", mistyped)


def ways(query: Query, countdown: Countdown) -> Iterator[Way]:
    """Yield every way by which an index leads to all studies that can match."""
    for condition in query.conditions:
        if condition.keyword == "PatientName" and isinstance(condition.test, Name):
            yield from _by_name(condition.test)
        elif condition.keyword in _OF_STUDY:
            yield from _by_column("study", name_of(column_of(condition.keyword, Level.STUDY)), condition)
        elif condition.keyword in _OWN_UIDS:
            name = _OWN_UIDS[condition.keyword]
            yield from _by_column(name.partition(".")[0], name, condition)
        elif condition.keyword in _OF_SERIES:
            yield from _by_column("series", name_of(column_of(condition.keyword, Level.SERIES)), condition)
    own = [condition for condition in query.conditions if condition.keyword in {"UnitID", "AcquisitionDay"}]
    yield from _by_instances([*own, *query.instance_conditions])
    for condition in query.instance_conditions:
        if condition.keyword in COUNTING and isinstance(condition.test, Within | Number):
            yield Way((("exam", counting(condition.test, countdown)),))


def _by_column(table: str, name: str, condition: Condition) -> Iterator[Way]:
    clause = _indexed(name, condition.test)
    if clause is not None:
        unknown = [Clause(f"{name} = ''")] if condition.unknown_matches else []
        yield Way(tuple((table, each) for each in (clause, *unknown)))


def _by_name(name: Name) -> Iterator[Way]:
    """Yield the ways by the names of patients; where nothing is known, the alphabetic group is empty as well."""
    if len(name.groups) == 1:
        clauses = [_indexed_group(column, name.groups[0]) for column in NAME_COLUMNS]
        parts = tuple(("study", clause) for clause in clauses if clause is not None)
        if parts:
            yield Way((*parts, _NAMELESS))
        return
    for column, group in zip(NAME_COLUMNS, name.groups, strict=True):
        clause = _indexed_group(column, group)
        if clause is not None:
            yield Way((("study", clause), _NAMELESS))


def _indexed_group(column: str, pattern: str) -> Clause | None:
    if not pattern:
        return None
    plain = "*" not in pattern and "?" not in pattern
    # The evaluator takes components left out at the end for empty ones, so their delimiters may be missing.
    prefix = "" if plain else WildCard(pattern).prefix.rstrip("^")
    if not plain and not prefix:
        return None
    name = f"study.{column}"
    clause = one_of(name, [pattern]) if plain else begins_with(name, prefix)
    # The indexes of the other two groups leave out the many names that lack them.
    return clause if column == NAME_COLUMNS[0] else both([clause, Clause(f"{name} <> ''")])


def _by_instances(conditions: Sequence[Condition]) -> Iterator[Way]:
    units = [c for c in conditions if c.keyword == "UnitID"]
    days = [c for c in conditions if c.keyword in _DAYS]
    of_instance = []
    for condition in (*units, *days):
        clause = _indexed(f"instance.{'acquisition_day' if condition in days else 'unit_id'}", condition.test)
        if clause is not None:
            of_instance.append(clause)
    if of_instance:
        yield Way((("instance", both(of_instance)),))
    for condition in conditions:
        if condition.keyword in _OF_SERIES:
            clause = _indexed(name_of(column_of(condition.keyword, Level.SERIES)), condition.test)
            if clause is not None:
                yield Way((("series", clause),))


def _indexed(name: str, test: Test) -> Clause | None:
    """Ask an index for what a test accepts, or for more; None when it cannot say."""
    match test:
        case Exact(values):
            return one_of(name, sorted(values))
        case WildCard() if test.prefix:
            return begins_with(name, test.prefix)
        case Within("DA"):
            return between(name, test, as_dates=name == "instance.acquisition_day")
        case DateAndTime(days=days):
            return between(name, days, as_dates=False)
        case Empty() if name != "instance.acquisition_day":
            return Clause(f"{name} = ''")
    return None
