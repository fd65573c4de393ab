"""What a unit has for its submission, and what is missing: the three portions, the technologist's logs."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection

from dicom_node.accreditation.cycles import Cycle, facility_of
from dicom_node.accreditation.policies import Terms
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.standing import CountingExam, ReleaseState, Standing, State
from dicom_node.accreditation.surveys import Coverage, LogKind, QcLog, coverage
from dicom_node.accreditation.units import Unit
from dicom_node.index import releases
from dicom_node.index.documents import Document
from dicom_node.index.releases import ReleaseVersion
from dicom_node.services.cycles import default_cycle, read_cycles
from dicom_node.services.found import Rules, whats_so
from dicom_node.services.kept import read_logs
from dicom_node.services.surveys import proposals

_ASKED_FOR = (ReleaseState.PLANNED, ReleaseState.RECORDED)
"""States of a package that still asks for something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortionReadiness:
    """One portion of a unit."""

    standing: Standing
    counts: CountingExam | None
    """The exam or survey that counts: for the package that is out, else for one released today. None: none does."""
    missing: str
    """What the submission lacks, in words; "" for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What there is for the submission of one unit on a local day."""

    unit: Unit
    today: date
    facility: str
    """Id of the facility it is enrolled at."""
    cycle: Cycle | None
    """That of the package in force, else the one that is open; None when there is none, or several are open."""
    release: ReleaseVersion | None
    """The testing package in force."""
    portions: tuple[PortionReadiness, ...]
    logs: tuple[Coverage, ...]
    """Of each kind, up to the release that is out, else up to today; none of a unit of which nothing is asked."""
    proposed: tuple[Document, ...]
    """Documents that may be reports of a survey."""

    @property
    def missing(self) -> tuple[str, ...]:
        """What the submission lacks, in words; none while nothing is asked of the unit."""
        lacking = [each.missing for each in self.portions if each.missing]
        if self._is_asked:
            lacking += [gap for each in self.logs if (gap := _gap_words(each))]
        return tuple(lacking)

    @property
    def _is_asked(self) -> bool:
        return bool(self.logs) and (self.release is None or self.release.state in _ASKED_FOR)


def read_readiness(conn: Connection, rules: Rules, unit_ids: Iterable[str], today: date) -> list[Readiness]:
    """Return what configured units have for their submission, by what is on file, in the order of ``unit_ids``.

    Works in the caller's transaction. Raises DatabaseError.
    """
    several = list(unit_ids)
    standings = {unit_id: each.standings for unit_id, each in whats_so(conn, rules, several, today).items()}
    versions = releases.current(conn, several)
    cycles = {each.id: each for each in read_cycles(conn)}
    logs, proposed = read_logs(conn, several), proposals(conn, several)
    found = []
    for unit_id in several:
        unit, of_unit = rules.registry.units[unit_id], standings[unit_id]
        release = _version(versions, of_unit[0])
        cycle_id = release.cycle_id if release is not None and release.cycle_id else default_cycle(conn, unit, today)
        own_logs = [each for each in logs if each.unit == unit_id]
        found.append(
            Readiness(
                unit=unit,
                today=today,
                facility=facility_of(unit, today),
                cycle=cycles.get(cycle_id),
                release=release,
                portions=tuple(_portion(each) for each in of_unit),
                logs=_coverage(of_unit[0], own_logs, rules.policy.terms, today),
                proposed=tuple(each for each in proposed if each.unit_id == unit_id),
            )
        )
    return found


def _version(versions: Iterable[ReleaseVersion], standing: Standing) -> ReleaseVersion | None:
    own = (each for each in versions if each.unit_id == standing.unit)
    return next((each for each in own if each.release == standing.release), None)


def _portion(standing: Standing) -> PortionReadiness:
    evidence, newest = standing.portion.evidence, standing.newest
    counts, missing = None, ""
    match standing.state:
        case State.SECURED | State.NEARING:
            counts = newest
        case State.OK if standing.cutoff is not None:
            counts = newest
        case State.LAPSED:
            missing = f"a {evidence}: the newest counted for packages released up to {standing.last_release}"
        case State.SHORT:
            missing = f"a {evidence} performed from {standing.window_first} to {standing.window_last}"
        case State.MISSING:
            known = "recorded" if standing.portion is Portion.PHYSICIST else "on file"
            missing = f"a {evidence}: none is {known}"
    return PortionReadiness(standing=standing, counts=counts, missing=missing)


def _coverage(standing: Standing, logs: Iterable[QcLog], terms: Terms, today: date) -> tuple[Coverage, ...]:
    if standing.state in (State.RETIRED, State.NOT_REQUIRED):
        return ()
    release, own = standing.release, list(logs)
    is_out = release is not None and release.state not in (ReleaseState.PLANNED, ReleaseState.CLOSED)
    until = min(release.released_on, today) if release is not None and is_out else today
    return tuple(coverage(own, kind, terms, until) for kind in LogKind)


def _gap_words(each: Coverage) -> str:
    gaps = ", ".join(str(gap.first) if gap.first == gap.last else f"{gap.first} to {gap.last}" for gap in each.gaps)
    return f"{each.kind} logs of {gaps}" if gaps else ""
