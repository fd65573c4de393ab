"""``dicom-node status``: whether the node runs, where each unit stands, and what needs somebody."""

import contextlib
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import click

from dicom_node.accreditation.policies import newer_than
from dicom_node.accreditation.standing import ReleaseState, Standing, State, is_not_watched
from dicom_node.alerts.phrases import capital, counted
from dicom_node.cli.app import App, pass_app
from dicom_node.cli.opened import known_unit, now, opened
from dicom_node.cli.output import Cell, json_option, printable, write_json, write_table
from dicom_node.cli.phrases import moment_words, size_words, span_words, write_sentence
from dicom_node.errors import NodeError
from dicom_node.services.audit_forwarding import OVERDUE, Queue, queue
from dicom_node.services.review import daily
from dicom_node.services.status import Concern, Status, Storage, UnitStatus, read_status, read_storage
from dicom_node.site import Site, Stores

KNOCK = 2.0
"""Seconds the listener has to accept a connection."""

LATE = timedelta(minutes=10)
"""How late a review may be before it is called overdue: the node looks every few seconds, and may just be starting."""

_STYLES = {
    State.OK: "green",
    State.SECURED: "green",
    State.NEARING: "yellow",
    State.MISSING: "bold red",
    State.LAPSED: "bold red",
    State.SHORT: "bold red",
    State.RETIRED: "dim",
    State.NOT_REQUIRED: "dim",
}

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where "every address" is reached from here


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """What can be seen of the node from here."""

    running: bool
    """A process holds the lock of the node; the system takes that from a process that dies."""
    listening: bool
    """It says so, and its port accepts a connection."""
    port: int
    tls_port: int | None
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """The daily review: the last one and the next."""

    last_at: datetime | None
    next_at: datetime
    overdue: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that is shown, as of one moment."""

    site: Site
    at: datetime
    status: Status
    node: NodeState
    review: Review
    storage: Storage
    unsent: Queue | None
    """Lines of the audit trail that wait to be forwarded; None when there is no repository for them."""

    def when(self, moment: datetime) -> str:
        """Return a moment as the facility's people say it."""
        return moment_words(moment, self.site.zone, self.at)


@click.command("status")
@click.option("--unit", "unit_id", metavar="UNIT", help="One unit alone.")
@json_option
@pass_app
def status(app: App, *, unit_id: str | None, as_json: bool) -> None:
    """Tell where every unit stands today, whether the node runs, and what needs somebody.

    Standings are worked out at this moment. Works beside a running node and without one.
    """
    with opened(app) as stores:
        if unit_id is not None:
            known_unit(stores, unit_id)
        view = view_of(stores, now(), unit_id)
    if as_json:
        write_json(_as_json(view))
    else:
        write_view(view)


def view_of(stores: Stores, at: datetime, unit_id: str | None = None) -> View:
    """Look at everything, or at one unit, as of an aware time."""
    found = read_status(
        stores.index,
        stores.site.rules,
        today=stores.site.day(at),
        now=at,
        unit_ids=None if unit_id is None else [unit_id],
    )
    return View(
        site=stores.site,
        at=at,
        status=found,
        node=_node_state(stores),
        review=_review(found.last_review_at, stores.site, at),
        storage=read_storage(stores.archive),
        unsent=_unsent(stores),
    )


def _node_state(stores: Stores) -> NodeState:
    told, settings = stores.archive.claims.node(), stores.site.settings.node
    tls_port = settings.tls.port if settings.tls is not None else None
    port = settings.tls.port if settings.tls is not None and settings.tls.only else settings.port
    if told is None:
        return NodeState(running=False, listening=False, port=port, tls_port=tls_port, since=None)
    port = int(told.get("port", port))
    tls_port = told.get("tls_port", tls_port)
    since = datetime.fromisoformat(told["since"]) if "since" in told else None
    listening = bool(told.get("listening")) and all(
        _accepts(settings.bind, each) for each in {port, tls_port} if each is not None
    )
    return NodeState(running=True, listening=listening, port=port, tls_port=tls_port, since=since)


def _unsent(stores: Stores) -> Queue | None:
    if stores.site.settings.audit.syslog is None:
        return None
    with contextlib.suppress(NodeError):  # a volume that cannot be read is told already
        return queue(stores.archive.audit)
    return None


