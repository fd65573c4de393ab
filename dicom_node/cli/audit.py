"""``dicom-node audit``: the audit trail read, checked and exported."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, BinaryIO

import click

from dicom_node.alerts.phrases import counted
from dicom_node.archive.audit import AuditRecord, AuditTrail
from dicom_node.cli.app import FAILED, App, pass_app
from dicom_node.cli.opened import DAY, login_name, opened
from dicom_node.cli.output import json_option, local, write_json, write_table
from dicom_node.dicom.audit_message import EVENTS, encode, messages_of
from dicom_node.errors import OperatorError
from dicom_node.index import decisions, entries, releases
from dicom_node.index.engine import Index
from dicom_node.services.audit import trail_exported
from dicom_node.services.audit_witness import verify_trail
from dicom_node.site import Site

_WHO = ("by", "calling_ae", "peer")


@click.group("audit")
def audit() -> None:
    """What happened on this node and who did it: a trail that is only ever added to. It holds no patient data."""


def _since_option(command: Any) -> Any:
    return click.option("--since", type=DAY, help="From this day on, in the facility's zone.")(command)


@audit.command("list")
@_since_option
@click.option("--kind", "kinds", type=click.Choice(EVENTS), multiple=True, help="Of this kind; may be repeated.")
@json_option
@pass_app
def list_(app: App, *, since: date | None, kinds: tuple[str, ...], as_json: bool) -> None:
    """List the lines of the trail, oldest first."""
    with opened(app) as stores:
        site = stores.site
        found = [each for each in _records(stores.archive.audit, site, since) if not kinds or each.event in kinds]
        found = _with_reasons(stores.index, found)
    if as_json:
        write_json([record_json(each) for each in found])
        return
    write_table(
        ["No", "Time", "Event", "Who", "What"],
        [[each.seq, local(each.at, site.zone), each.event, _who(each), _what(each)] for each in found],
    )


@audit.command("verify")
@json_option
@pass_app
def verify(app: App, *, as_json: bool) -> int:
    """Check the trail: every sum, number and link, and that its end is there. Exit code 1 when something is wrong."""
    with opened(app) as stores:
        check = verify_trail(stores.archive.audit, stores.index)
    if as_json:
        write_json({"records": check.records, "problem": check.problem or None, "head": check.head})
    elif check.problem:
        click.echo(f"{counted(check.records, 'line')} right, then: {check.problem}")
    else:
        click.echo(f"{counted(check.records, 'line')}, all right; the last has the sum {check.head.sha256}")
    return FAILED if check.problem else 0


@audit.command("export")
@click.option(
    "--format",
    "form",
    type=click.Choice(["xml", "json"]),
    default="xml",
    show_default=True,
    help="Audit messages of DICOM PS3.15 A.5, each an XML document; or the lines as they are kept.",
)
@_since_option
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="File to make; else standard output.")
@pass_app
def export(app: App, *, form: str, since: date | None, output: Path | None) -> None:
    """Write the trail out, one message or line after the other. That it was exported is recorded in it."""
    with opened(app) as stores, _opened(output) as file:
        trail, source, lines = stores.archive.audit, stores.site.audit_source, 0
        for record in _records(trail, stores.site, since):
            lines += 1
            if form == "json":
                file.write(record.line + b"\n")
                continue
            for message in messages_of(record.event, record.details, source):
                file.write(encode(message, record.at, source) + b"\n")
        trail_exported(trail, by=login_name(), lines=lines)
    if output is not None:
        click.echo(f"{counted(lines, 'line')} of the audit trail in {output}")


def _with_reasons(index: Index, found: list[AuditRecord]) -> list[AuditRecord]:
    """Add why exams were decided about, and packages and entries changed: free text, which the trail has none of."""
    with index.read() as conn:
        reasons = decisions.reasons(conn)
        notes = releases.notes(conn) | entries.notes(conn)

    def why(each: AuditRecord) -> str:
        match each.event:
            case "exam.decided":
                return reasons.get(each.details.get("decision", ""), "")
            case "release.recorded" | "entry.kept":
                name = each.details.get("release") or each.details.get("entry") or ""
                return notes.get((name, each.details.get("version", 0)), "")
        return ""

    return [
        replace(each, details={**each.details, "reason": reason}) if (reason := why(each)) else each for each in found
    ]


def record_json(each: AuditRecord) -> dict[str, Any]:
    """Return a line as programs read it."""
    return {"seq": each.seq, "at": each.at, "event": each.event, **each.details, "sha256": each.sha256}


def _records(trail: AuditTrail, site: Site, since: date | None) -> Iterator[AuditRecord]:
    """Yield the lines from the beginning of a local day on, up to the present end."""
    begin = datetime.min.replace(tzinfo=UTC) if since is None else datetime.combine(since, time(), site.zone)
    end = trail.head().seq
    for record in trail.read():
        if record.seq > end:
            return
        if record.at >= begin:
            yield record


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[BinaryIO]:
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        file = output.open("xb")
    except FileExistsError as error:
        raise OperatorError(f"{output} is there already; name a new file") from error
    except OSError as error:
        raise OperatorError(f"{output} cannot be made: {error.strerror}") from error
    with file:
        yield file


def _who(each: AuditRecord) -> str:
    return " ".join(str(each.details[name]) for name in _WHO if each.details.get(name))


def _what(each: AuditRecord) -> str:
    told = {name: value for name, value in each.details.items() if name not in {*_WHO, "association", "since"}}
    return " ".join(f"{name}={_value(value)}" for name, value in told.items() if value not in ("", [], {}))


def _value(value: object) -> str:
    match value:
        case dict():
            return ",".join(f"{key}:{_value(each)}" for key, each in value.items())
        case list():
            return ",".join(map(str, value))
        case _:
            return str(value)
