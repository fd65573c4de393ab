"""The benchmarks run and count what they should; what they measure is nobody's test."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


def run(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks", *arguments, "--rounds", "1", "--folder", str(folder)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("store --workload small --count 6 -a 2 --contender ours,floor,floor-early,receiver", ["ours", "floor", "6"]),
        ("find --studies 8 --contender ours", ["all studies: ours", "series of a study: ours"]),
        ("review --units 2", ["|   400 |"]),
    ],
    ids=["store", "find", "review"],
)
def test_a_part_of_the_benchmarks_runs_and_leaves_nothing(arguments: str, expected: list[str], tmp_path: Path) -> None:
    table = run(tmp_path, *arguments.split())

    for words in expected:
        assert words in table
    assert "do not count" not in table
    assert not list(tmp_path.iterdir())
