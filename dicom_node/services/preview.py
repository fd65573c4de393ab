"""Preview: who would be told what on a day, with nothing written and nothing sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from sqlalchemy import Connection

from dicom_node.alerts.channels import Channel
from dicom_node.alerts.notice import Site
from dicom_node.alerts.render import Message, render
from dicom_node.index import alerts
from dicom_node.index.alerts import FIRING, Alert
from dicom_node.index.engine import Index
from dicom_node.services.eligibility import inside_the_calendar
from dicom_node.services.finding import Found
from dicom_node.services.found import Rules, whats_so
from dicom_node.services.notices import item_found, unit_notice
from dicom_node.services.review import compare, recipients_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A message that would be sent."""

    message: Message
    recipients: tuple[tuple[str, str], ...]
    """Channel and recipient."""
    held_until: date | None
    """The last day on which the unit is silenced; None when it is not."""


def preview(
    index: Index, rules: Rules, channels: Sequence[Channel], site: Site, *, on: date, today: date
) -> list[Preview]:
    """Return the firing messages that the review of the local day ``on`` would queue, from what is on file now.

    ``today`` is the day it is. For a later day it is taken that the node reviews every day until then, so that a
    reminder is shown on the day it begins; resolved messages, which need new exams, and digests are not shown.
    Raises OperatorError for a day that is too near to an end of the calendar.
    """
    at = datetime.combine(on, time(12), tzinfo=site.zone)
    labels = {unit.id: unit.label for unit in rules.registry.units.values()}
    previews = []
    with inside_the_calendar(), index.read() as conn:
        silences = alerts.silences(conn, on)
        for unit_id in [*sorted(rules.registry.units), ""]:
            due, known = _due(conn, rules, unit_id, on, today)
            if not due:
                continue
            notice = unit_notice(
                key=f"preview/{unit_id or '(site)'}/{on}",
                unit_id=unit_id,
                labels=labels,
                firing=[item_found(each, known[each.key].id if each.key in known else None, labels) for each in due],
                resolved=(),
                at=at,
            )
            previews.append(
                Preview(
                    message=render(notice, site),
                    recipients=tuple(recipients_of(channels, notice.severity)),
                    held_until=silences[unit_id].until if unit_id in silences else None,
                )
            )
    return previews


def _due(
    conn: Connection, rules: Rules, unit_id: str, on: date, today: date
) -> tuple[Sequence[Found], dict[str, Alert]]:
    """Return what would be told on a day, and the alerts there are."""
    known = {alert.key: alert for alert in alerts.list_alerts(conn, state=FIRING, unit_ids=[unit_id])}
    due = compare(whats_so(conn, rules, [unit_id], on)[unit_id].found, list(known.values()), on).due
    if on > today:
        before = whats_so(conn, rules, [unit_id], on - timedelta(days=1))[unit_id].found
        told_before = {(each.key, each.stage) for each in before}
        due = tuple(each for each in due if (each.key, each.stage) not in told_before)
    return due, known
