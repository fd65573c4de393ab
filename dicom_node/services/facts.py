"""What the index has of units, as far as their standings and what needs people there depend on it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, tzinfo

from sqlalchemy import Connection

from dicom_node.accreditation.months import first_day
from dicom_node.accreditation.policies import Policy
from dicom_node.accreditation.portions import COUNTING_PORTIONS, Portion
from dicom_node.accreditation.standing import CountingExam, Release, bearing_on, deciding_days
from dicom_node.accreditation.units import Enrolment, Registry, Unit
from dicom_node.index import exams, findings
from dicom_node.index.findings import Exams
from dicom_node.services.cycles import packages_by_unit
from dicom_node.services.devices import DeviceFacts, read_devices
from dicom_node.services.kept import read_surveys

AT_ONCE = 100
"""Units that are read together: few statements for many units, and none that takes long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFacts:
    """What there is of one unit. Equal facts make for equal standings and findings on one day."""

    exams: Mapping[Portion, tuple[CountingExam, ...]]
    """Of the exams that count those that a standing depends on, and the surveys."""
    packages: tuple[Release, ...]
    """The testing packages that bear on its standing: those of the enrolment in force."""
    undated: tuple[Exams, tuple[str, ...]] | None
    """Exams that would count had they a day, and what is wrong with their dates."""
    biopsies: tuple[Exams, tuple[str, ...]] | None
    """Clinical exams on a unit that is not applying, and their attachments."""
    waiting: tuple[str, ...]
    """Ids of exams that a person could find to be the unit's."""
    not_enrolled: Exams | None = None
    """Biopsies on days on which the unit was not enrolled."""
    devices: DeviceFacts = field(default_factory=DeviceFacts)


def read_facts(
    conn: Connection,
    units: Iterable[Unit],
    registry: Registry,
    policy: Policy,
    *,
    zone: tzinfo,
    listed: Collection[str],
    today: date,
) -> dict[str, UnitFacts]:
    """Read the facts of units for the local day ``today`` of ``zone``, by unit; ``listed`` AE titles may call."""
    found: dict[str, UnitFacts] = {}
    several = list(units)
    for start in range(0, len(several), AT_ONCE):
        some = several[start : start + AT_ONCE]
        facts = _read(conn, some, policy, today)
        newest = {unit_id: facts[unit_id].exams.get(Portion.CLINICAL, ()) for unit_id in facts}
        biopsies = {unit_id: max(each, key=lambda one: one.day) for unit_id, each in newest.items() if each}
        devices = read_devices(conn, some, registry, biopsies, zone=zone, listed=listed, today=today)
        found |= {unit_id: replace(each, devices=devices[unit_id]) for unit_id, each in facts.items()}
    return found


def _read(conn: Connection, units: Collection[Unit], policy: Policy, today: date) -> dict[str, UnitFacts]:
    since = first_day(today, policy.longest)
    unit_ids = [unit.id for unit in units]
    enrolled = {unit.id: unit.enrolment_on(today) for unit in units}
    packages = {
        unit_id: tuple(bearing_on(enrolled[unit_id], several))
        for unit_id, several in packages_by_unit(conn, units, today).items()
    }
    undated = findings.undated_exams(conn, unit_ids)
    biopsies = findings.biopsies_on(conn, [unit.id for unit in units if not unit.applying], since)
    waiting = findings.waiting_for(conn, unit_ids, since)
    with_spans = {unit.id: unit for unit in units if unit.enrolments and unit.applying}
    outside = findings.biopsies_outside(
        conn, with_spans.keys(), since, lambda unit_id, day: with_spans[unit_id].enrolment_on(day) is None
    )
    surveys: dict[str, list[CountingExam]] = {}
    for survey in read_surveys(conn, unit_ids):
        if not survey.withdrawn:
            surveys.setdefault(survey.unit, []).append(survey.counting())
    return {
        unit_id: UnitFacts(
            exams={
                portion: _newest(
                    conn,
                    unit_id,
                    portion,
                    deciding_days(packages[unit_id], policy.windows(portion), today),
                    enrolled[unit_id],
                )
                for portion in COUNTING_PORTIONS
            }
            | {Portion.PHYSICIST: tuple(surveys.get(unit_id, ()))},
            packages=packages[unit_id],
            undated=undated.get(unit_id),
            biopsies=biopsies.get(unit_id),
            waiting=waiting.get(unit_id, ()),
            not_enrolled=outside.get(unit_id),
        )
        for unit_id in unit_ids
    }


def _newest(
    conn: Connection, unit_id: str, portion: Portion, days: set[date], enrolment: Enrolment | None
) -> tuple[CountingExam, ...]:
    since = None if enrolment is None else enrolment.first_day
    found = (exams.newest_counting(conn, unit_id, portion, until, since) for until in sorted(days))
    return tuple(each for each in found if each is not None)
