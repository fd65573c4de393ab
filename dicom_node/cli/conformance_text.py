"""What the chapters of the conformance statement have in common: Markdown, and the facts they are written for."""

import ast
import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom._uid_dict import UID_dictionary
from pynetdicom import sop_class

from dicom_node.settings import model
from dicom_node.settings.devices import ConfigTable
from dicom_node.settings.model import NodeTable, StorageTable

_CONSTANT = re.compile("`([A-Z][A-Z_]+)`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What differs from site to site."""

    node: NodeTable
    min_free: int
    """``storage.min_free``, in bytes."""
    facility: str = ""
    """Name of the site that the statement is for; "" for none: the defaults."""


DEFAULTS = Facts(node=NodeTable(), min_free=int(StorageTable.model_fields["min_free"].default))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def _cell(text: str) -> str:
    printable = "".join(char if char.isprintable() else " " for char in text)
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(printable.split()))


def tag_text(tag: int) -> str:
    """Return a tag as the standard writes it, that of a private element with xx for its block."""
    group, element = tag >> 16, tag & 0xFFFF
    return f"({group:04X},xx{element & 0xFF:02X})" if group & 1 else f"({group:04X},{element:04X})"


def sentence(documentation: str | None) -> str:
    """Return a docstring as one line of Markdown."""
    return " ".join((documentation or "").replace("``", "`").split())


def name_of(uid: str) -> str:
    """Return the name of a registered UID (PS3.6 annex A), the UID itself where nobody registered it."""
    if uid in UID_dictionary:
        return UID_dictionary[uid][0]
    return next((name for name, value in vars(sop_class).items() if value == uid), uid)


def meanings(tables: type[ConfigTable]) -> dict[str, str]:
    """Return what stands below each key of a table of the configuration, those it inherits first."""
    told: dict[str, str] = {}
    for each in reversed(tables.__mro__):
        if issubclass(each, ConfigTable):
            told |= _below_keys(each)
    return told


def _below_keys(each: type[ConfigTable]) -> dict[str, str]:
    parsed = ast.parse(inspect.getsource(each)).body[0]
    assert isinstance(parsed, ast.ClassDef)
    told = {}
    for statement, after in zip(parsed.body, parsed.body[1:], strict=False):
        match statement, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                told[name] = _CONSTANT.sub(lambda named: str(getattr(model, named[1])), sentence(text))
    return told
