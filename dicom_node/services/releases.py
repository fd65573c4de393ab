"""Testing packages: recorded, amended and closed by people; every change is kept."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from sqlalchemy import Connection

from dicom_node.accreditation.cycles import facility_of
from dicom_node.accreditation.standing import ReleaseState
from dicom_node.accreditation.units import Unit
from dicom_node.archive.store import LocalArchive
from dicom_node.errors import OperatorError
from dicom_node.index import entries, releases
from dicom_node.index.engine import Index
from dicom_node.index.entries import EntryKind
from dicom_node.index.releases import ReleaseVersion
from dicom_node.services import audit, records
from dicom_node.services.cycles import cycle_of, default_cycle
from dicom_node.services.review import want_review


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Who changes something, when, and the facility's calendar day then."""

    by: str
    at: datetime
    today: date


MOST_YEARS = 5
"""A package is released within so many years of today; anything else is a slip of the pen."""


class Releases:
    """The testing packages of the facility's units."""

    def __init__(self, *, archive: LocalArchive, index: Index, units: Mapping[str, Unit]) -> None:
        """Work on ``index`` and the journal of ``archive`` for the configured ``units``, by id."""
        self._archive = archive
        self._index = index
        self._units = units

    def record(
        self,
        unit_id: str,
        released_on: date,
        *,
        due_on: date | None,
        planned: bool,
        note: str,
        change: Change,
        cycle_id: str | None = None,
    ) -> ReleaseVersion:
        """Record a testing package, or with ``planned`` the day one is expected.

        It belongs to the cycle given, else to the one that is open at the unit's facility, else to none. Raises
        OperatorError for an unknown unit or cycle, a day that does not fit, or a package of that day that is known.
        """
        made = self.made(
            unit_id,
            released_on,
            due_on=due_on,
            planned=planned,
            cycle_id=self._cycle(unit_id, cycle_id, change),
            note=note,
            change=change,
        )
        self.keep([made], change)
        return made

    def amend(
        self,
        release_id: str,
        *,
        released_on: date | None = None,
        due_on: date | None = None,
        state: ReleaseState | None = None,
        cycle_id: str | None = None,
        note: str = "",
        change: Change,
    ) -> ReleaseVersion:
        """Change what is given of a package; the versions before stay. Raises OperatorError."""
        now = self.history(release_id)[-1]
        if now.state is ReleaseState.CLOSED:
            raise OperatorError(f"testing package {release_id} is closed; record a new one")
        made = self.amended(
            now,
            released_on=released_on,
            due_on=due_on,
            state=state,
            cycle_id=None if cycle_id is None else self._cycle(now.unit_id, cycle_id, change),
            note=note,
            change=change,
        )
        self.keep([made], change)
        return made

    def close(self, release_id: str, *, note: str, change: Change) -> ReleaseVersion:
        """Close a package: it no longer bears on its unit. Raises OperatorError."""
        return self.amend(release_id, state=ReleaseState.CLOSED, note=note, change=change)

    def in_force(self, unit_id: str | None = None) -> list[ReleaseVersion]:
        """Return the version in force of every package, newest release day first."""
        with self._index.read() as conn:
            return releases.current(conn, None if unit_id is None else [unit_id])

    def history(self, release_id: str) -> list[ReleaseVersion]:
        """Return every version of a package, oldest first. Raises OperatorError."""
        with self._index.read() as conn:
            versions = releases.history(conn, release_id)
        if not versions:
            raise OperatorError(f"there is no testing package {release_id!a}; see: dicom-node release list")
        return versions

    def made(
        self,
        unit_id: str,
        released_on: date,
        *,
        due_on: date | None,
        planned: bool,
        cycle_id: str,
        note: str,
        change: Change,
    ) -> ReleaseVersion:
        """Return the first version of a package, which nobody has kept yet."""
        self._known(unit_id)
        return ReleaseVersion(
            id=f"r{secrets.token_hex(3)}",
            version=1,
            unit_id=unit_id,
            released_on=released_on,
            due_on=due_on,
            state=ReleaseState.PLANNED if planned else ReleaseState.RECORDED,
            note=note,
            cycle_id=cycle_id,
            changed_by=change.by,
            changed_at=change.at,
        )

    def amended(
        self,
        now: ReleaseVersion,
        *,
        released_on: date | None = None,
        due_on: date | None = None,
        state: ReleaseState | None = None,
        cycle_id: str | None = None,
        note: str,
        change: Change,
    ) -> ReleaseVersion:
        """Return the next version of a package with what is given changed, which nobody has kept yet."""
        return replace(
            now,
            version=now.version + 1,
            released_on=released_on or now.released_on,
            due_on=due_on or now.due_on,
            state=state or now.state,
            cycle_id=now.cycle_id if cycle_id is None else cycle_id,
            note=note,
            changed_by=change.by,
            changed_at=change.at,
        )

    def keep(self, versions: Sequence[ReleaseVersion], change: Change) -> None:
        """Keep versions of packages, all of them or none. Raises OperatorError for the first that does not fit."""
        if not versions:
            return
        with self._index.write() as conn:
            for each in versions:
                self._check(conn, each, change)
            for each in versions:
                if not releases.insert(conn, each):
                    raise OperatorError(f"{each.id} was changed meanwhile; look at it again")
            want_review(conn)
            # Last of what may fail, yet before the commit: what the journal has can be carried out.
            for each in versions:
                records.save_release(self._archive.journal, each)
        for each in versions:
            audit.release_recorded(
                self._archive.audit,
                by=change.by,
                release_id=each.id,
                version=each.version,
                unit_id=each.unit_id,
                state=each.state.value,
                released_on=each.released_on.isoformat(),
            )

    def _known(self, unit_id: str) -> Unit:
        if unit_id not in self._units:
            raise OperatorError(
                f"there is no unit {unit_id!a}; the units are {', '.join(sorted(self._units)) or 'none'}"
            )
        return self._units[unit_id]

    def _cycle(self, unit_id: str, cycle_id: str | None, change: Change) -> str:
        """Return the cycle a package of a unit belongs to: the one given, when it may, else the one that is open."""
        unit = self._known(unit_id)
        with self._index.read() as conn:
            if cycle_id is None:
                return default_cycle(conn, unit, change.today)
            versions = entries.history(conn, EntryKind.CYCLE, cycle_id)
        if not versions:
            raise OperatorError(f"there is no cycle {cycle_id!a}; see: dicom-node cycles list")
        cycle = cycle_of(versions[-1])
        if cycle.closed:
            raise OperatorError(f"cycle {cycle_id} is closed")
        if cycle.facility != facility_of(unit, change.today):
            raise OperatorError(f"cycle {cycle_id} is of {cycle.facility}, where {unit_id} is not enrolled")
        return cycle_id

    def _check(self, conn: Connection, version: ReleaseVersion, change: Change) -> None:
        """Refuse a version that does not fit its day or the other packages of its unit. Raises OperatorError."""
        if abs(version.released_on.year - change.today.year) > MOST_YEARS:
            raise OperatorError(f"{version.released_on} is not plausible: write the day as YYYY-MM-DD")
        for each in releases.current(conn, [version.unit_id]):
            if each.id == version.id or each.state is ReleaseState.CLOSED:
                continue
            if version.version == 1 and each.released_on == version.released_on:
                raise OperatorError(
                    f"a testing package of {version.unit_id} released on {version.released_on} is recorded already"
                )
            # A plan would hide that the package which is out already still lacks an exam.
            if version.state is ReleaseState.PLANNED and each.state is ReleaseState.RECORDED:
                raise OperatorError(
                    f"the testing package {each.id} of {each.released_on} is still open: amend its state "
                    "(submitted, passed, deficient) or close it before you plan the next"
                )
        if version.state is ReleaseState.PLANNED and version.released_on < change.today:
            raise OperatorError(f"{version.released_on} is past: the package can only be recorded or closed")
        if version.state is ReleaseState.RECORDED and version.released_on > change.today:
            raise OperatorError(f"{version.released_on} is in the future: record the package as planned")
        if version.due_on is not None and version.due_on < version.released_on:
            raise OperatorError("a testing package cannot be due before it is released")
