"""The books people keep: versions, the journal, a rebuild."""

from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from dicom_node.archive.journal import Journal
from dicom_node.archive.store import LocalArchive
from dicom_node.errors import DatabaseError, OperatorError
from dicom_node.index.engine import Index, open_index
from dicom_node.index.entries import Entry, EntryKind
from dicom_node.services import records
from dicom_node.services.entries import Entries
from dicom_node.services.releases import Change
from dicom_node.services.review import is_review_wanted

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
CHANGE = Change(by="lee", at=AT, today=date(2026, 11, 23))


@pytest.fixture
def archive(tmp_path: Path) -> LocalArchive:
    return LocalArchive.create(tmp_path / "archive", min_free_bytes=0)


def test_an_amended_entry_keeps_its_versions_and_what_is_not_given(archive: LocalArchive, index: Index) -> None:
    with closing(archive):
        surveys = Entries(EntryKind.SURVEY, archive=archive, index=index)
        first = surveys.add({"day": "2026-01-05", "by": "Lee"}, unit_id="prone1", note="yearly", change=CHANGE)
        second = surveys.amend(first.id, {"day": "2026-01-06"}, note="a slip", change=CHANGE)
        assert second.data == {"day": "2026-01-06", "by": "Lee"}
        assert (second.version, second.unit_id, second.note) == (2, "prone1", "a slip")
        assert surveys.current() == surveys.current(["prone1"]) == [second]
        assert surveys.current(["upright_a"]) == []
        assert surveys.history(first.id) == [first, second]
        assert Entries(EntryKind.CYCLE, archive=archive, index=index).current() == []
        with index.read() as conn:
            assert is_review_wanted(conn)
        assert [record.event for record in archive.audit.read()] == ["entry.kept", "entry.kept"]


def test_an_index_made_anew_has_the_entries_of_the_journal(archive: LocalArchive, index: Index, tmp_path: Path) -> None:

    with closing(archive):
        cycles = Entries(EntryKind.CYCLE, archive=archive, index=index)
        made = cycles.add({"expires_on": "2027-05-01"}, change=CHANGE)
        amended = cycles.amend(made.id, {"expires_on": None}, change=CHANGE)
        with closing(open_index(f"sqlite:///{tmp_path}/another.db")) as another:
            records.replay(archive.journal, another)
            records.replay(archive.journal, another)
            assert Entries(EntryKind.CYCLE, archive=archive, index=another).history(made.id) == [made, amended]


def test_a_version_that_was_cut_off_before_its_commit_gives_way_to_the_one_that_was_kept(
    archive: LocalArchive, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_and_die(journal: Journal, entry: Entry) -> None:
        save_entry(journal, entry)
        raise DatabaseError("the database is gone")

    save_entry = records.save_entry
    with closing(archive):
        cycles = Entries(EntryKind.CYCLE, archive=archive, index=index)
        made = cycles.add({"expires_on": "2027-05-01"}, change=CHANGE)
        with monkeypatch.context() as dying:
            dying.setattr(records, "save_entry", save_and_die)
            with pytest.raises(DatabaseError):
                cycles.amend(made.id, {"expires_on": "2027-05-02"}, change=CHANGE)
        kept = cycles.amend(made.id, {"expires_on": "2027-05-03"}, change=CHANGE)
        with closing(open_index(f"sqlite:///{tmp_path}/another.db")) as another:
            records.replay(archive.journal, another)
            assert Entries(EntryKind.CYCLE, archive=archive, index=another).history(made.id) == [made, kept]
        records.replay(archive.journal, index)
        assert cycles.history(made.id) == [made, kept]


def test_an_unknown_entry_is_told(archive: LocalArchive, index: Index) -> None:
    with closing(archive), pytest.raises(OperatorError, match="no qc log 'q1'"):
        Entries(EntryKind.QC_LOG, archive=archive, index=index).amend("q1", {}, change=CHANGE)
