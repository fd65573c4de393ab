"""The dates on which an instance may have been performed, best first (the order depends on the kind of object).

The creation date of the instance and the time of receipt are never among them: a study sent again keeps its date.
"""

from functools import lru_cache

from dicom_node.accreditation.signals import DateCandidate, Role
from dicom_node.dicom.datetimes import parse_da, parse_dt
from dicom_node.dicom.facts import InstanceFacts
from dicom_node.dicom.uids import DOSE_REPORTS, PROJECTIONS, SECONDARY_CAPTURES, TOMOSYNTHESIS

_FIRST_FRAME = "FrameContentSequence.FrameAcquisitionDateTime"
_STEP = "PerformedProcedureStepStartDate"

_IMAGE = ("AcquisitionDateTime", "AcquisitionDate", "ContentDate", "SeriesDate", _STEP, "StudyDate")
_PROJECTION = ("AcquisitionDateTime", _FIRST_FRAME, *_IMAGE[1:])
_TOMOSYNTHESIS = (
    "ContributingSourcesSequence.AcquisitionDateTime",
    "XRay3DAcquisitionSequence.StartAcquisitionDateTime",
    _FIRST_FRAME,
    "AcquisitionDateTime",
    "AcquisitionDate",
    _STEP,
    "SeriesDate",
    "StudyDate",
    "ContentDate",  # of a reconstruction, which may be made days later
)
_DOSE_REPORT = ("DateTimeStarted", "StartOfXRayIrradiation", _STEP, "ContentDate", "SeriesDate", "StudyDate")
_CAPTURE = ("AcquisitionDate", "ContentDate", "DateOfSecondaryCapture", "SeriesDate", "StudyDate")

_DATE_TIMES = frozenset(
    {"AcquisitionDateTime", "DateTimeStarted", "StartOfXRayIrradiation", _FIRST_FRAME, *_TOMOSYNTHESIS[:2]}
)
_ALTERED = {"MODIFIED": "dates were modified", "REMOVED": "dates were removed"}


def altered_dates(facts: InstanceFacts) -> str:
    """Say in words that someone changed the dates of an instance, all of them (0028,0303); "" when nobody did."""
    return _ALTERED.get(facts.get("LongitudinalTemporalInformationModified"), "")


def date_candidates(facts: InstanceFacts, role: Role) -> tuple[DateCandidate, ...]:
    """Return every date that is written, usable or not; an object without pixels that is no dose report has none."""
    altered = altered_dates(facts)
    return tuple([_candidate(source, text, altered) for source in _sources(facts, role) if (text := facts.get(source))])


@lru_cache(maxsize=1024)  # all instances of a study have the same few
def _candidate(source: str, text: str, altered: str) -> DateCandidate:
    day = parse_dt(text) if source in _DATE_TIMES else parse_da(text)
    return DateCandidate(source=source, day=day, problem=altered or ("" if day else "not a date"))


def _sources(facts: InstanceFacts, role: Role) -> tuple[str, ...]:
    sop_class_uid = facts.sop_class_uid
    if sop_class_uid in TOMOSYNTHESIS:
        return _TOMOSYNTHESIS
    if sop_class_uid in PROJECTIONS:
        return _PROJECTION
    if sop_class_uid in DOSE_REPORTS:
        return _DOSE_REPORT
    if sop_class_uid in SECONDARY_CAPTURES and role is not Role.PRIMARY:
        return _CAPTURE
    # Presentation states, key objects, other reports and documents have no rows: their study's images date them.
    return _IMAGE if role is Role.PRIMARY or facts.get("Rows") else ()
