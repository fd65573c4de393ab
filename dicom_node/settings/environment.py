"""The environment over the file: ``DICOM_NODE_<SECTION>__<KEY>`` sets one key."""

import copy
import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dicom_node.settings.lines import KeyPath
from dicom_node.settings.model import Settings
from dicom_node.settings.schema import descend, fields_of, tables_in

PREFIX = "DICOM_NODE_"
"""How the names of our variables begin. Only those with a double underscore set a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """The data of a file with the environment laid over it."""

    data: dict[str, Any]
    variables: Mapping[KeyPath, str]
    """The variable behind each key that was set."""
    unknown: Mapping[str, str]
    """Variables that name no key, each with what is wrong and what to write."""


def overrides(data: dict[str, Any], environ: Mapping[str, str]) -> Overrides:
    """Lay the environment over the data of a file, which stays as it is.

    The names are taken without regard to case, and an underscore may stand for the hyphen of an id. A value is read
    as TOML; what is not TOML is text, so quotes are seldom needed. A relative path starts at the current folder.
    """
    data = copy.deepcopy(data)
    variables: dict[KeyPath, str] = {}
    unknown: dict[str, str] = {}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or "__" not in variable.removeprefix(PREFIX):
            continue
        path, problem = _find(variable, data)
        if not problem and not _set(data, path, _value(environ[variable], path)):
            problem = "names a key inside a value that is not a table; mend the file first"
        if problem:
            unknown[variable] = problem
        else:
            variables[path] = variable
    return Overrides(data=data, variables=variables, unknown=unknown)


def _find(variable: str, data: dict[str, Any]) -> tuple[KeyPath, str]:
    """Return the key a variable names, and the problem when it names none."""
    parts = variable.removeprefix(PREFIX).split("__")
    path: KeyPath = ()
    here: Any = data
    for place, part in enumerate(parts):
        names = _names(path, here, data)
        step = names.get(part.lower())
        if step is None:
            before = "__".join([*parts[:place], ""])
            near = difflib.get_close_matches(part.lower(), names, n=1)
            written = [f"{PREFIX}{before}{name.upper()}" for name in near or names]
            if near:
                return (), f"names no key; did you mean {written[0]}?"
            return (), f"names no key; known: {', '.join(written) or 'nothing more below this key'}"
        path = (*path, step)
        here = here.get(step) if isinstance(here, dict) else here[step] if isinstance(step, int) else None
    return path, ""


def _names(path: KeyPath, here: Any, data: dict[str, Any]) -> dict[str, str | int]:
    """Return what may follow ``path``, by the way it is written in a variable."""
    if isinstance(here, list):
        return {str(position): position for position in range(len(here))}
    keys = [key for table in tables_in(descend(Settings, path, data)) for _, key, _ in fields_of(table)]
    if isinstance(here, dict):
        keys += [key for key in here if key not in keys]
    return {key.lower().replace("-", "_"): key for key in keys}


def _value(text: str, path: KeyPath) -> Any:
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text
    name = str(path[-1])
    if isinstance(value, str) and (name == "path" or name.endswith("_file")) and value and value[0] not in "/$":
        return os.path.abspath(value)  # noqa: PTH100 - Path.absolute would keep ".."
    return value


def _set(data: Any, path: KeyPath, value: Any) -> bool:
    """Set a key, making the tables around it; tell whether it could be done."""
    *around, last = path
    for step in around:
        if isinstance(data, dict):
            data = data.setdefault(step, {})
        elif isinstance(data, list) and isinstance(step, int):
            data = data[step]
        else:
            return False
    is_table = isinstance(data, dict)
    if is_table or (isinstance(data, list) and isinstance(last, int)):
        data[last] = value
        return True
    return False
