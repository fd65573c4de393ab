"""Who may work with an archive at once; the locks are real, and those of another process are of a real one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.archive import claims
from dicom_node.archive.store import LocalArchive
from dicom_node.errors import NotPermittedError, StorageUnavailableError


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse at once what would be refused in the end."""
    monkeypatch.setattr(claims, "PATIENCE", 0.0)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[LocalArchive]:
    """An empty archive."""
    with LocalArchive.create(tmp_path / "archive", min_free_bytes=0) as made:
        yield made


@pytest.fixture
def other(archive: LocalArchive, tmp_path: Path) -> Iterator[LocalArchive]:
    """The same archive as another process has it."""
    with LocalArchive.open(tmp_path / "archive", min_free_bytes=0) as opened:
        yield opened


def test_many_use_an_archive_together(archive: LocalArchive, other: LocalArchive) -> None:
    archive.claims.use()
    other.claims.use()


def test_nobody_uses_it_beside_a_rebuild(archive: LocalArchive, other: LocalArchive) -> None:
    archive.claims.use(alone=True)
    with pytest.raises(StorageUnavailableError, match="being made anew"):
        other.claims.use()
    archive.claims.release()
    other.claims.use()


def test_a_rebuild_waits_for_nobody_who_stays(archive: LocalArchive, other: LocalArchive) -> None:
    other.claims.use()
    with pytest.raises(StorageUnavailableError, match="stop the node first"):
        archive.claims.use(alone=True)
    other.claims.release()
    archive.claims.use(alone=True)


def test_an_archive_has_one_node(archive: LocalArchive, other: LocalArchive) -> None:
    archive.claims.run_node()
    with pytest.raises(StorageUnavailableError, match="a node is running"):
        other.claims.run_node()


def test_others_see_what_a_node_tells_of_itself_while_it_runs(archive: LocalArchive, other: LocalArchive) -> None:
    assert other.claims.node() is None
    archive.claims.run_node()
    assert other.claims.node() == {}
    archive.claims.tell({"listening": True, "port": 104, "since": "a long text that the next one does not leave"})
    archive.claims.tell({"listening": False})
    assert other.claims.node() == archive.claims.node() == {"listening": False}
    archive.claims.release()
    assert other.claims.node() is None


def test_a_node_that_was_killed_holds_nothing(archive: LocalArchive, tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom dicom_node.archive.store import LocalArchive\n"
        "archive = LocalArchive.open(Path(sys.argv[1]), min_free_bytes=0)\narchive.claims.use(alone=True)\n"
        "archive.claims.run_node()\nprint('claimed', flush=True)\ntime.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "archive")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        with pytest.raises(StorageUnavailableError):
            archive.claims.run_node()
        process.kill()
        process.wait()
        archive.claims.run_node()
        archive.claims.use(alone=True)


def test_closing_the_archive_gives_everything_back(tmp_path: Path, archive: LocalArchive) -> None:
    archive.claims.use()
    with LocalArchive.open(tmp_path / "archive", min_free_bytes=0) as other:
        other.claims.use()
        other.claims.run_node()
    archive.claims.run_node()
    archive.claims.release()
    archive.claims.use(alone=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take the archive of another user")
def test_root_is_told_to_be_the_owner(tmp_path: Path, archive: LocalArchive) -> None:
    os.chown(tmp_path / "archive" / ".dicom-node-archive", 65534, -1)
    with pytest.raises(NotPermittedError, match="run this as that user: sudo -u "):
        LocalArchive.open(tmp_path / "archive", min_free_bytes=0)
