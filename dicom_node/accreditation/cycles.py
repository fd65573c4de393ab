"""Accreditation cycles of a facility: how far each is, which unit lacks its testing package, what an added unit means.

A cycle is the way to one accreditation: to the first, or to the one that follows an expiry. A testing package (a
release, ``standing``) is of one unit in one cycle. How far a cycle is follows from its packages and is stored nowhere.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from dicom_node.accreditation.months import add_months
from dicom_node.accreditation.policies import Terms
from dicom_node.accreditation.standing import Release, ReleaseState, release_in_force
from dicom_node.accreditation.units import Unit


class CycleState(StrEnum):
    """How far a cycle is, from the least to the last."""

    OPEN = "open"
    """A unit has no package that is out yet; one that is planned is not out."""
    RELEASED = "released"
    """Every unit has its package, and of one at least nothing is submitted."""
    DEFICIENT = "deficient"
    """Everything was submitted, and of one unit at least it was found deficient."""
    SUBMITTED = "submitted"
    PASSED = "passed"
    CLOSED = "closed"
    """A person closed it."""


class Joining(StrEnum):
    """What it means to add a unit."""

    FIRST = "first accreditation"
    """Nothing expires yet: the unit is accredited together with the others."""
    ADDENDUM = "addendum"
    """The unit gets a package of its own, and the expiry of the others."""
    EARLY_RENEWAL = "early renewal"
    """So little is left that all units renew early, together with the one that is added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A testing package of one unit, as far as cycles go."""

    id: str
    unit: str
    cycle: str
    """"" for none."""
    release: Release


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """An accreditation cycle of a facility. Days are local calendar days of the facility."""

    id: str
    facility: str
    expires_on: date | None
    """Last day of the accreditation that this cycle renews; None for the first accreditation."""
    closed: bool = False
    packages: tuple[Package, ...] = ()

    def package_of(self, unit_id: str) -> Package | None:
        """Return the package in force of a unit in this cycle: the newest that is not closed; None without one."""
        own = [each for each in self.packages if each.unit == unit_id and each.release.state is not ReleaseState.CLOSED]
        in_force = release_in_force(each.release for each in own)
        return next((each for each in own if each.release is in_force), None)

    def state(self, units: Iterable[str]) -> CycleState:
        """Tell how far it is; ``units`` are the ids of those that need a package (``units_of``)."""
        if self.closed:
            return CycleState.CLOSED
        packages = (self.package_of(unit) for unit in units)
        return cycle_state(None if each is None else each.release for each in packages)

    def lacking(self, units: Iterable[str]) -> list[str]:
        """Return those of ``units`` that have no package in this cycle, not even a planned one."""
        return [unit for unit in units if self.package_of(unit) is None]


_LEADS_TO = {
    ReleaseState.PLANNED: CycleState.OPEN,
    ReleaseState.RECORDED: CycleState.RELEASED,
    ReleaseState.SUBMITTED: CycleState.SUBMITTED,
    ReleaseState.PASSED: CycleState.PASSED,
    ReleaseState.DEFICIENT: CycleState.DEFICIENT,
    ReleaseState.CLOSED: CycleState.OPEN,  # it was no package of the cycle: the unit needs one
}


def cycle_state(releases: Iterable[Release | None]) -> CycleState:
    """Return how far a cycle is that nobody closed: as far as the unit that is least far.

    ``releases`` are the packages in force of its units in this cycle, None for a unit without one. So an addendum that
    passed does not make a cycle passed whose other units still wait for theirs.
    """
    order = list(CycleState)
    reached = (CycleState.OPEN if each is None else _LEADS_TO[each.state] for each in releases)
    return min(reached, key=order.index, default=CycleState.OPEN)


def joining(expires_on: date | None, on: date, terms: Terms) -> Joining:
    """Tell what it means to add a unit on the day ``on`` to a facility whose accreditation ends on ``expires_on``.

    It is an addendum with more than ``terms.addendum_months`` calendar months left, counted back from the expiry; the
    day on which just as many are left is early renewal already.
    """
    if expires_on is None:
        return Joining.FIRST
    return Joining.ADDENDUM if on < add_months(expires_on, -terms.addendum_months) else Joining.EARLY_RENEWAL


def facility_of(unit: Unit, day: date) -> str:
    """Return the facility that a unit is enrolled at on a day, "" for none."""
    enrolment = unit.enrolment_on(day)
    return "" if enrolment is None else enrolment.facility


def units_of(facility: str, units: Iterable[Unit], day: date) -> list[str]:
    """Return the ids of the units that need a package in a cycle of ``facility``: those applying and in service."""
    return [
        unit.id
        for unit in units
        if unit.applying and (unit.retired_on is None or day <= unit.retired_on) and facility_of(unit, day) == facility
    ]


_OVER = (ReleaseState.PASSED, ReleaseState.DEFICIENT, ReleaseState.CLOSED)


def bearing(packages: Iterable[Package], open_cycles: Collection[str]) -> tuple[Release, ...]:
    """Return those of a unit's packages that its standing is judged by.

    ``open_cycles`` are the cycles of the unit's facility that nobody closed. Without one all packages bear: after the
    last one is closed nothing ages. With one, what is over of other cycles, or of none, bears no longer, and a closed
    package of the cycle itself is as if it had never been: until the unit has a package in the open cycle its exams
    age. A package that is still under way bears whatever its cycle is, since its due date may be running.
    """
    if not open_cycles:
        return tuple(each.release for each in packages)
    return tuple(
        each.release
        for each in packages
        if each.release.state not in _OVER
        or (each.cycle in open_cycles and each.release.state is not ReleaseState.CLOSED)
    )
