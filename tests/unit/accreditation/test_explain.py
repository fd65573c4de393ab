"""The arithmetic in words: each number a person checks by hand stands in it."""

import json
from dataclasses import replace
from datetime import date

import pytest

from dicom_node.accreditation.explain import ExamOnFile, Explanation, explain, rule_sentence
from dicom_node.accreditation.policies import DEFAULT_POLICY_ID, choose_policy
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.standing import CountingExam, Release, ReleaseState, standing
from dicom_node.accreditation.units import Unit
from tests.unit.accreditation.facility import UPRIGHT_A

POLICY = choose_policy(DEFAULT_POLICY_ID)
TODAY = date(2026, 11, 24)


def on_file(day: date | None, portion: Portion = Portion.CLINICAL, excluded: bool = False) -> ExamOnFile:
    return ExamOnFile(exam_id=f"{portion}-{day}", portion=portion, day=day, source="AcquisitionDate", excluded=excluded)


def told(
    *exams: ExamOnFile,
    releases: tuple[Release, ...] = (),
    today: date = TODAY,
    release: date | None = None,
    unit: Unit = UPRIGHT_A,
) -> Explanation:
    counting = [
        CountingExam(exam_id=exam.exam_id, day=exam.day, source=exam.source)
        for exam in exams
        if exam.portion is Portion.CLINICAL and exam.day is not None and not exam.excluded
    ]
    found = standing(unit, Portion.CLINICAL, counting, releases, POLICY, today=today, warn_days=60)
    return explain(unit, found, POLICY, exams, today=today, release=release)


def words(explanation: Explanation) -> str:
    return "\n".join(explanation.sentences)


def test_the_rule_and_its_source_come_first() -> None:
    rule = told().sentences[0]
    for part in (
        "acr-sbb-2023-03-03",
        "6 calendar months",
        "2023-03-03",
        POLICY.article,
        POLICY.address,
        POLICY.anchor,
    ):
        assert part in rule
    assert POLICY.note in words(told())


def test_an_ageing_exam_is_explained_with_both_directions_of_the_arithmetic() -> None:
    text = words(told(on_file(date(2026, 6, 8))))
    assert "2026-11-24 minus 6 calendar months is 2026-05-24" in text
    assert "2026-06-08 plus 6 calendar months is 2026-12-08" in text
    assert "(AcquisitionDate)" in text
    assert "14 days are left" in text
    assert "hangs on how months are counted" not in text


@pytest.mark.parametrize(
    ("exam", "days"),
    [
        (date(2026, 2, 28), ("From 2026-08-29 to 2026-08-31 the answer hangs", "Do not rely on those days.")),
        (date(2025, 9, 30), ("On 2026-03-31 the answer hangs", "Do not rely on that day.")),
    ],
)
def test_the_days_on_which_the_answer_hangs_on_the_way_of_counting_are_named(exam: date, days: tuple[str, str]) -> None:
    text = words(told(on_file(exam), today=exam))
    assert all(part in text for part in days)


def test_a_clamped_step_says_why_it_was_clamped() -> None:
    text = words(told(on_file(date(2026, 8, 31)), today=date(2026, 8, 31)))
    assert "2026-08-31 minus 6 calendar months is 2026-02-28, the last day of a month that has no day 31" in text
    assert "2026-08-31 plus 6 calendar months is 2027-02-28, the last day of a month that has no day 31" in text


@pytest.mark.parametrize(
    ("today", "sentence"),
    [
        (date(2026, 8, 27), "Today is 2026-08-27: 1 day is left."),
        (date(2026, 8, 28), "Today, 2026-08-28, is the last of those days."),
        (date(2026, 8, 29), "Today, 2026-08-29, is past 2026-08-28; by the rule the exam still counts."),
        (date(2026, 9, 1), "A package released today, 2026-09-01, would find no clinical exam: it has lapsed."),
    ],
)
def test_the_last_sentence_says_how_it_stands_today(today: date, sentence: str) -> None:
    assert told(on_file(date(2026, 2, 28)), today=today).sentences[-1] == sentence


def test_a_unit_without_an_exam_is_told_so() -> None:
    assert "There never was a clinical exam that counts." in words(told())


def test_a_planned_package_says_whether_the_exam_would_count_for_it() -> None:
    def plan(on: date) -> str:
        planned = Release(released_on=on, due_on=None, state=ReleaseState.PLANNED)
        return words(told(on_file(date(2026, 6, 8)), releases=(planned,)))

    assert "planned for 2026-12-08, with a window from 2026-06-08 to 2027-06-08: this exam would still count" in plan(
        date(2026, 12, 8)
    )
    assert "this exam would no longer count" in plan(date(2026, 12, 9))


def test_a_recorded_package_names_its_window_and_what_secures_it() -> None:
    recorded = Release(released_on=date(2026, 8, 31), due_on=date(2026, 10, 15), state=ReleaseState.RECORDED)
    text = words(told(on_file(date(2026, 2, 28)), releases=(recorded,)))
    assert "2026-08-31 minus 6 calendar months is 2026-02-28" in text
    assert "to 2026-10-15 (its due date), both days included" in text
    assert "The clinical exam of 2026-02-28 (AcquisitionDate) lies inside: it is secured." in text


