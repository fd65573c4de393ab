"""The archive on real files: what is kept, under which name, and what is left behind."""

import hashlib
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_node.archive import incoming as incoming_module
from dicom_node.archive import linux
from dicom_node.archive.digest import BESIDE_FROM
from dicom_node.archive.space import MARKER
from dicom_node.archive.store import LocalArchive, object_name
from dicom_node.archive.verify import rehash
from dicom_node.dicom.part10 import read_meta
from dicom_node.errors import ObjectDamagedError, OperatorError, StorageUnavailableError
from tests.archives import PROVENANCE, begin, files_under, received_files, store, umask

DATA = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100" + bytes(5000)
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def archive(root: Path) -> Iterator[LocalArchive]:
    with LocalArchive.create(root, min_free_bytes=0) as made:
        yield made


def test_what_was_received_is_kept_byte_for_byte_behind_our_own_header(archive: LocalArchive, root: Path) -> None:
    kept = store(archive, DATA)

    assert (kept.digest, kept.size, kept.new) == (DIGEST, len(DATA), True)
    whole = (root / object_name(DIGEST)).read_bytes()
    assert whole.startswith(bytes(128) + b"DICM")
    assert whole.endswith(DATA)
    with archive.open_object(DIGEST) as file:
        meta = read_meta(file)
        file.seek(meta.data_set_offset)
        assert file.read() == DATA
    assert meta.provenance == PROVENANCE
    assert received_files(root) == []


def test_the_same_bytes_again_write_nothing_and_the_first_file_stays(archive: LocalArchive, root: Path) -> None:
    store(archive, DATA)
    first = (root / object_name(DIGEST)).stat()

    again = store(archive, DATA, uid="2.25.22222")

    assert not again.new
    second = (root / object_name(DIGEST)).stat()
    assert (first.st_ino, first.st_mtime_ns) == (second.st_ino, second.st_mtime_ns)
    assert len(files_under(root / "objects")) == 1
    assert received_files(root) == []


def test_other_content_under_the_same_uid_is_another_file(archive: LocalArchive) -> None:
    kept = {store(archive, DATA).digest, store(archive, DATA + b"\0\0").digest}
    assert set(archive.objects()) == kept
    assert len(kept) == 2


def test_a_data_set_that_begins_like_file_meta_keeps_its_bytes(archive: LocalArchive) -> None:
    kept = store(archive, b"\x02\x00\x10\x00UI\x04\x001.2\0" + DATA)
    assert rehash(archive, kept.digest) == kept.size


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_files_and_folders_have_their_modes_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    with umask(mask), LocalArchive.create(tmp_path / "new" / "archive", min_free_bytes=0) as archive:
        store(archive, DATA)
        archive.journal.append("release", {})
        with begin(archive) as incoming:
            incoming.write(b"x")
            made = [tmp_path / "new", *(tmp_path / "new").rglob("*")]
            folders = {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_dir()}
            files = {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_file()}
    assert folders == {0o750}
    assert files == {0o640}


def test_a_discarded_instance_leaves_nothing_and_discarding_twice_is_harmless(
    archive: LocalArchive, root: Path
) -> None:
    incoming = begin(archive)
    incoming.write(DATA)
    incoming.discard()
    incoming.discard()
    with begin(archive) as other:
        other.write(DATA)
    assert received_files(root) == []
    assert files_under(root / "objects") == []


def test_discarding_after_keeping_leaves_the_object(archive: LocalArchive) -> None:
    with begin(archive) as incoming:
        incoming.write(DATA)
        archive.keep(incoming)
        incoming.discard()
    assert rehash(archive, DIGEST) == len(DATA)


def test_the_header_can_be_read_before_the_instance_is_kept(archive: LocalArchive) -> None:
    with begin(archive) as incoming:
        incoming.write(DATA[:100], DATA[100:])
        assert incoming.beginning == DATA
        assert incoming.read_at(3, len(DATA)) == DATA[3:]
        incoming.write(bytes(incoming_module.KEPT_IN_MEMORY))
        assert incoming.beginning == (DATA + bytes(incoming_module.KEPT_IN_MEMORY))[: incoming_module.KEPT_IN_MEMORY]
        assert incoming.read_at(len(DATA) - 1, 9) == DATA[-1:] + bytes(8)
        archive.keep(incoming)
    with pytest.raises(StorageUnavailableError, match="gone"):
        incoming.read_at(0, 1)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.binary(max_size=300), max_size=20), taken=st.integers(min_value=1, max_value=50))
