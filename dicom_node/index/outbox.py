"""Messages and their deliveries: queued with what they tell of, claimed with a lease, finished by whoever holds it.

Every function works in the caller's transaction. A message is queued once for its key. A delivery is claimed by a token
and for a time; only the holder of the token finishes it, so a sender that was slow cannot overwrite what the next one
did. When to try again is a column, so a restart forgets nothing.
"""

import random
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, or_, select, update

from dicom_node.index.alerts import RESOLVED, silences
from dicom_node.index.tables import delivery, message

PENDING = "pending"
DELIVERED = "delivered"
REFUSED = "refused"
CANCELLED = "cancelled"

FIRST_RETRY = timedelta(seconds=30)
LAST_RETRY = timedelta(minutes=15)
"""Back-off after the first attempt, and its cap: a mail relay that was down for a day is tried again within that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedMessage:
    """A row of ``message``: one notice to people about the alerts it names."""

    id: int
    key: str
    kind: str
    """``firing``, ``resolved`` or ``digest``."""
    unit_id: str
    severity: str
    alerts: tuple[tuple[int, str], ...]
    """Alert ids, each with the stage that the message was queued for."""
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message to queue, with a delivery to each ``(channel, recipient)``."""

    key: str
    kind: str
    unit_id: str
    severity: str
    alerts: Sequence[tuple[int, str]]
    recipients: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A row of ``delivery``: one message to one recipient by one channel."""

    id: int
    message_id: int
    channel: str
    recipient: str
    state: str
    attempts: int
    next_attempt_at: datetime
    last_error: str
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A message to send by one channel, with the deliveries that the holder of ``token`` may finish."""

    token: str
    message: QueuedMessage
    channel: str
    deliveries: tuple[Delivery, ...]


def queue(conn: Connection, messages: Sequence[NewMessage], now: datetime) -> set[str]:
    """Queue messages, in this order, but for those whose key is known; return the keys of those that were queued."""
    keys = [each.key for each in messages]
    known = set(conn.execute(select(message.c.key).where(message.c.key.in_(keys))).scalars())
    new = {each.key: each for each in messages if each.key not in known}
    if not new:
        return set()
    conn.execute(
        message.insert(),
        [
            {
                "key": each.key,
                "kind": each.kind,
                "unit_id": each.unit_id,
                "severity": each.severity,
                "alerts": [[alert_id, stage] for alert_id, stage in each.alerts],
                "created_at": now,
            }
            for each in new.values()
        ],
    )
    rows = conn.execute(select(message.c.key, message.c.id).where(message.c.key.in_(new)).order_by(message.c.id))
    deliveries = [
        {"message_id": row.id, "channel": channel, "recipient": recipient, "state": PENDING, "next_attempt_at": now}
        for row in rows
        for channel, recipient in dict.fromkeys(new[row.key].recipients)
    ]
    if deliveries:
        conn.execute(delivery.insert(), deliveries)
    return set(new)


def any_pending(conn: Connection) -> bool:
    """Tell whether there is a delivery that has not ended."""
    return conn.execute(select(delivery.c.id).where(delivery.c.state == PENDING).limit(1)).first() is not None


def claim(
    conn: Connection, channel: str, *, now: datetime, today: date, lease: timedelta, urgent_only: bool = False
) -> Claim | None:
    """Claim the deliveries of one message that are due by a channel, the longest due first; None when none is.

    Messages about a unit that is silenced on ``today`` stay where they are; so do, with ``urgent_only``, all but firing
    ones of critical severity.
    """
    # A time further ahead than any back-off or lease was written before the clock was set back: it is due now.
    due: list[ColumnElement[bool]] = [
        delivery.c.channel == channel,
        delivery.c.state == PENDING,
        or_(delivery.c.next_attempt_at <= now, delivery.c.next_attempt_at > now + 2 * LAST_RETRY),
        or_(delivery.c.lease == "", delivery.c.lease_until <= now, delivery.c.lease_until > now + 2 * lease),
        message.c.unit_id.not_in(silences(conn, today)),
    ]
    if urgent_only:
        due.append(and_(message.c.severity == "critical", message.c.kind == "firing"))
    query = (
        select(delivery)
        .join(message)
        .where(*due)
        .order_by(delivery.c.next_attempt_at, delivery.c.id)
        .with_for_update(of=delivery, skip_locked=True)
    )
    first = conn.execute(query.limit(1)).first()
    if first is None:
        return None
    rows = conn.execute(query.where(delivery.c.message_id == first.message_id)).all()
    token = secrets.token_hex(16)
    conn.execute(
        update(delivery)
        .where(delivery.c.id.in_([row.id for row in rows]))
        .values(lease=token, lease_until=now + lease, attempts=delivery.c.attempts + 1)
    )
    deliveries = conn.execute(select(delivery).where(delivery.c.lease == token).order_by(delivery.c.id))
    return Claim(
        token=token,
        message=_message(conn.execute(select(message).where(message.c.id == first.message_id)).one()),
        channel=channel,
        deliveries=tuple(_delivery(row) for row in deliveries),
    )


def finish(conn: Connection, token: str, delivery_id: int, state: str, *, error: str = "", now: datetime) -> bool:
    """Record that a claimed delivery ended as delivered, refused or cancelled.

    Returns False, changing nothing, when the token no longer holds it: the lease ran out and another sender has it.
    """
    return _give_back(conn, token, delivery_id, state=state, last_error=error, finished_at=now)


