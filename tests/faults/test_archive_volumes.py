"""Volumes that are full, thin, read-only or fail to flush: every refusal is told, nothing is left, service resumes."""

import contextlib
import errno
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from dicom_node.archive import linux, space
from dicom_node.archive.store import LocalArchive, object_name
from dicom_node.archive.verify import rehash, verify_all
from dicom_node.errors import StorageUnavailableError
from tests.archives import begin, files_under, received_files, store, wait_until

pytestmark = pytest.mark.faults

MiB = 1024 * 1024


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount a small file system in memory, or change its options; skip where that is not allowed."""
    folder = tmp_path / "volume"
    folder.mkdir()

    def mounted(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount program")
        if done.returncode:
            pytest.skip(f"a small volume cannot be mounted here: {done.stderr.strip()}")
        return folder

    yield mounted
    subprocess.run(["umount", str(folder)], capture_output=True, check=False)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[LocalArchive]:
    with LocalArchive.create(tmp_path / "archive", min_free_bytes=0) as made:
        yield made


def test_a_full_volume_refuses_at_once_leaves_nothing_and_serves_again_when_there_is_room(
    mount: Callable[..., Path],
) -> None:
    volume = mount("size=2m,mode=0750")
    with LocalArchive.create(volume / "archive", min_free_bytes=0) as archive:
        kept = store(archive, bytes(MiB))
        for _ in range(3):
            with pytest.raises(StorageUnavailableError, match="full"):
                store_in_pieces(archive, 4 * MiB)
            assert received_files(volume / "archive") == []
        assert rehash(archive, kept.digest) == MiB
        assert store(archive, b"small").new
        ballast = volume / "ballast"
        ballast.write_bytes(bytes(archive.free_bytes()))
        with pytest.raises(StorageUnavailableError, match="full"):
            store(archive, bytes(64 * 1024))
        ballast.unlink()
        assert store(archive, bytes(64 * 1024)).new
        assert all(not verdict.damage for verdict in verify_all(archive))


def test_the_reserve_is_left_to_the_index_and_the_logs(mount: Callable[..., Path]) -> None:
    volume = mount("size=40m,mode=0750")
    with LocalArchive.create(volume / "archive", min_free_bytes=20 * MiB) as archive:
        with pytest.raises(StorageUnavailableError, match="reserve"):
            store_in_pieces(archive, 39 * MiB)
        assert archive.free_bytes() > 38 * MiB
        assert store(archive, bytes(MiB)).new


def test_a_volume_without_inodes_refuses_and_serves_again(mount: Callable[..., Path]) -> None:
    volume = mount("size=4m,nr_inodes=40,mode=0750")
    with LocalArchive.create(volume / "archive", min_free_bytes=0) as archive:
        first = store(archive, b"first")
        taken = [volume / f"taken{number}" for number in range(40)]
        with pytest.raises(OSError, match="No space"):
            [path.touch() for path in taken]
        with pytest.raises(StorageUnavailableError, match="inodes"):
            store(archive, b"second")
        assert received_files(volume / "archive") == []
        assert rehash(archive, first.digest) == 5
        for path in taken:
            path.unlink(missing_ok=True)
        assert store(archive, b"second").new


def test_a_read_only_volume_refuses_but_still_serves_what_it_has(mount: Callable[..., Path]) -> None:
    volume = mount("size=4m,mode=0750")
    with LocalArchive.create(volume / "archive", min_free_bytes=0) as archive:
        kept = store(archive, b"kept")
        archive.journal.append("note", {})
    mount("size=4m,remount,ro")
    with LocalArchive.open(volume / "archive", min_free_bytes=0) as archive:
        with pytest.raises(StorageUnavailableError, match="read-only"):
            store(archive, b"more")
        with pytest.raises(StorageUnavailableError, match="read-only"):
            archive.journal.append("note", {})
        assert rehash(archive, kept.digest) == 4
        assert list(archive.journal.read()) == [("note", {})]
        mount("size=4m,remount,rw")
        assert store(archive, b"more").new


def test_an_unmounted_volume_refuses_and_nothing_is_written_below_it(mount: Callable[..., Path]) -> None:
    volume = mount("size=4m,mode=0750")
    archive = LocalArchive.create(volume, min_free_bytes=0)
    subprocess.run(["umount", "--lazy", str(volume)], check=True)
    with pytest.raises(StorageUnavailableError, match="unmounted"):
        begin(archive)
    archive.close()
    assert list(volume.iterdir()) == []


def test_a_file_larger_than_the_process_may_write_is_refused(tmp_path: Path) -> None:
    program = """
import resource, sys
from pathlib import Path
from dicom_node.archive.store import LocalArchive
from dicom_node.errors import StorageUnavailableError
from tests.archives import begin, received_files, store
with LocalArchive.create(Path(sys.argv[1]), min_free_bytes=0) as archive:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    with begin(archive) as incoming:
        try:
            incoming.write(bytes(60_000), bytes(60_000))
        except StorageUnavailableError as error:
            print(error)
    print(store(archive, bytes(50_000)).size)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "archive"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    refused, stored = ran.stdout.splitlines()
    assert "largest size allowed" in refused
    assert stored == "50000"
    assert len(files_under(tmp_path / "archive")) == 2


def test_running_out_of_open_files_refuses_and_leaves_nothing(archive: LocalArchive, tmp_path: Path) -> None:
    store(archive, b"first")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    taken: list[int] = []
    try:
        with pytest.raises(StorageUnavailableError, match="too many open files"):
            store_many(archive, 1000, taken)  # what was opened ahead still serves some
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for handle in taken:
            os.close(handle)
    assert store(archive, b"second").new
    assert received_files(tmp_path / "archive") == []


