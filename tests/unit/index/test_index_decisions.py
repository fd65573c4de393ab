"""What of people's decisions is in force."""

from datetime import date

import pytest

from dicom_node.accreditation.cases import CaseState, Link, LinkRole
from dicom_node.accreditation.exams import Override
from dicom_node.accreditation.portions import Portion
from dicom_node.errors import OperatorError
from dicom_node.index.decisions import Decision, DecisionKind, in_force, insert
from dicom_node.index.engine import Index
from dicom_node.index.exams import exam_id
from tests.entries import NOON


def _decided(kind: DecisionKind, unit_id: str, value: str = "", reason: str = "seen") -> Decision:
    return Decision(
        id="", kind=kind, study_uid="1.2.3", unit_id=unit_id, value=value, reason=reason, decided_by="tester",
        decided_at=NOON,
    )  # fmt: skip


def test_the_newest_of_a_kind_holds() -> None:
    held = in_force(
        [
            _decided(DecisionKind.CLASSIFY, "a", "clinical"),
            _decided(DecisionKind.EXCLUDE, "a", reason="blurred"),
            _decided(DecisionKind.CLASSIFY, "a", "phantom"),
        ]
    )
    assert held.overrides == {"a": Override(portion=Portion.PHANTOM, excluded=True, reason="blurred")}


def test_an_exam_included_again_is_not_excluded() -> None:
    kinds = (DecisionKind.EXCLUDE, DecisionKind.INCLUDE)
    assert in_force([_decided(kind, "a") for kind in kinds]).overrides["a"] == Override()
    assert in_force([_decided(kind, "a") for kind in reversed(kinds)]).overrides["a"].excluded


def test_an_empty_classification_gives_the_rules_their_way_again() -> None:
    held = in_force([_decided(DecisionKind.CLASSIFY, "a", "neither"), _decided(DecisionKind.CLASSIFY, "a")])
    assert held.overrides["a"].portion is None


def test_the_newest_assignment_of_a_derived_unit_holds() -> None:
    held = in_force([_decided(DecisionKind.ATTRIBUTE, "", unit) for unit in ("a", "b")])
    assert held.assigned == {"": "b"}


def test_what_was_decided_about_an_exam_goes_along_to_its_unit() -> None:
    held = in_force([_decided(DecisionKind.CLASSIFY, "", "phantom"), _decided(DecisionKind.ATTRIBUTE, "", "a")])
    assert held.overrides["a"] == Override(portion=Portion.PHANTOM)


def test_a_units_own_exam_keeps_what_was_decided_about_it() -> None:
    held = in_force(
        [
            _decided(DecisionKind.CLASSIFY, "a", "clinical"),
            _decided(DecisionKind.CLASSIFY, "", "phantom"),
            _decided(DecisionKind.ATTRIBUTE, "", "a"),
        ]
    )
    assert held.overrides["a"].portion is Portion.CLINICAL


def test_what_was_said_of_a_case_holds_until_it_is_taken_back() -> None:
    confirmed = [
        _decided(DecisionKind.LINK, "a", "mammogram 1.2.4"),
        _decided(DecisionKind.LINK, "a", "specimen 1.2.5"),
        _decided(DecisionKind.CONFIRM, "a", "2026-08-03", reason="calcifications"),
    ]
    held = in_force(confirmed).overrides["a"]
    assert held.case is not None
    assert (held.case.state, held.case.reason, held.case.decided_by) == (
        CaseState.CONFIRMED,
        "calcifications",
        "tester",
    )
    assert held.oldest_day == date(2026, 8, 3)
    assert held.links == {
        Link(role=LinkRole.MAMMOGRAM, study_uid="1.2.4"),
        Link(role=LinkRole.SPECIMEN, study_uid="1.2.5"),
    }
    moved = in_force([*confirmed, _decided(DecisionKind.ATTRIBUTE, "a", "b")]).overrides
    assert moved["b"] == held
    rejected = in_force([*confirmed, _decided(DecisionKind.REJECT, "a")]).overrides["a"]
    assert rejected.case is not None
    assert (rejected.case.state, rejected.oldest_day) == (CaseState.REJECTED, None)
    assert in_force([*confirmed, _decided(DecisionKind.INCLUDE, "a")]).overrides["a"] == Override()


def test_a_classification_and_an_exclusion_leave_what_was_said_of_the_case() -> None:
    kinds = ((DecisionKind.CONFIRM, ""), (DecisionKind.CLASSIFY, "clinical"), (DecisionKind.EXCLUDE, ""))
    held = in_force([_decided(kind, "a", value) for kind, value in kinds]).overrides["a"]
    assert (held.case is not None, held.portion, held.excluded) == (True, Portion.CLINICAL, True)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (DecisionKind.CONFIRM, "3.8.2026"),
        (DecisionKind.LINK, "friend 1.2.3"),
        (DecisionKind.LINK, "mammogram"),
        (DecisionKind.LINK, ""),
    ],
)
def test_a_value_that_the_kind_does_not_take_is_refused(kind: DecisionKind, value: str, sqlite_index: Index) -> None:
    with pytest.raises(OperatorError), sqlite_index.write() as conn:
        insert(conn, _decided(kind, "a", value))


def test_an_exam_id_is_short_and_tells_study_and_unit_apart() -> None:
    assert exam_id("1.2.3", "upright_a") == "2iu7p2ugr6"  # people write ids down: they must not change
    assert len({exam_id("1.2", "3"), exam_id("1.2", ""), exam_id("1.23", ""), exam_id("1.2", "a")}) == 4
