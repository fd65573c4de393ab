"""Tell whether a configured rule holds for an instance."""

import re
from decimal import Decimal, InvalidOperation

from dicom_node.accreditation.signals import Signals
from dicom_node.accreditation.units import Condition, Rule

_ASSOCIATION_FIELDS = frozenset({"calling_ae", "called_ae", "peer_address"})


def value_of(signals: Signals, name: str) -> str:
    """Return the stripped text of an attribute or association field as ``Condition.name`` names it; "" when absent."""
    text: str = getattr(signals, name) if name in _ASSOCIATION_FIELDS else signals.attributes.get(name, "")
    return text.strip()


def holds(rule: Rule, signals: Signals) -> bool:
    """Tell whether every condition of ``rule`` holds for the instance."""
    return all(_passes(condition, value_of(signals, condition.name)) for condition in rule.conditions)


def _passes(condition: Condition, text: str) -> bool:
    if condition.present is not None:
        return bool(text) is condition.present
    if not text:
        return False
    values = {text, *(value.strip() for value in text.split("\\"))}
    return any(_value_passes(condition, value) for value in values)


def _value_passes(condition: Condition, value: str) -> bool:
    if condition.equals is not None:
        return value == condition.equals.strip()
    if condition.folded is not None:
        return value.casefold() == condition.folded.strip().casefold()
    if condition.regex is not None:
        return re.fullmatch(condition.regex, value) is not None
    return _in_range(value, condition.lowest, condition.highest)


def _in_range(value: str, lowest: str | None, highest: str | None) -> bool:
    """Compare as numbers when every end that is set is one, else as text; without an end nothing is in the range."""
    ends = [end.strip() for end in (lowest, highest) if end is not None]
    if not ends:
        return False
    if any(_number(end) is None for end in ends):
        return (lowest is None or lowest.strip() <= value) and (highest is None or value <= highest.strip())
    number = _number(value)
    if number is None:
        return False
    low, high = (None if end is None else _number(end) for end in (lowest, highest))
    return (low is None or low <= number) and (high is None or number <= high)


def _number(text: str) -> Decimal | None:
    """Read a finite decimal number; serial numbers are longer than a float is exact."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
