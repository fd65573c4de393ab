"""``dicom-node alerts``: what fires, who was told, and keeping quiet about it for a reason."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, timedelta, tzinfo
from typing import Any

import click

from dicom_node.accreditation.reminders import Severity
from dicom_node.alerts.channels import Channel, Result
from dicom_node.alerts.phrases import About, Words, capital
from dicom_node.alerts.words import firing_words, resolved_words
from dicom_node.cli.app import App, pass_app
from dicom_node.cli.opened import DAY, by_option, known_unit, now, opened, reason_option, today
from dicom_node.cli.output import Cell, json_option, local, printable, write_json, write_table
from dicom_node.cli.phrases import write_facts
from dicom_node.errors import DeliveryError, OperatorError
from dicom_node.index import alerts as rows
from dicom_node.index import outbox
from dicom_node.index.alerts import FIRING, RESOLVED, Alert, Silence
from dicom_node.index.outbox import Delivery, QueuedMessage
from dicom_node.services import audit
from dicom_node.services.dispatch import send_test
from dicom_node.services.notices import item_of
from dicom_node.services.preview import Preview, preview
from dicom_node.site import Stores

_SPAN = re.compile(r"(\d{1,4})([dw])")
_STYLES = {Severity.CRITICAL: "bold red", Severity.WARNING: "yellow"}
_RECENT = timedelta(weeks=1)


class _Span(click.ParamType[timedelta]):
    """A number of days or weeks, such as ``14d`` or ``2w``."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        match = _SPAN.fullmatch(value)
        if match is None:
            self.fail(f"{value!r} is no span of days; write 14d or 2w", param, ctx)
        return timedelta(days=int(match[1]) * (7 if match[2] == "w" else 1))


@click.group("alerts")
def alerts() -> None:
    """See what fires and who was told; acknowledge, silence, and try the channels."""


@alerts.command("list")
@click.option("--all", "everything", is_flag=True, help="Also what is resolved.")
@json_option
@pass_app
def list_(app: App, *, everything: bool, as_json: bool) -> None:
    """List alerts, what could not be delivered, and the units that are silenced."""
    with opened(app) as stores:
        day, zone = today(stores), stores.site.zone
        with stores.index.read() as conn:
            found = rows.list_alerts(conn, state=None if everything else FIRING)
            failed = outbox.undelivered(conn, now() - _RECENT)
            silences = rows.silences(conn, day)
        told = [(each, alert_words(each, stores.site.labels, day)) for each in found]
    if as_json:
        write_json(
            {
                "alerts": [alert_json(each, words) for each, words in told],
                "undelivered": [_delivery_json(message, delivery) for message, delivery in failed],
                "silences": [silence_json(each) for each in silences.values()],
            }
        )
        return
    _write_list(told, zone)
    if failed:
        click.echo("\nNot delivered:")
        _write_deliveries(failed, zone)
    for unit_id, silence in sorted(silences.items()):
        click.echo(
            printable(f"\n{unit_id} is silenced until {silence.until} by {silence.silenced_by}: {silence.reason}")
        )


@alerts.command("show")
@click.argument("alert_id", metavar="ID", type=int)
@json_option
@pass_app
def show(app: App, *, alert_id: int, as_json: bool) -> None:
    """Show one alert: what is so, why it matters, what to do, and who was told."""
    with opened(app) as stores:
        day, zone = today(stores), stores.site.zone
        with stores.index.read() as conn:
            alert = next(iter(rows.alerts_of(conn, [alert_id])), None)
            if alert is None:
                raise OperatorError(f"there is no alert {alert_id}; see: dicom-node alerts list")
            messages = outbox.messages_about(conn, alert_id)
        words = alert_words(alert, stores.site.labels, day)
    sent = [(message, delivery) for message, deliveries in messages for delivery in deliveries]
    if as_json:
        deliveries = [_delivery_json(message, delivery) for message, delivery in sent]
        write_json(alert_json(alert, words) | {"words": words, "deliveries": deliveries})
        return
    _write_alert(alert, words, zone)
    if sent:
        click.echo()
        _write_deliveries(sent, zone)


