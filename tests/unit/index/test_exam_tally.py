"""What an exam's row keeps of its instances, without a database."""

from datetime import date, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dicom_node.accreditation.exams import Override
from dicom_node.accreditation.portions import EXAM_PORTIONS, Portion
from dicom_node.index.exam_tally import ExamTally, Member, read_tally
from dicom_node.index.rows import derived_values
from tests.entries import NOON, make_derivation

DAY = date(2026, 11, 20)


def member(seconds: int = 0, *, rejected: bool = False, number: int = 1, **derived: Any) -> Member:
    at = NOON + timedelta(seconds=seconds)
    return Member.of(
        derived_values(make_derivation(**derived)),
        rejected=rejected, first_received_at=at, last_received_at=at, number=number,
    )  # fmt: skip


def tally_of(members: list[Member]) -> ExamTally:
    tally = ExamTally()
    for each in members:
        tally.add(each)
    return tally


members = st.builds(
    member,
    seconds=st.integers(0, 3),
    rejected=st.booleans(),
    number=st.integers(1, 3),
    unit=st.sampled_from(["", "a"]),
    portion=st.sampled_from([*EXAM_PORTIONS, None]),
    day=st.sampled_from([None, DAY, DAY + timedelta(days=2)]),
    rule=st.sampled_from(["rule one", "rule two"]),
    stage=st.sampled_from(["", "scout", "pre-fire"]),
    day_flags=st.sampled_from([(), ("a flag",)]),
    attachment=st.sampled_from([None, "addon"]),
    attribution_flags=st.sampled_from([(), ("station disagrees",)]),
    candidates=st.sampled_from([(), ("a", "b")]),
    unregistered=st.booleans(),
)


@given(st.lists(members, max_size=6), members, st.randoms())
def test_what_is_read_back_is_what_was_kept_in_any_order(several: list[Member], image: Member, random: Any) -> None:
    several = [*several, member(portion=Portion.CLINICAL), image]
    kept = tally_of(several)
    row = kept.values(Override())
    assert read_tally(row) == kept
    assert tally_of(random.sample(several, len(several))).values(Override()) == row


@given(st.lists(members, max_size=6), st.data())
def test_more_of_a_kind_that_is_there_changes_only_counts(several: list[Member], data: st.DataObject) -> None:
    several = [*several, member(portion=Portion.CLINICAL)]
    tally = tally_of(several)
    before = tally.kinds
    again = data.draw(st.sampled_from(several))
    count = tally.instance_count
    tally.add(again)
    assert tally.kinds is before
    assert tally.instance_count == count + again.number


def test_a_row_that_keeps_nothing_leaves_it_to_the_instances() -> None:
    assert read_tally({"tally": ""}) is None
