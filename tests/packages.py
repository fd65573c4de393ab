"""Evidence packages for tests: a prone table with what a submission needs, and short ways to look at a package."""

import json
from datetime import date
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from dicom_node.accreditation.standing import ReleaseState
from dicom_node.index import exams, releases
from dicom_node.index.releases import ReleaseVersion
from dicom_node.services.decisions import Verdict
from tests.commands import Commands
from tests.factories import encode, make_kos, make_mg, make_rdsr, new_uid
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


def fill(site: Path) -> dict[str, list[Dataset]]:
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


def record_release(commands: Commands) -> str:
    """Record a testing package of the prone table, released on 2026-11-20 and due on 2027-01-04; return its id."""
    words = ("record", "prone1", "--date", "2026-11-20", "--due", "2027-01-04")
    return commands.good("release", *words).out.split(":")[0]


def exam_of(ds: Dataset) -> str:
    """Return the id of the exam of an object."""
    return exams.exam_id(ds.StudyInstanceUID, "prone1")


def confirm(site: Path, ds: Dataset) -> None:
    """Confirm the case of an image, with the patient's mammograms and specimen."""
    with opened_site(site) as stores:
        stores.cases().confirm(
            exam_of(ds),
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


def flip(path: Path, at: int) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0x01
    path.chmod(0o600)
    path.write_bytes(data)
