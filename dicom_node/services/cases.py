"""Exams as cases: what their headers tell, read once and kept, with what people said of them."""

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from dicom_node.accreditation.cases import Case, CaseFacts, CaseState, Link, LinkRole, Ranked, case_facts, rank
from dicom_node.accreditation.exams import Override
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.standing import ReleaseState, bearing_on, release_in_force
from dicom_node.accreditation.units import Enrolment
from dicom_node.archive.store import LocalArchive
from dicom_node.dicom.case_facts import case_image
from dicom_node.errors import ObjectDamagedError, OperatorError
from dicom_node.index import cases as rows
from dicom_node.index import decisions, exams
from dicom_node.index.cases import ImageRow
from dicom_node.index.decisions import DecisionKind, InForce, link_value
from dicom_node.index.engine import Index
from dicom_node.index.exams import ExamRecord
from dicom_node.logs import get_logger
from dicom_node.services import links
from dicom_node.services.cycles import packages_by_unit
from dicom_node.services.decisions import ExamDecisions, Verdict
from dicom_node.services.found import Rules
from dicom_node.services.ingest import Indexer
from dicom_node.services.recover import read_object

log = get_logger(__name__)

_READER = 1
"""Raised when headers are read otherwise, so that what was kept before is read again."""


def cases_of(archive: LocalArchive, index: Index, exam_records: Collection[ExamRecord]) -> dict[str, Case]:
    """Return exams as cases, by their ids.

    Headers are read of exams that changed since they were last; an image that cannot be read is counted. Raises
    DatabaseError, StorageUnavailableError.
    """
    study_uids = {each.study_uid for each in exam_records}
    with index.read() as conn:
        images = rows.images_of(conn, study_uids)
        kept = rows.read_before(conn, {each.id for each in exam_records})
        in_force = decisions.in_force_of(conn, study_uids) if study_uids else {}
    facts, new = {}, {}
    for each in exam_records:
        of_exam = [image for image in images.get((each.study_uid, each.unit_id), []) if image.portion is not None]
        mark = _mark(of_exam, each.portion)
        held_mark, held = kept.get(each.id, ("", {}))
        if mark == held_mark:
            facts[each.id] = CaseFacts.from_json(held)
            continue
        facts[each.id] = _read(archive, of_exam, each.portion)
        if not facts[each.id].unreadable:
            new[each.id] = mark, facts[each.id].as_json()
    if new:
        with index.write() as conn:
            rows.keep_read(conn, new)
    with index.read() as conn:
        found = {}
        for each in exam_records:
            override = in_force.get(each.study_uid, InForce()).overrides.get(each.unit_id, Override())
            found[each.id] = Case(
                exam_id=each.id,
                study_uid=each.study_uid,
                unit_id=each.unit_id,
                portion=each.portion,
                day=each.day,
                facts=facts[each.id],
                state=each.case,
                decision=override.case,
                links=links.describe(conn, override.links, facts[each.id]),
            )
    return found


def _mark(images: Iterable[ImageRow], portion: Portion) -> str:
    """Return what tells whether the images of an exam are those that were read, and stand as they stood then."""
    state = [[_READER, portion], *([each.digest, each.portion, each.day and each.day.isoformat()] for each in images)]
    return hashlib.sha256(json.dumps(state).encode("ascii")).hexdigest()


