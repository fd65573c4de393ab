"""What a message tells, before it has words: the unit, the alerts, the day; and who speaks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from enum import StrEnum
from typing import Any

from dicom_node.accreditation.reminders import Severity

URGENCY = tuple(Severity)
"""Severities from the least to the most urgent."""


class NoticeKind(StrEnum):
    """What a message is for."""

    FIRING = "firing"
    """Something is wrong or about to be."""
    RESOLVED = "resolved"
    """What an earlier message told of is over."""
    DIGEST = "digest"
    """The week's summary, also when all is well."""
    TEST = "test"
    """An operator tries a channel."""


class AlertKind(StrEnum):
    """The conditions the node watches for; docs/operations.md has a section on each."""

    ELIGIBILITY = "eligibility"
    """A unit's newest exam of a portion stops counting, has stopped, or there is none."""
    UNREGISTERED_UNIT = "unregistered_unit"
    """Biopsy images of a device that no unit's configuration names, or of a unit on a day it is not enrolled."""
    UNIT_MUST_APPLY = "unit_must_apply"
    """A unit that is not applying has an attachment, or biopsies were made on it."""
    UNDATED = "undated"
    """Exams of a unit without a day that can be trusted."""
    UNATTRIBUTED = "unattributed"
    """Exams that may count, of a unit nobody can tell."""
    AMBIGUOUS = "ambiguous"
    """Exams that may count, and that two or more units match."""
    ATTACHMENT_MOVED = "attachment_moved"
    """An attachment left a host, which gets no fresh cases."""
    CLOCK_DRIFT = "clock_drift"
    """The days a device writes are not those on which it sends."""
    RENAMED_DEVICE = "renamed_device"
    """A known device shows itself under another station name, or calls under another AE title."""
    CONFLICT = "conflict"
    """Other content under a SOP Instance UID that is taken."""
    MILESTONE = "milestone"
    """A day of an accreditation cycle that something is expected by is near or past."""
    CERTIFICATE = "certificate"
    """A certificate that associations by TLS need ends soon, or has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Who speaks: the facility, the node's AE title, and the zone of its days."""

    facility: str
    ae_title: str
    zone: tzinfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One alert of a message. ``details`` depend on the kind; dates in them are ISO texts; no patient data."""

    alert_id: int | None
    """None in a preview of an alert that does not exist yet."""
    key: str
    kind: AlertKind
    unit_label: str = ""
    """Everyday name of the alert's own unit; "" for none."""
    portion: str = ""
    severity: Severity = Severity.WARNING
    details: Mapping[str, Any] = field(default_factory=dict)
    acknowledged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingLine:
    """One line of the digest's table."""

    unit: str
    portion: str
    state: str
    exam_day: date | None
    cutoff: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What one message tells. ``key`` names it for good: sent twice, it has the same Message-ID."""

    key: str
    kind: NoticeKind
    severity: Severity
    unit_id: str
    """"" for what concerns no single unit."""
    unit_label: str
    items: tuple[Item, ...]
    at: datetime
    """Aware; the day in the site's zone is the message's "today"."""
    also: tuple[str, ...] = ()
    """Sentences on what else is worth knowing of the unit."""
    table: tuple[StandingLine, ...] = ()
