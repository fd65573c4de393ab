"""Which portion an image counts toward, and which rule decided."""

from typing import Any

import pytest

from dicom_node.accreditation.classify import classify
from dicom_node.accreditation.portions import Portion, PortionDecision
from dicom_node.accreditation.signals import Phantom, Role, Signals, Stage
from dicom_node.accreditation.units import Condition, Registry, Rule, Unit
from tests.unit.accreditation.facility import PRONE, UPRIGHT_A, image, registry, sent_by

NO_RULES = Registry()


def portion(signals: Signals, unit: Unit | None) -> Portion | None:
    decision = classify(signals, unit, NO_RULES)
    return None if decision is None else decision.portion


@pytest.mark.parametrize(
    ("values", "on_prone", "on_upright", "on_no_unit"),
    [
        ({}, "clinical", "neither", "unclear"),
        ({"stage": Stage.SCOUT}, "clinical", "clinical", "unclear"),
        ({"stage": Stage.BIOPSY}, "clinical", "clinical", "unclear"),
        ({"stage": Stage.SPECIMEN}, "neither", "neither", "neither"),
        ({"phantom": Phantom.STEREOTACTIC}, "phantom", "phantom", "phantom"),
        ({"phantom": Phantom.STEREOTACTIC, "stage": Stage.SCOUT}, "phantom", "phantom", "phantom"),
        ({"phantom": Phantom.OTHER, "stage": Stage.SCOUT}, "neither", "neither", "neither"),
        ({"phantom": Phantom.OTHER, "patient_id": "ACRPHANTOM1"}, "neither", "neither", "neither"),
        ({"phantom": Phantom.UNKNOWN_KIND}, "phantom", "unclear", "unclear"),
        ({"phantom": Phantom.UNKNOWN_KIND, "stage": Stage.SCOUT}, "phantom", "phantom", "phantom"),
        ({"phantom": Phantom.UNKNOWN_KIND, "stage": Stage.SPECIMEN}, "phantom", "unclear", "unclear"),
        ({"phantom": Phantom.UNKNOWN_KIND, "patient_id": "ACRPHANTOM1"}, "phantom", "phantom", "unclear"),
        ({"quality_control_image": True}, "unclear", "unclear", "unclear"),
        ({"quality_control_image": True, "stage": Stage.SCOUT}, "unclear", "unclear", "unclear"),
        ({"quality_control_image": True, "patient_id": "ACRPHANTOM1"}, "phantom", "phantom", "unclear"),
        ({"test_pattern": True}, "neither", "neither", "neither"),
        ({"test_pattern": True, "phantom": Phantom.UNKNOWN_KIND}, "neither", "neither", "neither"),
        ({"test_pattern": True, "quality_control_image": True}, "neither", "neither", "neither"),
        ({"patient_id": "acrphantom-7"}, "phantom", "phantom", "unclear"),
        ({"patient_id": "ACRPHANTOM", "stage": Stage.PRE_FIRE}, "phantom", "phantom", "unclear"),
    ],
    ids=repr,
)
def test_the_portion_by_evidence_and_kind_of_unit(
    values: dict[str, Any], on_prone: str, on_upright: str, on_no_unit: str
) -> None:
    signals = image(**values)
    assert [portion(signals, unit) for unit in (PRONE, UPRIGHT_A, None)] == [on_prone, on_upright, on_no_unit]


@pytest.mark.parametrize(
    ("sender", "stage", "expected"),
    [
        ("SPECIMEN_XR", None, (Portion.NEITHER, "sent by a specimen cabinet")),
        ("SPECIMEN_XR", Stage.PRE_FIRE, (Portion.UNCLEAR, "unit not known")),
        ("STRANGER", None, (Portion.UNCLEAR, "unit not known")),
    ],
)
def test_what_a_specimen_cabinet_sends_waits_for_no_unit(
    sender: str, stage: Stage | None, expected: tuple[Portion, str]
) -> None:
    told = classify(sent_by(sender, "10.20.30.40", stage=stage), None, registry())
    assert told == PortionDecision(portion=expected[0], rule=expected[1])


@pytest.mark.parametrize("role", [Role.EVIDENCE, Role.SECONDARY, Role.CONTROL])
def test_what_is_no_acquired_image_has_no_portion(role: Role) -> None:
    assert classify(image(role=role, phantom=Phantom.STEREOTACTIC), PRONE, NO_RULES) is None


@pytest.mark.parametrize("patient_id", ["QC-1", "qc-x", "ACRPHANTOM*"])
def test_a_pattern_fits_the_whole_patient_id_without_regard_to_case(patient_id: str) -> None:
    assert portion(image(patient_id=patient_id), PRONE) is Portion.PHANTOM


@pytest.mark.parametrize("patient_id", ["QC-12", "QC-", "XQC-1", "MACRPHANTOM", "ACRPHANTO", ""])
def test_a_pattern_never_fits_a_part_of_a_patient_id(patient_id: str) -> None:
    assert portion(image(patient_id=patient_id), PRONE) is Portion.CLINICAL


def test_brackets_in_a_pattern_mean_themselves() -> None:
    unit = Unit(id="u", label="U", kind=PRONE.kind, identities=(), phantom_patient_ids=("PH[1]*",))
    assert portion(image(patient_id="PH[1]7"), unit) is Portion.PHANTOM
    assert portion(image(patient_id="PH17"), unit) is Portion.CLINICAL


def test_a_phantom_word_is_a_whole_word() -> None:
    assert portion(image(words=("daily", "SBBPhantom")), PRONE) is Portion.PHANTOM
    assert portion(image(words=("sbbphantoms", "sbb", "phantom")), PRONE) is Portion.CLINICAL


def test_names_that_contain_qa_test_or_acr_are_patients() -> None:
    signals = image(patient_id="QA-TEST-ACR-0042", words=("qatest", "acrylic", "testa", "phantomas"))
    assert portion(signals, PRONE) is Portion.CLINICAL


def test_the_patterns_of_one_unit_say_nothing_on_another() -> None:
    assert portion(image(patient_id="QC-1", stage=Stage.SCOUT), UPRIGHT_A) is Portion.CLINICAL


def test_a_rule_of_the_site_comes_before_everything() -> None:
    rules = (
        Rule(name="unit only", conditions=(), unit="prone1"),
        Rule(name="paddle", conditions=(Condition(name="PaddleDescription", equals="X"),), portion=Portion.NEITHER),
        Rule(name="later", conditions=(), portion=Portion.PHANTOM),
    )
    signals = image(phantom=Phantom.STEREOTACTIC, attributes={"PaddleDescription": "X"})
    assert classify(signals, PRONE, Registry(rules=rules)) == PortionDecision(
        portion=Portion.NEITHER, rule="rule paddle"
    )


@pytest.mark.parametrize(
    ("signals", "unit", "rule"),
    [
        (image(stage=Stage.SCOUT, stage_source="ImageType"), UPRIGHT_A, "biopsy stage in ImageType"),
        (image(), PRONE, "patient image on a prone table"),
        (image(), UPRIGHT_A, "image without a biopsy stage on an upright unit"),
        (image(), None, "unit not known"),
    ],
)
def test_the_rule_that_decided_is_told(signals: Signals, unit: Unit | None, rule: str) -> None:
    decision = classify(signals, unit, NO_RULES)
    assert decision is not None
    assert decision.rule == rule
