"""What goes into an evidence package: of which units, for which release, which exam of each portion, which images."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from dicom_node.accreditation.cases import ELEMENTS, CaseState, LinkRole, rank
from dicom_node.accreditation.checklist import clinical_items, nothing_inside, phantom_items, physicist_items
from dicom_node.accreditation.explain import override_sentence, rule_sentence, standing_sentences
from dicom_node.accreditation.pairs import CaseImage
from dicom_node.accreditation.portions import PORTIONS, Portion
from dicom_node.accreditation.signals import Stage
from dicom_node.accreditation.standing import CountingExam, ReleaseState, release_in_force, standing, window_end
from dicom_node.accreditation.surveys import BY_A_PERSON, LogKind, Survey, coverage
from dicom_node.accreditation.units import Unit
from dicom_node.archive.store import LocalArchive
from dicom_node.dicom.case_facts import case_image
from dicom_node.errors import ObjectDamagedError, OperatorError
from dicom_node.index import entries, images, releases
from dicom_node.index import exams as exam_rows
from dicom_node.index.engine import Index
from dicom_node.index.entries import EntryKind
from dicom_node.index.exams import ExamRecord
from dicom_node.index.images import StoredImage
from dicom_node.index.releases import ReleaseVersion
from dicom_node.services import links
from dicom_node.services.cases import cases_of
from dicom_node.services.found import Rules
from dicom_node.services.kept import read_logs, read_surveys
from dicom_node.services.package_names import document_name, folder_name, unit_names
from dicom_node.services.package_parts import (
    Chosen,
    PortionPackage,
    UnitPackage,
    named,
    packed,
    sorted_out,
    without_raw,
)
from dicom_node.services.recover import read_object


def releases_of(index: Index, units: Collection[str], release_id: str, unit_id: str | None) -> list[ReleaseVersion]:
    """Return the testing packages that an id means: of one package itself, of a cycle those of its units.

    Of a unit with several packages in a cycle it is the one in force. With ``unit_id`` that of the unit alone. Raises
    OperatorError for an id or a unit that is none of them, and says which there are.
    """
    with index.read() as conn:
        every = releases.current(conn)
        cycles = {each.id for each in entries.current(conn, EntryKind.CYCLE)}
    gone = [each.unit_id for each in every if each.id == release_id and each.unit_id not in units]
    if gone:
        raise OperatorError(f"{release_id} is of {gone[0]}, which is no longer configured")
    known = [each for each in every if each.unit_id in units]
    found = [each for each in known if each.id == release_id]
    if not found:
        of_cycle = [each for each in known if each.cycle_id == release_id and each.state is not ReleaseState.CLOSED]
        found = [_in_force([each for each in of_cycle if each.unit_id == unit]) for unit in units
                 if any(each.unit_id == unit for each in of_cycle)]  # fmt: skip
    if not found and release_id in cycles:
        raise OperatorError(f"no unit has a testing package in the cycle {release_id}; see: dicom-node release list")
    if not found:
        told = [f"{each.id} ({each.unit_id}, {each.released_on})" for each in known]
        there = ", ".join([*told, *sorted(cycles)]) or "none"
        raise OperatorError(f"there is no testing package or cycle {release_id!a}; there are {there}")
    if unit_id is None:
        return found
    of_unit = [each for each in found if each.unit_id == unit_id]
    if not of_unit:
        raise OperatorError(f"{release_id} is of {', '.join(each.unit_id for each in found)}, not of {unit_id!a}")
    return of_unit


def _in_force(versions: Sequence[ReleaseVersion]) -> ReleaseVersion:
    best = release_in_force(each.release for each in versions)
    return next(each for each in versions if each.release == best)


def choose(
    archive: LocalArchive,
    index: Index,
    rules: Rules,
    wanted: Sequence[ReleaseVersion],
    *,
    exam_ids: Iterable[str] = (),
    today: date,
) -> list[UnitPackage]:
    """Choose what goes into the package of ``wanted``, a release a unit, as of the local day ``today``.

    Of each portion the exams of ``exam_ids`` are taken where there is one, else the best there is inside the window. A
    unit of which an original is missing or damaged comes with its ``problem``. Raises OperatorError for an exam that
    cannot be submitted, DatabaseError, StorageUnavailableError.
    """
    units = rules.registry.units
    names = unit_names((each.unit_id, units[each.unit_id].label) for each in wanted)
    asked = _asked(index, exam_ids, [each.unit_id for each in wanted])
    found = []
    for release in wanted:
        unit = units[release.unit_id]
        chooser = _Chooser(archive, index, rules, unit, release, names[unit.id], asked, today)
        try:
            portions, problem = tuple(chooser.portion(portion) for portion in PORTIONS), ""
        except ObjectDamagedError as error:
            portions, problem = (), str(error)
        found.append(
            UnitPackage(
                unit=unit,
                name=names[unit.id],
                release=release,
                facility=_facility(rules, unit, release.released_on),
                portions=portions,
                problem=problem,
            )
        )
    return found


def _facility(rules: Rules, unit: Unit, day: date) -> str:
    enrolment = unit.enrolment_on(day)
    return "enrolled at no facility" if enrolment is None else rules.registry.facilities[enrolment.facility].name


_Asked = Mapping[tuple[str, Portion], ExamRecord]


def _asked(index: Index, exam_ids: Iterable[str], unit_ids: Collection[str]) -> _Asked:
    """Return the exams that a person chose, by unit and portion. Raises OperatorError."""
    asked: dict[tuple[str, Portion], ExamRecord] = {}
    for exam_id in dict.fromkeys(exam_ids):
        with index.read() as conn:
            exam = exam_rows.get(conn, exam_id)
        if exam is None:
            raise OperatorError(f"there is no exam {exam_id!a}; see: dicom-node exams list")
        if exam.unit_id not in unit_ids:
            raise OperatorError(f"exam {exam_id} is of {exam.unit_id or 'no known unit'}, not of {', '.join(unit_ids)}")
        if not exam.counts:
            raise OperatorError(f"exam {exam_id} counts toward nothing: {exam.why_not}")
        other = asked.setdefault((exam.unit_id, exam.portion), exam)
        if other is not exam:
            raise OperatorError(f"exams {other.id} and {exam_id} are of the same unit and portion: choose one")
    return asked


@dataclass(frozen=True, slots=True)
class _Chooser:
    """Chooses for one unit."""

    archive: LocalArchive
    index: Index
    rules: Rules
    unit: Unit
    release: ReleaseVersion
    name: str
    asked: _Asked
    today: date

    def portion(self, portion: Portion) -> PortionPackage:
        """Choose for a portion. Raises ObjectDamagedError, OperatorError."""
        if portion is Portion.PHYSICIST:
            return self._physicist()
        with self.index.read() as conn:
            listed = exam_rows.listed(conn, unit_id=self.unit.id, portion=portion)
        counting = [each for each in listed if each.counts]
        bare = self._bare(portion, _counting(counting))
        inside = [each for each in counting if self._admits(portion, each.day)]
        asked = self.asked.get((self.unit.id, portion))
        if asked is not None and asked.id not in {each.id for each in inside}:
            raise OperatorError(
                f"exam {asked.id} of {asked.day} cannot be submitted with {self.release.id}: the {portion} window of "
                f"{self.unit.id} is {bare.first_day} to {bare.last_day}"
            )
        if asked is not None:
            inside = [asked]
        if not inside:
            words = f"no {portion} exam that counts lies inside {bare.first_day} to {bare.last_day}"
            return replace(bare, items=tuple(nothing_inside(portion, words)))
        return self._clinical(bare, inside) if portion is Portion.CLINICAL else self._phantom(bare, inside)

    def _bare(self, portion: Portion, counting: Iterable[CountingExam]) -> PortionPackage:
        """Return the portion with its arithmetic for the release, whatever other packages the unit has.

        ``counting`` is what was chosen, or before that all there is.
        """
        policy, day = self.rules.policy, self.release.released_on
        at = standing(
            self.unit,
            portion,
            counting,
            [self.release.release],
            policy,
            today=self.today,
            warn_days=max(self.rules.ladders[portion]),
        )
        return PortionPackage(
            portion=portion,
            folder=folder_name(self.name, portion),
            first_day=policy.windows(portion).first_day(day),
            last_day=window_end(self.release.release, policy.windows(portion)),
            standing=at,
            sentences=(
                rule_sentence(policy, portion),
                *(override_sentence(each, portion) for each in policy.overrides if each.first <= day <= each.last),
                *standing_sentences(at, self.unit, policy, self.today),
            ),
        )

    def _admits(self, portion: Portion, day: date | None) -> bool:
        """Tell whether the release admits a day, which lies in the enrolment that the release is for."""
        release, windows = self.release, self.rules.policy.windows(portion)
        if day is None or day > self.today or not windows.admits(day, release.released_on, release.due_on):
            return False
        enrolment = self.unit.enrolment_on(release.released_on)
        return enrolment is None or enrolment.covers(day)

    def _clinical(self, bare: PortionPackage, inside: Sequence[ExamRecord]) -> PortionPackage:
        cases = cases_of(self.archive, self.index, inside)
        ranked = rank(
            cases.values(),
            released_on=self.release.released_on,
            admits=lambda day: self._admits(Portion.CLINICAL, day),
            proposed={
                exam_id: links.propose(self.index, self.rules.registry, case).but_linked(case)
                for exam_id, case in cases.items()
            },
        )
        exam_of = {each.id: each for each in inside}
        if not ranked or not ranked[0].admitted:
            words = f"none of {len(inside)} exams in the window is a case that can be submitted"
            return replace(bare, items=tuple(nothing_inside(Portion.CLINICAL, words)))
        case = ranked[0].case
        exam = exam_of[case.exam_id]
        bare = self._bare(Portion.CLINICAL, _counting([exam]))
        with self.index.read() as conn:
            own = images.of_exam(conn, exam.study_uid, exam.unit_id)
            linked = [
                (each, link.role) for link in case.links for each in images.with_uids(conn, link.sop_instance_uids)
            ]
        wanted, left_out = sorted_out(own, Portion.CLINICAL)
        chosen = named(
            Portion.CLINICAL,
            [
                *(self._read(each, role) for each, role in linked if role is LinkRole.MAMMOGRAM),
                *without_raw([self._read(each, _own_role(each)) for each in wanted], left_out),
                *(self._read(each, role) for each, role in linked if role is LinkRole.SPECIMEN),
            ],
        )
        confirmed = case.decision if case.state is CaseState.CONFIRMED else None
        return replace(
            bare,
            subject=exam.id,
            day=case.day,
            day_source=exam.day_source,
            is_confirmed=confirmed is not None,
            confirmed_by="" if confirmed is None else confirmed.decided_by,
            confirmed_at=None if confirmed is None else confirmed.decided_at,
            images=chosen,
            left_out=tuple(left_out),
            items=tuple(clinical_items(case, packed(chosen, ELEMENTS[Portion.CLINICAL]), self.rules.zone)),
        )

    def _phantom(self, bare: PortionPackage, inside: Sequence[ExamRecord]) -> PortionPackage:
        exam = max(inside, key=lambda each: (each.day or date.min, each.id))
        bare = self._bare(Portion.PHANTOM, _counting([exam]))
        with self.index.read() as conn:
            own = images.of_exam(conn, exam.study_uid, exam.unit_id)
        wanted, left_out = sorted_out(own, Portion.PHANTOM)
        read = without_raw([self._read(each, None) for each in wanted], left_out)
        chosen = named(Portion.PHANTOM, read)
        return replace(
            bare,
            subject=exam.id,
            day=exam.day,
            day_source=exam.day_source,
            images=chosen,
            left_out=tuple(left_out),
            items=tuple(phantom_items(packed(chosen, ELEMENTS[Portion.PHANTOM]))),
        )

    def _physicist(self) -> PortionPackage:
        portion, terms = Portion.PHYSICIST, self.rules.policy.terms
        with self.index.read() as conn:
            surveys = [each for each in read_surveys(conn, [self.unit.id]) if not each.withdrawn]
            logs = read_logs(conn, [self.unit.id])
        bare = self._bare(portion, [each.counting() for each in surveys])
        inside = [each for each in surveys if self._admits(portion, each.day)]
        newest = max(inside, key=lambda each: (each.day, each.id), default=None)
        until = min(self.release.released_on, self.today)
        spans = [coverage(logs, kind, terms, until) for kind in LogKind]
        report = self._report(newest)
        chosen = () if report is None else (report,)
        items = physicist_items(newest.day if newest else None, has_report=report is not None, logs=spans, terms=terms)
        if newest is None:
            return replace(bare, items=tuple(items))
        by, at = self._recorded(newest)
        return replace(
            bare,
            subject=newest.id,
            day=newest.day,
            day_source="" if newest.source == BY_A_PERSON else "report",
            is_confirmed=True,
            confirmed_by=by,
            confirmed_at=at,
            images=chosen,
            items=tuple(items),
        )

    def _report(self, survey: Survey | None) -> Chosen | None:
        """Return the document that a survey was found in, when the index has it."""
        if survey is None or survey.source == BY_A_PERSON:
            return None
        with self.index.read() as conn:
            stored = images.with_uids(conn, [survey.source])
        if not stored:
            return None
        return replace(self._read(stored[0], None), told=CaseImage(), name=document_name(1))

    def _recorded(self, survey: Survey) -> tuple[str, datetime]:
        """Return who recorded a survey as it is in force, and when."""
        with self.index.read() as conn:
            version = entries.history(conn, EntryKind.SURVEY, survey.id)[-1]
        return version.changed_by, version.changed_at

    def _read(self, stored: StoredImage, linked_as: LinkRole | None) -> Chosen:
        """Read the header of an original. Raises ObjectDamagedError, also when its file meta names another instance."""
        read, _, _ = read_object(self.archive, stored.digest)
        of_index = (stored.sop_instance_uid, stored.transfer_syntax_uid)
        if (read.facts.sop_instance_uid, read.facts.transfer_syntax_uid) != of_index:
            raise ObjectDamagedError(f"object {stored.digest} tells another instance or encoding than the index")
        return Chosen(
            stored=stored, facts=read.facts, told=case_image(read, stored.acquisition_day), linked_as=linked_as
        )


def _counting(exams: Iterable[ExamRecord]) -> list[CountingExam]:
    return [CountingExam(exam_id=each.id, day=each.day, source=each.day_source) for each in exams if each.day]


def _own_role(stored: StoredImage) -> LinkRole | None:
    """Return what an image of the exam itself is to the case: its specimen may have been taken on the unit."""
    return LinkRole.SPECIMEN if stored.stage == Stage.SPECIMEN else None
