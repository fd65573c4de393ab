"""The dated cases: the table, an independent reference, and the product say the same of each."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.accreditation.cycles import Cycle, Package, bearing
from dicom_node.accreditation.milestones import MilestoneKind, milestones
from dicom_node.accreditation.policies import Override, Policy, load_policies
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.standing import CountingExam, Release, ReleaseState, Standing, State, standing
from dicom_node.accreditation.units import OWN_FACILITY, Enrolment, Unit
from tests.unit.accreditation import reference
from tests.unit.accreditation.facility import UPRIGHT_A

WARN_DAYS = 60
SIX, FOURTEEN = load_policies()["acr-sbb-2023-03-03"], load_policies()["acr-sbb-2026-01-14"]
SPELL = (date(2020, 4, 1), date(2020, 9, 30))
PORTIONS = {"clinical": Portion.CLINICAL, "phantom": Portion.PHANTOM, "physicist": Portion.PHYSICIST}


def overridden(months: int) -> Policy:
    """Return the policy of six months with another length for a while."""
    lengths = dict.fromkeys(PORTIONS.values(), months)
    override = Override(
        first=SPELL[0], last=SPELL[1], months=lengths, article="Letter", revision=SPELL[0], address="on file"
    )
    return replace(SIX, overrides=(override,))


OURS = replace(
    SIX, id="ours", months=dict(zip(PORTIONS.values(), (8, 3, 12), strict=True))
).with_terms({"testing_days": 30}, source="a letter")  # fmt: skip
POLICIES = {"fourteen": FOURTEEN, "ours": OURS, "longer": overridden(9), "shorter": overridden(3)}
"""All others are that of six months."""

MONTHS = {"fourteen": (6, 14, 14), "ours": (8, 3, 12)}
"""By portion, for the reference; all others are 6, 6 and 14."""
SPELLS = {"longer": 9, "shorter": 3}

UNITS = {
    "retired": replace(UPRIGHT_A, retired_on=date(2026, 12, 31)),
    "spare": replace(UPRIGHT_A, applying=False),
    "moved": replace(
        UPRIGHT_A,
        enrolments=(
            Enrolment(facility="main", first_day=date(2020, 1, 1), last_day=date(2026, 6, 30)),
            Enrolment(facility="west", first_day=date(2026, 7, 15)),
        ),
    ),
}


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    policy: str
    portion: str
    exams: tuple[date, ...]
    packages: tuple[reference.Package, ...]
    open_cycles: frozenset[str]
    today: date
    state: str
    cutoff: date | None
    days: int | None
    planned: str

    @property
    def expected(self) -> tuple[str, date | None, int | None, str]:
        """What was worked out by hand."""
        return self.state, self.cutoff, self.days, self.planned


def read(line: str) -> Case:
    name, policy, portion, exams, packages, cycles, today, state, cutoff, days, planned = map(
        str.strip, line.split("|")
    )
    return Case(
        name=name,
        policy=policy,
        portion=portion,
        exams=tuple(date.fromisoformat(each) for each in split(exams)),
        packages=tuple(read_package(each) for each in split(packages)),
        open_cycles=frozenset(split(cycles)),
        today=date.fromisoformat(today),
        state=state,
        cutoff=None if cutoff == "-" else date.fromisoformat(cutoff),
        days=None if days == "-" else int(days),
        planned=planned,
    )


def split(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def read_package(text: str) -> reference.Package:
    words, _, cycle = text.partition("@")
    state, release, *due = words.split()
    return state, date.fromisoformat(release), date.fromisoformat(due[1]) if due else None, cycle


def lines(name: str) -> list[str]:
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


CASES = [read(line) for line in lines("dated_cases.txt")]
of_each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))


def test_there_are_enough_cases_and_each_has_a_name_of_its_own() -> None:
    assert len(CASES) >= 150
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.state for case in CASES} == set(State)
    assert {case.portion for case in CASES} == set(PORTIONS)
    assert {package[0] for case in CASES for package in case.packages} == set(ReleaseState)


def of_product(package: reference.Package, unit: str) -> Package:
    state, release, due, cycle = package
    made = Release(released_on=release, due_on=due, state=ReleaseState(state))
    return Package(id=f"{unit}-{release}", unit=unit, cycle=cycle, release=made)


def product(case: Case) -> Standing:
    unit: Unit = UNITS.get(case.policy, UPRIGHT_A)
    packages = [of_product(each, unit.id) for each in case.packages]
    return standing(
        unit,
        PORTIONS[case.portion],
        [CountingExam(exam_id=f"e{number}", day=day) for number, day in enumerate(case.exams)],
        bearing(packages, case.open_cycles),
        POLICIES.get(case.policy, SIX),
        today=case.today,
        warn_days=WARN_DAYS,
    )


@of_each
def test_the_product_says_what_was_worked_out_by_hand(case: Case) -> None:
    found = product(case)
    planned = {True: "yes", False: "no", None: "-"}[found.counts_for_planned]
    assert (found.state, found.cutoff, found.days_left, planned) == case.expected


def lengths(policy: str, portion: str) -> reference.Lengths:
    months = MONTHS.get(policy, (6, 6, 14))[list(PORTIONS).index(portion)]
    return months, ((*SPELL, SPELLS[policy]),) if policy in SPELLS else ()


def is_of_this_place(case: Case, day: date) -> bool:
    """Tell whether the unit that moved was on a day where it is today; the others never move."""
    return case.policy != "moved" or (day > date(2026, 7, 14)) is (case.today > date(2026, 7, 14))


def by_reference(case: Case) -> tuple[str, date | None, str]:
    return reference.stands(
        [day for day in case.exams if is_of_this_place(case, day)],
        [package for package in case.packages if is_of_this_place(case, package[1])],
        set(case.open_cycles),
        lengths(case.policy, case.portion),
        case.today,
        warn_days=WARN_DAYS,
        testing_days=30 if case.policy == "ours" else 45,
    )


@of_each
def test_the_reference_says_what_was_worked_out_by_hand(case: Case) -> None:
    is_retired = case.policy == "retired" and case.today > date(2026, 12, 31)
    is_away = case.policy == "moved" and date(2026, 6, 30) < case.today < date(2026, 7, 15)
    if is_retired or is_away or case.policy == "spare":
        assert case.expected == ("retired" if is_retired else "not required", None, None, "-")
        return
    state, cutoff, planned = by_reference(case)
    days = None if cutoff is None else cutoff.toordinal() - case.today.toordinal()
    assert (state, cutoff, days, planned) == case.expected


# Any history at all.


@st.composite
def histories(draw: st.DrawFn) -> Case:
    """Draw exams, packages in cycles, and a day, near to one another and often at ends of months."""
    policy = draw(st.sampled_from(("six", "fourteen", "ours", "longer", "shorter")))
    start = draw(st.sampled_from((date(2019, 8, 31), date(2020, 2, 29), date(2026, 5, 31), date(2027, 8, 29))))
    near = st.integers(-400, 400).map(lambda days: start + timedelta(days=days))
    packages = []
    for number, release in enumerate(draw(st.lists(near, max_size=3, unique=True))):
        due = draw(st.none() | st.integers(0, 90).map(lambda days, since=release: since + timedelta(days=days)))
        packages.append((draw(st.sampled_from([*ReleaseState])).value, release, due, f"c{number}"))
    return Case(
        name="drawn",
        policy=policy,
        portion=draw(st.sampled_from([*PORTIONS])),
        exams=tuple(draw(st.lists(near, max_size=4))),
        packages=tuple(packages),
        open_cycles=frozenset(draw(st.sets(st.sampled_from(("c0", "c1", "c2", "c3"))))),
        today=draw(near),
        state="",
        cutoff=None,
        days=None,
        planned="",
    )


@given(case=histories())
def test_the_product_and_the_reference_agree_on_any_history(case: Case) -> None:
    found = product(case)
    planned = {True: "yes", False: "no", None: "-"}[found.counts_for_planned]
    assert (found.state.value, found.cutoff, planned) == by_reference(case)


@given(case=histories())
def test_a_reminder_is_never_late(case: Case) -> None:
    """Every release from today to the day people are reminded of admits the exam, and so does every one of the rule."""
    found = product(case)
    if found.counts_until is None or found.newest is None or found.last_release is None:
        return
    windows = POLICIES.get(case.policy, SIX).windows(PORTIONS[case.portion])
    assert found.counts_until <= found.last_release
    for number in range(max(0, (found.last_release - case.today).days) + 1):
        release = case.today + timedelta(days=number)
        assert windows.admits(found.newest.day, release) is (release <= found.last_release)


# Cycles.


@dataclass(frozen=True)
class CycleCase:
    """One line of the table of cycles."""

    name: str
    policy: str
    expiry: date
    packages: dict[str, list[reference.Package]]
    today: date
    state: str
    milestones: dict[str, str]


def read_cycle(line: str) -> CycleCase:
    name, policy, expiry, units, packages, today, state, *days = map(str.strip, line.split("|"))
    by_unit: dict[str, list[reference.Package]] = {unit: [] for unit in units.split()}
    for each in split(packages):
        unit, _, package = each.partition(" ")
        by_unit[unit].append(read_package(package))
    return CycleCase(
        name=name,
        policy=policy,
        expiry=date.fromisoformat(expiry),
        packages=by_unit,
        today=date.fromisoformat(today),
        state=state,
        milestones=dict(zip(("notice", "application", "collect", "expiry"), days, strict=True)),
    )


CYCLES = [read_cycle(line) for line in lines("dated_cycles.txt")]
of_each_cycle = pytest.mark.parametrize("case", CYCLES, ids=lambda case: case.name.replace(" ", "-"))


def test_each_cycle_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CYCLES}) == len(CYCLES) >= 30


@of_each_cycle
def test_the_product_says_of_a_cycle_what_was_worked_out_by_hand(case: CycleCase) -> None:
    packages = tuple(of_product(each, unit) for unit, several in case.packages.items() for each in several)
    cycle = Cycle(id="c1", facility=OWN_FACILITY, expires_on=case.expiry, packages=packages)
    found = milestones(
        case.expiry, (each.release for each in packages), POLICIES.get(case.policy, SIX), today=case.today
    )
    assert cycle.state(case.packages) == case.state
    assert {each.kind.value: f"{each.day} {each.state}" for each in found} == case.milestones
    assert {each.kind for each in found} == set(MilestoneKind)


@of_each_cycle
def test_the_reference_says_of_a_cycle_what_was_worked_out_by_hand(case: CycleCase) -> None:
    found = reference.milestones(
        case.expiry,
        [each for several in case.packages.values() for each in several],
        case.today,
        lengths=lengths(case.policy, "clinical"),
        notice_months=8,
        application_days=60,
        application_months=6,
        addendum_months=13,
    )
    told = {
        kind: f"{day} {'done' if is_done else 'past' if day < case.today else 'ahead'}"
        for kind, (day, is_done) in found.items()
    }
    assert (reference.cycle_is(case.packages), told) == (case.state, case.milestones)
