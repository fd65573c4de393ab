"""What the programme asks of a submission, and what is there."""

from dataclasses import replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from dicom_node.accreditation.cases import Case, CaseDecision, CaseFacts, CaseState, LinkedStudy, LinkRole
from dicom_node.accreditation.checklist import (
    Item,
    Mark,
    PackedImage,
    clinical_items,
    nothing_inside,
    phantom_items,
    physicist_items,
)
from dicom_node.accreditation.pairs import Element, Laterality, Pair, PairState
from dicom_node.accreditation.policies import Terms
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.signals import Stage
from dicom_node.accreditation.surveys import LogKind, QcLog, coverage

DAY = date(2026, 9, 14)
PAIR = Pair(state=PairState.COMPLETE, stage=Stage.PRE_FIRE, reason="minus and plus image of pre-fire, by ImageType")
CANDIDATE = Case(
    exam_id="e1",
    study_uid="1.2",
    unit_id="prone1",
    portion=Portion.CLINICAL,
    day=DAY,
    facts=CaseFacts(images=2, pair=PAIR),
    state=CaseState.CANDIDATE,
)
CONFIRMED = replace(
    CANDIDATE,
    state=CaseState.CONFIRMED,
    decision=CaseDecision(
        state=CaseState.CONFIRMED,
        mammogram_day=date(2026, 9, 1),
        decided_by="dr jones",
        decided_at=datetime(2026, 9, 20, tzinfo=UTC),
        reason="calcifications",
    ),
)


def image(path: str = "01-scout-L.dcm", linked_as: LinkRole | None = None, **values: object) -> PackedImage:
    """Return an image whose identification is whole and whose pixels hold no text, unless told otherwise."""
    told = {"view": "", "lacking": (), "burned_in": False} | values
    return PackedImage(path=path, linked_as=linked_as, **told)  # type: ignore[arg-type]


MAMMOGRAM = [image("01-mammogram-L-CC.dcm", LinkRole.MAMMOGRAM, view="CC"),
             image("02-mammogram-L-MLO.dcm", LinkRole.MAMMOGRAM, view="MLO")]  # fmt: skip
SPECIMEN = image("09-specimen-L.dcm", LinkRole.SPECIMEN)


def mark_of(items: list[Item], what: str) -> tuple[Mark, str]:
    """Return the mark and the words of an item."""
    (item,) = [each for each in items if each.what == what]
    return item.mark, item.words


def test_a_whole_case_lacks_its_form_alone() -> None:
    items = clinical_items(CONFIRMED, [*MAMMOGRAM, image(), SPECIMEN], UTC)
    assert [(each.what, each.mark) for each in items if each.mark is not Mark.THERE] == [
        ("clinical image data form", Mark.BY_HAND)
    ]
    assert mark_of(items, "case") == (Mark.THERE, "confirmed by dr jones on 2026-09-20")


def test_the_day_of_the_confirmation_is_the_facilitys() -> None:
    items = clinical_items(CONFIRMED, [image()], ZoneInfo("America/Chicago"))
    assert mark_of(items, "case")[1] == "confirmed by dr jones on 2026-09-19"


def test_a_folder_with_images_of_both_breasts_is_to_be_looked_at() -> None:
    both = replace(CONFIRMED, facts=replace(CONFIRMED.facts, laterality=Laterality.BOTH))
    words = "the folder holds images of the left and of the right: submit one breast's"
    assert mark_of(clinical_items(both, [image()], UTC), "one breast") == (Mark.LOOK, words)


def test_a_candidate_is_marked_as_not_confirmed() -> None:
    items = clinical_items(CANDIDATE, [image()], UTC)
    assert mark_of(items, "case")[0] is Mark.LOOK
    assert "NOT CONFIRMED" in mark_of(items, "case")[1]
    assert mark_of(items, "calcifications")[0] is Mark.LOOK


@pytest.mark.parametrize(
    ("images", "mark", "words"),
    [
        ([], Mark.MISSING, "no mammogram that a person confirmed is on file (that of 2026-09-01)"),
        (MAMMOGRAM[:1], Mark.MISSING, "on file: CC"),
        ([image(linked_as=LinkRole.MAMMOGRAM)], Mark.MISSING, "on file: no told view"),
        ([MAMMOGRAM[0], MAMMOGRAM[0]], Mark.MISSING, "on file: CC"),
        (MAMMOGRAM, Mark.THERE, "CC, MLO"),
    ],
)
def test_the_mammogram_is_wanted_in_two_views(images: list[PackedImage], mark: Mark, words: str) -> None:
    assert mark_of(clinical_items(CONFIRMED, images, UTC), "correlating mammogram, two views") == (mark, words)


