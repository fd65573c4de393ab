"""Milestones of a cycle: their days, what ends each, and when people are reminded."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.accreditation.milestones import (
    DEFAULT_LADDER,
    Milestone,
    MilestoneKind,
    MilestoneState,
    milestone_reminder,
    milestone_rule,
    milestones,
    next_milestone_reminder,
)
from dicom_node.accreditation.policies import DEFAULT_POLICY_ID, Override, choose_policy, load_policies
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.reminders import Severity
from dicom_node.accreditation.standing import Release, ReleaseState
from tests.unit.accreditation import reference

SIX = choose_policy(DEFAULT_POLICY_ID)
EXPIRY = date(2027, 9, 30)
BEFORE = date(2026, 6, 1)
"""A day before all milestones of an expiry of 2027-09-30."""
COLLECT, NOTICE, APPLICATION, LAST = MilestoneKind


def day(text: str) -> date:
    return date.fromisoformat(text)


def package(state: str, on: str = "2027-05-20") -> Release:
    return Release(released_on=day(on), due_on=None, state=ReleaseState(state))


def made(
    *releases: Release, expiry: date | None = EXPIRY, today: date = BEFORE, policy: object = None, **told: bool
) -> dict[MilestoneKind, Milestone]:
    found = milestones(expiry, releases, policy or SIX, today=today, **told)  # type: ignore[arg-type]
    return {each.kind: each for each in found}


@pytest.mark.parametrize(
    ("expiry", "notice", "application", "collect"),
    [
        ("2027-09-30", "2027-01-30", "2027-03-30", "2026-09-30"),  # 60 days after the notice are 2027-03-31
        ("2027-09-15", "2027-01-15", "2027-03-15", "2026-09-15"),  # 2027-03-16
        ("2028-09-15", "2028-01-15", "2028-03-15", "2027-09-15"),  # a leap year: the days end on the same day
        ("2027-04-30", "2026-08-30", "2026-10-29", "2026-04-29"),  # the days end before the months do
        ("2027-10-31", "2027-02-28", "2027-04-29", "2026-10-29"),  # the notice is clamped
        ("2027-08-31", "2026-12-31", "2027-02-28", "2026-08-28"),  # the months are clamped
        ("2028-10-31", "2028-02-29", "2028-04-29", "2027-10-29"),
        ("2028-02-29", "2027-06-29", "2027-08-28", "2027-02-28"),
        ("2027-03-01", "2026-07-01", "2026-08-30", "2026-02-28"),  # 60 days after the notice; six months are 2026-09-01
    ],
)
def test_the_days_follow_from_the_expiry(expiry: str, notice: str, application: str, collect: str) -> None:
    found = made(expiry=day(expiry), today=date(2026, 1, 1))
    assert {kind: str(each.day) for kind, each in found.items()} == {
        NOTICE: notice, APPLICATION: application, COLLECT: collect, LAST: expiry,
    }  # fmt: skip
    assert [kind for kind, each in found.items() if each.is_estimate] == [COLLECT]


def test_every_day_has_its_arithmetic_in_words() -> None:
    found = made(expiry=day("2027-08-31"))
    assert found[NOTICE].arithmetic == "2027-08-31 minus 8 calendar months is 2026-12-31."
    assert found[APPLICATION].arithmetic == (
        "The notice expected on 2026-12-31 plus 60 calendar days is 2027-03-01; 2027-08-31 minus 6 calendar months is "
        "2027-02-28; the earlier day is 2027-02-28."
    )
    assert found[COLLECT].arithmetic.startswith("No release is planned, so this is an estimate")
    assert "2027-02-28 minus 6 calendar months is 2026-08-28." in found[COLLECT].arithmetic


def test_cases_are_collected_from_the_first_day_that_the_earliest_planned_release_admits() -> None:
    found = made(package("planned", "2027-06-10"), package("planned", "2027-05-31"))
    assert found[COLLECT].day == day("2026-11-30")
    assert not found[COLLECT].is_estimate


def test_a_clamped_first_day_is_told_with_the_day_that_is_sure() -> None:
    found = made(package("planned", "2027-08-31"))
    assert found[COLLECT].day == day("2027-02-28")
    assert "one of 2027-03-01 counts by both" in found[COLLECT].arithmetic


def test_an_override_of_the_planned_day_decides_the_window() -> None:
    longer = Override(
        first=day("2027-05-01"), last=day("2027-05-31"), months={Portion.CLINICAL: 9, Portion.PHANTOM: 9},
        article="Letter", revision=day("2027-01-01"), address="on file",
    )  # fmt: skip
    assert made(package("planned"), policy=replace(SIX, overrides=(longer,)))[COLLECT].day == day("2026-08-20")


def test_before_the_first_accreditation_there_is_only_the_day_to_collect_from_once_a_release_is_planned() -> None:
    assert made(expiry=None) == {}
    assert list(made(package("planned"), expiry=None)) == [COLLECT]
    assert made(package("recorded"), expiry=None) == {}


def test_the_terms_of_the_policy_move_the_days() -> None:
    policy = SIX.with_terms({"notice_months": 10, "application_days": 30, "application_months": 7}, source="a letter")
    found = made(policy=policy)
    assert (found[NOTICE].day, found[APPLICATION].day) == (day("2026-11-30"), day("2026-12-30"))
    assert "a letter" in milestone_rule(NOTICE, policy)
    assert "Time Requirements" in milestone_rule(NOTICE, SIX)


ALL = frozenset(MilestoneKind)
ON_THE_WAY = frozenset({COLLECT, NOTICE, APPLICATION})


@pytest.mark.parametrize(
    ("releases", "ended"),
    [
        ((), set()),
        ((package("planned"),), set()),
        ((package("closed"),), set()),  # as if it had never been
        ((package("recorded"),), ON_THE_WAY),
        ((package("submitted"),), ON_THE_WAY),
        ((package("deficient"),), ON_THE_WAY),
        ((package("passed"),), ON_THE_WAY),
        ((package("recorded"), package("planned", "2027-06-10")), {NOTICE, APPLICATION}),  # one unit is still to come
        ((package("recorded", "2026-08-29"),), set()),  # an addendum: more than 13 months are left
        ((package("recorded", "2026-08-30"),), ON_THE_WAY),  # early renewal: just 13 months are left
        ((package("passed", "2026-01-10"), package("planned", "2027-05-20")), set()),
        ((package("passed", "2026-01-10"), package("recorded", "2027-05-20")), ON_THE_WAY),
    ],
)
def test_what_is_recorded_of_the_packages_ends_milestones(
    releases: tuple[Release, ...], ended: set[MilestoneKind]
) -> None:
    found = made(*releases)
    assert {kind for kind, each in found.items() if each.state is MilestoneState.DONE} == ended


def test_an_addendum_that_passed_leaves_the_renewal_as_it_is() -> None:
    found = made(package("passed", "2026-01-10"), has_passed=True)
    assert all(each.state is MilestoneState.AHEAD and not each.is_quiet for each in found.values())


def test_when_all_have_passed_the_expiry_is_left_and_told_from_its_day_on_alone() -> None:
    passed = package("passed")
    found = made(passed, today=EXPIRY - timedelta(days=1), has_passed=True)
    assert found[LAST].state is MilestoneState.AHEAD
    assert milestone_reminder("c1", found[LAST], DEFAULT_LADDER, EXPIRY - timedelta(days=1)) is None
    for after, stage in ((0, "d0"), (1, "past-w0"), (8, "past-w1")):
        today = EXPIRY + timedelta(days=after)
        told = milestone_reminder("c1", made(passed, today=today, has_passed=True)[LAST], DEFAULT_LADDER, today)
        assert told is not None
        assert (told.stage, told.severity) == (stage, Severity.WARNING)


def test_a_cycle_that_is_over_leaves_nothing() -> None:
    found = made(package("passed"), today=EXPIRY + timedelta(days=1), is_over=True)
    assert {each.state for each in found.values()} == {MilestoneState.DONE}
    assert not any(milestone_reminder("c1", each, DEFAULT_LADDER, EXPIRY) for each in found.values())


def test_the_notice_is_over_on_the_day_the_application_is_due() -> None:
    due = made()[APPLICATION].day
    assert made(today=due - timedelta(days=1))[NOTICE].state is MilestoneState.PAST
    assert made(today=due)[NOTICE].state is MilestoneState.DONE


@pytest.mark.parametrize(
    ("days_before", "stage", "severity"),
    [
        (61, None, None),
        (60, "d60", Severity.INFO),
        (31, "d60", Severity.INFO),
        (30, "d30", Severity.WARNING),
        (14, "d14", Severity.WARNING),
        (7, "d7", Severity.CRITICAL),
        (1, "d1", Severity.CRITICAL),
        (0, "d0", Severity.CRITICAL),
        (-1, "past-w0", Severity.CRITICAL),
        (-7, "past-w0", Severity.CRITICAL),
        (-8, "past-w1", Severity.CRITICAL),
    ],
)
def test_the_application_is_reminded_of_by_its_ladder_and_weekly_when_it_is_late(
    days_before: int, stage: str | None, severity: Severity | None
) -> None:
    today = made()[APPLICATION].day - timedelta(days=days_before)
    told = milestone_reminder("c1", made(today=today)[APPLICATION], DEFAULT_LADDER, today)
    assert (told and told.stage, told and told.severity) == (stage, severity)
    if told:
        assert told.key == "milestone/c1/application/2027-03-30"
        assert told.on <= today


@pytest.mark.parametrize(("kind", "severity"), [(NOTICE, Severity.INFO), (COLLECT, Severity.WARNING)])
def test_notice_and_cases_are_told_up_to_their_day_and_are_never_critical(
    kind: MilestoneKind, severity: Severity
) -> None:
    start = made()[kind].day
    for after in (0, 1, 20):
        today = start + timedelta(days=after)
        told = milestone_reminder("c1", made(today=today)[kind], DEFAULT_LADDER, today)
        assert told is not None
        assert (told.stage, told.severity) == ("d0", severity)
        assert next_milestone_reminder("c1", made(today=today)[kind], DEFAULT_LADDER, today) is None


def test_after_days_without_a_review_the_lowest_rung_alone_is_due() -> None:
    of = made()[LAST]
    told = milestone_reminder("c1", of, (60, 30, 14), EXPIRY - timedelta(days=10))
    following = next_milestone_reminder("c1", of, (60, 30, 14), EXPIRY - timedelta(days=10))
    assert told is not None
    assert following is not None
    assert (told.stage, told.on, following.on) == ("d14", EXPIRY - timedelta(days=14), EXPIRY)


expiries = st.dates(min_value=date(2020, 1, 1), max_value=date(2060, 12, 31))


@given(expiry=expiries, policy=st.sampled_from(sorted(load_policies())))
def test_the_days_are_those_of_a_walk_through_the_calendar(expiry: date, policy: str) -> None:
    found = made(expiry=expiry, policy=load_policies()[policy])
    notice = reference.months_before(expiry, 8)
    due = min(notice + timedelta(days=60), reference.months_before(expiry, 6))
    expected = {NOTICE: notice, APPLICATION: due, COLLECT: reference.months_before(due, 6), LAST: expiry}
    assert {kind: each.day for kind, each in found.items()} == expected


@given(expiry=expiries, later=st.integers(-900, 900))
def test_who_reviews_every_day_is_told_each_rung_once_and_never_after_it(expiry: date, later: int) -> None:
    today = expiry + timedelta(days=later)
    for of in made(expiry=expiry, today=today).values():
        now, following = (
            find("c1", of, DEFAULT_LADDER, today) for find in (milestone_reminder, next_milestone_reminder)
        )
        assert now is None or now.on <= today
        assert following is None or following.on > today
        if of.state is not MilestoneState.DONE and of.day - timedelta(days=60) <= today:
            assert now is not None