def test_bytes_and_digest_are_right_however_little_the_system_takes_at_once(
    archive: LocalArchive, pieces: list[bytes], taken: int
) -> None:
    pwritev = os.pwritev

    def short_pwritev(fd: int, views: list[memoryview], at: int) -> int:
        return pwritev(fd, [views[0][:taken]], at)

    with pytest.MonkeyPatch.context() as patch, begin(archive) as incoming:
        patch.setattr(os, "pwritev", short_pwritev)
        incoming.write(*map(memoryview, pieces))
        incoming.write(*map(bytearray, pieces))
        kept = archive.keep(incoming)
    whole = b"".join(pieces * 2)
    assert (kept.digest, kept.size) == (hashlib.sha256(whole).hexdigest(), len(whole))
    assert rehash(archive, kept.digest) == len(whole)


def test_more_buffers_than_the_system_takes_in_one_call_are_written_in_order(archive: LocalArchive) -> None:
    pieces = [number.to_bytes(2, "little") for number in range(3000)]
    with begin(archive) as incoming:
        incoming.write(*pieces)
        kept = archive.keep(incoming)
    assert rehash(archive, kept.digest) == 6000


def test_sixteen_associations_with_the_same_bytes_make_one_object(archive: LocalArchive, root: Path) -> None:
    together = threading.Barrier(16)

    def one(number: int) -> bool:
        with begin(archive, uid=f"2.25.{number + 1}") as incoming:
            incoming.write(DATA)
            together.wait()
            return archive.keep(incoming).new

    with ThreadPoolExecutor(16) as pool:
        new = list(pool.map(one, range(16)))
    assert sum(new) == 1
    assert list(archive.objects()) == [DIGEST]
    assert rehash(archive, DIGEST) == len(DATA)
    assert received_files(root) == []


@pytest.mark.parametrize("damage", ["cut", "longer", "emptied", "link", "no header"])
def test_a_damaged_object_is_replaced_when_its_bytes_come_again(archive: LocalArchive, root: Path, damage: str) -> None:
    store(archive, DATA)
    path = root / object_name(DIGEST)
    whole = path.read_bytes()
    if damage == "link":
        path.rename(root / "elsewhere.dcm")
        path.symlink_to(root / "elsewhere.dcm")
    else:
        path.write_bytes({"cut": whole[:-1], "longer": whole + b"\0", "emptied": b"", "no header": DATA}[damage])

    assert not store(archive, DATA).new

    assert not path.is_symlink()
    assert path.read_bytes() == whole
    archive._spool._settle()
    assert received_files(root) == []


def test_objects_are_listed_in_order_and_strangers_are_passed_over(archive: LocalArchive, root: Path) -> None:
    digests = sorted(store(archive, bytes([number])).digest for number in range(50))
    shelf = (root / object_name(digests[0])).parent
    (shelf / "notes.txt").touch()
    (shelf / f"{'ff' * 32}.dcm.bak").touch()
    wrong_shelf = root / "objects" / ("00" if digests[0][:2] != "00" else "01")
    wrong_shelf.mkdir(exist_ok=True)
    (wrong_shelf / f"{'ee' * 32}.dcm").touch()
    (root / "objects" / "lost+found").mkdir()

    listed = list(archive.objects())

    assert listed == digests
    assert archive.objects_on(digests[0][:2]) == {each for each in digests if each[:2] == digests[0][:2]}


def test_an_archive_that_is_gone_is_not_an_empty_one(archive: LocalArchive, root: Path) -> None:
    store(archive, b"1")
    (root / "objects").rename(root / "elsewhere")
    with pytest.raises(StorageUnavailableError, match="list the objects"):
        list(archive.objects())


def test_two_threads_may_list_the_objects_at_once(archive: LocalArchive) -> None:
    digests = sorted(store(archive, bytes([number])).digest for number in range(40))
    one, other = archive.objects(), archive.objects()
    pairs = list(zip(one, other, strict=True))
    assert [a for a, _ in pairs] == [b for _, b in pairs] == digests


def test_an_object_that_is_not_there_is_reported_as_missing(archive: LocalArchive) -> None:
    with pytest.raises(ObjectDamagedError, match="missing"):
        archive.open_object("0" * 64)
    with pytest.raises(ValueError, match="hex"):
        archive.open_object("../../etc/passwd")


