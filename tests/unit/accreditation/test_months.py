"""The date arithmetic: the dated tables, an independent reference, and what must hold for all dates."""

import random
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.accreditation.months import add_months, admits, counts_until, first_day, last_day, last_release
from tests.unit.accreditation import reference

days = st.dates(min_value=date(1990, 1, 1), max_value=date(2100, 12, 31))
windows = st.integers(min_value=1, max_value=36)


def day(text: str) -> date:
    return date.fromisoformat(text)


@pytest.mark.parametrize(
    ("release", "six", "fourteen"),
    [
        ("2026-08-31", "2026-02-28", "2025-06-30"),
        ("2024-08-31", "2024-02-29", "2023-06-30"),
        ("2027-02-28", "2026-08-28", "2025-12-28"),
        ("2028-02-29", "2027-08-29", "2026-12-29"),
        ("2026-12-01", "2026-06-01", "2025-10-01"),
        ("2026-07-15", "2026-01-15", "2025-05-15"),
        ("2027-01-01", "2026-07-01", "2025-11-01"),
    ],
)
def test_the_window_begins_the_policys_months_before_the_release(release: str, six: str, fourteen: str) -> None:
    assert first_day(day(release), 6) == day(six)
    assert first_day(day(release), 14) == day(fourteen)


@pytest.mark.parametrize(
    ("exam", "until", "latest"),
    [
        ("2026-02-28", "2026-08-28", "2026-08-31"),
        ("2025-09-30", "2026-03-30", "2026-03-31"),
        ("2026-08-31", "2027-02-28", "2027-02-28"),
        ("2026-11-23", "2027-05-23", "2027-05-23"),
        ("2024-02-28", "2024-08-28", "2024-08-28"),
        ("2024-02-29", "2024-08-29", "2024-08-31"),
        ("2026-08-29", "2027-02-28", "2027-02-28"),
        ("2027-08-29", "2028-02-29", "2028-02-29"),
        ("2026-12-31", "2027-06-30", "2027-06-30"),
    ],
)
def test_reminders_count_to_the_exam_plus_six_months_and_the_rule_to_the_latest_release_that_admits_it(
    exam: str, until: str, latest: str
) -> None:
    assert counts_until(day(exam), 6) == day(until)
    assert last_release(day(exam), 6) == day(latest)


def test_an_exam_on_the_first_day_of_the_window_is_admitted_and_the_day_before_is_not() -> None:
    release = day("2026-12-01")
    assert admits(day("2026-06-01"), release, 6)
    assert not admits(day("2026-05-31"), release, 6)


def test_an_exam_on_the_due_date_is_admitted_and_the_day_after_is_not() -> None:
    release, due = day("2026-12-01"), day("2027-01-15")
    assert admits(due, release, 6, due=due)
    assert not admits(due + timedelta(days=1), release, 6, due=due)


def test_without_a_due_date_the_window_ends_as_many_months_after_the_release() -> None:
    release = day("2026-08-31")
    assert last_day(release, 6) == day("2027-02-28")
    assert admits(day("2027-02-28"), release, 6)
    assert not admits(day("2027-03-01"), release, 6)


def test_a_step_beyond_the_calendar_is_an_overflow() -> None:
    with pytest.raises(OverflowError):
        add_months(date(9999, 7, 1), 6)
    with pytest.raises(OverflowError):
        add_months(date(1, 6, 30), -6)


def test_a_step_to_the_ends_of_the_calendar_is_taken() -> None:
    assert add_months(date(9999, 6, 30), 6) == date(9999, 12, 30)
    assert add_months(date(1, 7, 31), -6) == date(1, 1, 31)


def test_ten_thousand_random_dates_agree_with_a_walk_through_the_calendar() -> None:
    chance = random.Random(20260831)
    first, last = date(2015, 1, 1).toordinal(), date(2045, 12, 31).toordinal()
    for _ in range(10_000):
        exam = date.fromordinal(chance.randint(first, last))
        months = chance.choice((6, 6, 6, 14, 14, chance.randint(1, 30)))
        release = exam + timedelta(days=chance.randint(-31 * months - 5, 31 * months + 5))
        due = chance.choice((None, release + timedelta(days=chance.randint(0, 60))))
        case = (exam, release, months, due)
        assert first_day(release, months) == reference.months_before(release, months), case
        assert last_day(release, months) == reference.months_after(release, months), case
        assert admits(exam, release, months, due) == reference.admitted(exam, release, months, due), case
        assert counts_until(exam, months) == reference.months_after(exam, months), case
        assert last_release(exam, months) == reference.latest_release(exam, months), case


def test_every_month_end_and_its_neighbours_agree_with_a_walk_through_the_calendar() -> None:
    for year in range(2023, 2030):
        for month in range(1, 13):
            for offset in range(-5, 4):
                exam = date(year, month, 1) + timedelta(days=offset)
                for months in (6, 14):
                    assert last_release(exam, months) == reference.latest_release(exam, months), (exam, months)
                    assert counts_until(exam, months) == reference.months_after(exam, months), (exam, months)


@given(exam=days, months=windows)
def test_the_last_release_admits_the_exam_and_no_later_one_does(exam: date, months: int) -> None:
    latest = last_release(exam, months)
    assert admits(exam, latest, months)
    assert not any(admits(exam, latest + timedelta(days=more), months) for more in range(1, 40))


@given(release=days, months=windows)
def test_a_later_release_never_admits_an_older_exam(release: date, months: int) -> None:
    assert first_day(release, months) <= first_day(release + timedelta(days=1), months)


@given(exam=days, months=windows)
def test_the_day_reminders_count_to_is_never_later_than_the_last_release_and_at_most_three_days_earlier(
    exam: date, months: int
) -> None:
    assert timedelta(0) <= last_release(exam, months) - counts_until(exam, months) <= timedelta(days=3)


@given(exam=days, months=windows, data=st.data())
def test_every_release_up_to_the_day_reminders_count_to_admits_the_exam(
    exam: date, months: int, data: st.DataObject
) -> None:
    until = counts_until(exam, months)
    release = date.fromordinal(data.draw(st.integers(exam.toordinal(), until.toordinal())))
    assert admits(exam, release, months)


@given(start=days)
def test_six_months_are_181_to_184_days(start: date) -> None:
    assert 181 <= (start - first_day(start, 6)).days <= 184


@given(start=days, months=st.integers(-400, 400))
def test_a_step_by_months_keeps_the_day_or_takes_the_last_of_a_shorter_month(start: date, months: int) -> None:
    end = add_months(start, months)
    assert (end.year * 12 + end.month) - (start.year * 12 + start.month) == months
    assert end.day == start.day or (end.day < start.day and (end + timedelta(days=1)).day == 1)
