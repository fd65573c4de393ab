"""Recording instances: one row each, whatever races, and rows that do not depend on the order."""

import threading
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from dicom_node.errors import DatabaseError
from dicom_node.index import decisions
from dicom_node.index.conflicts import conflicts
from dicom_node.index.decisions import Decision, DecisionKind
from dicom_node.index.engine import Index, open_index
from dicom_node.index.exams import exam_id
from dicom_node.index.record import Outcome
from dicom_node.index.rows import PATIENT_IDS_DIFFER, PATIENTS_DIFFER
from dicom_node.index.tables import conflict, exam, instance, name_word, series, study
from tests.entries import NOON, make_derivation, make_entry


def test_a_new_instance_has_a_row_at_every_level(index: Index) -> None:
    entry = make_entry(sop_instance_uid="1.2.3.1.1", PatientName="Synth^Åsa=山田^太郎", ImageType="ORIGINAL\\PRIMARY")
    recorded = index.record(entry)
    assert (recorded.outcome, recorded.exam_id) == (Outcome.NEW, exam_id("1.2.3", "upright_a"))
    with index.read() as conn:
        of_study = conn.execute(select(study)).mappings().one()
        of_series = conn.execute(select(series)).mappings().one()
        of_instance = conn.execute(select(instance)).mappings().one()
        of_exam = conn.execute(select(exam)).mappings().one()
    assert of_study["patient_name"] == "Synth^Åsa=山田^太郎"
    assert (of_study["name_alphabetic"], of_study["name_ideographic"]) == ("synth^åsa", "山田^太郎")
    assert (of_study["series_count"], of_study["instance_count"], of_study["modalities"]) == (1, 1, "MG")
    assert (of_series["series_number"], of_series["instance_count"]) == ("1", 1)
    assert of_instance["image_type"] == "ORIGINAL\\PRIMARY"
    assert of_instance["day_candidates"] == [["AcquisitionDate", "2026-11-20"]]
    assert (of_instance["digest"], of_instance["size"], of_instance["received_at"]) == (entry.digest, 1000, NOON)
    assert (of_instance["unit_id"], of_instance["portion"], of_instance["role"]) == ("upright_a", "clinical", "primary")
    assert (of_exam["portion"], of_exam["counts"], of_exam["primary_count"]) == ("clinical", True, 1)
    assert (of_exam["attribution"], of_exam["reviewed_at"]) == ("device serial", None)


def test_the_same_content_again_writes_nothing(index: Index) -> None:
    entry = make_entry()
    index.record(entry)
    later = replace(entry, provenance=replace(entry.provenance, received_at=NOON + timedelta(days=1)))
    assert index.record(later).outcome is Outcome.DUPLICATE
    with index.read() as conn:
        assert conn.execute(select(study.c.instance_count, study.c.last_received_at)).one() == (1, NOON)


def test_other_content_is_noted_once_beside_the_first(index: Index) -> None:
    first = make_entry(sop_instance_uid="1.2", content="first")
    other = make_entry(sop_instance_uid="1.2", content="other", study_uid="9.9", seconds=5)
    assert index.record(first).outcome is Outcome.NEW
    assert [index.record(other).outcome for _ in range(2)] == [Outcome.CONFLICT] * 2
    with index.read() as conn:
        assert conn.execute(select(instance.c.digest)).scalars().all() == [first.digest]
        assert conn.execute(select(study.c.study_uid)).scalars().all() == ["1.2.3"]
        (noted,) = conflicts(conn)
    assert noted.sop_instance_uid == "1.2"
    assert noted.waits
    assert [(each.digest, each.study_uid, each.served) for each in noted.contents] == [
        (first.digest, "1.2.3", True),
        (other.digest, "9.9", False),
    ]


