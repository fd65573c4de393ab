"""When people are reminded, and how urgently."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.accreditation.policies import DEFAULT_POLICY_ID, choose_policy
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.reminders import DEFAULT_LADDER, Reminder, Severity, due_reminder, next_reminder
from dicom_node.accreditation.standing import CountingExam, Release, ReleaseState, Standing, standing
from tests.unit.accreditation.facility import UPRIGHT_A

POLICY = choose_policy(DEFAULT_POLICY_ID)
EXAM = date(2026, 6, 8)
CUTOFF = date(2026, 12, 8)


def stand(today: date, *days: date, releases: tuple[Release, ...] = ()) -> Standing:
    counting = [CountingExam(exam_id=str(i), day=each) for i, each in enumerate(days)]
    return standing(UPRIGHT_A, Portion.CLINICAL, counting, releases, POLICY, today=today, warn_days=60)


def due(days_left: int, ladder: tuple[int, ...] = DEFAULT_LADDER) -> Reminder | None:
    today = CUTOFF - timedelta(days=days_left)
    return due_reminder(stand(today, EXAM), ladder, today)


def coming(days_left: int, ladder: tuple[int, ...] = DEFAULT_LADDER) -> Reminder | None:
    today = CUTOFF - timedelta(days=days_left)
    return next_reminder(stand(today, EXAM), ladder, today)


@pytest.mark.parametrize(
    ("days_left", "stage", "severity"),
    [
        (60, "d60", Severity.INFO),
        (31, "d60", Severity.INFO),
        (30, "d30", Severity.WARNING),
        (15, "d30", Severity.WARNING),
        (14, "d14", Severity.WARNING),
        (8, "d14", Severity.WARNING),
        (7, "d7", Severity.CRITICAL),
        (3, "d3", Severity.CRITICAL),
        (2, "d3", Severity.CRITICAL),
        (1, "d1", Severity.CRITICAL),
        (0, "d0", Severity.CRITICAL),
        (-1, "lapsed-w0", Severity.CRITICAL),
        (-7, "lapsed-w0", Severity.CRITICAL),
        (-8, "lapsed-w1", Severity.CRITICAL),
        (-15, "lapsed-w2", Severity.CRITICAL),
        (-400, "lapsed-w57", Severity.CRITICAL),
    ],
)
def test_of_all_rungs_that_were_crossed_only_the_lowest_is_due(days_left: int, stage: str, severity: Severity) -> None:
    found = due(days_left)
    assert found is not None
    assert (found.stage, found.severity) == (stage, severity)
    assert found.key == "eligibility/upright_a/clinical/2026-06-08"


def test_nothing_is_due_before_the_first_rung() -> None:
    assert due(61) is None


def test_a_ladder_may_be_in_any_order_and_empty() -> None:
    assert [found.stage for days in (20, 5, 1) if (found := due(days, (5, 20)))] == ["d20", "d5", "d5"]
    assert due(1, ()) is None
    found = due(0, ())
    assert found is not None
    assert found.stage == "d0"


def test_a_long_rung_grows_more_urgent_as_the_days_run_out() -> None:
    assert [found.severity for days in (40, 20, 5) if (found := due(days, (45,)))] == [
        Severity.INFO,
        Severity.WARNING,
        Severity.CRITICAL,
    ]


@pytest.mark.parametrize(
    ("days_left", "stage", "on"),
    [
        (100, "d60", CUTOFF - timedelta(days=60)),
        (14, "d7", CUTOFF - timedelta(days=7)),
        (1, "d0", CUTOFF),
        (0, "lapsed-w0", CUTOFF + timedelta(days=1)),
        (-1, "lapsed-w1", CUTOFF + timedelta(days=8)),
        (-8, "lapsed-w2", CUTOFF + timedelta(days=15)),
    ],
)
def test_the_next_reminder_is_the_first_that_begins_after_today(days_left: int, stage: str, on: date) -> None:
    found = coming(days_left)
    assert found is not None
    assert (found.stage, found.on) == (stage, on)


def test_while_the_exam_still_counts_by_the_rule_no_lapse_is_announced() -> None:
    exam = date(2026, 2, 28)
    stages = {}
    for today in (date(2026, 8, 28), date(2026, 8, 29), date(2026, 8, 31), date(2026, 9, 1)):
        found = due_reminder(stand(today, exam), DEFAULT_LADDER, today)
        assert found is not None
        stages[today.isoformat()] = found.stage
    assert stages == {"2026-08-28": "d0", "2026-08-29": "d0", "2026-08-31": "d0", "2026-09-01": "lapsed-w0"}


def test_a_fresh_exam_ends_the_reminders() -> None:
    assert due_reminder(stand(CUTOFF, EXAM, CUTOFF), DEFAULT_LADDER, CUTOFF) is None


def test_a_missing_exam_is_never_reminded_of() -> None:
    assert due_reminder(stand(CUTOFF), DEFAULT_LADDER, CUTOFF) is None
    assert next_reminder(stand(CUTOFF), DEFAULT_LADDER, CUTOFF) is None


def test_a_short_package_is_reminded_of_by_its_due_date() -> None:
    package = Release(released_on=date(2026, 12, 9), due_on=date(2027, 1, 23), state=ReleaseState.RECORDED)
    today = date(2027, 1, 10)
    short = stand(today, EXAM, releases=(package,))
    assert due_reminder(short, DEFAULT_LADDER, today) == Reminder(
        key="eligibility/upright_a/clinical/due-2027-01-23",
        stage="d14",
        on=date(2027, 1, 9),
        severity=Severity.WARNING,
    )
    late = date(2027, 2, 2)
    overdue = due_reminder(stand(late, EXAM, releases=(package,)), DEFAULT_LADDER, late)
    assert overdue is not None
    assert overdue.stage == "lapsed-w1"


@pytest.mark.parametrize("state", [state for state in ReleaseState if state is not ReleaseState.PLANNED])
def test_a_secured_portion_is_never_reminded_of(state: ReleaseState) -> None:
    package = Release(released_on=EXAM, due_on=None, state=state)
    assert due_reminder(stand(CUTOFF, EXAM, releases=(package,)), DEFAULT_LADDER, CUTOFF) is None


@given(
    exam=st.dates(min_value=date(2020, 1, 1), max_value=date(2030, 1, 1)),
    age=st.integers(0, 500),
    ladder=st.lists(st.integers(0, 200), max_size=6),
)
def test_the_reminder_that_comes_next_is_the_one_due_on_its_day(exam: date, age: int, ladder: list[int]) -> None:
    today = exam + timedelta(days=age)
    found = next_reminder(stand(today, exam), ladder, today)
    assert found is not None
    then = due_reminder(stand(found.on, exam), ladder, found.on)
    eve = found.on - timedelta(days=1)
    before = due_reminder(stand(eve, exam), ladder, eve)
    assert then == found
    assert before is None or before.stage != found.stage
