"""The configuration in force, key by key, with where each value came from."""

import json
from collections.abc import Iterator
from datetime import date, time
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from dicom_node.settings.devices import ConfigTable
from dicom_node.settings.lines import KeyPath, written_path
from dicom_node.settings.load import Loaded
from dicom_node.settings.schema import fields_of
from dicom_node.settings.values import read_list, read_seconds, read_size

_SIZES = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1))


def show(loaded: Loaded) -> Iterator[tuple[str, str, str]]:
    """Give key, value as it would be written, and origin of every key that has a value.

    Web addresses are cut behind the host, because the rest is often what keeps strangers out.
    """
    for path, text in _entries(loaded.settings, ()):
        yield written_path(path), text, loaded.origins.of(path)


def written(field: FieldInfo, value: Any) -> str:
    """Return the value of a field as it is written in the file, "" for a key that is left out."""
    readers = [entry.func for entry in field.metadata if isinstance(entry, BeforeValidator)]
    if value is None:
        return ""
    if read_size in readers:
        name, size = next((name, size) for name, size in _SIZES if value % size == 0 and (value or size == 1))
        return f'"{value // size} {name}"'
    if read_seconds in readers:
        return f'"{value:g} s"'
    if read_list in readers and len(value) == 1:
        return _literal(value[0])
    return _literal(value)


def _literal(value: Any) -> str:
    match value:
        case bool() | int() | float() | str():
            return json.dumps(value, ensure_ascii=False)
        case time():
            return f'"{value:%H:%M}"'
        case date():
            return value.isoformat()
        case (time(), time()):
            return f'"{value[0]:%H:%M}-{value[1]:%H:%M}"'
        case tuple():
            return f"[{', '.join(_literal(entry) for entry in value)}]"
        case ZoneInfo():
            return f'"{value.key}"'
        case IPv4Network() | IPv6Network():
            return f'"{value.network_address if value.prefixlen == value.max_prefixlen else value}"'
        case Path():
            return json.dumps(str(value), ensure_ascii=False)
        case _:
            return json.dumps(str(value))


def _entries(table: ConfigTable, at: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    for name, key, field in fields_of(type(table)):
        value = getattr(table, name)
        path = (*at, key)
        if isinstance(value, ConfigTable):
            yield from _entries(value, path)
        elif isinstance(value, dict):
            for step, entry in value.items():
                yield from (
                    _entries(entry, (*path, step))
                    if isinstance(entry, ConfigTable)
                    else [((*path, step), _literal(entry))]
                )
        elif isinstance(value, tuple) and value and isinstance(value[0], ConfigTable):
            for position, entry in enumerate(value):
                yield from _entries(entry, (*path, position))
        elif value is not None:
            text = written(field, value)
            yield path, _cut(text) if path[0] == "alerts" and key == "url" else text


def _cut(url: str) -> str:
    parts = urlsplit(json.loads(url))
    return f'"{parts.scheme}://{parts.netloc}/***"'
