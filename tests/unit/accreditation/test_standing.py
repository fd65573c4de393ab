"""Where a unit stands: every state, the clock of the testing package, and an independent reference."""

import random
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.accreditation.policies import DEFAULT_POLICY_ID, Override, Terms, choose_policy
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.standing import (
    SEVERITY,
    CountingExam,
    Release,
    ReleaseState,
    Standing,
    State,
    deciding_days,
    earliest_cutoff,
    release_in_force,
    standing,
    worst,
)
from tests.unit.accreditation import reference
from tests.unit.accreditation.facility import UPRIGHT_A

SIX = choose_policy(DEFAULT_POLICY_ID)
FOURTEEN = choose_policy("acr-sbb-2026-01-14")
TODAY = date(2026, 11, 23)
NOT_AGEING = tuple(state for state in ReleaseState if state not in (ReleaseState.PLANNED, ReleaseState.RECORDED))


def day(text: str) -> date:
    return date.fromisoformat(text)


def exams(*days: str) -> list[CountingExam]:
    return [CountingExam(exam_id=f"exam-{text}", day=day(text), source="AcquisitionDate") for text in days]


def release(text: str, state: ReleaseState = ReleaseState.RECORDED, due: str | None = None) -> Release:
    return Release(released_on=day(text), due_on=None if due is None else day(due), state=state)


def stand(
    *days: str, releases: tuple[Release, ...] = (), today: date = TODAY, portion: Portion = Portion.CLINICAL
) -> Standing:
    return standing(UPRIGHT_A, portion, exams(*days), releases, SIX, today=today, warn_days=60)


# No package yet: exams age.


def test_an_exam_on_the_day_it_stops_counting_is_nearing_with_no_days_left() -> None:
    found = stand("2026-06-08", today=day("2026-12-08"))
    assert (found.state, found.days_left, found.cutoff) == (State.NEARING, 0, day("2026-12-08"))
    assert (found.counts_until, found.last_release) == (day("2026-12-08"), day("2026-12-08"))


def test_an_exam_on_the_day_after_has_lapsed() -> None:
    found = stand("2026-06-08", today=day("2026-12-09"))
    assert (found.state, found.days_left) == (State.LAPSED, -1)


@pytest.mark.parametrize(("days_before", "state"), [(61, State.OK), (60, State.NEARING), (1, State.NEARING)])
def test_an_exam_nears_its_end_within_the_warning_days(days_before: int, state: State) -> None:
    found = stand("2026-06-08", today=day("2026-12-08") - timedelta(days=days_before))
    assert (found.state, found.days_left) == (state, days_before)


@pytest.mark.parametrize("today", ["2026-08-29", "2026-08-31"])
def test_between_the_day_reminders_count_to_and_the_last_release_the_exam_still_counts(today: str) -> None:
    found = stand("2026-02-28", today=day(today))
    assert found.state is State.NEARING
    assert found.days_left == (day("2026-08-28") - day(today)).days
    assert stand("2026-02-28", today=day("2026-09-01")).state is State.LAPSED


def test_a_unit_that_never_had_an_exam_is_missing_one() -> None:
    found = stand()
    assert (found.state, found.newest, found.cutoff, found.days_left) == (State.MISSING, None, None, None)


def test_only_the_newest_exam_matters() -> None:
    found = stand("2026-01-02", "2026-11-01", "2025-06-30")
    assert found.newest is not None
    assert (found.state, found.newest.day) == (State.OK, day("2026-11-01"))


def test_an_exam_later_than_today_does_not_count_yet() -> None:
    assert stand("2026-11-24").state is State.MISSING
    found = stand("2026-11-24", "2026-06-08")
    assert found.newest is not None
    assert found.newest.day == day("2026-06-08")


def test_the_windows_of_the_portions_are_the_policys_own() -> None:
    clinical, phantom = (
        standing(UPRIGHT_A, portion, exams("2026-01-20"), (), FOURTEEN, today=TODAY, warn_days=60)
        for portion in (Portion.CLINICAL, Portion.PHANTOM)
    )
    assert (clinical.state, clinical.cutoff) == (State.LAPSED, day("2026-07-20"))
    assert (phantom.state, phantom.cutoff) == (State.OK, day("2027-03-20"))
    assert phantom.policy_id == "acr-sbb-2026-01-14"


