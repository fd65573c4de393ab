"""What people do about accreditation cycles: open, renew, add a unit, mark how far it is, amend, close.

A cycle is an entry (``services.entries``), its packages are testing packages (``services.releases``): every change of
either is a version of its own and kept. What one command sets for several units is set for all of them or for none.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from sqlalchemy import Connection

from dicom_node.accreditation.cycles import (
    Cycle,
    CycleState,
    Joining,
    Package,
    joining,
    units_of,
)
from dicom_node.accreditation.months import add_months
from dicom_node.accreditation.policies import Terms
from dicom_node.accreditation.standing import ReleaseState, due_day
from dicom_node.accreditation.units import OWN_FACILITY, Unit
from dicom_node.archive.store import LocalArchive
from dicom_node.errors import OperatorError
from dicom_node.index import releases
from dicom_node.index.engine import Index
from dicom_node.index.entries import Entry, EntryKind
from dicom_node.index.releases import ReleaseVersion
from dicom_node.services.cycles import cycle_of, read_cycles
from dicom_node.services.entries import Entries
from dicom_node.services.releases import MOST_YEARS, Change, Releases

MARKS = (ReleaseState.SUBMITTED, ReleaseState.PASSED, ReleaseState.DEFICIENT)
"""What became of a package that is out."""

_UNDER_WAY = (ReleaseState.PLANNED, ReleaseState.RECORDED)
_RESULTS = (ReleaseState.PASSED, ReleaseState.DEFICIENT)


class Outcome(StrEnum):
    """What a command did about one unit's package."""

    RECORDED = "recorded"
    AMENDED = "amended"
    LEFT = "left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command did about one unit, and in words why it did nothing."""

    unit: str
    outcome: Outcome
    package: ReleaseVersion | None
    """As it is now; None for a unit that has none."""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitOfCycle:
    """A unit in a cycle, with its package in force there."""

    unit: str
    package: str | None
    released_on: date | None
    due_on: date | None
    """As printed."""
    due: date | None
    """Printed, or computed for a package that is out or planned (``standing.due_day``)."""
    state: ReleaseState | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleView:
    """A cycle as people look at it on a day."""

    cycle: Cycle
    state: CycleState
    units: tuple[UnitOfCycle, ...]
    """The units that need a package in it, and those that have one."""
    lacking: tuple[str, ...]
    """Units without a package, not even a planned one; none when the cycle is closed."""
    unit_added_today: Joining | None
    """None when the cycle is closed."""
    versions: tuple[Entry, ...]
    """Oldest first."""


