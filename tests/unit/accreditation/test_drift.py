"""A wrong clock is told from studies that come late."""

from datetime import date, timedelta

import pytest

from dicom_node.accreditation.drift import Drift, Sent, drift

MONDAY = date(2026, 11, 2)


def sent(*studies: tuple[int, int]) -> list[Sent]:
    """Make studies of (day of receipt, days off), in the order they came; the first day is MONDAY, 0. Newest first."""
    made = []
    for day, offset in studies:
        received = MONDAY + timedelta(days=day)
        made.append(Sent(received_on=received, made_on=received + timedelta(days=offset)))
    return made[::-1]


@pytest.mark.parametrize(
    ("studies", "days", "since", "number"),
    [
        pytest.param([(0, 0), (1, 1)], 1, 1, 1, id="a day ahead, at once"),
        pytest.param([(0, 31)], 31, 0, 1, id="a month ahead, at once"),
        pytest.param([(0, 31), (1, -9)], 31, 0, 1, id="a study sent late does not end it"),
        pytest.param([(0, 31), (2, 31), (3, 31)], 31, 0, 3, id="ahead in several"),
        pytest.param([(0, 31), (2, 2)], 2, 0, 2, id="ahead by less now: still ahead"),
        pytest.param([(0, -30), (1, -30)], -30, 0, 2, id="two studies equally far behind"),
        pytest.param([(0, 0), (1, -2), (2, -2)], -2, 1, 2, id="two days behind after a right one"),
        pytest.param([(0, -3), (7, -3), (8, -3)], -3, 0, 3, id="of three one is of another day of the week"),
        pytest.param([(0, -3), (1, -3), (2, -8)], -3, 0, 2, id="a late one after does not end it"),
        pytest.param([(0, -8), (1, -3), (2, -3)], -3, 1, 2, id="and one before does not hide it"),
    ],
)
def test_a_wrong_clock_is_found(studies: list[tuple[int, int]], days: int, since: int, number: int) -> None:
    found = drift(sent(*studies))
    assert found is not None
    assert (found.days, found.since, found.studies) == (days, MONDAY + timedelta(days=since), number)


@pytest.mark.parametrize(
    "studies",
    [
        pytest.param([], id="nothing came"),
        pytest.param([(0, 0), (1, 0)], id="right"),
        pytest.param([(0, -1), (1, -1), (2, -1)], id="sent the next morning"),
        pytest.param([(0, -21)], id="one of three weeks ago"),
        pytest.param([(0, -21), (0, -21), (0, -21)], id="a whole day of studies, late together"),
        pytest.param([(4, -4), (4, -3), (4, -2), (4, -1)], id="a week sent on Friday"),
        pytest.param([(0, -10), (1, -12), (2, -3)], id="a queue that is worked off"),
        pytest.param([(0, -3), (1, -5), (2, -3)], id="the same twice, with another between"),
        pytest.param([(4, -2), (11, -2), (18, -2)], id="each Wednesday's on Friday"),
        pytest.param([(0, 31), (2, 0)], id="put right"),
        pytest.param([(0, -30), (1, -30), (2, 0)], id="put right after it was behind"),
        pytest.param([(0, 5), (1, -1)], id="put right, and sent the next morning"),
        pytest.param([(0, -3), (1, 0), (2, -3)], id="a right one between"),
    ],
)
def test_a_clock_that_may_be_right_is_let_be(studies: list[tuple[int, int]]) -> None:
    assert drift(sent(*studies)) is None


def test_the_first_and_the_last_day_are_told() -> None:
    assert drift(sent((0, 9), (3, 9))) == Drift(days=9, since=MONDAY, last=MONDAY + timedelta(days=3), studies=2)
