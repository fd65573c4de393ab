"""``dicom-node check-config``: every problem of a configuration file, or what is in force."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from dicom_node.cli.app import App, pass_app, tell_problems
from dicom_node.cli.output import printable
from dicom_node.settings import certificates_in, check_certificates, show


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
    tell_problems([], [*loaded.warnings, *warnings])
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