# A package that is planned.


@pytest.mark.parametrize(("planned", "counts"), [("2026-12-08", True), ("2026-12-09", False)])
def test_with_a_planned_package_exams_age_and_are_held_against_the_plan(planned: str, counts: bool) -> None:
    found = stand("2026-06-08", releases=(release(planned, ReleaseState.PLANNED),))
    assert (found.state, found.cutoff, found.counts_for_planned) == (State.NEARING, day("2026-12-08"), counts)
    assert found.window_first == day(planned.replace("12", "06", 1))


def test_a_plan_without_an_exam_is_missing_one() -> None:
    found = stand(releases=(release("2026-12-08", ReleaseState.PLANNED),))
    assert (found.state, found.counts_for_planned) == (State.MISSING, None)


# A package that is out.


def test_an_exam_inside_the_window_of_a_recorded_package_is_secured_and_does_not_age() -> None:
    found = stand("2026-06-08", releases=(release("2026-12-08"),), today=day("2027-05-01"))
    assert (found.state, found.cutoff, found.days_left, found.counts_until) == (State.SECURED, None, None, None)
    assert (found.window_first, found.window_last) == (day("2026-06-08"), day("2027-06-08"))


def test_the_newest_exam_inside_the_window_secures_it_not_a_newer_one_outside() -> None:
    recorded = release("2026-08-01", due="2026-09-15")
    found = stand("2026-07-01", "2026-07-02", "2026-10-01", releases=(recorded,))
    assert found.newest is not None
    assert (found.state, found.newest.day) == (State.SECURED, day("2026-07-02"))


def test_without_an_exam_inside_a_recorded_package_is_short_and_its_due_date_is_counted_down() -> None:
    found = stand("2026-06-08", releases=(release("2026-12-09", due="2027-01-23"),), today=day("2026-12-10"))
    assert (found.state, found.cutoff, found.days_left) == (State.SHORT, day("2027-01-23"), 44)
    assert found.newest is not None
    assert (found.newest.day, found.last_release) == (day("2026-06-08"), None)


def test_without_a_printed_due_date_a_short_package_counts_down_to_the_days_of_testing_after_its_release() -> None:
    found = stand(releases=(release("2026-08-31"),), today=day("2026-10-16"))
    assert (found.state, found.cutoff, found.due) == (State.SHORT, day("2026-10-15"), day("2026-10-15"))
    assert (found.days_left, found.window_last) == (-1, day("2027-02-28"))
    longer = replace(SIX, terms=Terms(testing_days=60))
    found = standing(UPRIGHT_A, Portion.CLINICAL, (), (release("2026-08-31"),), longer, today=TODAY, warn_days=60)
    assert found.cutoff == day("2026-10-30")


def test_an_exam_after_a_computed_due_date_still_lies_inside_the_window() -> None:
    out = (release("2026-08-31"),)
    assert stand("2026-11-01", releases=out).state is State.SECURED
    assert stand("2026-11-01", releases=(release("2026-08-31", due="2026-10-15"),)).state is State.SHORT


@pytest.mark.parametrize("state", [state for state in ReleaseState if state is not ReleaseState.RECORDED])
def test_only_a_package_that_is_recorded_is_due(state: ReleaseState) -> None:
    assert stand("2026-11-01", releases=(release("2026-11-20", state, due="2027-01-04"),)).due is None
    assert stand("2026-11-01", releases=(release("2026-11-20", due="2027-01-04"),)).due == day("2027-01-04")


@pytest.mark.parametrize("state", NOT_AGEING)
def test_once_a_package_is_submitted_nothing_is_counted_down(state: ReleaseState) -> None:
    out = (release("2026-08-01", state, due="2026-09-15"),)
    inside, outside = stand("2026-07-01", releases=out), stand("2026-01-01", releases=out)
    assert (inside.state, inside.cutoff) == (State.SECURED, None)
    assert (outside.state, outside.cutoff) == (State.OK, None)


