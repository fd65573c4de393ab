"""The newest release of pynetdicom, installed beside the one in use, is as the receiver needs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).parents[2]

_ASK = "import pynetdicom, sys; from dicom_node.dimse import seams; seams.check(); print(pynetdicom.__file__)"


def test_the_newest_release_is_as_the_receiver_needs_it(tmp_path: Path) -> None:
    folder = tmp_path / "newest"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    installed = subprocess.run(
        [*install, "--retries", "0", "--timeout", "10", "--target", str(folder), "pynetdicom<4"],
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode:
        pytest.skip(f"no package index can be reached: {installed.stderr.strip()[-200:]}")
    asked = subprocess.run(
        [sys.executable, "-c", _ASK],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(_CHECKOUT)])},
    )
    assert asked.returncode == 0, asked.stderr
    assert Path(asked.stdout.strip()).is_relative_to(folder)
