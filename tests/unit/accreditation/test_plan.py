"""What is needed for the next package, held against a reference that walks the calendar day by day."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.accreditation.plan import (
    Event,
    EventKind,
    Need,
    PortionPlan,
    calendar,
    calendar_end,
    first_safe_day,
    plan_portion,
)
from dicom_node.accreditation.policies import DEFAULT_POLICY_ID, Override, Policy, choose_policy
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.standing import CountingExam, Release, ReleaseState, release_in_force, standing
from dicom_node.accreditation.units import Unit
from dicom_node.accreditation.windows import Windows
from tests.unit.accreditation import reference
from tests.unit.accreditation.facility import UPRIGHT_A

SIX = choose_policy(DEFAULT_POLICY_ID)
TODAY = date(2026, 11, 23)
ONE_DAY = timedelta(days=1)

windows = st.integers(min_value=1, max_value=24)
ages = st.lists(st.integers(min_value=-5, max_value=800), max_size=5)
ahead = st.integers(min_value=0, max_value=500)
edges = st.lists(st.integers(min_value=-3, max_value=4), max_size=3)
"""Days from the first day of a window: where the answers change."""
todays = st.dates(min_value=date(2023, 1, 1), max_value=date(2032, 12, 31)) | st.sampled_from(
    [date(2026, 8, 29), date(2026, 8, 31), date(2028, 2, 29), date(2027, 2, 28), date(2026, 11, 30)]
)


def day(text: str) -> date:
    return date.fromisoformat(text)


def days_of(today: date, ages: list[int], first: date, edges: list[int]) -> set[date]:
    return {today - timedelta(days=age) for age in ages} | {first + timedelta(days=edge) for edge in edges}


def policy_of(months: int) -> Policy:
    return replace(SIX, id="own", months=dict.fromkeys(SIX.months, months))


def overridden(policy: Policy, first: date, last: date, months: int) -> Policy:
    override = Override(
        first=first,
        last=last,
        months=dict.fromkeys(SIX.months, months),
        article="Letter",
        revision=first,
        address="file",
    )
    return replace(policy, overrides=(override,))


def plan(
    *days: date,
    today: date = TODAY,
    asked: date | None = None,
    release: Release | None = None,
    policy: Policy = SIX,
    unit: Unit = UPRIGHT_A,
) -> PortionPlan:
    exams = [CountingExam(exam_id=f"exam-{each}", day=each) for each in days]
    releases = () if release is None else (release,)
    found = standing(unit, Portion.CLINICAL, exams, releases, policy, today=today, warn_days=60)
    return plan_portion(unit, found, exams, policy, today=today, asked=asked)


def events(
    *days: date, today: date = TODAY, asked: date | None = None, release: Release | None = None, policy: Policy = SIX
) -> list[Event]:
    planned = plan(*days, today=today, asked=asked, release=release, policy=policy)
    return calendar([planned], release_in_force(() if release is None else (release,)), policy.terms, today)


def package(text: str, state: ReleaseState = ReleaseState.RECORDED, due: str | None = None) -> Release:
    return Release(released_on=day(text), due_on=None if due is None else day(due), state=state)


# Held against the reference.


@given(today=todays, ages=ages, months=windows, ahead=ahead, edges=edges)
def test_the_exams_that_count_at_a_release_are_those_its_window_holds(
    today: date, ages: list[int], months: int, ahead: int, edges: list[int]
) -> None:
    release = today + timedelta(days=ahead)
    days = days_of(today, ages, reference.months_before(release, months), edges)
    found = plan(*days, today=today, asked=release, policy=policy_of(months))
    expected = [each for each in days if each <= today and reference.admitted(each, release, months)]
    assert [exam.day for exam in found.counting] == sorted(expected, reverse=True)
    for exam in found.counting:
        assert exam.last_release == reference.latest_release(exam.day, months)
        assert exam.counts_until == reference.months_after(exam.day, months)
        assert exam.ambiguous == (release > reference.months_after(exam.day, months))


@given(today=todays, ages=ages, months=windows, ahead=ahead, edges=edges)
def test_a_new_exam_is_needed_by_the_release_when_none_is_sure_to_count_for_it(
    today: date, ages: list[int], months: int, ahead: int, edges: list[int]
) -> None:
    release = today + timedelta(days=ahead)
    days = days_of(today, ages, reference.months_before(release, months), edges)
    found = plan(*days, today=today, asked=release, policy=policy_of(months))
    sure = [each for each in days if each <= today and reference.months_after(each, months) >= release]
    if sure:
        assert (found.need, found.needed_by, found.needed_from) == (Need.NO, None, None)
        return
    # The first exam day from today that both ways of counting let count, found by trying each.
    first = today
    while not (reference.admitted(first, release, months) and reference.months_after(first, months) >= release):
        first += ONE_DAY
    assert (found.need, found.needed_by, found.needed_from) == (Need.BY, release, first)


@given(today=todays, ages=ages, months=windows)
def test_without_a_release_a_new_exam_is_needed_before_any_day_that_would_find_none(
    today: date, ages: list[int], months: int
) -> None:
    days = [today - timedelta(days=age) for age in ages]
    found = plan(*days, today=today, policy=policy_of(months))
    done = [each for each in days if each <= today]
    if not done:
        assert (found.need, found.needed_by) == (Need.NOW, None)
        return
    # Walk on from the newest exam while a package released on the day is sure to admit one that is on file.
    last = max(done)
    while any(reference.months_after(each, months) > last for each in done):
        last += ONE_DAY
    assert (found.need, found.needed_by) == (Need.BY if last >= today else Need.NOW, last)


@given(today=todays, ages=ages, months=windows)
def test_the_calendar_has_each_last_day_that_a_walk_through_its_days_meets(
    today: date, ages: list[int], months: int
) -> None:
    days = [today - timedelta(days=age) for age in ages if age >= 0]
    walked: list[tuple[EventKind, date]] = []
    walker, end = today, reference.months_after(today, 14)
    while walker <= end:
        sure = any(reference.months_after(each, months) >= walker for each in days)
        counts = any(reference.admitted(each, walker, months) for each in days)
        if sure and all(reference.months_after(each, months) <= walker for each in days):
            walked.append((EventKind.LAST_DAY, walker))
        if counts and not sure and EventKind.AMBIGUOUS not in dict(walked):
            walked.append((EventKind.AMBIGUOUS, walker))
        if not counts and any(reference.admitted(each, walker - ONE_DAY, months) for each in days):
            walked.append((EventKind.STOPS, walker))
        walker += ONE_DAY
    assert calendar_end(today) == end
    assert [(event.kind, event.day) for event in events(*days, today=today, policy=policy_of(months))] == walked


@given(release=todays, months=windows)
def test_the_first_safe_day_is_the_first_that_both_ways_of_counting_admit(release: date, months: int) -> None:
    walker = reference.months_before(release, months)
    while reference.months_after(walker, months) < release:
        walker += ONE_DAY
    assert first_safe_day(release, Windows(months=months)) == walker <= release


@given(today=todays, ages=ages, months=windows, others=windows, ahead=ahead, spell=st.tuples(ahead, ahead), edges=edges)
def test_a_release_date_within_an_override_has_the_window_of_the_override(
    today: date, ages: list[int], months: int, others: int, ahead: int, spell: tuple[int, int], edges: list[int]
) -> None:
    first, last = (today + timedelta(days=each) for each in sorted(spell))
    release = today + timedelta(days=ahead)
    holds = others if first <= release <= last else months
    days = days_of(today, ages, reference.months_before(release, holds), edges)
    found = plan(*days, today=today, asked=release, policy=overridden(policy_of(months), first, last, others))
    expected = [each for each in days if each <= today and reference.admitted(each, release, holds)]
    assert [exam.day for exam in found.counting] == sorted(expected, reverse=True)
    sure = [each for each in expected if reference.months_after(each, holds) >= release]
    assert found.need is (Need.NO if sure else Need.BY)


# Dated cases.


def test_an_exam_between_the_two_ways_of_counting_counts_and_is_not_relied_on() -> None:
    found = plan(day("2026-02-28"), today=day("2026-08-03"), asked=day("2026-08-31"))
    assert [(exam.day, exam.ambiguous) for exam in found.counting] == [(day("2026-02-28"), True)]
    assert (found.need, found.needed_by) == (Need.BY, day("2026-08-31"))
    assert first_safe_day(day("2026-08-31"), Windows(months=6)) == day("2026-03-01")
    told = events(day("2026-02-28"), today=day("2026-08-03"), asked=day("2026-08-31"))
    assert [(event.kind, event.day, event.until) for event in told] == [
        (EventKind.LAST_DAY, day("2026-08-28"), None),
        (EventKind.AMBIGUOUS, day("2026-08-29"), day("2026-08-31")),
        (EventKind.PLANNED_RELEASE, day("2026-08-31"), None),
        (EventKind.STOPS, day("2026-09-01"), None),
    ]
    assert "clinical needs a new exam by then (the one on file is not to be relied on)" in told[2].words


def test_of_ambiguous_days_that_have_begun_the_rest_is_told() -> None:
    (doubtful, stops) = events(day("2026-02-28"), today=day("2026-08-30"))
    assert (doubtful.day, doubtful.until, stops.day) == (day("2026-08-30"), day("2026-08-31"), day("2026-09-01"))


def test_the_day_from_which_an_exam_counts_for_a_far_release_is_in_the_calendar() -> None:
    told = events(day("2026-10-01"), release=package("2027-08-31", ReleaseState.PLANNED, due="2027-10-15"))
    assert [(event.kind, str(event.day)) for event in told] == [
        (EventKind.OPENS, "2027-03-01"),
        (EventKind.LAST_DAY, "2027-04-01"),
        (EventKind.STOPS, "2027-04-02"),
        (EventKind.PLANNED_RELEASE, "2027-08-31"),
        (EventKind.DUE, "2027-10-15"),
    ]


def test_a_release_asked_about_stands_beside_the_one_on_record() -> None:
    told = events(day("2026-10-01"), asked=day("2027-03-01"), release=package("2027-02-01", ReleaseState.PLANNED))
    planned = [(str(event.day), event.words) for event in told if event.kind is EventKind.PLANNED_RELEASE]
    assert [each for each, _ in planned] == ["2027-02-01", "2027-03-01"]
    assert "another day was asked about" in planned[0][1]
    assert "clinical has an exam that counts" in planned[1][1]


def test_a_planned_release_that_is_past_needs_an_exam_now() -> None:
    found = plan(day("2026-01-05"), release=package("2026-11-20", ReleaseState.PLANNED))
    assert (found.need, found.needed_by, found.needed_from) == (Need.NOW, day("2026-11-20"), TODAY)


def test_an_exam_is_sure_to_count_for_a_release_on_its_very_last_day() -> None:
    found = plan(day("2026-09-14"), asked=day("2027-03-14"))
    assert (found.need, found.counting[0].ambiguous) == (Need.NO, False)
    assert plan(day("2026-09-14"), asked=day("2027-03-15")).need is Need.BY


def test_the_calendar_has_its_first_and_its_last_day() -> None:
    assert str(calendar_end(TODAY)) == "2028-01-23"
    for planned, is_in in (("2026-11-23", True), ("2028-01-23", True), ("2028-01-24", False)):
        told = events(asked=day(planned))
        assert any(event.kind is EventKind.PLANNED_RELEASE for event in told) is is_in


def test_an_exam_after_the_due_date_of_a_plan_that_is_past_does_not_count() -> None:
    late = package("2026-10-01", ReleaseState.PLANNED, due="2026-11-15")
    assert plan(day("2026-11-16"), release=late).counting == ()
    assert len(plan(day("2026-11-15"), release=late).counting) == 1


# Nothing ages.


@pytest.mark.parametrize("due", [None, "2027-01-20"])
def test_a_package_that_is_out_and_short_needs_an_exam_by_its_due_date(due: str | None) -> None:
    out = package("2026-11-20", due=due)
    found = plan(day("2026-01-05"), release=out, asked=day("2027-03-01"))
    end = day(due or "2027-01-04")
    assert (found.release, found.need, found.needed_by) == (day("2026-11-20"), Need.BY, end)
    assert (found.is_ageing, found.counts_until, found.counting) == (False, None, ())
    (told,) = events(day("2026-01-05"), release=out)
    assert (told.kind, told.day) == (EventKind.DUE, end)
    computed = "" if due else " (45 days from it; none is printed)"
    assert told.words == f"due date of the package of 2026-11-20{computed}: a clinical exam needed by then"


def test_a_package_that_is_out_with_an_exam_inside_needs_none() -> None:
    out = package("2026-11-20", due="2027-01-04")
    found = plan(day("2026-09-14"), release=out)
    assert (found.need, found.counts_until, len(found.counting)) == (Need.NO, None, 1)
    assert [event.kind for event in events(day("2026-09-14"), release=out)] == [EventKind.DUE]


@pytest.mark.parametrize("state", [ReleaseState.SUBMITTED, ReleaseState.PASSED, ReleaseState.DEFICIENT])
def test_what_was_submitted_ages_no_more(state: ReleaseState) -> None:
    done = package("2026-10-20", state)
    found = plan(day("2026-09-14"), release=done)
    assert (found.need, found.release_state, found.needed_by, found.counts_until) == (
        Need.NOTHING_DUE,
        state,
        None,
        None,
    )
    assert events(day("2026-09-14"), release=done) == []


@pytest.mark.parametrize(
    "state", [ReleaseState.SUBMITTED, ReleaseState.DEFICIENT, ReleaseState.PASSED, ReleaseState.CLOSED]
)
def test_the_next_package_may_be_asked_about_when_one_is_over(state: ReleaseState) -> None:
    is_asked = state in {ReleaseState.PASSED, ReleaseState.CLOSED}
    found = plan(day("2026-09-14"), release=package("2024-03-01", state), asked=day("2027-03-01"))
    assert (found.release == day("2027-03-01"), found.need is Need.NO) == (is_asked, is_asked)


@pytest.mark.parametrize("change", [{"applying": False}, {"retired_on": date(2026, 6, 30)}])
def test_a_unit_out_of_the_accreditation_needs_nothing(change: dict[str, object]) -> None:
    found = plan(day("2026-09-14"), unit=replace(UPRIGHT_A, **change), asked=day("2027-03-01"))  # type: ignore[arg-type]
    assert (found.need, found.counting, found.release, found.counts_until) == (Need.NOTHING_DUE, (), None, None)
    assert calendar([found], None, SIX.terms, TODAY) == []
