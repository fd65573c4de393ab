"""``dicom-node surveys`` and ``dicom-node logs``: what people record for the physicist report."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

import click

from dicom_node.accreditation.surveys import LogKind
from dicom_node.cli.app import App, pass_app
from dicom_node.cli.opened import DAY, by_option, change_of, known_unit, note_option, opened, reason_option
from dicom_node.cli.output import Cell, json_option, local, printable, write_json, write_table
from dicom_node.index.documents import Document
from dicom_node.index.entries import Entry
from dicom_node.services.kept import log_of, survey_of
from dicom_node.services.surveys import QcLogs, Surveys
from dicom_node.site import Stores


@click.group("surveys")
def surveys() -> None:
    """Record the medical physicist's surveys of the units, and find reports of them among what units sent."""


@surveys.command("record")
@click.argument("unit_id", metavar="UNIT")
@click.option("--date", "day", type=DAY, required=True, help="The day the survey was performed.")
@note_option
@by_option
@pass_app
def record(app: App, *, unit_id: str, day: date, note: str, by: str) -> None:
    """Record that a medical physicist surveyed UNIT."""
    with opened(app) as stores:
        _tell(_surveys(stores).record(unit_id, day, note=note, change=change_of(stores, by)))


@surveys.command("list")
@click.option("--unit", "unit_id", metavar="UNIT", help="Of one unit.")
@click.option("--history", is_flag=True, help="With every version each survey had.")
@json_option
@pass_app
def list_(app: App, *, unit_id: str | None, history: bool, as_json: bool) -> None:
    """List the surveys, newest first, and the documents of units that may be reports of one."""
    with opened(app) as stores:
        if unit_id is not None:
            known_unit(stores, unit_id)
        found = _surveys(stores).listed(unit_id, history=history)
        proposed = _surveys(stores).proposed(unit_id)
        zone = stores.site.zone
    if as_json:
        told = [
            {"unit" if key == "unit_id" else key: value for key, value in asdict(each).items()} for each in proposed
        ]
        write_json({"surveys": [survey_json(each) for each in found], "proposed": told})
        return
    write_table(
        ["ID", "Unit", "Performed", "Told by", "Version", "Changed by", "Note"],
        [
            [
                each.id,
                each.unit_id,
                survey_of(each).day,
                Cell("withdrawn", "dim") if survey_of(each).withdrawn else survey_of(each).told_by,
                each.version,
                printable(each.changed_by),
                printable(each.note),
            ]
            for each in found
        ],
    )
    if proposed:
        click.echo("\nDocuments that may be the report of a survey:")
        write_table(
            ["SOP Instance UID", "Unit", "Day", "From", "Sender", "Received"],
            [_proposed_row(each, local(each.received_at, zone)) for each in proposed],
        )
        click.echo("Decide: dicom-node surveys confirm UID   (--date DAY if performed on another day), or")
        click.echo('        dicom-node surveys dismiss UID --reason "..."')


@surveys.command("confirm")
@click.argument("sop_instance_uid", metavar="UID")
@click.option("--date", "day", type=DAY, help="The day the survey was performed; else the one the document tells.")
@note_option
@by_option
@pass_app
def confirm(app: App, *, sop_instance_uid: str, day: date | None, note: str, by: str) -> None:
    """Say that the document UID, an encapsulated PDF or CDA of a unit, is the report of a survey."""
    with opened(app) as stores:
        _tell(_surveys(stores).confirm(sop_instance_uid, day=day, note=note, change=change_of(stores, by)))


@surveys.command("dismiss")
@click.argument("sop_instance_uid", metavar="UID")
@reason_option
@by_option
@pass_app
def dismiss(app: App, *, sop_instance_uid: str, reason: str, by: str) -> None:
    """Say that the document UID is no report of a survey; it is not proposed again."""
    with opened(app) as stores:
        _surveys(stores).dismiss(sop_instance_uid, reason=reason, change=change_of(stores, by))
    click.echo(printable(f"{sop_instance_uid} is no report of a survey"))


@surveys.command("amend")
@click.argument("survey_id", metavar="ID")
@click.option("--date", "day", type=DAY, help="The right day.")
@note_option
@by_option
@pass_app
def amend(app: App, *, survey_id: str, day: date | None, note: str, by: str) -> None:
    """Correct a survey; the version before is kept."""
    if day is None and not note:
        raise click.UsageError("nothing to change; give --date or --note")
    with opened(app) as stores:
        _tell(_surveys(stores).amend(survey_id, day=day, note=note, change=change_of(stores, by)))


