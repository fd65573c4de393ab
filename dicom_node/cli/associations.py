"""``dicom-node associations``: who called, who was refused and why, and the configuration that would admit them."""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_address
from itertools import islice
from typing import Any

import click

from dicom_node.alerts.phrases import counted
from dicom_node.archive.audit import AuditRecord, AuditTrail
from dicom_node.cli.app import App, pass_app
from dicom_node.cli.opened import opened
from dicom_node.cli.output import Cell, json_option, jsonable, local, printable, write_json, write_table
from dicom_node.settings import Settings
from dicom_node.settings.values import Networks

LIMIT = 50
"""Associations that are shown unless told otherwise."""

LOOK = 0.5
"""Seconds between two looks for new ones."""

_ACCEPTED, _ENDED, _REFUSED = "association.accepted", "association.ended", "association.refused"
_UNKNOWN_CALLER, _UNKNOWN_CALLED, _USELESS = "1/1/3", "1/1/7", "1/1/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An association, or an attempt at one."""

    at: datetime
    calling_ae: str
    called_ae: str
    peer: str
    outcome: str
    """``released``, ``aborted``, ``broken``, ``under way`` or ``refused``."""
    name: str = ""
    instances: int = 0
    seconds: float | None = None
    reason: str = ""
    code: str = ""
    needs: tuple[str, ...] = ()
    """Permissions of which each would have admitted it."""
    count: int = 1
    """How many attempts this stands for."""


