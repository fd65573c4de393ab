"""``dicom-node doctor``: whether all that the node needs is there, and what to do where it is not."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

import click

from dicom_node.cli.app import FAILED, App, pass_app
from dicom_node.cli.opened import now, opened
from dicom_node.cli.output import json_option, local, printable, write_json
from dicom_node.cli.peers import MESSAGE_SYNTAXES, NO_WAYS, Peer, as_peer, association, own_node
from dicom_node.cli.phrases import own_name, size_words, write_sentence
from dicom_node.cli.status import View, view_of
from dicom_node.dimse.access import Destination
from dicom_node.dimse.calling import VERIFICATION, Proposed
from dicom_node.errors import (
    DatabaseError,
    IndexDamagedError,
    NodeError,
    OperatorError,
    PeerRefusedError,
    SchemaTooNewError,
    StorageUnavailableError,
)
from dicom_node.settings import Settings
from dicom_node.settings.channels import SmtpChannelTable, WebhookChannelTable

PATIENCE = 5.0
"""Seconds that each of the others has for each thing it is to do."""

AT_ONCE = 8
"""How many are called at the same time."""

SLACK = timedelta(minutes=1)
"""How far ahead of this machine's clock a time may be that it wrote itself."""


_LISTENER_FIX = "look into its log for listener and worker lines, and restart it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    seen: str
    """What there is, or what is wrong."""
    fix: str = ""
    """What to do, where something is wrong."""


@click.command("doctor")
@json_option
@pass_app
def doctor(app: App, *, as_json: bool) -> int:
    """Look whether all that the node needs is there: its port, its data, the clock, and those it calls.

    Works beside a running node and without one. Peers are asked by C-ECHO; of mail servers and web addresses it is
    tried whether they take a connection, and nothing is sent. Exit code 1 when something is wrong.
    """
    settings = app.settings
    checks = [*_own(app), *_others(app, settings)]
    good = all(check.ok for check in checks)
    if as_json:
        write_json({"ok": good, "checks": checks})
        return 0 if good else FAILED
    width = max(len(check.name) for check in checks)
    for check in checks:
        mark = click.style("ok     ", fg="green") if check.ok else click.style("problem", fg="red", bold=True)
        click.echo(f"{mark}  {printable(check.name):<{width}}  {printable(check.seen)}")
        if not check.ok:
            write_sentence(check.fix, first=" " * 9 + "-> ", rest=" " * 12)
    return 0 if good else FAILED


# The node's own.


def _own(app: App) -> Iterator[Check]:
    path = app.settings.storage.path
    try:
        with opened(app) as stores:
            view = view_of(stores, now())
    except StorageUnavailableError as error:
        fix = "mount the volume; only where there never was an archive: dicom-node serve --create"
        if isinstance(error.__cause__, PermissionError):
            fix = "run this as the node's user; if it is that user, give the folder back to it with chown"
        yield Check(name="archive", ok=False, seen=str(error), fix=fix)
        return
    except (DatabaseError, OperatorError) as error:
        yield Check(name="index", ok=False, seen=str(error), fix=_index_fix(error))
        return
    yield Check(name="archive", ok=True, seen=f"{path} is the archive")
    yield Check(name="index", ok=True, seen="opens, and its schema is that of this release")
    yield _disk(view)
    yield _clock(view)
    yield _listener(app, view)
    yield _review(view)


def _index_fix(error: NodeError) -> str:
    match error:
        case SchemaTooNewError():
            return "install the release that made it, or a newer one"
        case IndexDamagedError():
            return "stop the node, and make the index anew: dicom-node rebuild"
        case DatabaseError():
            return "see that the database runs and [database] is right; if it is gone for good: dicom-node rebuild"
        case _:
            return "see that [storage] and [database] belong together"


def _disk(view: View) -> Check:
    storage, reserve = view.storage, view.site.settings.storage.min_free
    if storage.problem:
        fix = f"make room on the volume of {view.site.settings.storage.path}; the node takes instances again by itself"
        return Check(name="disk", ok=False, seen=storage.problem, fix=fix)
    free = size_words(storage.free_bytes or 0)
    return Check(name="disk", ok=True, seen=f"{free} free, of which {size_words(reserve)} are kept back")


