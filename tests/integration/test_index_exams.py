"""Exam rows: always what a fold from scratch gives, and the reads of them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from dicom_node.accreditation.attribution import Attributed
from dicom_node.accreditation.exams import Contribution, Exam, Override, fold
from dicom_node.accreditation.portions import EXAM_PORTIONS, Portion
from dicom_node.accreditation.standing import CountingExam
from dicom_node.errors import OperatorError
from dicom_node.index import decisions, exam_upkeep, exams, findings
from dicom_node.index.contents import clear_derived
from dicom_node.index.decisions import Decision, DecisionKind, in_force
from dicom_node.index.engine import Index
from dicom_node.index.record import Entry, write_entries
from dicom_node.index.tables import decision, exam, instance, series, study
from tests.entries import NOON, exam_of, make_derivation, make_entry

DAY = date(2026, 11, 20)


def decide(
    kind: DecisionKind, unit_id: str, value: str = "", *, study_uid: str = "1.2.3", name: str = "d1"
) -> Decision:
    return Decision(
        id=name, kind=kind, study_uid=study_uid, unit_id=unit_id, value=value, reason="seen", decided_by="tester",
        decided_at=NOON,
    )  # fmt: skip


derivations = st.builds(
    make_derivation,
    unit=st.sampled_from(["", "a", "b"]),
    portion=st.sampled_from([*EXAM_PORTIONS, None]),
    day=st.sampled_from([None, DAY, DAY - timedelta(days=1), DAY + timedelta(days=3)]),
    rule=st.sampled_from(["rule one", "rule two"]),
    stage=st.sampled_from(["", "scout", "pre-fire"]),
    day_flags=st.sampled_from([(), ("a flag",), ("another flag", "a flag")]),
    attachment=st.sampled_from([None, "addon"]),
    attribution_flags=st.sampled_from([(), ("station disagrees",)]),
    candidates=st.sampled_from([(), ("a", "b"), ("c",)]),
    unregistered=st.booleans(),
)


@st.composite
def deliveries(draw: st.DrawFn) -> list[Entry]:
    """Instances of two studies, some of which reject others, at different times and in any order."""
    number = draw(st.integers(1, 8))
    uids = [f"1.2.{each}" for each in range(number)]
    entries = [
        make_entry(
            sop_instance_uid=uid,
            study_uid=draw(st.sampled_from(["1.1", "2.2"])),
            series_uid=draw(st.sampled_from(["1.5", "2.5"])),
            seconds=draw(st.integers(0, 3)),
            derivation=draw(derivations),
            rejected_uids=tuple(draw(st.lists(st.sampled_from(uids), max_size=2))) if draw(st.booleans()) else (),
            PatientID=draw(st.sampled_from(["SYNTH-1", "SYNTH-2"])),
        )
        for uid in uids
    ]
    return draw(st.permutations(entries))


@st.composite
def decided(draw: st.DrawFn) -> list[Decision]:
    """Classifications and exclusions of both studies' exams."""
    return [
        decide(
            draw(st.sampled_from([DecisionKind.CLASSIFY, DecisionKind.EXCLUDE, DecisionKind.INCLUDE])),
            draw(st.sampled_from(["", "a", "b"])),
            draw(st.sampled_from(["", "clinical", "phantom"])),
            study_uid=draw(st.sampled_from(["1.1", "2.2"])),
            name=f"d{number}",
        )
        for number in range(draw(st.integers(0, 3)))
    ]


@st.composite
def assigned(draw: st.DrawFn) -> list[Decision]:
    """Assignments of instances of one of the studies to other units."""
    return [
        decide(
            DecisionKind.ATTRIBUTE, draw(st.sampled_from(["", "a"])), draw(st.sampled_from(["a", "b", "c"])),
            study_uid="1.1", name=f"a{number}",
        )
        for number in range(draw(st.integers(0, 2)))
    ]  # fmt: skip


def expected_exams(entries: Iterable[Entry], people: list[Decision]) -> dict[tuple[str, str], Exam]:
    """Fold every exam from scratch, instance by instance."""
    entries = list(entries)
    rejected = {uid for entry in entries for uid in entry.facts.rejected_uids}
    contributions: dict[tuple[str, str], list[Contribution]] = defaultdict(list)
    with_images = set()
    for entry in entries:
        told = entry.derivation
        if told.portion is not None:
            with_images.add(exam_of(entry))
        contributions[exam_of(entry)].append(
            Contribution(
                portion=told.portion.portion if told.portion else None,
                rule=told.portion.rule if told.portion else "",
                performed=told.performed,
                stage=told.stage,
                attachment=told.attribution.attachment,
                rejected=entry.facts.sop_instance_uid in rejected,
            )
        )
    held = {uid: in_force(each for each in people if each.study_uid == uid) for uid in ("1.1", "2.2")}
    return {key: fold(contributions[key], held[key[0]].overrides.get(key[1], Override())) for key in with_images}


