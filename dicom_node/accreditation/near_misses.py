"""What nearly told the unit of an instance that nobody could attribute: for the person who puts the site's rules right.

Pure words; nothing here attributes anything. Values of attributes that describe the device or the association are
shown, those of any other attribute, which may be a patient's, never.
"""

from difflib import SequenceMatcher

from dicom_node.accreditation.evidence import any_sends, folded, shown
from dicom_node.accreditation.rules import holds, value_of
from dicom_node.accreditation.signals import Signals
from dicom_node.accreditation.units import Condition, Registry, Rule

SHOWABLE = frozenset(
    {
        "calling_ae",
        "called_ae",
        "peer_address",
        "Manufacturer",
        "ManufacturerModelName",
        "DeviceSerialNumber",
        "DeviceUID",
        "DetectorID",
        "GantryID",
        "StationName",
        "InstitutionName",
        "Modality",
        "SoftwareVersions",
    }
)
"""Attributes and association fields whose value is no patient's."""

ALIKE = 0.75
"""How alike two texts must be, from 0 to 1, to be taken for a slip of the pen."""


def near_misses(signals: Signals, registry: Registry) -> tuple[str, ...]:
    """Say what came near to naming a unit and why it did not, the nearest first; empty when nothing came near.

    Considered are the attribute maps of the attachment that sent the instance, the site's rules of which some
    condition holds, and configured serial numbers and station names that are nearly those of the instance.
    """
    found = [*_maps(signals, registry), *_rules(signals, registry), *_slips(signals, registry)]
    return tuple(sentence for _, sentence in sorted(found, key=lambda each: -each[0]))


def _maps(signals: Signals, registry: Registry) -> list[tuple[float, str]]:
    found = []
    for attachment in registry.attachments.values():
        if not any_sends(attachment.identities, signals):
            continue
        for attribute_map in attachment.attribute_maps:
            name, value = attribute_map.keyword, value_of(signals, attribute_map.keyword)
            if any(folded(text) == folded(value) for text in attribute_map.units):
                continue
            wanted = ", ".join(attribute_map.units)
            found.append((1.0, f"{attachment.id} tells the unit by {name} ({wanted}); {_is(name, value)}"))
    return found


def _rules(signals: Signals, registry: Registry) -> list[tuple[float, str]]:
    found = []
    for rule in registry.rules:
        missed = [each for each in rule.conditions if not holds(Rule(name="", conditions=(each,)), signals)]
        part = 1 - len(missed) / max(1, len(rule.conditions))
        if rule.unit is None or not missed or part == 0:
            continue
        why = " and ".join(f"{_wanted(each)}; {_is(each.name, value_of(signals, each.name))}" for each in missed)
        found.append((part, f"rule {rule.name} would say {rule.unit}, but it wants {why}"))
    return found


def _slips(signals: Signals, registry: Registry) -> list[tuple[float, str]]:
    found = []
    for unit in registry.units.values():
        for identity in unit.identities:
            for what, configured, value in (
                ("serial", identity.device_serial, signals.device_serial),
                ("station name", identity.station_name, signals.station_name),
            ):
                alike = SequenceMatcher(a=folded(configured), b=folded(value)).ratio()
                if ALIKE <= alike < 1:
                    found.append((alike, f"{what} {shown(value)} is nearly {configured}, which is {unit.id}'s"))
    return found


def _wanted(condition: Condition) -> str:
    name = condition.name
    if condition.present is not None:
        return f"{name} to be {'present' if condition.present else 'absent'}"
    if condition.equals is not None:
        return f"{name} to be {condition.equals}"
    if condition.folded is not None:
        return f"{name} to be {condition.folded} in any case"
    if condition.regex is not None:
        return f"{name} to fit {condition.regex}"
    return f"{name} to be from {condition.lowest or 'any'} to {condition.highest or 'any'}"


def _is(name: str, value: str) -> str:
    if not value:
        return "the images have none"
    return f"the images have {shown(value)}" if name in SHOWABLE else "the images have another one"
