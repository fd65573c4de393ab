"""What units and attachments were used for, as both databases tell it."""

from datetime import date
from typing import Any

from sqlalchemy import update

from dicom_node.accreditation.portions import Portion
from dicom_node.index import usage
from dicom_node.index.engine import Index
from dicom_node.index.exams import exam_id
from dicom_node.index.tables import exam
from tests.entries import make_derivation, make_entry

OLD, NEW = date(2026, 6, 8), date(2026, 10, 20)


def add(
    index: Index, study_uid: str, unit: str = "upright_a", header: dict[str, str] | None = None, **told: Any
) -> None:
    derivation = make_derivation(unit, **told)
    series_uid = f"{study_uid}.1"
    index.record(make_entry(study_uid=study_uid, series_uid=series_uid, derivation=derivation, **header or {}))


def test_biopsies_are_dated_clinical_exams_that_nobody_excluded(index: Index) -> None:
    add(index, "1.1", day=OLD, attachment="addon1")
    add(index, "1.2", day=NEW, attachment="addon1")
    add(index, "1.3", unit="upright_b", day=NEW, attachment="addon2")
    add(index, "1.4", day=NEW, portion=Portion.PHANTOM, attachment="addon1")
    add(index, "1.5", day=None, attachment="addon1")
    add(index, "1.6", day=date(2026, 11, 1), attachment="addon1")
    add(index, "1.7", unit="", day=NEW, attachment="addon1")
    add(index, "1.8", unit="upright_b", day=date(2026, 9, 1))
    with index.write() as conn:
        conn.execute(update(exam).where(exam.c.study_uid == "1.6").values(excluded=True))
    with index.read() as conn:
        assert usage.biopsies_since(conn, NEW) == {"": 1, "upright_a": 1, "upright_b": 1}
        assert usage.biopsies_since(conn, OLD) == {"": 1, "upright_a": 2, "upright_b": 2}
        assert usage.last_biopsies(conn) == {"": NEW, "upright_a": NEW, "upright_b": NEW}
        made = usage.biopsies_with(conn, ["addon1"])
    assert {(each.unit_id, each.exam_id, each.day) for each in made} == {
        ("upright_a", exam_id("1.1", "upright_a"), OLD),
        ("upright_a", exam_id("1.2", "upright_a"), NEW),
        ("", exam_id("1.7", ""), NEW),
    }
    assert made[0].day == OLD


def test_devices_are_those_seen_since_a_day_and_with_what_has_no_day(index: Index) -> None:
    station = {"DeviceSerialNumber": "UA-1002", "Manufacturer": "Synthetic"}
    add(index, "1.1", day=OLD, header={**station, "StationName": "OLD"})
    add(index, "1.2", day=NEW, header={**station, "StationName": "NEW"})
    add(index, "1.3", day=NEW, header={**station, "StationName": "NEW"})
    add(index, "1.4", day=None, header={**station, "StationName": "REPORTS"})
    add(index, "1.5", unit="upright_b", day=NEW)
    with index.read() as conn:
        found = usage.shown_by(conn, "upright_a", NEW)
    assert {(each.serial, each.manufacturer, each.station, each.instances) for each in found} == {
        ("UA-1002", "Synthetic", "NEW", 2),
        ("UA-1002", "Synthetic", "REPORTS", 1),
    }
    assert {(each.calling_ae, each.peer_address) for each in found} == {("UPRIGHT_A", "127.0.0.1")}
