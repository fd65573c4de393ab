"""Evidence packages of exams that were stored: originals byte for byte, with everything that tells of them."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from dicom_node.accreditation.standing import ReleaseState
from dicom_node.archive.store import object_name
from dicom_node.index import exams, releases
from dicom_node.index.entries import EntryKind
from dicom_node.index.releases import ReleaseVersion
from dicom_node.services.decisions import Verdict
from dicom_node.services.entries import Entries
from dicom_node.services.package_verify import verify_package
from dicom_node.services.releases import Change
from tests.commands import Commands
from tests.factories import encode, make_kos, make_mg, make_rdsr, make_sc, new_uid
from tests.sites import START, opened_site, receive_all

PRONE: dict[str, Any] = {"serial": "PT-4471", "station": "PRONE", "OperatorsName": "TECH^ONE"}
BIOPSY_DAY = date(2026, 9, 14)
STAGES = ("STEREO_SCOUT", "STEREO_MINUS", "STEREO_PLUS", "PREFIRE_MINUS", "PREFIRE_PLUS", "POSTFIRE_MINUS")


def biopsy(day: date = BIOPSY_DAY, **options: Any) -> list[Dataset]:
    """Return the images of a biopsy on the prone table."""
    study, series = new_uid(), new_uid()
    return [
        make_mg(stage=stage, study_uid=study, series_uid=series, day=day, InstanceNumber=number, **(PRONE | options))
        for number, stage in enumerate(STAGES, start=1)
    ]


def phantom(day: date) -> Dataset:
    """Return an image of the accreditation phantom on the prone table."""
    return make_mg(phantom="113685", day=day, patient_id="ACRPHANTOM1", patient_name="PHANTOM", **PRONE)


@pytest.fixture
def filled(site: Path) -> dict[str, list[Dataset]]:
    """A prone table with a biopsy and what came with it, an older biopsy, phantoms; and the patient's mammograms."""
    case = biopsy()
    same = {"study_uid": case[0].StudyInstanceUID, "day": BIOPSY_DAY}
    blurred = make_mg(stage="PREFIRE_MINUS", InstanceNumber=9, **same, **PRONE)
    raw = make_mg(stage="STEREO_PLUS", InstanceNumber=9, PresentationIntentType="FOR PROCESSING", **same, **PRONE)
    told = {
        "case": case,
        "beside": [
            make_rdsr(serial="PT-4471", observer_serial="PT-4471", protocol="stereo biopsy", **same),
            blurred,
            raw,
            make_kos([blurred], serial="PT-4471", station="PRONE", study_uid=case[0].StudyInstanceUID, day=BIOPSY_DAY),
        ],
        "specimen": [make_mg(study_uid="2.25.78", day=BIOPSY_DAY, serial="SP-1", station="CABINET",
                             ViewCodeSequence=None, SeriesDescription="Specimen", OperatorsName="TECH^ONE")],
        "older": biopsy(date(2026, 6, 30), patient_id="SYNTH-0002"),
        "phantom": [phantom(date(2026, 10, 5)), phantom(date(2026, 8, 5))],
        "mammograms": [
            make_mg(study_uid="2.25.77", day=date(2026, 9, 1), serial="MG-1", station="MAMMO", ViewPosition=view,
                    ViewCodeSequence=None, BurnedInAnnotation=burned, InstanceNumber=number)
            for number, (view, burned) in enumerate((("MLO", "YES"), ("CC", None)), start=1)
        ],
    }  # fmt: skip
    with opened_site(site) as stores:
        receive_all(stores, *((ds, "PRONE_RM2") for several in told.values() for ds in several))
    return told


@pytest.fixture
def release(filled: dict[str, list[Dataset]], commands: Commands) -> str:
    """A testing package of the prone table, released on 2026-11-20 and due on 2027-01-04."""
    words = ("record", "prone1", "--date", "2026-11-20", "--due", "2027-01-04")
    return commands.good("release", *words).out.split(":")[0]


def exam_of(site: Path, ds: Dataset) -> str:
    """Return the id of the exam of an object."""
    return exams.exam_id(ds.StudyInstanceUID, "prone1")


def confirm(site: Path, ds: Dataset) -> None:
    """Confirm the case of an image, with the patient's mammograms and specimen."""
    with opened_site(site) as stores:
        stores.cases().confirm(
            exam_of(site, ds),
            Verdict(by="dr jones", at=START, reason="calcifications"),
            mammograms=["2.25.77"],
            specimens=["2.25.78"],
        )


