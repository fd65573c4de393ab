"""Commands as people call them: the real command line, on a facility of its own."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dicom_node.cli.app import run


@dataclass(frozen=True)
class Called:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of standard output."""
        return self.out.splitlines()


class Commands:
    """Calls commands in this process with one configuration. After each, whatever it wrote was about no patient."""

    def __init__(self, config: Path, capture: pytest.CaptureFixture[str], *, planted: tuple[str, ...] = ()) -> None:
        self.config = config
        self._capture = capture
        self._planted = planted

    def __call__(self, *arguments: str) -> Called:
        """Call ``dicom-node ARGUMENTS``."""
        self._capture.readouterr()
        code = run(["--config", str(self.config), *arguments])
        called = Called(code, *self._capture.readouterr())
        assert "Traceback" not in called.err
        for secret in self._planted:
            assert secret not in called.out + called.err, f"{secret} is patient data"
        return called

    def good(self, *arguments: str) -> Called:
        """Call it; it must end well and say nothing on standard error."""
        called = self(*arguments)
        assert (called.code, called.err) == (0, "")
        return called

    def json(self, *arguments: str) -> Any:
        """Call it with ``--json`` and return what it wrote."""
        return json.loads(self.good(*arguments, "--json").out)
