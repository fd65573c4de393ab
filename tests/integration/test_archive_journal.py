"""The journal beside the objects: what was appended is read back, whatever was cut short."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_node.archive.store import LocalArchive
from dicom_node.errors import ObjectDamagedError, StorageUnavailableError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[LocalArchive]:
    with LocalArchive.create(tmp_path / "archive", min_free_bytes=0) as made:
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "archive" / "journal" / "journal.jsonl"


def test_a_new_journal_is_empty(archive: LocalArchive) -> None:
    assert list(archive.journal.read()) == []


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=st.lists(st.tuples(st.text(), st.dictionaries(st.text(), JSON, max_size=3)), max_size=4))
def test_what_is_appended_is_read_back_in_order(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, dict[str, Any]]]
) -> None:
    with LocalArchive.create(tmp_path_factory.mktemp("archive"), min_free_bytes=0) as archive:
        numbers = [archive.journal.append(kind, record) for kind, record in entries]
        assert list(archive.journal.read()) == entries
        assert numbers == list(range(1, len(entries) + 1))


def test_each_line_is_json_with_its_number_and_a_sum(archive: LocalArchive, file: Path) -> None:
    archive.journal.append("release", {"unit": "prone1"})
    archive.journal.append("decision", {"reason": "wrong unit\nnoticed"})
    lines = file.read_text("ascii").splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2]
    assert set(json.loads(lines[1])) == {"seq", "kind", "record", "sha256"}


def test_a_line_cut_short_anywhere_is_ignored_and_mended_by_the_next(archive: LocalArchive, file: Path) -> None:
    archive.journal.append("a", {"n": 1})
    whole = file.read_bytes()
    archive.journal.append("b", {"n": 2})
    both = file.read_bytes()
    for end in range(len(whole), len(both)):
        file.write_bytes(both[:end])
        assert list(archive.journal.read()) == [("a", {"n": 1})]
        assert archive.journal.append("c", {"n": 3}) == 2
        assert list(archive.journal.read()) == [("a", {"n": 1}), ("c", {"n": 3})]


def test_a_very_first_line_cut_short_is_ignored_and_mended(archive: LocalArchive, file: Path) -> None:
    file.write_bytes(b'{"kind":"re')
    assert list(archive.journal.read()) == []
    assert archive.journal.append("a", {}) == 1
    assert list(archive.journal.read()) == [("a", {})]


def test_lines_longer_than_a_block_are_found_again(archive: LocalArchive, file: Path) -> None:
    long = {"text": "x" * 200_000}
    archive.journal.append("a", long)
    assert archive.journal.append("b", long) == 2
    with file.open("ab") as journal:
        journal.write(b"y" * 150_000)
    assert archive.journal.append("c", {}) == 3
    assert [kind for kind, _ in archive.journal.read()] == ["a", "b", "c"]


def test_damage_is_reported_and_never_cut_away(archive: LocalArchive, file: Path) -> None:
    for number in range(3):
        archive.journal.append("a", {"n": number})
    whole = file.read_bytes()
    for place, named in ((0, "line 1"), (1, "line 2"), (2, "line 3")):
        lines = whole.splitlines(keepends=True)
        lines[place] = lines[place].replace(b'"n":', b'"m":')
        file.write_bytes(b"".join(lines))
        with pytest.raises(ObjectDamagedError, match=named):
            list(archive.journal.read())
    with pytest.raises(ObjectDamagedError, match="last line"):
        archive.journal.append("b", {})
    assert file.read_bytes() == b"".join(lines)


@pytest.mark.parametrize("line", [b"[]", b"7", b"", b"\xff", b'{"seq": 1}'])
def test_a_line_of_another_shape_is_damage(archive: LocalArchive, file: Path, line: bytes) -> None:
    file.write_bytes(line + b"\n")
    with pytest.raises(ObjectDamagedError, match="line 1"):
        list(archive.journal.read())


def test_a_missing_line_is_damage(archive: LocalArchive, file: Path) -> None:
    for number in range(3):
        archive.journal.append("a", {"n": number})
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[2])
    with pytest.raises(ObjectDamagedError, match="line 2 of the journal has the sequence number 3"):
        list(archive.journal.read())


def test_a_line_that_could_not_be_flushed_is_not_there(
    archive: LocalArchive, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.journal.append("a", {})

    def refuse(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(StorageUnavailableError, match="flush"):
            archive.journal.append("b", {})
    assert list(archive.journal.read()) == [("a", {})]
    assert archive.journal.append("c", {}) == 2


def test_threads_and_processes_append_together_without_losing_a_line(archive: LocalArchive, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from dicom_node.archive.store import LocalArchive\n"
        "with LocalArchive.open(Path(sys.argv[1]), min_free_bytes=0) as archive:\n"
        "    [archive.journal.append('other', {'n': n}) for n in range(25)]"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "archive")]) as other:
        with ThreadPoolExecutor(4) as pool:
            mine = list(pool.map(lambda n: archive.journal.append("mine", {"n": n}), range(50)))
        assert other.wait() == 0
    read = list(archive.journal.read())
    assert len(set(mine)) == 50
    assert sorted(record["n"] for kind, record in read if kind == "mine") == list(range(50))
    assert [record["n"] for kind, record in read if kind == "other"] == list(range(25))
