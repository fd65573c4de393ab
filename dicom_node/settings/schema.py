"""Finding one's way in the tables: which keys stand where, for hints, overrides, and what is shown."""

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from dicom_node.settings.devices import ConfigTable
from dicom_node.settings.lines import KeyPath


def key_of(name: str, field: FieldInfo) -> str:
    """Return the key of a field as it is written in the file."""
    return field.alias or name


def fields_of(table: type[ConfigTable]) -> Iterator[tuple[str, str, FieldInfo]]:
    """Give attribute name, key and field of each key of a table, in order."""
    for name, field in table.model_fields.items():
        yield name, key_of(name, field), field


def descend(annotation: Any, path: KeyPath, data: Any) -> Any:
    """Return the type that stands at ``path`` below a type, None where the tables know nothing.

    ``data`` is the raw value of ``annotation``; it tells which kind of channel a table is.
    """
    for step in path:
        annotation = _child(_choose(annotation, data), step)
        data = _inside(data, step)
        if annotation is None:
            return None
    return _choose(annotation, data)


def tables_in(annotation: Any) -> list[type[ConfigTable]]:
    """Return the tables a type stands for: several for a union of channels, none for a plain value."""
    bare = _bare(annotation)
    if isinstance(bare, type) and issubclass(bare, ConfigTable):
        return [bare]
    if get_origin(bare) in (Union, types.UnionType):
        return [table for option in get_args(bare) for table in tables_in(option)]
    return []


def items_in(annotation: Any) -> Any:
    """Return the type of the entries of a list or of a table with free keys, None for any other type."""
    bare = _bare(annotation)
    if get_origin(bare) is dict:
        return get_args(bare)[1]
    if get_origin(bare) is tuple:
        return get_args(bare)[0]
    return None


def _bare(annotation: Any) -> Any:
    """Take ``Annotated`` and ``| None`` away."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        options = [option for option in get_args(annotation) if option is not type(None)]
        if len(options) == 1:
            return _bare(options[0])
    return annotation


def _choose(annotation: Any, data: Any) -> Any:
    """Choose the table of a union whose ``type`` the data has."""
    tables = tables_in(annotation)
    if len(tables) > 1 and isinstance(data, dict):
        for table in tables:
            kind = table.model_fields["type"].annotation
            if get_origin(kind) is Literal and data.get("type") in get_args(kind):
                return table
    return _bare(annotation)


def _child(annotation: Any, step: str | int) -> Any:
    for table in tables_in(annotation):
        for _, key, field in fields_of(table):
            if key == step:
                return field.annotation
    return items_in(annotation)


def _inside(data: Any, step: str | int) -> Any:
    if isinstance(data, dict):
        return data.get(step)
    if isinstance(data, list) and isinstance(step, int) and 0 <= step < len(data):
        return data[step]
    return None
