"""SIGKILL before and after every system call of the archive: nothing acknowledged is lost, nothing partial is seen."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dicom_node.archive.store import LocalArchive
from dicom_node.archive.verify import verify_all
from dicom_node.errors import StorageUnavailableError
from tests.archives import store
from tests.faults.archive_kills import DATA

pytestmark = pytest.mark.faults


def opened_again(root: Path) -> LocalArchive:
    """Open the archive as the next start does: made anew where making it was cut short."""
    try:
        return LocalArchive.open(root, min_free_bytes=0)
    except StorageUnavailableError:
        return LocalArchive.create(root, min_free_bytes=0)


def test_a_kill_at_any_system_call_loses_nothing_acknowledged_and_shows_nothing_partial(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.faults.archive_kills", tmp_path],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    runs = [json.loads(line) for line in (tmp_path / "runs").read_text().splitlines()]
    *killed, finished = runs
    assert finished["exit_code"] == 0, ran.stderr
    steps = {"open", "mkdir", "write", "pwritev", "fsync", "fdatasync", "sync_filesystem", "link", "replace", "unlink"}
    assert steps <= {run["call"] for run in killed}
    for run in runs:
        told = run["acknowledged"]
        lines = told.count("journal")
        promised = set(told[told.index("forget") + 1 :] if "forget" in told else told) - {"journal"}
        damaged_from_outside = "forget" in told and not promised
        with opened_again(Path(run["root"])) as archive:
            found = {verdict.digest: verdict.damage for verdict in verify_all(archive)}
            whole = {digest for digest, damage in found.items() if not damage}
            assert whole >= promised, run
            assert whole == set(found) or damaged_from_outside, run
            assert len(list(archive.journal.read())) in {lines, lines + 1}, run
            spool = [path.name for path in (Path(run["root"]) / "spool").iterdir()]
            assert set(spool) <= {"lock"}, run
            store(archive, DATA)
            archive.journal.append("note", {})
            assert all(not verdict.damage for verdict in verify_all(archive)), run
