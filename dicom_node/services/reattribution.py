"""Stored instances worked out anew by the units and rules in force: what would change, and changing it.

Headers are read while no lock is held. What comes of them is first carried out where only the preview sees it
(``index.overlay``), by the same function that changes the rows later. A person's decisions stand above the rules: an
instance that a person gave to a unit stays there, and what was decided about an exam goes along when the rules give the
exam to another unit.
"""

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from typing import TypeVar

from sqlalchemy import Connection

from dicom_node.accreditation.exams import Override
from dicom_node.accreditation.signals import Role
from dicom_node.accreditation.standing import Standing
from dicom_node.archive.store import LocalArchive
from dicom_node.errors import ObjectDamagedError
from dicom_node.index import decisions, derived, exam_upkeep, exams, overlay
from dicom_node.index.decisions import Decision, DecisionKind, InForce
from dicom_node.index.derived import DerivedRow
from dicom_node.index.exams import ExamRecord, exam_id
from dicom_node.index.rows import Row, derived_values, unit_of
from dicom_node.logs import get_logger
from dicom_node.services import audit, records
from dicom_node.services.decisions import Verdict
from dicom_node.services.derived_by import put_registry
from dicom_node.services.finding import Found
from dicom_node.services.found import Rules, whats_so
from dicom_node.services.ingest import Indexer
from dicom_node.services.policies import Change
from dicom_node.services.recover import read_object
from dicom_node.services.review import want_review

log = get_logger(__name__)

T = TypeVar("T")