def test_counts_and_lists_of_a_study_are_right(index: Index) -> None:
    for series_uid, modality in (("s1", "MG"), ("s1", "MG"), ("s2", "SR"), ("s3", ""), ("s2", "SR")):
        index.record(make_entry(series_uid=series_uid, Modality=modality, sop_class_uid=f"class of {modality}"))
    with index.read() as conn:
        row = conn.execute(select(study)).mappings().one()
        counts = {each.series_uid: each.instance_count for each in conn.execute(select(series))}
    assert (row["series_count"], row["instance_count"], row["modalities"]) == (3, 5, "MG\\SR")
    assert row["sop_classes"] == "class of \\class of MG\\class of SR"
    assert counts == {"s1": 2, "s2": 2, "s3": 1}


def test_a_study_of_two_patients_is_kept_and_flagged(index: Index) -> None:
    index.record(make_entry(seconds=5, PatientID="LATE", PatientName="LATE^PATIENT"))
    index.record(make_entry(seconds=1, PatientID="EARLY", PatientName="EARLY^PATIENT"))
    with index.read() as conn:
        row = conn.execute(select(study)).mappings().one()
        words = {each.word: each.sound for each in conn.execute(select(name_word))}
    assert (row["patient_id"], row["name_alphabetic"], row["instance_count"]) == ("EARLY", "early^patient", 2)
    assert words == {"early": "064", "patient": "1353"}
    assert row["flags"] == [PATIENT_IDS_DIFFER, PATIENTS_DIFFER]


def test_a_name_written_otherwise_is_the_same_patient(index: Index) -> None:
    index.record(make_entry(PatientName="SYNTH^PATIENT"))
    index.record(make_entry(PatientName="Synth^Patient^^"))
    with index.read() as conn:
        assert conn.execute(select(study.c.flags)).scalar_one() == []


def test_one_series_uid_in_two_studies_is_two_series(index: Index) -> None:
    index.record(make_entry(study_uid="1.1", series_uid="7.7"))
    index.record(make_entry(study_uid="2.2", series_uid="7.7"))
    with index.read() as conn:
        assert conn.execute(select(series.c.study_uid, series.c.instance_count).order_by(series.c.study_uid)).all() == [
            ("1.1", 1), ("2.2", 1),
        ]  # fmt: skip


def test_text_that_cannot_be_stored_does_no_harm(index: Index) -> None:
    for name in ("SYNTH^A\0B", "SYNTH^A\0B", "SYNTH^AB"):
        assert index.record(make_entry(PatientName=name, StationName="\ud800X")).outcome is Outcome.NEW
    with index.read() as conn:
        assert conn.execute(select(study.c.patient_name, study.c.flags)).one() == ("SYNTH^AB", [])
        assert conn.execute(select(series.c.station_name)).scalar_one() == "X"