def test_the_newest_package_that_is_not_closed_is_in_force() -> None:
    passed, planned = release("2023-09-01", ReleaseState.PASSED), release("2026-12-01", ReleaseState.PLANNED)
    closed = release("2027-01-01", ReleaseState.CLOSED)
    assert release_in_force((closed, passed, planned)) is planned
    assert release_in_force((closed, passed)) is passed
    assert release_in_force((closed,)) is closed
    assert release_in_force(()) is None


def test_of_two_packages_of_one_day_the_one_further_on_is_in_force() -> None:
    planned, recorded = release("2026-12-01", ReleaseState.PLANNED), release("2026-12-01")
    assert release_in_force((recorded, planned)) is recorded


def test_of_two_packages_alike_the_one_due_earlier_is_in_force() -> None:
    open_end, later, earlier = (release("2026-12-01", due=due) for due in (None, "2027-01-20", "2027-01-10"))
    assert release_in_force((open_end, earlier, later)) is earlier


# Units that need nothing.


def test_a_unit_that_is_not_applying_needs_nothing() -> None:
    unit = replace(UPRIGHT_A, applying=False)
    found = standing(unit, Portion.CLINICAL, exams("2020-01-01"), (), SIX, today=TODAY, warn_days=60)
    assert (found.state, found.cutoff) == (State.NOT_REQUIRED, None)


@pytest.mark.parametrize(("retired", "state"), [(TODAY - timedelta(days=1), State.RETIRED), (TODAY, State.MISSING)])
def test_a_unit_is_retired_from_the_day_after_its_last_day_in_service(retired: date, state: State) -> None:
    unit = replace(UPRIGHT_A, retired_on=retired)
    assert standing(unit, Portion.CLINICAL, (), (), SIX, today=TODAY, warn_days=60).state is state


# The unit as a whole.


def test_a_units_standing_is_the_worst_of_its_portions_and_its_cutoff_the_earliest() -> None:
    nearing, missing = stand("2026-06-08"), stand(portion=Portion.PHANTOM)
    assert worst((nearing, missing)) is missing
    assert earliest_cutoff((nearing, missing)) == day("2026-12-08")
    assert earliest_cutoff((missing,)) is None


def test_of_equally_bad_portions_the_one_that_ends_first_is_the_worst() -> None:
    earlier, later = stand("2026-06-08"), stand("2026-06-20")
    assert worst((earlier, later)) is worst((later, earlier)) is earlier


def test_every_state_has_its_place_in_the_order_of_severity() -> None:
    assert sorted(SEVERITY) == sorted(State)


# Against the reference.


def test_ten_thousand_random_histories_agree_with_an_independent_reference() -> None:
    chance = random.Random(20261123)
    seen = set()
    for _ in range(10_000):
        today = date(2024, 1, 1) + timedelta(days=chance.randint(0, 1500))
        portion, policy = chance.choice((Portion.CLINICAL, Portion.PHANTOM)), chance.choice((SIX, FOURTEEN))
        months = policy.months[portion]
        days = [today + timedelta(days=chance.randint(-31 * months - 3, 3)) for _ in range(chance.choice((0, 1, 1, 2)))]
        warn = chance.choice((0, 30, 60))
        recorded = chance.random() < 0.4
        released = today + timedelta(days=chance.randint(-200, 5))
        due = chance.choice((None, released + timedelta(days=45)))
        releases = [Release(released_on=released, due_on=due, state=ReleaseState.RECORDED)] if recorded else []
        counting = [CountingExam(exam_id=str(i), day=each) for i, each in enumerate(days)]
        found = standing(UPRIGHT_A, portion, counting, releases, policy, today=today, warn_days=warn)
        if recorded:
            expected = reference.state_with_recorded_release(days, months, today, released, due)
        else:
            expected = reference.state_without_release(days, months, today, warn)
        assert found.state == expected, (today, portion, policy.id, days, warn, released, due)
        if found.cutoff is not None and recorded:
            assert found.cutoff == (due or date.fromordinal(released.toordinal() + 45))
        elif found.cutoff is not None:
            assert found.cutoff == max(reference.months_after(each, months) for each in days if each <= today)
        seen.add(expected)
    assert seen == {"ok", "nearing", "lapsed", "missing", "secured", "short"}


