"""The demonstration, run as its users run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dicom_node.cli import demo as command
from dicom_node.errors import DeliveryError


def run_demo(folder: Path, *options: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "dicom_node", "demo", *options],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def without_place(line: str) -> str:
    """Return a line of the output without the port and the folder, which differ each time."""
    return re.sub(r"port \d+|/\S*dicom-node-demo-\w+", "...", line)


def shown_in_readme() -> list[str]:
    """Return the output as the README shows it, without the marks of what it leaves out."""
    text = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    block = text.split("shortened where it says `[...]`:\n\n")[1].split("\n## ")[0]
    lines = [line.removeprefix("    ") for line in block.splitlines()]
    return [without_place(line) for line in lines if line and line != "[...]"]


@pytest.mark.timeout(240)
def test_the_demo_shows_what_its_node_stored_warned_of_and_answered(tmp_path: Path) -> None:
    told = run_demo(tmp_path, "--keep")
    [folder] = tmp_path.iterdir()
    mails = [line for line in told if re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d  MAIL", line)]
    expected = [
        "2026-02-02 06:00  MAIL  [ACR SBB] Demonstration Center: weekly summary, all is well",
        "2026-09-19 06:00  MAIL  [ACR SBB] Upright A, room 4: clinical exam stops counting in 60 days (2026-11-18)",
        "2026-10-19 06:00  MAIL  [ACR SBB] Upright A, room 4: clinical exam stops counting in 30 days (2026-11-18)",
        "2026-10-28 09:01  MAIL  [ACR SBB] Demonstration Center: 1 exam from ADDON_WS ",
        "2026-11-04 06:00  MAIL  [ACR SBB] Upright A, room 4: clinical exam stops counting in 14 days (2026-11-18)",
        "2026-11-06 09:01  MAIL  [ACR SBB] Demonstration Center: biopsy images of a device that is no registered unit",
        "2026-11-11 06:00  MAIL  [ACR SBB] Upright A, room 4: clinical exam stops counting in 7 days (2026-11-18)",
        "2026-11-12 09:01  MAIL  [ACR SBB] Upright A, room 4: resolved: clinical exam of 2026-11-12 received",
        "2026-11-21 06:00  MAIL  [ACR SBB] Upright B, room 5: clinical exam stops counting in 60 days (2027-01-20)",
    ]
    assert len(mails) == len(expected)
    for line, beginning in zip(mails, expected, strict=True):
        assert line.startswith(beginning)
    # One object a stored image, and a mail file for each mail that is told of and for each Monday.
    stored = [int(number) for line in told for number in re.findall(r"(\d) images of a \w+ stored", line)]
    assert sum(stored) == len(list(folder.glob("data/objects/*/*.dcm"))) == 84
    assert len(list(folder.glob("data/outbox/*.eml"))) == len(mails) - 1 + 43
    answers = [line.split() for line in told if line.startswith("  AcquisitionDate ")]
    assert [(each[1], each[-1]) for each in answers if "CLINICAL" in each] == [
        ("20260518", "20261118"),
        ("20261112", "20270512"),
    ]
    table = [line.split() for line in told if line.startswith(("prone1 ", "upright_", "           phantom "))]
    assert [row[:4] for row in table] == [
        ["prone1", "clinical", "ok", "2026-10-12"],
        ["phantom", "ok", "2026-11-02", "2027-05-02"],
        ["upright_a", "clinical", "ok", "2026-11-12"],
        ["phantom", "ok", "2026-11-03", "2027-05-03"],
        ["upright_b", "clinical", "nearing", "2026-07-20"],
        ["phantom", "ok", "2026-11-05", "2027-05-05"],
    ]
    left = iter([without_place(line) for line in told])
    for line in shown_in_readme():
        assert line in left, line  # looks on from where the line before was found


def test_the_folder_goes_also_when_the_story_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise DeliveryError("the node did not store an image")

    monkeypatch.setattr(command.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(command, "_play", fail)
    assert command.demo.callback is not None
    with pytest.raises(DeliveryError):
        command.demo.callback(keep=False)
    assert list(tmp_path.iterdir()) == []
