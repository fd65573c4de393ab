"""The directory of a file set, read back by pydicom and by DCMTK."""

import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.fileset import FileSet

from dicom_node.dicom.media_directory import Filed, build_directory
from tests.factories import make_mg, new_uid, write_file
from tests.unit.dicom.reading import facts_of


def built(folder: Path, *several: object) -> Path:
    """Write images and a directory of them, and return its path."""
    filed = []
    for number, ds in enumerate(several, start=1):
        write_file(folder / "IMAGES" / f"IM{number:06}", ds)  # type: ignore[arg-type]
        filed.append(Filed(("IMAGES", f"IM{number:06}"), facts_of(ds)))  # type: ignore[arg-type]
    path = folder / "DICOMDIR"
    path.write_bytes(build_directory(filed, new_uid(), "SBB"))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "IMAGES").mkdir()
    return tmp_path


def test_each_file_is_found_under_its_patient_study_and_series(folder: Path) -> None:
    study, series = new_uid(), new_uid()
    images = [
        make_mg(study_uid=study, series_uid=series, InstanceNumber=1),
        make_mg(study_uid=study, series_uid=series, InstanceNumber=2),
        make_mg(study_uid=study, SeriesNumber=2),
        make_mg(patient_id="SYNTH-0002", patient_name="Müller^Änne"),
    ]
    found = FileSet(dcmread(built(folder, *images)))
    told = [(each.PatientID, each.StudyInstanceUID, each.SeriesInstanceUID, each.SOPInstanceUID) for each in found]
    assert sorted(told) == sorted(
        (ds.PatientID, ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID) for ds in images
    )
    assert found.ID == "SBB"
    assert {Path(each.path).name for each in found} == {f"IM{number:06}" for number in range(1, 5)}
    found._stage["t"].cleanup()  # the library's own folder for changes
    records = dcmread(folder / "DICOMDIR").DirectoryRecordSequence
    assert [each.DirectoryRecordType for each in records] == [
        "PATIENT", "STUDY", "SERIES", "IMAGE", "IMAGE", "SERIES", "IMAGE", "PATIENT", "STUDY", "SERIES", "IMAGE",
    ]  # fmt: skip
    assert str(records[7].PatientName) == "Müller^Änne"


def test_what_a_record_must_have_and_the_header_lacks_is_made_up_in_the_record(folder: Path) -> None:
    ds = make_mg(day=None, PatientID="", StudyTime=None, StudyID="", SeriesNumber=None, InstanceNumber=None)
    patient, study, series, image = dcmread(built(folder, ds)).DirectoryRecordSequence
    assert (patient.PatientID, study.StudyDate, study.StudyTime, study.StudyID) == (
        "UNKNOWN", "19000101", "000000", "1",
    )  # fmt: skip
    assert (series.SeriesNumber, image.InstanceNumber) == (1, 1)
    assert dcmread(folder / "IMAGES" / "IM000001").PatientID == ""


def test_a_text_without_end_and_a_date_that_is_none_stay_legal(folder: Path) -> None:
    ds = make_mg(StudyDate="2026-13-45", StudyDescription="ä" * 400)
    _, study, *_ = dcmread(built(folder, ds)).DirectoryRecordSequence
    assert (study.StudyDate, study.StudyDescription) == ("19000101", "ä" * 64)


def test_an_empty_file_set_is_one(folder: Path) -> None:
    ds = dcmread(BytesIO(build_directory([], "2.25.1")))
    assert (ds.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity, len(ds.DirectoryRecordSequence)) == (0, 0)


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("dcmdump") is None, reason="DCMTK is not installed")
def test_dcmtk_reads_it(folder: Path) -> None:
    path = built(folder, make_mg(), make_mg(patient_name="Müller^Änne"))
    done = subprocess.run(["dcmdump", "+L", str(path)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.count("DirectoryRecordType") == 8