@click.command("associations")
@click.option("--rejected", is_flag=True, help="Those that were refused, and what would admit them.")
@click.option("--follow", is_flag=True, help="Go on with new ones as they come; Ctrl-C ends.")
@click.option("--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="The newest so many.")
@json_option
@pass_app
def associations(app: App, *, rejected: bool, follow: bool, limit: int, as_json: bool) -> None:
    """Tell who called the node, newest last, and who was refused, why, and what to do about it."""
    with opened(app) as stores:
        trail, settings, zone = stores.archive.audit, stores.site.settings, stores.site.zone
        end = trail.head().seq
        calls = [*islice(recent(trail.read_back(), rejected=rejected), limit)][::-1]
        if as_json and not follow:
            write_json([_as_json(each, settings) for each in calls])
            return
        if not as_json:
            _write(calls, zone, settings, rejected=rejected)
        if follow:
            try:
                for call in newer(trail, end, rejected=rejected):
                    if as_json:
                        click.echo(_line(_as_json(call, settings)))
                    else:
                        click.echo(printable("  ".join(_row(call, zone))).rstrip())
                        _advise([call], settings, rejected=rejected)
            except KeyboardInterrupt:
                return


def recent(newest_first: Iterable[AuditRecord], *, rejected: bool) -> Iterator[Call]:
    """Yield the calls that lines of the trail tell of, newest first."""
    ended, is_running = set(), True
    for record in newest_first:
        if record.event == _REFUSED:
            yield _refused(record)
        elif record.event == "node.started":
            is_running = False  # what an earlier run has no end of was cut off
        elif rejected:
            continue
        elif record.event == _ENDED:
            ended.add(record.details["association"])
            yield _accepted(record, record.details["how"])
        elif record.event == _ACCEPTED and record.details["association"] not in ended:
            yield _accepted(record, "under way" if is_running else "broken")


def newer(trail: AuditTrail, seq: int, *, rejected: bool) -> Iterator[Call]:
    """Yield the calls after a line of the trail as they end or are refused; never returns."""
    while True:
        for record in trail.read(seq + 1):
            seq = record.seq
            if record.event == _REFUSED:
                yield _refused(record)
            elif record.event == _ENDED and not rejected:
                yield _accepted(record, record.details["how"])
        time.sleep(LOOK)


def _accepted(record: AuditRecord, outcome: str) -> Call:
    details = record.details
    return Call(
        at=record.at,
        calling_ae=details["calling_ae"],
        called_ae=details["called_ae"],
        peer=details["peer"],
        outcome=outcome,
        name=details.get("name", ""),
        instances=details.get("instances", 0),
        seconds=details.get("seconds"),
    )


def _refused(record: AuditRecord) -> Call:
    details = record.details
    return Call(
        at=record.at,
        calling_ae=details["calling_ae"],
        called_ae=details["called_ae"],
        peer=details["peer"],
        outcome="refused",
        reason=details["reason"],
        code=details["code"],
        needs=tuple(details.get("needs", ())),
        count=details.get("count", 1),
    )


# What would admit them.


def lines_for(call: Call, settings: Settings) -> list[str]:
    """Return lines of configuration, ready to paste, that would admit a refused caller; none when none would."""
    if call.code == _UNKNOWN_CALLED:
        titles = _list((*settings.node.ae_title, call.called_ae))
        return ["# if the device cannot be told to call this node by its name:", "[node]", f"ae_title = {titles}"]
    listed = [(name, entry) for name, entry in settings.entries() if entry.ae_title == call.calling_ae]
    here = [(name, entry) for name, entry in listed if _is_from(call.peer, entry.host)]
    if call.code == _USELESS and call.needs and here:
        name, entry = here[0]
        return [
            f"# in the entry of {name}, what of it is to be allowed:",
            f"allow = {_list((*entry.allow, *call.needs))}",
        ]
    if call.code != _UNKNOWN_CALLER or here:
        return []  # who lacks the certificate or username of its entry is not let in by another entry without one
    if listed:
        name, entry = listed[0]
        return [
            f"# if the device moved, in the entry of {name}:",
            f"host = {_list((*map(_host, entry.host), call.peer))}",
        ]
    who = [f"ae_title = {_quoted(call.calling_ae)}", f"host = {_quoted(call.peer)}"]
    units = [*settings.units] or ["UNIT"]
    return [
        "# either, if it asks this node (a PACS, a workstation):",
        f"[peers.{_table_name(call.calling_ae, settings)}]",
        *who,
        f"# or, if it makes the exams of a unit ({', '.join(units)}):",
        f"[[units.{units[0]}.identity]]",
        *who,
    ]


def _is_from(peer: str, hosts: Networks) -> bool:
    address = ip_address(peer.partition("%")[0])
    return any(address.version == host.version and address in host for host in hosts)


def _host(network: IPv4Network | IPv6Network) -> str:
    return str(network if network.num_addresses > 1 else network.network_address)


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def _quoted(text: str) -> str:
    """Return a text as a basic string of TOML."""
    escaped = (
        char if char.isascii() and char.isprintable() and char not in '"\\' else f"\\U{ord(char):08x}" for char in text
    )
    return f'"{"".join(escaped)}"'


def _table_name(ae_title: str, settings: Settings) -> str:
    """Return an id for a peer of that AE title that is not taken."""
    words = "".join(char if char.isascii() and char.isalnum() else "_" for char in ae_title.lower()).strip("_")
    name = words if words and words[0].isalpha() else f"peer_{words}".rstrip("_")
    taken = {*settings.peers}
    return next(each for each in (name, *(f"{name}_{number}" for number in range(2, 1000))) if each not in taken)


# Writing.


def _write(calls: list[Call], zone: Any, settings: Settings, *, rejected: bool) -> None:
    if not calls:
        click.echo("Nobody was refused." if rejected else "Nobody has called.")
        return
    rows = [_row(call, zone) for call in calls]
    write_table(
        ["Time", "AE title", "Address", "Called", "Outcome", "What"],
        [[*row[:4], Cell(row[4], "bold red" if row[4].startswith("refused") else ""), row[5]] for row in rows],
    )
    _advise(calls, settings, rejected=rejected)


def _row(call: Call, zone: Any) -> list[str]:
    outcome = call.outcome if call.count == 1 else f"{call.outcome} {call.count} times"
    told = [counted(call.instances, "instance")] if call.instances else []
    told += [f"{call.seconds:g} s"] if call.seconds is not None else []
    return [
        local(call.at, zone),
        call.calling_ae or "-",
        call.peer,
        call.called_ae or "-",
        outcome,
        call.reason or ", ".join(filter(None, [call.name, *told])),
    ]


def _advise(calls: list[Call], settings: Settings, *, rejected: bool) -> None:
    """Write, once for each caller, what to paste into the configuration to admit it."""
    if not rejected:
        return
    told = set()
    for call in calls:
        lines = lines_for(call, settings)
        key = (call.calling_ae, call.peer, *lines)
        if lines and key not in told:
            told.add(key)
            click.echo()
            click.echo(printable(f"To admit {call.calling_ae or 'it'} from {call.peer}, add to the configuration:"))
            for line in lines:
                click.echo(f"  {printable(line)}")


def _as_json(call: Call, settings: Settings) -> dict[str, Any]:
    return {
        "at": call.at,
        "calling_ae": call.calling_ae,
        "called_ae": call.called_ae,
        "peer": call.peer,
        "outcome": call.outcome,
        "name": call.name or None,
        "instances": call.instances,
        "seconds": call.seconds,
        "reason": call.reason or None,
        "count": call.count,
        "config": lines_for(call, settings) if call.outcome == "refused" else [],
    }


def _line(value: Any) -> str:
    return json.dumps(jsonable(value), ensure_ascii=False)
