"""Evidence packages that were interrupted, read again, changed, and read by other programs."""

import re
import shutil
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from dicom_node.services.package_verify import verify_package
from tests.commands import Commands
from tests.packages import build, fill, flip, manifest, names_in, paths_in, record_release
from tests.sites import opened_site


@pytest.fixture
def filled(site: Path) -> dict[str, list[Dataset]]:
    """What a prone table sent, and a patient's other images."""
    return fill(site)


@pytest.fixture
def release(filled: dict[str, list[Dataset]], commands: Commands) -> str:
    """A testing package of the prone table."""
    return record_release(commands)


KILLED = """
import os, signal, sys
from dicom_node.cli.app import run
from dicom_node.services import package
left = [int(sys.argv[1])]
def dying(real):
    def call(*words):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*words)
    return call
package.copy_object = dying(package.copy_object)
package._take_name = dying(package._take_name)
run(sys.argv[2:])
"""


class TestInterrupted:
    @pytest.mark.parametrize("copies", [3, 7])
    def test_a_killed_build_leaves_nothing_that_looks_finished(
        self, site: Path, release: str, commands: Commands, tmp_path: Path, copies: int
    ) -> None:
        """In the middle of the copies, and when only the name is missing."""
        folder = tmp_path / "out"
        folder.mkdir()
        words = ["package", "build", "--release", release, "--out", str(folder / "p")]
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(copies), "--config", str(site), *words], capture_output=True, check=False
        )
        assert done.returncode == -signal.SIGKILL
        (left,) = names_in(folder)
        assert re.fullmatch(r"\.p\.[0-9a-f]{8}\.part", left)
        called = commands.good(*words)
        assert f"An interrupted build left {folder / left}; remove it when none runs." in called.lines
        assert names_in(folder) == [left, "p"], "nothing is removed that is not its own"
        assert verify_package(folder / "p").is_good

    def test_a_build_that_fails_takes_away_what_it_made(
        self, release: str, commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(28, "full")

        monkeypatch.setattr("dicom_node.services.package._take_name", fail)
        (tmp_path / "out").mkdir()
        called = commands("package", "build", "--release", release, "--out", str(tmp_path / "out" / "p"))
        assert (called.code, "cannot write the package: the volume is full" in called.err) == (75, True)
        assert names_in(tmp_path / "out") == []


class TestVerify:
    @pytest.fixture
    def out(self, release: str, commands: Commands, tmp_path: Path) -> Path:
        build(commands, release, tmp_path / "package", "--dicomdir")
        return tmp_path / "package"

    def test_a_package_is_as_it_was_made(self, out: Path, commands: Commands) -> None:
        called = commands.good("package", "verify", str(out))
        assert called.lines == [f"{len(paths_in(out))} files read; all is as it was made"]
        checked = commands.json("package", "verify", str(out))
        assert (checked["problems"], checked["compared_with_index"]) == ([], True)

    def test_a_flipped_byte_is_found_in_any_file_and_the_file_named(self, out: Path) -> None:
        for name in paths_in(out):
            whole = (out / name).read_bytes()
            for at in (0, len(whole) // 2, len(whole) - 1):
                flip(out / name, at)
                assert name in dict(verify_package(out).problems), f"{name} at {at}"
                (out / name).write_bytes(whole)
        assert verify_package(out).is_good

    def test_a_changed_sum_is_found_and_is_not_taken_for_a_changed_file(self, out: Path) -> None:
        """Each file has two that tell its sum, but the manifest, which tells the others'."""
        whole = (out / "SHA256SUMS").read_bytes()
        for number, line in enumerate(whole.splitlines()):
            changed = whole.splitlines(keepends=True)
            changed[number] = line[:7] + (b"0" if line[7:8] != b"0" else b"1") + line[8:] + b"\n"
            (out / "SHA256SUMS").write_bytes(b"".join(changed))
            ((path, words),) = verify_package(out).problems
            assert path == ("manifest.json" if line.endswith(b"  manifest.json") else "SHA256SUMS")
            assert path == "SHA256SUMS" or "one of the two was changed, it or SHA256SUMS" in words

    def test_what_is_missing_extra_or_no_file_is_found(self, out: Path, commands: Commands) -> None:
        first, second = [path for path in paths_in(out) if path.endswith(".dcm")][:2]
        (out / first).unlink()
        (out / second).unlink()
        (out / second).symlink_to("/dev/null")
        (out / "extra.txt").write_text("x")
        (out / "empty").mkdir()
        called = commands("package", "verify", str(out))
        assert called.code == 1
        assert called.lines == [
            "empty: the folder is empty and does not belong to the package",
            "extra.txt: it does not belong to the package",
            f"{first}: it is missing",
            f"{second}: it is no file of its own; it is missing",
            f"{len(paths_in(out)) - 2} files read; 4 problems",
        ]

    def test_another_content_than_the_index_has_is_found(
        self, out: Path, site: Path, filled: dict[str, list[Dataset]]
    ) -> None:
        with opened_site(site) as stores:
            told = verify_package(out, index=stores.index)
            assert told.is_good
            rewritten = (out / "manifest.json").read_text().replace(filled["case"][0].SOPInstanceUID, "2.25.9")
            (out / "manifest.json").write_text(rewritten)
            problems = dict(verify_package(out, index=stores.index).problems)
        assert problems["prone-table-room-2-clinical/01-scout-L.dcm"] == "the index does not know it"

    def test_a_manifest_that_was_changed_together_with_its_sum_is_found(self, out: Path, commands: Commands) -> None:
        before = (out / "manifest.json").read_bytes()
        after = before.replace(b"prone1", b"prone2")
        (out / "manifest.json").write_bytes(after)
        sums = (out / "SHA256SUMS").read_text()
        sums = sums.replace(sha256(before).hexdigest(), sha256(after).hexdigest())
        (out / "SHA256SUMS").write_text(sums)
        called = commands("package", "verify", str(out))
        assert called.code == 1
        assert "SHA256SUMS: the audit trail tells of no package with these sums" in called.lines

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "{}",
            '{"format": "another"}',
            '{"format": "dicom-node package 1", "files": [{"path": ["a"], "sha256": "b"}], "documents": []}',
            '{"format": "dicom-node package 1", "files": [], "documents": {}}',
            "[" * 100_000,
        ],
    )
    def test_a_manifest_that_is_none_is_told_in_words(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "manifest.json").write_text(text)
        (tmp_path / "SHA256SUMS").write_text(f"{sha256(text.encode()).hexdigest()}  manifest.json\n")
        assert verify_package(tmp_path).problems == (("manifest.json", "it cannot be read as a manifest"),)

    def test_every_line_of_the_sums_that_the_node_does_not_write_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "SHA256SUMS").write_text("one\ntwo\n")
        told = dict(verify_package(tmp_path).problems)["SHA256SUMS"]
        assert told == "line 1 is none that the node writes; line 2 is none that the node writes"

    def test_a_package_is_held_against_itself_where_there_is_no_node(
        self, out: Path, site: Path, commands: Commands
    ) -> None:
        (site.parent / "data").rename(site.parent / "elsewhere")
        called = commands.good("package", "verify", str(out))
        assert called.lines[-1].startswith("Not compared with the node: ")

    def test_a_folder_that_is_no_package_is_told(self, commands: Commands, tmp_path: Path) -> None:
        called = commands("package", "verify", str(tmp_path))
        assert (called.code, "is no package: it has no SHA256SUMS" in called.err) == (1, True)

    def test_sha256sum_takes_the_sums_as_well(self, out: Path) -> None:
        done = subprocess.run(
            ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=out, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout.splitlines()) == len(paths_in(out)) - 1

    @pytest.mark.interop
    @pytest.mark.skipif(shutil.which("dcmdump") is None, reason="DCMTK is not installed")
    def test_dcmtk_reads_the_file_set(self, out: Path, filled: dict[str, list[Dataset]]) -> None:
        """Each file that the directory references is there, and is the instance that it is said to be."""
        listed = dump(out / "file-set" / "DICOMDIR")
        names = re.findall(r"\(0004,1500\) CS \[(.*?)\]", listed)
        uids = re.findall(r"\(0004,1511\) UI \[(.*?)\]", listed)
        assert len(names) == len(uids) == len(manifest(out)["files"]) > 0
        for name, uid in zip(names, uids, strict=True):
            path = out.joinpath("file-set", *name.split("\\"))
            assert f"(0008,0018) UI [{uid}]" in dump(path)
        images = {ds.SOPInstanceUID for ds in (*filled["case"], filled["phantom"][0])}
        assert set(uids) == images


def dump(path: Path) -> str:
    """Return what DCMTK's dcmdump writes of a file; it must find nothing wrong."""
    done = subprocess.run(["dcmdump", "+L", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
