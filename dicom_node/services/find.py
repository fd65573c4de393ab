"""Answer a query: the records that match, page by page, within what the node gives to one query."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, tzinfo

from dicom_node.accreditation.policies import Policy
from dicom_node.accreditation.standing import ReleaseState, bearing_on, release_in_force
from dicom_node.accreditation.units import Registry
from dicom_node.dicom.query import Query
from dicom_node.errors import QueryLimitError
from dicom_node.index.countdown import Countdown
from dicom_node.index.engine import Index
from dicom_node.index.find import Page, find_pages
from dicom_node.services.cycles import packages_by_unit


@dataclass(frozen=True, slots=True, kw_only=True)
class FindLimits:
    """What one query may have."""

    matches: int = 10_000
    """Answers, 1 and up; a query with more ends with a failure after this many."""
    seconds: float = 60.0
    """Time from its start, by the monotonic clock, for all that is not waiting for the peer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindService:
    """Queries of the index. ``registry`` and ``policy`` are asked at each query, as they may be reloaded."""

    index: Index
    registry: Callable[[], Registry]
    policy: Callable[[], Policy]
    today: Callable[[], date]
    """The facility's calendar day."""
    zone: Callable[[], tzinfo]
    """The facility's zone: that of stored times whose instance names no offset from UTC."""
    limits: FindLimits = FindLimits()

    def find(self, query: Query) -> Iterator[Page]:
        """Yield the matching records in pages, some of them empty; nothing is open in the index between two.

        The caller stops by not asking on. Raises QueryLimitError when the limits are reached, after what was found by
        then, and DatabaseError.
        """
        left, searched = self.limits.matches, 0.0
        pages = find_pages(self.index, query, self._countdown(query), home=self.zone())
        while True:
            began = time.monotonic()
            page = next(pages, None)
            if page is None:
                return
            searched += time.monotonic() - began
            if len(page.records) > left:
                yield Page(page.records[:left], is_last=False)
                raise QueryLimitError(f"more than {self.limits.matches} matches; ask for less")
            left -= len(page.records)
            late = searched > self.limits.seconds
            yield page if not late else Page(page.records, is_last=False)
            if late:
                raise QueryLimitError(f"searched longer than {self.limits.seconds:g} s; ask for less")

    def _countdown(self, query: Query) -> Countdown:
        """Return how exams age, with no unit's when the query does not ask."""
        today = self.today()
        asks = not query.keywords.isdisjoint({"DaysLeft", "CountsUntil"})
        ageing_units = self._ageing_units(today) if asks else {}
        return Countdown(today=today, policy=self.policy(), ageing_units=ageing_units)

    def _ageing_units(self, today: date) -> dict[str, date]:
        """Return the units whose exams age, each with the first exam day that counts."""
        units = tuple(self.registry().units.values())
        with self.index.read() as conn:
            packages = packages_by_unit(conn, units, today)
        ageing = {}
        for unit in units:
            enrolment = unit.enrolment_on(today)
            retired = unit.retired_on is not None and unit.retired_on < today
            if enrolment is None or retired or not unit.applying:
                continue
            release = release_in_force(bearing_on(enrolment, packages[unit.id]))
            if release is None or release.state is ReleaseState.PLANNED:
                ageing[unit.id] = enrolment.first_day or date.min
        return ageing
