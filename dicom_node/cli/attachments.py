"""``dicom-node attachments``: the add-on attachments, their hosts, and what was done with them."""

from typing import Any

import click

from dicom_node.alerts.phrases import counted
from dicom_node.cli.app import App, pass_app
from dicom_node.cli.opened import opened, today
from dicom_node.cli.output import Cell, json_option, printable, write_json, write_table
from dicom_node.cli.phrases import write_sentence
from dicom_node.cli.units import identity_json, months_option, span_words
from dicom_node.errors import OperatorError
from dicom_node.services.attachments import AttachmentSummary, Host, attachment_summaries


@click.group("attachments")
def attachments() -> None:
    """See the attachments: the units they belong to and when, and the biopsies made with them on each."""


@attachments.command("list")
@months_option
@json_option
@pass_app
def list_(app: App, *, months: int, as_json: bool) -> None:
    """List the attachments with the units they are on today, and what needs somebody."""
    with opened(app) as stores:
        day = today(stores)
        found = attachment_summaries(stores.index, stores.site.rules, today=day, months=months)
    if as_json:
        write_json([_json(each, months) for each in found])
        return
    write_table(
        ["Attachment", "Label", "On", "Before", "Last biopsy", f"Biopsies, {months} months", "Needs somebody"],
        [
            [
                each.attachment.id,
                each.attachment.label,
                ", ".join(host.unit_id for host in each.hosts if host.assigned_today) or "-",
                ", ".join(host.unit_id for host in each.hosts if host.assigned and not host.assigned_today) or "-",
                each.last or "-",
                each.recent,
                Cell(str(len(each.needs)), "yellow") if each.needs else "-",
            ]
            for each in found
        ],
    )
    for each in found:
        for sentence in each.needs:
            write_sentence(f"! {each.attachment.id}: {sentence}", rest="  ")


@attachments.command("show")
@click.argument("attachment_id", metavar="ATTACHMENT")
@months_option
@json_option
@pass_app
def show(app: App, *, attachment_id: str, months: int, as_json: bool) -> None:
    """Show ATTACHMENT: its units with their days, the biopsies on each, and what needs somebody."""
    with opened(app) as stores:
        known = stores.site.registry.attachments
        if attachment_id not in known:
            names = ", ".join(sorted(known)) or "none"
            raise OperatorError(f"there is no attachment {attachment_id!a}; the attachments are {names}")
        (found,) = attachment_summaries(
            stores.index, stores.site.rules, today=today(stores), months=months, attachment_ids=[attachment_id]
        )
    if as_json:
        write_json(_json(found, months))
        return
    click.echo(printable(f"{attachment_id}: {found.attachment.label}"))
    click.echo(f"{counted(found.recent, 'biopsy', 'biopsies')} in {months} months")
    write_table(
        ["Unit", "Assigned", "Biopsies with it", "First", "Last", "Last on the unit"],
        [
            [
                host.unit_id or Cell("unknown", "yellow"),
                "; ".join(span_words(each) for each in host.assigned) or Cell("never", "yellow"),
                host.biopsies,
                host.first or "-",
                host.last or "none",
                host.last_biopsy or "none",
            ]
            for host in found.hosts
        ],
    )
    for sentence in found.needs:
        write_sentence(f"! {sentence}", rest="  ")


def _json(each: AttachmentSummary, months: int) -> dict[str, Any]:
    return {
        "attachment": each.attachment.id,
        "label": each.attachment.label,
        "identities": [identity_json(identity) for identity in each.attachment.identities],
        "units_today": [host.unit_id for host in each.hosts if host.assigned_today],
        "last_biopsy": each.last,
        "months": months,
        "biopsies": each.recent,
        "hosts": [_host_json(host) for host in each.hosts],
        "needs": each.needs,
    }


def _host_json(host: Host) -> dict[str, Any]:
    return {
        "unit": host.unit_id or None,
        "assigned": [{"from": each.first_day, "to": each.last_day} for each in host.assigned],
        "assigned_today": host.assigned_today,
        "biopsies": host.biopsies,
        "first": host.first,
        "last": host.last,
        "last_biopsy_on_unit": host.last_biopsy,
    }
