"""What pydantic found, in the words of an operator: what is wrong, and what to write."""

import difflib
import json
from datetime import date
from typing import Any

from pydantic_core import ErrorDetails

from dicom_node.settings.lines import KeyPath, written_path
from dicom_node.settings.model import Settings
from dicom_node.settings.schema import descend, fields_of, items_in, tables_in

SECRET_KEYS = {"password": "password_file", "secret": "secret_file", "token": "secret_file"}
"""Keys people reach for to write a secret in the configuration, and the key that names its file."""


def key_path(detail: ErrorDetails) -> KeyPath:
    """Return the key a problem is about.

    pydantic's own path also names the kind of channel it chose and marks a problem with a key itself.
    """
    path = tuple(step for step in detail["loc"] if step != "[key]")
    if path[:2] == ("alerts", "channel") and len(path) > 3:
        path = (*path[:3], *path[4:])
    if detail["type"] in ("union_tag_not_found", "union_tag_invalid"):
        path = (*path, "type")
    return path


def wording(detail: ErrorDetails, path: KeyPath, data: dict[str, Any]) -> str:
    """Say what is wrong with the value of a key and what to write."""
    context = detail.get("ctx", {})
    got = _got(detail["input"])
    match detail["type"]:
        case "value_error":
            return str(context["error"])
        case "missing":
            return f"missing; write {_example(path, data)}"
        case "extra_forbidden":
            return f"unknown key; {_suggestion(path, data)}"
        case "enum" | "literal_error":
            return f"no such choice{got}; write {context['expected']}".replace("'", '"')
        case "union_tag_not_found":
            return 'missing; write "smtp", "webhook" or "log"'
        case "union_tag_invalid":
            return f'no such kind of channel (got {context["tag"]!r}); write "smtp", "webhook" or "log"'
        case "int_type":
            return f"not a whole number{got}; write digits without quotes"
        case "bool_type":
            return f"neither true nor false{got}; write true or false, without quotes"
        case "string_type":
            return f"not text{got}; write it in quotes"
        case "greater_than_equal":
            return f"too small{got}; write at least {context['ge']}"
        case "less_than_equal":
            return f"too large{got}; write at most {context['le']}"
        case "too_short":
            return "empty; write at least one"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"not a table{got}; write its keys below the header [{written_path(path)}]"
        case "tuple_type":
            return f"not a list{got}; write it in brackets, or as tables below [[{written_path(path)}]]"
        case _:
            return f"{detail['msg']}{got}; see docs/configuration.md"


def _got(value: Any) -> str:
    if isinstance(value, dict | list):
        return ""
    text = repr(value)
    return f" (got {text[:60]})"


def _example(path: KeyPath, data: dict[str, Any]) -> str:
    name = str(path[-1])
    header = written_path(path)
    for table in tables_in(descend(Settings, path[:-1], data)):
        for _, key, field in fields_of(table):
            if key == name and field.examples:
                example = field.examples[0]
                return f"{name} = {example if isinstance(example, date) else json.dumps(example)}"
            if key == name:
                return f"[[{header}]] and its keys" if items_in(field.annotation) else f"[{header}] and its keys"
    return name


def _suggestion(path: KeyPath, data: dict[str, Any]) -> str:
    name = str(path[-1])
    known = [key for table in tables_in(descend(Settings, path[:-1], data)) for _, key, _ in fields_of(table)]
    if SECRET_KEYS.get(name.lower()) in known:
        return f'secrets stand in files of their own; write {SECRET_KEYS[name.lower()]} = "/path/to/it"'
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(known)}"
