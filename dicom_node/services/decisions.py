"""What a person decides about an exam: whose it is, what it is, whether it counts."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from dicom_node.accreditation.derive import Derivation
from dicom_node.accreditation.portions import Portion
from dicom_node.archive.store import LocalArchive
from dicom_node.errors import ObjectDamagedError, OperatorError
from dicom_node.index import decisions, exam_upkeep, exams
from dicom_node.index.decisions import Decision, DecisionKind
from dicom_node.index.exams import ExamRecord
from dicom_node.logs import get_logger
from dicom_node.services import audit, records
from dicom_node.services.ingest import Indexer
from dicom_node.services.recover import read_object
from dicom_node.services.review import want_review

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Who decides, when, and why."""

    by: str
    at: datetime
    reason: str


class ExamDecisions:
    """Decisions about exams. Each is durable before it takes effect, and survives a rebuild."""

    def __init__(self, *, archive: LocalArchive, indexer: Indexer) -> None:
        """Work on the index of ``indexer`` and the journal and objects of ``archive``."""
        self._archive = archive
        self._indexer = indexer

    def attribute(self, exam_id: str, unit_id: str, verdict: Verdict) -> ExamRecord:
        """Say that an exam was made on ``unit_id``; what it counts toward is worked out anew for that unit.

        Raises OperatorError for an unknown exam or unit, or a missing reason.
        """
        units = self._indexer.registry().units
        if unit_id not in units:
            raise OperatorError(f"there is no unit {unit_id!a}; the units are {', '.join(sorted(units)) or 'none'}")
        exam = self._exam(exam_id)
        with self._indexer.index.read() as conn:
            derived = exam_upkeep.derived_in(conn, exam.study_uid)
        of_exam: dict[str, list[str]] = {}
        elsewhere: set[str] = set()
        for each in derived:
            if each.unit_id == exam.unit_id:
                of_exam.setdefault(each.derived_unit_id, []).append(each.sop_instance_uid)
            else:
                elsewhere.add(each.derived_unit_id)
        new = []
        for unit, uids in sorted(of_exam.items()):
            # What the rules give to the same unit and a person gave to another stays there.
            about = (DecisionKind.CARRY, exam.unit_id) if unit in elsewhere else (DecisionKind.ATTRIBUTE, unit)
            decision = self._decision(about[0], exam.study_uid, about[1], unit_id, verdict)
            new.append(replace(decision, instances=tuple(uids)))
        self._decide(exam.study_uid, new)
        return self._exam(exams.exam_id(exam.study_uid, unit_id))

    def classify(self, exam_id: str, portion: Portion | None, verdict: Verdict) -> ExamRecord:
        """Say what an exam counts toward; None goes back to what the rules say. Raises OperatorError."""
        return self.decide(exam_id, [(DecisionKind.CLASSIFY, "" if portion is None else portion.value)], verdict)

    def exclude(self, exam_id: str, verdict: Verdict) -> ExamRecord:
        """Say that an exam counts toward nothing. Raises OperatorError."""
        return self.decide(exam_id, [(DecisionKind.EXCLUDE, "")], verdict)

    def include(self, exam_id: str, verdict: Verdict) -> ExamRecord:
        """Take back that an exam was excluded, confirmed or rejected, and its links. Raises OperatorError."""
        return self.decide(exam_id, [(DecisionKind.INCLUDE, "")], verdict)

    def replay(self) -> None:
        """Carry out what the journal holds and a crash kept from the index.

        A study of which an object cannot be read stays as it was, and is told in the log.
        """
        for study_uid in sorted(records.replay(self._archive.journal, self._indexer.index)):
            try:
                self._decide(study_uid, [])
            except ObjectDamagedError as error:
                log.error("decision.not_carried_out", study_uid=study_uid, reason=str(error))

    def decide(self, exam_id: str, several: Sequence[tuple[DecisionKind, str]], verdict: Verdict) -> ExamRecord:
        """Decide several things about one exam together, each a kind and its value. Raises OperatorError."""
        exam = self._exam(exam_id)
        self._decide(
            exam.study_uid,
            [self._decision(kind, exam.study_uid, exam.unit_id, value, verdict) for kind, value in several],
        )
        return self._exam(exam_id)

    def _decide(self, study_uid: str, new: Sequence[Decision]) -> None:
        # The headers are read inside the transaction, so that no instance of the study slips in between.
        with self._indexer.index.write() as conn:
            for decision in new:
                decisions.insert(conn, decision)
            exam_upkeep.reassign(conn, study_uid, self._derivations(conn, study_uid))
            want_review(conn)
            # Last of what may fail, yet before the commit: what the journal has can be carried out.
            for decision in new:
                records.save_decision(self._archive.journal, decision)
        for decision in new:
            audit.exam_decided(
                self._archive.audit,
                by=decision.decided_by,
                decision=decision.id,
                kind=decision.kind.value,
                study_uid=decision.study_uid,
                unit_id=decision.unit_id,
                value=decision.value,
            )

    def _derivations(self, conn: Connection, study_uid: str) -> dict[str, Derivation]:
        """Work out every instance of a study that a person said the unit of, as the decisions in force will have it."""
        in_force = decisions.in_force(decisions.of_study(conn, study_uid))
        found = {}
        for each in exam_upkeep.derived_in(conn, study_uid):
            unit_id = in_force.unit_for(each.sop_instance_uid, each.derived_unit_id)
            if unit_id is not None:
                read, provenance, _size = read_object(self._archive, each.digest)
                found[each.sop_instance_uid] = self._indexer.derive_for(read, provenance, unit_id)
        return found

    def _exam(self, exam_id: str) -> ExamRecord:
        with self._indexer.index.read() as conn:
            exam = exams.get(conn, exam_id)
        if exam is None:
            raise OperatorError(f"there is no exam {exam_id!a}; see: dicom-node exams list")
        return exam

    def _decision(self, kind: DecisionKind, study_uid: str, unit_id: str, value: str, verdict: Verdict) -> Decision:
        if not verdict.reason.strip():
            raise OperatorError("a decision needs a reason, in words that the next person understands")
        return Decision(
            id=uuid.uuid4().hex,
            kind=kind,
            study_uid=study_uid,
            unit_id=unit_id,
            value=value,
            reason=verdict.reason.strip(),
            decided_by=verdict.by,
            decided_at=verdict.at,
        )