class Cycles:
    """The accreditation cycles of the facilities."""

    def __init__(self, *, archive: LocalArchive, index: Index, units: Mapping[str, Unit], terms: Terms) -> None:
        """Work on ``index`` and the journal of ``archive`` for the configured ``units``, by the policy's ``terms``."""
        self._index = index
        self._units = units
        self._terms = terms
        self._entries = Entries(EntryKind.CYCLE, archive=archive, index=index)
        self._releases = Releases(archive=archive, index=index, units=units)

    def open(self, facility: str, expires_on: date | None, *, note: str, change: Change) -> Cycle:
        """Open a cycle; ``expires_on`` is the last day of the accreditation it renews, None for the first one.

        Raises OperatorError for an unknown facility, one that has an open cycle, or a day that does not fit.
        """
        known = {OWN_FACILITY, *(each.facility for unit in self._units.values() for each in unit.enrolments)}
        if facility not in known:
            raise OperatorError(f"there is no facility {facility!a}; there are {', '.join(sorted(known))}")

        def check(conn: Connection) -> None:
            already = next((each for each in read_cycles(conn) if each.facility == facility and not each.closed), None)
            if already is not None:
                raise OperatorError(f"cycle {already.id} of {facility} is open: close it before you open the next")
            self._plausible(expires_on, change)

        data = {"facility": facility, "expires_on": _iso(expires_on), "closed": False}
        return cycle_of(self._entries.add(data, note=note, change=change, check=check))

    def amend(self, cycle_id: str, *, expires_on: date | None, note: str, change: Change) -> Cycle:
        """Change the expiry where one is given, or add a note. Raises OperatorError."""
        self._opened(cycle_id)
        self._plausible(expires_on, change)
        changed = {} if expires_on is None else {"expires_on": _iso(expires_on)}
        return cycle_of(self._entries.amend(cycle_id, changed, note=note, change=change))

    def close(self, cycle_id: str, *, note: str, change: Change) -> list[Done]:
        """Close a cycle, and with it the packages that are only planned.

        Raises OperatorError while a package of it is out or submitted: its end has to be told first.
        """
        cycle = self._opened(cycle_id)
        current = self._current(cycle.packages)
        pending = [each for each in current if each.state in (ReleaseState.RECORDED, ReleaseState.SUBMITTED)]
        if pending:
            told = ", ".join(f"{each.id} of {each.unit_id} is {each.state}" for each in pending)
            raise OperatorError(
                f"cycle {cycle_id} cannot be closed yet: {told}. Say what became of it "
                f"(dicom-node cycles mark {cycle_id} passed), or close it: dicom-node release close ID"
            )
        planned = [
            self._releases.amended(each, state=ReleaseState.CLOSED, note=note, change=change)
            for each in current
            if each.state is ReleaseState.PLANNED
        ]
        self._releases.keep(planned, change)
        self._entries.amend(cycle_id, {"closed": True}, note=note, change=change)
        return [Done(unit=each.unit_id, outcome=Outcome.AMENDED, package=each) for each in planned]

    def renew(
        self, cycle_id: str, released_on: date, *, due_on: date | None, planned: bool, note: str, change: Change
    ) -> list[Done]:
        """Set one release for all units that need a package in a cycle; one that is under way there is amended.

        A unit keeps what was submitted, a package that is out when the new one is only planned, and that of an
        addendum; when the result of that is known, the unit gets a package of the renewal as well.

        Raises OperatorError.
        """
        cycle = self._opened(cycle_id)
        unit_ids = units_of(cycle.facility, self._units.values(), change.today)
        if not unit_ids:
            raise OperatorError(f"no unit of {cycle.facility} is applying and in service")
        done: list[Done] = []
        for unit_id in unit_ids:
            now = self._in_cycle(cycle, unit_id, released_on)
            if now is None or (now.state in _RESULTS and self._is_addendum(cycle, now)):
                made = self._releases.made(
                    unit_id,
                    released_on,
                    due_on=due_on,
                    planned=planned,
                    cycle_id=cycle_id,
                    note=note,
                    change=change,
                )
                done.append(Done(unit=unit_id, outcome=Outcome.RECORDED, package=made))
                continue
            amended = self._releases.amended(
                now,
                released_on=released_on,
                due_on=due_on,
                state=ReleaseState.PLANNED if planned else ReleaseState.RECORDED,
                cycle_id=cycle_id,
                note=note,
                change=change,
            )
            why = self._why_left(cycle, now, amended)
            outcome = Outcome.LEFT if why else Outcome.AMENDED
            done.append(Done(unit=unit_id, outcome=outcome, package=now if why else amended, why=why))
        self._keep(done, change)
        return done

    def addendum(
        self,
        cycle_id: str,
        unit_id: str,
        released_on: date,
        *,
        due_on: date | None,
        planned: bool,
        note: str,
        change: Change,
    ) -> ReleaseVersion:
        """Give a unit that is added a package of its own in a cycle, whose expiry it inherits.

        Raises OperatorError when the unit does not need one there or has one, or when too little is left.
        """
        cycle = self._opened(cycle_id)
        if unit_id not in self._units:
            raise OperatorError(f"there is no unit {unit_id!a}; the units are {', '.join(sorted(self._units))}")
        if unit_id not in units_of(cycle.facility, self._units.values(), change.today):
            raise OperatorError(f"{unit_id} is not applying at {cycle.facility}: look at its configuration")
        now = cycle.package_of(unit_id)
        if now is not None:
            raise OperatorError(f"{unit_id} has the package {now.id} in cycle {cycle_id}: dicom-node release amend")
        added_on = min(released_on, change.today)
        match joining(cycle.expires_on, added_on, self._terms):
            case Joining.FIRST:
                raise OperatorError(
                    f"cycle {cycle_id} is a first accreditation, to which nothing is added: "
                    f"dicom-node release record {unit_id}"
                )
            case Joining.EARLY_RENEWAL:
                assert cycle.expires_on is not None  # else it were the first
                months = self._terms.addendum_months
                raise OperatorError(
                    f"{unit_id} is no addendum: from {add_months(cycle.expires_on, -months)} on, {months} months "
                    f"before the expiry on {cycle.expires_on}, all units renew early: "
                    f"dicom-node cycles renew {cycle_id}"
                )
        return self._releases.record(
            unit_id, released_on, due_on=due_on, planned=planned, note=note, change=change, cycle_id=cycle_id
        )

    def mark(
        self, cycle_id: str, state: ReleaseState, *, unit_id: str | None = None, note: str, change: Change
    ) -> list[Done]:
        """Say that the packages of a cycle were submitted, passed, or found deficient (``MARKS``), or one unit's was.

        For the whole cycle a package that passed stays as it is, and a deficient one passes by its own mark alone: the
        result of the others says nothing of it. Raises OperatorError when nothing can be marked.
        """
        cycle = self._opened(cycle_id)
        units = [unit_id] if unit_id is not None else [each.unit for each in self._of_units(cycle, change.today)]
        done: list[Done] = []
        for each in units:
            package = cycle.package_of(each)
            if package is None:
                done.append(Done(unit=each, outcome=Outcome.LEFT, package=None, why="it has no package in this cycle"))
                continue
            now = self._releases.history(package.id)[-1]
            why = ""
            if now.state is ReleaseState.PLANNED:
                why = f"its package {now.id} is only planned: record it first"
            elif now.state is state:
                why = f"its package {now.id} is {state} already"
            elif now.state is ReleaseState.PASSED and unit_id is None:
                why = f"its package {now.id} has passed"
            elif (now.state, state) == (ReleaseState.DEFICIENT, ReleaseState.PASSED) and unit_id is None:
                why = f"its package {now.id} is deficient: give --unit {each} if it has passed after all"
            amended = self._releases.amended(now, state=state, note=note, change=change)
            outcome = Outcome.LEFT if why else Outcome.AMENDED
            done.append(Done(unit=each, outcome=outcome, package=now if why else amended, why=why))
        if all(each.outcome is Outcome.LEFT for each in done):
            told = "; ".join(f"{each.unit}: {each.why}" for each in done) or "it has no unit"
            raise OperatorError(f"nothing of cycle {cycle_id} can be marked {state}: {told}")
        self._keep(done, change)
        return done

    def views(self, today: date) -> list[CycleView]:
        """Return every cycle as it is on a day, those that are open first."""
        return [self._view(each, today) for each in self._all()]

    def view(self, cycle_id: str, today: date) -> CycleView:
        """Return one cycle as it is on a day. Raises OperatorError."""
        return self._view(self._one(cycle_id), today)

    def _view(self, cycle: Cycle, today: date) -> CycleView:
        needed = units_of(cycle.facility, self._units.values(), today)
        return CycleView(
            cycle=cycle,
            state=cycle.state(needed),
            units=tuple(self._of_units(cycle, today)),
            lacking=() if cycle.closed else tuple(cycle.lacking(needed)),
            unit_added_today=None if cycle.closed else joining(cycle.expires_on, today, self._terms),
            versions=tuple(self._entries.history(cycle.id)),
        )

    def _of_units(self, cycle: Cycle, today: date) -> list[UnitOfCycle]:
        """Return the units that need a package in a cycle, unless it is closed, and those that have one."""
        needed = [] if cycle.closed else units_of(cycle.facility, self._units.values(), today)
        having = sorted({each.unit for each in cycle.packages} - set(needed))
        return [
            self._of_unit(unit, cycle.package_of(unit))
            for unit in (*needed, *having)
            if unit in needed or cycle.package_of(unit) is not None
        ]

    def _of_unit(self, unit: str, package: Package | None) -> UnitOfCycle:
        release = None if package is None else package.release
        return UnitOfCycle(
            unit=unit,
            package=None if package is None else package.id,
            released_on=None if release is None else release.released_on,
            due_on=None if release is None else release.due_on,
            due=None if release is None else due_day(release, self._terms),
            state=None if release is None else release.state,
        )

    def _in_cycle(self, cycle: Cycle, unit_id: str, released_on: date) -> ReleaseVersion | None:
        """Return the package of a unit in a cycle; without one, that of no cycle which has the same release."""
        package = cycle.package_of(unit_id)
        if package is not None:
            return self._releases.history(package.id)[-1]
        return next(
            (
                each
                for each in self._releases.in_force(unit_id)
                if not each.cycle_id and each.released_on == released_on and each.state in _UNDER_WAY
            ),
            None,
        )

    def _is_addendum(self, cycle: Cycle, package: ReleaseVersion) -> bool:
        """Tell it by its day: packages of a renewal are not released when a unit could still be an addendum."""
        return joining(cycle.expires_on, package.released_on, self._terms) is Joining.ADDENDUM

    def _why_left(self, cycle: Cycle, now: ReleaseVersion, amended: ReleaseVersion) -> str:
        """Tell why a renewal leaves a package as it is; "" when it amends it."""
        if now.state is ReleaseState.DEFICIENT:
            return (
                f"its package {now.id} of {now.released_on} is deficient; when that of its next testing is out: "
                f"dicom-node release record {now.unit_id}"
            )
        if now.state not in _UNDER_WAY:
            return f"its package {now.id} of {now.released_on} is {now.state}"
        if self._is_addendum(cycle, now):
            return f"its package {now.id} of {now.released_on} is that of an addendum"
        if now.state is ReleaseState.RECORDED and amended.state is ReleaseState.PLANNED:
            return f"its package {now.id} of {now.released_on} is out already"
        if (now.released_on, now.due_on, now.state, now.cycle_id) == (
            amended.released_on,
            amended.due_on,
            amended.state,
            amended.cycle_id,
        ):
            return f"its package {now.id} says so already"
        return ""

    def _keep(self, done: Iterable[Done], change: Change) -> None:
        changed = [each.package for each in done if each.outcome is not Outcome.LEFT and each.package is not None]
        self._releases.keep(changed, change)

    def _current(self, packages: Iterable[Package]) -> Sequence[ReleaseVersion]:
        wanted = {each.id for each in packages}
        with self._index.read() as conn:
            found = [each for each in releases.current(conn) if each.id in wanted]
        return sorted(found, key=lambda each: (each.unit_id, each.released_on))

    def _all(self) -> list[Cycle]:
        with self._index.read() as conn:
            return read_cycles(conn)

    def _one(self, cycle_id: str) -> Cycle:
        found = next((each for each in self._all() if each.id == cycle_id), None)
        if found is None:
            raise OperatorError(f"there is no cycle {cycle_id!a}; see: dicom-node cycles list")
        return found

    def _opened(self, cycle_id: str) -> Cycle:
        cycle = self._one(cycle_id)
        if cycle.closed:
            raise OperatorError(f"cycle {cycle_id} is closed; what it was stays as it is")
        return cycle

    def _plausible(self, expires_on: date | None, change: Change) -> None:
        if expires_on is not None and abs(expires_on.year - change.today.year) > MOST_YEARS:
            raise OperatorError(f"{expires_on} is not plausible: write the day as YYYY-MM-DD")


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
