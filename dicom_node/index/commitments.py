"""Requests for storage commitment: kept until their report was taken, held by one process at a time.

Every function works in the caller's transaction. A request is held by a token and for a time, so that two processes
never report it at once, and one whose process died is free again. When to try again is a column, so a restart forgets
nothing.
"""

import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select, update

from dicom_node.index.tables import commitment, conflict, instance

WAITING = "waiting"
REPORTED = "reported"
GIVEN_UP = "given up"

FIRST_RETRY = timedelta(seconds=10)
LAST_RETRY = timedelta(hours=1)
"""Back-off after the first attempt, and its cap."""

MOST_AT_ONCE = 16
"""Requests of one caller that are claimed together: their reports share an association."""

_UIDS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who asked, and how to find it again."""

    caller: str
    """The names it is listed under."""
    calling_ae: str
    called_ae: str
    """The node's title that it called, which reports to it come from."""
    peer_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A request that the holder of ``token`` may report."""

    id: int
    token: str
    transaction_uid: str
    sender: Sender
    requested: tuple[tuple[str, str], ...]
    """SOP class and instance UIDs."""
    refusal: int | None
    """The failure reason of all instances; None when each is looked at."""
    created_at: datetime
    attempts: int
    """Associations that were opened, or tried, for the report."""
    failures: tuple[tuple[int, int], ...]
    """Places in ``requested`` with their failure reasons, as of ``checked_at``."""
    checked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A request as people see it."""

    transaction_uid: str
    caller: str
    calling_ae: str
    instances: int
    failed: int | None
    """Instances that are not committed to; None before they were looked at."""
    state: str
    created_at: datetime
    next_attempt_at: datetime
    attempts: int
    last_error: str
    finished_at: datetime | None


def accept(
    conn: Connection,
    transaction_uid: str,
    sender: Sender,
    requested: Sequence[tuple[str, str]],
    *,
    in_use: int,
    now: datetime,
    lease: timedelta,
) -> Held:
    """Keep a request and hold it.

    What a sender asked before is the same request again, to be looked at and reported anew; whoever held it loses it.
    Other instances under a Transaction UID whose report is still to come get the failure reason ``in_use``.
    """
    own = and_(
        commitment.c.transaction_uid == transaction_uid,
        commitment.c.caller == sender.caller,
        commitment.c.calling_ae == sender.calling_ae,
    )
    pairs = [list(pair) for pair in requested]
    known = conn.execute(select(commitment).where(own).order_by(commitment.c.id.desc())).all()
    same = next((row for row in known if row.requested == pairs), None)
    taken = any(row.state == WAITING and row.refusal is None for row in known if row is not same)
    values: dict[str, Any] = {
        "called_ae": sender.called_ae,
        "peer_address": sender.peer_address,
        "refusal": in_use if taken else None,
        "state": WAITING,
        "created_at": now,
        "attempts": 0,
        "next_attempt_at": now,
        "lease": secrets.token_hex(16),
        "lease_until": now + lease,
        "last_error": "",
        "failures": None,
        "checked_at": None,
        "finished_at": None,
    }
    if same is None:
        values |= {
            "transaction_uid": transaction_uid,
            "caller": sender.caller,
            "calling_ae": sender.calling_ae,
            "requested": pairs,
            "instances": len(pairs),
        }
        conn.execute(commitment.insert().values(values))
    else:
        conn.execute(update(commitment).where(commitment.c.id == same.id).values(values))
    return _held(conn.execute(select(commitment).where(commitment.c.lease == values["lease"])).one())


def is_any_due(conn: Connection, now: datetime, lease: timedelta) -> bool:
    """Tell whether a request is to be reported that nobody holds."""
    return conn.execute(select(commitment.c.id).where(*_due(now, lease)).limit(1)).first() is not None


def claim(conn: Connection, *, now: datetime, lease: timedelta) -> list[Held]:
    """Hold the requests of one caller that are due, the longest due first, up to ``MOST_AT_ONCE``; perhaps none."""
    query = (
        select(commitment)
        .where(*_due(now, lease))
        .order_by(commitment.c.next_attempt_at, commitment.c.id)
        .with_for_update(skip_locked=True)
    )
    first = conn.execute(query.limit(1)).first()
    if first is None:
        return []
    alike = [getattr(commitment.c, name) == getattr(first, name) for name in ("caller", "calling_ae", "called_ae")]
    alike.append(commitment.c.peer_address == first.peer_address)
    ids = [row.id for row in conn.execute(query.where(*alike).limit(MOST_AT_ONCE))]
    token = secrets.token_hex(16)
    conn.execute(update(commitment).where(commitment.c.id.in_(ids)).values(lease=token, lease_until=now + lease))
    rows = conn.execute(select(commitment).where(commitment.c.lease == token).order_by(commitment.c.id))
    return [_held(row) for row in rows]


def _due(now: datetime, lease: timedelta) -> list[ColumnElement[bool]]:
    # A time further ahead than any back-off or lease was written before the clock was set back: it is due now.
    return [
        commitment.c.state == WAITING,
        or_(commitment.c.next_attempt_at <= now, commitment.c.next_attempt_at > now + 2 * LAST_RETRY),
        or_(commitment.c.lease == "", commitment.c.lease_until <= now, commitment.c.lease_until > now + 2 * lease),
    ]


