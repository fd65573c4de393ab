"""Each kind of alert in words: what is so, why it matters, what to do next. Plain words, no patient data.

Readers are technologists, physicists and administrators who meet the rule once in three years: every text restates the
rule, its source and the arithmetic. Commands stand beside the sentences, ready to be copied.
"""

from collections.abc import Callable, Mapping

from dicom_node.accreditation.portions import Portion
from dicom_node.alerts.devices import attachment_moved_words, clock_drift_words, renamed_device_words
from dicom_node.alerts.eligibility import eligibility_words
from dicom_node.alerts.findings import (
    ambiguous_words,
    certificate_words,
    conflict_words,
    unattributed_words,
    undated_words,
    unit_must_apply_words,
    unregistered_unit_words,
)
from dicom_node.alerts.milestones import milestone_words
from dicom_node.alerts.notice import AlertKind
from dicom_node.alerts.phrases import About, Words, capital, from_today, one_line, read_day

_FIRING: Mapping[AlertKind, Callable[[About], Words]] = {
    AlertKind.ELIGIBILITY: eligibility_words,
    AlertKind.UNREGISTERED_UNIT: unregistered_unit_words,
    AlertKind.UNIT_MUST_APPLY: unit_must_apply_words,
    AlertKind.UNDATED: undated_words,
    AlertKind.UNATTRIBUTED: unattributed_words,
    AlertKind.AMBIGUOUS: ambiguous_words,
    AlertKind.ATTACHMENT_MOVED: attachment_moved_words,
    AlertKind.CLOCK_DRIFT: clock_drift_words,
    AlertKind.RENAMED_DEVICE: renamed_device_words,
    AlertKind.CONFLICT: conflict_words,
    AlertKind.MILESTONE: milestone_words,
    AlertKind.CERTIFICATE: certificate_words,
}

_SUBJECTS: Mapping[AlertKind, str] = {
    AlertKind.UNREGISTERED_UNIT: "biopsy images of no registered unit",
    AlertKind.UNIT_MUST_APPLY: "biopsies on a unit that is not applying",
    AlertKind.UNDATED: "exams without a date",
    AlertKind.UNATTRIBUTED: "exams without a unit",
    AlertKind.AMBIGUOUS: "exams that several units match",
    AlertKind.ATTACHMENT_MOVED: "an attachment that is used elsewhere",
    AlertKind.CLOCK_DRIFT: "a clock that is wrong",
    AlertKind.RENAMED_DEVICE: "a device under another name",
    AlertKind.CONFLICT: "other content under a known UID",
    AlertKind.MILESTONE: "a milestone of the accreditation cycle",
    AlertKind.CERTIFICATE: "a certificate that ends",
}


def firing_words(about: About) -> Words:
    """Say what an alert that fires means on the day it is told."""
    return _FIRING[about.item.kind](about)


def resolved_words(about: About) -> Words:
    """Say that an alert is over, and what ended it."""
    solution = about.details.get("solution", {})
    portion = Portion(about.item.portion) if about.item.portion else None
    exam_day, until = read_day(solution, "exam_day"), read_day(solution, "counts_until")
    if exam_day is None:
        subject = _SUBJECTS[about.item.kind] if portion is None else f"{portion.evidence}s"
        reason = one_line(str(solution.get("reason", ""))) or "it is no longer so"
        return Words(headline=f"resolved: {subject}", what=f"{capital(reason)}.", why="", do=())
    assert portion is not None  # only exams and surveys have a day that solves anything
    what = f"By rule {solution['policy_id']} the {portion.evidence} of {exam_day} solved it."
    if until is not None:
        what += (
            f" It counts for a testing package released up to and including {until}, {from_today(until, about.today)}."
        )
    came = "recorded" if portion is Portion.PHYSICIST else "received"
    if released := read_day(solution, "release_on"):
        what += f" It lies inside the window of the testing package released on {released}."
    return Words(headline=f"resolved: {portion.evidence} of {exam_day} {came}", what=what, why="", do=())
