"""What needs people on a given day, worked out from the index and the configuration alone.

A ``Found`` is an alert as it should be, whatever was said before; ``services.review`` holds it against the alert rows.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection

from dicom_node.accreditation.explain import arithmetic_sentence, due_sentence, override_sentence, rule_sentence
from dicom_node.accreditation.milestones import (
    DEFAULT_LADDER,
    MilestoneKind,
    MilestoneState,
    milestone_reminder,
    milestone_rule,
    next_milestone_reminder,
)
from dicom_node.accreditation.months import first_day
from dicom_node.accreditation.policies import Policy
from dicom_node.accreditation.portions import COUNTING_PORTIONS, PORTIONS, Portion
from dicom_node.accreditation.reminders import Severity, due_reminder, next_reminder
from dicom_node.accreditation.standing import ReleaseState, Standing, State, is_not_watched, standing
from dicom_node.accreditation.units import Registry, Unit
from dicom_node.alerts.notice import AlertKind
from dicom_node.alerts.phrases import counted
from dicom_node.index import findings
from dicom_node.index.alerts import Condition
from dicom_node.index.findings import Exams
from dicom_node.services.facts import UnitFacts, read_facts
from dicom_node.services.milestones import CycleAhead, ahead_sentences, cycles_ahead, is_next_cycle_missing

_CERTIFICATE_DAYS = (30, 7, 1)
"""Days before its end on which people are told of a certificate."""

_LONGEST = 64
"""Characters of a device's own text that are used; the standard allows no longer value (LO, PS3.5 6.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateEnd:
    """A certificate that associations by TLS need, and its last day."""

    key: str
    """The configuration's key of its file."""
    subject: str
    """Whose it is, printable; "" when it does not say."""
    fingerprint: str
    ends: date
    """The facility's day on which it stops being accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What standings are judged by: the units, the policy, and the days before on which people are reminded.

    And the certificates that run out like exams do.
    """

    registry: Registry
    policy: Policy
    ladders: Mapping[Portion, tuple[int, ...]]
    milestone_ladder: tuple[int, ...] = DEFAULT_LADDER
    certificates: tuple[CertificateEnd, ...] = ()

    def ahead(self, conn: Connection, today: date) -> list[str]:
        """Say what comes next in each open accreditation cycle."""
        cycles = cycles_ahead(conn, self.registry.units.values(), self.policy, today)
        return ahead_sentences(cycles, today, is_unwatched=is_next_cycle_missing(conn))

    @property
    def oldest_months(self) -> int:
        """The longest window of the policy, in calendar months: what is older cannot count any more."""
        return self.policy.longest


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Condition):
    """An alert as it should be. ``details`` are JSON values; their ``state`` tells how bad it is."""

    kind: AlertKind
    severity: Severity
    stage: str
    """What people are to be told of next: the day it began, as ISO text, and a word. A later one is told again."""
    unit_id: str = ""
    portion: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Where a unit stands in each portion, and what needs people there."""

    standings: tuple[Standing, ...] = ()
    found: tuple[Found, ...] = ()


def whats_so(conn: Connection, rules: Rules, unit_ids: Iterable[str], today: date) -> dict[str, Situation]:
    """Return by unit what is so on the local day ``today``.

    Of "" it is what concerns no known unit; of a unit that is not configured it is nothing.
    """
    asked = list(unit_ids)
    units = [rules.registry.units[unit_id] for unit_id in asked if unit_id in rules.registry.units]
    facts = read_facts(conn, units, rules.policy, today)
    situations = {unit_id: Situation() for unit_id in asked}
    situations |= {unit.id: situation(unit, facts[unit.id], rules, today) for unit in units}
    if "" in situations:
        situations[""] = Situation(found=tuple(of_site(conn, rules, today)))
    return situations


def situation(unit: Unit, facts: UnitFacts, rules: Rules, today: date) -> Situation:
    """Work out what is so of a unit from what the index has of it."""
    standings = tuple(
        standing(
            unit,
            portion,
            facts.exams[portion],
            facts.packages,
            rules.policy,
            today=today,
            warn_days=max(rules.ladders[portion]),
        )
        for portion in PORTIONS
    )
    return Situation(standings=standings, found=tuple(_of_unit(unit, facts, standings, rules, today)))


def _of_unit(unit: Unit, facts: UnitFacts, standings: Sequence[Standing], rules: Rules, today: date) -> Iterator[Found]:
    """Yield what needs people in one unit."""
    if any(each.state is State.RETIRED for each in standings):
        return
    if not unit.applying:
        yield from _must_apply(unit, facts, rules, today)
    for each in standings:
        yield from _eligibility(facts, each, standings, rules, today)
    if facts.undated is not None and unit.applying:
        several, flags = facts.undated
        yield Found(
            key=f"undated/{unit.id}",
            kind=AlertKind.UNDATED,
            severity=Severity.WARNING,
            stage=_stage("undated", _week(several.last_received_at)),
            details={"state": "found", "flags": list(flags)} | _told(several),
            unit_id=unit.id,
        )


def of_site(conn: Connection, rules: Rules, today: date) -> list[Found]:
    """Return what needs people and concerns no known unit."""
    since = first_day(today, rules.oldest_months)
    found = [
        Found(
            key=f"unregistered_unit/{_device(device.serial, device.station)}",
            kind=AlertKind.UNREGISTERED_UNIT,
            severity=Severity.CRITICAL,
            stage=_stage("unregistered", _week(device.exams.last_received_at)),
            details={
                "state": "found",
                "serial": device.serial[:_LONGEST],
                "station": device.station[:_LONGEST],
                "manufacturer": device.manufacturer[:_LONGEST],
                "sender": device.sender,
                "rule": _accredited_rule(rules.policy),
            }
            | _told(device.exams),
        )
        for device in findings.unknown_devices(conn, since)
    ]
    found += [
        Found(
            key=f"unattributed/{_sender(waiting.sender)}",
            kind=AlertKind.UNATTRIBUTED,
            severity=Severity.WARNING,
            stage=_stage("unattributed", _week(waiting.exams.last_received_at)),
            details={
                "state": "found",
                "sender": waiting.sender,
                "candidates": list(waiting.candidates),
                "doubts": list(waiting.doubts),
            }
            | _told(waiting.exams),
        )
        for waiting in findings.unattributed_exams(conn, since)
    ]
    found += [
        Found(
            key=f"conflict/{_sender(conflict.sender)}",
            kind=AlertKind.CONFLICT,
            severity=Severity.WARNING,
            stage=_stage("conflict", _week(conflict.last_received_at)),
            details={
                "state": "found",
                "sender": conflict.sender,
                "count": conflict.count,
                "studies": conflict.studies,
            },
        )
        for conflict in findings.conflicts(conn)
    ]
    cycles = cycles_ahead(conn, rules.registry.units.values(), rules.policy, today)
    found += [each for ahead in cycles for each in _milestones(ahead, rules, today)]
    return found + [each for end in rules.certificates for each in _certificate(end, today)]


def _milestones(ahead: CycleAhead, rules: Rules, today: date) -> Iterator[Found]:
    """Yield the reminders of a cycle that hold today."""
    days = {each.kind: each.day for each in ahead.milestones}
    for each in ahead.milestones:
        reminder = milestone_reminder(ahead.cycle.id, each, rules.milestone_ladder, today)
        following = next_milestone_reminder(ahead.cycle.id, each, rules.milestone_ladder, today)
        if reminder is None:
            continue
        yield Found(
            key=reminder.key,
            kind=AlertKind.MILESTONE,
            severity=reminder.severity,
            stage=_stage(reminder.stage, reminder.on),
            details={
                "state": "lapsed" if each.state is MilestoneState.PAST else "nearing",
                "milestone": each.kind.value,
                "cycle": ahead.cycle.id,
                "facility": ahead.cycle.facility,
                "day": each.day.isoformat(),
                "is_estimate": each.is_estimate,
                "has_passed": each.is_quiet,
                "expires_on": _iso(ahead.cycle.expires_on),
                "application_on": _iso(days.get(MilestoneKind.APPLICATION)),
                "policy_id": ahead.policy_id,
                "rule": milestone_rule(each.kind, rules.policy),
                "arithmetic": each.arithmetic,
                "next_on": _iso(following.on if following else None),
            },
        )


def _certificate(end: CertificateEnd, today: date) -> Iterator[Found]:
    left = (end.ends - today).days
    due = min((days for days in _CERTIFICATE_DAYS if left <= days), default=None)
    if due is None:
        return
    has_ended = left < 0
    yield Found(
        key=f"certificate/{end.key}/{end.fingerprint[:16]}",
        kind=AlertKind.CERTIFICATE,
        severity=Severity.CRITICAL if left <= _CERTIFICATE_DAYS[-1] else Severity.WARNING,
        stage=_stage("ended", end.ends) if has_ended else _stage("ends", end.ends - timedelta(days=due)),
        details={
            "state": "lapsed" if has_ended else "nearing",
            "key": end.key,
            "subject": end.subject,
            "ends": end.ends.isoformat(),
        },
    )


def _eligibility(
    facts: UnitFacts, each: Standing, standings: Sequence[Standing], rules: Rules, today: date
) -> list[Found]:
    """Return the reminder that holds for a portion; a missing exam is told of once the unit is in use.

    A survey that was never recorded is not told of.
    """
    ladder = rules.ladders[each.portion]
    reminder, following = due_reminder(each, ladder, today), next_reminder(each, ladder, today)
    if reminder is not None:
        key, stage, severity = reminder.key, _stage(reminder.stage, reminder.on), reminder.severity
    elif each.state is State.MISSING and each.portion in COUNTING_PORTIONS and _is_in_use(standings):
        key, stage, severity = f"eligibility/{each.unit}/{each.portion}/missing", _stage("missing"), Severity.WARNING
    else:
        return []
    release, windows = each.release, rules.policy.windows(each.portion)
    planned = release is not None and release.state is ReleaseState.PLANNED
    details = {
        "state": each.state.value,
        "rule": _rule(rules.policy, each, today),
        "arithmetic": _arithmetic(rules.policy, each),
        "policy_id": each.policy_id,
        "months": windows.months_on(release.released_on if release and not planned else each.cutoff or today),
        "exam_id": each.newest.exam_id if each.newest else "",
        "exam_day": _iso(each.newest.day if each.newest else None),
        "cutoff": _iso(each.cutoff),
        "last_release": _iso(each.last_release),
        "release_on": _iso(release.released_on if release and not planned else None),
        "planned_on": _iso(release.released_on if release and planned else None),
        "counts_for_planned": each.counts_for_planned,
        "window_first": _iso(each.window_first),
        "window_last": _iso(each.window_last),
        "next_on": _iso(following.on if following else None),
        "also": _also(facts, each, standings),
    }
    return [
        Found(
            key=key,
            kind=AlertKind.ELIGIBILITY,
            severity=severity,
            stage=stage,
            details=details,
            unit_id=each.unit,
            portion=each.portion.value,
        )
    ]


def _arithmetic(policy: Policy, each: Standing) -> str:
    """Say how the day follows that is counted down to; "" when none is."""
    if each.state is State.SHORT and each.release is not None:
        return due_sentence(each.release, policy.terms)
    if each.newest is None or each.counts_until is None or each.cutoff is None:
        return ""
    return arithmetic_sentence(policy.windows(each.portion), each.newest.day, each.cutoff)


def _also(facts: UnitFacts, each: Standing, standings: Iterable[Standing]) -> list[str]:
    """Say what is worth knowing beside an alert: the other portions, and exams nobody could place."""
    sentences = [_in_short(other) for other in standings if other.portion is not each.portion]
    if facts.waiting:
        shown = ", ".join(facts.waiting[: findings.SHOWN])
        sentences.append(
            f"{counted(len(facts.waiting), 'exam')} that nobody could place may be of this unit; look first at {shown} "
            "(dicom-node exams show EXAM)."
        )
    return [sentence for sentence in sentences if sentence]


def _is_in_use(standings: Iterable[Standing]) -> bool:
    return any(each.newest is not None for each in standings if each.portion in COUNTING_PORTIONS)


def _in_short(each: Standing) -> str:
    name, noun = each.portion.label.capitalize(), each.portion.noun
    if is_not_watched(each):
        return ""
    if each.newest is None:
        return f"{name}: no {noun} on file."
    if each.counts_until is not None:
        return f"{name}: the newest {noun}, of {each.newest.day}, counts until {each.counts_until}."
    if each.state is State.SECURED and each.release is not None:
        return (
            f"{name}: the {noun} of {each.newest.day} is inside the window of the package of "
            f"{each.release.released_on}."
        )
    return ""


def _must_apply(unit: Unit, facts: UnitFacts, rules: Rules, today: date) -> list[Found]:
    """Return the finding that a unit outside the accreditation is used for biopsies, or has what it takes."""
    assigned = {
        attachment.id
        for attachment in rules.registry.attachments.values()
        if any(each.unit == unit.id and each.covers(today) for each in attachment.assignments)
    }
    if facts.biopsies is None and not assigned:
        return []
    details: dict[str, Any] = {"rule": _accredited_rule(rules.policy)}
    if facts.biopsies is None:
        stage, severity = _stage("assigned"), Severity.WARNING
        details |= {"state": "assigned", "attachments": sorted(assigned)}
    else:
        several, attachments = facts.biopsies
        stage, severity = _stage("seen", _week(several.last_received_at)), Severity.CRITICAL
        details |= {"state": "seen", "attachments": sorted(assigned | set(attachments))} | _told(several)
    return [
        Found(
            key=f"unit_must_apply/{unit.id}",
            kind=AlertKind.UNIT_MUST_APPLY,
            severity=severity,
            stage=stage,
            details=details,
            unit_id=unit.id,
        )
    ]


def _rule(policy: Policy, each: Standing, today: date) -> str:
    """State the rule for a standing, with every override that has a part in it."""
    aged = each.release is None or each.release.state is ReleaseState.PLANNED
    days = {today, each.cutoff or today} if aged or each.release is None else {each.release.released_on}
    overrides = (
        override
        for override in policy.overrides
        if any(override.first <= day <= override.last for day in days)
        or (each.counts_until is not None and override.first == each.counts_until + timedelta(days=1))
    )
    sentences = (override_sentence(override, each.portion) for override in overrides)
    return " ".join((rule_sentence(policy, each.portion), *sentences))


def _accredited_rule(policy: Policy) -> str:
    return (
        f"Rule {policy.id}: every unit on which stereotactic biopsies are performed must be accredited, each unit that "
        f"shares an attachment included ({policy.citation}; {policy.address})."
    )


def _told(several: Exams) -> dict[str, Any]:
    return {"count": several.count, "exams": list(several.ids), "newest": _iso(several.newest_day)}


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _stage(word: str, began: date = date.min) -> str:
    return f"{began.isoformat()} {word}"


def _week(at: datetime) -> date:
    """Return the Monday before the newest evidence: a finding is told again if there is more, once a week at most."""
    return at.date() - timedelta(days=at.weekday())


def _sender(calling_ae: str) -> str:
    return _quoted(calling_ae) or "(import)"


def _device(serial: str, station: str) -> str:
    return f"serial={_quoted(serial)}" if serial else f"station={_quoted(station)}"


def _quoted(text: str) -> str:
    """Return a device's text as part of a key: printable, without a slash, and of bounded length."""
    mark = "" if len(text) <= _LONGEST else "~" + hashlib.sha256(text.encode()).hexdigest()[:8]
    return quote(text[:_LONGEST], safe="") + mark