@alerts.command("ack")
@click.argument("alert_id", metavar="ID", type=int)
@click.option("--note", metavar="TEXT", default="", help="What is being done; no patient data.")
@click.option("--until", type=DAY, help="Remind again after this day; else when it gets worse.")
@by_option
@pass_app
def ack(app: App, *, alert_id: int, note: str, until: date | None, by: str) -> None:
    """Acknowledge an alert: you saw it, and it needs no more reminders."""
    with opened(app) as stores:
        if until is not None and until < today(stores):
            raise OperatorError(f"{until} is past; an acknowledgement holds until a day to come")
        with stores.index.write() as conn:
            rows.acknowledge(conn, alert_id, by=by, note=note, until=until, now=now())
        audit.alert_acknowledged(stores.archive.audit, by=by, alert=alert_id, until=str(until or ""))
    click.echo(f"alert {alert_id} is acknowledged, until {until or 'it gets worse'}")


@alerts.command("silence")
@click.argument("unit_id", metavar="UNIT")
@click.option("--for", "span", type=_Span(), required=True, help="For how long, such as 14d or 2w; 0d lifts it.")
@reason_option
@by_option
@pass_app
def silence(app: App, *, unit_id: str, span: timedelta, reason: str, by: str) -> None:
    """Hold all messages about UNIT for a while."""
    if not reason.strip():
        raise OperatorError("a silence needs a reason, in words that the next person understands")
    with opened(app) as stores:
        known_unit(stores, unit_id)
        until = today(stores) + span if span else today(stores) - timedelta(days=1)
        with stores.index.write() as conn:
            rows.silence_unit(conn, unit_id, until=until, reason=reason.strip(), by=by, now=now())
        audit.unit_silenced(stores.archive.audit, by=by, unit_id=unit_id, until=str(until))
    click.echo(f"messages about {unit_id} are held until {until}" if span else f"{unit_id} is no longer silenced")


@alerts.command("test")
@click.argument("channel", required=False, metavar="[CHANNEL]")
@pass_app
def test(app: App, *, channel: str | None) -> None:
    """Send a test message now, by one CHANNEL or by all, and tell what came of it for everybody."""
    with opened(app) as stores:
        site = stores.site
        chosen = [each for each in site.channels if channel in (None, each.name)]
        if not chosen:
            names = ", ".join(each.name for each in site.channels)
            raise OperatorError(f"there is no channel {channel!a}; the channels are {names}")
        failures = [_test(each, stores) for each in chosen]
    if any(failures):
        raise DeliveryError(f"{sum(failures)} of the test messages did not arrive")


@alerts.command("preview")
@click.option("--on", "on", type=DAY, help="On this day; else today.")
@json_option
@pass_app
def show_preview(app: App, *, on: date | None, as_json: bool) -> None:
    """Show who would be told what on a day, by what is on file now. Nothing is written or sent."""
    with opened(app) as stores:
        site, day = stores.site, today(stores)
        on = on or day
        found = preview(stores.index, site.rules, site.channels, site.speaker, on=on, today=day)
    if as_json:
        write_json([_preview_json(each) for each in found])
        return
    if not found:
        click.echo(f"On {on} nobody would be told anything.")
    for each in found:
        _write_preview(each)


def alert_words(alert: Alert, labels: Mapping[str, str], day: date) -> Words:
    """Return what an alert tells on a day; ``labels`` are the everyday names of the units by id."""
    label = labels.get(alert.unit_id, alert.unit_id)
    about = About(item=item_of(alert, labels), unit_id=alert.unit_id, unit_label=label, today=day)
    return resolved_words(about) if alert.state == RESOLVED else firing_words(about)


def _test(channel: Channel, stores: Stores) -> int:
    """Send by one channel, tell of every recipient, and return how many did not get it."""
    failed = 0
    for recipient, outcome in send_test(channel, stores.site.speaker, at=now()).items():
        whom = f" to {recipient}" if recipient else ""
        reason = f" ({outcome.reason})" if outcome.reason else ""
        words = "not delivered; it might be later" if outcome.result is Result.RETRY else outcome.result.value
        click.echo(printable(f"{channel.name}{whom}: {words}{reason}"))
        failed += outcome.result is not Result.DELIVERED
    return failed


