"""The units with what was done on them, and what retiring one means: what people ask before they change something."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection

from dicom_node.accreditation.evidence import is_sender
from dicom_node.accreditation.months import first_day
from dicom_node.accreditation.moves import assigned_to
from dicom_node.accreditation.portions import COUNTING_PORTIONS, Portion
from dicom_node.accreditation.signals import Role, Signals
from dicom_node.accreditation.standing import Standing
from dicom_node.accreditation.units import Assignment, Attachment, Facility, Identity, Registry, Unit
from dicom_node.index import alerts, exams, releases, usage
from dicom_node.index.alerts import FIRING, Alert, Silence
from dicom_node.index.engine import Index
from dicom_node.index.releases import ReleaseVersion
from dicom_node.index.usage import Shown
from dicom_node.services.found import Rules, whats_so
from dicom_node.services.kept import read_surveys
from dicom_node.services.readiness import Readiness, read_readiness


class UnitState(StrEnum):
    """Whether a unit takes part in the accreditation on a day."""

    APPLYING = "applying"
    NOT_APPLYING = "not applying"
    NOT_ENROLLED = "not enrolled"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSummary:
    """One unit in short. Days are the facility's, times aware UTC."""

    unit: Unit
    state: UnitState
    facility: Facility | None
    """Where it is enrolled today."""
    attachments: tuple[str, ...]
    """Ids of those that are assigned to it today."""
    last_received_at: datetime | None
    last_days: Mapping[Portion, date | None]
    """Day of the last exam, or survey, of each portion of a submission, whichever enrolment it was made in."""
    biopsies: int
    """Made in the months that were asked about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenDevice:
    """One way in which images of a unit came, held against the configuration."""

    shown: Shown
    sender: str
    """The entry of the configuration that lists who sent them, such as ``units.prone1``; "" for none."""
    serial_listed: bool
    """The unit's identities name the serial number; or they name none, or the images tell none."""
    station_listed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitDetails:
    """All there is to know of one unit."""

    summary: UnitSummary
    assignments: tuple[tuple[Attachment, Assignment], ...]
    seen: tuple[SeenDevice, ...]
    packages: tuple[ReleaseVersion, ...]
    readiness: Readiness
    firing: tuple[Alert, ...]
    silence: Silence | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retirement:
    """What it means to retire a unit."""

    before: tuple[Standing, ...]
    """Standings today."""
    after_on: date
    """The first day on which the unit is retired, or today when that is later."""
    after: tuple[Standing, ...]
    """Standings on that day."""
    ends: tuple[Alert, ...]
    """Alerts that fire now and will not fire then."""
    later_exams: tuple[str, ...]
    """Exams that count and were made after the last day in service."""


def state_on(unit: Unit, day: date) -> UnitState:
    """Tell whether a unit takes part on a day."""
    if unit.retired_on is not None and unit.retired_on < day:
        return UnitState.RETIRED
    if not unit.applying:
        return UnitState.NOT_APPLYING
    return UnitState.NOT_ENROLLED if unit.enrolment_on(day) is None else UnitState.APPLYING


def unit_summaries(
    index: Index, registry: Registry, *, today: date, months: int, unit_ids: Collection[str] | None = None
) -> list[UnitSummary]:
    """Return the units, all or those of ``unit_ids``, with the biopsies of so many calendar months up to today.

    Raises DatabaseError.
    """
    with index.read() as conn:
        return _summaries(conn, registry, today=today, months=months, unit_ids=unit_ids)


def unit_details(index: Index, rules: Rules, unit_id: str, *, today: date, months: int) -> UnitDetails:
    """Return all there is to know of a configured unit on the local day ``today``. Raises DatabaseError."""
    registry = rules.registry
    with index.read() as conn:
        (summary,) = _summaries(conn, registry, today=today, months=months, unit_ids=[unit_id])
        return UnitDetails(
            summary=summary,
            assignments=tuple(
                (attachment, each)
                for attachment in registry.attachments.values()
                for each in attachment.assignments
                if each.unit == unit_id
            ),
            seen=tuple(_held_against(registry, unit_id, usage.shown_by(conn, unit_id, first_day(today, months)))),
            packages=tuple(releases.current(conn, [unit_id])),
            readiness=read_readiness(conn, rules, [unit_id], today)[0],
            firing=tuple(alerts.list_alerts(conn, state=FIRING, unit_ids=[unit_id])),
            silence=alerts.silences(conn, today).get(unit_id),
        )