def _told(of_exam: Exam) -> dict[str, Any]:
    return {
        "portion": of_exam.portion,
        "rule": of_exam.rule,
        "day": of_exam.day,
        "day_source": of_exam.source,
        "stages": list(of_exam.stages),
        "attachments": list(of_exam.attachments),
        "excluded": of_exam.excluded,
        "counts": of_exam.counts,
    }


def contents(index: Index) -> dict[str, list[dict[str, Any]]]:
    """Every derived row, in the order of its key."""
    with index.read() as conn:
        return {
            table.name: [dict(row) for row in conn.execute(select(table).order_by(*table.primary_key)).mappings()]
            for table in (study, series, instance, exam)
        }


def start_anew(index: Index, people: list[Decision] = []) -> None:  # noqa: B006 # never changed
    with index.write() as conn:
        clear_derived(conn)
        conn.execute(decision.delete())
        for each in people:
            decisions.insert(conn, each)


@given(deliveries(), decided(), st.randoms())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exam_rows_are_what_a_fold_from_scratch_gives_in_any_order(
    index: Index, entries: list[Entry], people: list[Decision], random: Any
) -> None:
    start_anew(index, people)
    for entry in entries:
        index.record(entry)
    rows = contents(index)
    expected = expected_exams(entries, people)
    assert {(row["study_uid"], row["unit_id"]) for row in rows["exam"]} == expected.keys()
    for row in rows["exam"]:
        key = row["study_uid"], row["unit_id"]
        folded = expected[key]
        assert {name: row[name] for name in _told(folded)} == _told(folded)
        own = [entry for entry in entries if exam_of(entry) == key]
        images = [entry for entry in own if entry.derivation.portion is not None]
        assert (row["primary_count"], row["instance_count"]) == (len(images), len(own))
        received = [entry.provenance.received_at for entry in own]
        assert (row["first_received_at"], row["last_received_at"]) == (min(received), max(received))
        flags = {
            flag
            for entry in images
            if isinstance(entry.derivation.attribution, Attributed)
            for flag in entry.derivation.attribution.flags
        }
        assert set(row["flags"]) == flags | set(folded.flags)
    start_anew(index, people)
    for entry in random.sample(entries, len(entries)):
        index.record(entry)
    assert contents(index) == rows


