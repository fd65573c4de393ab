"""The raw data of a configuration, as checks walk over it: what is malformed is passed over."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from dicom_node.settings.devices import ConfigTable
from dicom_node.settings.lines import KeyPath

_Table = TypeVar("_Table", bound=ConfigTable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong with a key, or, as a warning, something allowed that is seldom meant."""

    path: KeyPath
    message: str
    is_warning: bool = False


def table_of(data: Any, *path: str) -> dict[str, Any]:
    """Return a table by its path, an empty one where there is none."""
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


def tables_of(parent: Any, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give the tables of an array of tables with their positions."""
    entries = parent.get(key) if isinstance(parent, dict) else None
    for position, entry in enumerate(entries if isinstance(entries, list) else []):
        if isinstance(entry, dict):
            yield position, entry


def valid(table: type[_Table], entry: object, context: Mapping[str, Any]) -> _Table | None:
    """Return an entry as the table it should be, None where it is malformed."""
    try:
        return table.model_validate(entry, context=dict(context))
    except ValidationError:
        return None
