"""``dicom-node check-config``: every problem of a configuration file, or what is in force."""

import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from dicom_node.archive.journal import Journal
from dicom_node.archive.space import Volume
from dicom_node.cli.app import App, pass_app, tell_problems
from dicom_node.cli.output import printable
from dicom_node.errors import NodeError
from dicom_node.services.policies import choose_in_force
from dicom_node.settings import Settings, certificates_in, check_certificates, show


@click.command("check-config")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--show", "is_shown", is_flag=True, help="Write every key in force; secrets are not shown.")
@click.option("--show-origin", "with_origin", is_flag=True, help="With each key, the line or variable that set it.")
@pass_app
def check_config(app: App, *, file: Path | None, is_shown: bool, with_origin: bool) -> None:
    """Check the configuration, or FILE, as the node would read it.

    Each problem is written as "file:line: key: what is wrong, what to write". Exit code 78 when there is one.
    """
    loaded = replace(app, config=file or app.config).loaded
    warnings = check_certificates(loaded, datetime.now(UTC))
    tell_problems([], [*loaded.warnings, *warnings, *_unaccepted(loaded.settings)])
    if is_shown or with_origin:
        for key, text, origin in show(loaded):
            click.echo(f"{printable(key)} = {printable(text)}" + (f"  # {printable(origin)}" if with_origin else ""))
        return
    settings = loaded.settings
    parts = (
        (len(settings.units), "unit"),
        (len(settings.attachments), "attachment"),
        (len(settings.senders), "sender"),
        (len(settings.rules), "rule"),
        (len(settings.peers), "peer"),
        (len(settings.alerts.channel), "alert channel"),
    )
    counted = ", ".join(f"{number} {noun}{'' if number == 1 else 's'}" for number, noun in parts)
    click.echo(f"{loaded.path}: good ({counted})")
    if settings.node.tls is not None:
        for key, certificate in certificates_in(settings.node.tls.files()):
            whose = f"of {certificate.subject} " if certificate.subject else ""
            click.echo(printable(f"node.tls.{key}: a certificate {whose}ends on {certificate.ends:%Y-%m-%d}"))


def _unaccepted(settings: Settings) -> list[str]:
    """Tell when standings are worked out by another policy; an archive that is not there tells nothing."""
    configured = settings.policy()
    with contextlib.suppress(NodeError), contextlib.closing(Volume(settings.storage.path, min_free_bytes=0)) as volume:
        in_force = choose_in_force(configured, Journal(volume))
        if not configured.judges_like(in_force):
            waits = f"accreditation: nobody accepted {configured.id} as it is written; standings are worked out by "
            return [f'{waits}{in_force.id} until: dicom-node policies accept --reason "..."']
    return []
