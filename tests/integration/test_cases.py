"""Exams as cases: what is read of them, what people decide, what is proposed; on real files and both databases."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_node.accreditation.cases import Case, CaseState, LinkRole
from dicom_node.accreditation.pairs import Laterality, PairState
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.signals import Stage
from dicom_node.accreditation.standing import ReleaseState, Standing, State
from dicom_node.accreditation.units import Enrolment
from dicom_node.demo.devices import Device, Kind, make_exam
from dicom_node.errors import OperatorError
from dicom_node.index import exams, findings
from dicom_node.index.exams import ExamRecord
from dicom_node.index.tables import exam_case
from dicom_node.services import cases as cases_service
from dicom_node.services.cases import cases_of, rank_unit
from dicom_node.services.decisions import Verdict
from dicom_node.services.found import whats_so
from dicom_node.services.links import Proposals, propose
from dicom_node.services.rebuild import rebuild
from dicom_node.services.releases import Change, Releases
from dicom_node.services.renewals import Cycles
from dicom_node.site import Stores
from tests.factories import code, make_kos, make_mg, make_sc, new_uid, view_code
from tests.sites import START, derived_rows, opened_site, receive, write_site

UNIT_A: dict[str, Any] = {"serial": "UA-1002", "station": "UPR-A", "OperatorsName": "SYNTH^OPERATOR"}
ELSEWHERE: dict[str, Any] = {"serial": "MG-9", "station": "SCREENING"}
BIOPSY, MAMMOGRAM = date(2026, 9, 14), date(2026, 8, 3)
TODAY = START.date()
LEE = Verdict(by="lee", at=START, reason="seen on the screen")
VIEWS = {"CC": "399162004", "MLO": "399368009", "ML": "399260004"}
CABINET = '[senders.cabinet]\nrole = "specimen"\nae_title = "FAX_RM1"\nhost = "127.0.0.0/8"\n'


@pytest.fixture
def stores(index_url: str, tmp_path: Path) -> Iterator[Stores]:
    """A facility on either database, with a specimen cabinet."""
    folder = tmp_path / "site"
    folder.mkdir()
    with opened_site(write_site(folder, database=index_url, more=CABINET)) as opened:
        yield opened


@pytest.fixture
def sqlite_stores(tmp_path: Path) -> Iterator[Stores]:
    """As ``stores``, for what no database decides."""
    with opened_site(write_site(tmp_path, more=CABINET)) as opened:
        yield opened


def biopsy(stores: Stores, day: date = BIOPSY, **options: Any) -> str:
    """Store a biopsy with a pre-fire pair on upright A, and return the study."""
    study_uid = new_uid()
    for stage in ("STEREO_SCOUT", "PREFIRE_MINUS", "PREFIRE_PLUS", "POSTFIRE_MINUS"):
        receive(stores, make_mg(**UNIT_A | {"study_uid": study_uid, "stage": stage, "day": day} | options))
    return study_uid


def mammogram(stores: Stores, day: date = MAMMOGRAM, views: tuple[str, ...] = ("CC", "ML"), **options: Any) -> str:
    """Store a mammogram made elsewhere and return the study."""
    study_uid = new_uid()
    for view in views:
        ds = make_mg(**ELSEWHERE | {"study_uid": study_uid, "day": day, "ViewCodeSequence": view_of(view)} | options)
        receive(stores, ds, sender="PACS")
    return study_uid


def view_of(name: str) -> Sequence:
    return view_code(VIEWS[name])


def specimen(
    stores: Stores, day: date = BIOPSY, sender: str = "PACS", make: Callable[..., Dataset] = make_mg, **options: Any
) -> str:
    """Store a radiograph of a specimen, which a mammography object says, and return the study."""
    views = view_code()
    views[0].ViewModifierCodeSequence = Sequence([code("127457009", "SCT", "specimen")])
    told = {"day": day, "study_uid": new_uid(), "serial": "FX-1"} | options
    if make is make_mg:
        told = {"ViewCodeSequence": views, "laterality": ""} | told
    receive(stores, make(**told), sender=sender)
    return str(told["study_uid"])


def exam_of(stores: Stores, study_uid: str, unit_id: str = "upright_a") -> ExamRecord:
    with stores.index.read() as conn:
        (found,) = [each for each in exams.of_study(conn, study_uid) if each.unit_id == unit_id]
    return found


def case_of(stores: Stores, study_uid: str, unit_id: str = "upright_a") -> Case:
    exam = exam_of(stores, study_uid, unit_id)
    return cases_of(stores.archive, stores.index, [exam])[exam.id]


def proposals(stores: Stores, study_uid: str) -> Proposals:
    return propose(stores.index, stores.site.registry, case_of(stores, study_uid))


def proposed(stores: Stores, study_uid: str) -> list[tuple[str, str]]:
    return [(each.role.value, each.study_uid) for each in proposals(stores, study_uid).studies]


def clinical(stores: Stores, unit_id: str = "upright_a") -> Standing:
    with stores.index.read() as conn:
        standings = whats_so(conn, stores.site.rules, [unit_id], TODAY)[unit_id].standings
    return next(each for each in standings if each.portion is Portion.CLINICAL)


class TestFacts:
    def test_an_exam_is_told_by_all_its_headers(self, stores: Stores) -> None:
        case = case_of(stores, biopsy(stores))
        facts = case.facts
        assert facts.stages == (Stage.SCOUT, Stage.PRE_FIRE, Stage.POST_FIRE)
        assert (facts.pair.state, facts.pair.stage) == (PairState.COMPLETE, Stage.PRE_FIRE)
        assert (facts.laterality, facts.images, facts.missing, facts.burned_in) == (Laterality.LEFT, 4, {}, False)
        assert (case.state, case.day, facts.first_day) == (CaseState.CANDIDATE, BIOPSY, BIOPSY)

    def test_headers_are_read_once_until_the_exam_changes(
        self, stores: Stores, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read: list[str] = []
        really = cases_service.read_object

        def counting(archive: Any, digest: str) -> Any:
            read.append(digest)
            return really(archive, digest)

        monkeypatch.setattr(cases_service, "read_object", counting)
        study_uid = biopsy(stores)
        first = case_of(stores, study_uid)
        assert len(read) == 4
        assert case_of(stores, study_uid) == first
        assert len(read) == 4
        late = make_mg(**UNIT_A, study_uid=study_uid, stage="POSTFIRE_PLUS", day=BIOPSY, laterality="R")
        receive(stores, late)
        changed = case_of(stores, study_uid)
        assert (len(read), changed.facts.laterality) == (9, Laterality.BOTH)
        receive(stores, make_kos([late], day=BIOPSY))  # rejected: it says nothing any more
        assert case_of(stores, study_uid).facts == first.facts

    def test_what_is_kept_is_of_no_patient(self, sqlite_stores: Stores) -> None:
        case_of(sqlite_stores, biopsy(sqlite_stores))
        with sqlite_stores.index.read() as conn:
            (row,) = conn.execute(exam_case.select())
        kept = str(row)
        assert "pre-fire" in kept
        assert all(secret not in kept for secret in ("SYNTH", "ACC-0001", "1970"))

    def test_an_image_that_is_gone_is_counted(self, sqlite_stores: Stores) -> None:
        study_uid = biopsy(sqlite_stores)
        with sqlite_stores.index.read() as conn:
            digest = exams.instances_of(conn, study_uid, "upright_a")[0].digest
        next(sqlite_stores.site.settings.storage.path.rglob(f"{digest}.dcm")).unlink()
        facts = case_of(sqlite_stores, study_uid).facts
        assert (facts.images, facts.unreadable) == (3, 1)
        assert "1 image that cannot be read" in case_of(sqlite_stores, study_uid).still_wanted

    def test_a_mammogram_in_the_study_of_the_biopsy_does_not_blur_it(self, sqlite_stores: Stores) -> None:
        study_uid = biopsy(sqlite_stores)
        receive(sqlite_stores, make_mg(**UNIT_A, study_uid=study_uid, day=BIOPSY, laterality="R"), sender="UPRIGHT_A")
        assert case_of(sqlite_stores, study_uid).facts.laterality is Laterality.LEFT


class TestDecisions:
    def test_an_old_mammogram_makes_a_fresh_biopsy_old(self, stores: Stores) -> None:
        old, fresh = biopsy(stores, date(2026, 7, 1)), biopsy(stores)
        before = clinical(stores)
        assert (before.state, before.newest and before.newest.day) == (State.OK, BIOPSY)
        exam = stores.cases().confirm(exam_of(stores, fresh).id, LEE, mammogram_day=date(2026, 5, 1))
        assert (exam.day, exam.day_source, exam.counts) == (date(2026, 5, 1), "the mammogram a person confirmed", True)
        assert exam.flags[0] == "older than its images: as old as the mammogram"
        assert exam.case is CaseState.CONFIRMED
        after = clinical(stores)
        assert (after.state, after.newest and after.newest.exam_id) == (State.NEARING, exam_of(stores, old).id)
        stores.cases().confirm(exam_of(stores, old).id, LEE, mammogram_day=date(2026, 5, 22))
        assert clinical(stores).state is State.LAPSED
        stores.decisions().include(exam.id, LEE)
        assert clinical(stores).newest == before.newest

    def test_a_mammogram_of_the_same_day_changes_no_day(self, sqlite_stores: Stores) -> None:
        exam = exam_of(sqlite_stores, biopsy(sqlite_stores))
        found = sqlite_stores.cases().confirm(exam.id, LEE, mammogram_day=BIOPSY)
        assert (found.day, found.day_source, found.flags) == (exam.day, exam.day_source, exam.flags)

    def test_a_rejected_case_counts_toward_nothing_and_says_why(self, stores: Stores) -> None:
        exam = exam_of(stores, biopsy(stores))
        rejected = stores.cases().reject(exam.id, LEE)
        assert (rejected.counts, rejected.case) == (False, CaseState.REJECTED)
        assert rejected.why_not == "a person rejected it: it cannot be submitted"
        assert clinical(stores).state is State.MISSING
        again = stores.cases().confirm(exam.id, LEE, mammogram_day=MAMMOGRAM)  # a second look
        assert (again.counts, again.case) == (True, CaseState.CONFIRMED)
        stores.cases().reject(exam.id, LEE)
        taken_back = stores.decisions().include(exam.id, LEE)
        assert (taken_back.counts, taken_back.case, taken_back.day) == (True, CaseState.CANDIDATE, BIOPSY)

    def test_a_rebuild_knows_every_decision(self, stores: Stores) -> None:
        studies = [biopsy(stores, date(2026, 9, day)) for day in (14, 15, 16, 17)]
        shown, radiograph = mammogram(stores), specimen(stores)
        linked, dated, rejected, moved = (exam_of(stores, each).id for each in studies)
        stores.cases().confirm(linked, LEE, mammograms=[shown], specimens=[radiograph])
        stores.cases().confirm(dated, LEE, mammogram_day=date(2026, 7, 1))
        stores.cases().reject(rejected, LEE)
        stores.cases().confirm(moved, LEE, mammogram_day=date(2026, 7, 2))
        stores.decisions().attribute(moved, "upright_b", LEE)
        before, cases = derived_rows(stores.index), [case_of(stores, each) for each in studies[:3]]
        rebuild(stores.archive, stores.index, stores.indexer)
        assert derived_rows(stores.index) == before
        assert [case_of(stores, each) for each in studies[:3]] == cases
        assert [each.study_uid for each in cases[0].links] == [shown, radiograph]
        assert cases[0].decision is not None
        assert (cases[0].decision.decided_by, cases[0].decision.reason) == ("lee", "seen on the screen")

    def test_what_was_decided_goes_along_to_another_unit(self, stores: Stores) -> None:
        study_uid, shown = biopsy(stores), mammogram(stores)
        exam = exam_of(stores, study_uid)
        stores.cases().confirm(exam.id, LEE, mammograms=[shown])
        moved = stores.decisions().attribute(exam.id, "upright_b", LEE)
        assert (moved.unit_id, moved.case, moved.day) == ("upright_b", CaseState.CONFIRMED, MAMMOGRAM)
        case = case_of(stores, study_uid, "upright_b")
        assert [each.study_uid for each in case.links] == [shown]
        assert clinical(stores).state is State.MISSING
        assert clinical(stores, "upright_b").newest is not None

    def test_a_phantom_exam_is_confirmed_without_a_mammogram(self, sqlite_stores: Stores) -> None:
        phantom = make_mg(**UNIT_A, stage="STEREO_MINUS", day=BIOPSY, phantom="113685")
        receive(sqlite_stores, phantom)
        exam = exam_of(sqlite_stores, phantom.StudyInstanceUID)
        with pytest.raises(OperatorError, match="a phantom has no mammogram"):
            sqlite_stores.cases().confirm(exam.id, LEE, mammogram_day=MAMMOGRAM)
        found = sqlite_stores.cases().confirm(exam.id, LEE)
        assert (found.portion, found.case, found.day) == (Portion.PHANTOM, CaseState.CONFIRMED, BIOPSY)

    def test_a_confirmation_that_does_not_fit_is_refused_and_leaves_no_trace(self, sqlite_stores: Stores) -> None:
        stores, service = sqlite_stores, sqlite_stores.cases()
        exam = exam_of(stores, biopsy(stores)).id
        shown, of_another = mammogram(stores), mammogram(stores, patient_id="SYNTH-0002")
        excluded = exam_of(stores, biopsy(stores)).id
        stores.decisions().exclude(excluded, LEE)
        before = derived_rows(stores.index)["decision"]
        for exam_id, told, sentence in (
            (exam, {}, "needs the day of its correlating mammogram"),
            (exam, {"mammogram_day": date(2026, 9, 15)}, "is later than the biopsy of 2026-09-14"),
            (exam, {"mammogram_day": date(1900, 1, 1)}, "is no day of a mammogram"),
            (exam, {"mammogram_day": date(2026, 8, 4), "mammograms": [shown]}, "is of 2026-08-03, not of 2026-08-04"),
            (exam, {"mammograms": [of_another]}, "is not proposed as the mammogram"),
            (exam, {"mammograms": [shown], "specimens": [shown]}, "is not proposed as the specimen"),
            (excluded, {"mammogram_day": MAMMOGRAM}, "is no case: a person excluded it"),
            ("nothing", {"mammogram_day": MAMMOGRAM}, "there is no exam 'nothing'"),
        ):
            with pytest.raises(OperatorError, match=sentence):
                service.confirm(exam_id, LEE, **told)  # type: ignore[arg-type]
        with pytest.raises(OperatorError, match="needs a reason"):
            service.confirm(exam, replace(LEE, reason=" "), mammogram_day=MAMMOGRAM)
        with pytest.raises(OperatorError, match="is no case"):
            service.reject(excluded, LEE)
        assert derived_rows(stores.index)["decision"] == before

    def test_a_specimen_may_be_linked_later_and_the_day_stays(self, sqlite_stores: Stores) -> None:
        study_uid = biopsy(sqlite_stores)
        exam = exam_of(sqlite_stores, study_uid).id
        sqlite_stores.cases().confirm(exam, LEE, mammogram_day=MAMMOGRAM)
        radiograph = specimen(sqlite_stores)
        sqlite_stores.cases().confirm(exam, LEE, specimens=[radiograph])
        case = case_of(sqlite_stores, study_uid)
        assert (case.mammogram_day, case.has_specimen) == (MAMMOGRAM, True)
        assert [each.study_uid for each in case.linked(LinkRole.SPECIMEN)] == [radiograph]


class TestLinks:
    def test_mammogram_and_specimen_of_other_devices_are_proposed(self, stores: Stores) -> None:
        study_uid = biopsy(stores)
        older, newer = mammogram(stores, date(2026, 3, 2), ("CC",)), mammogram(stores)
        radiograph = specimen(stores, date(2026, 9, 15))
        found = proposals(stores, study_uid)
        assert [each.study_uid for each in found.studies] == [newer, older, radiograph]
        first, second, third = found.studies
        assert (first.role, first.day, first.views, first.remarks) == (LinkRole.MAMMOGRAM, MAMMOGRAM, ("CC", "ML"), ())
        assert (second.views, second.remarks) == (("CC",), ("two views are wanted",))
        assert (third.role, third.day, len(third.sop_instance_uids)) == (LinkRole.SPECIMEN, date(2026, 9, 15), 1)
        assert found.doubts == ()

    def test_what_is_linked_to_a_case_waits_for_no_unit(self, stores: Stores) -> None:
        def waiting() -> list[list[str]]:
            with stores.index.read() as conn:
                alerted = [name for each in findings.unattributed_exams(conn, MAMMOGRAM) for name in each.exams.ids]
                return [[each.id for each in exams.unattributed(conn)], alerted]

        exam_id, film = exam_of(stores, biopsy(stores)).id, mammogram(stores)
        assert waiting() == [[exam_of(stores, film, "").id]] * 2
        stores.cases().confirm(exam_id, LEE, mammograms=[film])
        assert waiting() == [[], []]
        stores.decisions().include(exam_id, LEE)
        assert waiting() == [[exam_of(stores, film, "").id]] * 2

    def test_what_does_not_fit_is_no_mammogram(self, sqlite_stores: Stores) -> None:
        found = {}
        for number, options in enumerate(
            (
                {"patient_id": "SYNTH-0002"},
                {"patient_id": "synth-2-1"},  # ids are told apart by case
                {"laterality": "R"},
                {"laterality": "U"},
                {"day": date(2026, 9, 15)},
                {"day": None},
                {"stage": "STEREO_SCOUT"},
                {"quality_control": "YES"},
                {"phantom": "113685"},
                {"Modality": "US"},
            )
        ):
            patient = {"patient_id": f"SYNTH-2-{number}"}
            study_uid = biopsy(sqlite_stores, **patient)
            mammogram(sqlite_stores, views=("CC",), **patient | options)
            found[str(options)] = proposed(sqlite_stores, study_uid)
        assert [options for options, several in found.items() if several] == []

    def test_a_specimen_is_of_the_day_of_the_biopsy_or_the_next(self, sqlite_stores: Stores) -> None:
        for number, (options, fits) in enumerate(
            (
                ({"day": date(2026, 9, 15)}, True),
                ({"day": date(2026, 9, 16)}, False),
                ({"day": date(2026, 9, 13)}, False),
                ({"laterality": "L"}, True),
                ({"laterality": "R"}, False),
                ({"patient_id": "SYNTH-0002"}, False),
                ({"sender": "FAX_RM1", "ViewCodeSequence": None}, True),
                ({"sender": "FAX_RM1", "ViewCodeSequence": None, "laterality": "L"}, True),
                ({"sender": "PACS", "ViewCodeSequence": None}, False),
                ({"sender": "FAX_RM1", "make": make_sc}, True),
                ({"sender": "PACS", "make": make_sc}, False),
            )
        ):
            patient = {"patient_id": f"SYNTH-3-{number}"}
            study_uid = biopsy(sqlite_stores, **patient)
            radiograph = specimen(sqlite_stores, **patient | options)
            assert proposed(sqlite_stores, study_uid) == ([("specimen", radiograph)] if fits else []), options

    def test_a_patient_id_alone_proves_no_patient(self, sqlite_stores: Stores) -> None:
        for number, (options, fits) in enumerate(
            (
                ({"patient_name": "SYNTH^OTHER"}, False),
                ({"patient_name": "synth^patient"}, True),
                ({"patient_name": ""}, True),
                ({"PatientBirthDate": "19710101"}, False),
                ({"PatientBirthDate": ""}, True),
                ({"IssuerOfPatientID": "ELSEWHERE"}, False),
                ({"IssuerOfPatientID": ""}, True),
            )
        ):
            patient = {"patient_id": f"SYNTH-4-{number}", "IssuerOfPatientID": "HERE"}
            study_uid = biopsy(sqlite_stores, **patient)
            shown = mammogram(sqlite_stores, **patient | options)
            found = proposals(sqlite_stores, study_uid)
            assert [each.study_uid for each in found.studies] == ([shown] if fits else []), options
            doubt = "1 study has the patient id, but another issuer, name or birth date, or several: not proposed"
            assert found.doubts == (() if fits else (doubt,))

    def test_a_study_of_two_patients_is_proposed_for_none_and_gets_no_proposal(self, sqlite_stores: Stores) -> None:
        study_uid = biopsy(sqlite_stores)
        shown = mammogram(sqlite_stores)
        receive(sqlite_stores, make_mg(**ELSEWHERE, study_uid=shown, patient_name="SYNTH^OTHER", day=MAMMOGRAM))
        assert proposed(sqlite_stores, study_uid) == []
        receive(sqlite_stores, make_mg(**UNIT_A, study_uid=study_uid, patient_name="SYNTH^OTHER", day=BIOPSY))
        doubts = proposals(sqlite_stores, study_uid).doubts
        assert doubts == ("nothing is proposed: the images of the biopsy name different patients",)

    def test_a_biopsy_in_doubt_says_so(self, sqlite_stores: Stores) -> None:
        for options, doubt in (
            ({"patient_id": ""}, "nothing is proposed: the images of the biopsy have no patient id"),
            ({"laterality": "B"}, "no mammogram is proposed: the laterality of the biopsy is both"),
            ({"laterality": "U"}, "no mammogram is proposed: the laterality of the biopsy is not told"),
        ):
            study_uid = biopsy(sqlite_stores, **options)
            mammogram(sqlite_stores, **options)
            found = proposals(sqlite_stores, study_uid)
            assert (found.studies, found.doubts) == ((), (doubt,))

    def test_a_mammogram_of_the_same_day_and_study_is_remarked_on(self, sqlite_stores: Stores) -> None:
        study_uid = biopsy(sqlite_stores)
        for view in ("CC", "MLO"):
            images = {"study_uid": study_uid, "day": BIOPSY, "ViewCodeSequence": view_of(view)}
            receive(sqlite_stores, make_mg(**UNIT_A, **images), sender="UPRIGHT_A")
        (found,) = proposals(sqlite_stores, study_uid).studies
        assert (found.study_uid, found.views) == (study_uid, ("CC", "MLO"))
        assert found.remarks == ("of the day of the biopsy: see that it was taken before",)

    def test_once_confirmed_the_older_day_hides_no_proposal(self, sqlite_stores: Stores) -> None:
        study_uid = biopsy(sqlite_stores)
        shown, radiograph = mammogram(sqlite_stores), specimen(sqlite_stores)
        exam = exam_of(sqlite_stores, study_uid).id
        sqlite_stores.cases().confirm(exam, LEE, mammogram_day=date(2026, 6, 1))
        assert proposed(sqlite_stores, study_uid) == [("mammogram", shown), ("specimen", radiograph)]


def test_the_cases_of_a_unit_are_ranked_for_the_package_on_record(sqlite_stores: Stores) -> None:
    stores = sqlite_stores
    good, poor, old = biopsy(stores), biopsy(stores, laterality="U"), biopsy(stores, date(2026, 5, 1))

    def ranked(release: date | None = None) -> list[tuple[str, bool]]:
        found = rank_unit(stores.archive, stores.index, stores.site.rules, "upright_a", today=TODAY, release=release)
        return [(each.case.study_uid, each.admitted) for each in found.ranked]

    assert ranked() == [(good, True), (poor, True)]
    assert ranked(date(2026, 10, 30)) == [(good, True), (old, True), (poor, True)]
    assert ranked(date(2027, 3, 15)) == []
    with pytest.raises(OperatorError, match="no answer for this day"):
        ranked(date(1, 2, 3))


def test_candidates_are_those_of_the_enrolment_that_the_release_falls_in(sqlite_stores: Stores) -> None:
    stores = sqlite_stores
    before, after = biopsy(stores), biopsy(stores, date(2026, 10, 20))
    mammogram(stores)
    released = date(2026, 9, 20)
    change = Change(by="lee", at=START, today=TODAY)
    packages = Releases(archive=stores.archive, index=stores.index, units=stores.site.registry.units)
    packages.record("upright_a", released, due_on=None, planned=False, note="", change=change)
    moved = replace(
        stores.site.registry.units["upright_a"],
        enrolments=(
            Enrolment(last_day=date(2026, 9, 30)),
            Enrolment(facility="annex", first_day=date(2026, 10, 12)),
        ),
    )
    rules = replace(stores.site.rules, registry=replace(stores.site.registry, units={"upright_a": moved}))

    def ranked(release: date | None = None) -> tuple[date, list[str], list[date | None]]:
        found = rank_unit(stores.archive, stores.index, rules, "upright_a", today=TODAY, release=release)
        return found.released_on, [each.case.study_uid for each in found.ranked], [e.spoiled_by for e in found.ranked]

    # Of the annex the mammogram would make the case one of the time before.
    assert ranked() == (TODAY, [after], [MAMMOGRAM])
    assert ranked(released) == (released, [before], [None])


def test_a_package_of_an_earlier_cycle_is_not_what_candidates_are_ranked_for(sqlite_stores: Stores) -> None:
    stores = sqlite_stores
    good, units = biopsy(stores), stores.site.registry.units
    change = Change(by="lee", at=START, today=TODAY)
    packages = Releases(archive=stores.archive, index=stores.index, units=units)
    package = packages.record("upright_a", date(2026, 5, 4), due_on=None, planned=False, note="", change=change)
    packages.amend(package.id, state=ReleaseState.DEFICIENT, change=change)
    cycles = Cycles(archive=stores.archive, index=stores.index, units=units, terms=stores.site.rules.policy.terms)
    cycles.open("main", date(2027, 6, 1), note="", change=change)
    found = rank_unit(stores.archive, stores.index, stores.site.rules, "upright_a", today=TODAY)
    assert (found.released_on, [each.case.study_uid for each in found.ranked]) == (TODAY, [good])


def test_the_made_up_exams_of_one_patient_make_a_whole_case(sqlite_stores: Stores) -> None:
    unit, elsewhere = Device(calling_ae="UPRIGHT_A", serial="UA-1002", station="UPR-A"), Device(calling_ae="PACS")
    for device, kind, day in (
        (unit, Kind.BIOPSY, BIOPSY),
        (elsewhere, Kind.MAMMOGRAM, MAMMOGRAM),
        (elsewhere, Kind.SPECIMEN, BIOPSY),
    ):
        for ds in make_exam(device, kind, day, patient_id="SYNTH-7"):
            receive(sqlite_stores, ds, sender=device.calling_ae)
    study_uid = make_exam(unit, Kind.BIOPSY, BIOPSY)[0].StudyInstanceUID
    shown, radiograph = (each.study_uid for each in proposals(sqlite_stores, study_uid).studies)
    exam = exam_of(sqlite_stores, study_uid)
    sqlite_stores.cases().confirm(exam.id, LEE, mammograms=[shown], specimens=[radiograph])
    assert case_of(sqlite_stores, study_uid).still_wanted == ()