def test_an_instance_is_durable_before_it_gets_its_name_and_that_before_its_slot_goes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    settled = threading.Event()

    def note(module: Any, name: str, word: Callable[[Any], str]) -> None:
        call = getattr(module, name)

        def noted(first: Any, *rest: Any, **named: Any) -> Any:
            done = call(first, *rest, **named)
            if word(first):
                steps.append(word(first))
            if steps[-1:] == ["give up slot"]:
                settled.set()
            return done

        monkeypatch.setattr(module, name, noted)

    archive = LocalArchive.create(root, min_free_bytes=0)
    note(os, "fsync", lambda fd: "flush folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "flush file")
    note(os, "fdatasync", lambda fd: "flush file")
    note(os, "link", lambda name: "name object")
    note(os, "unlink", lambda name: "give up slot" if str(name).endswith(".part") else "")
    note(linux, "sync_filesystem", lambda fd: "flush volume")
    with begin(archive) as incoming:
        incoming.write(DATA)
        made = list(steps)
        steps.clear()
        archive.keep(incoming)
    assert settled.wait(10)
    # The spool's folder with its lock, the first slot; the slots made ahead are the keeper's.
    assert [step for step in made if step != "flush volume"] == ["flush folder", "flush folder"]
    own = [step for step in steps if step != "flush volume"]
    assert own == ["flush file", "name object", "give up slot"]
    assert "flush volume" in steps[steps.index("name object") : steps.index("give up slot")]
    archive.close()


def test_a_new_archive_is_made_in_a_missing_or_empty_folder_only(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    with LocalArchive.create(tmp_path, min_free_bytes=0) as archive:
        first = archive.archive_id
    with pytest.raises(OperatorError, match="not empty"):
        LocalArchive.create(tmp_path, min_free_bytes=0)
    with LocalArchive.open(tmp_path, min_free_bytes=0, expected_id=first) as archive:
        assert archive.archive_id == first
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").touch()
    with pytest.raises(OperatorError, match="not empty"):
        LocalArchive.create(other, min_free_bytes=0)
    assert files_under(other) == ["letter.txt"]


def test_without_its_marker_an_archive_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailableError, match="no archive at"):
        LocalArchive.open(tmp_path / "nothing", min_free_bytes=0)
    with pytest.raises(StorageUnavailableError, match="mounted"):
        LocalArchive.open(tmp_path, min_free_bytes=0)
    assert files_under(tmp_path) == []


def test_another_archive_than_expected_is_not_opened(archive: LocalArchive, root: Path) -> None:
    with pytest.raises(StorageUnavailableError, match="another archive"):
        LocalArchive.open(root, min_free_bytes=0, expected_id="f" * 32)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"layout": 1}', json.dumps({"archive_id": "a", "layout": 2}), "\xff"]
)
def test_a_marker_that_cannot_be_understood_is_refused(archive: LocalArchive, root: Path, text: str) -> None:
    (root / MARKER).write_text(text, "latin-1")
    with pytest.raises(StorageUnavailableError, match=r"marker of an archive|does not know"):
        LocalArchive.open(root, min_free_bytes=0)


def test_a_volume_that_goes_away_is_noticed_at_the_next_instance(archive: LocalArchive, root: Path) -> None:
    away = root.with_name("away")
    root.rename(away)
    with pytest.raises(StorageUnavailableError, match="missing"):
        begin(archive)
    root.mkdir()
    with pytest.raises(StorageUnavailableError, match="another folder"):
        begin(archive)
    assert files_under(root) == []
    root.rmdir()
    away.rename(root)
    assert store(archive, DATA).new
    (root / MARKER).rename(root / "marker")
    with pytest.raises(StorageUnavailableError, match="marker"):
        begin(archive)


def test_the_free_space_is_looked_at_before_and_during_an_instance(
    archive: LocalArchive, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalArchive.open(root, min_free_bytes=1 << 60) as greedy:
        with pytest.raises(StorageUnavailableError, match="less than its reserve"):
            begin(greedy)
        with pytest.raises(StorageUnavailableError, match="less than its reserve"):
            greedy.check()
    monkeypatch.setattr(incoming_module, "ROOM_EVERY", 1000)
    incoming = begin(archive)
    incoming.write(bytes(999))
    free = archive.free_bytes()
    monkeypatch.setattr(archive._volume, "min_free_bytes", free * 2)
    with pytest.raises(StorageUnavailableError, match="less than its reserve"):
        incoming.write(b"x")
    assert received_files(root) == []
    with pytest.raises(StorageUnavailableError, match="gone"):
        incoming.write(b"x")
    with pytest.raises(StorageUnavailableError, match="gone"):
        archive.keep(incoming)
    monkeypatch.setattr(archive._volume, "min_free_bytes", 0)
    assert store(archive, DATA).new


def test_spool_files_of_a_living_process_are_let_be_and_those_of_a_closed_one_are_gone(root: Path) -> None:
    living = LocalArchive.create(root, min_free_bytes=0)
    with begin(living) as incoming:
        incoming.write(DATA)
        with LocalArchive.open(root, min_free_bytes=0) as other:
            begin(other).write(DATA)
            assert len(received_files(root)) == 2
        assert len(received_files(root)) == 1
        assert living.keep(incoming).new
    living.close()
    assert [path.name for path in (root / "spool").iterdir()] == ["lock"]


def test_what_a_dead_process_was_receiving_is_removed_at_the_next_start(archive: LocalArchive, root: Path) -> None:
    dead = root / "spool" / "4711-0badcafe"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "1.part").write_bytes(DATA)
    (dead / "2.part").touch()
    half_made = root / "spool" / "4712-0badcafe"
    half_made.mkdir()
    (root / "spool" / "probe-00000000").touch()
    with LocalArchive.open(root, min_free_bytes=0) as other:
        assert [path.name for path in (root / "spool").iterdir()] == ["lock"]
        assert list(other.objects()) == []


