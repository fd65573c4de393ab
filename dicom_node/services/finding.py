"""A finding: an alert as it should be, and what its key, its stage and its details are made of."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import quote

from dicom_node.accreditation.policies import Policy
from dicom_node.accreditation.reminders import Severity
from dicom_node.alerts.notice import AlertKind
from dicom_node.index.alerts import Condition
from dicom_node.index.findings import Exams

LONGEST = 64
"""Characters of a device's own text that are used; the standard allows no longer value (LO, PS3.5 6.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Condition):
    """An alert as it should be. ``details`` are JSON values; their ``state`` tells how bad it is."""

    kind: AlertKind
    severity: Severity
    stage: str
    """What people are to be told of next: the day it began, as ISO text, and a word. A later one is told again."""
    unit_id: str = ""
    portion: str = ""


def accredited_rule(policy: Policy) -> str:
    """State the rule that every unit used for biopsies must be accredited."""
    return (
        f"Rule {policy.id}: every unit on which stereotactic biopsies are performed must be accredited, each unit that "
        f"shares an attachment included ({policy.citation}; {policy.address})."
    )


def told(several: Exams) -> dict[str, Any]:
    """Return the details that tell of some exams."""
    return {"count": several.count, "exams": list(several.ids), "newest": iso(several.newest_day)}


def iso(day: date | None) -> str | None:
    """Return a day as details hold it."""
    return None if day is None else day.isoformat()


def stage(word: str, began: date = date.min) -> str:
    """Return the stage of a finding that began on a day."""
    return f"{began.isoformat()} {word}"


def week(at: datetime) -> date:
    """Return the Monday before the newest evidence: a finding is told again if there is more, once a week at most."""
    return at.date() - timedelta(days=at.weekday())


def quoted(text: str) -> str:
    """Return a device's text as part of a key: printable, without a slash, and of bounded length."""
    mark = "" if len(text) <= LONGEST else "~" + hashlib.sha256(text.encode()).hexdigest()[:8]
    return quote(text[:LONGEST], safe="") + mark


def sender(calling_ae: str) -> str:
    """Return a caller as part of a key."""
    return quoted(calling_ae) or "(import)"


def joined(unit_ids: Sequence[str]) -> str:
    """Return some units as part of a key."""
    return quoted("+".join(unit_ids))