def retirement(
    index: Index, rules: Rules, changed: Registry, unit_id: str, *, last_day: date, today: date
) -> Retirement:
    """Tell what retiring a unit after ``last_day`` means; ``changed`` is the registry in which it is retired.

    Nothing is written. Raises DatabaseError.
    """
    after_on = max(today, last_day + timedelta(days=1))
    with index.read() as conn:
        before = whats_so(conn, rules, [unit_id], today)[unit_id]
        after = whats_so(conn, replace(rules, registry=changed), [unit_id], after_on)[unit_id]
        firing = alerts.list_alerts(conn, state=FIRING, unit_ids=[unit_id])
        later = exams.listed(conn, unit_id=unit_id, since=last_day + timedelta(days=1))
    still = {each.key for each in after.found}
    return Retirement(
        before=before.standings,
        after_on=after_on,
        after=after.standings,
        ends=tuple(each for each in firing if each.key not in still),
        later_exams=tuple(each.id for each in later if each.counts),
    )


def _summaries(
    conn: Connection, registry: Registry, *, today: date, months: int, unit_ids: Collection[str] | None
) -> list[UnitSummary]:
    received = exams.last_received(conn)
    biopsies = usage.biopsies_since(conn, first_day(today, months))
    surveys: dict[str, date] = {}
    for survey in read_surveys(conn, unit_ids):
        if not survey.withdrawn and survey.day <= today:
            surveys[survey.unit] = max(survey.day, surveys.get(survey.unit, survey.day))
    found = []
    for unit in registry.units.values():
        if unit_ids is not None and unit.id not in unit_ids:
            continue
        enrolment = unit.enrolment_on(today)
        newest = {each: exams.newest_counting(conn, unit.id, each, today) for each in COUNTING_PORTIONS}
        found.append(
            UnitSummary(
                unit=unit,
                state=state_on(unit, today),
                facility=None if enrolment is None else registry.facilities[enrolment.facility],
                attachments=assigned_to(unit, registry, today),
                last_received_at=received.get(unit.id),
                last_days={portion: each.day if each is not None else None for portion, each in newest.items()}
                | {Portion.PHYSICIST: surveys.get(unit.id)},
                biopsies=biopsies.get(unit.id, 0),
            )
        )
    return found


def _held_against(registry: Registry, unit_id: str, several: Collection[Shown]) -> list[SeenDevice]:
    unit = registry.units[unit_id]
    serials = {each.device_serial.casefold() for each in unit.identities if each.device_serial}
    stations = {each.station_name.casefold() for each in unit.identities if each.station_name}
    return [
        SeenDevice(
            shown=each,
            sender=_listed(registry, each),
            serial_listed=not serials or not each.serial or each.serial.casefold() in serials,
            station_listed=not stations or not each.station or each.station.casefold() in stations,
        )
        for each in several
    ]


def _listed(registry: Registry, shown: Shown) -> str:
    """Return the first entry of the configuration by which a sender may call."""
    entries: list[tuple[str, Identity]] = [
        (f"units.{unit.id}", identity) for unit in registry.units.values() for identity in unit.identities
    ]
    entries += [(f"attachments.{a.id}", identity) for a in registry.attachments.values() for identity in a.identities]
    entries += [(f"senders.{sender.id}", sender.identity) for sender in registry.senders.values()]
    signals = Signals(role=Role.PRIMARY, calling_ae=shown.calling_ae, peer_address=shown.peer_address)
    return next((name for name, identity in entries if is_sender(identity, signals)), "")