AT_ONCE = 200
"""Instances whose rows are read, or changed, in one transaction, if they are not of one study."""
ROUNDS = 5
"""How often a study is worked out anew that changed meanwhile, before it is left to another run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """An instance whose row is not what the registry in force makes of it."""

    before: DerivedRow
    unit_after: str
    derived_after: str
    """The unit by the rules alone."""
    evidence: str
    """What the rules alone rest on, or their doubt."""
    values: Row
    """All derived columns as they will be."""
    is_held: bool
    """A person said its unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherStudy:
    """A study with such instances, and what it was when they were worked out."""

    study_uid: str
    instances: tuple[Other, ...]
    seen: frozenset[DerivedRow]
    decided: tuple[str, ...]
    """Ids of the decisions about it."""
    in_force: InForce

    @property
    def moved(self) -> dict[tuple[str, str], int]:
        """How many instances go from one unit to another."""
        found: dict[tuple[str, str], int] = {}
        for each in self.instances:
            key = each.before.unit_id, each.unit_after
            found[key] = found.get(key, 0) + 1
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """All that differs."""

    studies: tuple[OtherStudy, ...]
    looked_at: int
    """Instances whose headers were read."""
    unreadable: int
    """Objects that could not be read; each was logged with its reason."""

    @property
    def instances(self) -> int:
        """How many instances differ."""
        return sum(len(study.instances) for study in self.studies)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamChange:
    """An exam before and after, or the exam that some of its instances go to; None where there is none."""

    before: ExamRecord | None
    after: ExamRecord | None
    instances: int
    """Instances of it that change; 0 when it changes by those that join it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An exam that a person gave to a unit and the rules now give to another than before."""

    exam_id: str
    unit_id: str
    instances: int
    rules_before: str
    """Unit by the rules, "" for none."""
    rules_after: str
    evidence: str

    @property
    def agrees(self) -> bool:
        """Tell whether the rules now say what the person said."""
        return self.unit_id == self.rules_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What carrying it out would come to."""

    exams: tuple[ExamChange, ...]
    """Exams that change their unit, portion or day, or whether they count."""
    held: tuple[Held, ...]
    standings: tuple[Change, ...]
    """Those that change."""
    opened: tuple[Found, ...]
    """What needs people then and does not now."""
    ended: tuple[Found, ...]
    """What needs people now and does not then."""
    details: int
    """Instances of which no more changes than evidence, attachment or remarks."""


def work_out(
    archive: LocalArchive,
    indexer: Indexer,
    *,
    since: date | None = None,
    study_uids: Collection[str] | None = None,
    progress: Callable[[int], None] = lambda _of: None,
) -> Others:
    """Work out every instance anew, or those of some studies, from its header; nothing is written.

    ``since`` leaves out studies all of whose instances have an earlier day. ``progress`` is called after each instance
    with the number of all. Raises DatabaseError, StorageUnavailableError.
    """
    with indexer.index.read() as conn:
        sizes = derived.studies(conn, since) if study_uids is None else derived.sizes(conn, study_uids)
    total, looked_at, unreadable = sum(sizes.values()), 0, 0
    studies = []
    for some in _in_portions(sizes.items(), lambda each: each[1]):
        with indexer.index.read() as conn:
            uids = [study_uid for study_uid, _ in some]
            rows = derived.rows_of(conn, uids)
            decided = decisions.of_studies(conn, uids)
        for study_uid, members in rows.items():
            about = decided.get(study_uid, [])
            in_force = decisions.in_force(about)
            others = []
            for row in members:
                looked_at += 1
                try:
                    other = _anew(archive, indexer, row, in_force)
                except ObjectDamagedError as error:
                    unreadable += 1
                    log.error("object.unreadable", digest=row.digest, reason=str(error))
                else:
                    others += [other] if other is not None else []
                progress(max(total, looked_at))
            if others:
                studies.append(
                    OtherStudy(
                        study_uid=study_uid,
                        instances=tuple(others),
                        seen=frozenset(members),
                        decided=tuple(each.id for each in about),
                        in_force=in_force,
                    )
                )
    return Others(studies=tuple(studies), looked_at=looked_at, unreadable=unreadable)


def _anew(archive: LocalArchive, indexer: Indexer, row: DerivedRow, in_force: InForce) -> Other | None:
    """Work an instance out anew; None when its row is as it should be. Raises ObjectDamagedError."""
    read, provenance, _size = read_object(archive, row.digest)
    by_rules = indexer.derive_for(read, provenance, None)
    derived_after = unit_of(by_rules)
    # What a person said of the instances of the former derived unit holds on for those that are here.
    said = in_force.unit_for(row.sop_instance_uid, row.derived_unit_id) or in_force.assigned.get(derived_after)
    derivation = by_rules if said is None else indexer.derive_for(read, provenance, said)
    values = derived_values(derivation)
    is_pinned = said is None or in_force.unit_for(row.sop_instance_uid, derived_after) == said
    if row.derived_unit_id == derived_after and row.has(values) and is_pinned:
        return None
    return Other(
        before=row,
        unit_after=unit_of(derivation),
        derived_after=derived_after,
        evidence=derived_values(by_rules)["attribution"],
        values=values | {"derived_unit_id": derived_after},
        is_held=said is not None,
    )


def preview(indexer: Indexer, rules: Rules, others: Others, *, today: date) -> Preview:
    """Tell what carrying it out would come to on the local day ``today``. Takes no lock and writes nothing.

    Raises DatabaseError.
    """
    unit_ids = [*rules.registry.units, ""]
    verdict = Verdict(by="", at=datetime.combine(today, time(), tzinfo=UTC), reason="preview")
    study_uids = [study.study_uid for study in others.studies]
    with indexer.index.read() as conn:
        so_before = whats_so(conn, rules, unit_ids, today)
        before = _exams_of(conn, study_uids)
        overlay.begin(conn, study_uids)
        for study in others.studies:
            _carry_out(conn, study, _carried(study, verdict))
        overlay.show(conn)
        after = _exams_of(conn, study_uids)
        so_after = whats_so(conn, rules, unit_ids, today)
    found_before = {each.key: each for so in so_before.values() for each in so.found}
    found_after = {each.key: each for so in so_after.values() for each in so.found}
    compared = [
        Change(unit=unit, before=one, after=other)
        for unit_id, unit in rules.registry.units.items()
        for one, other in zip(so_before[unit_id].standings, so_after[unit_id].standings, strict=True)
    ]
    return Preview(
        exams=tuple(change for study in others.studies for change in _exam_changes(study, before, after)),
        held=tuple(each for study in others.studies for each in _held(study)),
        standings=tuple(each for each in compared if _as_told(each.before) != _as_told(each.after)),
        opened=tuple(each for key, each in found_after.items() if key not in found_before),
        ended=tuple(each for key, each in found_before.items() if key not in found_after),
        details=sum(
            not each.is_held and each.before.is_alike(each.values)
            for study in others.studies
            for each in study.instances
        ),
    )


@dataclass(slots=True, kw_only=True)
class Applied:
    """What was carried out."""

    instances: int = 0
    exams: set[str] = field(default_factory=set)
    """Ids of exams that have a row and got or lost instances, or changed."""
    left: int = 0
    """Studies that changed again and again meanwhile: another run has to do them."""


def apply(
    archive: LocalArchive,
    indexer: Indexer,
    others: Others,
    verdict: Verdict,
    *,
    since: date | None = None,
    progress: Callable[[int], None] = lambda _of: None,
) -> Applied:
    """Carry it out, some instances in each transaction, so that whoever receives waits for a moment at most.

    A study that changed since it was worked out is worked out anew first. One that is cut short has done some studies
    wholly and others not at all, and running it again does the rest. ``progress`` is called after each study with the
    number of all. Raises DatabaseError, StorageUnavailableError, ObjectDamagedError for a damaged journal.
    """
    audit.reattribution_began(
        archive.audit, by=verdict.by, reason=verdict.reason, exams=len(others.studies), instances=others.instances
    )
    done, waiting = Applied(), list(others.studies)
    total = len(waiting)
    for _ in range(ROUNDS):
        changed = []
        for some in _in_portions(waiting, lambda each: len(each.instances)):
            with indexer.index.write() as conn:
                for study in some:
                    if not _is_as_seen(conn, study):
                        changed.append(study.study_uid)
                        continue
                    carried = _carried(study, verdict)
                    present = _carry_out(conn, study, carried)
                    # Last of what may fail, yet before the commit, as with every decision.
                    for each in carried:
                        records.save_decision(archive.journal, each)
                    done.instances += len(study.instances)
                    done.exams |= {exam_id(*key) for key in present}
                want_review(conn)
            for _study in some:
                progress(total)
        waiting = list(work_out(archive, indexer, study_uids=changed).studies) if changed else []
        if not waiting:
            break
    done.left = len(waiting)
    if not done.left and since is None:
        with indexer.index.write() as conn:
            put_registry(conn, indexer.registry())
            want_review(conn)
    audit.reattribution_ended(archive.audit, by=verdict.by, instances=done.instances, left=done.left)
    return done


def _is_as_seen(conn: Connection, study: OtherStudy) -> bool:
    decided = tuple(each.id for each in decisions.of_study(conn, study.study_uid))
    rows = derived.rows_of(conn, [study.study_uid]).get(study.study_uid, [])
    return decided == study.decided and frozenset(rows) == study.seen


def _carry_out(conn: Connection, study: OtherStudy, carried: Sequence[Decision]) -> set[exam_upkeep.ExamKey]:
    for each in carried:
        decisions.insert(conn, each)
    values = {each.before.sop_instance_uid: each.values for each in study.instances}
    return exam_upkeep.rederive(conn, study.study_uid, values)


def _carried(study: OtherStudy, verdict: Verdict) -> list[Decision]:
    """Return the decisions that keep in force what people decided, though the rules give the instances elsewhere."""
    pinned: dict[str, list[str]] = {}
    along: set[tuple[str, str]] = set()
    for each in study.instances:
        uid, unit_after = each.before.sop_instance_uid, each.unit_after
        if each.is_held:
            if study.in_force.unit_for(uid, each.derived_after) != unit_after:
                pinned.setdefault(unit_after, []).append(uid)
        elif each.before.unit_id != unit_after and each.before.role == Role.PRIMARY:
            along.add((each.before.unit_id, unit_after))
    overrides = study.in_force.overrides
    return [
        *(_carry(study, verdict, unit, unit, uids) for unit, uids in sorted(pinned.items())),
        *(
            _carry(study, verdict, before, after, ())
            for before, after in sorted(along)
            if overrides.get(before, Override()) != Override() and after not in overrides
        ),
    ]


def _carry(study: OtherStudy, verdict: Verdict, before: str, after: str, uids: Sequence[str]) -> Decision:
    return Decision(
        id=uuid.uuid4().hex,
        kind=DecisionKind.CARRY,
        study_uid=study.study_uid,
        unit_id=before,
        value=after,
        instances=tuple(uids),
        reason=verdict.reason,
        decided_by=verdict.by,
        decided_at=verdict.at,
    )


def _exams_of(conn: Connection, study_uids: Sequence[str]) -> dict[str, dict[str, ExamRecord]]:
    """Return the exams of studies by study and unit."""
    return {uid: {each.unit_id: each for each in exams.of_study(conn, uid)} for uid in study_uids}


def _exam_changes(
    study: OtherStudy,
    before: Mapping[str, Mapping[str, ExamRecord]],
    after: Mapping[str, Mapping[str, ExamRecord]],
) -> Iterator[ExamChange]:
    were, are = before[study.study_uid], after[study.study_uid]
    told: set[str] = set()
    for (one, other), number in sorted(study.moved.items()):
        if one == other and _alike(were.get(one), are.get(one)):
            continue
        if one not in were and other not in are:  # neither has an acquired image
            continue
        told |= {one, other}
        yield ExamChange(before=were.get(one), after=are.get(other), instances=number)
    for unit_id in sorted({*were, *are} - told):
        if not _alike(were.get(unit_id), are.get(unit_id)):
            yield ExamChange(before=were.get(unit_id), after=are.get(unit_id), instances=0)


def _as_told(standing: Standing) -> tuple[Standing, date | None]:
    """Return a standing without which of the exams of its newest day it rests on."""
    return replace(standing, newest=None), standing.newest.day if standing.newest else None


def _alike(one: ExamRecord | None, other: ExamRecord | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.portion, one.day, one.counts, one.excluded) == (other.portion, other.day, other.counts, other.excluded)


def _held(study: OtherStudy) -> Iterator[Held]:
    found: dict[tuple[str, str, str], list[Other]] = {}
    for each in study.instances:
        if each.is_held and each.before.derived_unit_id != each.derived_after:
            found.setdefault((each.unit_after, each.before.derived_unit_id, each.derived_after), []).append(each)
    for (unit_id, rules_before, rules_after), several in sorted(found.items()):
        yield Held(
            exam_id=exam_id(study.study_uid, unit_id),
            unit_id=unit_id,
            instances=len(several),
            rules_before=rules_before,
            rules_after=rules_after,
            evidence=several[0].evidence,
        )


def _in_portions(several: Collection[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Cut into lists of ``AT_ONCE`` instances at most, or one study that has more."""
    portion: list[T] = []
    number = 0
    for each in several:
        if portion and number + size(each) > AT_ONCE:
            yield portion
            portion, number = [], 0
        portion.append(each)
        number += size(each)
    if portion:
        yield portion
