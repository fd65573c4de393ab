"""``dicom-node unattributed``: exams that wait to be told their unit."""

import click

from dicom_node.accreditation.months import first_day
from dicom_node.cli.app import App, pass_app
from dicom_node.cli.exam_words import exam_json
from dicom_node.cli.exams import attribute_exam
from dicom_node.cli.opened import by_option, opened, reason_option, today
from dicom_node.cli.output import json_option, local, printable, write_json
from dicom_node.cli.phrases import day_words, write_facts
from dicom_node.services.unattributed import waiting_exams


@click.group("unattributed")
def unattributed() -> None:
    """List exams that nobody could place, and say which unit made them. They count toward nothing until then."""


@unattributed.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are too old to count.")
@json_option
@pass_app
def list_(app: App, *, everything: bool, as_json: bool) -> None:
    """List the exams with no unit: why, which units it could be, and what came near to telling."""
    with opened(app) as stores:
        site = stores.site
        since = None if everything else first_day(today(stores), site.rules.oldest_months)
        found = waiting_exams(stores.archive, stores.index, site.registry, since=since)
    if as_json:
        write_json(
            [
                exam_json(each.exam)
                | {"senders": each.senders, "doubt": each.exam.attribution, "near_misses": each.near_misses}
                for each in found
            ]
        )
        return
    for each in found:
        exam, images = each.exam, "image" if each.exam.primary_count == 1 else "images"
        senders = ", ".join(sender or "an import" for sender in each.senders)
        click.echo(
            printable(
                f"{exam.id}  {day_words(exam.day)}, {exam.primary_count} {images} from {senders}, "
                f"received {local(exam.last_received_at, site.zone)}"
            )
        )
        write_facts(
            [
                ("  Doubt", exam.attribution),
                ("  Could be", ", ".join(exam.candidates)),
                ("  Closest", each.near_misses[0] if each.near_misses else ""),
                ("  Device", "no unit's configuration names it" if exam.unregistered else ""),
                ("  Remarks", "; ".join(exam.flags)),
            ]
        )
    if found:
        click.echo("Decide: dicom-node unattributed resolve ID --unit UNIT --reason TEXT")
    else:
        click.echo("No exam waits to be told its unit.")


@unattributed.command("resolve")
@click.argument("exam_id", metavar="ID")
@click.option("--unit", "unit_id", metavar="UNIT", required=True, help="The unit it was made on.")
@reason_option
@by_option
@pass_app
def resolve(app: App, *, exam_id: str, unit_id: str, reason: str, by: str) -> None:
    """Say which unit an exam was made on, as exams attribute does."""
    attribute_exam(app, exam_id, unit_id, reason, by)
