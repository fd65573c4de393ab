"""``dicom-node units``: the units of the configuration, with all there is of each."""

from collections.abc import Iterable
from datetime import date
from typing import Any

import click

from dicom_node.accreditation.portions import PORTIONS
from dicom_node.accreditation.units import Assignment, Enrolment, Identity, Registry
from dicom_node.cli.alerts import alert_json, alert_words, silence_json
from dicom_node.cli.app import App, pass_app
from dicom_node.cli.opened import known_unit, opened, today
from dicom_node.cli.output import Cell, json_option, local, printable, write_json, write_table
from dicom_node.cli.phrases import write_facts
from dicom_node.cli.readiness import readiness_json, write_readiness
from dicom_node.cli.retire import retire
from dicom_node.services.units import (
    SeenDevice,
    UnitDetails,
    UnitState,
    UnitSummary,
    unit_details,
    unit_summaries,
)
from dicom_node.site import Site

months_option = click.option(
    "--months",
    type=click.IntRange(1, 120),
    default=12,
    show_default=True,
    help="Calendar months up to today of which biopsies are counted and devices are looked at.",
)
"""How far back is looked."""


@click.group("units")
def units() -> None:
    """List the units, see all there is of one, and retire one. Units are configuration."""


units.add_command(retire)


@units.command("list")
@months_option
@json_option
@pass_app
def list_(app: App, *, months: int, as_json: bool) -> None:
    """List the units: where they are enrolled, how they show themselves, and what was last done on them."""
    with opened(app) as stores:
        site = stores.site
        found = unit_summaries(stores.index, site.registry, today=today(stores), months=months)
    if as_json:
        write_json([_summary_json(each, months) for each in found])
        return
    headers = ["Unit", "Label", "Kind", "State", "Facility", "Shown as", "Attachments", "Last contact"]
    write_table(
        [*headers, *(f"Last {each.label}" for each in PORTIONS), f"Biopsies, {months} months"],
        [
            [
                each.unit.id,
                each.unit.label,
                each.unit.kind.value,
                _state(each.state),
                each.facility.name if each.facility else "-",
                "; ".join(_in_short(identity) for identity in each.unit.identities),
                ", ".join(each.attachments) or "-",
                local(each.last_received_at, site.zone) or "-",
                *(each.last_days[portion] or "-" for portion in PORTIONS),
                each.biopsies,
            ]
            for each in found
        ],
    )


@units.command("show")
@click.argument("unit_id", metavar="UNIT")
@months_option
@json_option
@pass_app
def show(app: App, *, unit_id: str, months: int, as_json: bool) -> None:
    """Show all there is of UNIT: identities, enrolments, attachments, devices seen, packages, standing, alerts."""
    with opened(app) as stores:
        known_unit(stores, unit_id)
        day = today(stores)
        found = unit_details(stores.index, stores.site.rules, unit_id, today=day, months=months)
        site = stores.site
    if as_json:
        write_json(_details_json(found, site, day, months))
        return
    _write_unit(found, site, months)
    _write_seen(found.seen, site, months)
    _write_packages(found)
    write_readiness(found.readiness)
    for alert in found.firing:
        headline = alert_words(alert, site.labels, day).headline
        click.echo(printable(f"Alert {alert.id} ({alert.severity}): {headline}"))
    if found.silence is not None:
        click.echo(printable(f"Messages are held until {found.silence.until}: {found.silence.reason}"))
    click.echo(f"Why it stands there: dicom-node eligibility explain {unit_id}")


def span_words(span: Assignment | Enrolment) -> str:
    """Return the days of a span, both included."""
    if span.first_day is None and span.last_day is None:
        return "always"
    since = "" if span.first_day is None else f"from {span.first_day}"
    return " ".join(filter(None, (since, "" if span.last_day is None else f"to {span.last_day}")))


def _state(state: UnitState) -> Cell:
    return Cell(state.value, "" if state is UnitState.APPLYING else "dim")


def _in_short(identity: Identity) -> str:
    """Return the strongest signs of an identity: who calls, and the serial number, else what else it says."""
    signs = [identity.ae_title, f"serial {identity.device_serial}" if identity.device_serial else ""]
    others = (identity.station_name, identity.detector_id, identity.device_uid)
    return ", ".join(filter(None, signs)) or next(filter(None, others), "")


def _in_full(identity: Identity) -> str:
    hosts = ", ".join(map(str, identity.hosts))
    told = {
        "": f"{identity.ae_title} from {hosts}" if identity.ae_title else "",
        "serial ": identity.device_serial,
        "manufacturer ": identity.manufacturer,
        "station ": identity.station_name,
        "institution ": identity.institution,
        "detector ": identity.detector_id,
        "device UID ": identity.device_uid,
    }
    return ", ".join(f"{name}{value}" for name, value in told.items() if value)


