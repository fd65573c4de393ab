"""What images of an exam tell of its stereotactic pair, its breast and its identification."""

from datetime import date
from typing import Any

import pytest

from dicom_node.accreditation.cases import CaseFacts, case_facts
from dicom_node.accreditation.pairs import CaseImage, Element, Laterality, PairState, Side, laterality_of, pair_of
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.signals import Stage

DAY = date(2026, 6, 8)
LEFT, RIGHT, BOTH, NOT_TOLD = Laterality.LEFT, Laterality.RIGHT, Laterality.BOTH, Laterality.NOT_TOLD


def image(stage: Stage | None = None, side: str = "", **values: Any) -> CaseImage:
    told: dict[str, Any] = {"side": Side(side), "side_source": "ImageType"} if side else {}
    return CaseImage(**{"stage": stage, "laterality": LEFT, "present": frozenset(Element), "day": DAY} | told | values)


SCOUT = image(Stage.SCOUT)
PRE = (image(Stage.PRE_FIRE, "minus"), image(Stage.PRE_FIRE, "plus"))
STEREO = (image(Stage.STEREO_PAIR, "minus"), image(Stage.STEREO_PAIR, "plus"))
BY_ANGLE = tuple(image(Stage.BIOPSY, side, side_source="PositionerPrimaryAngle") for side in ("minus", "plus"))

PAIRS = [
    # images, state, stage of the pair, words of the reason
    ((SCOUT, *STEREO), PairState.COMPLETE, Stage.STEREO_PAIR, "of stereo-pair, by ImageType"),
    ((*STEREO, *PRE), PairState.COMPLETE, Stage.PRE_FIRE, "of pre-fire"),
    (BY_ANGLE, PairState.COMPLETE, Stage.BIOPSY, "of no told stage, by PositionerPrimaryAngle"),
    ((STEREO[0], BY_ANGLE[1]), PairState.ABSENT, None, "of stereo-pair only the minus image; of no told stage only"),
    ((SCOUT,), PairState.ABSENT, None, "no two images of one stage"),
    ((), PairState.ABSENT, None, "no two images of one stage"),
    ((SCOUT, PRE[1]), PairState.ABSENT, None, "of pre-fire only the plus image"),
    ((PRE[0], STEREO[1]), PairState.ABSENT, None, "only the minus image; of stereo-pair only the plus image"),
    ((image(Stage.SPECIMEN, "minus"), image(Stage.SPECIMEN, "plus")), PairState.ABSENT, None, "no two images"),
    ((image(Stage.SCOUT, tomosynthesis=True),), PairState.TOMOSYNTHESIS, None, "no pair of angles"),
    ((image(Stage.POST_FIRE, tomosynthesis=True), SCOUT), PairState.TOMOSYNTHESIS, None, "no pair of angles"),
    ((image(Stage.SCOUT, tomosynthesis=True), *STEREO), PairState.COMPLETE, Stage.STEREO_PAIR, "stereo-pair"),
    ((image(Stage.BIOPSY), image(Stage.BIOPSY)), PairState.UNVERIFIED, None, "2 images whose angle is not told"),
    ((image(), image()), PairState.UNVERIFIED, None, "no told stage: 2 images whose angle is not told"),
    ((image(Stage.PRE_FIRE), PRE[0]), PairState.UNVERIFIED, None, "pre-fire: 1 image whose angle is not told"),
    ((image(Stage.BIOPSY),), PairState.ABSENT, None, "no two images of one stage"),
    ((image(Stage.BIOPSY, frames=2),), PairState.UNVERIFIED, None, "an image of several frames"),
    # One exposure, sent for processing and for presentation.
    ((image(Stage.BIOPSY, exposure="132223"), image(Stage.BIOPSY, exposure="132223")), PairState.ABSENT, None, ""),
    ((image(Stage.BIOPSY, exposure="132223"), image(Stage.BIOPSY, exposure="132240")), PairState.UNVERIFIED, None, ""),
    ((PRE[0], image(Stage.PRE_FIRE, "plus", laterality=RIGHT)), PairState.UNVERIFIED, None, "different breasts"),
    ((PRE[0], image(Stage.PRE_FIRE, "plus", laterality=NOT_TOLD)), PairState.COMPLETE, Stage.PRE_FIRE, ""),
]  # fmt: skip


