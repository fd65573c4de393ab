"""The manifest of an evidence package: every file with its digests and where it comes from, as JSON, CSV and sums."""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from enum import Enum
from typing import Any

from dicom_node.alerts.phrases import one_line

MANIFEST = "manifest.json"
MANIFEST_TABLE = "manifest.csv"
SUMS = "SHA256SUMS"
"""Lines of ``sha256sum`` for every file of the package but itself."""

FORMAT = "dicom-node package 1"
"""What a manifest of this form says of itself."""

_SUM = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """An original in a package: where it is, what it is, and why it is there. Nothing in it names a patient."""

    path: str
    """From the package's folder, parts joined by ``/``."""
    size: int
    """Bytes of the file."""
    sha256: str
    """Of the file."""
    data_set_sha256: str
    """Of its data set as it was received: the object's name in the archive."""
    sop_class_uid: str
    sop_instance_uid: str
    study_uid: str
    series_uid: str
    transfer_syntax_uid: str
    unit: str
    portion: str
    subject: str
    """Id of the exam or survey that it was chosen for."""
    linked_as: str
    """"" for an image of that exam; else what another study is to it."""
    stage: str
    laterality: str
    view: str
    day: date | None
    """On which it was performed."""
    day_source: str
    """Attribute that told the day."""
    rule: str
    """What decided toward which portion it counts."""
    confirmed_by: str
    """Who confirmed the exam or survey; "" when nobody did."""
    confirmed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file of the package that is no original: a list, a statement, a copy for the file set."""

    path: str
    size: int
    sha256: str


def manifest_text(facts: Mapping[str, Any], files: Iterable[Packed], documents: Iterable[Document]) -> str:
    """Return the manifest as JSON; ``facts`` tell of the package as a whole."""
    values = {
        "format": FORMAT,
        **facts,
        "files": [asdict(each) for each in files],
        "documents": [asdict(each) for each in documents],
    }
    return json.dumps(values, indent=2, ensure_ascii=False, default=_plain) + "\n"


def manifest_table(files: Iterable[Packed]) -> str:
    """Return the originals as a table of comma-separated values (RFC 4180), a line each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([each.name for each in fields(Packed)])
    for each in files:
        writer.writerow([_cell(value) for value in asdict(each).values()])
    return text.getvalue()


def sums_text(sums: Mapping[str, str]) -> str:
    """Return the lines that ``sha256sum --check`` reads, of path to digest."""
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(sums.items()))


def read_sums(text: str) -> tuple[dict[str, str], list[int]]:
    """Return path to digest, and the numbers of the lines that are none of ``sums_text``."""
    found: dict[str, str] = {}
    bad = []
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        match = _SUM.fullmatch(line)
        if match is None or match[2] in found:
            bad.append(number)
        else:
            found[match[2]] = match[1]
    return found, bad


def _plain(value: object) -> str:
    match value:
        case date():
            return value.isoformat()
        case Enum():
            return str(value.value)
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def _cell(value: object) -> str:
    """Return a value for a table; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    text = "" if value is None else _plain(value) if isinstance(value, (date, Enum)) else one_line(str(value))
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text
