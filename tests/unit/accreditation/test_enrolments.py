"""A unit that moves to another site begins anew there: standing, explanation and plan by the enrolment in force."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.accreditation.explain import ExamOnFile, explain
from dicom_node.accreditation.plan import Need, PortionPlan, plan_portion
from dicom_node.accreditation.policies import DEFAULT_POLICY_ID, choose_policy
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.standing import (
    CountingExam,
    Release,
    ReleaseState,
    Standing,
    State,
    bearing_on,
    deciding_days,
    standing,
)
from dicom_node.accreditation.units import Enrolment, Unit
from tests.unit.accreditation.facility import UPRIGHT_A

SIX = choose_policy(DEFAULT_POLICY_ID)
AT_MAIN = Enrolment(first_day=date(2026, 1, 1), last_day=date(2026, 9, 30))
AT_ANNEX = Enrolment(facility="annex", first_day=date(2026, 10, 12))
MOVED = replace(UPRIGHT_A, enrolments=(AT_MAIN, AT_ANNEX))
ENDED = replace(UPRIGHT_A, enrolments=(AT_MAIN,))


def day(text: str) -> date:
    return date.fromisoformat(text)


def exams(days: str) -> list[CountingExam]:
    return [CountingExam(exam_id=f"exam-{text}", day=day(text)) for text in days.split()]


def packages(several: str) -> list[Release]:
    """Read packages such as ``recorded 2026-06-15``."""
    words = several.split()
    return [
        Release(released_on=day(on), due_on=None, state=ReleaseState(state))
        for state, on in zip(words[::2], words[1::2], strict=True)
    ]


def stand(unit: Unit, days: str, released: str, today: str) -> Standing:
    return standing(unit, Portion.CLINICAL, exams(days), packages(released), SIX, today=day(today), warn_days=60)


@pytest.mark.parametrize(
    ("unit", "days", "released", "today", "state", "newest"),
    [
        (MOVED, "2026-06-08", "", "2025-12-31", "not required", None),  # before its first enrolment
        (MOVED, "2026-06-08", "", "2026-09-30", "ok", "2026-06-08"),  # the last day of an enrolment is in it
        (MOVED, "2026-06-08", "", "2026-10-01", "not required", "2026-06-08"),  # between two
        (MOVED, "2026-06-08", "", "2026-10-11", "not required", "2026-06-08"),
        (MOVED, "2026-06-08", "", "2026-10-12", "missing", None),  # the first day of the next: it begins anew
        (MOVED, "2026-06-08 2026-10-12", "", "2026-10-12", "ok", "2026-10-12"),  # an exam of that very day counts
        (MOVED, "2026-10-11", "", "2026-10-20", "missing", None),  # one of the day before does not
        (MOVED, "2026-10-20", "", "2027-04-20", "nearing", "2026-10-20"),
        (MOVED, "2026-10-20", "", "2027-04-21", "lapsed", "2026-10-20"),
        (MOVED, "2025-12-31", "", "2026-01-10", "missing", None),  # made before the first enrolment
        # Packages of one enrolment do not bear on the next.
        (MOVED, "2026-06-08", "recorded 2026-06-15", "2026-09-30", "secured", "2026-06-08"),
        (MOVED, "2026-06-08", "recorded 2026-06-15", "2026-10-12", "missing", None),
        (MOVED, "2026-06-08 2026-10-20", "recorded 2026-06-15", "2026-11-23", "ok", "2026-10-20"),
        (MOVED, "2026-06-08", "recorded 2026-10-11", "2026-10-12", "missing", None),
        (MOVED, "2026-06-08", "recorded 2026-10-12", "2026-10-12", "short", None),
        (MOVED, "2026-06-08 2026-10-20", "recorded 2026-10-12", "2026-10-20", "secured", "2026-10-20"),
        (MOVED, "2026-06-08", "passed 2026-06-15", "2026-11-23", "missing", None),
        (MOVED, "2026-06-08", "planned 2026-10-20", "2026-09-01", "ok", "2026-06-08"),  # planned for the next site
        (ENDED, "2026-06-08", "", "2026-10-01", "not required", "2026-06-08"),
        (ENDED, "2026-06-08", "recorded 2026-06-15", "2026-10-01", "not required", "2026-06-08"),
        # Retired and not applying are said first.
        (replace(MOVED, retired_on=date(2026, 10, 20)), "2026-10-15", "", "2026-10-21", "retired", "2026-10-15"),
        (replace(MOVED, retired_on=date(2026, 10, 5)), "2026-06-08", "", "2026-10-06", "retired", "2026-06-08"),
        (replace(MOVED, applying=False), "2026-10-15", "", "2026-11-23", "not required", "2026-10-15"),
        # Without enrolments: while it is in service.
        (replace(UPRIGHT_A, installed_on=date(2026, 10, 12)), "", "", "2026-10-11", "not required", None),
        (replace(UPRIGHT_A, installed_on=date(2026, 10, 12)), "", "", "2026-10-12", "missing", None),
        (replace(UPRIGHT_A, retired_on=date(2026, 10, 12)), "2026-06-08", "", "2026-10-12", "nearing", "2026-06-08"),
    ],
)
def test_a_standing_is_that_of_the_enrolment_in_force(
    unit: Unit, days: str, released: str, today: str, state: str, newest: str | None
) -> None:
    found = stand(unit, days, released, today)
    assert (found.state.value, found.newest and found.newest.day.isoformat()) == (state, newest)


@given(
    st.lists(st.dates(date(2026, 1, 1), date(2027, 3, 1)), max_size=5),
    st.lists(st.dates(date(2026, 1, 1), date(2027, 3, 1)), max_size=2),
    st.dates(date(2026, 10, 12), date(2027, 3, 1)),
)
def test_what_came_before_an_enrolment_makes_no_difference(days: list[date], released: list[date], today: date) -> None:
    """A moved unit stands where one would that was new on the day it was enrolled."""
    made = [CountingExam(exam_id=f"exam-{each}", day=each) for each in days]
    out = [Release(released_on=each, due_on=None, state=ReleaseState.RECORDED) for each in released if each <= today]
    windows = SIX.windows(Portion.CLINICAL)
    moved = standing(MOVED, Portion.CLINICAL, made, out, SIX, today=today, warn_days=60)
    begun = AT_ANNEX.first_day
    assert begun is not None
    new = standing(
        UPRIGHT_A,
        Portion.CLINICAL,
        [exam for exam in made if exam.day >= begun],
        [each for each in out if each.released_on >= begun],
        SIX,
        today=today,
        warn_days=60,
    )
    assert moved == new
    # Of the exams of the enrolment, the newest up to the deciding days are enough.
    deciding = deciding_days(bearing_on(AT_ANNEX, out), windows, today)
    within = [exam for exam in made if exam.day >= begun]
    few = [
        max((exam for exam in within if exam.day <= until), key=lambda exam: exam.day)
        for until in deciding
        if any(exam.day <= until for exam in within)
    ]
    assert standing(MOVED, Portion.CLINICAL, few, out, SIX, today=today, warn_days=60) == moved


def told(unit: Unit, days: str, today: str, release: str = "") -> tuple[str, dict[str, str]]:
    found = stand(unit, days, "", today)
    on_file = [ExamOnFile(exam_id=each.exam_id, portion=Portion.CLINICAL, day=each.day) for each in exams(days)]
    asked = day(release) if release else None
    explanation = explain(unit, found, SIX, on_file, today=day(today), release=asked)
    return " ".join(explanation.sentences), {each.exam_id: each.why for each in explanation.exams}


def test_an_explanation_says_that_an_exam_was_made_before_the_enrolment() -> None:
    words, why = told(MOVED, "2026-09-14 2026-10-20", "2026-11-23")
    assert "Upright A, room 4 is enrolled at facility annex from 2026-10-12: exams, surveys and packages of an" in words
    assert why["exam-2026-09-14"] == (
        "it was made before the unit's enrolment at facility annex, which begins on 2026-10-12: a unit that moved to "
        "another site is a new one"
    )
    assert "within" in why["exam-2026-10-20"]


def test_an_explanation_looks_at_the_enrolment_on_the_day_that_was_asked_about() -> None:
    _, why = told(MOVED, "2026-09-14", "2026-09-20", release="2026-10-20")
    assert "begins on 2026-10-12" in why["exam-2026-09-14"]
    _, why = told(ENDED, "2026-09-14", "2026-09-20", release="2026-10-20")
    assert why["exam-2026-09-14"] == "the unit is enrolled at no facility on 2026-10-20"
    _, why = told(MOVED, "2026-10-20", "2026-11-23", release="2026-09-30")
    assert why["exam-2026-10-20"] == (
        "it was made after the unit's enrolment at facility main, which ended on 2026-09-30"
    )


def test_an_explanation_says_that_a_unit_is_enrolled_nowhere() -> None:
    words, _ = told(MOVED, "2026-09-14", "2026-10-05")
    assert words.endswith(
        "Upright A, room 4 is enrolled at no facility on 2026-10-05: nothing is due. The enrolment at facility main "
        "ended with 2026-09-30. The one at facility annex begins on 2026-10-12."
    )
    words, _ = told(replace(UPRIGHT_A, installed_on=date(2026, 10, 12)), "", "2026-10-05")
    assert words.endswith("nothing is due. It is in service from 2026-10-12.")


def plan(unit: Unit, days: str, today: str, asked: str = "", released: str = "") -> PortionPlan:
    return plan_portion(
        unit,
        stand(unit, days, released, today),
        exams(days),
        SIX,
        today=day(today),
        asked=day(asked) if asked else None,
    )


def test_a_plan_leaves_out_exams_made_before_the_enrolment() -> None:
    found = plan(MOVED, "2026-09-14", "2026-11-23")
    assert (found.need, found.newest, found.left_out, found.enrolment) == (Need.NOW, None, day("2026-09-14"), AT_ANNEX)
    found = plan(MOVED, "2026-09-14 2026-10-20", "2026-11-23", asked="2026-12-15")
    assert (found.need, [each.day for each in found.counting]) == (Need.NO, [day("2026-10-20")])


def test_a_plan_for_a_day_after_the_move_counts_only_what_is_made_there() -> None:
    found = plan(MOVED, "2026-09-14", "2026-09-20", asked="2026-11-15")
    assert (found.state, found.need, found.counting, found.left_out) == (State.OK, Need.BY, (), day("2026-09-14"))
    assert (found.needed_from, found.needed_by) == (day("2026-10-12"), day("2026-11-15"))
    found = plan(ENDED, "2026-09-14", "2026-09-20", asked="2026-11-15")
    assert (found.need, found.enrolment, found.counting) == (Need.NOTHING_DUE, None, ())


def test_a_plan_for_a_unit_that_never_moved_leaves_nothing_out() -> None:
    found = plan(UPRIGHT_A, "2026-06-08 2026-09-14", "2026-11-23", asked="2026-12-15")
    assert (found.left_out, found.enrolment, len(found.counting)) == (None, Enrolment(), 1)
    later = (day("2026-12-15") + timedelta(days=1)).isoformat()
    gone = plan(replace(UPRIGHT_A, retired_on=day("2026-12-15")), "2026-09-14", "2026-11-23", asked=later)
    assert (gone.need, gone.enrolment) == (Need.NOTHING_DUE, None)
