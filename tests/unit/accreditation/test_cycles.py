"""Accreditation cycles: how far each is, who lacks a package, what an added unit means, what bears on a standing."""

from dataclasses import replace
from datetime import date, timedelta
from itertools import count, product

import pytest

from dicom_node.accreditation.cycles import (
    Cycle,
    CycleState,
    Joining,
    Package,
    bearing,
    cycle_state,
    facility_of,
    joining,
    units_of,
)
from dicom_node.accreditation.policies import Terms, choose_policy
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.standing import CountingExam, Release, ReleaseState, Standing, State, standing
from dicom_node.accreditation.units import OWN_FACILITY, Enrolment
from tests.unit.accreditation.facility import UPRIGHT_A

PLANNED, RECORDED, SUBMITTED = ReleaseState.PLANNED, ReleaseState.RECORDED, ReleaseState.SUBMITTED
PASSED, DEFICIENT, CLOSED = ReleaseState.PASSED, ReleaseState.DEFICIENT, ReleaseState.CLOSED
TODAY = date(2026, 11, 23)
SIX = choose_policy("acr-sbb-2023-03-03")
_numbers = count()


def release(state: ReleaseState, on: date = TODAY) -> Release:
    return Release(released_on=on, due_on=None, state=state)


def package(unit: str, state: ReleaseState, on: date = TODAY, cycle: str = "c1") -> Package:
    return Package(id=f"r{next(_numbers)}", unit=unit, cycle=cycle, release=release(state, on))


def cycle(*packages: Package, closed: bool = False) -> Cycle:
    return Cycle(id="c1", facility=OWN_FACILITY, expires_on=date(2027, 8, 31), closed=closed, packages=packages)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], CycleState.OPEN),
        ([None], CycleState.OPEN),
        ([PLANNED], CycleState.OPEN),
        ([CLOSED], CycleState.OPEN),
        ([RECORDED], CycleState.RELEASED),
        ([SUBMITTED], CycleState.SUBMITTED),
        ([PASSED], CycleState.PASSED),
        ([DEFICIENT], CycleState.DEFICIENT),
        ([RECORDED, RECORDED], CycleState.RELEASED),
        ([RECORDED, None], CycleState.OPEN),
        ([RECORDED, PLANNED], CycleState.OPEN),
        ([PASSED, None], CycleState.OPEN),
        ([SUBMITTED, RECORDED], CycleState.RELEASED),
        ([DEFICIENT, RECORDED], CycleState.RELEASED),
        ([DEFICIENT, SUBMITTED], CycleState.DEFICIENT),
        ([DEFICIENT, PASSED], CycleState.DEFICIENT),
        ([SUBMITTED, PASSED], CycleState.SUBMITTED),
        ([PASSED, PASSED], CycleState.PASSED),
    ],
)
def test_a_cycle_is_as_far_as_the_unit_that_is_least_far(
    states: list[ReleaseState | None], expected: CycleState
) -> None:
    releases = [None if state is None else release(state) for state in states]
    assert cycle_state(releases) is cycle_state(reversed(releases)) is expected


def test_a_closed_cycle_is_closed_whatever_its_packages_are() -> None:
    for state in ReleaseState:
        assert cycle(package("a", state), closed=True).state(["a"]) is CycleState.CLOSED


def test_a_unit_lacks_a_package_until_one_is_planned_or_out() -> None:
    found = cycle(package("a", PLANNED), package("b", RECORDED), package("c", CLOSED))
    assert found.lacking(["a", "b", "c", "d"]) == ["c", "d"]
    assert found.state(["a", "b", "c", "d"]) is found.state(["a"]) is CycleState.OPEN
    assert found.state(["b"]) is CycleState.RELEASED


def test_of_several_packages_of_a_unit_the_newest_that_is_not_closed_is_in_force() -> None:
    addendum, renewal = package("a", PASSED, date(2026, 1, 5)), package("a", RECORDED, date(2026, 11, 1))
    closed = package("a", CLOSED, date(2026, 12, 1))
    found = cycle(renewal, closed, addendum, package("b", SUBMITTED, date(2027, 1, 1)))
    assert found.package_of("a") is renewal
    assert found.package_of("z") is None
    assert found.state(["a", "b"]) is CycleState.RELEASED


def test_an_addendum_that_passed_does_not_end_the_cycle_of_the_others() -> None:
    assert cycle(package("added", PASSED)).state(["added", "other"]) is CycleState.OPEN


@pytest.mark.parametrize(
    ("expires", "last_addendum_day"),
    [
        (date(2027, 12, 24), date(2026, 11, 23)),
        (date(2027, 3, 31), date(2026, 2, 27)),  # 13 months before is the last day of February
        (date(2028, 2, 29), date(2027, 1, 28)),
        (date(2029, 3, 31), date(2028, 2, 28)),
    ],
)
def test_a_unit_is_an_addendum_with_more_than_thirteen_months_left(expires: date, last_addendum_day: date) -> None:
    assert joining(expires, last_addendum_day, Terms()) is Joining.ADDENDUM
    assert joining(expires, last_addendum_day + timedelta(days=1), Terms()) is Joining.EARLY_RENEWAL
    assert joining(expires, expires + timedelta(days=400), Terms()) is Joining.EARLY_RENEWAL


