from datetime import date
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_node.accreditation.signals import DateCandidate
from tests.factories import item, make_bto, make_kos, make_mg, make_rdsr, make_sc
from tests.unit.dicom.reading import signals_of

DAYS = {number: date(2026, 5, number) for number in range(1, 32)}
BPX = "1.2.840.10008.5.1.4.1.1.13.1.4"
MR = "1.2.840.10008.5.1.4.1.1.4"
GSPS = "1.2.840.10008.5.1.4.1.1.11.1"
PDF = "1.2.840.10008.5.1.4.1.1.104.1"


def sources(ds: Dataset) -> list[str]:
    return [candidate.source for candidate in signals_of(ds).dates]


def test_the_dates_of_an_image_are_tried_from_the_acquisition_on() -> None:
    ds = make_mg(
        AcquisitionDateTime="20260501", AcquisitionDate="20260502", ContentDate="20260503", SeriesDate="20260504",
        PerformedProcedureStepStartDate="20260505", StudyDate="20260506", InstanceCreationDate="20260507",
    )  # fmt: skip
    assert signals_of(ds).dates == (
        DateCandidate(source="AcquisitionDateTime", day=DAYS[1]),
        DateCandidate(source="AcquisitionDate", day=DAYS[2]),
        DateCandidate(source="ContentDate", day=DAYS[3]),
        DateCandidate(source="SeriesDate", day=DAYS[4]),
        DateCandidate(source="PerformedProcedureStepStartDate", day=DAYS[5]),
        DateCandidate(source="StudyDate", day=DAYS[6]),
    )


@pytest.mark.parametrize("sop_class_uid", [f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("1", "1.1", "1.1.1", "1.2.1")])
def test_other_projection_images_are_dated_as_mammograms(sop_class_uid: str) -> None:
    assert sources(make_mg(SOPClassUID=sop_class_uid)) == ["AcquisitionDate", "ContentDate", "SeriesDate", "StudyDate"]


def test_an_original_capture_is_dated_as_an_image() -> None:
    assert sources(make_sc(original=True)) == ["ContentDate", "SeriesDate", "StudyDate"]


def test_a_projection_object_falls_back_on_its_earliest_frame() -> None:
    ds = make_bto(SOPClassUID=BPX)
    assert sources(ds)[:1] == ["FrameContentSequence.FrameAcquisitionDateTime"]
    ds = make_bto(SOPClassUID=BPX, AcquisitionDateTime="20260501")
    assert sources(ds)[:2] == ["AcquisitionDateTime", "FrameContentSequence.FrameAcquisitionDateTime"]


def test_a_tomosynthesis_object_is_dated_by_its_sources_and_last_by_its_content() -> None:
    ds = make_bto(AcquisitionDate="20260504", PerformedProcedureStepStartDate="20260504")
    assert sources(ds) == [
        "ContributingSourcesSequence.AcquisitionDateTime",
        "XRay3DAcquisitionSequence.StartAcquisitionDateTime",
        "FrameContentSequence.FrameAcquisitionDateTime",
        "AcquisitionDate",
        "PerformedProcedureStepStartDate",
        "SeriesDate",
        "StudyDate",
        "ContentDate",
    ]


def test_the_earliest_of_several_sources_counts() -> None:
    ds = make_bto()
    ds.ContributingSourcesSequence.append(item(AcquisitionDateTime="20260503235959"))
    assert signals_of(ds).dates[0].day == DAYS[3]


def test_a_dose_report_is_dated_by_its_exposures() -> None:
    assert sources(make_rdsr()) == ["DateTimeStarted", "ContentDate", "SeriesDate", "StudyDate"]


def test_a_secondary_capture_is_dated_by_the_acquisition_it_shows() -> None:
    ds = make_sc(AcquisitionDate="20260501", ContentDate="20260502", DateOfSecondaryCapture="20260503")
    assert sources(ds) == ["AcquisitionDate", "ContentDate", "DateOfSecondaryCapture", "SeriesDate", "StudyDate"]


def test_what_has_no_date_of_its_own_has_no_candidates() -> None:
    assert sources(make_kos()) == []
    assert sources(make_kos(SOPClassUID=GSPS)) == []
    assert sources(make_kos(SOPClassUID=PDF)) == []
    assert sources(make_rdsr(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33")) == []


def test_an_image_that_counts_toward_nothing_is_dated_all_the_same() -> None:
    assert sources(make_mg(SOPClassUID=MR, Modality="MR"))[0] == "AcquisitionDate"


def test_an_empty_date_is_no_candidate() -> None:
    assert signals_of(make_mg(day=None, AcquisitionDate="", ContentDate=None)).dates == ()
    assert signals_of(make_bto(day=None)).dates == ()


@pytest.mark.parametrize(
    ("elements", "day"),
    [
        ({"AcquisitionDate": "2026.05.01"}, DAYS[1]),
        ({"AcquisitionDateTime": "20260501235959.123456-0500"}, DAYS[1]),
        ({"AcquisitionDateTime": "20260501000000+1400", "TimezoneOffsetFromUTC": "-0500"}, DAYS[1]),
    ],
)
def test_the_local_day_is_taken_as_written(elements: dict[str, Any], day: date) -> None:
    assert signals_of(make_mg(**elements)).dates[0].day == day


@pytest.mark.parametrize(
    "elements", [{"AcquisitionDate": "ANON"}, {"AcquisitionDate": "20260230"}, {"AcquisitionDateTime": "202605"}]
)
def test_what_is_no_date_is_a_candidate_with_a_problem(elements: dict[str, str]) -> None:
    first, second, *_ = signals_of(make_mg(**elements)).dates
    assert (first.source, first.day, first.problem) == (next(iter(elements)), None, "not a date")
    assert second.problem == ""


def test_a_date_before_the_machine_was_invented_is_left_to_the_rules() -> None:
    assert signals_of(make_mg(AcquisitionDate="19000101")).dates[0] == DateCandidate(
        source="AcquisitionDate", day=date(1900, 1, 1)
    )


@pytest.mark.parametrize(("value", "problem"), [("MODIFIED", "dates were modified"), ("REMOVED", "dates were removed")])
def test_changed_dates_are_a_problem_of_every_candidate(value: str, problem: str) -> None:
    signals = signals_of(make_mg(LongitudinalTemporalInformationModified=value))
    assert {candidate.problem for candidate in signals.dates} == {problem}
    assert signals.study_day is None


def test_unchanged_dates_are_no_problem() -> None:
    signals = signals_of(make_mg(LongitudinalTemporalInformationModified="UNMODIFIED"))
    assert {candidate.problem for candidate in signals.dates} == {""}
    assert signals.study_day == date(2026, 5, 4)


def test_frames_without_a_date_are_passed_over() -> None:
    ds = make_bto(ContributingSourcesSequence=None, XRay3DAcquisitionSequence=None)
    ds.PerFrameFunctionalGroupsSequence[0].FrameContentSequence = Sequence([item(FrameAcquisitionDateTime="")])
    assert signals_of(ds).dates[0] == DateCandidate(
        source="FrameContentSequence.FrameAcquisitionDateTime", day=date(2026, 5, 4)
    )
