"""``dicom-node units retire``: a unit's last day in service, written into the configuration file."""

from collections.abc import Mapping
from datetime import date
from typing import NoReturn

import click

from dicom_node.accreditation.standing import Standing
from dicom_node.alerts.phrases import counted
from dicom_node.cli.alerts import alert_words
from dicom_node.cli.app import FAILED, App, pass_app
from dicom_node.cli.opened import DAY, by_option, known_unit, opened, today
from dicom_node.cli.output import printable, write_table
from dicom_node.cli.phrases import write_sentence
from dicom_node.errors import ConfigError, OperatorError
from dicom_node.services import audit
from dicom_node.services.units import Retirement, retirement
from dicom_node.settings import Loaded, load_text, read_text, replace_text, with_day

_KEY = "retired_on"


@click.command("retire")
@click.argument("unit_id", metavar="UNIT")
@click.option("--on", "last_day", type=DAY, required=True, help="Its last day in service.")
@click.option("--print", "only_print", is_flag=True, help="Write the lines for the configuration, and change nothing.")
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
@click.option("--reason", metavar="TEXT", default="", help="Why, for the next person; no patient data.")
@by_option
@pass_app
def retire(app: App, *, unit_id: str, last_day: date, only_print: bool, is_sure: bool, reason: str, by: str) -> None:
    """Write the last day in service of UNIT into the configuration file, after showing what that changes.

    Its alarms stop after that day; what is on file stays. Of the file one line changes.
    """
    if not (reason or only_print):
        raise click.UsageError("a reason is missing; give --reason")
    loaded = app.loaded
    with opened(app) as stores:
        site = stores.site
        known_unit(stores, unit_id)
        if only_print:
            _write_lines(loaded, unit_id, last_day)
            return
        if site.registry.units[unit_id].retired_on == last_day:
            click.echo(f"Nothing to do: {unit_id} is retired on {last_day} already.")
            return
        before = read_text(loaded.path)
        after, changed = _changed(app, loaded, before, unit_id, last_day)
        day = today(stores)
        found = retirement(stores.index, site.rules, changed.settings.registry(), unit_id, last_day=last_day, today=day)
        _write_found(found, unit_id, site.labels, day)
        for warning in changed.warnings:
            if warning.rpartition(": ")[2] not in {each.rpartition(": ")[2] for each in loaded.warnings}:
                write_sentence(f"! {warning}", rest="  ")
        if not is_sure and not click.confirm(printable(f"Write {_KEY} = {last_day} into {loaded.path}?")):
            click.echo("Nothing was changed.")
            raise click.exceptions.Exit(FAILED)
        try:
            replace_text(loaded.path, before, after)
        except OperatorError as error:
            _by_hand(loaded, unit_id, last_day, str(error))
        audit.unit_retired(stores.archive.audit, by=by, unit_id=unit_id, retired_on=last_day.isoformat(), reason=reason)
    click.echo(printable(f"{loaded.path} says so now. A running node takes it with: systemctl reload dicom-node"))


def _changed(app: App, loaded: Loaded, text: str, unit_id: str, last_day: date) -> tuple[str, Loaded]:
    """Return the text with the unit retired, and what it means. Raises OperatorError with what to do by hand."""
    path = ("units", unit_id, _KEY)
    variable = loaded.origins.variable(path)
    if variable:
        _by_hand(loaded, unit_id, last_day, f"{'.'.join(path)} comes from the environment, by {variable}")
    try:
        after = with_day(text, path[:-1], _KEY, last_day)
    except OperatorError as error:
        _by_hand(loaded, unit_id, last_day, str(error))
    try:
        return after, load_text(loaded.path, after, app.environ)
    except ConfigError as error:
        problems = "; ".join(error.problems)
        raise OperatorError(f"with {_KEY} = {last_day} the configuration would be wrong: {problems}") from None


def _by_hand(loaded: Loaded, unit_id: str, last_day: date, problem: str) -> NoReturn:
    _write_lines(loaded, unit_id, last_day)
    raise OperatorError(f"{problem}; nothing was changed: write it yourself as above")


def _write_lines(loaded: Loaded, unit_id: str, last_day: date) -> None:
    """Write what the configuration, or the environment over it, has to say."""
    variable = loaded.origins.variable(("units", unit_id, _KEY))
    if variable:
        click.echo(printable(f"{variable}={last_day}"))
        return
    click.echo(printable(f"# {loaded.origins.place(('units', unit_id, _KEY))}"))
    click.echo(f"[units.{unit_id}]\n{_KEY} = {last_day}")


def _write_found(found: Retirement, unit_id: str, labels: Mapping[str, str], day: date) -> None:
    write_table(
        ["Unit", "Portion", "Now", "Cutoff", f"On {found.after_on}", "Cutoff"],
        [
            [unit_id if number == 0 else "", one.portion.label, *_cells(one), *_cells(other)]
            for number, (one, other) in enumerate(zip(found.before, found.after, strict=True))
        ],
    )
    for alert in found.ends:
        write_sentence(f"Alert {alert.id} ends: {alert_words(alert, labels, day).headline}", rest="  ")
    if not found.ends:
        click.echo("No alert ends by it.")
    if found.later_exams:
        number, shown = counted(len(found.later_exams), "exam"), ", ".join(found.later_exams[:5])
        write_sentence(f"! On file and made after that day: {number} ({shown}).", rest="  ")


def _cells(standing: Standing) -> list[str]:
    return [standing.state.value, str(standing.cutoff or "-")]