def build(commands: Commands, release: str, out: Path, *words: str) -> list[str]:
    """Build a package and return the paths in it."""
    commands.good("package", "build", "--release", release, "--out", str(out), *words)
    return paths_in(out)


def paths_in(folder: Path) -> list[str]:
    """Return the paths of all files of a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder."""
    return sorted(path.name for path in folder.iterdir())


def manifest(out: Path) -> Any:
    """Return the manifest of a package."""
    return json.loads((out / "manifest.json").read_text("utf-8"))


def cycle(site: Path) -> None:
    """Give the prone table, and a host with a biopsy, packages of one cycle."""
    with opened_site(site) as stores:
        receive_all(stores, (make_mg(stage="STEREO_SCOUT", serial="UA-1002", day=BIOPSY_DAY), "UPRIGHT_A"))
        with stores.index.write() as conn:
            for unit in ("prone1", "upright_a"):
                package = ReleaseVersion(
                    id=f"r-{unit}",
                    version=1,
                    unit_id=unit,
                    released_on=date(2026, 11, 20),
                    due_on=None,
                    state=ReleaseState.RECORDED,
                    cycle_id="c77",
                    changed_by="lead",
                    changed_at=START,
                )
                releases.insert(conn, package)


def checklist(out: Path, portion: int = 0) -> dict[str, str]:
    """Return the marks of a portion's list."""
    return {each["what"]: each["mark"] for each in manifest(out)["units"][0]["portions"][portion]["checklist"]}


def data_sets(several: list[Dataset]) -> set[bytes]:
    return {encode(ds) for ds in several}