@given(deliveries(), decided(), assigned(), st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exams_that_grew_in_groups_are_what_their_instances_come_to(
    index: Index, entries: list[Entry], people: list[Decision], assignments: list[Decision], data: st.DataObject
) -> None:
    start_anew(index, [*people, *assignments])
    while entries:
        size = data.draw(st.integers(1, len(entries)))
        with index.write() as conn:
            write_entries(conn, entries[:size])
        entries = entries[size:]
    grown = contents(index)
    with index.write() as conn:
        for study_uid in ("1.1", "2.2"):
            exam_upkeep.refold_study(conn, study_uid)
    assert contents(index) == grown


def test_exams_whose_units_a_person_exchanged_grow_apart(index: Index) -> None:
    """The exam that the rules would have chosen is there, and is another one."""
    exchanged = [decide(DecisionKind.ATTRIBUTE, "a", "b"), decide(DecisionKind.ATTRIBUTE, "b", "a", name="d2")]
    start_anew(index, exchanged)
    for unit in ("a", "b", "a", "b", "a"):
        index.record(make_entry(derivation=make_derivation(unit, stage=f"of {unit}")))
    with index.read() as conn:
        assert {row.unit_id: row.primary_count for row in conn.execute(select(exam))} == {"a": 2, "b": 3}
    grown = contents(index)
    with index.write() as conn:
        exam_upkeep.refold_study(conn, "1.2.3")
    assert contents(index) == grown


def test_an_instance_of_a_kind_that_its_exam_has_costs_the_same_whatever_the_exam_holds(sqlite_index: Index) -> None:
    statements: list[str] = []
    with sqlite_index.read() as conn:
        conn.connection.driver_connection.set_trace_callback(statements.append)  # type: ignore[union-attr] # SQLite's
    used = []
    for number in range(12):
        statements.clear()
        sqlite_index.record(make_entry(seconds=number))
        used.append([statement.split()[0] for statement in statements])
    known = ["BEGIN", "SELECT", "UPDATE", "UPDATE", "INSERT", "UPDATE", "COMMIT"]
    assert used[1:] == [known] * 11
    assert not any("GROUP BY" in statement for statement in statements)


@given(deliveries(), decided())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sqlite_and_postgres_hold_the_same(
    sqlite_index: Index, postgres_index: Index, entries: list[Entry], people: list[Decision]
) -> None:
    both = sqlite_index, postgres_index
    for index in both:
        start_anew(index, people)
    assert [sqlite_index.record(entry) for entry in entries] == [postgres_index.record(entry) for entry in entries]
    assert contents(sqlite_index) == contents(postgres_index)
    answers = []
    days = [DAY + timedelta(days=number) for number in range(-3, 4)]
    for index in both:
        with index.read() as conn:
            answers.append(
                (
                    [exams.of_unit(conn, unit) for unit in ("", "a", "b")],
                    [
                        exams.newest_counting(conn, unit, each, day)
                        for unit in ("a", "b")
                        for each in EXAM_PORTIONS
                        for day in days
                    ],
                    findings.units_to_review(conn, NOON + timedelta(seconds=1)),
                    (exams.unattributed(conn), exams.undated(conn), exams.listed(conn), exams.last_received(conn)),
                    [exams.instances_of(conn, "1.1", unit) for unit in ("", "a", "b")],
                )
            )
    assert answers[0] == answers[1]


def test_an_exam_that_changes_waits_for_a_review_again(index: Index) -> None:
    image = make_entry(derivation=make_derivation(day=DAY))
    index.record(image)
    quiet = NOON + timedelta(hours=1)
    with index.write() as conn:
        assert findings.units_to_review(conn, quiet) == ["upright_a"]
        findings.mark_reviewed(conn, ["upright_a"], quiet, quiet)
        assert findings.units_to_review(conn, quiet) == []
    index.record(make_entry(derivation=make_derivation(portion=None), seconds=60))
    index.record(make_entry(derivation=make_derivation(day=DAY), seconds=60))
    with index.read() as conn:
        assert findings.units_to_review(conn, quiet) == []  # more of the same says nothing new
    index.record(make_entry(derivation=make_derivation(day=DAY - timedelta(days=1)), seconds=61))
    with index.read() as conn:
        assert findings.units_to_review(conn, NOON + timedelta(seconds=60)) == []  # still coming in
        assert findings.units_to_review(conn, NOON + timedelta(seconds=61)) == ["upright_a"]


def test_a_rejection_that_comes_later_or_earlier_takes_the_image_out(index: Index) -> None:
    note = make_derivation("", portion=None)
    index.record(make_entry(sop_instance_uid="1.7", study_uid="1.1"))
    index.record(make_entry(derivation=note, study_uid="1.9", rejected_uids=("1.7", "1.8")))
    index.record(make_entry(sop_instance_uid="1.8", study_uid="2.2"))
    with index.read() as conn:
        assert [(row.counts, row.portion) for row in conn.execute(select(exam))] == [(False, Portion.NEITHER)] * 2


def test_counting_exams_come_newest_first_by_portion(index: Index) -> None:
    for study_uid, portion, day in (
        ("1.1", Portion.CLINICAL, DAY),
        ("1.2", Portion.CLINICAL, DAY + timedelta(days=1)),
        ("1.3", Portion.PHANTOM, DAY),
        ("1.4", Portion.CLINICAL, None),
        ("1.5", Portion.NEITHER, DAY),
    ):
        index.record(
            make_entry(study_uid=study_uid, series_uid=study_uid, derivation=make_derivation(portion=portion, day=day))
        )
    days = [DAY + timedelta(days=number) for number in range(-1, 3)]
    with index.read() as conn:
        clinical, phantom = (
            {until: exams.newest_counting(conn, "upright_a", portion, until) for until in days}
            for portion in (Portion.CLINICAL, Portion.PHANTOM)
        )
        everything = exams.of_unit(conn, "upright_a")
    ids = {study_uid: exams.exam_id(study_uid, "upright_a") for study_uid in ("1.1", "1.2", "1.3")}
    of_day, of_next, of_phantom = (
        CountingExam(exam_id=ids[study_uid], day=DAY + timedelta(days=days), source="AcquisitionDate")
        for study_uid, days in (("1.1", 0), ("1.2", 1), ("1.3", 0))
    )
    assert list(clinical.values()) == [None, of_day, of_next, of_next]
    assert list(phantom.values()) == [None, of_phantom, of_phantom, of_phantom]
    assert everything[-1].why_not == "undated: no date"
    assert {each.why_not for each in everything if each.portion is Portion.NEITHER} == {"neither: biopsy stage"}
    assert {each.why_not for each in everything if each.counts} == {""}


def test_exams_that_need_a_person_are_found(index: Index) -> None:
    index.record(make_entry(study_uid="1.1", derivation=make_derivation("", candidates=("b", "a"), unregistered=True)))
    index.record(make_entry(study_uid="1.2", derivation=make_derivation("", portion=Portion.NEITHER)))
    index.record(make_entry(study_uid="1.3", derivation=make_derivation(day=None, day_flags=("year 1900",))))
    with index.read() as conn:
        (unknown,) = exams.unattributed(conn)
        (undated,) = exams.undated(conn)
    assert (unknown.study_uid, unknown.unregistered, unknown.candidates) == ("1.1", True, ("a", "b"))
    assert unknown.why_not == "of no known unit: no unit has this serial"
    assert (undated.study_uid, undated.why_not) == ("1.3", "undated: year 1900")


def test_a_decision_moves_instances_and_both_exams_follow(index: Index) -> None:
    unknown = [make_entry(derivation=make_derivation("", portion=Portion.UNCLEAR)) for _ in range(2)]
    known = make_entry(derivation=make_derivation("upright_a"))
    for entry in (*unknown, known):
        index.record(entry)
    by_hand = replace(
        make_derivation("upright_b"),
        attribution=Attributed(unit="upright_b", attachment="addon", evidence="a person assigned it"),
    )
    with index.write() as conn:
        assert decisions.insert(conn, decide(DecisionKind.ATTRIBUTE, "", "upright_b"))
        moved = exam_upkeep.derived_for(conn, "1.2.3", "")
        assert {digest for _, digest in moved} == {entry.digest for entry in unknown}
        kept = exam_upkeep.reassign(conn, "1.2.3", {uid: by_hand for uid, _ in moved})
    assert kept == {("1.2.3", "upright_a"), ("1.2.3", "upright_b")}
    with index.read() as conn:
        of_a, of_b = exams.of_study(conn, "1.2.3")
        assert exams.get(conn, exams.exam_id("1.2.3", "")) is None
        assert decisions.in_force_of(conn, ["1.2.3"])["1.2.3"].assigned == {"": "upright_b"}
    assert (of_a.primary_count, of_b.primary_count, of_b.counts) == (1, 2, True)
    assert (of_b.attribution, of_b.attachments) == ("a person assigned it", ("addon",))


def test_a_person_can_exclude_classify_and_include(index: Index) -> None:
    index.record(make_entry(derivation=make_derivation(portion=Portion.UNCLEAR)))

    def after(new: Decision) -> tuple[str, bool, bool]:
        with index.write() as conn:
            decisions.insert(conn, new)
            exam_upkeep.refold_study(conn, "1.2.3")
            (found,) = exams.of_study(conn, "1.2.3")
            return found.portion, found.excluded, found.counts

    assert after(decide(DecisionKind.CLASSIFY, "upright_a", "phantom", name="d1")) == ("phantom", False, True)
    assert after(decide(DecisionKind.EXCLUDE, "upright_a", name="d2")) == ("phantom", True, False)
    assert after(decide(DecisionKind.INCLUDE, "upright_a", name="d3")) == ("phantom", False, True)
    index.record(make_entry(derivation=make_derivation(portion=Portion.UNCLEAR)))
    with index.read() as conn:
        (found,) = exams.of_study(conn, "1.2.3")
        assert (found.portion, found.primary_count) == ("phantom", 2)
        assert [each.id for each in decisions.of_study(conn, "1.2.3")] == ["d1", "d2", "d3"]


def test_decisions_are_ordered_by_their_making_whatever_the_clock_did(index: Index) -> None:
    later = replace(decide(DecisionKind.EXCLUDE, "a", name="z"), decided_at=NOON)
    with index.write() as conn:
        decisions.insert(conn, replace(later, id="m", decided_at=NOON + timedelta(days=9)))
        decisions.insert(conn, later)
        assert not decisions.insert(conn, later)
        assert [each.id for each in decisions.of_study(conn, "1.2.3")] == ["m", "z"]


def test_an_unknown_portion_is_the_operators_error(index: Index) -> None:
    with index.write() as conn, pytest.raises(OperatorError, match="clinical"):
        decisions.insert(conn, decide(DecisionKind.CLASSIFY, "a", "klinical"))
