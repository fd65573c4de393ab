"""Evidence packages of exams that were stored: originals byte for byte, with everything that tells of them."""

import csv
import re
import shutil
import subprocess
from datetime import date
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from dicom_node.archive.store import object_name
from dicom_node.index import exams
from dicom_node.index.entries import EntryKind
from dicom_node.services.entries import Entries
from dicom_node.services.releases import Change
from tests.commands import Commands
from tests.factories import encode, make_sc
from tests.packages import (
    build,
    checklist,
    confirm,
    cycle,
    data_sets,
    exam_of,
    fill,
    flip,
    manifest,
    names_in,
    paths_in,
    record_release,
)
from tests.sites import START, opened_site, receive_all


@pytest.fixture
def filled(site: Path) -> dict[str, list[Dataset]]:
    """What a prone table sent, and a patient's other images."""
    return fill(site)


@pytest.fixture
def release(filled: dict[str, list[Dataset]], commands: Commands) -> str:
    """A testing package of the prone table."""
    return record_release(commands)


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
        assert {each["subject"] for each in clinical} == {exam_of(filled["case"][0])}
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
        assert "01-mammogram-L-CC.dcm lacks operator" in text
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
        assert (clinical["subject"], clinical["confirmed"]) == (exam_of(filled["case"][0]), False)
        assert checklist(out)["case"] == "look at it"
        assert checklist(out)["correlating mammogram, two views"] == "missing"
        assert "NOT CONFIRMED" in (out / "prone-table-room-2-checklist.txt").read_text()
        assert "The clinical case is not confirmed" in (out / "prone-table-room-2-statement.html").read_text()

    def test_a_person_chooses_another_exam(
        self, site: Path, filled: dict[str, list[Dataset]], release: str, commands: Commands, tmp_path: Path
    ) -> None:
        out, older = tmp_path / "package", exam_of(filled["older"][0])
        build(commands, release, out, "--exam", older)
        clinical, phantom_portion, _ = manifest(out)["units"][0]["portions"]
        assert clinical["subject"] == older
        assert any("The clinical exam of 2026-06-30" in each for each in clinical["arithmetic"]), "of the chosen one"
        assert phantom_portion["subject"] == exam_of(filled["phantom"][0])

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

    def test_only_exams_of_the_enrolment_that_the_release_is_for(
        self, site: Path, filled: dict[str, list[Dataset]], commands: Commands, tmp_path: Path
    ) -> None:
        site.write_text(site.read_text() + ENROLLED)
        out, exam = tmp_path / "package", exam_of(filled["case"][0])
        of_id = record_release(commands)
        called = commands("package", "build", "--release", of_id, "--out", str(out), "--exam", exam)
        assert (called.code, f"exam {exam} of 2026-09-14 cannot be submitted with {of_id}" in called.err) == (1, True)
        build(commands, of_id, out)
        (unit,) = manifest(out)["units"]
        assert (unit["facility"], unit["portions"][0]["subject"]) == ("Synthetic Annex", None)
        assert unit["portions"][1]["day"] == "2026-10-05"

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
        exam = exam_of(filled["case"][0])
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


ENROLLED = """
[facilities.annex]
name = "Synthetic Annex"
[[units.prone1.enrolled]]
to = 2026-09-30
[[units.prone1.enrolled]]
facility = "annex"
from = 2026-10-01
"""
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
