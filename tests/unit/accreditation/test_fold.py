"""An exam folded from its instances."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.accreditation.exams import (
    Contribution,
    Exam,
    Override,
    Performed,
    PortionTally,
    add_up,
    conclude,
    fold,
)
from dicom_node.accreditation.portions import EXAM_PORTIONS, Portion

DAY = date(2026, 11, 20)
NOBODY = Override()


def made(day: date | None = DAY, portion: Portion | None = Portion.CLINICAL, **values: Any) -> Contribution:
    source = "AcquisitionDate" if day else ""
    return Contribution(
        **({"portion": portion, "rule": f"made {portion}", "performed": Performed(day=day, source=source)} | values)
    )


def exam_of(*contributions: Contribution, override: Override = NOBODY) -> Exam:
    return fold(contributions, override)


def on(day_of_month: int) -> date:
    return date(2026, 11, day_of_month)


@pytest.mark.parametrize(
    ("portions", "portion", "counts"),
    [
        ((Portion.CLINICAL,), Portion.CLINICAL, True),
        ((Portion.PHANTOM,), Portion.PHANTOM, True),
        ((Portion.NEITHER,), Portion.NEITHER, False),
        ((Portion.UNCLEAR,), Portion.UNCLEAR, False),
        ((Portion.CLINICAL, Portion.NEITHER), Portion.CLINICAL, True),
        ((Portion.PHANTOM, Portion.NEITHER), Portion.PHANTOM, True),
        ((Portion.PHANTOM, Portion.UNCLEAR), Portion.PHANTOM, True),
        ((Portion.UNCLEAR, Portion.NEITHER), Portion.UNCLEAR, False),
        ((Portion.CLINICAL, Portion.PHANTOM), Portion.UNCLEAR, False),
        ((Portion.CLINICAL, Portion.UNCLEAR), Portion.UNCLEAR, False),
        ((Portion.CLINICAL, None), Portion.CLINICAL, True),
        ((None,), Portion.NEITHER, False),
        ((), Portion.NEITHER, False),
    ],
    ids=repr,
)
def test_the_portion_of_an_exam_by_its_images(
    portions: tuple[Portion | None, ...], portion: Portion, counts: bool
) -> None:
    exam = exam_of(*(made(portion=each) for each in portions))
    assert (exam.portion, exam.counts) == (portion, counts)


def test_an_exam_over_midnight_has_the_day_of_its_earliest_image_without_a_flag() -> None:
    exam = exam_of(made(on(21)), made(on(20)))
    assert (exam.day, exam.source, exam.flags) == (on(20), "AcquisitionDate", ())


def test_an_exam_that_spans_more_than_a_day_is_flagged() -> None:
    exam = exam_of(made(on(20)), made(on(22)))
    assert (exam.day, exam.flags) == (on(20), ("the images span more than a day",))


def test_only_the_images_of_the_exams_portion_date_it() -> None:
    exam = exam_of(made(on(20)), made(on(1), portion=Portion.NEITHER), made(on(2), portion=None))
    assert (exam.day, exam.flags) == (on(20), ())


def test_an_exam_with_some_undated_images_is_flagged_and_dated_by_the_others() -> None:
    images = made(None), made(on(20))
    exam = exam_of(*images)
    assert (exam.day, exam.counts, exam.flags) == (on(20), True, ("some images are undated",))
    assert add_up(images).portions[Portion.CLINICAL] == PortionTally(
        undated=True,
        first_day=on(20),
        last_day=on(20),
        source="AcquisitionDate",
        rules=frozenset({"made clinical"}),
    )


def test_an_undated_exam_counts_toward_nothing() -> None:
    exam = exam_of(made(None))
    assert (exam.portion, exam.day, exam.counts) == (Portion.CLINICAL, None, False)


def test_rejected_images_count_toward_nothing() -> None:
    images = made(on(20)), made(on(1), rejected=True), made(on(20), portion=Portion.PHANTOM, rejected=True)
    exam = exam_of(*images)
    assert (exam.portion, exam.day, exam.counts) == (Portion.CLINICAL, on(20), True)
    assert exam.flags == ("rejected images are left out",)
    assert set(add_up(images).portions) == {Portion.CLINICAL}


def test_an_exam_whose_every_image_is_rejected_counts_toward_nothing() -> None:
    exam = exam_of(made(rejected=True), made(portion=None))
    assert (exam.portion, exam.rule, exam.counts) == (Portion.NEITHER, "every image is rejected", False)


def test_a_conflict_of_phantom_and_clinical_images_has_the_earliest_day_of_both() -> None:
    exam = exam_of(made(on(20)), made(on(19), portion=Portion.PHANTOM))
    assert (exam.rule, exam.day) == ("clinical and phantom images in one exam", on(19))


@pytest.mark.parametrize(("portion", "day"), [(Portion.CLINICAL, on(20)), (Portion.PHANTOM, on(19))])
def test_a_person_settles_a_conflict_and_the_day_follows_the_portion(portion: Portion, day: date) -> None:
    override = Override(portion=portion, reason="seen")
    exam = exam_of(made(on(20)), made(on(19), portion=Portion.PHANTOM), override=override)
    assert (exam.portion, exam.rule, exam.day, exam.counts) == (portion, "a person classified it", day, True)


def test_a_portion_that_no_image_has_takes_the_earliest_day_of_all_images() -> None:
    images = (made(on(20), portion=Portion.UNCLEAR), made(on(18), portion=Portion.NEITHER))
    exam = exam_of(*images, override=Override(portion=Portion.PHANTOM))
    assert (exam.portion, exam.day, exam.counts) == (Portion.PHANTOM, on(18), True)


def test_an_excluded_exam_keeps_its_portion_and_day_and_does_not_count() -> None:
    exam = exam_of(made(on(20)), override=Override(excluded=True, reason="volunteer"))
    assert (exam.portion, exam.day, exam.excluded, exam.counts) == (Portion.CLINICAL, on(20), True, False)


def test_an_exam_without_images_has_the_day_of_its_reports_for_show() -> None:
    exam = exam_of(made(on(20), portion=None))
    assert (exam.portion, exam.rule, exam.day, exam.counts) == (Portion.NEITHER, "no images", on(20), False)


def test_stages_stand_in_the_order_of_a_biopsy_and_attachments_by_name() -> None:
    exam = exam_of(
        made(stage="post-fire", attachment="addon2"),
        made(stage="scout", attachment="addon1"),
        made(stage="", attachment=None),
        made(stage="pre-fire", attachment="addon1"),
    )
    assert exam.stages == ("scout", "pre-fire", "post-fire")
    assert exam.attachments == ("addon1", "addon2")


def test_the_flags_of_the_deciding_images_are_the_exams() -> None:
    flagged = Performed(day=on(20), source="ContentDate", flags=("AcquisitionDate: not a date",))
    other = Performed(day=on(20), source="ContentDate", flags=("something else",))
    exam = exam_of(made(performed=flagged), made(performed=other, portion=Portion.NEITHER))
    assert exam.flags == ("AcquisitionDate: not a date",)


contributions = st.builds(
    Contribution,
    portion=st.sampled_from([None, *EXAM_PORTIONS]),
    rule=st.sampled_from(["rule one", "rule two"]),
    performed=st.builds(
        Performed,
        day=st.none() | st.integers(1, 9).map(on),
        source=st.sampled_from(["AcquisitionDate", "ContentDate"]),
        flags=st.sampled_from([(), ("a flag",), ("b flag", "a flag")]),
    ),
    stage=st.sampled_from(["", "scout", "pre-fire", "specimen"]),
    attachment=st.sampled_from([None, "addon1", "addon2"]),
    rejected=st.booleans(),
)
overrides = st.builds(Override, portion=st.sampled_from([None, *EXAM_PORTIONS]), excluded=st.booleans())


@given(given=st.lists(contributions, max_size=8), override=overrides, data=st.data())
def test_the_order_of_the_instances_changes_nothing(
    given: list[Contribution], override: Override, data: st.DataObject
) -> None:
    assert fold(data.draw(st.permutations(given)), override) == fold(given, override)


@given(given=st.lists(contributions, max_size=6), again=st.lists(st.integers(0, 5), max_size=6), override=overrides)
def test_more_alike_instances_change_nothing(given: list[Contribution], again: list[int], override: Override) -> None:
    alike = [given[number] for number in again if number < len(given)]
    assert fold([*given, *alike], override) == fold(given, override)


@given(given=st.lists(contributions, max_size=8), override=overrides, data=st.data())
def test_adding_up_little_by_little_comes_to_the_same(
    given: list[Contribution], override: Override, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(given)))
    tally = add_up(given[cut:], onto=add_up(given[:cut]))
    assert tally == add_up(given)
    assert conclude(tally, override) == fold(given, override)


@given(given=st.lists(contributions, max_size=8), override=overrides)
def test_only_a_dated_clinical_or_phantom_exam_that_nobody_excluded_counts(
    given: list[Contribution], override: Override
) -> None:
    exam = fold(given, override)
    countable = exam.portion in (Portion.CLINICAL, Portion.PHANTOM)
    assert exam.counts == (countable and exam.day is not None and not exam.excluded)


@given(given=st.lists(contributions, max_size=8))
def test_a_phantom_or_unclear_image_keeps_an_exam_from_counting_as_clinical(given: list[Contribution]) -> None:
    exam = fold(given, NOBODY)
    if exam.portion is Portion.CLINICAL:
        assert not any(c.portion in (Portion.PHANTOM, Portion.UNCLEAR) and not c.rejected for c in given)