class TestBuild:
    def test_the_confirmed_case_with_its_mammogram_and_specimen_and_the_newest_phantom(
        self, site: Path, filled: dict[str, list[Dataset]], release: str, commands: Commands, tmp_path: Path
    ) -> None:
        confirm(site, filled["case"][0])
        out = tmp_path / "package"
        assert build(commands, release, out) == [
            "SHA256SUMS",
            "manifest.csv",
            "manifest.json",
            "prone-table-room-2-checklist.txt",
            "prone-table-room-2-clinical/01-mammogram-L-CC.dcm",
            "prone-table-room-2-clinical/02-mammogram-L-MLO.dcm",
            "prone-table-room-2-clinical/03-scout-L.dcm",
            "prone-table-room-2-clinical/04-stereo-minus-L.dcm",
            "prone-table-room-2-clinical/05-stereo-plus-L.dcm",
            "prone-table-room-2-clinical/06-prefire-minus-L.dcm",
            "prone-table-room-2-clinical/07-prefire-plus-L.dcm",
            "prone-table-room-2-clinical/08-postfire-minus-L.dcm",
            "prone-table-room-2-clinical/09-specimen-L.dcm",
            "prone-table-room-2-phantom/01-phantom-L.dcm",
            "prone-table-room-2-statement.html",
        ]
        told = manifest(out)
        by_linked = {name: [each for each in told["files"] if each["linked_as"] == name] for name in
                     ("", "mammogram", "specimen")}  # fmt: skip
        clinical = by_linked[""][:-1]
        stored = {name: {(out / each["path"]).read_bytes() for each in several} for name, several in by_linked.items()}
        assert {each["confirmed_by"] for each in clinical} == {"dr jones"}
        assert {each["day"] for each in by_linked["mammogram"]} == {"2026-09-01"}
        assert {each["day_source"] for each in clinical} == {"AcquisitionDate"}
        assert {each["subject"] for each in clinical} == {exam_of(site, filled["case"][0])}
        for name, several in (("mammogram", filled["mammograms"]), ("specimen", filled["specimen"])):
            assert {dcmread(out / each["path"]).SOPInstanceUID for each in by_linked[name]} == {
                ds.SOPInstanceUID for ds in several
            }
        wanted = data_sets([*filled["case"], *filled["mammograms"], *filled["specimen"], filled["phantom"][0]])
        found = {data[data.index(b"DICM") :] for several in stored.values() for data in several}
        assert len(found) == len(wanted)
        assert all(any(data.endswith(each) for data in found) for each in wanted), "as they were received"
        clinical_unit = told["units"][0]["portions"][0]
        assert sorted(each["why"] for each in clinical_unit["left_out"]) == [
            "a key object rejects it",
            "for processing; there is one for presentation",
            "no acquired image (control)",
            "no acquired image (evidence)",
        ]
        assert checklist(out) == {
            "case": "there",
            "calcifications": "there",
            "correlating mammogram, two views": "there",
            "pre-fire or post-fire stereotactic pair": "there",
            "radiograph of the specimen": "there",
            "identification": "look at it",
            "text in the pixels": "look at it",
            "clinical image data form": "by hand",
        }
        text = " ".join((out / "prone-table-room-2-checklist.txt").read_text().split())
        assert "01-mammogram-L-CC.dcm: operator" in text
        assert "burned in by the device's own word: 02-mammogram-L-MLO.dcm" in text
        assert "whether there is any: 01-mammogram-L-CC.dcm" in text

    def test_the_files_are_those_of_the_archive_byte_for_byte(
        self, site: Path, release: str, commands: Commands, tmp_path: Path
    ) -> None:
        out = tmp_path / "package"
        build(commands, release, out, "--dicomdir")
        files = manifest(out)["files"]
        for each in files:
            original = site.parent / "data" / object_name(each["data_set_sha256"])
            assert (out / each["path"]).read_bytes() == original.read_bytes()
            assert each["size"] == original.stat().st_size
        copies = {path.read_bytes() for path in (out / "file-set" / "IMAGES").iterdir()}
        assert copies == {(out / each["path"]).read_bytes() for each in files}
        with (out / "manifest.csv").open(newline="") as table:
            rows = list(csv.DictReader(table))
        assert [(row["path"], row["sha256"]) for row in rows] == [(each["path"], each["sha256"]) for each in files]

    def test_nobody_else_may_read_it(self, release: str, commands: Commands, tmp_path: Path) -> None:
        out = tmp_path / "package"
        build(commands, release, out, "--dicomdir")
        modes = {(path.is_dir(), path.stat().st_mode & 0o777) for path in (out, *out.rglob("*"))}
        assert modes == {(True, 0o700), (False, 0o600)}

    def test_without_a_confirmed_case_the_best_candidate_is_taken_and_marked(
        self, site: Path, filled: dict[str, list[Dataset]], release: str, commands: Commands, tmp_path: Path
    ) -> None:
        out = tmp_path / "package"
        build(commands, release, out)
        clinical = manifest(out)["units"][0]["portions"][0]
        assert (clinical["subject"], clinical["confirmed"]) == (exam_of(site, filled["case"][0]), False)
        assert checklist(out)["case"] == "look at it"
        assert checklist(out)["correlating mammogram, two views"] == "missing"
        assert "NOT CONFIRMED" in (out / "prone-table-room-2-checklist.txt").read_text()
        assert "The clinical case is not confirmed" in (out / "prone-table-room-2-statement.html").read_text()

    def test_a_person_chooses_another_exam(
        self, site: Path, filled: dict[str, list[Dataset]], release: str, commands: Commands, tmp_path: Path
    ) -> None:
        out, older = tmp_path / "package", exam_of(site, filled["older"][0])
        build(commands, release, out, "--exam", older)
        clinical, phantom_portion, _ = manifest(out)["units"][0]["portions"]
        assert clinical["subject"] == older
        assert any("The clinical exam of 2026-06-30" in each for each in clinical["arithmetic"]), "of the chosen one"
        assert phantom_portion["subject"] == exam_of(site, filled["phantom"][0])

    def test_what_there_is_nothing_of_has_no_folder_and_says_so(
        self, filled: dict[str, list[Dataset]], commands: Commands, tmp_path: Path
    ) -> None:
        words = ("record", "prone1", "--date", "2026-03-20", "--due", "2026-05-01")
        of_id = commands.good("release", *words).out.split(":")[0]
        out = tmp_path / "package"
        assert not [path for path in build(commands, of_id, out) if path.endswith(".dcm")]
        assert checklist(out) == {"case": "missing"}
        assert checklist(out, 1) == {"phantom exam": "missing"}
        assert "no clinical exam that counts lies inside 2025-09-20 to 2026-05-01" in (
            " ".join((out / "prone-table-room-2-checklist.txt").read_text().split())
        )

    def test_the_physicists_report_as_it_came_with_the_spans_of_the_logs(
        self, site: Path, release: str, commands: Commands, tmp_path: Path
    ) -> None:
        change = Change(by="physicist", at=START, today=START.date())
        report = make_sc(day=date(2026, 3, 2), serial="PT-4471")
        report.SOPClassUID, report.MIMETypeOfEncapsulatedDocument = EncapsulatedPDFStorage, "application/pdf"
        report.EncapsulatedDocument = b"%PDF-1.7 a synthetic report "
        with opened_site(site) as stores:
            receive_all(stores, (report, "PRONE_RM2"))
            surveys = Entries(EntryKind.SURVEY, archive=stores.archive, index=stores.index)
            surveys.add({"day": "2025-11-30"}, unit_id="prone1", change=change)
            newest = surveys.add(
                {"day": "2026-03-02", "source": report.SOPInstanceUID}, unit_id="prone1", change=change
            )
            logs = Entries(EntryKind.QC_LOG, archive=stores.archive, index=stores.index)
            days = {"first": "2026-10-01", "last": "2026-11-20"}
            logs.add({"kind": "daily", **days}, unit_id="prone1", change=change)
        out = tmp_path / "package"
        build(commands, release, out, "--dicomdir")
        told = manifest(out)["units"][0]["portions"][2]
        assert (told["subject"], told["day"], told["confirmed_by"]) == (newest.id, "2026-03-02", "physicist")
        (path,) = (out / "prone-table-room-2-physicist-report").iterdir()
        assert path.name == "01-physicist-report.dcm"
        assert path.read_bytes().endswith(encode(report))
        assert checklist(out, 2) == {
            "survey": "there",
            "physicist's report": "there",
            "daily quality control logs": "by hand",
            "weekly quality control logs": "missing",
            "other quality control logs": "missing",
            "medical physicist's summary form": "by hand",
        }
        (record,) = [
            each
            for each in dcmread(out / "file-set" / "DICOMDIR").DirectoryRecordSequence
            if each.DirectoryRecordType == "ENCAP DOC"
        ]
        assert record.ReferencedSOPInstanceUIDInFile == report.SOPInstanceUID

    def test_of_a_cycle_all_units_or_one(
        self, site: Path, filled: dict[str, list[Dataset]], commands: Commands, tmp_path: Path
    ) -> None:
        cycle(site)
        assert [each for each in build(commands, "c77", tmp_path / "all") if each.endswith("checklist.txt")] == [
            "prone-table-room-2-checklist.txt",
            "upright-a-room-4-checklist.txt",
        ]
        (unit,) = commands.json(
            "package", "build", "--release", "c77", "--unit", "upright_a", "--out", str(tmp_path / "one")
        )["units"]
        assert (unit["unit"], unit["release"]["cycle"]) == ("upright_a", "c77")

    def test_a_damaged_original_stops_its_own_unit_alone(
        self, site: Path, filled: dict[str, list[Dataset]], commands: Commands, tmp_path: Path
    ) -> None:
        cycle(site)
        with opened_site(site) as stores, stores.index.read() as conn:
            digest = exams.instances_of(conn, filled["phantom"][0].StudyInstanceUID, "prone1")[0].digest
        path = site.parent / "data" / object_name(digest)
        flip(path, path.stat().st_size - 1)
        out = tmp_path / "package"
        called = commands("package", "build", "--release", "c77", "--out", str(out), "--dicomdir")
        assert (called.code, called.err) == (1, "")
        assert f"  stopped: object {digest} has other bytes than its name promises" in called.lines
        assert [each for each in paths_in(out) if each.endswith(".dcm")] == ["upright-a-room-4-clinical/01-scout-L.dcm"]
        assert f"STOPPED: object {digest}" in " ".join((out / "prone-table-room-2-checklist.txt").read_text().split())
        assert "Stopped: object" in (out / "prone-table-room-2-statement.html").read_text()
        assert commands.good("package", "verify", str(out))

    def test_the_trail_tells_of_the_export(self, release: str, commands: Commands, tmp_path: Path) -> None:
        built = commands.json("package", "build", "--release", release, "--out", str(tmp_path / "p"), "--by", "lead")
        (line,) = commands.json("audit", "list", "--kind", "package.built")
        assert (line["by"], line["releases"], line["units"]) == ("lead", [release], ["prone1"])
        assert line["seal"] == built["seal"] == commands.json("package", "verify", str(tmp_path / "p"))["seal"]
        assert sum(number for classes in line["studies"].values() for number in classes.values()) == len(built["files"])

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (("--release", "r000000"), "there is no testing package or cycle 'r000000'; there are r"),
            (("--unit", "upright_a"), "is of prone1, not of 'upright_a'"),
            (("--exam", "nowhere"), "there is no exam 'nowhere'"),
        ],
    )
    def test_what_cannot_be_is_told_in_a_sentence(
        self, release: str, commands: Commands, tmp_path: Path, words: tuple[str, ...], told: str
    ) -> None:
        arguments = ["--release", release] if words[0] != "--release" else []
        called = commands("package", "build", *arguments, *words, "--out", str(tmp_path / "p"))
        assert (called.code, called.err.startswith("error: ")) == (1, True)
        assert told in called.err
        assert not (tmp_path / "p").exists()

    def test_an_exam_outside_of_the_window_is_refused(
        self, site: Path, filled: dict[str, list[Dataset]], commands: Commands, tmp_path: Path
    ) -> None:
        words = ("record", "prone1", "--date", "2026-03-20", "--due", "2026-05-01")
        of_id = commands.good("release", *words).out.split(":")[0]
        exam = exam_of(site, filled["case"][0])
        called = commands("package", "build", "--release", of_id, "--out", str(tmp_path / "p"), "--exam", exam)
        assert called.code == 1
        assert f"exam {exam} of 2026-09-14 cannot be submitted with {of_id}: the clinical window" in called.err

    def test_no_package_over_anything_nor_inside_the_archive(
        self, site: Path, release: str, commands: Commands, tmp_path: Path
    ) -> None:
        (tmp_path / "p").mkdir()
        called = commands("package", "build", "--release", release, "--out", str(tmp_path / "p"))
        assert (called.code, "is there already" in called.err) == (1, True)
        called = commands("package", "build", "--release", release, "--out", str(site.parent / "data" / "p"))
        assert (called.code, "outside of the archive's folder" in called.err) == (1, True)
        called = commands("package", "build", "--release", release, "--out", str(tmp_path / "no" / "p"))
        assert (called.code, "there is no folder" in called.err) == (1, True)

    @pytest.mark.parametrize("harm", ["flipped", "gone"])
    def test_a_damaged_original_stops_its_unit_and_leaves_no_folder(
        self, site: Path, filled: dict[str, list[Dataset]], release: str, commands: Commands, tmp_path: Path, harm: str
    ) -> None:
        with opened_site(site) as stores, stores.index.read() as conn:
            digest = exams.instances_of(conn, filled["phantom"][0].StudyInstanceUID, "prone1")[0].digest
        path = site.parent / "data" / object_name(digest)
        if harm == "gone":
            path.unlink()
        else:
            flip(path, path.stat().st_size - 1)
        called = commands("package", "build", "--release", release, "--out", str(tmp_path / "p"))
        assert (called.code, digest in called.err, "verify --all" in called.err) == (1, True, True)
        assert [each for each in names_in(tmp_path) if each.startswith((".p", "p"))] == []


