"""Which lines of the configuration make two units match the same images, and which would tell them apart."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dicom_node.accreditation.evidence import folded
from dicom_node.accreditation.units import Identity, Registry

_KEYS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("device serial", ("device_serial", "manufacturer")),
    ("sender", ("ae_title", "host")),
    ("detector id", ("detector_id",)),
    ("detector id", ("device_uid",)),
    ("station name", ("station_name", "institution")),
)
"""The keys of an identity that are one piece of evidence, and how the doubts of ``attribution`` begin that name it."""

_TOLD = ("device_serial", "ae_title", "station_name")
"""Keys whose values stand in the doubts."""

_UNKNOWN_SERIAL = re.compile(r"serial (?P<serial>.*?) is not configured for ")
_NOTHING_SAYS = re.compile(r"(?P<names>.*) is assigned to \d+ units and .*, station (?P<station>.*), sender ")
_MAPS = "attribute maps and serial"
"""The doubts of ``attribution`` that no line of one kind explains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clashes:
    """Lines of the configuration, each with the table it stands in."""

    clashing: tuple[str, ...]
    """Lines that several of the units have alike."""
    missing: tuple[str, ...]
    """Lines that would tell them apart."""


def clashes(doubts: Iterable[str], unit_ids: Sequence[str], registry: Registry) -> Clashes:
    """Say of exams that several units match, and of the doubts about them, which lines clash and which are missing."""
    several = list(doubts)
    units = [registry.units[unit_id] for unit_id in unit_ids if unit_id in registry.units]
    clashing: list[str] = []
    for beginning, keys in _KEYS:
        if not any(doubt.startswith(beginning) for doubt in several):
            continue
        lines: dict[str, dict[str, str]] = {}
        for unit in units:
            for identity in unit.identities:
                value = _value(identity, keys[0])
                if value and any(folded(value) in folded(doubt) or keys[0] not in _TOLD for doubt in several):
                    lines.setdefault(folded(value), {})[unit.id] = _line(identity, keys)
        for by_unit in lines.values():
            if len(by_unit) > 1:
                clashing += [f"[[units.{unit_id}.identity]] {line}" for unit_id, line in sorted(by_unit.items())]
    if any(doubt.startswith(_MAPS) for doubt in several):
        clashing += _of_maps(unit_ids, registry)
    missing = dict.fromkeys(_missing(several, unit_ids, registry))
    return Clashes(clashing=tuple(clashing), missing=tuple(missing))


def _of_maps(unit_ids: Sequence[str], registry: Registry) -> Iterator[str]:
    """Yield the entries of attribute maps, and the serial numbers, that name the units."""
    for attachment in registry.attachments.values():
        for each in attachment.attribute_maps:
            for text, unit_id in each.units.items():
                if unit_id in unit_ids:
                    yield (
                        f"[[attachments.{attachment.id}.attribute]] keyword = {json.dumps(each.keyword)}, "
                        f"map = {{ {json.dumps(text)} = {json.dumps(unit_id)} }}"
                    )
    for unit_id in unit_ids:
        for identity in registry.units[unit_id].identities if unit_id in registry.units else ():
            if identity.device_serial:
                yield f"[[units.{unit_id}.identity]] {_line(identity, ('device_serial',))}"


def _missing(doubts: Sequence[str], unit_ids: Sequence[str], registry: Registry) -> Iterator[str]:
    """Yield lines that would name a serial number that nobody has, or tell the units of an attachment apart."""
    units = " or ".join(unit_ids)
    for doubt in doubts:
        if found := _UNKNOWN_SERIAL.match(doubt):
            yield f"under [[units.ID.identity]] of {units}: device_serial = {json.dumps(found['serial'])}"
        elif (found := _NOTHING_SAYS.match(doubt)) and found["station"] != "(none)":
            attachment_ids = " and ".join(each for each in found["names"].split(" or ") if each in registry.attachments)
            yield (
                f'under [[attachments.ID.attribute]] of {attachment_ids}: keyword = "StationName", '
                f"map = {{ {json.dumps(found['station'])} = {json.dumps(unit_ids[0])} }}, or the other unit"
            )
        elif found:
            yield (
                f"what tells {units} apart: days (from, to) under [[attachments.ID.assigned]], or an attribute the "
                "device writes, under [[attachments.ID.attribute]]"
            )


def _value(identity: Identity, key: str) -> str:
    text: str = getattr(identity, key)
    return text.strip()


def _line(identity: Identity, keys: Sequence[str]) -> str:
    """Write keys of an identity as the configuration has them."""
    written = []
    for key in keys:
        value = ", ".join(map(str, identity.hosts)) if key == "host" else _value(identity, key)
        if value:
            written.append(f"{key} = {json.dumps(value)}")
    return ", ".join(written)
