"""Exams that wait to be told their unit, with all that helps a person to tell it."""

from dataclasses import dataclass
from datetime import date

from dicom_node.accreditation.near_misses import near_misses
from dicom_node.accreditation.units import Registry
from dicom_node.archive.store import LocalArchive
from dicom_node.errors import ObjectDamagedError
from dicom_node.index import exams
from dicom_node.index.engine import Index
from dicom_node.index.exams import ExamRecord
from dicom_node.services.recover import read_object


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An exam of a unit nobody can tell."""

    exam: ExamRecord
    senders: tuple[str, ...]
    """Calling AE titles; "" is an import."""
    near_misses: tuple[str, ...]
    """What came near to naming the unit and why it did not, the nearest first."""


def waiting_exams(
    archive: LocalArchive, index: Index, registry: Registry, *, since: date | None = None
) -> list[Waiting]:
    """Return the exams of no known unit that might count for one, newest received first.

    ``since`` leaves out those of an earlier day. Raises DatabaseError, StorageUnavailableError.
    """
    with index.read() as conn:
        found = exams.unattributed(conn, since)
        instances = {exam.id: exams.instances_of(conn, exam.study_uid, exam.unit_id) for exam in found}
    return [
        Waiting(
            exam=exam,
            senders=tuple(sorted({each.calling_ae for each in instances[exam.id]})),
            near_misses=_near_misses(archive, registry, instances[exam.id][0].digest),
        )
        for exam in found
    ]


def _near_misses(archive: LocalArchive, registry: Registry, digest: str) -> tuple[str, ...]:
    try:
        read, _, _ = read_object(archive, digest)
    except ObjectDamagedError as error:
        return (str(error),)
    return near_misses(read.signals, registry)
