"""Reading the configuration: the file, the environment over it, and every problem of both at once."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dicom_node.errors import ConfigError
from dicom_node.settings.checks import cross_check
from dicom_node.settings.environment import Overrides, overrides
from dicom_node.settings.lines import KeyPath, key_lines, line_of, written_path
from dicom_node.settings.model import Settings
from dicom_node.settings.raw import Finding
from dicom_node.settings.wording import key_path, wording

SEARCHED = (Path("config/dicom-node.toml"), Path("/etc/dicom-node/dicom-node.toml"))
"""Where a configuration is looked for when neither ``--config`` nor ``$DICOM_NODE_CONFIG`` names one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration with where it came from."""

    settings: Settings
    path: Path
    warnings: tuple[str, ...]
    """What is allowed but seldom meant, as ``file:line: key: what is wrong, what to write``."""
    origins: "Origins"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """Where each key's value came from."""

    path: Path
    lines: Mapping[KeyPath, int]
    variables: Mapping[KeyPath, str]

    def of(self, path: KeyPath) -> str:
        """Return the variable, or file and line, that set a key; ``default`` when nothing did."""
        variable = self.variable(path)
        if variable:
            return variable
        return f"{self.path}:{self.lines[path]}" if path in self.lines else "default"

    def place(self, path: KeyPath) -> str:
        """Return where a problem with a key is to be mended: the variable, or file and line."""
        return self.variable(path) or f"{self.path}:{line_of(self.lines, path)}"

    def order(self, path: KeyPath) -> tuple[int, str]:
        """Return what sorts problems: the file from top to bottom, then the environment."""
        variable = self.variable(path)
        return (1 << 62, variable) if variable else (line_of(self.lines, path), "")

    def variable(self, path: KeyPath) -> str:
        """Return the variable of the environment that set a key or a table around it, "" for none."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.variables:
                return self.variables[path[:end]]
        return ""


def find_config(option: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the configuration to use: ``option``, else ``$DICOM_NODE_CONFIG``, else the first of ``SEARCHED``.

    Raises ConfigError when there is none.
    """
    if option is not None:
        return option
    if environ.get("DICOM_NODE_CONFIG"):
        return Path(environ["DICOM_NODE_CONFIG"])
    for path in SEARCHED:
        if path.is_file():
            return path
    places = " or ".join(str(path) for path in SEARCHED)
    raise ConfigError([f"no configuration at {places}; write one there, or name one with --config FILE"])


def load_settings(path: Path, environ: Mapping[str, str]) -> Loaded:
    """Read and check a configuration file under the environment's overrides.

    Relative paths in the file start at the file's folder, those in the environment at the current one. Raises
    ConfigError with every problem found; a file that is no TOML has one.
    """
    return load_text(path, read_text(path), environ)


def load_text(path: Path, text: str, environ: Mapping[str, str]) -> Loaded:
    """Check a text as if it were the configuration file ``path``. Raises ConfigError as ``load_settings``."""
    data = _parse(path, text)
    changed = overrides(data, environ)
    origins = Origins(path=path, lines=key_lines(text), variables=changed.variables)
    context = {"folder": path.absolute().parent, "environ": environ}
    findings: list[Finding] = []
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(changed.data, context=context)
    except ValidationError as error:
        findings += _said(error, changed.data)
    findings += cross_check(changed.data, context)
    problems = _sentences(findings, origins, warnings=False) + _unknown_variables(changed)
    warnings = _sentences(findings, origins, warnings=True)
    if settings is None or problems:
        raise ConfigError(problems, warnings)
    return Loaded(settings=settings, path=path, warnings=tuple(warnings), origins=origins)


def read_text(path: Path) -> str:
    """Return the text of a configuration file, its line ends as they are. Raises ConfigError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read ({error.strerror}); name another with --config FILE"]) from None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: not UTF-8; save the file as UTF-8"]) from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # Python 3.11 tells line and column in the sentence alone.
        said = str(error)
        found = re.search(r" \(at line (\d+), column (\d+)\)$", said)
        line = int(found[1]) if found else text.count("\n") + 1
        where = f"column {found[2]}" if found else "end of the file"
        reason = said[: found.start()] if found else said.removesuffix(" (at end of document)")
        raise ConfigError([f"{path}:{line}: {where}: not TOML: {reason}; mend this line or the one before"]) from None


def _said(error: ValidationError, data: dict[str, Any]) -> Iterator[Finding]:
    details = [(key_path(detail), detail) for detail in error.errors(include_url=False)]
    for path, detail in details:
        # A list whose entries are all wrong is called too short as well.
        hollow = any(other[: len(path)] == path and len(other) > len(path) for other, _ in details)
        if detail["type"] != "too_short" or not hollow:
            yield Finding(path=path, message=wording(detail, path, data))


def _sentences(findings: list[Finding], origins: Origins, *, warnings: bool) -> list[str]:
    chosen = [finding for finding in findings if finding.is_warning == warnings]
    chosen.sort(key=lambda finding: origins.order(finding.path))
    return [f"{origins.place(finding.path)}: {written_path(finding.path)}: {finding.message}" for finding in chosen]


def _unknown_variables(changed: Overrides) -> list[str]:
    return [f"{variable}: {message}" for variable, message in changed.unknown.items()]