def _read(archive: LocalArchive, images: Sequence[ImageRow], portion: Portion) -> CaseFacts:
    """Read the headers of an exam's images of its portion; of all of them where a person said another portion."""
    meant = [each for each in images if each.portion is portion] or images
    read, unreadable = [], 0
    for each in meant:
        try:
            header, _, _ = read_object(archive, each.digest)
        except ObjectDamagedError as error:
            unreadable += 1
            log.error("object.unreadable", digest=each.digest, reason=str(error))
            continue
        read.append(case_image(header, each.day))
    return case_facts(
        read, portion, others=[each.stage for each in images if each.stage is not None], unreadable=unreadable
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedCases:
    """The clinical cases of a unit for one release, the best first."""

    unit_id: str
    released_on: date
    release_state: ReleaseState | None
    """That of the testing package on record; None for one that is only asked about."""
    ranked: tuple[Ranked, ...]


def rank_unit(
    archive: LocalArchive, index: Index, rules: Rules, unit_id: str, *, today: date, release: date | None = None
) -> RankedCases:
    """Rank the clinical exams of a configured unit for a testing package released on ``release``.

    Else for the package that its standing is judged by, else for one released on the local day ``today``. Left out is
    what is older than the window, or of another enrolment. Raises as ``cases_of``, and OperatorError for a day that is
    too near to an end of the calendar.
    """
    windows, unit = rules.policy.windows(Portion.CLINICAL), rules.registry.units[unit_id]
    with index.read() as conn:
        packages = bearing_on(unit.enrolment_on(today), packages_by_unit(conn, [unit], today)[unit_id])
        package = release_in_force(packages) if release is None else None
        if package is not None and package.state in (ReleaseState.PASSED, ReleaseState.CLOSED):
            package = None  # what comes next has no package yet
        released_on = release or (package.released_on if package else today)
        try:
            since = windows.first_day(released_on)
        except OverflowError as error:
            raise OperatorError(f"no answer for this day: {error}") from None
        enrolment = unit.enrolment_on(released_on) or Enrolment()
        found = exams.listed(
            conn,
            unit_id=unit_id,
            portion=Portion.CLINICAL,
            since=max(since, enrolment.first_day or since),
            until=enrolment.last_day,
            cases=(CaseState.CANDIDATE, CaseState.CONFIRMED),
        )
    due_on = package.due_on if package else None
    cases = cases_of(archive, index, found)
    ranked = rank(
        cases.values(),
        released_on=released_on,
        admits=lambda day: enrolment.covers(day) and windows.admits(day, released_on, due_on),
        proposed={
            exam_id: links.propose(index, rules.registry, case).but_linked(case) for exam_id, case in cases.items()
        },
    )
    return RankedCases(
        unit_id=unit_id,
        released_on=released_on,
        release_state=package.state if package else None,
        ranked=tuple(ranked),
    )


class CaseDecisions:
    """What people decide about exams as cases. Each decision is durable before it takes effect."""

    def __init__(self, *, archive: LocalArchive, indexer: Indexer) -> None:
        """Work on the index of ``indexer`` and the journal and objects of ``archive``."""
        self._archive = archive
        self._indexer = indexer
        self._decisions = ExamDecisions(archive=archive, indexer=indexer)

    def confirm(
        self,
        exam_id: str,
        verdict: Verdict,
        *,
        mammogram_day: date | None = None,
        mammograms: Collection[str] = (),
        specimens: Collection[str] = (),
    ) -> ExamRecord:
        """Say that an exam is a case that can be submitted.

        A clinical case needs the day of its correlating mammogram: as given, else that of the linked studies, else the
        one confirmed before. It then counts from that day when it is older than its own images. ``mammograms`` and
        ``specimens`` are the Study Instance UIDs of proposed studies. Raises OperatorError for an exam that counts
        toward nothing, a study that is not proposed, and a day that fits neither study nor biopsy.
        """
        exam = self._countable(exam_id)
        case = cases_of(self._archive, self._indexer.index, [exam])[exam_id]
        wanted = [Link(role=LinkRole.MAMMOGRAM, study_uid=each) for each in mammograms]
        wanted += [Link(role=LinkRole.SPECIMEN, study_uid=each) for each in specimens]
        if case.portion is not Portion.CLINICAL:
            if mammogram_day is not None or wanted:
                raise OperatorError("a phantom has no mammogram and no specimen")
            return self._decisions.decide(exam_id, [(DecisionKind.CONFIRM, "")], verdict)
        day = self._mammogram_day(case, mammogram_day, wanted)
        several = [(DecisionKind.LINK, link_value(link)) for link in wanted]
        # The confirmation last: when a crash tears them apart, what is carried out is no confirmed case.
        return self._decisions.decide(exam_id, [*several, (DecisionKind.CONFIRM, day.isoformat())], verdict)

    def reject(self, exam_id: str, verdict: Verdict) -> ExamRecord:
        """Say that an exam cannot be submitted, so that it counts toward nothing. Raises OperatorError."""
        self._countable(exam_id)
        return self._decisions.decide(exam_id, [(DecisionKind.REJECT, "")], verdict)

    def _countable(self, exam_id: str) -> ExamRecord:
        with self._indexer.index.read() as conn:
            exam = exams.get(conn, exam_id)
        if exam is None:
            raise OperatorError(f"there is no exam {exam_id!a}; see: dicom-node exams list")
        why_not = exam.would_not_count
        if why_not:
            raise OperatorError(f"exam {exam_id} is no case: {why_not}")
        return exam

    def _mammogram_day(self, case: Case, given: date | None, wanted: Sequence[Link]) -> date:
        proposed = links.propose(self._indexer.index, self._indexer.registry(), case).studies
        by_link = {Link(role=each.role, study_uid=each.study_uid): each for each in proposed}
        for link in wanted:
            if link not in by_link:
                raise OperatorError(
                    f"study {link.study_uid!a} is not proposed as the {link.role} of exam {case.exam_id}; "
                    f"see: dicom-node exams show {case.exam_id}"
                )
        mammograms = [by_link[link] for link in wanted if link.role is LinkRole.MAMMOGRAM]
        mammograms += case.linked(LinkRole.MAMMOGRAM)
        oldest = min((each.day for each in mammograms if each.day), default=None)
        day = given or oldest or (case.mammogram_day if case.state is CaseState.CONFIRMED else None)
        if day is None:
            raise OperatorError(
                "a clinical case needs the day of its correlating mammogram: --mammogram-date YYYY-MM-DD"
            )
        if oldest is not None and day != oldest:
            raise OperatorError(
                f"the linked mammogram is of {oldest}, not of {day}; a case is as old as its oldest image"
            )
        biopsy_day = case.facts.first_day or case.day
        if biopsy_day is not None and day > biopsy_day:
            raise OperatorError(f"the mammogram of {day} is later than the biopsy of {biopsy_day}")
        if day.year <= 1900:
            raise OperatorError(f"{day} is no day of a mammogram")
        return day