def retry(
    conn: Connection,
    token: str,
    delivery_id: int,
    *,
    attempts: int,
    error: str,
    now: datetime,
    jitter: Callable[[], float] = random.random,
) -> bool:
    """Put a claimed delivery back for another attempt, ``back_off`` from now; returns as ``finish`` does."""
    again = now + back_off(attempts, jitter)
    return _give_back(conn, token, delivery_id, state=PENDING, last_error=error, next_attempt_at=again)


def back_off(attempts: int, jitter: Callable[[], float] = random.random) -> timedelta:
    """Return how long to wait after ``attempts`` (1 or more) attempts: doubling from 30 s, never above 15 minutes.

    ``jitter`` gives a number from 0 to 1, which takes up to half of it away, so that what failed together does not
    come back together.
    """
    whole = min(LAST_RETRY, FIRST_RETRY * (1 << min(attempts - 1, 10)))
    return whole * (1 - jitter() / 2)


def _give_back(conn: Connection, token: str, delivery_id: int, **values: Any) -> bool:
    held = and_(delivery.c.id == delivery_id, delivery.c.lease == token)
    result = conn.execute(update(delivery).where(held).values(lease="", lease_until=None, **values))
    return result.rowcount == 1


def reached(conn: Connection, unit_id: str, alert_ids: Sequence[int], channel: str, recipient: str) -> bool:
    """Tell whether a firing message about one of a unit's alerts was delivered, or may have been, to a recipient."""
    # A claim counts an attempt before it is made: a sender that died after sending left an attempt and no result, and
    # one that cancelled made none with its own.
    query = (
        select(message.c.alerts)
        .join(delivery)
        .where(
            message.c.kind == "firing",
            message.c.unit_id == unit_id,
            delivery.c.channel == channel,
            delivery.c.recipient == recipient,
            or_(
                delivery.c.state == DELIVERED,
                and_(delivery.c.state == PENDING, delivery.c.attempts > 0),
                and_(delivery.c.state == CANCELLED, delivery.c.attempts > 1),
            ),
        )
    )
    wanted = set(alert_ids)
    told = (told for row in conn.execute(query) for told in row.alerts)
    return any(alert_id in wanted and stage != RESOLVED for alert_id, stage in told)


def cancel_all_but(conn: Connection, recipients: Collection[tuple[str, str]], now: datetime) -> int:
    """Cancel what is pending to a ``(channel, recipient)`` that is none of these; return how many pairs were."""
    pending = select(delivery.c.channel, delivery.c.recipient).where(delivery.c.state == PENDING).distinct()
    gone = [pair for row in conn.execute(pending) if (pair := (row.channel, row.recipient)) not in recipients]
    for channel, recipient in gone:
        conn.execute(
            update(delivery)
            .where(delivery.c.channel == channel, delivery.c.recipient == recipient, delivery.c.state == PENDING)
            .values(state=CANCELLED, last_error="no longer configured", lease="", lease_until=None, finished_at=now)
        )
    return len(gone)


def newest_key(conn: Connection, kind: str) -> str | None:
    """Return the key of the message of a kind that was queued last, None when none was."""
    query = select(message.c.key).where(message.c.kind == kind).order_by(message.c.id.desc()).limit(1)
    return conn.execute(query).scalar_one_or_none()


def messages_about(conn: Connection, alert_id: int) -> list[tuple[QueuedMessage, list[Delivery]]]:
    """Return the messages that tell of an alert, oldest first, each with its deliveries."""
    rows = conn.execute(select(message).order_by(message.c.id))
    told = [_message(row) for row in rows if alert_id in {number for number, _ in row.alerts}]
    return [(each, deliveries_of(conn, each.id)) for each in told]


def deliveries_of(conn: Connection, message_id: int) -> list[Delivery]:
    """Return the deliveries of a message, in the order they were queued."""
    rows = conn.execute(select(delivery).where(delivery.c.message_id == message_id).order_by(delivery.c.id))
    return [_delivery(row) for row in rows]


def undelivered(conn: Connection, since: datetime) -> list[tuple[QueuedMessage, Delivery]]:
    """Return the deliveries that failed and are tried again, and those refused since a time, oldest first."""
    query = (
        select(delivery)
        .where(
            or_(
                and_(delivery.c.state == PENDING, delivery.c.last_error != ""),
                and_(delivery.c.state == REFUSED, delivery.c.finished_at >= since),
            )
        )
        .order_by(delivery.c.id)
    )
    failed = [_delivery(row) for row in conn.execute(query)]
    rows = conn.execute(select(message).where(message.c.id.in_({each.message_id for each in failed})))
    messages = {row.id: _message(row) for row in rows}
    return [(messages[each.message_id], each) for each in failed]


def last_delivered(conn: Connection) -> Delivery | None:
    """Return the delivery that succeeded last, None when none did."""
    query = select(delivery).where(delivery.c.state == DELIVERED).order_by(delivery.c.finished_at.desc()).limit(1)
    row = conn.execute(query).first()
    return None if row is None else _delivery(row)


def _message(row: Any) -> QueuedMessage:
    return QueuedMessage(
        id=row.id,
        key=row.key,
        kind=row.kind,
        unit_id=row.unit_id,
        severity=row.severity,
        alerts=tuple((alert_id, stage) for alert_id, stage in row.alerts),
        created_at=row.created_at,
    )


def _delivery(row: Any) -> Delivery:
    return Delivery(
        id=row.id,
        message_id=row.message_id,
        channel=row.channel,
        recipient=row.recipient,
        state=row.state,
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at,
        last_error=row.last_error,
        finished_at=row.finished_at,
    )
