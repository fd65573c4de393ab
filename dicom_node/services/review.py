"""The review: where does each unit stand, and whom must we tell?

What is due is worked out from the index at each run and held against the alert rows, so a run that was missed loses
nothing and a run too many sends nothing. The alerts of a unit, its standings and its message are saved in one
transaction, that of some other units too; one message for a unit and review. Sending is ``services.dispatch``.
"""

import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from sqlalchemy import Connection

from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.reminders import Severity
from dicom_node.accreditation.standing import Standing
from dicom_node.alerts.channels import Channel
from dicom_node.alerts.notice import URGENCY, AlertKind, NoticeKind
from dicom_node.index import alerts, findings, outbox, standings, state
from dicom_node.index.alerts import FIRING, RESOLVED, Alert
from dicom_node.index.engine import Index
from dicom_node.index.outbox import NewMessage
from dicom_node.index.standings import SavedStanding
from dicom_node.logs import get_logger
from dicom_node.services.facts import AT_ONCE, UnitFacts
from dicom_node.services.finding import Found
from dicom_node.services.found import Rules, Situation, of_site, situation
from dicom_node.services.solutions import solution

log = get_logger(__name__)

LAST_REVIEW = "last_review_at"
"""Name of the node's fact that holds when all units were reviewed last, as ISO text in UTC."""

REVIEW_WANTED = "review_wanted"
"""Name of the node's fact that is there while a full review is wanted; a value of its own each time."""