def _clock(view: View) -> Check:
    times = [("the last instance came", unit.last_received_at) for unit in view.status.units]
    times.append(("the last review was", view.review.last_at))
    for what, at in times:
        if at is not None and at > view.at + SLACK:
            return Check(
                name="clock",
                ok=False,
                seen=f"{what} at {_when(at, view)}, and this machine says it is {_when(view.at, view)}",
                fix="set the clock and have it kept by NTP: timedatectl status",
            )
    return Check(name="clock", ok=True, seen=f"{_when(view.at, view)}; nothing on file is of later")


def _when(at: datetime, view: View) -> str:
    return local(at, view.site.zone)


def _listener(app: App, view: View) -> Check:
    node = view.node
    peer = replace(own_node(view.site.settings), port=node.port)
    if not node.running:
        fix = "start it: systemctl start dicom-node, or dicom-node serve"
        return Check(name="listener", ok=False, seen="the node is not running", fix=fix)
    if not node.listening:
        return Check(name="listener", ok=False, seen="it runs, and does not take connections", fix=_LISTENER_FIX)
    if peer.tls:  # it need not know itself by its own certificate
        return Check(name="listener", ok=True, seen=f"takes connections by TLS at port {peer.port}")
    try:
        _echo(app, peer)
    except PeerRefusedError as error:
        return Check(name="listener", ok=True, seen=f"answers; {error}")
    except NodeError as error:
        return Check(name="listener", ok=False, seen=str(error), fix=_LISTENER_FIX)
    return Check(name="listener", ok=True, seen=f"{peer} answers C-ECHO")


def _review(view: View) -> Check:
    last = view.review.last_at
    seen = f"last {_when(last, view)}" if last else "there was none yet"
    if not view.review.overdue:
        return Check(name="review", ok=True, seen=seen)
    fix = "see that the node runs, and look into its log for the lines that begin with review."
    return Check(name="review", ok=False, seen=f"{seen}, and one is overdue", fix=fix)


# Those it calls.


def _others(app: App, settings: Settings) -> list[Check]:
    looks: list[Callable[[], Check]] = [partial(_peer, app, each) for each in settings.destinations()]
    for channel in settings.alerts.channel:
        match channel:
            case SmtpChannelTable():
                looks.append(partial(_reachable, f"channel {channel.name}", channel.host, channel.port))
            case WebhookChannelTable():
                looks.append(partial(_reachable, f"channel {channel.name}", *_place(channel.url)))
            case _:
                continue
    if settings.alerts.dead_man is not None:
        looks.append(partial(_reachable, "alerts.dead_man", *_place(settings.alerts.dead_man.url)))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [*pool.map(lambda look: look(), looks)]


def _peer(app: App, destination: Destination) -> Check:
    peer = as_peer(destination)
    try:
        _echo(app, peer)
    except PeerRefusedError as error:
        title = app.settings.node.ae_title[0]
        fix = f"list {title} with this machine's address there, or correct ae_title under [{destination.name}] here"
        return Check(name=destination.name, ok=False, seen=str(error), fix=fix)
    except NodeError as error:
        fix = f"see that it runs, and that address, port and tls under [{destination.name}] and the firewall are right"
        return Check(name=destination.name, ok=False, seen=str(error), fix=fix)
    return Check(name=destination.name, ok=True, seen=f"{peer} answers C-ECHO")


def _echo(app: App, peer: Peer) -> None:
    ways = replace(NO_WAYS, seconds=PATIENCE)
    with association(app, peer, ways, "echo", [Proposed(VERIFICATION, MESSAGE_SYNTAXES)]) as calling:
        calling.echo()


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _reachable(name: str, host: str, port: int) -> Check:
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except OSError as error:
        why = "no answer in time" if isinstance(error, TimeoutError) else (error.strerror or "no connection").lower()
        fix = f"see that {host} is right, known to the name service, and let through to port {port} by the firewall"
        return Check(
            name=name, ok=False, seen=f"{host} port {port}: {why}", fix=f"{fix}; then {own_name()} alerts test"
        )
    return Check(name=name, ok=True, seen=f"{host} port {port} takes a connection")