@pytest.mark.parametrize("named", ["not", "by itself", "by another", "damaged"])
def test_what_a_dead_process_kept_is_an_object_at_the_next_start(root: Path, tmp_path: Path, named: str) -> None:
    with LocalArchive.create(root, min_free_bytes=0) as archive:
        with begin(archive) as incoming:
            incoming.write(DATA)
            archive.keep(incoming)
        sealed = (root / object_name(DIGEST)).read_bytes()
    path = root / object_name(DIGEST)
    dead = root / "spool" / "4711-0badcafe"
    dead.mkdir()
    if named == "by itself":
        (dead / "1.part").hardlink_to(path)
    else:
        (dead / "1.part").write_bytes(sealed)
    if named == "not":
        path.unlink()
    if named == "damaged":
        path.write_bytes(sealed[:-1])
    with LocalArchive.open(root, min_free_bytes=0) as archive:
        assert [path.name for path in (root / "spool").iterdir()] == ["lock"]
        assert list(archive.objects()) == [DIGEST]
        assert rehash(archive, DIGEST) == len(DATA)
        assert path.read_bytes() == sealed


def test_what_cannot_be_read_in_the_spool_keeps_nothing_else_from_being_an_object(root: Path) -> None:
    with LocalArchive.create(root, min_free_bytes=0) as archive:
        store(archive, DATA)
        path = root / object_name(DIGEST)
        sealed = path.read_bytes()
        path.unlink()
    dead = root / "spool" / "4711-0badcafe"
    for odd in ("0.part", "2.part"):
        (dead / odd).mkdir(parents=True)
    (dead / "1.part").write_bytes(sealed)
    with LocalArchive.open(root, min_free_bytes=0) as archive:
        assert list(archive.objects()) == [DIGEST]
    assert sorted(entry.name for entry in dead.iterdir()) == ["0.part", "2.part"]


@pytest.mark.parametrize("torn", ["cut", "longer", "changed", "headless", "no seal"])
def test_a_slot_that_a_power_cut_tore_is_no_object(root: Path, torn: str) -> None:
    with LocalArchive.create(root, min_free_bytes=0) as archive:
        store(archive, DATA)
        path = root / object_name(DIGEST)
        sealed = path.read_bytes()
        path.unlink()
    dead = root / "spool" / "4711-0badcafe"
    dead.mkdir()
    (dead / "1.part").write_bytes(
        {
            "cut": sealed[:-1],
            "longer": sealed + b"\0",
            "changed": sealed[:-1] + b"\1",
            "headless": bytes(len(sealed) - len(DATA)) + DATA,
            "no seal": sealed.replace(DIGEST.encode(), b" " * 64),
        }[torn]
    )
    with LocalArchive.open(root, min_free_bytes=0) as archive:
        assert [path.name for path in (root / "spool").iterdir()] == ["lock"]
        assert list(archive.objects()) == []


def test_a_spool_folder_that_cannot_be_swept_does_not_stop_the_start(archive: LocalArchive, root: Path) -> None:
    odd = root / "spool" / "odd"
    (odd / "folder").mkdir(parents=True)
    with LocalArchive.open(root, min_free_bytes=0) as other:
        assert store(other, DATA).new
    assert odd.is_dir()


@pytest.mark.parametrize(
    "pieces", [[700_000] * 9, [100_000] * 60, [6_000_001], [BESIDE_FROM, 1, BESIDE_FROM], [400_000, 200_000]]
)
def test_the_digest_of_a_large_instance_is_right_in_whatever_pieces_it_comes(
    archive: LocalArchive, pieces: list[int]
) -> None:
    parts = [os.urandom(size) for size in pieces]
    with begin(archive) as incoming:
        for part in parts:
            incoming.write(part[:1000], part[1000:])
        kept = archive.keep(incoming)
    assert (kept.digest, kept.size) == (hashlib.sha256(b"".join(parts)).hexdigest(), sum(pieces))
    assert rehash(archive, kept.digest) == sum(pieces)


def test_a_large_instance_can_be_discarded_while_its_digest_is_taken(archive: LocalArchive, root: Path) -> None:
    for _ in range(20):
        with begin(archive) as incoming:
            for _ in range(4):
                incoming.write(bytes(3_000_000))
    assert received_files(root) == []
    assert store(archive, DATA).new
