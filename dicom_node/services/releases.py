"""Testing packages: recorded, amended and closed by people; every change is kept."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, datetime

from dicom_node.accreditation.standing import ReleaseState
from dicom_node.archive.store import LocalArchive
from dicom_node.errors import OperatorError
from dicom_node.index import releases
from dicom_node.index.engine import Index
from dicom_node.index.releases import ReleaseVersion
from dicom_node.services import audit, records
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

    def __init__(self, *, archive: LocalArchive, index: Index, units: Collection[str]) -> None:
        """Work on ``index`` and the journal of ``archive`` for the configured ``units``."""
        self._archive = archive
        self._index = index
        self._units = units

    def record(
        self, unit_id: str, released_on: date, *, due_on: date | None, planned: bool, note: str, change: Change
    ) -> ReleaseVersion:
        """Record a testing package, or with ``planned`` the day one is expected.

        Raises OperatorError for an unknown unit, a day that does not fit, or a package of that day that is known.
        """
        if unit_id not in self._units:
            raise OperatorError(
                f"there is no unit {unit_id!a}; the units are {', '.join(sorted(self._units)) or 'none'}"
            )
        with self._index.read() as conn:
            known = [each for each in releases.current(conn, [unit_id]) if each.state is not ReleaseState.CLOSED]
        if any(each.released_on == released_on for each in known):
            raise OperatorError(f"a testing package of {unit_id} released on {released_on} is recorded already")
        new = ReleaseVersion(
            id=f"r{secrets.token_hex(3)}",
            version=1,
            unit_id=unit_id,
            released_on=released_on,
            due_on=due_on,
            state=ReleaseState.PLANNED if planned else ReleaseState.RECORDED,
            note=note,
            changed_by=change.by,
            changed_at=change.at,
        )
        return self._save(new, change)

    def amend(
        self,
        release_id: str,
        *,
        released_on: date | None = None,
        due_on: date | None = None,
        state: ReleaseState | None = None,
        note: str = "",
        change: Change,
    ) -> ReleaseVersion:
        """Change what is given of a package; the versions before stay. Raises OperatorError."""
        now = self._current(release_id)
        return self._save(
            replace(
                now,
                version=now.version + 1,
                released_on=released_on or now.released_on,
                due_on=due_on or now.due_on,
                state=state or now.state,
                note=note,
                changed_by=change.by,
                changed_at=change.at,
            ),
            change,
        )

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

    def _refuse_plan_over_open(self, planned: ReleaseVersion) -> None:
        """A plan would hide that the package which is out already still lacks an exam."""
        for each in self.in_force(planned.unit_id):
            if each.id != planned.id and each.state is ReleaseState.RECORDED:
                raise OperatorError(
                    f"the testing package {each.id} of {each.released_on} is still open: amend its state "
                    "(submitted, passed, deficient) or close it before you plan the next"
                )

    def _current(self, release_id: str) -> ReleaseVersion:
        now = self.history(release_id)[-1]
        if now.state is ReleaseState.CLOSED:
            raise OperatorError(f"testing package {release_id} is closed; record a new one")
        return now

    def _save(self, version: ReleaseVersion, change: Change) -> ReleaseVersion:
        if abs(version.released_on.year - change.today.year) > MOST_YEARS:
            raise OperatorError(f"{version.released_on} is not plausible: write the day as YYYY-MM-DD")
        if version.state is ReleaseState.PLANNED:
            self._refuse_plan_over_open(version)
        if version.state is ReleaseState.PLANNED and version.released_on < change.today:
            raise OperatorError(f"{version.released_on} is past: the package can only be recorded or closed")
        if version.state is ReleaseState.RECORDED and version.released_on > change.today:
            raise OperatorError(f"{version.released_on} is in the future: record the package as planned")
        if version.due_on is not None and version.due_on < version.released_on:
            raise OperatorError("a testing package cannot be due before it is released")
        records.save_release(self._archive.journal, version)
        with self._index.write() as conn:
            releases.insert(conn, version)
            want_review(conn)
        audit.release_recorded(
            self._archive.audit,
            by=change.by,
            unit_id=version.unit_id,
            state=version.state.value,
            released_on=version.released_on.isoformat(),
        )
        return version
