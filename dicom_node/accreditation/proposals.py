"""Lines of configuration that would tell the unit of exams like one that a person placed.

Pure text; whoever asks tries the lines out before they are shown.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dicom_node.accreditation.evidence import any_sends, folded
from dicom_node.accreditation.rules import value_of
from dicom_node.accreditation.signals import Signals
from dicom_node.accreditation.units import Registry

_OF_RULES = (
    "DeviceSerialNumber", "DetectorID", "GantryID", "StationName", "InstitutionName", "ManufacturerModelName",
    "Manufacturer", "calling_ae",
)  # fmt: skip
"""What a rule may ask of a device: never its software, which changes, nor anything of a patient."""
_OF_MAPS = ("StationName", "DetectorID", "GantryID", "InstitutionName")
_ESCAPED = frozenset('"\\')
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Lines to be added at the end of a configuration file, and what an instance that they are about has."""

    lines: str
    looks_at: Mapping[str, str]
    """Attribute or association field to its value."""


def proposals(images: Sequence[Signals], registry: Registry, unit: str, *, name: str) -> Iterator[Proposal]:
    """Yield lines that might place the images of one exam on ``unit``, the surest evidence first.

    ``name`` is what a rule is called. What differs between the images is left out, and so is what they do not have.
    """
    serial, maker, station, institution = (
        _common(getattr(each, field) for each in images)
        for field in ("device_serial", "manufacturer", "station_name", "institution")
    )
    if serial:
        looks_at = {"DeviceSerialNumber": serial} | ({"Manufacturer": maker} if maker else {})
        yield Proposal(lines=_identity(unit, device_serial=serial, manufacturer=maker), looks_at=looks_at)
    values = {keyword: _common(value_of(each, keyword) for each in images) for keyword in {*_OF_RULES, *_OF_MAPS}}
    for attachment in registry.attachments.values():
        if all(any_sends(attachment.identities, each) for each in images):
            known = [each.keyword for each in attachment.attribute_maps]
            for keyword in dict.fromkeys((*(each for each in known if each in _OF_MAPS), *_OF_MAPS)):
                if values[keyword]:
                    lines = _table(f"[[attachments.{_key(attachment.id)}.attribute]]", keyword=keyword)
                    lines += f"map = {{ {_string(values[keyword])} = {_string(unit)} }}\n"
                    yield Proposal(lines=lines, looks_at={keyword: values[keyword]})
    if station:
        looks_at = {"StationName": station} | ({"InstitutionName": institution} if institution else {})
        yield Proposal(lines=_identity(unit, station_name=station, institution=institution), looks_at=looks_at)
    asked = {keyword: values[keyword] for keyword in _OF_RULES if values[keyword]}
    if asked:
        lines = _table("[[rules]]", name=name, unit=unit)
        lines += _table("[rules.when]", **asked)
        yield Proposal(lines=lines, looks_at=asked)


def _common(values: Iterator[str]) -> str:
    """Return the text that all have, "" when they differ."""
    several = [value.strip() for value in values]
    return several[0] if len({folded(each) for each in several}) == 1 else ""


def _identity(unit: str, **values: str) -> str:
    return _table(f"[[units.{_key(unit)}.identity]]", **values)


def _table(header: str, **values: str) -> str:
    return "\n".join([header, *(f"{_key(key)} = {_string(value)}" for key, value in values.items() if value)]) + "\n"


def _key(text: str) -> str:
    return text if _BARE.fullmatch(text) else _string(text)


def _string(text: str) -> str:
    """Write a basic string of TOML; what does not print, or could end it, is escaped."""
    return f'"{"".join(char if char.isprintable() and char not in _ESCAPED else _escape(char) for char in text)}"'


def _escape(char: str) -> str:
    return f"\\u{ord(char):04X}" if ord(char) < 0x10000 else f"\\U{ord(char):08X}"