@surveys.command("withdraw")
@click.argument("survey_id", metavar="ID")
@reason_option
@by_option
@pass_app
def withdraw(app: App, *, survey_id: str, reason: str, by: str) -> None:
    """Say that a survey was recorded by mistake; it counts no more, and stays on record."""
    with opened(app) as stores:
        _tell(_surveys(stores).withdraw(survey_id, reason=reason, change=change_of(stores, by)))


@click.group("logs")
def logs() -> None:
    """Record for which days the technologist's quality control logs of the units are kept."""


@logs.command("record")
@click.argument("unit_id", metavar="UNIT")
@click.option(
    "--kind",
    type=click.Choice([each.value for each in LogKind]),
    required=True,
    help="How often its tests are done; other: monthly or less often.",
)
@click.option("--from", "first", type=DAY, required=True, help="First day it is kept for.")
@click.option("--to", "last", type=DAY, required=True, help="Last day it is kept for.")
@note_option
@by_option
@pass_app
def record_log(app: App, *, unit_id: str, kind: str, first: date, last: date, note: str, by: str) -> None:
    """Record that a quality control log of UNIT is kept for some days."""
    with opened(app) as stores:
        service = _logs(stores)
        _tell_log(service.record(unit_id, LogKind(kind), first, last, note=note, change=change_of(stores, by)))


@logs.command("list")
@click.option("--unit", "unit_id", metavar="UNIT", help="Of one unit.")
@click.option("--history", is_flag=True, help="With every version each record had.")
@json_option
@pass_app
def list_logs(app: App, *, unit_id: str | None, history: bool, as_json: bool) -> None:
    """List the logs, the one that ends last first."""
    with opened(app) as stores:
        if unit_id is not None:
            known_unit(stores, unit_id)
        found = _logs(stores).listed(unit_id, history=history)
    if as_json:
        write_json([log_json(each) for each in found])
        return
    write_table(
        ["ID", "Unit", "Kind", "From", "To", "Changed by", "Note"],
        [
            [
                each.id,
                each.unit_id,
                Cell("withdrawn", "dim") if log_of(each).withdrawn else log_of(each).kind.value,
                log_of(each).first,
                log_of(each).last,
                printable(each.changed_by),
                printable(each.note),
            ]
            for each in found
        ],
    )


@logs.command("withdraw")
@click.argument("log_id", metavar="ID")
@reason_option
@by_option
@pass_app
def withdraw_log(app: App, *, log_id: str, reason: str, by: str) -> None:
    """Say that a log was recorded by mistake; it stays on record."""
    with opened(app) as stores:
        _tell_log(_logs(stores).withdraw(log_id, reason=reason, change=change_of(stores, by)))


def survey_json(entry: Entry) -> dict[str, Any]:
    """Return a version of a survey as JSON has it."""
    survey = survey_of(entry)
    return {
        "id": survey.id,
        "unit": survey.unit,
        "day": survey.day,
        "source": survey.source,
        "withdrawn": survey.withdrawn,
    } | _version(entry)


def log_json(entry: Entry) -> dict[str, Any]:
    """Return a version of a log as JSON has it."""
    log = log_of(entry)
    return {
        "id": log.id,
        "unit": log.unit,
        "kind": log.kind,
        "first": log.first,
        "last": log.last,
        "withdrawn": log.withdrawn,
    } | _version(entry)


def _version(entry: Entry) -> dict[str, Any]:
    return {
        "version": entry.version,
        "note": entry.note,
        "changed_by": entry.changed_by,
        "changed_at": entry.changed_at,
    }


def _proposed_row(each: Document, received: str) -> Sequence[Cell | str]:
    return [
        each.sop_instance_uid,
        each.unit_id,
        str(each.day) if each.day else Cell("not told", "yellow"),
        each.day_source or "-",
        each.calling_ae or "(import)",
        received,
    ]


def _tell(entry: Entry) -> None:
    survey = survey_of(entry)
    told = "withdrawn" if survey.withdrawn else survey.told_by
    click.echo(f"{survey.id}: physicist survey of {survey.unit}, performed on {survey.day}: {told}")
    click.echo(f"What it means: dicom-node eligibility explain {survey.unit} --portion physicist")


def _tell_log(entry: Entry) -> None:
    log = log_of(entry)
    ended = ": withdrawn" if log.withdrawn else ""
    click.echo(f"{log.id}: {log.kind} log of {log.unit}, {log.first} to {log.last}{ended}")


def _surveys(stores: Stores) -> Surveys:
    return Surveys(archive=stores.archive, index=stores.index, units=stores.site.registry.units)


def _logs(stores: Stores) -> QcLogs:
    return QcLogs(archive=stores.archive, index=stores.index, units=stores.site.registry.units)