@pytest.mark.parametrize(("images", "state", "stage", "reason"), PAIRS)
def test_the_pair_and_why(images: tuple[CaseImage, ...], state: PairState, stage: Stage | None, reason: str) -> None:
    pair = pair_of(iter(images))
    assert (pair.state, pair.stage) == (state, stage)
    assert reason in pair.reason
    assert pair_of(reversed(images)).state is state


def test_images_of_different_targets_are_no_pair() -> None:
    minus, plus, other = (
        image(Stage.PRE_FIRE, side, targets=frozenset({target}))
        for side, target in (("minus", "1.2.3"), ("plus", "1.2.3"), ("plus", "1.2.4"))
    )
    assert pair_of([minus, other]).state is PairState.UNVERIFIED
    assert pair_of([minus, other, plus]).state is PairState.COMPLETE
    assert pair_of([minus, PRE[1]]).state is PairState.COMPLETE  # one tells no target


def test_only_a_pair_from_before_or_after_firing_is_what_the_programme_wants() -> None:
    assert pair_of(PRE).is_fired
    assert not pair_of(STEREO).is_fired
    assert not pair_of(BY_ANGLE).is_fired
    assert not pair_of([PRE[0]]).is_fired


@pytest.mark.parametrize(
    ("told", "laterality"),
    [
        ((), NOT_TOLD),
        ((NOT_TOLD,), NOT_TOLD),
        ((LEFT, LEFT, NOT_TOLD), LEFT),
        ((RIGHT,), RIGHT),
        ((LEFT, RIGHT), BOTH),
        ((LEFT, BOTH), BOTH),
    ],
)
def test_the_breast_is_one_both_or_not_told(told: tuple[Laterality, ...], laterality: Laterality) -> None:
    assert laterality_of(told) is laterality


def test_the_identification_is_counted_over_all_images() -> None:
    bare = image(Stage.PRE_FIRE, "plus", present=frozenset(Element) - {Element.OPERATOR, Element.VIEW})
    facts = case_facts([PRE[0], bare, bare], Portion.CLINICAL, others=[Stage.SPECIMEN])
    assert facts.missing == {Element.OPERATOR: 2, Element.VIEW: 2}
    assert (facts.images, facts.stages) == (3, (Stage.PRE_FIRE, Stage.SPECIMEN))
    assert (facts.laterality, facts.first_day, facts.last_day, facts.calcification) == (LEFT, DAY, DAY, "unknown")


def test_of_a_phantom_nothing_is_asked_that_a_patient_has() -> None:
    facts = case_facts([image(Stage.STEREO_PAIR, present=frozenset())], Portion.PHANTOM)
    assert list(facts.missing) == [Element.DATE, Element.INSTITUTION, Element.STATION, Element.OPERATOR]
    assert facts.pair.state is PairState.NOT_WANTED


@pytest.mark.parametrize(
    ("told", "burned_in"),
    [((True, False), True), ((False, False), False), ((False, None), None), ((None,), None), ((), None)],
)
def test_burned_in_text_is_as_told(told: tuple[bool | None, ...], burned_in: bool | None) -> None:
    facts = case_facts([image(burned_in=each) for each in told], Portion.CLINICAL)
    assert facts.burned_in is burned_in


@pytest.mark.parametrize(
    "facts",
    [
        case_facts([*PRE, image(present=frozenset(), view="CC", burned_in=True)], Portion.CLINICAL, unreadable=2),
        case_facts([], Portion.CLINICAL),
        case_facts(PRE, Portion.PHANTOM),
    ],
)
def test_facts_are_the_same_once_kept_as_json(facts: CaseFacts) -> None:
    assert CaseFacts.from_json(facts.as_json()) == facts
