"""The window of one portion when it had another length for a while: which release dates admit an exam then.

The rule is that of ``months``: a release date decides how many months its window has, and an exam counts for it when it
lies in that window. What is derived from it, up to which day an exam counts, is found for each run of days that have
windows of one length, and runs that touch are one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from dicom_node.accreditation import months as by_months

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """Release dates, both ends included, whose windows have another length."""

    first: date
    last: date
    months: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """The windows of one portion, by release date. Raises OverflowError where the calendar ends, as ``months`` does."""

    months: int
    """Calendar months of every release date that no spell holds."""
    spells: tuple[Spell, ...] = ()
    """In the order of their days; no two have a day in common."""

    def months_on(self, release: date) -> int:
        """Return the calendar months of the window of a release date."""
        return next((each.months for each in self.spells if each.first <= release <= each.last), self.months)

    def first_day(self, release: date) -> date:
        """Return the first exam day, included, that a package released on ``release`` admits."""
        return by_months.first_day(release, self.months_on(release))

    def last_day(self, release: date) -> date:
        """Return the last exam day, included, that a package without a recorded due date admits."""
        return by_months.last_day(release, self.months_on(release))

    def admits(self, exam_day: date, release: date, due: date | None = None) -> bool:
        """Tell whether an exam counts for a package; see ``months.admits``."""
        return by_months.admits(exam_day, release, self.months_on(release), due)

    def last_release(self, exam_day: date, today: date) -> date:
        """Return the last release date, from ``today`` on without a gap, whose window still admits the exam.

        When that of ``today`` does not, the last one before ``today`` whose window did. A later release date may admit
        the exam again, when its window is longer; nobody can count on it before it comes.
        """
        return self._end(exam_day, today, by_months.last_release)

    def counts_until(self, exam_day: date, today: date) -> date:
        """Return the day reminders count to: as ``last_release``, by counting months forward from the exam.

        Never later than ``last_release``.
        """
        return self._end(exam_day, today, by_months.counts_until)

    def _end(self, exam_day: date, today: date, reach: Callable[[date, int], date]) -> date:
        """Return the end of the run of good days that ``today`` lies in, else of the last run before it.

        Runs begin on or after the exam's own day, which is always good.
        """
        end = exam_day
        for first, last, months in self._stretches(exam_day):
            good = min(last, reach(exam_day, months))
            if good < first or (first > today and first > end + _DAY):
                continue
            end = good
        return end

    def _stretches(self, since: date) -> Iterator[tuple[date, date, int]]:
        """Yield the days from ``since`` on in stretches with windows of one length: first, last, months."""
        first = since
        for spell in self.spells:
            if spell.last < first:
                continue
            if first < spell.first:
                yield first, spell.first - _DAY, self.months
            yield max(first, spell.first), spell.last, spell.months
            if spell.last == date.max:
                return
            first = spell.last + _DAY
        yield first, date.max, self.months
