"""When a configured rule holds."""

import pytest

from dicom_node.accreditation.rules import holds
from dicom_node.accreditation.units import Condition, Rule
from tests.unit.accreditation.facility import image

SIGNALS = image(
    calling_ae="ADDON_WS",
    called_ae="SBB_NODE",
    peer_address="10.20.30.30",
    attributes={
        "StationName": "Upr-A",
        "ImageType": "ORIGINAL\\PRIMARY\\STEREO_MINUS",
        "DeviceSerialNumber": "00900719925474099301",
        "PaddleDescription": "",
        "IMS s.r.l. Biopsy Private Code:1269,01": "1",
    },
)


def a_rule(*conditions: Condition) -> Rule:
    return Rule(name="a rule", conditions=conditions, unit="upright_a")


@pytest.mark.parametrize(
    "condition",
    [
        Condition(name="StationName", equals="Upr-A"),
        Condition(name="StationName", folded="UPR-a"),
        Condition(name="StationName", regex="Upr-[AB]"),
        Condition(name="StationName", lowest="Upr-A", highest="Upr-B"),
        Condition(name="ImageType", equals="STEREO_MINUS"),
        Condition(name="ImageType", regex=r"ORIGINAL\\.*"),
        Condition(name="calling_ae", equals="ADDON_WS"),
        Condition(name="called_ae", equals="SBB_NODE"),
        Condition(name="peer_address", regex=r"10\.20\..*"),
        Condition(name="IMS s.r.l. Biopsy Private Code:1269,01", present=True),
        Condition(name="PaddleDescription", present=False),
        Condition(name="PatientID", present=False),
        Condition(name="DeviceSerialNumber", lowest="900719925474099301", highest="900719925474099301"),
        Condition(name="DeviceSerialNumber", lowest="1000"),
    ],
    ids=repr,
)
def test_a_condition_that_fits_holds(condition: Condition) -> None:
    assert holds(a_rule(condition), SIGNALS)


@pytest.mark.parametrize(
    "condition",
    [
        Condition(name="StationName", equals="UPR-A"),
        Condition(name="StationName", folded="UPR"),
        Condition(name="StationName", regex="Upr"),
        Condition(name="StationName", lowest="1", highest="9"),
        Condition(name="StationName"),
        Condition(name="StationName", present=False),
        Condition(name="PaddleDescription", present=True),
        Condition(name="PaddleDescription", equals=""),
        Condition(name="PatientID", regex=".*"),
        Condition(name="PatientID", highest="Z"),
        Condition(name="DeviceSerialNumber", highest="900719925474099300"),
        Condition(name="DeviceSerialNumber", lowest="900719925474099302"),
    ],
    ids=repr,
)
def test_a_condition_that_does_not_fit_does_not_hold(condition: Condition) -> None:
    assert not holds(a_rule(condition), SIGNALS)


@pytest.mark.parametrize(
    ("lowest", "highest", "inside"),
    [
        ("Upr-A", "Upr-A", True),
        ("Upr-A", None, True),
        (None, "Upr-A", True),
        ("Upr-B", None, False),
        (None, "Upr-9", False),
        ("Upr-B", "Upr-C", False),
        ("Upr-1", "Upr-9", False),
    ],
)
def test_a_range_of_text_includes_both_its_ends_and_an_end_may_be_open(
    lowest: str | None, highest: str | None, inside: bool
) -> None:
    assert holds(a_rule(Condition(name="StationName", lowest=lowest, highest=highest)), SIGNALS) is inside


def test_every_condition_of_a_rule_must_hold() -> None:
    right, wrong = Condition(name="calling_ae", equals="ADDON_WS"), Condition(name="StationName", equals="UPR-B")
    assert holds(a_rule(right, right), SIGNALS)
    assert not holds(a_rule(right, wrong), SIGNALS)


def test_a_rule_without_conditions_holds_for_everything() -> None:
    assert holds(a_rule(), SIGNALS)
