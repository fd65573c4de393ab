"""Unit, day and portion of one instance in one step."""

from dataclasses import replace
from datetime import date

from dicom_node.accreditation.attribution import Attributed, Unattributed
from dicom_node.accreditation.derive import derive
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.signals import DateCandidate, Role, Stage
from tests.unit.accreditation.facility import (
    DAY,
    ONE_UNIT_DAY,
    PRONE,
    from_addon,
    from_prone,
    registry,
    with_unit,
)

RECEIVED = date(2026, 11, 23)


def dated(*days: date) -> tuple[DateCandidate, ...]:
    return tuple(DateCandidate(source=f"Date{i}", day=day) for i, day in enumerate(days))


def test_a_prone_image_is_attributed_dated_and_clinical() -> None:
    found = derive(from_prone(dates=dated(DAY), stage=Stage.POST_FIRE), registry(), RECEIVED)
    assert isinstance(found.attribution, Attributed)
    assert found.attribution.unit == "prone1"
    assert found.performed.day == DAY
    assert found.portion is not None
    assert found.portion.portion is Portion.CLINICAL
    assert (found.stage, found.role) == ("post-fire", Role.PRIMARY)


def test_the_day_of_the_exam_chooses_the_attachments_unit_not_the_day_of_receipt() -> None:
    found = derive(from_addon(dates=dated(ONE_UNIT_DAY)), registry(), RECEIVED)
    assert isinstance(found.attribution, Attributed)
    assert found.attribution.unit == "upright_a"


def test_an_image_of_no_known_unit_is_unclear_and_keeps_its_day() -> None:
    found = derive(from_addon(dates=dated(DAY)), registry(), RECEIVED)
    assert isinstance(found.attribution, Unattributed)
    assert found.portion is not None
    assert found.portion.portion is Portion.UNCLEAR
    assert found.performed.day == DAY


def test_a_person_assigns_the_unit_and_the_portion_follows() -> None:
    found = derive(from_addon(dates=dated(DAY)), registry(), RECEIVED, assigned_unit="upright_b")
    assert found.attribution == Attributed(unit="upright_b", attachment="addon1", evidence="a person assigned it")
    assert found.portion is not None
    assert found.portion.portion is Portion.CLINICAL


def test_an_assigned_unit_that_left_the_configuration_keeps_the_image_unclear() -> None:
    found = derive(from_prone(dates=dated(DAY)), registry(), RECEIVED, assigned_unit="gone")
    assert isinstance(found.attribution, Attributed)
    assert found.attribution.unit == "gone"
    assert found.portion is not None
    assert found.portion.portion is Portion.UNCLEAR


def test_a_date_before_the_attributed_unit_was_installed_is_not_believed() -> None:
    configured = with_unit(replace(PRONE, installed_on=date(2026, 10, 1)))
    found = derive(from_prone(dates=dated(date(2026, 9, 1), DAY)), configured, RECEIVED)
    assert (found.performed.day, found.performed.source) == (DAY, "Date1")
    assert found.performed.flags == ("Date0: before the unit was installed",)


def test_a_report_has_no_portion_and_no_stage() -> None:
    found = derive(from_prone(role=Role.SECONDARY), registry(), RECEIVED)
    assert (found.portion, found.stage, found.role) == (None, "", Role.SECONDARY)