@pytest.mark.parametrize(
    ("pair", "mark"),
    [
        (PAIR, Mark.THERE),
        (replace(PAIR, stage=Stage.POST_FIRE), Mark.THERE),
        (replace(PAIR, stage=Stage.STEREO_PAIR), Mark.MISSING),
        (Pair(state=PairState.ABSENT, reason="no two images of one stage"), Mark.MISSING),
        (Pair(state=PairState.UNVERIFIED, reason="2 images whose angle is not told"), Mark.LOOK),
        (Pair(state=PairState.TOMOSYNTHESIS, reason="guided by tomosynthesis"), Mark.LOOK),
    ],
)
def test_the_pair_is_wanted_from_before_or_after_firing(pair: Pair, mark: Mark) -> None:
    case = replace(CONFIRMED, facts=replace(CONFIRMED.facts, pair=pair))
    assert mark_of(clinical_items(case, [image()], UTC), "pre-fire or post-fire stereotactic pair")[0] is mark


def test_a_specimen_that_is_linked_and_gone_is_told_apart_from_none() -> None:
    gone = replace(CONFIRMED, links=(LinkedStudy(role=LinkRole.SPECIMEN, study_uid="1.9"),))
    what = "radiograph of the specimen"
    assert mark_of(clinical_items(gone, [], UTC), what) == (Mark.MISSING, "what is linked to the case is not on file")
    assert mark_of(clinical_items(CONFIRMED, [], UTC), what) == (Mark.MISSING, "none is linked")
    assert mark_of(clinical_items(CONFIRMED, [SPECIMEN], UTC), what) == (Mark.THERE, "1 image")


def test_images_without_identification_or_with_text_in_their_pixels_are_named() -> None:
    images = [image("a", lacking=(Element.NAME, Element.VIEW)), image("b", burned_in=True), image("c", burned_in=None)]
    items = phantom_items(images)
    assert mark_of(items, "identification") == (Mark.LOOK, "by the header a lacks name, view")
    assert [(each.mark, each.words) for each in items if each.what == "text in the pixels"] == [
        (Mark.LOOK, "burned in by the device's own word: b"),
        (Mark.LOOK, "the header does not say whether there is any: c"),
    ]


def test_nothing_to_submit_is_missing() -> None:
    assert phantom_items([])[0].mark is Mark.MISSING
    assert [(each.what, each.mark) for each in nothing_inside(Portion.PHANTOM, "none")] == [
        ("phantom exam", Mark.MISSING)
    ]
    assert nothing_inside(Portion.CLINICAL, "none")[0].what == "case"


def test_logs_without_a_gap_are_added_by_hand_and_gaps_are_told() -> None:
    log = QcLog(id="q1", unit="prone1", kind=LogKind.DAILY, first=date(2026, 10, 20), last=date(2026, 11, 10))
    spans = [coverage([log], LogKind.DAILY, Terms(), until) for until in (date(2026, 11, 10), date(2026, 11, 20))]
    for span, mark in zip(spans, (Mark.MISSING, Mark.MISSING), strict=True):
        items = physicist_items(DAY, has_report=False, logs=[span], terms=Terms())
        assert mark_of(items, "daily quality control logs")[0] is mark
    assert (
        "wanted 2026-10-20 to 2026-11-20 (1 month); no record of 2026-11-11 to 2026-11-20"
        in (mark_of(items, "daily quality control logs")[1])
    )
    whole = replace(log, first=date(2026, 10, 10))
    items = physicist_items(
        DAY, has_report=True, logs=[coverage([whole], LogKind.DAILY, Terms(), date(2026, 11, 10))], terms=Terms()
    )
    assert mark_of(items, "daily quality control logs")[0] is Mark.BY_HAND
    assert mark_of(items, "survey") == (Mark.THERE, "performed on 2026-09-14")
    assert mark_of(items, "physicist's report")[0] is Mark.THERE
    assert physicist_items(None, has_report=False, logs=[], terms=Terms())[0].mark is Mark.MISSING