def hold_on(conn: Connection, held: Held, now: datetime, lease: timedelta) -> bool:
    """Hold a request for longer, or again when nobody else does; tell whether it is held."""
    mine = and_(commitment.c.id == held.id, commitment.c.state == WAITING, commitment.c.lease.in_([held.token, ""]))
    changed = conn.execute(update(commitment).where(mine).values(lease=held.token, lease_until=now + lease))
    return changed.rowcount == 1


def save_check(conn: Connection, held: Held, failures: Sequence[tuple[int, int]], now: datetime) -> bool:
    """Keep what looking at the instances found; tell whether the request is still held."""
    found = [list(failure) for failure in failures]
    return _change(conn, held, failures=found, checked_at=now)


def finish(conn: Connection, held: Held, state: str, *, error: str = "", now: datetime) -> bool:
    """End a request as reported or given up; tell whether it was still held, else nothing changes."""
    return _give_back(conn, held, state=state, attempts=held.attempts + 1, last_error=error, finished_at=now)


def retry(
    conn: Connection, held: Held, *, error: str, now: datetime, jitter: Callable[[], float] = random.random
) -> bool:
    """Put a request back for another attempt, ``back_off`` from now; tell as ``finish`` does."""
    attempts = held.attempts + 1
    again = now + back_off(attempts, jitter)
    return _give_back(conn, held, attempts=attempts, last_error=error, next_attempt_at=again)


def put_back(conn: Connection, held: Held, at: datetime) -> bool:
    """Put a request back, due at a time, as if nothing had been tried; tell as ``finish`` does."""
    return _give_back(conn, held, next_attempt_at=at)


def free_all(conn: Connection, now: datetime) -> None:
    """Free what processes of a node that is gone held, and make it due."""
    held = and_(commitment.c.state == WAITING, commitment.c.lease != "")
    conn.execute(update(commitment).where(held).values(lease="", lease_until=None, next_attempt_at=now))


def forget(conn: Connection, before: datetime) -> None:
    """Remove what ended before a time."""
    conn.execute(delete(commitment).where(commitment.c.state != WAITING, commitment.c.finished_at < before))


def back_off(attempts: int, jitter: Callable[[], float] = random.random) -> timedelta:
    """Return how long to wait after ``attempts`` (1 or more) attempts: doubling from 10 s, never above an hour.

    ``jitter`` gives a number from 0 to 1, which takes up to half of it away.
    """
    whole = min(LAST_RETRY, FIRST_RETRY * (1 << min(attempts - 1, 10)))
    return whole * (1 - jitter() / 2)


def list_requests(conn: Connection) -> list[Listed]:
    """Return the requests that wait, and those that ended and are not forgotten yet, the newest first."""
    columns = [commitment.c[name] for name in Listed.__dataclass_fields__ if name != "failed"]
    query = select(*columns, commitment.c.failures, commitment.c.refusal).order_by(commitment.c.id.desc())
    return [
        Listed(
            failed=row.instances if row.refusal else None if row.failures is None else len(row.failures),
            **{column.name: getattr(row, column.name) for column in columns},
        )
        for row in conn.execute(query)
    ]


def objects_of(conn: Connection, sop_instance_uids: Sequence[str]) -> dict[str, tuple[str, list[str]]]:
    """Return for each SOP instance that is known its SOP class, and the digests of every content that it came with."""
    found: dict[str, tuple[str, list[str]]] = {}
    for first in range(0, len(sop_instance_uids), _UIDS_AT_ONCE):
        uids = sop_instance_uids[first : first + _UIDS_AT_ONCE]
        known = select(instance.c.sop_instance_uid, instance.c.sop_class_uid, instance.c.digest)
        for uid, sop_class_uid, digest in conn.execute(known.where(instance.c.sop_instance_uid.in_(uids))):
            found[uid] = sop_class_uid, [digest]
        others = select(conflict.c.sop_instance_uid, conflict.c.digest).where(conflict.c.sop_instance_uid.in_(uids))
        for uid, digest in conn.execute(others):
            if uid in found and digest not in found[uid][1]:
                found[uid][1].append(digest)
    return found


def _give_back(conn: Connection, held: Held, **values: Any) -> bool:
    return _change(conn, held, lease="", lease_until=None, **values)


def _change(conn: Connection, held: Held, **values: Any) -> bool:
    mine = and_(commitment.c.id == held.id, commitment.c.lease == held.token)
    return conn.execute(update(commitment).where(mine).values(values)).rowcount == 1


def _held(row: Any) -> Held:
    return Held(
        id=row.id,
        token=row.lease,
        transaction_uid=row.transaction_uid,
        sender=Sender(
            caller=row.caller, calling_ae=row.calling_ae, called_ae=row.called_ae, peer_address=row.peer_address
        ),
        requested=tuple((sop_class, sop_instance) for sop_class, sop_instance in row.requested),
        refusal=row.refusal,
        created_at=row.created_at,
        attempts=row.attempts,
        failures=tuple((place, reason) for place, reason in row.failures or ()),
        checked_at=row.checked_at,
    )
