"""What a query finds and returns: patients, computed keys, limits, and what is held open meanwhile."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.standing import ReleaseState
from dicom_node.dicom.keys import KEYS, KeyType, Level
from dicom_node.dicom.query import Query, Root
from dicom_node.errors import DatabaseError, QueryLimitError
from dicom_node.index import releases
from dicom_node.index.engine import Index
from dicom_node.index.find import find_pages
from dicom_node.index.releases import ReleaseVersion
from tests.entries import make_derivation, make_entry
from tests.querying import NOTHING_AGES, ask, make_service


def fill(index: Index, *entries: Any) -> Index:
    for entry in entries:
        index.record(entry)
    return index


def find(index: Index, query: Query, **limits: Any) -> list[dict[str, str]]:
    return [record for page in make_service(index, **limits).find(query) for record in page.records]


def release(unit_id: str, state: ReleaseState, released_on: date) -> ReleaseVersion:
    return ReleaseVersion(
        id=f"{unit_id}-{state}", version=1, unit_id=unit_id, released_on=released_on, due_on=None, state=state,
        changed_by="test", changed_at=datetime(2026, 11, 1, tzinfo=UTC),
    )  # fmt: skip


def test_values_from_below_are_those_of_the_instances_that_match(index: Index) -> None:
    days = [date(2026, 5, 4), date(2026, 5, 5)]
    fill(
        index,
        make_entry(derivation=make_derivation("prone1", day=days[0]), StationName="TABLE"),
        make_entry(series_uid="1.2.3.2", derivation=make_derivation("upright_a", day=days[1]), StationName="DIM_2"),
        make_entry(series_uid="1.2.3.3", derivation=make_derivation("", day=None, portion=None), Modality="SR"),
    )
    asked = {"UnitID": "", "StationName": "", "AcquisitionDate": "", "Modality": "", "Portion": ""}
    (everything,) = find(index, ask("STUDY", **asked))
    assert everything == {
        "UnitID": "prone1\\upright_a",
        "StationName": "DIM_2\\TABLE",
        "AcquisitionDate": "20260504\\20260505",
        "Modality": "MG\\SR",
        "Portion": "CLINICAL",
    }
    (prone,) = find(index, ask("STUDY", **asked | {"UnitID": "prone1"}))
    assert (prone["StationName"], prone["AcquisitionDate"], prone["Modality"]) == ("TABLE", "20260504", "MG")
    assert find(index, ask("STUDY", **asked | {"UnitID": "prone1", "AcquisitionDate": "20260505"})) == []


@pytest.mark.parametrize("level", ["PATIENT", "STUDY", "SERIES", "IMAGE"])
def test_every_key_can_be_asked_at_every_level(sqlite_index: Index, level: str) -> None:
    fill(sqlite_index, make_entry(derivation=make_derivation("prone1")))
    above = {"PatientID": "SYNTH-0001", "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.1"}
    named = dict(list(above.items())[: Level[level]])
    query = ask(level, Root.PATIENT, **dict.fromkeys((key.keyword for key in KEYS), "") | named)
    (record,) = find(sqlite_index, query)
    at_least = {key.keyword for key in KEYS if key.level is Level[level]}
    assert at_least <= record.keys() == {asked.keyword for asked in query.asked}
    assert query.has_unsupported_keys  # each level leaves some key to another


VALUES = {"DA": "20260101-", "TM": "10-", "DT": "2026-", "IS": "1", "US": "1", "UI": "1.2"}


@pytest.mark.parametrize("level", ["PATIENT", "STUDY", "SERIES", "IMAGE"])
def test_every_key_can_narrow_at_every_level(index: Index, level: str) -> None:
    fill(index, make_entry(derivation=make_derivation("prone1")))
    above = {"PatientID": "SYNTH-0001", "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.1"}
    named = dict(list(above.items())[: Level[level]])
    for key in KEYS:
        if key.vr == "SQ" or (key.type is KeyType.UNIQUE and key.level > Level[level]):
            continue
        for value in (VALUES.get(key.vr, "A*"), VALUES.get(key.vr, "A")):
            assert len(find(index, ask(level, Root.PATIENT, **{key.keyword: value} | named))) <= 1


def test_a_series_that_turns_up_in_two_studies_is_told_apart_by_its_study(index: Index) -> None:
    fill(
        index,
        make_entry(study_uid="1.1", series_uid="9.9", derivation=make_derivation("prone1")),
        make_entry(study_uid="1.2", series_uid="9.9", derivation=make_derivation("upright_a")),
    )
    query = ask("SERIES", StudyInstanceUID="1.2", SeriesInstanceUID="", UnitID="", NumberOfSeriesRelatedInstances="")
    assert find(index, query) == [
        {
            "StudyInstanceUID": "1.2",
            "SeriesInstanceUID": "9.9",
            "UnitID": "upright_a",
            "NumberOfSeriesRelatedInstances": "1",
        }
    ]


def test_days_left_count_to_the_month_end_that_reminders_count_to(index: Index) -> None:
    fill(index, make_entry(derivation=make_derivation("prone1", day=date(2026, 8, 31))))
    (record,) = find(index, ask("STUDY", DaysLeft="", CountsUntil="", Portion=""))
    assert record == {"DaysLeft": "97", "CountsUntil": "20270228", "Portion": "CLINICAL"}
    (of_image,) = find(index, ask("IMAGE", StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.1", DaysLeft="97"))
    assert of_image["DaysLeft"] == "97"


@pytest.mark.parametrize(
    ("derivation", "aged"),
    [
        (make_derivation("prone1", day=date(2026, 1, 10)), "-136"),
        (make_derivation("prone1", day=date(2026, 10, 10), portion=Portion.PHANTOM), "138"),
        (make_derivation("prone1", day=None), ""),
        (make_derivation("prone1", portion=Portion.NEITHER), ""),
        (make_derivation("prone1", portion=Portion.UNCLEAR), ""),
        (make_derivation(""), ""),
        (make_derivation("not_applying"), ""),
        (make_derivation("retired"), ""),
        (make_derivation("no_longer_configured"), ""),
    ],
)
def test_only_a_counting_exam_of_an_applying_unit_has_days_left(
    sqlite_index: Index, derivation: Any, aged: str
) -> None:
    fill(sqlite_index, make_entry(derivation=derivation))
    (record,) = find(sqlite_index, ask("STUDY", DaysLeft=""))
    assert record["DaysLeft"] == aged


@pytest.mark.parametrize(
    ("state", "ages"), [(ReleaseState.PLANNED, True), (ReleaseState.RECORDED, False), (ReleaseState.SUBMITTED, False)]
)
def test_nothing_ages_once_the_testing_package_is_released(
    sqlite_index: Index, state: ReleaseState, ages: bool
) -> None:
    fill(sqlite_index, make_entry(derivation=make_derivation("prone1")))
    with sqlite_index.write() as conn:
        releases.insert(conn, release("prone1", state, date(2026, 11, 1)))
        releases.insert(conn, release("upright_a", ReleaseState.RECORDED, date(2026, 11, 1)))
    (record,) = find(sqlite_index, ask("STUDY", DaysLeft="", CountsUntil=""))
    assert bool(record["DaysLeft"]) is bool(record["CountsUntil"]) is ages


def test_studies_are_found_by_the_day_until_which_they_count(index: Index) -> None:
    for number, day in enumerate([date(2026, 5, 1), date(2026, 6, 1), date(2026, 7, 1)]):
        fill(index, make_entry(study_uid=f"1.{number}", derivation=make_derivation("prone1", day=day)))
    fill(index, make_entry(study_uid="1.9", derivation=make_derivation("prone1", portion=Portion.NEITHER)))
    soon = find(index, ask("STUDY", StudyInstanceUID="", CountsUntil="20261123-20261210"))
    assert [(record["StudyInstanceUID"], record["CountsUntil"]) for record in soon] == [("1.1", "20261201")]
    assert [record["StudyInstanceUID"] for record in find(index, ask("STUDY", StudyInstanceUID="", DaysLeft="8"))] == [
        "1.1"
    ]


def test_name_components_left_out_at_the_end_are_there_for_a_wild_card(index: Index) -> None:
    fill(index, make_entry(PatientName="SOLO"))
    for pattern in ("SOLO^*", "so*^*", "*^", "SOLO^*^*=*"):
        assert len(find(index, ask("STUDY", PatientName=pattern))) == 1, pattern
    assert find(index, ask("STUDY", PatientName="SOLO^A*")) == []


def patients(index: Index, **keys: str) -> list[dict[str, str]]:
    return find(index, ask("PATIENT", Root.PATIENT, **{"PatientID": "", "PatientName": ""} | keys))


def test_a_patient_is_answered_once_with_counts(index: Index) -> None:
    for number, (patient_id, name, birth) in enumerate(
        [
            ("A", "SYNTH^ONE", "19700101"),
            ("A", "SYNTH^ONE", "19700101"),
            ("A", "SYNTH^RENAMED", "19700101"),
            ("B", "SYNTH^TWO", ""),
            ("", "SYNTH^NOBODY", ""),
            ("", "SYNTH^NOBODY", ""),
            ("", "SYNTH^NOBODY", "19800101"),
        ]
    ):
        identity = {"PatientID": patient_id, "PatientName": name, "PatientBirthDate": birth}
        fill(index, make_entry(study_uid=f"1.{number}", series_uid=f"1.{number}.1", **identity))
    fill(index, make_entry(study_uid="1.0", series_uid="1.0.2", PatientID="A", PatientName="SYNTH^ONE"))
    counts = {
        "NumberOfPatientRelatedStudies": "",
        "NumberOfPatientRelatedSeries": "",
        "NumberOfPatientRelatedInstances": "",
    }
    found = patients(index, **counts)
    assert [(each["PatientID"], *(int(each[name]) for name in counts)) for each in found] == [
        ("", 2, 2, 2), ("", 1, 1, 1), ("A", 3, 4, 4), ("B", 1, 1, 1),
    ]  # fmt: skip
    assert [each["PatientName"] for each in patients(index, PatientName="*renamed")] == ["SYNTH^RENAMED"]
    assert [each["PatientID"] for each in patients(index, PatientID="A")] == ["A"]
    assert [each["PatientID"] for each in patients(index, NumberOfPatientRelatedStudies="3")] == ["A"]
    assert patients(index, PatientID="a") == []


def test_a_patient_whose_rows_lie_on_two_pages_is_answered_once(index: Index) -> None:
    for number in range(7):
        fill(index, make_entry(study_uid=f"1.{number}", PatientID="AB"[number % 2], PatientName=f"SYNTH^{number}"))
    query = ask("PATIENT", Root.PATIENT, PatientID="", NumberOfPatientRelatedStudies="")
    pages = list(find_pages(index, query, NOTHING_AGES, page_size=2))
    assert [(len(page.records), page.is_last) for page in pages] == [(1, False), (1, False), (0, True)]
    found = {record["PatientID"]: record["NumberOfPatientRelatedStudies"] for page in pages for record in page.records}
    assert found == {"A": "4", "B": "3"}


def test_patient_keys_narrow_below_the_patient(index: Index) -> None:
    fill(index, make_entry(study_uid="1.1", PatientID="A"), make_entry(study_uid="1.2", PatientID="B"))
    query = ask("STUDY", Root.PATIENT, PatientID="B", StudyInstanceUID="", PatientName="SYNTH*")
    assert [record["StudyInstanceUID"] for record in find(index, query)] == ["1.2"]


def fill_many(index: Index, studies: int) -> None:
    for number in range(studies):
        fill(index, make_entry(study_uid=f"1.{number:05}", series_uid=f"1.{number:05}.1"))


def test_a_query_with_too_many_matches_is_answered_up_to_the_limit_and_says_so(sqlite_index: Index) -> None:
    fill_many(sqlite_index, 6)
    service = make_service(sqlite_index, matches=5)
    pages = service.find(ask("STUDY", StudyInstanceUID=""))
    assert len(next(pages).records) == 5
    with pytest.raises(QueryLimitError, match="more than 5 matches"):
        next(pages)
    assert len(find(sqlite_index, ask("STUDY", StudyInstanceUID=""), matches=6)) == 6


def test_a_query_that_takes_too_long_ends_and_says_so(sqlite_index: Index) -> None:
    fill_many(sqlite_index, 2)
    with pytest.raises(QueryLimitError, match="searched longer than 0 s"):
        find(sqlite_index, ask("STUDY", StudyInstanceUID=""), seconds=0)


def test_nothing_is_open_in_the_index_between_two_pages(index: Index) -> None:
    fill_many(index, 5)
    checked_out = index.engine.pool.checkedout  # type: ignore[attr-defined]  # of the pool that both databases use
    pages = find_pages(index, ask("STUDY", StudyInstanceUID="", UnitID=""), NOTHING_AGES, page_size=2)
    seen: list[str] = []
    for page in pages:
        assert checked_out() == 0
        seen += [record["StudyInstanceUID"] for record in page.records]
        # A writer gets in while answers travel, and what it adds behind the page is found.
        fill(index, make_entry(study_uid=f"2.{len(seen):05}", series_uid=f"2.{len(seen):05}.1"))
        if len(seen) > 12:
            break
    assert seen == sorted(set(seen))
    assert any(uid.startswith("2.") for uid in seen)


def test_a_failing_index_is_a_database_error(sqlite_index: Index) -> None:
    fill_many(sqlite_index, 1)
    with sqlite_index.write() as conn:
        conn.exec_driver_sql("DROP TABLE instance")
    with pytest.raises(DatabaseError):
        find(sqlite_index, ask("STUDY", StudyInstanceUID="", UnitID=""))


ATTACKS = ("' OR 1=1 --", '"; DROP TABLE study; --', "%", "_", "/%", "\\%", "%%s", ":param", "\x1b[2J", "[a-z]")


def test_an_attack_finds_nothing_and_breaks_nothing(index: Index) -> None:
    known = {"PatientID": "A", "PatientName": "B", "AccessionNumber": "C", "StationName": "D", "StudyID": "E"}
    fill(index, make_entry(derivation=make_derivation("prone1"), **known))
    for keyword in (*known, "UnitID"):
        for attack in ATTACKS:
            for text in (attack, f"{attack}*", f"*{attack}?*"):
                assert find(index, ask("STUDY", **{keyword: text})) == []
        assert len(find(index, ask("STUDY", **{keyword: ""}))) == 1
