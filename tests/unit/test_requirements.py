"""The pinned requirements follow the ranges of pyproject.toml, with a hash each and no address."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).parents[2]
FILES = {"requirements.txt": ("postgres",), "requirements-dev.txt": ("postgres", "test", "dev")}


def pinned(name: str) -> dict[str, str]:
    """Return the version of each package in a requirements file."""
    joined = (TOP / ".ci" / name).read_text("ascii").replace("\\\n", " ")
    pins = {}
    for line in filter(None, joined.splitlines()):
        found = re.fullmatch(r"([a-z0-9-]+)==(\S+)(?: ; [^#]+?)?((?:\s+--hash=sha256:[0-9a-f]{64})+)\s*", line)
        assert found, line
        pins[found[1]] = found[2]
    return pins


@pytest.mark.parametrize("name", FILES)
def test_every_dependency_is_pinned_inside_its_range(name: str) -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in FILES[name]:
        wanted += project["optional-dependencies"][extra]
    pins = pinned(name)
    for requirement in map(Requirement, wanted):
        if canonicalize_name(requirement.name) != project["name"]:
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize("name", FILES)
def test_no_address_stands_in_the_requirements(name: str) -> None:
    assert "//" not in (TOP / ".ci" / name).read_text("ascii")


def test_what_runs_is_what_is_tested() -> None:
    run, tested = pinned("requirements.txt"), pinned("requirements-dev.txt")
    assert {name: tested.get(name) for name in run} == run
