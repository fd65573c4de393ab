"""``dicom-node cycles``: the accreditation cycles of the facility, and what is set for all of its units at once."""

from collections.abc import Iterable
from datetime import date
from typing import Any

import click

from dicom_node.accreditation.cycles import Joining
from dicom_node.accreditation.months import add_months
from dicom_node.accreditation.standing import ReleaseState
from dicom_node.accreditation.units import OWN_FACILITY
from dicom_node.alerts.phrases import counted
from dicom_node.cli.app import App, pass_app
from dicom_node.cli.opened import DAY, by_option, change_of, note_option, opened, release_options, today
from dicom_node.cli.output import json_option, local, printable, write_json, write_table
from dicom_node.cli.phrases import write_sentence
from dicom_node.index.entries import Entry
from dicom_node.services.renewals import MARKS, Cycles, CycleView, Done, Outcome, UnitOfCycle
from dicom_node.site import Stores


@click.group("cycles")
def cycles() -> None:
    """Keep the accreditation cycles: until which expiry, which unit has its package, how far each is."""


@cycles.command("open")
@click.option("--facility", metavar="ID", default=OWN_FACILITY, show_default=True, help="Whose accreditation it is.")
@click.option("--expires", "expires_on", type=DAY, help="Last day of the accreditation to renew; none for the first.")
@note_option
@by_option
@pass_app
def open_(app: App, *, facility: str, expires_on: date | None, note: str, by: str) -> None:
    """Open a cycle. Exams of units whose last package is over age again, until they have one of this cycle."""
    with opened(app) as stores:
        service = _cycles(stores)
        made = service.open(facility, expires_on, note=note, change=change_of(stores, by))
        view = service.view(made.id, today(stores))
    _tell(view)


@cycles.command("list")
@json_option
@pass_app
def list_(app: App, *, as_json: bool) -> None:
    """List the cycles, open ones first."""
    with opened(app) as stores:
        views = _cycles(stores).views(today(stores))
    if as_json:
        write_json([_as_json(each) for each in views])
        return
    write_table(
        ["ID", "Facility", "Expires", "State", "Units", "With package", "Note"],
        [
            [
                each.cycle.id,
                each.cycle.facility,
                each.cycle.expires_on or "-",
                each.state.value,
                len(each.units),
                sum(unit.package is not None for unit in each.units),
                printable(each.versions[-1].note),
            ]
            for each in views
        ],
    )


@cycles.command("show")
@click.argument("cycle_id", metavar="ID")
@json_option
@pass_app
def show(app: App, *, cycle_id: str, as_json: bool) -> None:
    """Show a cycle with the package of each unit, who lacks one, and every version it had."""
    with opened(app) as stores:
        view = _cycles(stores).view(cycle_id, today(stores))
        zone, months = stores.site.zone, stores.site.rules.policy.terms.addendum_months
    if as_json:
        write_json(_as_json(view) | {"versions": [_version_json(each) for each in view.versions]})
        return
    _tell(view)
    write_table(
        ["Unit", "Package", "Released", "Due", "State"],
        [
            [
                each.unit,
                each.package or "-",
                each.released_on or "-",
                _due(each),
                "lacks a package" if each.state is None else each.state.value,
            ]
            for each in view.units
        ],
    )
    if any(each.due is not None and each.due_on is None for each in view.units):
        click.echo("*: computed, no due date is printed in the package")
    write_sentence(_added(view, months))
    click.echo()
    write_table(
        ["Version", "Expires", "Closed", "Changed", "By", "Note"],
        [
            [
                each.version,
                each.data["expires_on"] or "-",
                "yes" if each.data["closed"] else "no",
                local(each.changed_at, zone),
                printable(each.changed_by),
                printable(each.note),
            ]
            for each in view.versions
        ],
    )


@cycles.command("renew")
@click.argument("cycle_id", metavar="ID")
@release_options
@note_option
@by_option
@pass_app
def renew(
    app: App, *, cycle_id: str, released_on: date, due_on: date | None, planned: bool, note: str, by: str
) -> None:
    """Set one release, planned or out, for all applying units of the facility."""
    with opened(app) as stores:
        done = _cycles(stores).renew(
            cycle_id, released_on, due_on=due_on, planned=planned, note=note, change=change_of(stores, by)
        )
    _tell_done(done)


@cycles.command("addendum")
@click.argument("cycle_id", metavar="ID")
@click.argument("unit_id", metavar="UNIT")
@release_options
@note_option
@by_option
@pass_app
def addendum(
    app: App,
    *,
    cycle_id: str,
    unit_id: str,
    released_on: date,
    due_on: date | None,
    planned: bool,
    note: str,
    by: str,
) -> None:
    """Give UNIT, which is added, a package of its own; it inherits the expiry of the cycle."""
    with opened(app) as stores:
        service = _cycles(stores)
        made = service.addendum(
            cycle_id, unit_id, released_on, due_on=due_on, planned=planned, note=note, change=change_of(stores, by)
        )
        expires_on = service.view(cycle_id, today(stores)).cycle.expires_on
    _tell_done([Done(unit=unit_id, outcome=Outcome.RECORDED, package=made)])
    click.echo(f"It is an addendum to cycle {cycle_id} and inherits its expiry, {expires_on}.")