def _enrolments(found: UnitDetails, registry: Registry) -> list[str]:
    listed = found.summary.unit.enrolments
    if not listed:
        facility = found.summary.facility
        return [f"{facility.name}, while it is in service" if facility else ""]
    return [f"{registry.facilities[each.facility].name}, {span_words(each)}" for each in listed]


def _write_unit(found: UnitDetails, site: Site, months: int) -> None:
    summary, unit = found.summary, found.summary.unit
    click.echo(printable(f"{unit.id}: {unit.label}"))
    attached = (f"{attachment.id} {span_words(each)}" for attachment, each in found.assignments)
    write_facts(
        [
            ("  State", summary.state.value),
            ("  Kind", unit.kind.value),
            ("  In service", _service(unit.installed_on, unit.retired_on)),
            *(("  Enrolled", each) for each in _enrolments(found, site.registry)),
            *(("  Shown as", _in_full(identity)) for identity in unit.identities),
            ("  Phantoms", ", ".join((*unit.phantom_patient_ids, *unit.phantom_words))),
            *(("  Attachment", each) for each in attached),
            ("  Last contact", local(summary.last_received_at, site.zone) or "never"),
            ("  Biopsies", f"{summary.biopsies} in {months} months"),
        ]
    )


def _service(first: date | None, last: date | None) -> str:
    return " ".join(filter(None, (f"from {first}" if first else "", f"to {last}" if last else "")))


def _write_seen(seen: Iterable[SeenDevice], site: Site, months: int) -> None:
    click.echo(f"Seen in {months} months:")
    write_table(
        ["  Sender", "Address", "Listed as", "Serial", "Manufacturer", "Station", "Images", "Last received"],
        [
            [
                f"  {each.shown.calling_ae or '(import)'}",
                each.shown.peer_address or "-",
                each.sender or ("-" if not each.shown.calling_ae else Cell("not listed", "yellow")),
                _listed(each.shown.serial, is_listed=each.serial_listed),
                each.shown.manufacturer or "-",
                _listed(each.shown.station, is_listed=each.station_listed),
                each.shown.instances,
                local(each.shown.last_received_at, site.zone),
            ]
            for each in seen
        ],
    )


def _listed(text: str, *, is_listed: bool) -> Cell | str:
    return (text or "-") if is_listed else Cell(f"{text} (not listed)", "yellow")


def _write_packages(found: UnitDetails) -> None:
    if found.packages:
        click.echo("Testing packages:")
        write_table(
            ["  ID", "Released", "Due", "State"],
            [[f"  {each.id}", each.released_on, each.due_on or "-", each.state.value] for each in found.packages],
        )


# For programs.


def _summary_json(each: UnitSummary, months: int) -> dict[str, Any]:
    unit = each.unit
    return {
        "unit": unit.id,
        "label": unit.label,
        "kind": unit.kind,
        "state": each.state,
        "facility": each.facility.id if each.facility else None,
        "facility_name": each.facility.name if each.facility else None,
        "identities": [identity_json(identity) for identity in unit.identities],
        "attachments": each.attachments,
        "last_received_at": each.last_received_at,
        "last_days": {portion.value: each.last_days[portion] for portion in PORTIONS},
        "months": months,
        "biopsies": each.biopsies,
    }


def identity_json(identity: Identity) -> dict[str, Any]:
    """Return an identity as programs read it; what it does not say is null."""
    return {name: getattr(identity, name) or None for name in Identity.__slots__ if name != "hosts"} | {
        "hosts": [str(host) for host in identity.hosts]
    }


def _details_json(found: UnitDetails, site: Site, day: date, months: int) -> dict[str, Any]:
    unit = found.summary.unit
    return _summary_json(found.summary, months) | {
        "installed_on": unit.installed_on,
        "retired_on": unit.retired_on,
        "enrolments": [
            {"facility": each.facility, "name": site.registry.facilities[each.facility].name} | _span_json(each)
            for each in unit.enrolments
        ],
        "assignments": [{"attachment": attachment.id} | _span_json(each) for attachment, each in found.assignments],
        "seen": [_seen_json(each) for each in found.seen],
        "packages": [
            {"id": each.id, "released_on": each.released_on, "due_on": each.due_on, "state": each.state}
            for each in found.packages
        ],
        "readiness": readiness_json(found.readiness),
        "alerts": [alert_json(each, alert_words(each, site.labels, day)) for each in found.firing],
        "silence": None if found.silence is None else silence_json(found.silence),
    }


def _span_json(span: Assignment | Enrolment) -> dict[str, Any]:
    return {"from": span.first_day, "to": span.last_day}


def _seen_json(each: SeenDevice) -> dict[str, Any]:
    shown = each.shown
    return {
        "calling_ae": shown.calling_ae,
        "address": shown.peer_address,
        "listed_as": each.sender or None,
        "serial": shown.serial,
        "serial_listed": each.serial_listed,
        "manufacturer": shown.manufacturer,
        "station": shown.station,
        "station_listed": each.station_listed,
        "images": shown.instances,
        "first_received_at": shown.first_received_at,
        "last_received_at": shown.last_received_at,
    }
