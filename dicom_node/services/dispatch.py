"""Dispatch: claim what is due, check that it is still true, put it into words, send it, record what came of it.

A message is sent before it is recorded, so a crash between the two sends it once more, under the same Message-ID; none
is ever lost. Each channel is served for itself: one that fails is left until the next run and holds up no other.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import Connection

from dicom_node.accreditation.reminders import Severity
from dicom_node.alerts.channels import Channel, Outcome, Result, retry
from dicom_node.alerts.notice import Notice, NoticeKind, Site
from dicom_node.alerts.render import render
from dicom_node.errors import NodeError
from dicom_node.index import alerts, outbox, standings
from dicom_node.index.alerts import FIRING, RESOLVED, Alert
from dicom_node.index.engine import Index
from dicom_node.index.outbox import Claim, Delivery
from dicom_node.logs import get_logger
from dicom_node.services.notices import digest_notice, item_of, unit_notice

log = get_logger(__name__)

LEASE = timedelta(minutes=5)
"""How long a claim holds: longer than any channel may take to send, shorter than people would mind waiting twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchResult:
    """How many deliveries ended how in one run."""

    delivered: int = 0
    refused: int = 0
    cancelled: int = 0
    to_retry: int = 0


class Dispatcher:
    """Sends queued messages. One run at a time; several dispatchers, also of several processes, may share an index."""

    def __init__(
        self,
        index: Index,
        channels: Sequence[Channel],
        *,
        site: Site,
        labels: Mapping[str, str],
        recheck: Callable[[str], object],
        ahead: Callable[[Connection, date], Sequence[str]] = lambda _conn, _today: (),
        quiet_hours: tuple[time, time] | None = None,
        lease: timedelta = LEASE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Prepare a dispatcher.

        ``labels`` are the everyday names of the units. ``recheck`` reviews one unit ("" for what concerns none) at the
        moment of sending. ``ahead`` says for the digest of a local day what lies ahead of all units. ``quiet_hours``,
        in the site's zone, run from the first time, included, to the second; they hold all but firing messages of
        critical severity.
        """
        self._index = index
        self._channels = channels
        self._site = site
        self._labels = labels
        self._recheck = recheck
        self._ahead = ahead
        self._quiet_hours = quiet_hours
        self._lease = lease
        self._clock = clock
        self._jitter = jitter

    def run(self) -> DispatchResult:
        """Send all that is due; what fails is put back for a later run."""
        with self._index.read() as conn:
            if not outbox.any_pending(conn):
                return DispatchResult()  # the common case, without the lock that stores wait for
        configured = {(channel.name, recipient) for channel in self._channels for recipient in channel.recipients}
        with self._index.write() as conn:
            outbox.cancel_all_but(conn, configured, self._clock())
        counts = dict.fromkeys(Result, 0)
        cancelled = 0
        for channel in self._channels:
            while (claim := self._claim(channel)) is not None:
                outcomes, gone = self._deliver(channel, claim)
                cancelled += gone
                for outcome in outcomes:
                    counts[outcome.result] += 1
                if outcomes and all(outcome.result is Result.RETRY for outcome in outcomes):
                    break  # the channel is down or asks for patience: the rest can wait for the next run
        return DispatchResult(
            delivered=counts[Result.DELIVERED],
            refused=counts[Result.REFUSED],
            cancelled=cancelled,
            to_retry=counts[Result.RETRY],
        )

    def _claim(self, channel: Channel) -> Claim | None:
        now = self._clock()
        local = now.astimezone(self._site.zone)
        with self._index.write() as conn:
            return outbox.claim(
                conn,
                channel.name,
                now=now,
                today=local.date(),
                lease=self._lease,
                urgent_only=is_quiet(self._quiet_hours, local.time()),
            )

    def _check_again(self, unit_id: str) -> None:
        """Have the unit reviewed, so that an exam that came meanwhile cancels what it made untrue."""
        try:
            self._recheck(unit_id)
        except NodeError as error:
            # The last review stands; a message that is late helps less than one that is a little old.
            log.warning("alert.recheck_failed", unit=unit_id, error=str(error))

    def _deliver(self, channel: Channel, claim: Claim) -> tuple[list[Outcome], int]:
        """Send one claimed message; return the outcomes, and how many deliveries were cancelled instead."""
        if claim.message.kind != NoticeKind.DIGEST:
            self._check_again(claim.message.unit_id)
        with self._index.read() as conn:
            notice, told = self._notice(conn, claim)
        untold = [each for each in claim.deliveries if each not in told]
        outcomes: Mapping[str, Outcome] = {}
        if told and notice is not None:
            outcomes = _send(channel, notice, self._site, [each.recipient for each in told])
        now = self._clock()
        with self._index.write() as conn:
            for each in untold:
                outbox.finish(conn, claim.token, each.id, outbox.CANCELLED, error="no longer so", now=now)
            held = [each for each in told if self._record(conn, claim, each, outcomes[each.recipient], now)]
        for each in told:
            self._log(claim, each, outcomes[each.recipient], was_held=each in held)
        return list(outcomes.values()), len(untold)

    def _record(self, conn: Connection, claim: Claim, each: Delivery, outcome: Outcome, now: datetime) -> bool:
        if outcome.result is Result.RETRY:
            return outbox.retry(
                conn,
                claim.token,
                each.id,
                attempts=each.attempts,
                error=outcome.reason,
                now=now,
                jitter=self._jitter,
            )
        return outbox.finish(conn, claim.token, each.id, outcome.result.value, error=outcome.reason, now=now)

    def _log(self, claim: Claim, each: Delivery, outcome: Outcome, *, was_held: bool) -> None:
        facts = {
            "message_key": claim.message.key,
            "unit": claim.message.unit_id,
            "channel": claim.channel,
            "recipient": each.recipient,
            "attempt": each.attempts,
        }
        if not was_held:
            log.warning("alert.lease_lost", **facts)
        if outcome.result is Result.DELIVERED:
            log.info("alert.delivered", **facts)
        else:
            log.warning("alert.failed", result=outcome.result.value, error=outcome.reason, **facts)

    def _notice(self, conn: Connection, claim: Claim) -> tuple[Notice | None, list[Delivery]]:
        """Return what is still true of a message, and the deliveries it is still for."""
        message, now = claim.message, self._clock()
        if message.kind == NoticeKind.DIGEST:
            return self._digest(conn, claim, now)
        stages = dict(message.alerts)
        rows = alerts.alerts_of(conn, list(stages))
        firing = [row for row in rows if row.state == FIRING and row.stage == stages[row.id]]
        resolved = [row for row in rows if row.state == RESOLVED and stages[row.id] == RESOLVED]
        if not firing and not resolved:
            return None, []
        notice = unit_notice(
            key=message.key,
            unit_id=message.unit_id,
            labels=self._labels,
            firing=[item_of(row, self._labels) for row in firing],
            resolved=[item_of(row, self._labels) for row in resolved],
            at=now,
        )
        if firing:
            return notice, list(claim.deliveries)
        return notice, self._who_was_told(conn, claim, resolved)

    def _who_was_told(self, conn: Connection, claim: Claim, resolved: Sequence[Alert]) -> list[Delivery]:
        """Return the deliveries to those whom the alerts ever reached: the others need no good news."""
        ids = [row.id for row in resolved]
        return [
            each
            for each in claim.deliveries
            if outbox.reached(conn, claim.message.unit_id, ids, claim.channel, each.recipient)
        ]

    def _digest(self, conn: Connection, claim: Claim, now: datetime) -> tuple[Notice | None, list[Delivery]]:
        if outbox.newest_key(conn, NoticeKind.DIGEST) != claim.message.key:
            return None, []
        today = now.astimezone(self._site.zone).date()
        notice = digest_notice(
            key=claim.message.key,
            labels=self._labels,
            standings=standings.read(conn),
            firing=alerts.list_alerts(conn, state=FIRING),
            failed=outbox.undelivered(conn, now - timedelta(weeks=1)),
            silences=alerts.silences(conn, today),
            ahead=self._ahead(conn, today),
            at=now,
        )
        return notice, list(claim.deliveries)


def is_quiet(quiet_hours: tuple[time, time] | None, local: time) -> bool:
    """Tell whether a time of day lies in the quiet hours, which may pass midnight; their end is not in them."""
    if quiet_hours is None:
        return False
    begin, end = quiet_hours
    return begin <= local < end if begin <= end else local >= begin or local < end


def send_test(channel: Channel, site: Site, *, at: datetime) -> Mapping[str, Outcome]:
    """Send a test message at once to everybody a channel reaches, past the queue, and return what came of it."""
    notice = Notice(
        key=f"test/{at.isoformat()}",
        kind=NoticeKind.TEST,
        severity=Severity.INFO,
        unit_id="",
        unit_label="",
        items=(),
        at=at,
    )
    return _send(channel, notice, site, channel.recipients)


def _send(channel: Channel, notice: Notice, site: Site, recipients: Sequence[str]) -> Mapping[str, Outcome]:
    """Send by a channel; a recipient it says nothing of is to be tried again, and so is all when something breaks."""
    silent = retry("the channel said nothing of this recipient")
    try:
        outcomes = channel.send(render(notice, site), recipients)
    except Exception as error:  # a fault in one message or channel must not stop the others
        log.exception("alert.fault", channel=channel.name, message_key=notice.key)
        return dict.fromkeys(recipients, retry(f"fault in the node: {type(error).__name__}"))
    return {recipient: outcomes.get(recipient, silent) for recipient in recipients}