def _accepts(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((_ANY_ADDRESS.get(host, host), port), KNOCK):
        return True
    return False


def _review(last_at: datetime | None, site: Site, at: datetime) -> Review:
    due, following = daily(at.astimezone(site.zone), site.settings.alerts.evaluate_at)
    overdue = at - due > LATE and (last_at is None or last_at < due)
    return Review(last_at=last_at, next_at=following, overdue=overdue)


# For people.


def write_view(view: View) -> None:
    """Write the view for people."""
    site, found = view.site, view.status
    click.echo(printable(f"{site.settings.facility.name} · {view.at.astimezone(site.zone):%a %Y-%m-%d %H:%M %Z}"))
    click.echo(" · ".join(_headlines(view)))
    policy = site.rules.policy
    click.echo(printable(f"Rule {policy.id}: {policy.citation}"))
    newer = newer_than(policy)
    if newer is not None:
        click.echo(f"  A newer one ships with the node ({newer.id}); compare: dicom-node policies diff {newer.id}")
    for each in site.rules.certificates:
        whose = f" of {each.subject}" if each.subject else ""
        click.echo(printable(f"TLS: the certificate{whose} in node.tls.{each.key} ends on {each.ends}"))
    click.echo()
    _write_units(view)
    click.echo()
    for sentence, command in _warnings(view):
        write_sentence(sentence, first="! ", rest="  ")
        if command:
            click.echo(f"  {printable(command)}")
    click.echo(
        f"Exams: {found.unattributed} without a unit, {found.undated} without a date, "
        f"{counted(found.conflicts, 'conflict')} to decide"
    )
    if found.proposed_surveys:
        many = found.proposed_surveys > 1
        words = f"{found.proposed_surveys} may be {'reports' if many else 'the report'} of a physicist's survey"
        click.echo(f"Documents: {words}: dicom-node surveys list")
    click.echo(_alert_line(view))


def _headlines(view: View) -> list[str]:
    node, review, settings = view.node, view.review, view.site.settings.node
    title, address = settings.ae_title[0], f"{settings.bind}:{node.port}"
    if node.tls_port is not None:
        address += " by TLS" if node.tls_port == node.port else f", by TLS at port {node.tls_port}"
    if node.listening:
        runs = f"{title} listens at {address}"
        runs += f", up {span_words(view.at - node.since)}" if node.since else ""
    elif node.running:
        runs = f"{title} runs, but does not listen at {address}"
    else:
        runs = f"{title} is not running"
    reviewed = f"reviewed {view.when(review.last_at)}" if review.last_at else "never reviewed"
    following = f"next {view.when(review.next_at)}" if node.running else "no review to come"
    free = "storage not readable" if view.storage.free_bytes is None else f"{size_words(view.storage.free_bytes)} free"
    return [runs, f"{reviewed}, {following}", free]


def _write_units(view: View) -> None:
    found = view.status
    with_package = any(each.release is not None for unit in found.units for each in unit.standings)
    headers = ["Unit", "Portion", "State", "Newest exam", "Counts until", "Days left", "Last received"]
    rows: list[list[Cell | str | int | None]] = []
    for unit in found.units:
        for number, each in enumerate(unit.standings):
            received = view.when(unit.last_received_at) if unit.last_received_at else "-"
            row: list[Cell | str | int | None] = [
                "" if number else unit.unit.id,
                each.portion.label,
                Cell(each.state.value, "dim" if is_not_watched(each) else _STYLES[each.state]),
                str(each.newest.day) if each.newest else "-",
                str(each.counts_until or "-"),
                "-" if each.days_left is None else each.days_left,
                "" if number else received,
            ]
            rows.append([*row, _package(each)] if with_package else row)
    write_table([*headers, "Package"] if with_package else headers, rows)


def _package(each: Standing) -> str:
    release = each.release
    if release is None or release.state is ReleaseState.CLOSED:
        return ""
    noun = each.portion.noun
    words = f"{release.released_on} {release.state}, window {each.window_first} to {each.window_last}"
    if release.state is ReleaseState.PLANNED:
        inside = {True: ", would count", False: ", would not count", None: ""}[each.counts_for_planned]
    else:
        inside = f", {noun} inside" if each.state is State.SECURED else f", no {noun} inside"
        inside += f", due {each.due}" if each.state is State.SHORT else ""
    return words + inside


def _warnings(view: View) -> list[tuple[str, str]]:
    """Return what needs somebody, the node itself first, each with a command where there is one."""
    found, node = view.status, view.node
    several = []
    if not node.running:
        sentence = "The node is not running: nothing is received, reviewed or sent. As a service it is started by:"
        several.append((sentence, "systemctl start dicom-node"))
    elif not node.listening:
        several.append(("The node runs but does not listen: it is starting, stopping, or hangs.", ""))
    if view.storage.problem:
        several.append((f"No instance can be received now: {view.storage.problem}.", ""))
    if view.review.overdue and node.running:
        several.append(("The daily review is overdue, so alerts may be missing; the standings here are of now.", ""))
    waiting = view.site.unaccepted_policy
    if waiting is not None:
        sentence = f"The configuration changed the rule ({waiting.id}), and nobody accepted it: standings are those of "
        several.append(
            (sentence + f"{view.site.rules.policy.id} until then:", 'dicom-node policies accept --reason "..."')
        )
    several += [_told(concern, view) for concern in found.concerns]
    several += [
        (f"{each.unit.label}: messages are held until {each.silence.until} ({each.silence.reason}).", "")
        for each in found.units
        if each.silence is not None
    ]
    unsent = view.unsent
    if unsent is not None and unsent.since is not None and view.at - unsent.since > OVERDUE:
        sentence = f"{counted(unsent.waiting, 'line')} of the audit trail could not be forwarded since "
        several.append((sentence + f"{view.when(unsent.since)}: the log says why (audit.not_forwarded).", ""))
    if found.undelivered:
        several.append((f"{counted(found.undelivered, 'message')} could not be delivered.", "dicom-node alerts list"))
    return several


def _told(concern: Concern, view: View) -> tuple[str, str]:
    """Return what needs people and the first thing to do about it, with a command where one comes soon."""
    label = view.site.labels.get(concern.found.unit_id, "")
    headline = f"{label}: {concern.words.headline}" if label else capital(concern.words.headline)
    do = concern.words.do
    steps = do[:1] if do and do[0].command else do[:2]
    command = next((step.command for step in steps if step.command), "")
    sentence = ". ".join([headline, *(step.sentence.rstrip(".:") for step in steps)])
    exams = concern.found.details.get("exams", ())
    return f"{sentence}{':' if command else '.'}", command.replace(" EXAM", f" {exams[0]}") if exams else command


def _alert_line(view: View) -> str:
    found = view.status
    unacknowledged = f" ({found.unacknowledged} not acknowledged)" if found.open_alerts else ""
    last, sent = found.last_delivery, "no message was sent yet"
    if last is not None and last.finished_at is not None:
        whom = f"{last.recipient} by {last.channel}" if last.recipient else last.channel
        sent = f"last message {view.when(last.finished_at)} to {whom}: {last.state}"
    return printable(f"Alerts: {found.open_alerts} open{unacknowledged} · {sent}")


# For programs.


def _as_json(view: View) -> dict[str, Any]:
    site, found, node = view.site, view.status, view.node
    last = found.last_delivery
    return {
        "facility": site.settings.facility.name,
        "time_zone": str(site.zone),
        "now": view.at,
        "today": found.today,
        "policy": site.rules.policy.id,
        "policy_not_accepted": None if (waiting := site.unaccepted_policy) is None else waiting.id,
        "newer_policy": None if (newer := newer_than(site.rules.policy)) is None else newer.id,
        "node": {
            "ae_title": site.settings.node.ae_title[0],
            "running": node.running,
            "listening": node.listening,
            "bind": site.settings.node.bind,
            "port": node.port,
            "tls_port": node.tls_port,
            "since": node.since,
        },
        "certificates": [
            {"key": each.key, "subject": each.subject, "ends": each.ends} for each in site.rules.certificates
        ],
        "review": view.review,
        "storage": {
            "free_bytes": view.storage.free_bytes,
            "min_free_bytes": site.settings.storage.min_free,
            "problem": view.storage.problem or None,
        },
        "audit": None if view.unsent is None else {"unsent": view.unsent.waiting, "since": view.unsent.since},
        "units": [_unit_json(each) for each in found.units],
        "unattributed": found.unattributed,
        "undated": found.undated,
        "conflicts": found.conflicts,
        "proposed_surveys": found.proposed_surveys,
        "alerts": {"open": found.open_alerts, "unacknowledged": found.unacknowledged},
        "messages": {
            "undelivered": found.undelivered,
            "last": None
            if last is None
            else {
                "channel": last.channel,
                "recipient": last.recipient,
                "state": last.state,
                "finished_at": last.finished_at,
            },
        },
        "concerns": [
            {
                "key": each.found.key,
                "kind": each.found.kind,
                "unit": each.found.unit_id or None,
                "portion": each.found.portion or None,
                "severity": each.found.severity,
                "headline": each.words.headline,
                "do": each.words.do,
            }
            for each in found.concerns
        ],
    }


def _unit_json(unit: UnitStatus) -> dict[str, Any]:
    return {
        "unit": unit.unit.id,
        "label": unit.unit.label,
        "state": unit.worst.state,
        "cutoff": unit.cutoff,
        "last_received_at": unit.last_received_at,
        "silenced_until": unit.silence.until if unit.silence else None,
        "portions": [
            {
                "portion": each.portion,
                "state": each.state,
                "exam": each.newest.exam_id if each.newest else None,
                "exam_day": each.newest.day if each.newest else None,
                "counts_until": each.counts_until,
                "last_release": each.last_release,
                "cutoff": each.cutoff,
                "days_left": each.days_left,
                "package": None
                if each.release is None
                else {
                    "released_on": each.release.released_on,
                    "due_on": each.release.due_on,
                    "due": each.due,
                    "state": each.release.state,
                    "window_first": each.window_first,
                    "window_last": each.window_last,
                    "exam_inside": each.state is State.SECURED,
                    "counts_for_planned": each.counts_for_planned,
                },
            }
            for each in unit.standings
        ],
    }
