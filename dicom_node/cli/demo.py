"""``dicom-node demo``: months of a facility in seconds, on a node that is thrown away."""

import shutil
import tempfile
import time
from pathlib import Path

import click

from dicom_node.cli.phrases import own_name
from dicom_node.cli.status import view_of, write_view
from dicom_node.demo.devices import HOST, NODE_AE
from dicom_node.demo.story import FIRST, LAST, VISITS, Mail, Story, story


@click.command()
@click.option("--keep", is_flag=True, help="Leave the folder with the configuration, the data and the mails.")
def demo(*, keep: bool) -> None:
    """Show ten months of a facility with three units, in less than a minute.

    Simulated units send by C-STORE to a node of its own on a free port of this machine alone, whose clock is moved from
    day to day. What is shown is what that node answers and writes. It ends with the command; its folder, with the
    mails, is removed.
    """
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="dicom-node-demo-"))
    try:
        with story(folder, click.echo) as playing:
            _play(playing, folder)
        click.echo(f"That took {time.monotonic() - began:.0f} seconds.")
    finally:
        if not keep:
            shutil.rmtree(folder)
    if keep:
        click.echo(f"Kept: {folder}. To look around: {own_name()} --config {folder / 'dicom-node.toml'} exams list")
    else:
        click.echo("The folder is removed; dicom-node demo --keep leaves it.")


def _play(playing: Story, folder: Path) -> None:
    click.echo(f"A node of its own, {NODE_AE} at {HOST} port {playing.node.port}, in {folder}.")
    click.echo(f"{len(VISITS)} exams come by C-STORE while its clock is set from {FIRST} to {LAST}, day by day.\n")
    playing.play()
    mails = [mail for mail in playing.mails if not mail.is_digest]
    _show_mail(mails[0])
    playing.ask("upright_a", "20260501-")
    click.echo("\nWhat dicom-node status says at the end:\n")
    write_view(view_of(playing.stores, playing.clock.now))
    click.echo(f"\n{len(mails)} mails, and {len(playing.mails) - len(mails)} weekly summaries: {playing.outbox}")


def _show_mail(mail: Mail) -> None:
    click.echo(f"\nThe first of these mails in full, {mail.path.name}:\n")
    for line in mail.text.rstrip().splitlines():
        click.echo(f"  | {line}".rstrip())
    click.echo("")
