"""The root of the command line: global options, finding commands, and how commands end."""

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from click.shell_completion import CompletionItem

from dicom_node import __version__
from dicom_node.errors import (
    ConfigError,
    DatabaseError,
    DeliveryError,
    HostError,
    LibraryError,
    NodeError,
    NotPermittedError,
    PeerError,
    SchemaTooNewError,
)

if TYPE_CHECKING:  # the configuration costs a quarter of a second, which --help need not wait for
    from dicom_node.settings import Loaded, Settings

FAILED, USAGE, UNAVAILABLE, TRY_LATER, NOT_PERMITTED, CONFIG = 1, 2, 69, 75, 77, 78
"""Exit codes beside 0 (sysexits.h): could not be done; wrong usage; peer unavailable; database or host not available
now; not permitted; configuration or schema that a restart does not mend."""
INTERRUPTED = 130

COMMANDS: Mapping[str, tuple[str, str]] = {
    "serve": ("serve:serve", "run the node"),
    "status": ("status:status", "tell where every unit stands and what needs somebody"),
    "units": ("units:units", "list the units, see all there is of one, retire one"),
    "attachments": ("attachments:attachments", "list the attachments and what was done with them on which unit"),
    "exams": ("exams:exams", "list exams, see why one counts or not, decide about it"),
    "unattributed": ("unattributed:unattributed", "list exams that nobody could place, and place them"),
    "eligibility": ("eligibility:eligibility", "see the arithmetic behind a unit's standing"),
    "release": ("release:release", "record the testing packages of the units"),
    "cycles": ("cycles:cycles", "keep the accreditation cycles, and renew all units at once"),
    "surveys": ("surveys:surveys", "record physicist surveys, and confirm reports of them"),
    "logs": ("surveys:logs", "record the technologist's quality control logs"),
    "policies": ("policies:policies", "see the rules there are, compare them, accept a changed one"),
    "alerts": ("alerts:alerts", "see what fires and who was told; acknowledge, silence, test"),
    "commitments": ("commitments:commitments", "see who asked for storage commitment, and what became of it"),
    "associations": ("associations:associations", "see who called, who was refused, and what would admit them"),
    "audit": ("audit:audit", "read, check and export the audit trail"),
    "import": ("archive:import_", "take existing DICOM files in"),
    "verify": ("archive:verify", "read stored objects again and compare them with the index"),
    "rebuild": ("archive:rebuild", "make the index anew from the stored files"),
    "doctor": ("doctor:doctor", "look whether all that the node needs is there, and say what to do"),
    "conformance": ("conformance:conformance", "write the DICOM conformance statement"),
    "check-config": ("config:check_config", "check a configuration file and tell every problem"),
    "echo": ("peers:echo", "ask a peer whether it is there (C-ECHO)"),
    "send": ("send:send", "send DICOM files, or a made-up exam of a unit, to a peer (C-STORE)"),
    "find": ("query:find", "ask a peer what it has (C-FIND)"),
    "get": ("query:get", "fetch instances from a peer into files (C-GET)"),
    "move": ("query:move", "have a peer send instances to another (C-MOVE)"),
    "demo": ("demo:demo", "show months of a facility in seconds, on a node of its own"),
    "completion": ("completion:completion", "write the script that completes commands in a shell"),
}
"""Command to the module and name that hold it, and its line in the help."""


@dataclass(frozen=True)
class App:
    """What every command gets: the global options, and the configuration when it asks for it."""

    config: Path | None
    verbosity: int
    """-1 for -q, 0, 1 for -v, 2 for -vv."""
    environ: Mapping[str, str]

    @cached_property
    def loaded(self) -> "Loaded":
        """The configuration, with where it came from. Raises ConfigError when there is none or it is wrong."""
        from dicom_node.settings import find_config, load_settings  # noqa: PLC0415 - see TYPE_CHECKING above

        return load_settings(find_config(self.config, self.environ), self.environ)

    def fresh(self) -> "Loaded":
        """Read the configuration again, from the file it came from. Raises ConfigError as ``loaded``."""
        from dicom_node.settings import load_settings  # noqa: PLC0415 - see TYPE_CHECKING above

        return load_settings(self.loaded.path, self.environ)

    @property
    def settings(self) -> "Settings":
        """The configuration. Raises ConfigError when there is none or it is wrong."""
        return self.loaded.settings


