"""What a case still wants, and which is the best to submit."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from dicom_node.accreditation.cases import (
    Case,
    CaseDecision,
    CaseState,
    LinkedStudy,
    LinkRole,
    case_facts,
    rank,
)
from dicom_node.accreditation.pairs import CaseImage, Element, Laterality, Side
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.signals import Stage

RELEASE = date(2026, 11, 23)
ALL = frozenset(Element)


def images(stage: Stage = Stage.PRE_FIRE, sides: tuple[Side, ...] = tuple(Side), **values: Any) -> list[CaseImage]:
    held = {"laterality": Laterality.LEFT, "present": ALL, "burned_in": False, "day": date(2026, 9, 14)} | values
    return [CaseImage(stage=stage, side=side, side_source="ImageType", **held) for side in sides]


MAMMOGRAM = LinkedStudy(
    role=LinkRole.MAMMOGRAM, study_uid="1.2.1", day=date(2026, 8, 3), views=("CC", "ML"), sop_instance_uids=("1", "2")
)
SPECIMEN = LinkedStudy(role=LinkRole.SPECIMEN, study_uid="1.2.2", day=date(2026, 9, 14), sop_instance_uids=("3",))


def decided(state: CaseState = CaseState.CONFIRMED, mammogram_day: date | None = date(2026, 8, 3)) -> CaseDecision:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    return CaseDecision(state=state, mammogram_day=mammogram_day, decided_by="lee", decided_at=at, reason="seen")


def case(
    exam_id: str = "a", *, of: list[CaseImage] | None = None, portion: Portion = Portion.CLINICAL, **values: Any
) -> Case:
    facts = case_facts(images() if of is None else of, portion, others=values.pop("others", ()))
    held: dict[str, Any] = {"state": CaseState.CANDIDATE, "day": date(2026, 9, 14), "facts": facts} | values
    return Case(exam_id=exam_id, study_uid="1.2.3", unit_id="prone1", portion=portion, **held)


def confirmed(exam_id: str = "a", **values: Any) -> Case:
    return case(exam_id, **{"state": CaseState.CONFIRMED, "decision": decided()} | values)


SEEN = "a person who has seen that it is a case of calcifications"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (confirmed(links=(MAMMOGRAM, SPECIMEN)), ()),
        (confirmed(links=(MAMMOGRAM,), others=[Stage.SPECIMEN]), ()),
        (case(), ("the correlating mammogram", "a radiograph of the specimen", SEEN)),
        (
            confirmed(links=(LinkedStudy(role=LinkRole.MAMMOGRAM, study_uid="1.2.1", views=("CC",)), SPECIMEN)),
            ("two views of the mammogram; on file: CC",),
        ),
        (confirmed(links=(SPECIMEN,)), ("the images of the mammogram, which are not linked",)),
        (
            confirmed(links=(MAMMOGRAM, LinkedStudy(role=LinkRole.SPECIMEN, study_uid="1.2.2"))),
            ("a radiograph of the specimen",),  # linked, and no longer on file
        ),
        (
            confirmed(links=(MAMMOGRAM, SPECIMEN), of=images(Stage.STEREO_PAIR)),
            ("a pre-fire or post-fire stereo pair: the pair is of stereo-pair",),
        ),
        (
            confirmed(links=(MAMMOGRAM, SPECIMEN), of=images(sides=(Side.PLUS,))),
            ("a pre-fire or post-fire stereo pair: absent, of pre-fire only the plus image",),
        ),
        (
            confirmed(links=(MAMMOGRAM, SPECIMEN), of=images(tomosynthesis=True, sides=(Side.PLUS,))),
            ("a pre-fire or post-fire stereo pair: tomosynthesis, confirm by eye",),
        ),
        (
            confirmed(links=(MAMMOGRAM, SPECIMEN), of=images(laterality=Laterality.BOTH, present=ALL - {Element.ID})),
            ("one laterality: both", "id on 2 images"),
        ),
        (case(portion=Portion.PHANTOM, of=images(present=ALL - {Element.OPERATOR})), ("operator on 2 images",)),
    ],
)  # fmt: skip
def test_what_a_case_still_wants(given: Case, wanted: tuple[str, ...]) -> None:
    assert given.still_wanted == wanted


FIRST = date(2026, 5, 23)


def ranked(*cases: Case, **proposed: list[LinkedStudy]) -> list[tuple[str, bool]]:
    found = rank(cases, released_on=RELEASE, admits=lambda day: day >= FIRST, proposed=proposed)
    return [(each.case.exam_id, each.admitted) for each in found]


def test_the_best_case_comes_first() -> None:
    in_order = [
        confirmed("1", of=images(Stage.STEREO_PAIR)),
        case("2", others=[Stage.SPECIMEN]),
        case("3", day=date(2026, 10, 1)),
        case("4"),
        case("5", of=images(present=ALL - {Element.VIEW})),
        case("6", of=images(laterality=Laterality.BOTH)),
        case("7", of=images(Stage.STEREO_PAIR)),
        case("8", of=images(tomosynthesis=True, sides=(Side.PLUS,))),
        case("9", of=images(sides=(Side.PLUS,))),
    ]
    too_old = confirmed("old", day=date(2026, 5, 22))
    assert ranked(too_old, *reversed(in_order)) == [*((each.exam_id, True) for each in in_order), ("old", False)]


def test_what_is_no_case_or_was_rejected_is_not_ranked() -> None:
    assert ranked(case(state=CaseState.NONE), case("b", state=CaseState.REJECTED), case("c")) == [("c", True)]


def test_what_is_on_file_for_a_case_moves_it_up_and_an_old_mammogram_moves_it_down() -> None:
    one_view = replace(MAMMOGRAM, views=("CC",))
    too_old = replace(MAMMOGRAM, day=date(2026, 5, 22))
    on_file = {"whole": [MAMMOGRAM, SPECIMEN], "views": [MAMMOGRAM], "view": [one_view], "old": [too_old, SPECIMEN]}
    cases = [case(name) for name in ("old", "bare", "view", "views", "whole")]
    assert [name for name, _ in ranked(*cases, **on_file)] == ["whole", "views", "view", "bare", "old"]
    newer = {"old": [too_old, MAMMOGRAM]}
    (found,) = rank([case("old")], released_on=RELEASE, admits=lambda day: day >= FIRST, proposed=newer)
    assert found.spoiled_by is None


def test_each_reason_is_told() -> None:
    good, promising, bad = rank(
        [
            confirmed(links=(MAMMOGRAM, SPECIMEN)),
            case("b", of=images(burned_in=True), day=date(2026, 5, 1), others=[Stage.SPECIMEN]),
            case("c", of=images(Stage.STEREO_PAIR, sides=(Side.PLUS,))),
        ],
        released_on=RELEASE,
        admits=lambda day: day >= FIRST,
        proposed={"c": [MAMMOGRAM, SPECIMEN], "b": [replace(MAMMOGRAM, day=date(2026, 4, 1))]},
    )
    assert good.speaks_for == (
        "confirmed by lee",
        "complete pair: minus and plus image of pre-fire, by ImageType",
        "specimen",
        "identification complete",
        "70 days old at the release",
    )
    assert good.speaks_against == ()
    assert promising.speaks_for == (
        "a mammogram of 2026-08-03 on file (CC, ML)",
        "a specimen on file",
        "identification complete",
        "70 days old at the release",
    )
    assert bad.speaks_against == (
        "the correlating mammogram",
        SEEN,
        "text is burned into the pixels",
        "not in the window of the release: 206 days old at the release",
    )
    (spoiled,) = rank(
        [case()],
        released_on=RELEASE,
        admits=lambda day: day >= FIRST,
        proposed={"a": [replace(MAMMOGRAM, day=date(2026, 5, 22))]},
    )
    assert spoiled.speaks_against[-1] == (
        "its newest mammogram on file is of 2026-05-22, which the release does not admit"
    )
    assert not any("mammogram" in reason for reason in spoiled.speaks_for)