def flip(path: Path, at: int) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0x01
    path.chmod(0o600)
    path.write_bytes(data)


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


OVERRIDE = """
[[accreditation.overrides]]
policy = "acr-sbb-2023-03-03"
from = 2026-12-01
to = 2027-06-30
months = { clinical = 12, phantom = 14 }
article = "Letter to this facility about the windows of the coming year"
revision = 2026-10-01
address = "file in the physics office, second drawer"
note = "For one renewal."
"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_the_statement_is_one_printed_page(
    site: Path, filled: dict[str, list[Dataset]], commands: Commands, tmp_path: Path
) -> None:
    """Also where there is the most to say: a planned release, an override, nothing confirmed."""
    site.write_text(site.read_text() + OVERRIDE)
    commands.good("policies", "accept", "--reason", "the letter", "--yes")
    planned = commands.good("release", "record", "prone1", "--date", "2026-12-31", "--planned").out.split(":")[0]
    out = tmp_path / "package"
    build(commands, planned, out)
    statement = out / "prone-table-room-2-statement.html"
    text = statement.read_text()
    assert "planned for <strong>2026-12-31</strong>" in text
    assert "with a window from 2025-12-31 to 2027-12-31" in text
    assert text.count("Letter to this facility") == 3, "each portion has another window"
    assert "<script" not in text
    assert re.findall(r"(?:src|href)=", text) == [], "nothing from anywhere else"
    page = tmp_path / "statement.pdf"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", f"--print-to-pdf={page}"]
    options.append(f"--user-data-dir={tmp_path / 'browser'}")
    subprocess.run(["chromium", *options, statement.as_uri()], capture_output=True, check=True, timeout=60)
    assert len(re.findall(rb"/Type\s*/Page\b", page.read_bytes())) == 1
