"""What belongs to what, and when: enrolments of units and assignments of attachments in the configuration."""

from datetime import date
from pathlib import Path

import pytest

from dicom_node.accreditation.units import Enrolment, Facility
from dicom_node.settings import load_settings
from tests.unit.configs import SMALL, UNIT, write_config
from tests.unit.test_settings_problems import load, only_problem

ANNEX = '[facilities.annex]\nname = "Annex"\n'
ADDON = '[attachments.addon1]\nlabel = "Add-on"\n'


def enrolled(*tables: str) -> str:
    return "".join(f"[[units.prone1.enrolled]]\n{table}\n" for table in tables)


def assigned(*tables: str) -> str:
    return "".join(f'[[attachments.addon1.assigned]]\nunit = "prone1"\n{table}\n' for table in tables)


def test_a_unit_without_enrolments_is_enrolled_at_the_nodes_facility_while_it_is_in_service(tmp_path: Path) -> None:
    service = UNIT.replace('kind = "prone"', 'kind = "prone"\ninstalled_on = 2026-02-01\nretired_on = 2026-06-30')
    unit = load(tmp_path, SMALL + service).settings.registry().units["prone1"]
    days = [date(2026, 1, 31), date(2026, 2, 1), date(2026, 6, 30), date(2026, 7, 1)]
    assert [unit.enrolment_on(day) for day in days] == [None, Enrolment(), Enrolment(), None]


def test_enrolments_are_put_in_the_order_of_their_days(tmp_path: Path) -> None:
    text = SMALL + ANNEX + UNIT + enrolled('facility = "annex"\nfrom = 2026-12-07', "to = 2026-11-30")
    registry = load_settings(write_config(tmp_path, text), {}).settings.registry()
    unit = registry.units["prone1"]
    at_main = Enrolment(facility="main", last_day=date(2026, 11, 30))
    at_annex = Enrolment(facility="annex", first_day=date(2026, 12, 7))
    assert unit.enrolments == (at_main, at_annex)
    days = [date(2026, 11, 30), date(2026, 12, 1), date(2026, 12, 6), date(2026, 12, 7)]
    assert [unit.enrolment_on(day) for day in days] == [at_main, None, None, at_annex]
    assert registry.facilities == {
        "main": Facility(id="main", name="Synthetic Center"),
        "annex": Facility(id="annex", name="Annex"),
    }


SERVED = 'kind = "prone"\ninstalled_on = 2026-02-01\nretired_on = 2026-06-30'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            enrolled('facility = "anex"') + ANNEX,
            (
                "15: units.prone1.enrolled.0.facility: facility 'anex' does not exist (known: main, annex); write a "
                "table [facilities.anex]"
            ),
        ),
        (
            enrolled("from = 2026-12-07\nto = 2026-12-06"),
            "14: units.prone1.enrolled.0: to 2026-12-06 is before from 2026-12-07; mend one of them",
        ),
        (
            enrolled("to = 2026-11-30", 'facility = "annex"\nfrom = 2026-11-30') + ANNEX,
            (
                "18: units.prone1.enrolled.1.from: some of its days are those of units.prone1.enrolled.0; write each "
                "day once"
            ),
        ),
        (
            enrolled("", "to = 2026-11-30"),
            "16: units.prone1.enrolled.1: some of its days are those of units.prone1.enrolled.0; write each day once",
        ),
        (
            '[facilities.main]\nname = "Center"\n',
            "14: facilities.main: 'main' is the facility of [facility]; write another id",
        ),
        (
            ANNEX.replace('"Annex"', "5"),
            "15: facilities.annex.name: not text (got 5); write it in quotes",
        ),
    ],
)
def test_what_is_wrong_with_an_enrolment_is_told_at_its_line(tmp_path: Path, text: str, told: str) -> None:
    assert only_problem(tmp_path, SMALL + UNIT + text) == f"dicom-node.toml:{told}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            enrolled("from = 2026-07-01"),
            "17: units.prone1.enrolled.0.from: from 2026-07-01 is after retired_on 2026-06-30; mend one of them",
        ),
        (
            enrolled("to = 2026-01-31"),
            "17: units.prone1.enrolled.0.to: to 2026-01-31 is before installed_on 2026-02-01; mend one of them",
        ),
    ],
)
def test_an_enrolment_lies_in_the_time_of_service(tmp_path: Path, text: str, told: str) -> None:
    served = UNIT.replace('kind = "prone"', SERVED)
    assert only_problem(tmp_path, SMALL + served + text) == f"dicom-node.toml:{told}"
    assert load(tmp_path, SMALL + served + enrolled("from = 2026-02-01\nto = 2026-06-30")).warnings == ()


def warnings(folder: Path, text: str) -> list[str]:
    return [each.removeprefix(f"{folder}/dicom-node.toml:") for each in load(folder, text).warnings]


def test_an_enrolment_of_a_unit_that_is_not_applying_is_a_warning(tmp_path: Path) -> None:
    text = SMALL + UNIT.replace('kind = "prone"', 'kind = "prone"\napplying = false') + enrolled("from = 2026-12-07")
    (told,) = warnings(tmp_path, text)
    assert told == (
        "15: units.prone1.enrolled.0: the unit is not applying, so this says nothing; write applying = true, or remove "
        "it"
    )


def test_days_that_an_attachment_is_assigned_twice_to_one_unit_are_a_warning(tmp_path: Path) -> None:
    text = SMALL + UNIT + ADDON + assigned("to = 2026-06-30", "from = 2026-06-30")
    (told,) = warnings(tmp_path, text)
    assert told == (
        "21: attachments.addon1.assigned.1.from: some of its days are those of attachments.addon1.assigned.0, on the "
        "same unit; write each day once"
    )
    assert warnings(tmp_path, text.replace("from = 2026-06-30", "from = 2026-07-01")) == []


def test_an_attachment_may_be_on_two_units_at_the_same_time(tmp_path: Path) -> None:
    other = UNIT.replace("prone1", "prone2").replace("PRONE", "PRONE2").replace("PT-1", "PT-2")
    both = assigned("") + assigned("").replace("prone1", "prone2")
    assert warnings(tmp_path, SMALL + UNIT + other + ADDON + both) == []


def test_an_attachment_on_a_unit_that_is_retired_is_a_warning(tmp_path: Path) -> None:
    text = SMALL + UNIT.replace('kind = "prone"', SERVED) + ADDON
    (told,) = warnings(tmp_path, text + assigned(""))
    assert told == (
        "18: attachments.addon1.assigned.0: prone1 was retired on 2026-06-30; write to = 2026-06-30, or the day it was "
        "taken off"
    )
    assert warnings(tmp_path, text + assigned("to = 2026-06-30")) == []
