"""Releases, standings, small facts, and the index against the archive."""

from dataclasses import replace
from datetime import date, timedelta

from sqlalchemy import Connection, select

from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.standing import CountingExam, ReleaseState, Standing, State
from dicom_node.index import contents, decisions, releases, standings, state
from dicom_node.index.decisions import Decision, DecisionKind
from dicom_node.index.engine import Index
from dicom_node.index.releases import ReleaseVersion
from dicom_node.index.tables import metadata
from tests.entries import NOON, make_derivation, make_entry

PACKAGE = ReleaseVersion(
    id="r1", version=1, unit_id="upright_a", released_on=date(2026, 11, 1), due_on=None, state=ReleaseState.RECORDED,
    changed_by="tester", changed_at=NOON,
)  # fmt: skip

EXCLUSION = Decision(
    id="d", kind=DecisionKind.EXCLUDE, study_uid="1.2.3", unit_id="", reason="r", decided_by="t", decided_at=NOON
)


def test_the_highest_version_of_a_package_holds(index: Index) -> None:
    amended = replace(PACKAGE, version=2, due_on=date(2026, 12, 15), changed_at=NOON - timedelta(days=1))
    older = replace(PACKAGE, id="r0", released_on=date(2023, 11, 1), state=ReleaseState.PASSED)
    other = replace(PACKAGE, id="r2", unit_id="prone")
    with index.write() as conn:
        assert all(releases.insert(conn, each) for each in (amended, PACKAGE, older, other))
        assert not releases.insert(conn, replace(amended, note="again"))
    with index.read() as conn:
        assert releases.current(conn, ["upright_a"]) == [amended, older]
        assert releases.current(conn) == [amended, other, older]
        assert releases.history(conn, "r1") == [PACKAGE, amended]
        assert releases.history(conn, "none") == []
    assert amended.release.due_on == date(2026, 12, 15)


def _standing(unit: str, portion: Portion, exam: CountingExam | None) -> Standing:
    return Standing(
        unit=unit, portion=portion, state=State.NEARING if exam else State.MISSING, newest=exam,
        counts_until=date(2026, 12, 8), last_release=date(2026, 12, 8), days_left=15, cutoff=date(2026, 12, 8),
        release=None, window_first=None, window_last=None, policy_id="acr",
    )  # fmt: skip


def _save(conn: Connection, *found: Standing) -> None:
    standings.save(conn, [standings.to_save(each, NOON.date()) for each in found])


def test_a_review_takes_the_place_of_the_one_before(index: Index) -> None:
    seen = CountingExam(exam_id="abc", day=date(2026, 6, 8), source="AcquisitionDate")
    with index.write() as conn:
        _save(conn, _standing("a", Portion.PHANTOM, seen), _standing("a", Portion.CLINICAL, None))
        _save(conn, _standing("b", Portion.CLINICAL, None), _standing("a", Portion.CLINICAL, seen))
        of_a, phantom_of_a, of_b = standings.read(conn)
        assert standings.read(conn, ["a", "c"]) == [of_a, phantom_of_a]
        assert (of_a.unit_id, of_a.portion, of_a.state, of_a.exam_id) == ("a", Portion.CLINICAL, State.NEARING, "abc")
        assert (of_a.exam_day, of_a.cutoff, of_a.days_left) == (date(2026, 6, 8), date(2026, 12, 8), 15)
        assert (of_b.state, of_b.exam_id, of_b.exam_day) == (State.MISSING, "", None)
        standings.forget_all_but(conn, ["b"])
        assert [each.unit_id for each in standings.read(conn)] == ["b"]


def test_a_fact_is_replaced(index: Index) -> None:
    with index.write() as conn:
        assert state.get(conn, "archive_id") is None
        state.put(conn, "archive_id", "one")
        state.put(conn, "archive_id", "two")
        assert state.get(conn, "archive_id") == "two"


def test_every_object_with_a_row_is_on_the_shelf_of_its_digest(index: Index) -> None:
    entries = [make_entry(sop_instance_uid=f"1.2.{number}") for number in range(7)]
    entries += [make_entry(sop_instance_uid=f"1.2.{number}", content=f"other {number % 2}") for number in range(4)]
    for entry in entries:
        index.record(entry)
    digests = {entry.digest for entry in entries}
    found = {shelf: contents.digests_on(index, shelf) for shelf in (f"{number:02x}" for number in range(256))}
    assert set().union(*found.values()) == digests
    assert {shelf: {each[:2] for each in of_shelf} for shelf, of_shelf in found.items() if of_shelf} == {
        each[:2]: {each[:2]} for each in digests
    }


def test_beginning_anew_keeps_what_no_file_tells(index: Index) -> None:
    index.record(make_entry(sop_instance_uid="1.2"))
    index.record(make_entry(sop_instance_uid="1.2", content="other"))
    index.record(make_entry(derivation=make_derivation(portion=None), rejected_uids=("1.2",)))
    kept = {"decision", "release", "node_state"}
    with index.write() as conn:
        _save(conn, _standing("a", Portion.CLINICAL, None))
        releases.insert(conn, PACKAGE)
        state.put(conn, "archive_id", "one")
        decisions.insert(conn, EXCLUSION)

    def filled() -> set[str]:
        with index.read() as conn:
            return {table.name for table in metadata.sorted_tables if conn.execute(select(table).limit(1)).first()}

    assert filled() == kept | {"study", "name_word", "series", "instance", "exam", "rejection", "conflict", "standing"}
    with index.write() as conn:
        contents.clear_derived(conn)
    assert filled() == kept
