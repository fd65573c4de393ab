"""What needs people in one unit beside its countdowns: its place in the accreditation, its clock, name, attachments."""

from collections.abc import Iterator, Sequence
from datetime import date, tzinfo
from typing import Any

from dicom_node.accreditation.drift import Drift, drift
from dicom_node.accreditation.moves import assigned_to
from dicom_node.accreditation.policies import Policy
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.reminders import Severity
from dicom_node.accreditation.standing import Standing
from dicom_node.accreditation.units import Registry, Unit
from dicom_node.alerts.notice import AlertKind
from dicom_node.services.devices import NewName
from dicom_node.services.facts import UnitFacts
from dicom_node.services.finding import LONGEST, Found, accredited_rule, iso, quoted, stage, told, week


def must_apply(unit: Unit, facts: UnitFacts, registry: Registry, policy: Policy, today: date) -> Iterator[Found]:
    """Yield the finding that a unit outside the accreditation is used for biopsies, or has what it takes."""
    assigned = set(assigned_to(unit, registry, today))
    if facts.biopsies is None and not assigned:
        return
    details: dict[str, Any] = {"rule": accredited_rule(policy)}
    if facts.biopsies is None:
        began, severity = stage("assigned"), Severity.WARNING
        details |= {"state": "assigned", "attachments": sorted(assigned)}
    else:
        several, attachments = facts.biopsies
        began, severity = stage("seen", week(several.last_received_at)), Severity.CRITICAL
        details |= {"state": "seen", "attachments": sorted(assigned | set(attachments))} | told(several)
    yield Found(
        key=f"unit_must_apply/{unit.id}",
        kind=AlertKind.UNIT_MUST_APPLY,
        severity=severity,
        stage=began,
        details=details,
        unit_id=unit.id,
    )


def not_enrolled(unit: Unit, facts: UnitFacts, policy: Policy) -> Iterator[Found]:
    """Yield the finding that biopsies were made on a unit on days on which it was not enrolled."""
    several = facts.not_enrolled
    if several is None:
        return
    yield Found(
        key=f"unregistered_unit/unit={unit.id}",
        kind=AlertKind.UNREGISTERED_UNIT,
        severity=Severity.CRITICAL,
        stage=stage("not enrolled", week(several.last_received_at)),
        details={
            "state": "seen",
            "enrolled": [[each.facility, iso(each.first_day), iso(each.last_day)] for each in unit.enrolments],
            "rule": accredited_rule(policy),
        }
        | told(several),
        unit_id=unit.id,
    )


def undated(unit: Unit, facts: UnitFacts, *, is_drifting: bool) -> Iterator[Found]:
    """Yield the finding that exams of a unit have no day; ``is_drifting``: its clock is told of beside it."""
    if facts.undated is None:
        return
    several, flags = facts.undated
    yield Found(
        key=f"undated/{unit.id}",
        kind=AlertKind.UNDATED,
        severity=Severity.WARNING,
        stage=stage("undated", week(several.last_received_at)),
        details={"state": "found", "flags": list(flags), "is_drifting": is_drifting} | told(several),
        unit_id=unit.id,
    )


def clock_drift(unit: Unit, facts: UnitFacts) -> Iterator[Found]:
    """Yield what the studies that a unit sent itself tell of its clock, and of its attachment workstation's."""
    for caller, sent in facts.devices.clocks:
        wrong = drift(sent)
        if wrong is not None:
            yield _wrong_clock(unit, caller, wrong)


def _wrong_clock(unit: Unit, caller: str, wrong: Drift) -> Found:
    direction = "ahead" if wrong.days > 0 else "behind"
    return Found(
        key=f"clock_drift/{unit.id}/{quoted(caller)}/{direction}",
        kind=AlertKind.CLOCK_DRIFT,
        severity=Severity.WARNING,
        stage=stage(direction),
        details={
            "state": "found",
            "sender": caller[:LONGEST],
            "days": wrong.days,
            "since": iso(wrong.since),
            "last": iso(wrong.last),
            "studies": wrong.studies,
        },
        unit_id=unit.id,
    )


def renamed_device(unit: Unit, facts: UnitFacts, zone: tzinfo) -> Iterator[Found]:
    """Yield the finding that a unit shows itself under other names than it has; days are those of ``zone``."""
    names = facts.devices.names
    if not names:
        return
    yield Found(
        key=f"renamed_device/{unit.id}",
        kind=AlertKind.RENAMED_DEVICE,
        severity=Severity.CRITICAL if any(each.is_refused for each in names) else Severity.WARNING,
        stage=stage("renamed", week(max(each.new.first_at for each in names).astimezone(zone))),
        details={
            "state": "seen" if any(each.is_refused for each in names) else "found",
            "names": [_name(each, zone) for each in names],
        },
        unit_id=unit.id,
    )


def _name(name: NewName, zone: tzinfo) -> dict[str, Any]:
    return {
        "key": name.of,
        "old": [each[:LONGEST] for each in name.old],
        "new": name.new.name[:LONGEST],
        "address": name.address,
        "since": iso(name.new.first_at.astimezone(zone).date()),
        "count": name.new.count,
        "refused": name.is_refused,
    }


def attachment_moved(
    unit: Unit, facts: UnitFacts, registry: Registry, standings: Sequence[Standing]
) -> Iterator[Found]:
    """Yield the finding that an attachment left a host, which gets no fresh cases any more."""
    left = facts.devices.left
    if left is None:
        return
    move = left.move
    clinical = next((each for each in standings if each.portion is Portion.CLINICAL), None)
    attachment = registry.attachments.get(move.attachment)
    hosts = sorted(left.last.items(), key=lambda each: (each[1], each[0]), reverse=True)
    yield Found(
        key=f"attachment_moved/{unit.id}/{quoted(move.attachment)}",
        kind=AlertKind.ATTACHMENT_MOVED,
        severity=Severity.WARNING,
        stage=stage("moved", move.since),
        details={
            "state": "seen" if move.seen else "assigned",
            "attachment": move.attachment,
            "attachment_label": attachment.label if attachment else move.attachment,
            "since": iso(move.since),
            "elsewhere": move.seen,
            "hosts": [[_label(host, registry), iso(day)] for host, day in hosts],
            "newest": iso(clinical.newest.day) if clinical and clinical.newest else None,
            "cutoff": iso(clinical.cutoff) if clinical else None,
        },
        unit_id=unit.id,
    )


def _label(unit_id: str, registry: Registry) -> str:
    return registry.units[unit_id].label if unit_id in registry.units else unit_id
