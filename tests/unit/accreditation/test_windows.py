"""Windows that had another length for a while: both directions of the rule, by tables and against a walk of days."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.accreditation import months as by_months
from dicom_node.accreditation.windows import Spell, Windows
from tests.unit.accreditation import reference

day = date.fromisoformat
LONGER = Windows(months=6, spells=(Spell(first=day("2020-04-01"), last=day("2020-09-30"), months=9),))
SHORTER = Windows(months=6, spells=(Spell(first=day("2020-04-01"), last=day("2020-09-30"), months=3),))
ONE_DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("release", "longer", "shorter"),
    [
        ("2020-03-31", "2019-09-30", "2019-09-30"),
        ("2020-04-01", "2019-07-01", "2020-01-01"),
        ("2020-09-30", "2019-12-30", "2020-06-30"),
        ("2020-10-01", "2020-04-01", "2020-04-01"),
    ],
)
def test_the_release_date_decides_which_window_there_is(release: str, longer: str, shorter: str) -> None:
    assert LONGER.first_day(day(release)) == day(longer)
    assert SHORTER.first_day(day(release)) == day(shorter)
    assert LONGER.admits(day(longer), day(release))
    assert not LONGER.admits(day(longer) - ONE_DAY, day(release))


@pytest.mark.parametrize(
    ("exam", "today", "until", "latest"),
    [
        ("2019-08-15", "2019-12-01", "2020-02-15", "2020-02-15"),  # lapses before the longer windows begin
        ("2019-08-15", "2020-03-01", "2020-02-15", "2020-02-15"),  # has lapsed, whatever comes
        ("2019-08-15", "2020-04-01", "2020-05-15", "2020-05-15"),  # counts again
        ("2019-08-15", "2020-08-01", "2020-05-15", "2020-05-15"),  # has lapsed again
        ("2019-10-01", "2020-01-01", "2020-07-01", "2020-07-01"),  # six months end on 1 April, where nine begin
        ("2019-09-30", "2020-01-01", "2020-03-30", "2020-06-30"),  # by the end of the month without a gap
        ("2020-01-15", "2020-05-01", "2020-09-30", "2020-09-30"),  # nine months are cut by the end of the spell
        ("2020-04-15", "2020-05-01", "2020-10-15", "2020-10-15"),  # six months reach beyond the spell
        ("2020-12-01", "2020-12-01", "2021-06-01", "2021-06-01"),  # after all of it
    ],
)
def test_an_exam_counts_without_a_gap_up_to_a_day(exam: str, today: str, until: str, latest: str) -> None:
    assert LONGER.counts_until(day(exam), day(today)) == day(until)
    assert LONGER.last_release(day(exam), day(today)) == day(latest)


@pytest.mark.parametrize(
    ("exam", "today", "latest"),
    [
        ("2019-11-15", "2020-02-01", "2020-03-31"),  # shorter windows end it
        ("2019-11-15", "2020-05-01", "2020-03-31"),
        ("2020-05-15", "2020-05-15", "2020-08-15"),
        ("2020-05-15", "2020-10-01", "2020-11-15"),  # it counts again when the shorter windows are over
        ("2020-07-15", "2020-08-01", "2021-01-15"),
    ],
)
def test_shorter_windows_end_it_before_their_first_day(exam: str, today: str, latest: str) -> None:
    assert SHORTER.last_release(day(exam), day(today)) == day(latest)
    assert SHORTER.counts_until(day(exam), day(today)) == day(latest)


days = st.dates(min_value=date(2018, 1, 1), max_value=date(2024, 12, 31))
lengths = st.integers(1, 15)


@st.composite
def windows(draw: st.DrawFn) -> Windows:
    """Draw windows with up to three spells, some of which touch."""
    spells, first = [], draw(days)
    for _ in range(draw(st.integers(0, 3))):
        last = first + timedelta(days=draw(st.integers(0, 200)))
        spells.append(Spell(first=first, last=last, months=draw(lengths)))
        first = last + timedelta(days=draw(st.sampled_from((1, 1, 2, 40, 300))))
    return Windows(months=draw(lengths), spells=tuple(spells))


@given(of=windows(), exam=days, release=days)
def test_an_exam_counts_when_it_is_not_before_the_first_day(of: Windows, exam: date, release: date) -> None:
    months = of.months_on(release)
    assert of.first_day(release) == reference.months_before(release, months)
    assert of.admits(exam, release) == reference.admitted(exam, release, months)


@given(of=windows(), exam=days, later=st.integers(0, 900))
def test_both_days_are_those_of_a_walk_through_the_calendar(of: Windows, exam: date, later: int) -> None:
    today = exam + timedelta(days=later)

    def walked(good: set[date]) -> date:
        end = today
        while end not in good:  # the exam's own day always is
            end -= ONE_DAY
        while end + ONE_DAY in good:
            end += ONE_DAY
        return end

    near = [exam + timedelta(days=number) for number in range(later + 31 * 16)]
    by_rule = {each for each in near if exam >= by_months.first_day(each, of.months_on(each))}
    forward = {each for each in near if each <= by_months.add_months(exam, of.months_on(each))}
    assert of.last_release(exam, today) == walked(by_rule)
    assert of.counts_until(exam, today) == walked(forward)
    assert of.counts_until(exam, today) <= of.last_release(exam, today)


@given(months=lengths, exam=days, later=st.integers(0, 900))
def test_without_spells_it_is_the_plain_rule(months: int, exam: date, later: int) -> None:
    today = exam + timedelta(days=later)
    assert Windows(months=months).last_release(exam, today) == by_months.last_release(exam, months)
    assert Windows(months=months).counts_until(exam, today) == by_months.counts_until(exam, months)