def test_races_on_one_uid_give_one_new_instance(index: Index) -> None:
    """8 threads record 50 UIDs each, all the same UIDs, in three contents."""
    outcomes: dict[str, list[Outcome]] = {f"1.2.{number}": [] for number in range(50)}
    start = threading.Barrier(8)

    def record_all(thread: int) -> None:
        start.wait()
        for uid, seen in outcomes.items():
            entry = make_entry(
                sop_instance_uid=uid, content=f"{uid} {thread % 3}", study_uid=uid[-1], series_uid=f"{uid[-1]}.{thread}"
            )
            seen.append(index.record(entry).outcome)

    threads = [threading.Thread(target=record_all, args=[thread]) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seen in outcomes.values():
        counted = Counter(seen)
        assert counted[Outcome.NEW] == 1
        assert counted.total() == 8
        assert counted[Outcome.CONFLICT] in {5, 6}  # contents 0 and 1 came from three threads, content 2 from two
    with index.read() as conn:
        assert len(conn.execute(select(instance)).all()) == 50
        assert len(conn.execute(select(conflict)).all()) == 100
        assert [row.instance_count for row in conn.execute(select(study))] == [5] * 10
        assert sum(row.instance_count for row in conn.execute(select(series))) == 50
        assert sum(row.series_count for row in conn.execute(select(study))) == len(conn.execute(select(series)).all())
        assert [row.primary_count for row in conn.execute(select(exam))] == [5] * 10


def test_an_entry_that_cannot_be_written_does_not_fail_the_others(index: Index) -> None:
    """Without a size, which the schema wants; all of them wait for the same commit."""
    entries = [replace(make_entry(), size=None if number == 3 else 1) for number in range(8)]  # type: ignore[arg-type] # what cannot be written
    results: dict[int, object] = {}

    def record(number: int) -> None:
        try:
            results[number] = index.record(entries[number]).outcome
        except DatabaseError as error:
            results[number] = type(error)

    threads = [threading.Thread(target=record, args=[number]) for number in range(8)]
    with index.write():
        for thread in threads:
            thread.start()
        while len(index._group._queue) < 8:
            threads[0].join(0.01)
    for thread in threads:
        thread.join()
    assert results == {number: DatabaseError if number == 3 else Outcome.NEW for number in range(8)}


def test_a_group_that_waits_is_one_commit(sqlite_index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = [threading.Thread(target=sqlite_index.record, args=[make_entry()]) for _ in range(10)]
    begins: list[int] = []
    begin_write = sqlite_index._group._begin_write
    with sqlite_index.write():
        monkeypatch.setattr(sqlite_index._group, "_begin_write", lambda: begins.append(1) or begin_write())
        for thread in threads:
            thread.start()
        while len(sqlite_index._group._queue) < 10:
            threads[0].join(0.01)
    for thread in threads:
        thread.join()
    assert len(begins) == 1


def test_waiting_for_a_locked_database_ends_for_everyone(index_url: str) -> None:
    """And what was given up is not recorded afterwards."""
    with closing(open_index(index_url)) as holder, closing(open_index(index_url, busy_timeout_s=0.3)) as waiting:
        errors: list[BaseException] = []

        def record() -> None:
            try:
                waiting.record(make_entry())
            except DatabaseError as error:
                errors.append(error)

        threads = [threading.Thread(target=record) for _ in range(8)]
        with holder.write():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(errors) == 8
        waiting.record(make_entry(sop_instance_uid="1.5"))
        with waiting.read() as conn:
            assert conn.execute(select(instance.c.sop_instance_uid)).scalars().all() == ["1.5"]


def test_an_instance_of_what_a_person_assigned_is_of_that_unit(index: Index) -> None:
    """Whenever the decision was made: before the instance came, or while it was on its way."""
    decided = Decision(
        id="d1", kind=DecisionKind.ATTRIBUTE, study_uid="1.2.3", unit_id="", value="upright_b",
        reason="seen", decided_by="tester", decided_at=NOON,
    )  # fmt: skip
    with index.write() as conn:
        decisions.insert(conn, decided)
    unknown = make_entry(derivation=make_derivation(""))
    recorded = [index.record(each) for each in (unknown, unknown, make_entry(), make_entry(study_uid="9.9"))]
    assert [(each.outcome, each.unit) for each in recorded] == [
        (Outcome.NEW, "upright_b"),
        (Outcome.DUPLICATE, "upright_b"),
        (Outcome.NEW, "upright_a"),
        (Outcome.NEW, "upright_a"),
    ]
    with index.read() as conn:
        columns = select(instance.c.unit_id, instance.c.derived_unit_id, instance.c.attribution)
        row = conn.execute(columns.where(instance.c.sop_instance_uid == unknown.facts.sop_instance_uid)).one()
        units = conn.execute(select(exam.c.unit_id).where(exam.c.study_uid == "1.2.3").order_by(exam.c.unit_id))
        assert units.scalars().all() == ["upright_a", "upright_b"]
    assert row == ("upright_b", "", "a person assigned it")


def test_many_rejections_are_looked_up(index: Index) -> None:
    image = make_entry(sop_instance_uid="1.7")
    index.record(image)
    rejected = (*(f"1.2.{number}" for number in range(1200)), "1.7", "1.7")
    index.record(make_entry(derivation=make_derivation(portion=None), rejected_uids=rejected))
    with index.read() as conn:
        assert conn.execute(select(exam.c.counts)).scalar_one() is False
        assert conn.execute(text("SELECT count(*) FROM rejection")).scalar_one() == 1201
