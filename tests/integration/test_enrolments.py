"""Enrolments against the index: what is read for a standing and for a query, on both databases."""

from dataclasses import replace
from datetime import UTC, date

from dicom_node.accreditation.policies import DEFAULT_POLICY_ID, choose_policy
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.standing import Release, ReleaseState
from dicom_node.accreditation.units import Enrolment, Registry
from dicom_node.index import exams, releases
from dicom_node.index.engine import Index
from dicom_node.index.releases import ReleaseVersion
from dicom_node.services.facts import UnitFacts, read_facts
from tests.entries import NOON, make_derivation, make_entry
from tests.querying import ask, make_service
from tests.unit.accreditation.facility import UPRIGHT_A

POLICY = choose_policy(DEFAULT_POLICY_ID)
AT_MAIN = Enrolment(last_day=date(2026, 9, 30))
AT_ANNEX = Enrolment(facility="annex", first_day=date(2026, 10, 12))
MOVED = replace(UPRIGHT_A, enrolments=(AT_MAIN, AT_ANNEX))
RELEASED = date(2026, 6, 15)


def fill(index: Index, *days: date) -> None:
    for number, day in enumerate(days):
        uid = f"1.{number + 1}"
        index.record(make_entry(study_uid=uid, series_uid=f"{uid}.1", derivation=make_derivation(day=day)))
    with index.write() as conn:
        releases.insert(
            conn,
            ReleaseVersion(
                id="r1",
                version=1,
                unit_id="upright_a",
                released_on=RELEASED,
                due_on=None,
                state=ReleaseState.RECORDED,
                changed_by="admin",
                changed_at=NOON,
            ),
        )


def facts(index: Index, today: date) -> UnitFacts:
    with index.read() as conn:
        found = read_facts(conn, [MOVED], Registry(units={MOVED.id: MOVED}), POLICY, zone=UTC, listed=(), today=today)
        return found["upright_a"]


def test_facts_are_those_of_the_enrolment_in_force(index: Index) -> None:
    before, after = date(2026, 6, 8), date(2026, 10, 20)
    fill(index, before, after)
    at_main = facts(index, date(2026, 9, 30))
    assert {each.day for each in at_main.exams[Portion.CLINICAL]} == {before}
    assert at_main.packages == (Release(released_on=RELEASED, due_on=None, state=ReleaseState.RECORDED),)
    new = facts(index, date(2026, 10, 19))
    assert (new.exams[Portion.CLINICAL], new.packages) == ((), ())
    in_use = facts(index, date(2026, 11, 23))
    assert ([each.day for each in in_use.exams[Portion.CLINICAL]], in_use.packages) == ([after], ())


def test_the_newest_exam_since_a_day_is_found(index: Index) -> None:
    fill(index, date(2026, 6, 8), date(2026, 10, 20))
    with index.read() as conn:
        found = [
            exams.newest_counting(conn, "upright_a", Portion.CLINICAL, date(2026, 11, 23), since)
            for since in (None, date(2026, 6, 9), date(2026, 10, 20), date(2026, 10, 21))
        ]
    assert [each and each.day.day for each in found] == [20, 20, 20, None]


def test_a_query_counts_no_days_for_what_was_made_before_the_enrolment(index: Index) -> None:
    fill(index, date(2026, 9, 14), date(2026, 10, 20))
    registry = Registry(units={"upright_a": MOVED})
    service = replace(make_service(index), registry=lambda: registry)
    query = ask("STUDY", DaysLeft="", CountsUntil="", AcquisitionDate="")
    found = [record for page in service.find(query) for record in page.records]
    assert sorted((each["AcquisitionDate"], each["CountsUntil"]) for each in found) == [
        ("20260914", ""),
        ("20261020", "20270420"),  # the package was released in the earlier enrolment, so this one ages
    ]
    nowhere = Registry(units={"upright_a": replace(MOVED, enrolments=(AT_MAIN,))})
    service = replace(service, registry=lambda: nowhere)
    assert {record["DaysLeft"] for page in service.find(query) for record in page.records} == {""}