@cycles.command("mark")
@click.argument("cycle_id", metavar="ID")
@click.argument("state", type=click.Choice([each.value for each in MARKS]))
@click.option("--unit", "unit_id", metavar="UNIT", help="The package of one unit alone.")
@note_option
@by_option
@pass_app
def mark(app: App, *, cycle_id: str, state: str, unit_id: str | None, note: str, by: str) -> None:
    """Say what became of the packages of a cycle: submitted, passed, deficient."""
    with opened(app) as stores:
        done = _cycles(stores).mark(
            cycle_id, ReleaseState(state), unit_id=unit_id, note=note, change=change_of(stores, by)
        )
    _tell_done(done)


@cycles.command("amend")
@click.argument("cycle_id", metavar="ID")
@click.option("--expires", "expires_on", type=DAY, help="The right last day of the accreditation.")
@note_option
@by_option
@pass_app
def amend(app: App, *, cycle_id: str, expires_on: date | None, note: str, by: str) -> None:
    """Change a cycle; what is not given stays, and the version before is kept."""
    if expires_on is None and not note:
        raise click.UsageError("nothing to change; give --expires or --note")
    with opened(app) as stores:
        service = _cycles(stores)
        service.amend(cycle_id, expires_on=expires_on, note=note, change=change_of(stores, by))
        view = service.view(cycle_id, today(stores))
    _tell(view)


@cycles.command("close")
@click.argument("cycle_id", metavar="ID")
@note_option
@by_option
@pass_app
def close(app: App, *, cycle_id: str, note: str, by: str) -> None:
    """Close a cycle and what is only planned in it; not while a package is out or submitted."""
    with opened(app) as stores:
        service = _cycles(stores)
        done = service.close(cycle_id, note=note, change=change_of(stores, by))
        view = service.view(cycle_id, today(stores))
    _tell(view)
    _tell_done(done)
    click.echo("What was out ages no more until the next cycle is open: dicom-node cycles open --expires DAY")


def _cycles(stores: Stores) -> Cycles:
    site = stores.site
    return Cycles(archive=stores.archive, index=stores.index, units=site.registry.units, terms=site.rules.policy.terms)


# For people.


def _tell(view: CycleView) -> None:
    cycle = view.cycle
    what = "first accreditation" if cycle.expires_on is None else f"expires on {cycle.expires_on}"
    click.echo(printable(f"{cycle.id}: cycle of {cycle.facility}, {what}: {view.state}"))
    if view.lacking:
        lacking = ", ".join(view.lacking)
        write_sentence(f"{counted(len(view.lacking), 'unit')} without a package of this cycle: {lacking}")


def _tell_done(done: Iterable[Done]) -> None:
    for each in done:
        if each.outcome is Outcome.LEFT or each.package is None:
            write_sentence(f"{each.unit}: left as it is, {each.why}", rest="  ")
            continue
        now = each.package
        due = f", due on {now.due_on}" if now.due_on else ""
        click.echo(
            f"{each.unit}: {each.outcome}, {now.id}: testing package of {now.released_on}{due}: {now.state} "
            f"(version {now.version})"
        )


def _due(unit: UnitOfCycle) -> str:
    if unit.due is None:
        return "-"
    return str(unit.due) if unit.due_on is not None else f"{unit.due} *"


def _added(view: CycleView, months: int) -> str:
    expires_on = view.cycle.expires_on
    match view.unit_added_today:
        case Joining.FIRST:
            return "A unit added now is accredited together with the others."
        case Joining.ADDENDUM if expires_on is not None:
            last = add_months(expires_on, -months)
            return f"A unit added before {last} ({months} months before the expiry) is an addendum and inherits it."
        case Joining.EARLY_RENEWAL if expires_on is not None:
            since = add_months(expires_on, -months)
            return f"A unit added since {since} ({months} months before the expiry) means early renewal of all units."
        case _:
            return "The cycle is closed."


# For programs.


def _as_json(view: CycleView) -> dict[str, Any]:
    cycle, last = view.cycle, view.versions[-1]
    return {
        "id": cycle.id,
        "facility": cycle.facility,
        "expires_on": cycle.expires_on,
        "state": view.state,
        "units": view.units,
        "lacking": view.lacking,
        "unit_added_today": view.unit_added_today,
        "version": last.version,
        "note": last.note,
        "changed_by": last.changed_by,
        "changed_at": last.changed_at,
    }


def _version_json(version: Entry) -> dict[str, Any]:
    return {
        "version": version.version,
        "expires_on": version.data["expires_on"],
        "closed": version.data["closed"],
        "note": version.note,
        "changed_by": version.changed_by,
        "changed_at": version.changed_at,
    }