def test_the_months_of_an_addendum_are_the_policys_and_a_first_accreditation_has_none() -> None:
    assert joining(date(2027, 12, 24), TODAY, Terms(addendum_months=14)) is Joining.EARLY_RENEWAL
    assert joining(date(2027, 11, 24), TODAY, Terms(addendum_months=12)) is Joining.ADDENDUM
    assert joining(None, TODAY, Terms()) is Joining.FIRST


def test_the_units_of_a_cycle_are_those_applying_and_in_service() -> None:
    units = [
        UPRIGHT_A,
        replace(UPRIGHT_A, id="mammography", applying=False),
        replace(UPRIGHT_A, id="last day", retired_on=TODAY),
        replace(UPRIGHT_A, id="gone", retired_on=TODAY - timedelta(days=1)),
    ]
    assert units_of(OWN_FACILITY, units, TODAY) == [UPRIGHT_A.id, "last day"]
    assert units_of("elsewhere", units, TODAY) == []
    assert facility_of(UPRIGHT_A, TODAY) == OWN_FACILITY


def test_a_unit_that_moves_is_of_the_cycle_of_the_facility_it_is_enrolled_at() -> None:
    moves = Enrolment(facility="annex", first_day=TODAY + timedelta(days=1))
    moving = replace(UPRIGHT_A, enrolments=(Enrolment(last_day=TODAY - timedelta(days=1)), moves))
    days = [TODAY + timedelta(days=number) for number in (-1, 0, 1)]
    assert [facility_of(moving, day) for day in days] == [OWN_FACILITY, "", "annex"]
    assert [units_of("annex", [moving], day) for day in days] == [[], [], [moving.id]]


# The clock.

OLD, NEW = date(2024, 3, 1), date(2026, 11, 1)
UNDER_WAY = (PLANNED, RECORDED, SUBMITTED)


def test_without_an_open_cycle_every_package_bears() -> None:
    packages = [package("a", state, cycle=of) for state, of in product(ReleaseState, ("", "c0"))]
    assert bearing(packages, ()) == tuple(each.release for each in packages)


@pytest.mark.parametrize("state", ReleaseState)
@pytest.mark.parametrize(("of", "over"), [("c1", {CLOSED}), ("c0", {PASSED, DEFICIENT, CLOSED})])
def test_beside_an_open_cycle_what_is_over_of_another_or_of_none_bears_no_longer(
    state: ReleaseState, of: str, over: set[ReleaseState]
) -> None:
    assert bool(bearing([package("a", state, cycle=of)], {"c1"})) is (state not in over)
    assert bearing([package("a", state, cycle="")], {"c1"}) == bearing([package("a", state, cycle="c0")], {"c1"})


def stand(*packages: Package, open_cycles: frozenset[str], exam: date) -> Standing:
    exams = [CountingExam(exam_id="e1", day=exam)]
    releases = bearing(packages, open_cycles)
    return standing(UPRIGHT_A, Portion.CLINICAL, exams, releases, SIX, today=TODAY, warn_days=60)


@pytest.mark.parametrize("state", [PASSED, DEFICIENT, CLOSED])
@pytest.mark.parametrize("of", ["c0", ""])
def test_nothing_ages_after_the_last_package_until_the_next_cycle_is_open(state: ReleaseState, of: str) -> None:
    last = package("upright_a", state, OLD, of)
    before = stand(last, open_cycles=frozenset(), exam=date(2025, 1, 1))
    assert (before.state, before.cutoff) == (State.OK, None)
    after = stand(last, open_cycles=frozenset({"c1"}), exam=date(2025, 1, 1))
    assert (after.state, after.cutoff, after.release) == (State.LAPSED, date(2025, 7, 1), None)


def test_a_package_closed_in_the_open_cycle_is_as_if_it_had_never_been() -> None:
    mistaken = package("upright_a", CLOSED, NEW)
    assert stand(mistaken, open_cycles=frozenset({"c1"}), exam=date(2026, 6, 8)).state is State.NEARING


@pytest.mark.parametrize(
    ("state", "expected", "cutoff"),
    [
        (PLANNED, State.NEARING, date(2026, 12, 8)),
        (RECORDED, State.SECURED, None),
        (SUBMITTED, State.SECURED, None),
        (PASSED, State.SECURED, None),
        (DEFICIENT, State.SECURED, None),
    ],
)
def test_the_package_of_the_open_cycle_drives_the_clock(
    state: ReleaseState, expected: State, cutoff: date | None
) -> None:
    old, new = package("upright_a", PASSED, OLD, "c0"), package("upright_a", state, NEW)
    found = stand(old, new, open_cycles=frozenset({"c1"}), exam=date(2026, 6, 8))
    assert (found.state, found.cutoff, found.release) == (expected, cutoff, new.release)


@pytest.mark.parametrize("state", UNDER_WAY)
def test_a_package_under_way_is_never_hidden_by_a_cycle_opened_beside_it(state: ReleaseState) -> None:
    out = package("upright_a", state, NEW, "")
    assert stand(out, open_cycles=frozenset({"c1"}), exam=date(2025, 1, 1)).release is out.release
