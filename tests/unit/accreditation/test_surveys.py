"""Spans of quality control logs, held against a walk through their days; and surveys as the third portion."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.accreditation.policies import DEFAULT_POLICY_ID, Terms, choose_policy
from dicom_node.accreditation.portions import EXAM_PORTIONS, PORTIONS, Portion
from dicom_node.accreditation.standing import (
    CountingExam,
    Release,
    ReleaseState,
    Standing,
    State,
    is_not_watched,
    standing,
    worst,
)
from dicom_node.accreditation.surveys import Gap, LogKind, QcLog, Survey, coverage
from tests.unit.accreditation import reference
from tests.unit.accreditation.facility import UPRIGHT_A

POLICY = choose_policy(DEFAULT_POLICY_ID)
TODAY = date(2026, 11, 23)
ONE_DAY = timedelta(days=1)


def log(first: date, last: date, kind: LogKind = LogKind.DAILY, *, withdrawn: bool = False) -> QcLog:
    return QcLog(id="q1", unit="upright_a", kind=kind, first=first, last=last, withdrawn=withdrawn)


def gaps(*logs: QcLog, kind: LogKind = LogKind.DAILY, until: date = TODAY) -> list[tuple[str, str]]:
    return [(str(gap.first), str(gap.last)) for gap in coverage(logs, kind, Terms(), until).gaps]


spans = st.lists(st.tuples(st.integers(-60, 10), st.integers(0, 40)), max_size=5)


@given(until=st.dates(min_value=date(2025, 1, 1), max_value=date(2029, 12, 31)), spans=spans)
def test_gaps_are_the_days_of_the_span_that_no_log_has(until: date, spans: list[tuple[int, int]]) -> None:
    logs = [
        log(until + timedelta(days=begin), until + timedelta(days=begin + length), kind)
        for kind in (LogKind.DAILY, LogKind.WEEKLY)
        for begin, length in (spans if kind is LogKind.DAILY else [(-400, 400)])
    ]
    found = coverage(logs, LogKind.DAILY, Terms(), until)
    first = reference.months_before(until, 1)
    wanted = [first + timedelta(days=n) for n in range((until - first).days + 1)]
    lacking = [day for day in wanted if not any(each.first <= day <= each.last for each in logs[: len(spans)])]
    assert _days(found.gaps) == lacking
    assert (found.first, found.last, found.is_complete) == (first, until, not lacking)
    assert all(one.last + ONE_DAY < other.first for one, other in zip(found.gaps, found.gaps[1:], strict=False))


def _days(found: Iterable[Gap]) -> list[date]:
    return [each.first + timedelta(days=n) for each in found for n in range((each.last - each.first).days + 1)]


def test_daily_and_weekly_logs_are_asked_for_a_month_others_for_a_year() -> None:
    month, year = date(2026, 10, 23), date(2025, 11, 23)
    for kind, first in ((LogKind.DAILY, month), (LogKind.WEEKLY, month), (LogKind.OTHER, year)):
        assert gaps(kind=kind) == [(str(first), str(TODAY))]
        assert gaps(log(first, TODAY, kind), kind=kind) == []
        assert gaps(log(first + ONE_DAY, TODAY, kind), kind=kind) == [(str(first), str(first))]


def test_a_withdrawn_log_covers_nothing() -> None:
    assert gaps(log(date(2026, 1, 1), TODAY, withdrawn=True)) == [("2026-10-23", "2026-11-23")]
    assert gaps(log(date(2026, 1, 1), date(2026, 11, 1)), log(date(2026, 11, 3), TODAY)) == [
        ("2026-11-02", "2026-11-02")
    ]


def survey(day: str) -> CountingExam:
    return Survey(id="s1", unit="upright_a", day=date.fromisoformat(day)).counting()


def stand(*days: str, today: str = "2026-11-23", release: Release | None = None) -> Standing:
    releases = [] if release is None else [release]
    exams = [survey(day) for day in days]
    on = date.fromisoformat(today)
    return standing(UPRIGHT_A, Portion.PHYSICIST, exams, releases, POLICY, today=on, warn_days=60)


def package(day: str, state: ReleaseState = ReleaseState.RECORDED) -> Release:
    return Release(released_on=date.fromisoformat(day), due_on=None, state=state)


@pytest.mark.parametrize(
    ("days", "today", "state", "cutoff"),
    [
        (["2025-12-15"], "2026-11-23", State.OK, "2027-02-15"),
        (["2025-12-15"], "2026-12-17", State.NEARING, "2027-02-15"),
        (["2025-12-15"], "2027-02-15", State.NEARING, "2027-02-15"),
        (["2025-12-15"], "2027-02-16", State.LAPSED, "2027-02-15"),
        (["2025-12-31"], "2027-02-28", State.NEARING, "2027-02-28"),
        (["2025-12-31"], "2027-03-01", State.LAPSED, "2027-02-28"),
        (["2025-12-28"], "2027-02-28", State.NEARING, "2027-02-28"),
        (["2025-12-15", "2026-11-24"], "2026-11-23", State.OK, "2027-02-15"),
        ([], "2026-11-23", State.MISSING, None),
    ],
)
def test_a_survey_counts_for_fourteen_months(days: list[str], today: str, state: State, cutoff: str | None) -> None:
    found = stand(*days, today=today)
    assert (found.state, found.cutoff and str(found.cutoff)) == (state, cutoff)


@pytest.mark.parametrize(
    ("day", "state"), [("2025-09-20", State.SECURED), ("2025-09-19", State.SHORT), ("2026-11-21", State.SECURED)]
)
def test_a_package_has_its_window_of_fourteen_months(day: str, state: State) -> None:
    assert stand(day, release=package("2026-11-20")).state is state


def test_a_survey_that_nobody_records_bothers_nobody_until_a_package_is_out() -> None:
    clinical = replace(stand(), portion=Portion.CLINICAL, state=State.NEARING)
    assert is_not_watched(stand())
    assert worst([clinical, stand()]) is clinical
    assert worst([stand()]) == stand()
    planned = stand(release=package("2027-02-01", ReleaseState.PLANNED))
    assert (planned.state, is_not_watched(planned)) == (State.MISSING, True)
    short = stand(release=package("2026-11-20"))
    assert (short.state, worst([clinical, short])) == (State.SHORT, short)
    assert not is_not_watched(replace(stand(), portion=Portion.PHANTOM))


def test_an_exam_is_never_of_the_physicists_portion() -> None:
    assert Portion.PHYSICIST in PORTIONS
    assert set(Portion) - set(EXAM_PORTIONS) == {Portion.PHYSICIST}
