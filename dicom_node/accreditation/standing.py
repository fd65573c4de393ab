"""Where a unit stands in each portion on a given day."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from dicom_node.accreditation.portions import Portion


class State(StrEnum):
    """Standing of a unit and portion, from best to worst in the order of ``SEVERITY``."""

    OK = "ok"
    NEARING = "nearing"
    LAPSED = "lapsed"
    MISSING = "missing"
    SECURED = "secured"
    SHORT = "short"
    RETIRED = "retired"
    NOT_REQUIRED = "not required"


class ReleaseState(StrEnum):
    """Life of a testing package (a release) of a unit."""

    PLANNED = "planned"
    RECORDED = "recorded"
    SUBMITTED = "submitted"
    PASSED = "passed"
    DEFICIENT = "deficient"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A testing package of one unit: the day it was (or is expected to be) released, and its printed due date."""

    released_on: date
    due_on: date | None
    state: ReleaseState


@dataclass(frozen=True, slots=True, kw_only=True)
class CountingExam:
    """A dated exam of one portion that nobody excluded."""

    exam_id: str
    day: date
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one unit stands in one portion. All dates are local calendar dates, all ends included."""

    unit: str
    portion: Portion
    state: State
    newest: CountingExam | None
    """The newest exam that counts (with a recorded release: the newest inside the window, else the newest of all)."""
    counts_until: date | None
    """The exam's date plus the policy's months, clamped: the day reminders count to. None when nothing ages."""
    last_release: date | None
    """The latest release date whose window admits the exam."""
    days_left: int | None
    """Days from today to what is counted down (``counts_until``, or the due date when short); negative once past."""
    cutoff: date | None
    """What is counted down to."""
    release: Release | None
    window_first: date | None
    window_last: date | None
    policy_id: str
    counts_for_planned: bool | None = None
    """With a planned release: would the newest exam still count for it?"""
