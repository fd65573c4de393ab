"""The benchmarks run and count what they should; what they measure is nobody's test."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmarks.__main__ import main
from benchmarks.senders import write_files
from benchmarks.stored import files_of
from benchmarks.workloads import WORKLOADS, make_batch

SENDERS = pytest.mark.skipif(shutil.which("dcmsend") is None, reason="DCMTK is not installed (Debian package dcmtk)")


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--rounds", "1", "--folder", str(folder)])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            "store --workload small --count 6 -a 1,2 --contender ours,floor,floor-early,receiver,discard",
            ["| 1       | ours ", "| 2       | discard ", "| C-STORE, ours / floor: small "],
        ),
        ("store --workload upright --count 1 -a 1 --contender ours,floor-early", ["ours / floor-early: upright "]),
        (
            "find --studies 8 --contender ours",
            ["all studies: ours", "series of a study: ours", "| C-FIND first answer"],
        ),
        ("review --units 2", ["|   400 |", "| review of 2 units with 400 exams, s "]),
        pytest.param(
            "senders --count 2 --contender ours,floor",
            ["storescu to ours", "dcmsend to floor"],
            marks=[pytest.mark.interop, SENDERS],
        ),
    ],
    ids=["store", "store-large", "find", "review", "senders"],
)
def test_a_part_of_the_benchmarks_runs_and_leaves_nothing(
    arguments: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "receiver" not in arguments:  # once as it is measured, else with one process, which starts sooner
        monkeypatch.setenv("DICOM_NODE_NODE__WORKERS", "1")
    done = run(tmp_path, *arguments.split())

    assert done.exit_code == 0, done.output
    for words in expected:
        assert words in done.output
    assert "do not count" not in done.output
    assert not list(tmp_path.iterdir())


def test_a_part_that_fails_is_told_and_fails_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOM_NODE_NODE__PORT", "none")
    done = run(tmp_path, "find", "--studies", "8", "--contender", "ours")

    assert done.exit_code == 1
    assert "find failed: ours does not listen" in done.output
    assert not list(tmp_path.iterdir())


def test_an_instance_with_a_changed_byte_or_a_missing_one_is_not_taken_to_be_stored(tmp_path: Path) -> None:
    batch = make_batch(WORKLOADS["small"], 3)
    files = write_files(batch, tmp_path / "files")
    assert sorted(map(str, files_of(batch, tmp_path))) == files

    changed = Path(files[1]).read_bytes()
    Path(files[1]).write_bytes(changed[:-1] + bytes([changed[-1] ^ 1]))
    with pytest.raises(RuntimeError, match="only 2 of 3 are in the store"):
        files_of(batch, tmp_path, patience=0)

    Path(files[1]).write_bytes(changed[:-1])
    with pytest.raises(RuntimeError, match="only 2 of 3 are in the store"):
        files_of(batch, tmp_path, patience=0)
