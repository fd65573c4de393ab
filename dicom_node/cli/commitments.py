"""``dicom-node commitments``: who asked for storage commitment, and how far the reports have come."""

import click

from dicom_node.cli.app import App, pass_app
from dicom_node.cli.opened import opened
from dicom_node.cli.output import json_option, local, write_json, write_table
from dicom_node.index.commitments import list_requests

_HEADERS = ["Asked", "Caller", "Transaction UID", "Instances", "Failed", "State", "Attempts", "Last error"]


@click.group("commitments")
def commitments() -> None:
    """See the requests for storage commitment: senders that want to know whether what they sent is safe."""


@commitments.command("list")
@json_option
@pass_app
def list_(app: App, *, as_json: bool) -> None:
    """List the requests that wait for their report, and those of the last 90 days, the newest first."""
    with opened(app) as stores:
        zone = stores.site.zone
        with stores.index.read() as conn:
            found = list_requests(conn)
    if as_json:
        write_json(found)
    elif not found:
        click.echo("Nobody asked for storage commitment.")
    else:
        write_table(
            _HEADERS,
            [
                [
                    local(each.created_at, zone),
                    f"{each.caller} ({each.calling_ae})",
                    each.transaction_uid,
                    each.instances,
                    "-" if each.failed is None else each.failed,
                    each.state,
                    each.attempts,
                    each.last_error,
                ]
                for each in found
            ],
        )
