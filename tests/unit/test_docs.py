"""The documents and the program say the same."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dicom_node.accreditation.standing import State
from dicom_node.alerts.notice import AlertKind
from dicom_node.cli.app import COMMANDS, cli
from dicom_node.dimse import status

TOP = Path(__file__).parents[2]
DOCUMENTS = [TOP / "README.md", TOP / "CHANGELOG.md", *sorted((TOP / "docs").rglob("*.md"))]
OPERATIONS = (TOP / "docs" / "operations.md").read_text("utf-8")
ARCHITECTURE = (TOP / "docs" / "architecture.md").read_text("utf-8")

_CONTEXT = click.Context(cli)


def section(text: str, heading: str) -> str:
    """Return what stands under a heading, up to the next of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    body = text.split(f"\n{heading}\n", 1)[1]
    return re.split(rf"\n#{{1,{level}}} ", body, maxsplit=1)[0]


def command_lines() -> Iterator[tuple[Path, list[str]]]:
    """Yield every command of the program that a document or a text of the program's own names, as words."""
    sources = [*DOCUMENTS, *sorted((TOP / "dicom_node").rglob("*.py")), *sorted((TOP / "config").glob("*.toml"))]
    for path in sources:
        for found in re.finditer(
            r"(?:^|[\s`'\"/(])dicom-node((?: [^\s`|;#()]+)+)", path.read_text("utf-8"), re.MULTILINE
        ):
            words = found[1].split()
            if words[0] in COMMANDS:
                yield path, words


@pytest.mark.parametrize("kind", AlertKind)
def test_operations_has_a_section_on_each_alert_kind(kind: AlertKind) -> None:
    assert len(section(OPERATIONS, f"### `{kind}`").split()) > 20


def test_operations_has_no_section_on_an_alert_kind_that_is_gone() -> None:
    assert set(re.findall(r"^### `(\w+)`$", OPERATIONS, re.MULTILINE)) == set(AlertKind)


@pytest.mark.parametrize("state", State)
def test_operations_says_what_each_state_means(state: State) -> None:
    assert f"\n| `{state}` |" in section(OPERATIONS, "## What the states mean")


def test_the_page_on_retrieval_says_what_each_status_means() -> None:
    told = re.findall(r"^\| 0x([0-9A-F]{4}) \|", (TOP / "docs" / "retrieval.md").read_text("utf-8"), re.MULTILINE)
    answers = {status.of_retrieve_error(kind("")).code for kind, _ in status.RETRIEVE}
    answers |= {status.of_retrieve_error(Exception()).code, status.CANCELLED.code}
    for completed, failed in ((1, 0), (1, 1), (0, 1)):
        answers.add(status.of_sub_operations(completed=completed, failed=failed, warned=0, reason="").code)
    assert {int(code, 16) for code in told} == answers


def test_operations_says_what_each_status_of_a_store_means() -> None:
    told = re.findall(r"^\| 0x([0-9A-F]{4}) \|", section(OPERATIONS, "## When a device cannot send"), re.MULTILINE)
    answers = {status.of_store_error(kind("")).code for kind, _ in status.STORE}
    assert {int(code, 16) for code in told} == answers | {status.SUCCESS.code, status.of_store_error(Exception()).code}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_stands_in_operations_or_in_the_readme(name: str) -> None:
    text = OPERATIONS + (TOP / "README.md").read_text("utf-8")
    assert re.search(rf"dicom-node {name}\b", text)


def test_commands_and_options_that_are_named_anywhere_are_there() -> None:
    seen = 0
    for path, words in command_lines():
        command = cli.get_command(_CONTEXT, words[0])
        rest = words[1:]
        if isinstance(command, click.Group) and rest and re.fullmatch(r"[a-z-]+", rest[0].strip(".,:")):
            name = rest[0].strip(".,:")
            assert name in command.commands, f"{path}: dicom-node {' '.join(words)}"
            command, rest = command.commands[name], rest[1:]
        assert command is not None
        options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        for word in rest:
            if word.startswith("--"):
                assert word.strip('.,:`"').partition("=")[0] in options, f"{path}: dicom-node {' '.join(words)}"
        seen += 1
    assert seen > 50


def test_links_lead_somewhere() -> None:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path}: {target}"


def test_the_layers_in_architecture_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    shown = "\n".join(f"    {layer}" for layer in layers).replace("dicom_node.", "")
    assert f"\n\n{shown}\n\n" in ARCHITECTURE


def test_modules_that_the_documents_name_are_there() -> None:
    rooms = "|".join(path.name for path in (TOP / "dicom_node").iterdir() if path.is_dir())
    for path in DOCUMENTS:
        text = path.read_text("utf-8")
        for name in re.findall(rf"`((?:{rooms})/\w+\.\w+)", text):
            assert (TOP / "dicom_node" / name).is_file(), f"{path}: {name}"
    for room, names in re.findall(r"^\| `(\w+)/` \|.*\| (.*) \|$", ARCHITECTURE, re.MULTILINE):
        for name in re.findall(r"`([\w.]+)`", names):
            assert (TOP / "dicom_node" / room / name).is_file(), f"{room}/{name}"


def test_every_room_stands_in_architecture() -> None:
    rooms = {path.parent.name for path in (TOP / "dicom_node").glob("*/__init__.py")}
    assert rooms == set(re.findall(r"^\| `(\w+)/` \|", ARCHITECTURE, re.MULTILINE))


def test_events_that_operations_names_are_logged() -> None:
    logged = set()
    for path in (TOP / "dicom_node").rglob("*.py"):
        logged |= set(re.findall(r'"([a-z_]+\.[a-z_]+)"', path.read_text("utf-8")))
    areas = "node|association|connection|instance|query|commitment|review|alert|config|object|job|library|volume"
    named = re.findall(rf"`((?:{areas})\.[a-z_]+)`", OPERATIONS)
    settings = {
        "node.bind",
        "node.drain",
        "node.max_associations",
        "node.workers",
        "node.ae_title",
        "node.private_sop_classes",
        "node.db",
    }
    assert set(named) - settings <= logged
    assert len(named) > 20


def test_the_changelog_tells_of_this_version() -> None:
    version = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert f"\n## [{version}]" in (TOP / "CHANGELOG.md").read_text("utf-8")


def test_decisions_are_numbered_without_a_gap() -> None:
    names = sorted(path.name for path in (TOP / "docs" / "decisions").glob("*.md"))
    assert [name[:4] for name in names] == [f"{number:04}" for number in range(1, len(names) + 1)]
    for name in names:
        text = (TOP / "docs" / "decisions" / name).read_text("utf-8")
        assert text.startswith(f"# {int(name[:4])}. ")
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Options", "Decision", "Consequences"]
