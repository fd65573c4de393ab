import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from dicom_node import __version__
from dicom_node.cli import app
from dicom_node.cli.app import App, LazyGroup, pass_app, run
from dicom_node.errors import (
    ConfigError,
    DatabaseError,
    DeliveryError,
    NodeError,
    OperatorError,
    SchemaTooNewError,
    StorageUnavailableError,
)
from tests.unit.configs import SMALL, UNIT, write_config

pytestmark = pytest.mark.usefixtures("logs_as_they_were")

ROOT = Path(__file__).parents[3]


def command(monkeypatch: pytest.MonkeyPatch, do: Callable[[App], object]) -> None:
    """Make ``probe`` a command that does what is wanted."""

    @click.command("probe")
    @pass_app
    def probe(app: App) -> None:
        do(app)

    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: probe)


def raising(error: BaseException) -> Callable[[App], object]:
    def do(_: App) -> None:
        raise error

    return do


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (OperatorError("unit 'x' does not exist"), 1, "error: unit 'x' does not exist"),
        (NodeError("cannot listen on port 104"), 1, "error: cannot listen on port 104"),
        (DeliveryError("the relay refused"), 69, "error: the relay refused"),
        (DatabaseError("the index is locked"), 75, "error: the index is locked"),
        (StorageUnavailableError("no space"), 75, "error: no space"),
        (PermissionError(13, "denied", "/srv/x"), 77, "error: not permitted: /srv/x"),
        (SchemaTooNewError("written by a newer release"), 78, "error: written by a newer release"),
        (ConfigError(["f:1: a: x", "f:2: b: y"], ["f:3: c: z"]), 78, "warning: f:3: c: z\nf:1: a: x\nf:2: b: y\n2 er"),
        (KeyboardInterrupt(), 130, ""),
        (click.UsageError("no such thing"), 2, "Error: no such thing"),
    ],
)
def test_an_error_is_a_sentence_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, told: str
) -> None:
    command(monkeypatch, raising(error))
    assert run(["probe"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert "Traceback" not in err


def test_an_unexpected_error_is_a_sentence_without_what_it_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(monkeypatch, raising(ValueError("SYNTH^PLANTED")))
    assert run(["probe"]) == 1
    assert capsys.readouterr().err == (
        "error: something unexpected happened (ValueError); dicom-node -v and the same command say where\n"
    )


def test_an_unexpected_error_is_told_with_its_place_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(monkeypatch, raising(ValueError("SYNTH^PLANTED")))
    assert run(["-v", "probe"]) == 1
    err = capsys.readouterr().err
    assert "command.failed" in err
    assert "tests.unit.cli.test_app:" in err
    assert "PLANTED" not in err
    assert len(err.splitlines()) == 2


def test_a_command_that_ends_well_has_exit_code_0(monkeypatch: pytest.MonkeyPatch) -> None:
    command(monkeypatch, lambda _: None)
    assert run(["probe"]) == 0


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_every_command_with_a_line(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert run([flag]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in app.COMMANDS)


def test_every_command_on_the_list_can_be_called_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in app.COMMANDS:
        assert run([name, "-h"]) == 0
        assert f"dicom-node {name}" in capsys.readouterr().out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"dicom-node {__version__}\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["check-config", "--nonsense"], []])
def test_wrong_usage_has_exit_code_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert run(arguments) == 2
    assert "Usage: dicom-node" in capsys.readouterr().err


def test_help_does_not_wait_for_what_commands_need() -> None:
    script = (
        "import sys\nfrom dicom_node.cli.app import run\nassert run(['--help']) == 0\n"
        "print(sorted({'sqlalchemy', 'pydantic', 'pydicom', 'pynetdicom', 'structlog', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    script = "import sys\nfrom dicom_node.cli.app import run\nsys.exit(run(['--help']))"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_writes_a_script(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert run(["completion", shell]) == 0
    assert "_DICOM_NODE_COMPLETE" in capsys.readouterr().out


def test_commands_are_completed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("_DICOM_NODE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "dicom-node check-")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit):
        run([])
    assert "plain,check-config" in capsys.readouterr().out


def test_check_config_counts_what_a_good_file_holds(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_config(tmp_path, SMALL + UNIT)
    assert run(["check-config", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{path}: good (1 unit, 0 attachments, ")
    assert err == ""


def test_check_config_tells_the_warnings_of_a_good_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_config(tmp_path, SMALL)
    assert run(["--config", str(path), "check-config"]) == 0
    assert capsys.readouterr().err.startswith(f"warning: {path}:1: units: no unit; write")


def test_check_config_tells_every_problem_and_their_number(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_config(tmp_path, SMALL + "[node]\nport = 0\nprot = 1\n")
    assert run(["check-config", str(path)]) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[1:] == [
        f"{path}:8: node.port: too small (got 0); write at least 1",
        f"{path}:9: node.prot: unknown key; did you mean 'port'?",
        "2 errors, 1 warning",
    ]


def test_check_config_shows_what_is_in_force_and_where_it_came_from(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config(tmp_path, SMALL + UNIT)
    monkeypatch.setenv("DICOM_NODE_NODE__PORT", "104")
    assert run(["check-config", str(path), "--show"]) == 0
    assert "node.port = 104\n" in capsys.readouterr().out
    assert run(["check-config", str(path), "--show-origin"]) == 0
    out = capsys.readouterr().out
    assert "node.port = 104  # DICOM_NODE_NODE__PORT\n" in out
    assert f'facility.name = "Synthetic Center"  # {path}:3\n' in out


def test_no_configuration_at_all_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dicom_node.settings.load.SEARCHED", (Path("config/dicom-node.toml"),))
    assert run(["check-config"]) == 78
    assert "no configuration at config/dicom-node.toml; write one there" in capsys.readouterr().err


def test_errors_are_coloured_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(monkeypatch, raising(OperatorError("no")))
    monkeypatch.setenv("FORCE_COLOR", "1")
    run(["probe"])
    assert capsys.readouterr().err.startswith("\x1b[31m")
    monkeypatch.setenv("NO_COLOR", "1")
    run(["probe"])
    assert capsys.readouterr().err.startswith("error:")
