"""Exams of devices that say the same of themselves, on both databases."""

from dataclasses import replace

import pytest

from dicom_node.index import alike
from dicom_node.index.engine import Index
from dicom_node.index.exams import exam_id
from tests.entries import make_derivation, make_entry


@pytest.fixture
def filled(index: Index) -> Index:
    """Exams of three devices and two senders; one study has a report beside its two images."""
    of_b = make_derivation("upright_b")
    for study, derivation, sender, header in (
        ("1.1", None, "UPRIGHT_A", {"DeviceSerialNumber": "UA-1", "StationName": "A"}),
        ("1.1", None, "UPRIGHT_A", {"DeviceSerialNumber": "UA-1", "StationName": "A"}),
        ("1.1", make_derivation(portion=None), "UPRIGHT_A", {"DeviceSerialNumber": "UA-1", "StationName": "A"}),
        ("1.2", None, "ROUTER", {"DeviceSerialNumber": "ua-1", "StationName": "A"}),
        ("1.3", of_b, "ROUTER", {"DeviceSerialNumber": "UB-1", "StationName": "\u0416"}),
        ("1.4", of_b, "ROUTER", {"DeviceSerialNumber": "UB-1", "StationName": "\u0416"}),
    ):
        entry = make_entry(study_uid=study, series_uid=f"{study}.1", derivation=derivation, **header)
        index.record(replace(entry, provenance=replace(entry.provenance, calling_ae=sender)))
    return index


def studies(index: Index, **values: str) -> set[str]:
    ids = {exam_id(f"1.{n}", unit): f"1.{n}" for n in range(1, 5) for unit in ("upright_a", "upright_b")}
    with index.read() as conn:
        found = alike.exams_with(conn, values)
    assert len({each.exam_id for each in found}) == len(found)
    return {ids[each.exam_id] for each in found}


def test_exams_are_found_by_what_they_say_whatever_the_case(filled: Index) -> None:
    assert studies(filled, DeviceSerialNumber="Ua-1") == {"1.1", "1.2"}
    assert studies(filled, DeviceSerialNumber="UA-1", calling_ae="ROUTER") == {"1.2"}
    assert studies(filled, StationName="B") == set()


def test_what_the_index_does_not_hold_is_not_looked_at(filled: Index) -> None:
    assert studies(filled, StationName="A", DetectorID="D-1") == {"1.1", "1.2"}
    assert studies(filled, DetectorID="D-1") == set()


def test_beyond_ascii_all_are_looked_at(filled: Index) -> None:
    assert studies(filled, StationName="\u0436") == {"1.1", "1.2", "1.3", "1.4"}


def test_of_a_unit_there_is_one_image_of_each_kind_of_device_and_sender(filled: Index) -> None:
    with filled.read() as conn:
        assert len(alike.kinds_of(conn, "upright_a")) == 2
        (sample,) = alike.kinds_of(conn, "upright_b")
    assert sample.unit_id == "upright_b"
