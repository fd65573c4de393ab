"""``dicom-node completion``: the script that completes commands and options in a shell."""

import click
from click.shell_completion import get_completion_class

from dicom_node.cli.app import cli


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(*, shell: str) -> None:
    """Write the completion script of SHELL. In bash: eval "$(dicom-node completion bash)"."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "dicom-node", "_DICOM_NODE_COMPLETE").source())
