"""Every kind of query has an index behind it: the plans of both databases go through no table of images in whole."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import pytest

from dicom_node.accreditation.policies import load_policies
from dicom_node.dicom.extended import Extended
from dicom_node.dicom.keys import KEYS, Level
from dicom_node.dicom.query import Query, Root
from dicom_node.index import find
from dicom_node.index.countdown import Countdown
from dicom_node.index.engine import Index
from dicom_node.index.find_clauses import Clause, for_postgresql
from dicom_node.index.tables import exam, instance, name_word, series, study
from tests.entries import NOON
from tests.querying import TODAY, ask

STUDIES = 2000
TABLES = {"study", "name_word", "series", "instance", "exam"}
COUNTDOWN = Countdown(
    today=TODAY, policy=load_policies()["acr-sbb-2023-03-03"], ageing_units={"u1": date.min, "u2": date.min}
)

SELECTIVE: dict[str, str] = {
    "PatientID": "P7", "PatientName": "SYNTH^7", "PatientBirthDate": "19700107", "StudyInstanceUID": "1.2.1000007",
    "StudyDate": "20260101-20260102", "AccessionNumber": "A7", "StudyID": "S7", "StationName": "STATION7",
    "DeviceSerialNumber": "SN7", "AcquisitionDate": "20260101", "UnitID": "u7", "DaysLeft": "3",
    "CountsUntil": "20261123-20261126", "AcquisitionDay": "20260101",
}  # fmt: skip
"""Keys that few studies match, each with such a value."""

COMMON = {
    "IssuerOfPatientID", "PatientSex", "StudyTime", "StudyDescription", "ReferringPhysicianName", "ModalitiesInStudy",
    "SOPClassesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "Modality", "Portion",
    "NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances",
}  # fmt: skip
"""Keys that many studies match, or that nobody asks for alone: an index would cost every store and serve no query."""

TOGETHER: list[dict[str, str]] = [
    {"UnitID": "u7", "AcquisitionDate": "20260101-20260107"},
    {"StationName": "STATION7", "AcquisitionDate": "20260101-20260107"},
    {"DeviceSerialNumber": "SN7", "AcquisitionDay": "20260101-"},
    {"UnitID": "u7", "Portion": "CLINICAL", "DaysLeft": ""},
    {"PatientName": "SYNTH^77*"},
    {"PatientName": "*=山田*"},
    {"PatientName": "synth^77*", "StudyDate": "20260101-", "PatientSex": "F"},
    {"PatientID": "P77*"},
    {"AccessionNumber": "A77?"},
    {"StationName": "STATION7*", "Modality": "MG"},
    {"PatientID": "P7", "UnitID": "", "DaysLeft": "", "StationName": "", "AcquisitionDate": ""},
]

FUZZY, RELATIONAL = Extended(fuzzy=True), Extended(relational=True)
EXTENDED: list[tuple[Extended, str, dict[str, str]]] = [
    (FUZZY, "STUDY", {"PatientName": "beatle nw7"}),
    (FUZZY, "STUDY", {"PatientName": "wordle^word7"}),
    (FUZZY, "STUDY", {"PatientName": "wo"}),
    (RELATIONAL, "SERIES", {"SeriesInstanceUID": "1.2.1000007.1"}),
    (RELATIONAL, "SERIES", {"PatientID": "P7", "UnitID": ""}),
    (RELATIONAL, "SERIES", {"StudyInstanceUID": "1.2.1000007\\1.2.1000008", "Modality": "MG"}),
    (RELATIONAL, "SERIES", {"StationName": "STATION7", "StudyDate": "20260101-20260102"}),
    (RELATIONAL, "SERIES", {"UnitID": "u7", "AcquisitionDate": "20260101"}),
    (RELATIONAL, "IMAGE", {"SOPInstanceUID": "1.2.1000007.1.1\\1.2.1000007.1.2"}),
    (RELATIONAL, "IMAGE", {"SeriesInstanceUID": "1.2.1000007.1"}),
    (RELATIONAL, "IMAGE", {"UnitID": "u7", "AcquisitionDay": "20260101"}),
    (RELATIONAL, "IMAGE", {"PatientName": "SYNTH^77", "InstanceNumber": "1"}),
    (RELATIONAL, "IMAGE", {"AccessionNumber": "A77", "PatientID": ""}),
    (Extended(date_time=True), "STUDY", {"StudyDate": "20260101-20260102", "StudyTime": "10-09"}),
    (Extended(zone=True), "STUDY", {"StudyDate": "20260101-20260102", "TimezoneOffsetFromUTC": "+0100"}),
    (Extended(empty=True), "STUDY", {"PatientID": '""'}),
]
"""What extended negotiation adds: what is negotiated, the level, and the keys."""

VALUES = {"DA": "20260101-", "TM": "10-", "DT": "2026-", "IS": "1", "US": "1", "UI": "1.2"}


def queries() -> Iterator[Query]:
    """Yield a query for each key, and the usual ones of several, at every level that has it."""
    for keyword, value in SELECTIVE.items():
        yield ask("STUDY", **{"StudyInstanceUID": "", keyword: value})
    for keys in TOGETHER:
        yield ask("STUDY", **{"StudyInstanceUID": ""} | keys)
    for extended, level, keys in EXTENDED:
        yield ask(level, extended=extended, **keys)
    for keyword in ("PatientID", "PatientName", "PatientBirthDate"):
        yield ask(
            "PATIENT",
            Root.PATIENT,
            **{"PatientID": "", "NumberOfPatientRelatedStudies": "", keyword: SELECTIVE[keyword]},
        )
    above = {"PatientID": "P7", "StudyInstanceUID": "1.2.1000007", "SeriesInstanceUID": "1.2.1000007.1"}
    for level in (Level.SERIES, Level.IMAGE):
        for root in Root:
            named = dict(list(above.items())[root.top : level])
            for key in KEYS:
                if key.vr != "SQ" and key.keyword not in above and not key.keyword.startswith("NumberOfPatient"):
                    value = (
                        "9.9" if key.keyword == "SOPInstanceUID" and level is Level.IMAGE else VALUES.get(key.vr, "A")
                    )
                    if key.level <= level or key.keyword in SELECTIVE:
                        yield ask(level.name, root, **named | {key.keyword: value})


@pytest.fixture
def filled(index: Index) -> Index:
    """An index of so many studies that an index leads to less than the whole of a table."""
    studies, words, in_series, exams, instances = [], [], [], [], []
    first = date(2020, 1, 1)
    for number in range(STUDIES):
        uid, day = f"1.2.{1_000_000 + number}", first + timedelta(days=number)
        times = {"first_received_at": NOON, "last_received_at": NOON}
        studies.append({
            "study_uid": uid, "patient_id": f"P{number}", "patient_name": f"SYNTH^{number}",
            "name_alphabetic": f"synth^{number}", "patient_birth_date": f"1970{number % 12 + 1:02}{number % 28 + 1:02}",
            "study_date": f"{day:%Y%m%d}", "accession_number": f"A{number}", "study_id": f"S{number}",
            "modalities": "MG", "series_count": 1, "instance_count": 3, "flags": [], **times,
        })  # fmt: skip
        words += [
            {"study_uid": uid, "word": word, "sound": "21" if number == 7 else ""} for word in ("word", f"nw{number}")
        ]
        in_series.append({
            "study_uid": uid, "series_uid": f"{uid}.1", "station_name": f"STATION{number % 50}",
            "device_serial_number": f"SN{number % 50}", "instance_count": 3, "first_received_at": NOON,
        })  # fmt: skip
        exams.append({
            "id": f"{number}", "study_uid": uid, "unit_id": f"u{number % 50}", "portion": "clinical", "day": day,
            "counts": True, **times,
        })  # fmt: skip
        instances += [
            {
                "sop_instance_uid": f"{uid}.1.{place}", "study_uid": uid, "series_uid": f"{uid}.1", "digest": uid,
                "size": 1, "received_at": NOON, "unit_id": f"u{number % 50}", "acquisition_day": day,
            }
            for place in range(3)
        ]  # fmt: skip
    with index.write() as conn:
        for table, rows in (
            (study, studies),
            (name_word, words),
            (series, in_series),
            (exam, exams),
            (instance, instances),
        ):
            conn.execute(table.insert(), rows)
        if conn.dialect.name == "postgresql":
            conn.exec_driver_sql("ANALYZE")
    return index


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Clause]:
    """The statements that queries run, as they come."""
    noted: list[Clause] = []
    reading = find.reading

    @contextmanager
    def noting(conn: Any) -> Iterator[Any]:
        with reading(conn) as rows:

            def note(select: Clause) -> Any:
                noted.append(select)
                return rows(select)

            yield note

    monkeypatch.setattr(find, "reading", noting)
    return noted


def gone_through(index: Index, select: Clause) -> set[str]:
    """Return the tables, or whole indexes of tables, that a statement goes through from end to end."""
    with index.read() as conn:
        cursor = conn.connection.cursor()
        if conn.dialect.name == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {select.text}", select.values)
            steps = [str(row[-1]).split() for row in cursor.fetchall()]
            return {step[1] for step in steps if step[0] == "SCAN" and step[1] in TABLES}
        # So few rows may be read in whole sooner; this tells what it can do without.
        for setting in ("enable_seqscan", "enable_mergejoin", "enable_hashjoin"):
            cursor.execute(f"SET LOCAL {setting} = off")
        cursor.execute(f"EXPLAIN (FORMAT JSON) {for_postgresql(select.text)}", select.values)
        (plan,) = cursor.fetchone()
        return set(_whole(json.loads(plan)[0]["Plan"] if isinstance(plan, str) else plan[0]["Plan"]))


def _whole(node: dict[str, Any]) -> Iterator[str]:
    table = node.get("Relation Name")
    by_index = node["Node Type"] == "Bitmap Heap Scan" or "Index Cond" in node
    if table in TABLES and not by_index:
        yield str(table)
    for inner in node.get("Plans", []):
        yield from _whole(inner)


def test_no_kind_of_query_goes_through_a_whole_table(filled: Index, asked: list[Clause]) -> None:
    for query in queries():
        asked.clear()
        for _page in find.find_pages(filled, query, COUNTDOWN):
            pass
        assert asked
        for select in asked:
            assert not gone_through(filled, select), (query.level.name, query.conditions, query.instance_conditions)


def test_what_no_index_knows_is_told_apart(filled: Index, asked: list[Clause]) -> None:
    for _page in find.find_pages(filled, ask("STUDY", PatientSex="O"), COUNTDOWN):
        pass
    assert gone_through(filled, asked[0]) == {"study"}


def test_every_key_is_known_to_be_selective_or_not() -> None:
    of_study = {key.keyword for key in KEYS if key.level <= Level.STUDY}
    of_instances = {condition.keyword for key in KEYS for condition in ask("STUDY", **_value(key)).instance_conditions}
    assert SELECTIVE.keys() | COMMON == of_study | of_instances
    assert not SELECTIVE.keys() & COMMON


def _value(key: Any) -> dict[str, str]:
    if key.vr == "SQ" or (key.level > Level.STUDY and key.type == "U"):
        return {}
    return {key.keyword: VALUES.get(key.vr, "A")}


def test_the_way_that_leads_to_the_fewest_is_taken(filled: Index, asked: list[Clause]) -> None:
    for keys, index_of in (
        ({"StationName": "STATION7", "AcquisitionDate": "20200108"}, "acquisition_day"),
        ({"StationName": "STATION7", "AcquisitionDate": "20200101-"}, "station_name"),
        ({"PatientName": "SYNTH*", "AccessionNumber": "A7"}, "accession_number"),
    ):
        asked.clear()
        found = [record for page in find.find_pages(filled, ask("STUDY", **keys), COUNTDOWN) for record in page.records]
        assert found
        (subquery,) = [select.text.partition(" IN (SELECT ")[2] for select in asked if "ORDER BY" in select.text]
        assert index_of in subquery.partition(")")[0], subquery
