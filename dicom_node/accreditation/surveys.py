"""The medical physicist's surveys of a unit and the technologist's quality control logs, as people record them.

A survey has a day and nothing else that counts: the third portion of a submission is judged by it as the others are by
their exams. A log has a span of days; which span is asked for stands in the policy's terms.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from dicom_node.accreditation.months import first_day
from dicom_node.accreditation.policies import Terms
from dicom_node.accreditation.standing import CountingExam

BY_A_PERSON = "a person"
"""Source of a survey that somebody recorded without a document on file."""

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A survey of one unit."""

    id: str
    unit: str
    day: date
    """Local day on which it was performed."""
    source: str = BY_A_PERSON
    """Or the SOP Instance UID of the report."""
    note: str = ""
    withdrawn: bool = False

    def counting(self) -> CountingExam:
        """Return it as what a standing is worked out from."""
        return CountingExam(exam_id=self.id, day=self.day, source=self.told_by)

    @property
    def told_by(self) -> str:
        """Where the day comes from, in words."""
        return "recorded by a person" if self.source == BY_A_PERSON else f"document {self.source}"


class LogKind(StrEnum):
    """How often the tests of a log are done, as far as the programme asks for spans of different length."""

    DAILY = "daily"
    WEEKLY = "weekly"
    OTHER = "other"
    """Of the tests that are done less often: monthly and semiannual ones."""

    def months(self, terms: Terms) -> int:
        """Return how many calendar months of the log are submitted."""
        return terms.other_log_months if self is LogKind.OTHER else terms.daily_log_months


@dataclass(frozen=True, slots=True, kw_only=True)
class QcLog:
    """The days, both included, that a log of one unit is kept for."""

    id: str
    unit: str
    kind: LogKind
    first: date
    last: date
    note: str = ""
    withdrawn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Days, both included, of which no log is on record."""

    first: date
    last: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Whether the logs of one kind cover the span that is asked for, which ends on ``last``."""

    kind: LogKind
    first: date
    last: date
    gaps: tuple[Gap, ...]

    @property
    def is_complete(self) -> bool:
        """Tell whether every day of the span is covered."""
        return not self.gaps


def coverage(logs: Iterable[QcLog], kind: LogKind, terms: Terms, until: date) -> Coverage:
    """Hold the logs of a unit against the span of a kind that ends on the day ``until``, included.

    The span begins on the first day that a window of so many months admits. Raises OverflowError where the calendar
    ends.
    """
    first = first_day(until, kind.months(terms))
    spans = sorted((log.first, log.last) for log in logs if log.kind is kind and not log.withdrawn)
    gaps, open_from = [], first
    for begin, end in spans:
        if begin > until:
            break
        if begin > open_from:
            gaps.append(Gap(first=open_from, last=begin - _DAY))
        open_from = max(open_from, end + _DAY)
    if open_from <= until:
        gaps.append(Gap(first=open_from, last=until))
    return Coverage(kind=kind, first=first, last=until, gaps=tuple(gaps))
