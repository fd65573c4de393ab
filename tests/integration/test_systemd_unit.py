"""The service's unit file, as systemd's own tools judge it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "systemd"
UNIT = FOLDER / "dicom-node.service"

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
needs_sysusers = pytest.mark.skipif(
    shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed"
)


@needs_systemd
def test_the_service_is_exposed_little() -> None:
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", UNIT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr


@needs_systemd
def test_systemd_knows_every_line_of_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/dicom-node/bin/dicom-node", sys.executable))
    verified = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    about_ours = [line for line in verified.stderr.splitlines() if "dicom-node" in line]
    assert (verified.returncode, about_ours) == (0, [])


@needs_sysusers
def test_the_service_s_user_has_no_shell(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", FOLDER / "dicom-node.sysusers"], capture_output=True, check=True
    )
    user = (tmp_path / "etc" / "passwd").read_text().split(":")
    assert (user[0], user[5], user[6].strip()) == ("dicom-node", "/var/lib/dicom-node", "/usr/sbin/nologin")