_BADNESS = ("", "found", "assigned", "missing", "nearing", "seen", "short", "lapsed")
"""How bad the state of an alert is; an acknowledgement ends when it gets worse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewResult:
    """What a review found and did."""

    standings: tuple[Standing, ...]
    opened: tuple[str, ...]
    """Keys of the alerts that fire and did not before."""
    resolved: tuple[str, ...]
    """Keys of the alerts that are over."""
    queued: tuple[str, ...]
    """Keys of the messages that were queued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is so, held against the alert rows of one unit."""

    due: tuple[Found, ...]
    """Of what is found: what people are to be told now."""
    over: tuple[Alert, ...]
    """Alerts that fire and are no longer so."""
    good_news: tuple[Alert, ...]
    """Of those: what people were told of, and nothing like it is left."""


def review(
    index: Index,
    rules: Rules,
    channels: Sequence[Channel],
    *,
    today: date,
    now: datetime,
    unit_ids: Collection[str] | None = None,
    digest: str = "off",
    quiet_since: datetime | None = None,
) -> ReviewResult:
    """Review units on the local day ``today``, save what is so, and queue what people must be told.

    ``unit_ids`` limits the review to these units, "" being all that concerns no known unit; None is a full review,
    which also queues the digest ("off", "daily" or "weekly") and records that it took place. With ``quiet_since``,
    exams that got nothing after it are marked as reviewed.
    """
    with index.read() as conn:
        alerting = alerts.units_with_alerts(conn)
        request = state.get(conn, REVIEW_WANTED)
    wanted = sorted({*rules.registry.units, *alerting, ""} if unit_ids is None else set(unit_ids))
    results = [
        _review_some(
            index, rules, channels, wanted[start : start + AT_ONCE], today=today, now=now, quiet_since=quiet_since
        )
        for start in range(0, len(wanted), AT_ONCE)
    ]
    queued = [key for result in results for key in result.queued]
    if unit_ids is None:
        with index.write() as conn:
            standings.forget_all_but(conn, rules.registry.units)
            queued += _queue_digest(conn, channels, digest, today, now)
            state.put(conn, LAST_REVIEW, now.isoformat())
            if request is not None:
                state.remove(conn, REVIEW_WANTED, request)  # one that came meanwhile wants another review
    whole = ReviewResult(
        standings=tuple(each for result in results for each in result.standings),
        opened=tuple(key for result in results for key in result.opened),
        resolved=tuple(key for result in results for key in result.resolved),
        queued=tuple(queued),
    )
    log.info(
        "review.done",
        units=len(wanted),
        opened=len(whole.opened),
        resolved=len(whole.resolved),
        queued=len(whole.queued),
    )
    return whole


def review_settled(
    index: Index,
    rules: Rules,
    channels: Sequence[Channel],
    *,
    today: date,
    now: datetime,
    settle: timedelta,
) -> ReviewResult | None:
    """Review the units of exams that got nothing for the time ``settle``; None when there are none.

    And the other hosts of the attachments these exams were made with, whose cases they are not.
    """
    with index.read() as conn:
        unit_ids = findings.units_to_review(conn, now - settle)
        used = findings.attachments_to_review(conn, now - settle) if unit_ids else set()
    attachments = (each for name, each in rules.registry.attachments.items() if name in used)
    hosts = {assignment.unit for each in attachments for assignment in each.assignments}
    unit_ids += sorted(hosts.intersection(rules.registry.units).difference(unit_ids))
    if not unit_ids:
        return None
    return review(index, rules, channels, today=today, now=now, unit_ids=unit_ids, quiet_since=now - settle)


def last_review(conn: Connection) -> datetime | None:
    """Return when all units were reviewed last, None when they never were."""
    text = state.get(conn, LAST_REVIEW)
    return None if text is None else datetime.fromisoformat(text)


def daily(local: datetime, at: time) -> tuple[datetime, datetime]:
    """Return when the daily review was due last, up to the aware ``local`` time, and when it is due next."""
    day = local.date() if local.time() >= at else local.date() - timedelta(days=1)
    last, following = (datetime.combine(each, at, tzinfo=local.tzinfo) for each in (day, day + timedelta(days=1)))
    return last, following


def want_review(conn: Connection) -> None:
    """Have the node review all units soon: a person decided something, which no exam that came in would tell."""
    state.put(conn, REVIEW_WANTED, secrets.token_hex(8))


def is_review_wanted(conn: Connection) -> bool:
    """Tell whether somebody wants a review that did not take place yet."""
    return state.get(conn, REVIEW_WANTED) is not None


def compare(found: Sequence[Found], firing: Sequence[Alert], today: date) -> Comparison:
    """Hold what is found in one unit against the alerts that fire there."""
    known = {alert.key: alert for alert in firing}
    still = {each.key for each in found}
    still_like = {_likeness(each) for each in found}
    over = tuple(alert for alert in firing if alert.key not in still)
    return Comparison(
        due=tuple(each for each in found if _is_due(each, known.get(each.key), today)),
        over=over,
        good_news=tuple(alert for alert in over if alert.stage and _likeness(alert) not in still_like),
    )


def _likeness(each: Found | Alert) -> tuple[str, str]:
    """Return what alerts have in common that follow one another, when an exam or a day takes the place of another."""
    if each.kind == AlertKind.MILESTONE:
        return each.kind, each.key.rpartition("/")[0]
    return each.kind, each.portion if each.kind == AlertKind.ELIGIBILITY else each.key


def message_key(kind: str, unit_id: str, told: Sequence[tuple[Alert, str]]) -> str:
    """Return the key of the message that tells of these alerts at these stages: the same for the same content."""
    parts = sorted(f"{alert.key}\0{stage}\0{alert.opening}" for alert, stage in told)
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return f"{kind}/{unit_id or '(site)'}/{digest}"


def recipients_of(channels: Sequence[Channel], severity: Severity) -> list[tuple[str, str]]:
    """Return ``(channel, recipient)`` of everybody a message of this severity goes to."""
    return [
        (channel.name, recipient)
        for channel in channels
        if URGENCY.index(channel.min_severity) <= URGENCY.index(severity)
        for recipient in channel.recipients
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """All that a review of some units depends on; what is equal makes for an equal review."""

    facts: Mapping[str, UnitFacts]
    site: tuple[Found, ...]
    """What concerns no known unit."""
    firing: Mapping[str, Alert]
    saved: Mapping[tuple[str, Portion], SavedStanding]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What a review makes of one unit."""

    unit_id: str
    so: Situation
    compared: Comparison
    standings: tuple[SavedStanding, ...]
    """Those that differ from what is saved."""

    def is_idle(self, firing: Mapping[str, Alert]) -> bool:
        """Tell whether there is nothing to save and nothing to say."""
        return not (
            self.standings
            or self.compared.due
            or self.compared.over
            or any(each.differs(firing) for each in self.so.found)
        )


def _review_some(
    index: Index,
    rules: Rules,
    channels: Sequence[Channel],
    unit_ids: Sequence[str],
    *,
    today: date,
    now: datetime,
    quiet_since: datetime | None,
) -> ReviewResult:
    """Review a few units, all that comes of it in one transaction.

    Reading and working out takes longer than saving, and whoever stores waits for the write lock: so it is held for
    saving alone, and for a second look, because only what is still so may be saved.
    """
    with index.read() as conn:
        seen = _look(conn, rules, unit_ids, today)
    plans = _work_out(seen, rules, unit_ids, today)
    queued: list[str] = []
    if quiet_since is not None or not all(plan.is_idle(seen.firing) for plan in plans):
        with index.write() as conn:
            again = _look(conn, rules, unit_ids, today)
            if again != seen:
                seen, plans = again, _work_out(again, rules, unit_ids, today)
            queued = _save(conn, channels, seen, plans, now=now)
            if quiet_since is not None:
                findings.mark_reviewed(conn, unit_ids, quiet_since, now)
    return ReviewResult(
        standings=tuple(each for plan in plans for each in plan.so.standings),
        opened=tuple(each.key for plan in plans for each in plan.so.found if each.key not in seen.firing),
        resolved=tuple(alert.key for plan in plans for alert in plan.compared.over),
        queued=tuple(queued),
    )


