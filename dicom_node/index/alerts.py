"""Alert rows: a condition someone must know of, from the day it was found until it is resolved; and silences.

Every function works in the caller's transaction. An alert is found by its key, so finding it again changes nothing
but what is told of it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, select, update

from dicom_node.errors import OperatorError
from dicom_node.index.tables import alert, silence

FIRING = "firing"
RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A row of ``alert``. Times are aware UTC; ``details`` is what the words are made of and holds no patient data."""

    id: int
    key: str
    kind: str
    unit_id: str
    """"" for a finding that concerns no known unit."""
    portion: str
    stage: str
    """The last reminder that was queued; "" when none was since the alert was opened."""
    severity: str
    state: str
    details: Mapping[str, Any]
    opening: int
    """1, and one more each time the alert came back after it was resolved."""
    opened_at: datetime
    changed_at: datetime
    resolved_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str
    acknowledged_note: str
    acknowledged_state: str
    """``details["state"]`` when it was acknowledged."""
    acknowledged_until: date | None
    """The last day the acknowledgement holds; None: until the state gets worse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What an alert is to fire for; the fields are those of the row."""

    key: str
    kind: str
    unit_id: str
    portion: str
    severity: str
    details: Mapping[str, Any]

    def differs(self, firing: Mapping[str, Alert]) -> bool:
        """Tell whether it is not what the rows that fire, by key, say already."""
        known = firing.get(self.key)
        return known is None or (known.severity, known.details) != (self.severity, self.details)


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """No messages about a unit until a day, that day included."""

    unit_id: str
    until: date
    reason: str
    silenced_by: str
    silenced_at: datetime


def list_alerts(conn: Connection, *, state: str | None = None, unit_ids: Collection[str] | None = None) -> list[Alert]:
    """Return the alerts, oldest first, of one state and some units where these are given ("" is: of no known unit)."""
    query = select(alert).order_by(alert.c.id)
    if state is not None:
        query = query.where(alert.c.state == state)
    if unit_ids is not None:
        query = query.where(alert.c.unit_id.in_(unit_ids))
    return _alerts(conn, query)


def units_with_alerts(conn: Connection) -> set[str]:
    """Return the units that an alert fires for, "" among them when one is of no known unit."""
    return set(conn.execute(select(alert.c.unit_id).where(alert.c.state == FIRING).distinct()).scalars())


def alerts_of(conn: Connection, alert_ids: list[int]) -> list[Alert]:
    """Return the alerts of these ids, in the order of the ids given; unknown ids are left out."""
    rows = {row.id: row for row in _alerts(conn, select(alert).where(alert.c.id.in_(alert_ids)))}
    return [rows[alert_id] for alert_id in alert_ids if alert_id in rows]


def alerts_by_key(conn: Connection, keys: list[str]) -> dict[str, Alert]:
    """Return the alerts of these keys, whatever their state."""
    return {row.key: row for row in _alerts(conn, select(alert).where(alert.c.key.in_(keys)))}


def _alerts(conn: Connection, query: Select[*tuple[Any, ...]]) -> list[Alert]:
    names = alert.c.keys()
    return [Alert(**dict(zip(names, row, strict=True))) for row in conn.execute(query)]


