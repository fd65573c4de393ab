"""``dicom-node serve``: run the node."""

import contextlib

import click

from dicom_node import __version__, logs
from dicom_node.cli.app import App, pass_app, tell_problems
from dicom_node.cli.phrases import own_name
from dicom_node.node import Node
from dicom_node.settings import Settings
from dicom_node.site import Site, open_stores


@click.command()
@click.option("--create", is_flag=True, help="Make a new archive where the storage folder is missing or empty.")
@pass_app
def serve(app: App, *, create: bool) -> None:
    """Run the node until SIGTERM or Ctrl-C; SIGHUP reads the configuration again.

    On SIGTERM associations in progress get time to end; a second one cuts that short.
    """
    loaded = app.loaded
    tell_problems([], loaded.warnings)
    settings = loaded.settings
    level: logs.Level = "debug" if app.verbosity > 0 else "error" if app.verbosity < 0 else settings.log.level
    logs.configure(level=level, form=settings.log.format)
    with contextlib.ExitStack() as undo:
        stores = undo.enter_context(contextlib.closing(open_stores(Site.of(settings), create=create)))
        node = Node(stores)
        undo.pop_all()  # from here on the node closes them, when it has drained
    node.run(
        reload=lambda: app.fresh().settings,
        # A service manager starts nobody's terminal: there the log tells all there is to tell.
        announce=lambda running: None if "INVOCATION_ID" in app.environ else _tell(settings, running),
    )


def _tell(settings: Settings, node: Node) -> None:
    """Tell the person at the terminal what runs, and what to try."""
    title, host, port = settings.node.ae_title[0], settings.node.bind, node.port
    click.echo(f"dicom-node {__version__} · {settings.facility.name} · data in {settings.storage.path}")
    click.echo(f"listening for DICOM: {title} at {host} port {port}")
    if not settings.alerts.channel:
        click.echo(f"mails are written to {settings.storage.path / 'outbox'} until an [[alerts.channel]] is set")
    click.echo("try, from another terminal:")
    unit = next((name for name, unit in settings.units.items() if any(each.ae_title for each in unit.identity)), "")
    if unit:
        click.echo(f"  {own_name()} send node --exam {unit}")
    if any("find" in each.services for each in settings.callers()):
        click.echo(f"  {own_name()} find node -k StationName -k AcquisitionDate -k CountsUntil")
    click.echo(f"  {own_name()} status")
    click.echo("Ctrl-C stops.")