def _look(conn: Connection, rules: Rules, unit_ids: Sequence[str], today: date) -> _Seen:
    units = [rules.registry.units[unit_id] for unit_id in unit_ids if unit_id in rules.registry.units]
    return _Seen(
        facts=rules.facts(conn, units, today),
        site=tuple(of_site(conn, rules, today)) if "" in unit_ids else (),
        firing={alert.key: alert for alert in alerts.list_alerts(conn, state=FIRING, unit_ids=unit_ids)},
        saved={(each.unit_id, each.portion): each for each in standings.read(conn, unit_ids)},
    )


def _work_out(seen: _Seen, rules: Rules, unit_ids: Sequence[str], today: date) -> list[_Plan]:
    firing: dict[str, list[Alert]] = {}
    for alert in seen.firing.values():
        firing.setdefault(alert.unit_id, []).append(alert)
    plans = []
    for unit_id in unit_ids:
        so = Situation(found=seen.site if unit_id == "" else ())
        if unit_id in seen.facts:
            so = situation(rules.registry.units[unit_id], seen.facts[unit_id], rules, today)
        rows = (standings.to_save(each, today) for each in so.standings)
        plans.append(
            _Plan(
                unit_id=unit_id,
                so=so,
                compared=compare(so.found, firing.get(unit_id, ()), today),
                standings=tuple(row for row in rows if row != seen.saved.get((unit_id, row.portion))),
            )
        )
    return plans


def _save(
    conn: Connection, channels: Sequence[Channel], seen: _Seen, plans: Sequence[_Plan], *, now: datetime
) -> list[str]:
    """Save alerts, standings and messages; returns the keys of the messages that were queued."""
    rows = alerts.raise_alerts(conn, [each for plan in plans for each in plan.so.found], seen.firing, now)
    for plan in plans:
        for alert in plan.compared.over:
            alerts.resolve_alert(conn, alert, solution=solution(alert, plan.so.standings), now=now)
    standings.save(conn, [row for plan in plans for row in plan.standings])
    news = [each for plan in plans if (each := _message(channels, plan, rows)) is not None]
    queued = outbox.queue(conn, news, now) if news else set()
    alerts.note_stages(
        conn,
        [
            (alert_id, stage)
            for each in news
            if each.key in queued
            for alert_id, stage in each.alerts
            if stage != RESOLVED
        ],
    )
    return [each.key for each in news if each.key in queued]


def _message(channels: Sequence[Channel], plan: _Plan, rows: Mapping[str, Alert]) -> NewMessage | None:
    """Return one message with all that people must be told of a unit, None when there is no news."""
    due = [(rows[each.key], each.stage) for each in plan.compared.due]
    told = due + [(alert, RESOLVED) for alert in plan.compared.good_news]
    if not told:
        return None
    kind = NoticeKind.FIRING if due else NoticeKind.RESOLVED
    severity = max((Severity(alert.severity) for alert, _ in due or told), key=URGENCY.index)
    return NewMessage(
        key=message_key(kind, plan.unit_id, told),
        kind=kind,
        unit_id=plan.unit_id,
        severity=severity,
        alerts=[(alert.id, stage) for alert, stage in told],
        recipients=recipients_of(channels, severity),
    )


def _queue_digest(conn: Connection, channels: Sequence[Channel], digest: str, today: date, now: datetime) -> list[str]:
    if digest == "off":
        return []
    key = digest_key(digest, today)
    message = NewMessage(
        key=key,
        kind=NoticeKind.DIGEST,
        unit_id="",
        severity=Severity.INFO,
        alerts=(),
        recipients=recipients_of(channels, Severity.INFO),
    )
    return sorted(outbox.queue(conn, [message], now))


def digest_key(digest: str, today: date) -> str:
    """Return the key of the digest of the day's week, which begins on Monday, or of the day."""
    if digest == "daily":
        return f"digest/{today}"
    year, week, _ = today.isocalendar()
    return f"digest/{year}-W{week:02d}"


def _is_due(found: Found, known: Alert | None, today: date) -> bool:
    if known is None or known.stage == "":
        return known is None or not _is_acknowledged(known, found, today)
    # Stages begin with a day. One that lies ahead was sent while the clock was wrong, and says nothing.
    later = found.stage > known.stage or (found.stage != known.stage and known.stage[:10] > today.isoformat())
    return later and not _is_acknowledged(known, found, today)


def _is_acknowledged(alert: Alert, found: Found, today: date) -> bool:
    if alert.acknowledged_at is None:
        return False
    if alert.acknowledged_until is not None and alert.acknowledged_until < today:
        return False
    state_now, state_then = str(found.details["state"]), alert.acknowledged_state
    worse = state_then not in _BADNESS or _BADNESS.index(state_now) > _BADNESS.index(state_then)
    return not worse
