"""Tell which portion of a submission one image counts toward.

The order: a rule of the site; the coded phantom; a test pattern; Quality Control Subject where it can only be the
biopsy phantom; the unit's own names for its phantom; then, left over, a quality control flag of unknown meaning; and
last the biopsy stage and the kind of unit. Nothing is ever found inside a word: names and numbers of patients contain
``qa``, ``test`` and ``acr``. A phantom taken for a clinical exam hides an overdue unit, so every flag of quality
control comes before the stage.
"""

from fnmatch import fnmatchcase

from dicom_node.accreditation.attribution import shows_biopsy
from dicom_node.accreditation.evidence import from_cabinet
from dicom_node.accreditation.portions import Portion, PortionDecision
from dicom_node.accreditation.rules import holds
from dicom_node.accreditation.signals import Phantom, Role, Signals, Stage
from dicom_node.accreditation.units import Registry, Unit, UnitKind


def classify(signals: Signals, unit: Unit | None, registry: Registry) -> PortionDecision | None:
    """Tell the portion of an image made on ``unit`` (None: no known unit); None for anything but an acquired image."""
    if signals.role is not Role.PRIMARY:
        return None
    for rule in registry.rules:
        if rule.portion is not None and holds(rule, signals):
            return PortionDecision(portion=rule.portion, rule=f"rule {rule.name}")
    return _quality_control(signals, unit) or _patient_image(signals, unit, registry)


def _quality_control(signals: Signals, unit: Unit | None) -> PortionDecision | None:
    """Decide what is, or may be, no image of a patient (DICOM PS3.16 CID 4052; PS3.3 C.7.1.1, C.7.6.1)."""
    if signals.phantom is Phantom.STEREOTACTIC:
        return PortionDecision(portion=Portion.PHANTOM, rule="stereotactic biopsy phantom in DeviceSequence")
    if signals.phantom is Phantom.OTHER:
        return PortionDecision(portion=Portion.NEITHER, rule="phantom of another kind in DeviceSequence")
    if signals.test_pattern:
        return PortionDecision(portion=Portion.NEITHER, rule="test pattern or flat field")
    subject = signals.phantom is Phantom.UNKNOWN_KIND
    if subject and unit is not None and unit.kind is UnitKind.PRONE:
        return PortionDecision(portion=Portion.PHANTOM, rule="QualityControlSubject on a prone table")
    if subject and shows_biopsy(signals):
        return PortionDecision(portion=Portion.PHANTOM, rule="QualityControlSubject with a biopsy stage")
    if unit is not None and _has_phantom_id(signals, unit):
        return PortionDecision(portion=Portion.PHANTOM, rule="PatientID is a phantom's of this unit")
    if unit is not None and _has_phantom_word(signals, unit):
        return PortionDecision(portion=Portion.PHANTOM, rule="a word is a phantom's of this unit")
    if subject:
        return PortionDecision(portion=Portion.UNCLEAR, rule="QualityControlSubject, kind of phantom not told")
    if signals.quality_control_image:
        return PortionDecision(portion=Portion.UNCLEAR, rule="QualityControlImage, kind of image not told")
    return None


def _patient_image(signals: Signals, unit: Unit | None, registry: Registry) -> PortionDecision:
    if signals.stage is Stage.SPECIMEN:
        return PortionDecision(portion=Portion.NEITHER, rule="radiograph of a specimen")
    if unit is None and signals.stage is None and from_cabinet(signals, registry):
        return PortionDecision(portion=Portion.NEITHER, rule="sent by a specimen cabinet")
    if unit is None:
        return PortionDecision(portion=Portion.UNCLEAR, rule="unit not known")
    if signals.stage is not None:
        source = f" in {signals.stage_source}" if signals.stage_source else ""
        return PortionDecision(portion=Portion.CLINICAL, rule=f"biopsy stage{source}")
    if unit.kind is UnitKind.PRONE:
        return PortionDecision(portion=Portion.CLINICAL, rule="patient image on a prone table")
    return PortionDecision(portion=Portion.NEITHER, rule="image without a biopsy stage on an upright unit")


def _has_phantom_id(signals: Signals, unit: Unit) -> bool:
    if not unit.phantom_patient_ids:
        return False
    patient_id = signals.patient_id.strip().casefold()
    # Only * and ? are wild: brackets occur in identifiers and mean themselves.
    patterns = (pattern.strip().casefold().replace("[", "[[]") for pattern in unit.phantom_patient_ids)
    return bool(patient_id) and any(fnmatchcase(patient_id, pattern) for pattern in patterns)


def _has_phantom_word(signals: Signals, unit: Unit) -> bool:
    if not unit.phantom_words:
        return False
    words = {word.casefold() for word in signals.words}
    return any(word.strip().casefold() in words for word in unit.phantom_words)
