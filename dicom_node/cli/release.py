"""``dicom-node release``: the testing packages of the units, as people record them."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import date

import click

from dicom_node.accreditation.standing import ReleaseState
from dicom_node.cli.app import App, pass_app
from dicom_node.cli.opened import DAY, by_option, change_of, known_unit, note_option, opened, release_options
from dicom_node.cli.output import json_option, printable, write_json, write_table
from dicom_node.index.releases import ReleaseVersion
from dicom_node.services.releases import Releases
from dicom_node.site import Stores

_AMENDABLE = tuple(each.value for each in ReleaseState if each is not ReleaseState.CLOSED)


@click.group("release")
def release() -> None:
    """Record testing packages. The release date fixes the window; without one exams age day by day."""


@release.command("record")
@click.argument("unit_id", metavar="UNIT")
@release_options
@click.option("--cycle", "cycle_id", metavar="ID", help="The cycle it belongs to; else the one that is open, if any.")
@note_option
@by_option
@pass_app
def record(
    app: App,
    *,
    unit_id: str,
    released_on: date,
    due_on: date | None,
    planned: bool,
    cycle_id: str | None,
    note: str,
    by: str,
) -> None:
    """Record that the testing package of UNIT was released, or is planned."""
    with opened(app) as stores:
        made = _releases(stores).record(
            unit_id,
            released_on,
            due_on=due_on,
            planned=planned,
            cycle_id=cycle_id,
            note=note,
            change=change_of(stores, by),
        )
    _tell(made)
    if not made.cycle_id:
        click.echo("It belongs to no accreditation cycle: dicom-node cycles list")


@release.command("list")
@click.option("--unit", "unit_id", metavar="UNIT", help="Of one unit.")
@click.option("--history", is_flag=True, help="With every version each package had.")
@json_option
@pass_app
def list_(app: App, *, unit_id: str | None, history: bool, as_json: bool) -> None:
    """List the testing packages, newest release first."""
    with opened(app) as stores:
        if unit_id is not None:
            known_unit(stores, unit_id)
        service = _releases(stores)
        found = service.in_force(unit_id)
        if history:
            found = [version for each in found for version in reversed(service.history(each.id))]
    if as_json:
        names = {"unit_id": "unit", "cycle_id": "cycle"}
        write_json([{names.get(key, key): value for key, value in asdict(each).items()} for each in found])
        return
    _write(found)


@release.command("amend")
@click.argument("release_id", metavar="ID")
@click.option("--date", "released_on", type=DAY, help="The right release date.")
@click.option("--due", "due_on", type=DAY, help="The right due date.")
@click.option("--state", type=click.Choice(_AMENDABLE), help="How far it is.")
@click.option("--cycle", "cycle_id", metavar="ID", help="The right cycle.")
@note_option
@by_option
@pass_app
def amend(
    app: App,
    *,
    release_id: str,
    released_on: date | None,
    due_on: date | None,
    state: str | None,
    cycle_id: str | None,
    note: str,
    by: str,
) -> None:
    """Change a testing package; what is not given stays, and the version before is kept."""
    if released_on is None and due_on is None and state is None and cycle_id is None and not note:
        raise click.UsageError("nothing to change; give --date, --due, --state, --cycle or --note")
    with opened(app) as stores:
        made = _releases(stores).amend(
            release_id,
            released_on=released_on,
            due_on=due_on,
            state=ReleaseState(state) if state else None,
            cycle_id=cycle_id,
            note=note,
            change=change_of(stores, by),
        )
    _tell(made)


@release.command("close")
@click.argument("release_id", metavar="ID")
@note_option
@by_option
@pass_app
def close(app: App, *, release_id: str, note: str, by: str) -> None:
    """Close a testing package: it was recorded by mistake, or accreditation has been granted or given up."""
    with opened(app) as stores:
        made = _releases(stores).close(release_id, note=note, change=change_of(stores, by))
    _tell(made)


def _releases(stores: Stores) -> Releases:
    return Releases(archive=stores.archive, index=stores.index, units=stores.site.registry.units)


def _tell(version: ReleaseVersion) -> None:
    due = f", due on {version.due_on}" if version.due_on else ""
    cycle = f", in cycle {version.cycle_id}" if version.cycle_id else ""
    click.echo(
        f"{version.id}: testing package of {version.unit_id}, {version.released_on}{due}: {version.state}{cycle}"
    )
    click.echo(f"What it means: dicom-node eligibility explain {version.unit_id}")


def _write(found: Iterable[ReleaseVersion]) -> None:
    write_table(
        ["ID", "Unit", "Released", "Due", "State", "Cycle", "Version", "Changed by", "Note"],
        [
            [
                each.id,
                each.unit_id,
                each.released_on,
                each.due_on or "-",
                each.state.value,
                each.cycle_id or "-",
                each.version,
                printable(each.changed_by),
                printable(each.note),
            ]
            for each in found
        ],
    )