def raise_alerts(
    conn: Connection, conditions: Collection[Condition], firing: Mapping[str, Alert], now: datetime
) -> dict[str, Alert]:
    """Make sure that an alert fires for each condition, and return the rows by key.

    ``firing`` are the rows, by key, that are known to fire. A new key makes a row; a resolved one is opened again, with
    neither stage nor acknowledgement; a firing one is brought up to date.
    """
    rows = dict(firing)
    if unknown := [each.key for each in conditions if each.key not in rows]:
        rows |= alerts_by_key(conn, unknown)
    new: dict[str, dict[str, Any]] = {}
    changed = []
    for each in conditions:
        known = rows.get(each.key)
        told = {"severity": each.severity, "details": dict(each.details), "changed_at": now}
        if known is None:
            about = {"key": each.key, "kind": each.kind, "unit_id": each.unit_id, "portion": each.portion}
            new[each.key] = told | about | {"state": FIRING, "opened_at": now}
        elif known.state == RESOLVED:
            _reopen(conn, known, told)
            changed.append(known.id)
        elif each.differs(rows):
            conn.execute(update(alert).where(alert.c.id == known.id).values(told))
            changed.append(known.id)
    if new:
        conn.execute(alert.insert(), list(new.values()))
        rows |= alerts_by_key(conn, list(new))
    rows |= {row.key: row for row in alerts_of(conn, changed)} if changed else {}
    return {each.key: rows[each.key] for each in conditions}


def _reopen(conn: Connection, known: Alert, told: Mapping[str, Any]) -> None:
    conn.execute(
        update(alert)
        .where(alert.c.id == known.id)
        .values(
            state=FIRING,
            stage="",
            opening=known.opening + 1,
            opened_at=told["changed_at"],
            resolved_at=None,
            acknowledged_at=None,
            acknowledged_by="",
            acknowledged_note="",
            acknowledged_state="",
            acknowledged_until=None,
            **told,
        )
    )


def note_stages(conn: Connection, stages: Collection[tuple[int, str]]) -> None:
    """Record the reminder that was queued for each alert, by id."""
    if stages:
        conn.execute(
            update(alert).where(alert.c.id == bindparam("of_id")).values(stage=bindparam("queued")),
            [{"of_id": alert_id, "queued": stage} for alert_id, stage in stages],
        )


def resolve_alert(conn: Connection, row: Alert, *, solution: Mapping[str, Any], now: datetime) -> None:
    """Close a firing alert; ``solution`` is kept in its details under ``solution``."""
    details = {**row.details, "solution": dict(solution)}
    conn.execute(
        update(alert)
        .where(alert.c.id == row.id, alert.c.state == FIRING)
        .values(state=RESOLVED, resolved_at=now, changed_at=now, details=details)
    )


def acknowledge(conn: Connection, alert_id: int, *, by: str, note: str, until: date | None, now: datetime) -> Alert:
    """Record who saw an alert and why no further reminders are wanted, and return the row.

    Raises OperatorError when there is no such alert or it is resolved.
    """
    known = next(iter(alerts_of(conn, [alert_id])), None)
    if known is None:
        raise OperatorError(f"there is no alert {alert_id}; `dicom-node alerts list` shows them")
    if known.state == RESOLVED:
        raise OperatorError(f"alert {alert_id} is resolved already; there is nothing to acknowledge")
    conn.execute(
        update(alert)
        .where(alert.c.id == alert_id)
        .values(
            acknowledged_at=now,
            acknowledged_by=by,
            acknowledged_note=note,
            acknowledged_state=str(known.details.get("state", "")),
            acknowledged_until=until,
        )
    )
    return alerts_of(conn, [alert_id])[0]


def silence_unit(conn: Connection, unit_id: str, *, until: date, reason: str, by: str, now: datetime) -> None:
    """Hold all messages about a unit until a day, included. The newest silence of a unit holds: a past day lifts it."""
    conn.execute(silence.insert().values(unit_id=unit_id, until=until, reason=reason, silenced_by=by, silenced_at=now))


def silences(conn: Connection, today: date) -> dict[str, Silence]:
    """Return the silences that hold on ``today``, by unit."""
    newest = select(func.max(silence.c.id)).group_by(silence.c.unit_id)
    rows = conn.execute(select(silence).where(silence.c.id.in_(newest), silence.c.until >= today))
    return {
        row.unit_id: Silence(
            unit_id=row.unit_id,
            until=row.until,
            reason=row.reason,
            silenced_by=row.silenced_by,
            silenced_at=row.silenced_at,
        )
        for row in rows
    }
