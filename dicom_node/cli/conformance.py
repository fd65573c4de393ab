"""``dicom-node conformance``: the DICOM conformance statement, made from the tables that the node works by."""

from collections.abc import Callable

import click

from dicom_node.cli import (
    conformance_exchange,
    conformance_network,
    conformance_overview,
    conformance_parameters,
    conformance_query,
    conformance_security,
    conformance_storage,
)
from dicom_node.cli.app import App, pass_app
from dicom_node.cli.conformance_text import DEFAULTS, Facts
from dicom_node.errors import ConfigError
from dicom_node.settings import find_config

CHAPTERS: tuple[Callable[[Facts], list[str]], ...] = (
    conformance_overview.overview,
    conformance_overview.introduction,
    conformance_overview.model,
    conformance_storage.services,
    conformance_query.services,
    conformance_exchange.services,
    conformance_parameters.configuration,
    conformance_network.communication,
    conformance_security.security,
)
"""Each gives the blocks of its text, in the order of PS3.2 annex N."""


@click.command("conformance")
@pass_app
def conformance(app: App) -> None:
    """Write the DICOM conformance statement, in Markdown.

    With a configuration it names the AE titles, ports, limits and private SOP classes of the site; where there is none,
    the defaults.
    """
    click.echo(statement(_facts(app)))


def statement(facts: Facts) -> str:
    """Return the statement (PS3.2 annex N) as Markdown, without a line end after it."""
    return "\n\n".join(block for chapter in CHAPTERS for block in chapter(facts))


def _facts(app: App) -> Facts:
    try:
        find_config(app.config, app.environ)
    except ConfigError:  # there is none
        return DEFAULTS
    settings = app.settings
    return Facts(node=settings.node, min_free=settings.storage.min_free, facility=settings.facility.name)
