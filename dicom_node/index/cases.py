"""What the index has of exams as cases: their images, what was read of their headers, the other studies of a patient.

Functions work in the caller's transaction.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any

from sqlalchemy import Connection, exists, or_, select

from dicom_node.accreditation.pairs import Laterality, laterality_of
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.signals import Role, Stage
from dicom_node.dicom.case_facts import breast_told, view_of
from dicom_node.dicom.uids import SECONDARY_CAPTURES
from dicom_node.index.exam_upkeep import ExamKey
from dicom_node.index.tables import exam_case, instance, rejection, series, study

_AT_ONCE = 500
"""Studies asked for in one statement: databases limit the values of one."""

_IS_IMAGE = or_(instance.c.role == Role.PRIMARY.value, instance.c.sop_class_uid.in_(sorted(SECONDARY_CAPTURES)))
_NOT_REJECTED = ~exists().where(rejection.c.rejected_uid == instance.c.sop_instance_uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """An acquired image or a secondary capture, that nobody rejected."""

    study_uid: str
    unit_id: str
    sop_instance_uid: str
    digest: str
    day: date | None
    portion: Portion | None
    """None for a secondary capture, as specimen cabinets send them."""
    stage: Stage | None
    modality: str
    laterality: Laterality
    view: str
    quality_control: bool
    """Quality Control Image (0028,0300) is present and not NO."""
    calling_ae: str
    peer_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """Who a study says it is of. Never shown."""

    study_uid: str
    patient_id: str
    issuer: str
    name: tuple[str, str, str]
    """Folded, by component group."""
    birth_date: str
    flags: tuple[str, ...]
    """Not empty where the study's instances name different patients."""


def images_of(conn: Connection, study_uids: Collection[str]) -> dict[ExamKey, list[ImageRow]]:
    """Return the images of each exam of the studies, by SOP Instance UID."""
    found: dict[ExamKey, list[ImageRow]] = {}
    for some in _parts(study_uids):
        query = (
            select(
                *(instance.c[name] for name in ("study_uid", "unit_id", "sop_instance_uid", "digest", "portion")),
                *(instance.c[name] for name in ("acquisition_day", "stage", "calling_ae", "peer_address")),
                *(instance.c[name] for name in ("image_laterality", "view_position", "view_code_sequence")),
                *(instance.c.quality_control_image, series.c.modality, series.c.laterality),
            )
            .join_from(
                instance,
                series,
                (instance.c.study_uid == series.c.study_uid) & (instance.c.series_uid == series.c.series_uid),
            )
            .where(instance.c.study_uid.in_(some), _IS_IMAGE, _NOT_REJECTED)
            .order_by(instance.c.sop_instance_uid)
        )
        for row in conn.execute(query):
            found.setdefault((row.study_uid, row.unit_id), []).append(
                ImageRow(
                    study_uid=row.study_uid,
                    unit_id=row.unit_id,
                    sop_instance_uid=row.sop_instance_uid,
                    digest=row.digest,
                    day=row.acquisition_day,
                    portion=Portion(row.portion) if row.portion else None,
                    stage=Stage(row.stage) if row.stage else None,
                    modality=row.modality,
                    laterality=laterality_of(map(breast_told, (row.image_laterality, row.laterality))),
                    view=view_of(row.view_code_sequence, row.view_position),
                    quality_control=row.quality_control_image not in {"", "NO"},
                    calling_ae=row.calling_ae,
                    peer_address=row.peer_address,
                )
            )
    return found


def read_before(conn: Connection, exam_ids: Collection[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return what was kept of exams, by their ids: the mark of what it was read from, and the data."""
    found = {}
    for some in _parts(exam_ids):
        for row in conn.execute(select(exam_case).where(exam_case.c.exam_id.in_(some))):
            found[row.exam_id] = row.mark, row.data
    return found


def keep_read(conn: Connection, several: Mapping[str, tuple[str, dict[str, Any]]]) -> None:
    """Keep what was read of exams in place of what was kept before."""
    for some in _parts(several):
        conn.execute(exam_case.delete().where(exam_case.c.exam_id.in_(some)))
        rows = [{"exam_id": each, "mark": several[each][0], "data": several[each][1]} for each in some]
        conn.execute(exam_case.insert(), rows)


def patient_of(conn: Connection, study_uid: str) -> Patient | None:
    """Return who a study is of, None when it is not on file."""
    return next(_patients(conn, study.c.study_uid == study_uid), None)


def studies_of(conn: Connection, patient_id: str) -> list[Patient]:
    """Return every study that has a patient id, whoever it is of, newest first."""
    return list(_patients(conn, study.c.patient_id == patient_id))


def _patients(conn: Connection, condition: Any) -> Iterator[Patient]:
    for row in conn.execute(select(study).where(condition).order_by(study.c.study_date.desc(), study.c.study_uid)):
        yield Patient(
            study_uid=row.study_uid,
            patient_id=row.patient_id,
            issuer=row.issuer_of_patient_id,
            name=(row.name_alphabetic, row.name_ideographic, row.name_phonetic),
            birth_date=row.patient_birth_date,
            flags=tuple(row.flags),
        )


def _parts(values: Iterable[str]) -> Iterator[list[str]]:
    left = iter(sorted(set(values)))
    while some := list(islice(left, _AT_ONCE)):
        yield some