def store_many(archive: LocalArchive, count: int, taken: list[int]) -> None:
    for number in range(count):
        take_free_handles(taken)  # also what the archive's own thread has closed since
        store(archive, b"one of many: %d" % number)


def take_free_handles(taken: list[int]) -> None:
    """Take every file handle that the limit leaves."""
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.dup(0))


def store_in_pieces(archive: LocalArchive, size: int) -> None:
    with begin(archive) as incoming:
        for _ in range(size // (64 * 1024)):
            incoming.write(os.urandom(64 * 1024))
        archive.keep(incoming)


class Flushes:
    """The system's flushes of a file, a folder and a volume, which fail when told so, and are counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fail: Callable[[int], bool] = lambda fd: False
        self.calls = 0
        for module, name in ((os, "fsync"), (os, "fdatasync"), (linux, "sync_filesystem")):
            monkeypatch.setattr(module, name, partial(self._flush, getattr(module, name)))

    def _flush(self, call: Callable[[int], None], fd: int) -> None:
        self.calls += 1
        if self.fail(fd):
            raise OSError(errno.EIO, "Input/output error")
        call(fd)


@pytest.fixture
def flushes(monkeypatch: pytest.MonkeyPatch) -> Flushes:
    return Flushes(monkeypatch)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The archive's monotonic clock, standing still at the one value of this list."""
    now = [1000.0]
    monkeypatch.setattr(space, "monotonic", lambda: now[0])
    return now


def is_folder(fd: int) -> bool:
    return stat.S_ISDIR(os.fstat(fd).st_mode)


def is_file(fd: int) -> bool:
    return not is_folder(fd)


def test_a_failed_flush_is_never_tried_again_and_the_volume_is_refused_until_a_probe_passes(
    archive: LocalArchive, tmp_path: Path, flushes: Flushes, clock: list[float]
) -> None:
    store(archive, b"before")
    archive._spool._settle()
    waiting = begin(archive)
    waiting.write(b"waiting")
    failing = begin(archive)
    failing.write(b"after")
    archive._spool._settle()

    flushes.fail = is_file
    flushes.calls = 0
    with pytest.raises(StorageUnavailableError, match="flush"):
        archive.keep(failing)
    assert flushes.calls == 1
    flushes.fail = lambda fd: True
    clock[0] += 0.1
    with pytest.raises(StorageUnavailableError, match="not trusted"):
        begin(archive)
    probed = flushes.calls
    clock[0] += 0.5
    for _ in range(5):
        with pytest.raises(StorageUnavailableError, match="not trusted"):
            begin(archive)
    with pytest.raises(StorageUnavailableError, match="not trusted"):
        archive.keep(waiting)
    with pytest.raises(StorageUnavailableError, match="not trusted"):
        archive.journal.append("note", {})
    assert flushes.calls == probed

    flushes.fail = lambda fd: False
    with pytest.raises(StorageUnavailableError, match="not trusted"):
        begin(archive)
    clock[0] += 1
    store(archive, b"after")
    assert all(not verdict.damage for verdict in verify_all(archive))
    assert received_files(tmp_path / "archive") == []


def test_a_name_whose_flush_failed_is_made_anew_from_its_slot_at_the_next_start(
    archive: LocalArchive, tmp_path: Path, flushes: Flushes, clock: list[float]
) -> None:
    with LocalArchive.open(tmp_path / "archive", min_free_bytes=0) as other:
        store(other, b"before")
        wait_until(lambda: len(other._spool._ready) >= other._spool._wanted)
        flushes.fail = is_folder
        path = tmp_path / "archive" / object_name(store(other, b"after").digest)
        wait_until(lambda: other._volume.failures > 0)
        with pytest.raises(StorageUnavailableError, match="not trusted"):
            begin(other)
        flushes.fail = lambda fd: False
        clock[0] += 1
        again = store(other, b"after")
        later = tmp_path / "archive" / object_name(store(other, b"later").digest)
    assert not again.new
    assert path.stat().st_nlink == 2
    assert later.stat().st_nlink == 1
    path.unlink()  # the name was in memory only, and a power cut took it
    with LocalArchive.open(tmp_path / "archive", min_free_bytes=0) as other:
        assert rehash(other, again.digest) == len(b"after")
    assert path.stat().st_nlink == 1
    assert files_under(tmp_path / "archive" / "spool") == []


def test_nothing_is_acknowledged_when_another_association_s_flush_fails_meanwhile(
    archive: LocalArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fdatasync
    other = begin(archive)
    other.write(b"other")

    def flush_while_another_fails(fd: int) -> None:
        real(fd)
        monkeypatch.setattr(os, "fdatasync", refuse)
        with pytest.raises(StorageUnavailableError, match="flush"):
            archive.keep(other)

    def refuse(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", flush_while_another_fails)
    with pytest.raises(StorageUnavailableError, match="meanwhile"):
        store(archive, b"mine")
    assert list(archive.objects()) == []


def test_many_associations_on_a_volume_that_fails_now_and_then_lose_nothing_acknowledged(
    archive: LocalArchive, tmp_path: Path, flushes: Flushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "PROBE_INTERVAL", 0.0)
    flushes.fail = lambda fd: flushes.calls % 101 == 0

    def one(number: int) -> str:
        try:
            return store(archive, number.to_bytes(4, "little"), uid=f"2.25.{number + 1}").digest
        except StorageUnavailableError:
            return ""

    with ThreadPoolExecutor(8) as pool:
        acknowledged = {digest for digest in pool.map(one, range(400)) if digest}
    assert 0 < len(acknowledged) < 400
    verdicts = {verdict.digest: verdict.damage for verdict in verify_all(archive)}
    assert acknowledged <= set(verdicts)
    assert not any(verdicts.values())
    assert received_files(tmp_path / "archive") == []