def _write_list(told: Sequence[tuple[Alert, Words]], zone: tzinfo) -> None:
    if not told:
        click.echo("No alert is open.")
        return
    write_table(
        ["ID", "Since", "Severity", "Unit", "What", "Acknowledged"],
        [
            [
                each.id,
                local(each.opened_at, zone),
                each.severity if each.state == FIRING else each.state,
                each.unit_id or "-",
                Cell(words.headline, _STYLES.get(Severity(each.severity), "") if each.state == FIRING else "dim"),
                f"by {each.acknowledged_by}" if each.acknowledged_at else "",
            ]
            for each, words in told
        ],
    )


def _write_alert(alert: Alert, words: Words, zone: tzinfo) -> None:
    click.echo(printable(f"Alert {alert.id}: {capital(words.headline)}"))
    acknowledged = ""
    if alert.acknowledged_at is not None:
        acknowledged = f"{local(alert.acknowledged_at, zone)} by {alert.acknowledged_by}"
        acknowledged += f" until {alert.acknowledged_until}" if alert.acknowledged_until else ""
        acknowledged += f": {alert.acknowledged_note}" if alert.acknowledged_note else ""
    write_facts(
        [
            ("Unit", alert.unit_id),
            ("State", f"{alert.state}, {alert.severity}"),
            ("Since", local(alert.opened_at, zone)),
            ("Resolved", local(alert.resolved_at, zone)),
            ("Acknowledged", acknowledged),
            ("What", words.what),
            ("Why", words.why),
            *((f"Do ({number})", " ".join((step.sentence, step.command))) for number, step in enumerate(words.do, 1)),
            ("Next", words.next),
        ]
    )


def _write_deliveries(several: Iterable[tuple[QueuedMessage, Delivery]], zone: tzinfo) -> None:
    write_table(
        ["Queued", "Message", "Channel", "Recipient", "State", "Attempts", "Last error"],
        [
            [
                local(message.created_at, zone),
                f"{message.kind} {message.unit_id}".strip(),
                delivery.channel,
                delivery.recipient or "-",
                delivery.state,
                delivery.attempts,
                delivery.last_error,
            ]
            for message, delivery in several
        ],
    )


def _write_preview(each: Preview) -> None:
    whom = ", ".join(f"{recipient} by {channel}" if recipient else channel for channel, recipient in each.recipients)
    click.echo(printable(f"To: {whom or 'nobody: no channel takes messages of this severity'}"))
    if each.held_until is not None:
        click.echo(f"Held: {each.message.unit_id} is silenced until {each.held_until}")
    click.echo(printable(f"Subject: {each.message.subject}"))
    click.echo()
    for line in each.message.text.splitlines():
        click.echo(printable(line))
    click.echo()


def alert_json(alert: Alert, words: Words) -> dict[str, Any]:
    """Return an alert as programs read it."""
    acknowledged = None
    if alert.acknowledged_at is not None:
        acknowledged = {
            "at": alert.acknowledged_at,
            "by": alert.acknowledged_by,
            "note": alert.acknowledged_note,
            "until": alert.acknowledged_until,
        }
    return {
        "id": alert.id,
        "key": alert.key,
        "kind": alert.kind,
        "unit": alert.unit_id or None,
        "portion": alert.portion or None,
        "severity": alert.severity,
        "state": alert.state,
        "stage": alert.stage,
        "headline": words.headline,
        "opened_at": alert.opened_at,
        "changed_at": alert.changed_at,
        "resolved_at": alert.resolved_at,
        "acknowledged": acknowledged,
        "details": alert.details,
    }


def _delivery_json(message: QueuedMessage, delivery: Delivery) -> dict[str, Any]:
    return {
        "message": message.key,
        "kind": message.kind,
        "unit": message.unit_id or None,
        "queued_at": message.created_at,
        **{name: value for name, value in asdict(delivery).items() if name not in {"id", "message_id"}},
    }


def silence_json(each: Silence) -> dict[str, Any]:
    """Return a silence as programs read it."""
    return {
        "unit": each.unit_id,
        "until": each.until,
        "reason": each.reason,
        "by": each.silenced_by,
        "at": each.silenced_at,
    }


def _preview_json(each: Preview) -> dict[str, Any]:
    return {
        "unit": each.message.unit_id or None,
        "kind": each.message.kind,
        "severity": each.message.severity,
        "recipients": [{"channel": channel, "recipient": recipient} for channel, recipient in each.recipients],
        "held_until": each.held_until,
        "subject": each.message.subject,
        "text": each.message.text,
    }