some_days = st.dates(min_value=date(2024, 1, 1), max_value=date(2027, 12, 31))
some_releases = st.builds(
    Release, released_on=some_days, due_on=st.none() | some_days, state=st.sampled_from(ReleaseState)
)


@given(
    days=st.lists(some_days, max_size=4), releases=st.lists(some_releases, max_size=3), today=some_days, data=st.data()
)
def test_the_order_of_exams_and_releases_changes_nothing(
    days: list[date], releases: list[Release], today: date, data: st.DataObject
) -> None:
    counting = [CountingExam(exam_id=str(i), day=each) for i, each in enumerate(days)]

    def of(some: list[CountingExam], packages: list[Release]) -> State:
        return standing(UPRIGHT_A, Portion.CLINICAL, some, packages, SIX, today=today, warn_days=60).state

    shuffled = of(data.draw(st.permutations(counting)), data.draw(st.permutations(releases)))
    assert shuffled is of(counting, releases)


@given(days=st.lists(some_days, max_size=4), more=some_days, today=some_days)
def test_another_exam_never_makes_an_ageing_portion_worse(days: list[date], more: date, today: date) -> None:
    def severity(some: list[date]) -> int:
        counting = [CountingExam(exam_id=str(i), day=each) for i, each in enumerate(some)]
        found = standing(UPRIGHT_A, Portion.CLINICAL, counting, (), SIX, today=today, warn_days=60)
        order = (State.OK, State.NEARING, State.LAPSED, State.MISSING)
        return order.index(found.state)

    assert severity([*days, more]) <= severity(days)


@given(days=st.lists(some_days, max_size=6), releases=st.lists(some_releases, max_size=3), today=some_days)
def test_the_newest_exams_up_to_the_deciding_days_are_enough(
    days: list[date], releases: list[Release], today: date
) -> None:
    counting = [CountingExam(exam_id=str(i), day=each) for i, each in enumerate(days)]
    newest = [
        max(up_to, key=lambda each: (each.day, each.exam_id))
        for until in deciding_days(releases, SIX.windows(Portion.CLINICAL), today)
        if (up_to := [each for each in counting if each.day <= until])
    ]
    by_all, by_newest = (
        standing(UPRIGHT_A, Portion.CLINICAL, some, releases, SIX, today=today, warn_days=60)
        for some in (counting, newest)
    )
    assert by_newest == by_all


def test_an_override_decides_for_the_release_dates_it_holds_for() -> None:
    override = Override(
        first=date(2026, 11, 1), last=date(2026, 12, 31), months={Portion.CLINICAL: 9, Portion.PHANTOM: 9},
        article="Letter", revision=date(2026, 10, 20), address="on file",
    )  # fmt: skip
    policy = replace(SIX, overrides=(override,))
    counting = [CountingExam(exam_id="a", day=date(2026, 4, 10))]

    def of(today: date, *releases: Release) -> tuple[State, date | None]:
        found = standing(UPRIGHT_A, Portion.CLINICAL, counting, releases, policy, today=today, warn_days=60)
        return found.state, found.cutoff

    def released(day: date) -> Release:
        return Release(released_on=day, due_on=None, state=ReleaseState.RECORDED)

    assert of(date(2026, 10, 20)) == (State.LAPSED, date(2026, 10, 10))
    assert of(date(2026, 11, 1)) == (State.NEARING, date(2026, 12, 31))
    assert of(date(2027, 1, 1)) == (State.LAPSED, date(2026, 12, 31))
    assert of(date(2027, 2, 1), released(date(2026, 12, 31))) == (State.SECURED, None)
    assert of(date(2027, 2, 1), released(date(2027, 1, 1))) == (State.SHORT, date(2027, 2, 15))
