"""Which date of an instance is the day it was performed."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.accreditation.exams import Performed, performed
from dicom_node.accreditation.signals import DateCandidate
from tests.unit.accreditation.facility import image

RECEIVED = date(2026, 11, 23)
ACQUIRED = date(2026, 11, 20)


def candidate(day: date | None, source: str = "AcquisitionDate", problem: str = "") -> DateCandidate:
    return DateCandidate(source=source, day=day, problem=problem)


def judge(
    *dates: DateCandidate, study_day: date | None = None, received: date = RECEIVED, installed: date | None = None
) -> Performed:
    return performed(image(dates=dates, study_day=study_day), received, installed)


def test_the_first_usable_date_counts() -> None:
    found = judge(candidate(ACQUIRED), candidate(ACQUIRED - timedelta(days=1), "ContentDate"))
    assert found == Performed(day=ACQUIRED, source="AcquisitionDate")


@pytest.mark.parametrize(
    ("first", "flag"),
    [
        (candidate(None, problem="not a date"), "AcquisitionDate: not a date"),
        (candidate(ACQUIRED, problem="dates were modified"), "AcquisitionDate: dates were modified"),
        (candidate(None), "AcquisitionDate: no date"),
        (candidate(date(1900, 1, 1)), "AcquisitionDate: year 1900 or earlier"),
        (candidate(date(1, 1, 1)), "AcquisitionDate: year 1900 or earlier"),
        (candidate(RECEIVED + timedelta(days=2)), "AcquisitionDate: more than a day after it was received"),
        (candidate(date(2026, 9, 30)), "AcquisitionDate: before the unit was installed"),
    ],
)
def test_a_date_that_cannot_be_is_flagged_and_the_next_one_counts(first: DateCandidate, flag: str) -> None:
    found = judge(first, candidate(ACQUIRED, "ContentDate"), installed=date(2026, 10, 1))
    assert found == Performed(day=ACQUIRED, source="ContentDate", flags=(flag,))


def test_without_a_usable_date_an_instance_is_undated_and_never_of_the_day_it_was_received() -> None:
    assert judge(candidate(None, problem="not a date")) == Performed(
        day=None, source="", flags=("AcquisitionDate: not a date",)
    )
    assert judge() == Performed(day=None, source="")


def test_the_day_the_unit_was_installed_is_usable() -> None:
    assert judge(candidate(ACQUIRED), installed=ACQUIRED).day == ACQUIRED


def test_a_day_ahead_of_receipt_is_kept_and_flagged() -> None:
    tomorrow = RECEIVED + timedelta(days=1)
    assert judge(candidate(tomorrow)) == Performed(
        day=tomorrow, source="AcquisitionDate", flags=("AcquisitionDate: a day after it was received",)
    )


def test_an_exam_of_the_day_it_was_received_is_no_surprise() -> None:
    assert judge(candidate(RECEIVED)) == Performed(day=RECEIVED, source="AcquisitionDate")


def test_only_years_up_to_1900_are_taken_for_unset_clocks() -> None:
    assert judge(candidate(date(1900, 12, 31))).day is None
    assert judge(candidate(date(1901, 1, 1))).day == date(1901, 1, 1)


@pytest.mark.parametrize("days", [-1, 0, 1])
def test_a_study_date_within_a_day_changes_nothing(days: int) -> None:
    assert judge(candidate(ACQUIRED), study_day=ACQUIRED + timedelta(days=days)).flags == ()


def test_an_earlier_study_date_counts_and_is_flagged() -> None:
    found = judge(candidate(ACQUIRED), study_day=ACQUIRED - timedelta(days=2))
    assert (found.day, found.source) == (ACQUIRED - timedelta(days=2), "StudyDate")
    assert found.flags == ("StudyDate is more than a day before AcquisitionDate: the study date counts",)


def test_a_later_study_date_is_flagged_and_the_acquisition_counts() -> None:
    found = judge(candidate(ACQUIRED), study_day=ACQUIRED + timedelta(days=2))
    assert (found.day, found.source) == (ACQUIRED, "AcquisitionDate")
    assert found.flags == ("StudyDate is more than a day after AcquisitionDate: AcquisitionDate counts",)


@pytest.mark.parametrize("study_day", [date(1900, 1, 1), date(2026, 9, 30), RECEIVED + timedelta(days=9)])
def test_a_study_date_that_cannot_be_moves_nothing(study_day: date) -> None:
    found = judge(candidate(ACQUIRED), study_day=study_day, installed=date(2026, 10, 1))
    assert found == Performed(day=ACQUIRED, source="AcquisitionDate")


some_days = st.dates(min_value=date(1899, 1, 1), max_value=date(2030, 1, 1))
candidates = st.builds(
    DateCandidate,
    source=st.sampled_from(["AcquisitionDate", "ContentDate", "StudyDate"]),
    day=st.none() | some_days,
    problem=st.sampled_from(["", "not a date"]),
)


@given(dates=st.lists(candidates, max_size=4), study_day=st.none() | some_days, received=some_days, installed=some_days)
def test_a_day_that_counts_was_written_in_the_instance_and_lies_between_installation_and_the_day_after_receipt(
    dates: list[DateCandidate], study_day: date | None, received: date, installed: date
) -> None:
    def believable(day: date | None) -> bool:
        return day is not None and day.year > 1900 and installed <= day <= received + timedelta(days=1)

    found = judge(*dates, study_day=study_day, received=received, installed=installed)
    usable = [c for c in dates if not c.problem and believable(c.day)]
    assert (found.day is None) == (not usable)
    if found.day is not None:
        assert believable(found.day)
        assert found.day in (usable[0].day, study_day)
