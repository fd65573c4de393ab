"""What the commands that work with archive and index share: opening both, days, and who asks."""

import getpass
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime
from typing import Any

import click

from dicom_node.cli.app import App
from dicom_node.errors import OperatorError
from dicom_node.services.releases import Change
from dicom_node.site import Site, Stores, open_stores, utc_now


@contextmanager
def opened(app: App, *, renew: bool = False) -> Iterator[Stores]:
    """Open the archive and the index of the configuration. Raises as ``site.open_stores``, and ConfigError."""
    with closing(open_stores(Site.of(app.settings), renew=renew)) as stores:
        yield stores


def now() -> datetime:
    """Return the time in UTC."""
    return utc_now()


def today(stores: Stores) -> date:
    """Return the facility's calendar day."""
    return stores.site.day(utc_now())


class Day(click.ParamType[date]):
    """A calendar day as ``YYYY-MM-DD``."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Read it; anything else is wrong usage."""
        if isinstance(value, date):
            return value
        try:
            day = date.fromisoformat(value)
        except ValueError:
            day = None
        if day is None or day.isoformat() != value:  # Python reads other forms of ISO 8601 too, such as weeks
            self.fail(f"{value!r} is no day; write YYYY-MM-DD", param, ctx)
        return day


DAY = Day()


def by_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that decides something the option ``--by``: who decides."""
    return click.option(
        "--by", metavar="NAME", default=login_name, callback=_named, help="Who decides; else your login name."
    )(command)


def _named(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter("say who decides, or leave it out for your login name", ctx, param)
    return value.strip()


def reason_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that decides something the option ``--reason``."""
    return click.option("--reason", metavar="TEXT", required=True, help="Why, for the next person; no patient data.")(
        command
    )


def note_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--note``, which may be left out."""
    return click.option("--note", metavar="TEXT", default="", help="Anything worth knowing; no patient data.")(command)


def release_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the release date of a testing package, its due date, and whether it is planned."""
    for option in (
        click.option("--planned", is_flag=True, help="The day is only expected; exams go on ageing."),
        click.option("--due", "due_on", type=DAY, help="The due date printed in the package."),
        click.option(
            "--date", "released_on", type=DAY, required=True, help="The day the testing package link was released."
        ),
    ):
        command = option(command)
    return command


def change_of(stores: Stores, by: str) -> Change:
    """Return who changes something on record, now."""
    return Change(by=by, at=now(), today=today(stores))


def known_unit(stores: Stores, unit_id: str) -> str:
    """Return the id of a configured unit. Raises OperatorError for another."""
    units = stores.site.registry.units
    if unit_id not in units:
        raise OperatorError(f"there is no unit {unit_id!a}; the units are {', '.join(sorted(units)) or 'none'}")
    return unit_id


def login_name() -> str:
    """Return who is at the terminal: the login name, also under sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
