"""The words of the milestones of an accreditation cycle."""

from datetime import date, timedelta
from typing import Any

import pytest

from dicom_node.accreditation.milestones import MilestoneKind
from dicom_node.accreditation.reminders import Severity
from dicom_node.alerts.notice import AlertKind, Item
from dicom_node.alerts.phrases import About, Words
from dicom_node.alerts.words import firing_words

DAY = date(2027, 3, 30)


def words(kind: MilestoneKind, days_before: int = 14, **more: Any) -> Words:
    details = {
        "state": "nearing", "milestone": kind.value, "cycle": "c1", "facility": "main", "day": DAY.isoformat(),
        "is_estimate": False, "has_passed": False, "expires_on": "2027-09-30", "application_on": "2027-03-30",
        "policy_id": "acr", "rule": "Rule acr: so it is.", "arithmetic": "This is why.", "next_on": "2027-03-29",
    }  # fmt: skip
    item = Item(
        alert_id=1, key="milestone/c1", kind=AlertKind.MILESTONE, severity=Severity.WARNING, details=details | more
    )
    return firing_words(About(item=item, unit_id="", unit_label="", today=DAY - timedelta(days=days_before)))


@pytest.mark.parametrize("kind", MilestoneKind)
@pytest.mark.parametrize("days_before", [14, 0, -3])
def test_each_says_what_is_so_why_it_matters_and_what_to_do(kind: MilestoneKind, days_before: int) -> None:
    told = words(kind, days_before)
    assert told.headline.endswith(", cycle c1")
    assert str(DAY) in told.headline
    assert told.what.endswith(".")
    assert told.why == "Rule acr: so it is. This is why."
    assert any(step.command for step in told.do)
    assert told.next == "Reminder on 2027-03-29 unless acknowledged."


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        (MilestoneKind.NOTICE, "renewal notice expected in 14 days", "renewal notice expected 3 days ago"),
        (MilestoneKind.APPLICATION, "application for the renewal due in", "application for the renewal was due 3 days"),
        (MilestoneKind.COLLECT, "start collecting cases in 14 days", "start collecting cases since 2027-03-30"),
        (MilestoneKind.EXPIRY, "accreditation ends in 14 days", "accreditation ended 3 days ago"),
    ],
)
def test_the_headline_changes_when_the_day_is_past(kind: MilestoneKind, before: str, after: str) -> None:
    assert words(kind).headline.startswith(before)
    assert words(kind, -3).headline.startswith(after)


def test_a_cycle_of_another_facility_names_it() -> None:
    assert words(MilestoneKind.NOTICE, facility="west").headline.endswith(", cycle c1 of west")


def test_an_estimate_is_told_as_one() -> None:
    told = words(MilestoneKind.COLLECT, is_estimate=True)
    assert "(estimate)" in told.headline
    assert "by an estimate" in told.what
    assert any("--planned" in step.command for step in told.do)


def test_after_a_renewal_that_passed_the_next_expiry_is_asked_for() -> None:
    told = words(MilestoneKind.EXPIRY, 0, has_passed=True, next_on=None)
    assert "renewal has passed" in told.headline
    assert "next expiry is not on record" in told.what
    assert told.next == ""
