"""A host is left by its attachment: on which day, and when not."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from dicom_node.accreditation.moves import Biopsy, Move, left_by_assignment, left_by_use, may_be_left
from dicom_node.accreditation.units import Assignment, Attachment, Enrolment, Registry, Unit, UnitKind

A, B = (Unit(id=name, label=name, kind=UnitKind.UPRIGHT, identities=()) for name in ("upright_a", "upright_b"))
JUNE_30 = date(2026, 6, 30)


def registry(*assignments: Assignment, other: Sequence[Assignment] = ()) -> Registry:
    """Return two hosts, and the attachments addon1 and addon2 with their assignments."""
    several = {"addon1": assignments, "addon2": tuple(other)}
    attachments = {name: Attachment(id=name, label=name, assignments=each) for name, each in several.items()}
    return Registry(units={unit.id: unit for unit in (A, B)}, attachments=attachments)


def on(unit: str, first: str = "", last: str = "") -> Assignment:
    first_day, last_day = (date.fromisoformat(text) if text else None for text in (first, last))
    return Assignment(unit=unit, first_day=first_day, last_day=last_day)


def elsewhere(*days: str, unit: str = "upright_b", attachment: str = "addon1") -> list[Biopsy]:
    return [Biopsy(unit=unit, day=date.fromisoformat(day), attachments=(attachment,)) for day in days]


class TestByAssignment:
    ENDED = on("upright_a", "2026-01-01", "2026-06-30")

    @pytest.mark.parametrize(("days", "is_left"), [(-1, False), (0, False), (1, True), (400, True)])
    def test_from_the_day_after_its_last(self, days: int, is_left: bool) -> None:
        found = left_by_assignment(A, registry(self.ENDED), None, JUNE_30 + timedelta(days=days))
        expected = Move(attachment="addon1", since=date(2026, 7, 1), seen=0)
        assert found == (expected if is_left else None)

    @pytest.mark.parametrize(
        ("assignments", "other"),
        [
            pytest.param([], [], id="none was ever assigned"),
            pytest.param([on("upright_a")], [], id="it has one"),
            pytest.param([ENDED], [on("upright_a", "2026-07-01")], id="another began as this one ended"),
            pytest.param([ENDED], [on("upright_a", "2026-07-20")], id="another comes in some days"),
            pytest.param([ENDED, on("upright_a", "2026-06-15")], [], id="its assignment was renewed"),
            pytest.param([on("upright_b", last="2026-06-30")], [], id="another host's ended"),
        ],
    )
    def test_not_otherwise(self, assignments: list[Assignment], other: list[Assignment]) -> None:
        assert left_by_assignment(A, registry(*assignments, other=other), None, date(2026, 7, 10)) is None

    @pytest.mark.parametrize(("day", "is_left"), [(JUNE_30, True), (date(2026, 7, 1), False)])
    def test_a_biopsy_after_its_last_day_ends_it(self, day: date, is_left: bool) -> None:
        assert (left_by_assignment(A, registry(self.ENDED), day, date(2026, 7, 10)) is not None) is is_left

    def test_of_several_the_last_to_end_is_told(self) -> None:
        found = left_by_assignment(
            A, registry(on("upright_a", last="2026-03-31"), other=[self.ENDED]), None, date(2026, 7, 10)
        )
        assert found is not None
        assert found.attachment == "addon2"


class TestByUse:
    BOTH = (on("upright_a"), on("upright_b"))
    DAYS = ("2026-04-21", "2026-05-10", "2026-05-21")

    def left(self, biopsies: list[Biopsy], *assignments: Assignment, **options: Any) -> Move | None:
        wanted = {"last_here": date(2026, 4, 13), "used_here": ("addon1",), "today": date(2026, 6, 1)} | options
        other = wanted.pop("other", ())
        known = registry(*(assignments or self.BOTH), other=other)
        return left_by_use(A, known, elsewhere=biopsies, **wanted)

    def test_after_three_elsewhere_over_thirty_days(self) -> None:
        assert self.left(elsewhere(*self.DAYS)) == Move(attachment="addon1", since=date(2026, 4, 21), seen=3)

    @pytest.mark.parametrize(
        ("days", "options"),
        [
            pytest.param(DAYS[:2], {}, id="two"),
            pytest.param(("2026-04-21", "2026-05-10", "2026-05-20"), {}, id="over 29 days"),
            pytest.param(("2026-04-10", *DAYS[1:]), {}, id="one was before the last biopsy here"),
            pytest.param(DAYS, {"last_here": date(2026, 5, 22)}, id="a biopsy here since"),
            pytest.param(DAYS, {"today": date(2026, 5, 20)}, id="the third is still to come"),
            pytest.param(DAYS, {"other": [on("upright_a", "2026-05-01")]}, id="another was assigned here"),
        ],
    )
    def test_not_otherwise(self, days: tuple[str, ...], options: dict[str, Any]) -> None:
        assert self.left(elsewhere(*days), **options) is None

    def test_of_another_attachment_it_says_nothing(self) -> None:
        assert self.left(elsewhere(*self.DAYS, attachment="addon9")) is None

    def test_biopsies_of_no_known_unit_say_nothing(self) -> None:
        assert self.left(elsewhere(*self.DAYS, unit="")) is None

    def test_before_it_was_assigned_here_it_could_not_be_missed(self) -> None:
        assert self.left(elsewhere(*self.DAYS), on("upright_a", "2026-05-20"), on("upright_b")) is None

    def test_it_is_seen_where_the_configuration_has_no_assignment(self) -> None:
        assert self.left(elsewhere(*self.DAYS), on("upright_b")) is not None
        assert self.left(elsewhere(*self.DAYS), on("upright_b"), used_here=()) is None

    def test_a_host_with_two_is_left_when_both_are_gone(self) -> None:
        other = [on("upright_a")]
        gone = elsewhere(*self.DAYS) + elsewhere(*self.DAYS, attachment="addon2")
        assert self.left(elsewhere(*self.DAYS), other=other) is None
        assert self.left(gone, other=other) is not None


@pytest.mark.parametrize(
    ("changes", "needs"),
    [
        ({}, True),
        ({"kind": UnitKind.PRONE}, False),
        ({"applying": False}, False),
        ({"retired_on": date(2026, 6, 29)}, False),
        ({"enrolments": (Enrolment(last_day=date(2026, 6, 29)),)}, False),
        ({"enrolments": (Enrolment(last_day=JUNE_30),)}, True),
    ],
)
def test_only_a_host_that_is_applying_and_enrolled_can_be_left(changes: dict[str, Any], needs: bool) -> None:
    assert may_be_left(replace(A, **changes), JUNE_30) is needs
