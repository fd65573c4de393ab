"""Notices made from alert rows and from what a review finds: what a message is about, before it has words."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.reminders import Severity
from dicom_node.alerts.notice import URGENCY, AlertKind, Item, Notice, NoticeKind, StandingLine
from dicom_node.index.alerts import Alert, Silence
from dicom_node.index.outbox import Delivery, QueuedMessage
from dicom_node.index.standings import SavedStanding
from dicom_node.services.finding import Found


def item_of(alert: Alert, labels: Mapping[str, str]) -> Item:
    """Return an alert row as an item of a notice; ``labels`` are the everyday names of the units."""
    return Item(
        alert_id=alert.id,
        key=alert.key,
        kind=AlertKind(alert.kind),
        unit_label=labels.get(alert.unit_id, alert.unit_id),
        portion=alert.portion,
        severity=Severity(alert.severity),
        details=alert.details,
        acknowledged=alert.acknowledged_at is not None,
    )


def item_found(found: Found, alert_id: int | None, labels: Mapping[str, str]) -> Item:
    """Return what a review finds as an item of a notice; ``alert_id`` None: there is no row of it."""
    return Item(
        alert_id=alert_id,
        key=found.key,
        kind=found.kind,
        unit_label=labels.get(found.unit_id, found.unit_id),
        portion=found.portion,
        severity=found.severity,
        details=found.details,
    )


def unit_notice(
    *,
    key: str,
    unit_id: str,
    labels: Mapping[str, str],
    firing: Sequence[Item],
    resolved: Sequence[Item],
    at: datetime,
) -> Notice:
    """Return the notice of one unit's news: of what fires, else of what is resolved."""
    items = tuple(firing or resolved)
    over = [f"Resolved: {_over(item)}" for item in resolved] if firing else []
    beside = [sentence for item in items if firing for sentence in item.details.get("also", ())]
    # Of portions that fire together, each would be mentioned beside the other.
    told = {Portion(item.portion).label for item in items if item.portion}
    also = [each for each in dict.fromkeys(beside) if each.partition(":")[0].lower() not in told]
    return Notice(
        key=key,
        kind=NoticeKind.FIRING if firing else NoticeKind.RESOLVED,
        severity=max((item.severity for item in items), key=URGENCY.index),
        unit_id=unit_id,
        unit_label=labels.get(unit_id, unit_id),
        items=items,
        at=at,
        also=(*over, *also),
    )


def digest_notice(
    *,
    key: str,
    labels: Mapping[str, str],
    standings: Iterable[SavedStanding],
    firing: Iterable[Alert],
    failed: Sequence[tuple[QueuedMessage, Delivery]],
    silences: Mapping[str, Silence],
    ahead: Sequence[str],
    at: datetime,
) -> Notice:
    """Return the notice of the digest: every unit, every open alert, and what keeps messages from arriving.

    ``ahead`` are sentences on what lies ahead of the facility as a whole.
    """
    several = list(standings)
    policies = sorted({each.policy_id for each in several})
    also = [f"Dates are by rule {', '.join(policies)}: dicom-node policies list."] if policies else []
    also += ahead
    also += [
        f"Messages about {labels.get(unit_id, unit_id)} are held until {silence.until} ({silence.reason})."
        for unit_id, silence in sorted(silences.items())
    ]
    channels = sorted({delivery.channel for _, delivery in failed})
    if channels:
        also.append(f"Messages by {', '.join(channels)} did not all arrive: dicom-node alerts list shows which.")
    return Notice(
        key=key,
        kind=NoticeKind.DIGEST,
        severity=Severity.INFO,
        unit_id="",
        unit_label="",
        items=tuple(item_of(alert, labels) for alert in firing),
        at=at,
        also=tuple(also),
        table=tuple(
            StandingLine(
                unit=labels.get(each.unit_id, each.unit_id),
                portion=each.portion.label,
                state=each.state,
                exam_day=each.exam_day,
                cutoff=each.cutoff,
            )
            for each in several
        ),
    )


def _over(item: Item) -> str:
    solution = item.details.get("solution", {})
    if solution.get("exam_day"):
        return f"the {Portion(item.portion).evidence} of {solution['exam_day']} solved an earlier alert."
    return f"{solution.get('reason', 'an earlier alert is no longer so')}."
