"""Everything the rules derive from one instance, in one step: unit, day, portion."""

from dataclasses import dataclass
from datetime import date

from dicom_node.accreditation.attribution import Attributed, Attribution, attribute, attribute_by_hand
from dicom_node.accreditation.classify import classify
from dicom_node.accreditation.exams import Performed, performed
from dicom_node.accreditation.portions import PortionDecision
from dicom_node.accreditation.signals import Role, Signals
from dicom_node.accreditation.units import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """What one instance is to the rules. The same signals, registry and day of receipt always give the same."""

    attribution: Attribution
    performed: Performed
    portion: PortionDecision | None
    """None for anything but an acquired image."""
    stage: str
    """A value of ``Stage``, or "" when the instance shows none."""
    role: Role


def derive(signals: Signals, registry: Registry, received_on: date, assigned_unit: str | None = None) -> Derivation:
    """Derive unit, day and portion of one instance.

    ``received_on`` is the local day of receipt; it bounds what is believed and is never the day of the exam.
    ``assigned_unit`` is the unit a person assigned the instance to, whatever the evidence says.
    """
    # The day chooses the attachment's assignment, and the unit's installation may refuse the day: the first pass
    # judges the day alone.
    judged = performed(signals, received_on, installed_on=None)
    day = judged.day
    attribution: Attribution
    if assigned_unit is None:
        attribution = attribute(signals, registry, day)
    else:
        attribution = attribute_by_hand(assigned_unit, signals, registry, day)
    unit = registry.units.get(attribution.unit) if isinstance(attribution, Attributed) else None
    if unit is not None and unit.installed_on is not None:
        judged = performed(signals, received_on, unit.installed_on)
    return Derivation(
        attribution=attribution,
        performed=judged,
        portion=classify(signals, unit, registry),
        stage="" if signals.stage is None else signals.stage.value,
        role=signals.role,
    )
