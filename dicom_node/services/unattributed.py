"""Exams that wait to be told their unit, with all that helps a person to tell it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

from dicom_node.accreditation.near_misses import near_misses
from dicom_node.accreditation.proposals import Proposal, proposals
from dicom_node.accreditation.signals import Role
from dicom_node.accreditation.units import Registry
from dicom_node.archive.store import LocalArchive
from dicom_node.dicom.facts import Provenance, ReadInstance
from dicom_node.errors import ObjectDamagedError, OperatorError
from dicom_node.index import alike, exams
from dicom_node.index.alike import Sample
from dicom_node.index.engine import Index
from dicom_node.index.exams import ExamRecord
from dicom_node.index.rows import unit_of
from dicom_node.services.ingest import Indexer
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """Lines of configuration that would have placed an exam."""

    lines: str
    """"" when nothing tells the exam from those of other units."""
    also: tuple[str, ...] = ()
    """Ids of other exams of no known unit that they would place on the same unit."""
    shared_with: tuple[str, ...] = ()
    """Units whose exams say the same as this one."""


def propose(
    archive: LocalArchive,
    indexer: Indexer,
    exam_id: str,
    unit_id: str,
    registry_with: Callable[[str], Registry | None],
) -> Proposed | None:
    """Return what would have placed an exam on a unit and changes no exam of another; None when the rules do already.

    ``registry_with`` returns the registry of the configuration with more lines, None when it is none then. Exams that
    have the same in the columns of the index are held against the lines, and one of each kind on the unit itself.

    Raises OperatorError for an unknown exam, ObjectDamagedError, DatabaseError, StorageUnavailableError.
    """
    with indexer.index.read() as conn:
        exam = exams.get(conn, exam_id)
        if exam is None:
            raise OperatorError(f"there is no exam {exam_id!a}; see: dicom-node exams list")
        members = exams.instances_of(conn, exam.study_uid, exam.unit_id)
    images = [_read(archive, each.digest) for each in members if each.role == Role.PRIMARY]
    if _units(indexer, images) == {unit_id}:
        return None
    signals = [read.signals for read, _ in images]
    shared: set[str] = set()
    for proposal in proposals(signals, indexer.registry(), unit_id, name=f"exams like {exam_id}"):
        registry = registry_with(f"\n{proposal.lines}")
        if registry is None:
            continue
        then = replace(indexer, registry=lambda registry=registry: registry)  # type: ignore[misc] # a value, bound now
        if _units(then, images) != {unit_id}:
            continue
        also, others = _caught(archive, indexer, then, proposal, exam_id=exam_id, unit_id=unit_id)
        if not others:
            return Proposed(lines=proposal.lines, also=tuple(sorted(also)))
        shared |= others
    return Proposed(lines="", shared_with=tuple(sorted(shared)))


def _caught(
    archive: LocalArchive, now: Indexer, then: Indexer, proposal: Proposal, *, exam_id: str, unit_id: str
) -> tuple[set[str], set[str]]:
    """Return the exams of no known unit that lines would place, and the units whose exams they would change."""
    with now.index.read() as conn:
        samples = [*alike.exams_with(conn, proposal.looks_at), *alike.kinds_of(conn, unit_id)]
    also, others = set(), set()
    for sample in samples:
        if sample.exam_id == exam_id:
            continue
        images = [*_readable(archive, sample)]
        before, after = _units(now, images), _units(then, images)
        if after in (before, {sample.unit_id}):
            continue
        if sample.unit_id:
            others.add(sample.unit_id)
        else:
            also.add(sample.exam_id)
    return also, others


def _units(indexer: Indexer, images: Sequence[tuple[ReadInstance, Provenance]]) -> set[str]:
    return {unit_of(indexer.derive_for(read, provenance, None)) for read, provenance in images}


def _read(archive: LocalArchive, digest: str) -> tuple[ReadInstance, Provenance]:
    read, provenance, _size = read_object(archive, digest)
    return read, provenance


def _readable(archive: LocalArchive, sample: Sample) -> Iterator[tuple[ReadInstance, Provenance]]:
    try:
        yield _read(archive, sample.digest)
    except ObjectDamagedError:
        return  # it says nothing either way