def test_a_short_package_counts_down_to_the_day_an_exam_is_needed() -> None:
    recorded = Release(released_on=date(2026, 11, 1), due_on=None, state=ReleaseState.RECORDED)
    text = words(told(releases=(recorded,)))
    assert "No clinical exam on file lies inside." in text
    assert "to 2027-05-01 (6 calendar months after the release)" in text
    assert "Its due date is 2026-12-16: 45 days from 2026-11-01, no due date is printed." in text
    assert "An exam is needed on or before 2026-12-16: 22 days are left." in text
    assert "that day is today" in words(told(releases=(recorded,), today=date(2026, 12, 16)))
    assert "that day is past" in words(told(releases=(recorded,), today=date(2026, 12, 17)))


def test_a_printed_due_date_wins_and_is_said_to_be_printed() -> None:
    recorded = Release(released_on=date(2026, 11, 1), due_on=date(2026, 12, 30), state=ReleaseState.RECORDED)
    text = words(told(releases=(recorded,)))
    assert "The due date printed in the package is 2026-12-30.\nAn exam is needed on or before 2026-12-30: " in text
    assert "no due date is printed" not in text


def test_a_submitted_package_counts_nothing_down() -> None:
    submitted = Release(released_on=date(2026, 8, 31), due_on=None, state=ReleaseState.SUBMITTED)
    assert told(releases=(submitted,)).sentences[-1] == "The package is submitted: nothing is counted down."


@pytest.mark.parametrize(
    ("unit", "part"),
    [
        (replace(UPRIGHT_A, retired_on=date(2026, 1, 31)), "was retired after 2026-01-31"),
        (replace(UPRIGHT_A, applying=False), "is not applying"),
    ],
)
def test_a_unit_that_needs_nothing_is_told_why(unit: Unit, part: str) -> None:
    assert part in words(told(on_file(date(2020, 1, 1)), unit=unit))


def test_every_exam_has_its_reason_the_newest_first_and_undated_last() -> None:
    found = told(
        on_file(None),
        on_file(date(2026, 5, 24)),
        on_file(date(2026, 5, 23)),
        on_file(date(2026, 11, 20)),
        on_file(date(2026, 11, 25)),
        on_file(date(2026, 11, 21), excluded=True),
        on_file(date(2026, 11, 22), Portion.UNCLEAR),
        on_file(date(2026, 11, 23), Portion.PHANTOM),
        on_file(date(2026, 11, 19), Portion.NEITHER),
    )
    inside = "is within 2026-05-24 to 2027-05-24, the days that a package released today admits"
    assert [(str(verdict.day), verdict.counts, verdict.why) for verdict in found.exams] == [
        ("2026-11-25", False, "it is dated after 2026-11-24"),
        ("2026-11-23", False, "it is a phantom exam"),
        ("2026-11-22", False, "nobody can tell from its headers what it is; a person may classify it"),
        ("2026-11-21", False, "a person excluded it"),
        ("2026-11-20", True, f"2026-11-20 {inside}"),
        ("2026-11-19", False, "it is neither a clinical nor a phantom exam"),
        ("2026-05-24", True, f"2026-05-24 {inside}; a newer exam decides"),
        (
            "2026-05-23",
            False,
            "2026-05-23 is before 2026-05-24, the first day that a package released today admits",
        ),
        ("None", False, "the day it was performed is not known"),
    ]


def test_a_question_about_a_release_date_is_answered_and_judges_the_exams_by_it() -> None:
    exams = on_file(date(2026, 6, 8)), on_file(date(2026, 6, 7))
    found = told(*exams, release=date(2026, 12, 8))
    assert found.sentences[-1].startswith("Were the package released on 2026-12-08, its window would be 2026-06-08")
    assert found.sentences[-1].endswith("the clinical exam of 2026-06-08 would count.")
    assert [verdict.counts for verdict in found.exams] == [True, False]
    assert told(*exams, release=date(2026, 12, 9)).sentences[-1].endswith("no clinical exam on file would count.")


def test_an_exam_after_the_due_date_of_a_recorded_package_is_too_late_for_it() -> None:
    recorded = Release(released_on=date(2026, 8, 1), due_on=date(2026, 9, 15), state=ReleaseState.RECORDED)
    found = told(on_file(date(2026, 9, 16)), on_file(date(2026, 9, 15)), releases=(recorded,))
    assert [verdict.counts for verdict in found.exams] == [False, True]
    assert found.exams[0].why == (
        "2026-09-16 is after 2026-09-15, the last day that the package released on 2026-08-01 admits"
    )


def test_an_exam_of_today_counts() -> None:
    assert told(on_file(TODAY)).exams[0].counts


def test_one_month_is_no_plural() -> None:
    policy = replace(POLICY, months={Portion.CLINICAL: 1, Portion.PHANTOM: 1})
    assert "within 1 calendar month of" in rule_sentence(policy, Portion.CLINICAL)


def test_an_explanation_is_json_with_iso_dates() -> None:
    found = told(on_file(date(2026, 6, 8)), on_file(None), release=date(2026, 12, 8))
    plain = json.loads(json.dumps(found.as_json()))
    assert plain["unit"] == "upright_a"
    assert plain["portion"] == "clinical"
    assert plain["state"] == "nearing"
    assert plain["today"] == "2026-11-24"
    assert plain["asked_release"] == "2026-12-08"
    assert plain["days_left"] == 14
    assert [exam["day"] for exam in plain["exams"]] == ["2026-06-08", None]
    assert plain["sentences"] == list(found.sentences)