pass_app = click.make_pass_decorator(App)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, so that ``--help`` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(f"dicom_node.cli.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a command without importing any."""
        found = [CompletionItem(name, help=line) for name, (_, line) in COMMANDS.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration to use. Else $DICOM_NODE_CONFIG, ./config/dicom-node.toml, /etc/dicom-node/dicom-node.toml.",
)
@click.option("-q", "--quiet", is_flag=True, help="Log errors alone.")
@click.option("-v", "--verbose", count=True, help="Log what is done; twice: everything.")
@click.version_option(__version__, prog_name="dicom-node", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, *, config: Path | None, quiet: bool, verbose: int) -> None:
    """Receive stereotactic breast biopsy exams, and warn before they stop counting for accreditation."""
    from dicom_node import logs  # noqa: PLC0415 - --help and --version need no log

    verbosity = -1 if quiet else min(verbose, 2)
    levels: dict[int, logs.Level] = {-1: "error", 0: "warning", 1: "info", 2: "debug"}
    logs.configure(level=levels[verbosity])
    ctx.color = logs.wants_colour(sys.stdout)
    ctx.obj = App(config=config, verbosity=verbosity, environ=os.environ)


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code. Whatever happens is told in a sentence, never by a traceback."""
    try:
        code = cli.main(list(arguments), prog_name="dicom-node", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except ConfigError as error:
        tell_problems(error.problems, error.warnings)
        return CONFIG
    except NodeError as error:
        _say(str(error))
        return _exit_code(error)
    except BrokenPipeError:
        # Whoever read our output went away; the rest, also what is still buffered, is for nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except PermissionError as error:
        _say(f"not permitted: {error.filename or 'the system refused'}")
        return NOT_PERMITTED
    except Exception as error:  # noqa: BLE001 - the last place that can turn it into a sentence
        _tell_unexpected(error, in_detail=any(word.startswith(("-v", "--verb")) for word in arguments))
        return FAILED
    return code if isinstance(code, int) else 0


def tell_problems(problems: Sequence[str], warnings: Sequence[str]) -> None:
    """Write what is wrong with a configuration to standard error: the warnings, the problems, and their number."""
    for warning in warnings:
        _say(warning, kind="warning", colour="yellow")
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        click.echo(f"{_count(len(problems), 'error')}, {_count(len(warnings), 'warning')}", err=True)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _exit_code(error: NodeError) -> int:
    match error:
        case SchemaTooNewError() | LibraryError():
            return CONFIG
        case NotPermittedError():
            return NOT_PERMITTED
        case DatabaseError() | HostError():
            return TRY_LATER
        case DeliveryError() | PeerError():
            return UNAVAILABLE
        case _:
            return FAILED


def _tell_unexpected(error: Exception, *, in_detail: bool) -> None:
    if in_detail:
        from dicom_node.logs import get_logger  # noqa: PLC0415 - see cli

        get_logger(__name__).error("command.failed", exc_info=error)
    hint = "the line above says where" if in_detail else "dicom-node -v and the same command say where"
    _say(f"something unexpected happened ({type(error).__name__}); {hint}")


def _say(sentence: str, *, kind: str = "error", colour: str = "red") -> None:
    from dicom_node.logs import wants_colour  # noqa: PLC0415 - see cli

    coloured = wants_colour(sys.stderr)
    click.echo(f"{click.style(f'{kind}:', fg=colour, bold=True)} {sentence}", err=True, color=coloured)
