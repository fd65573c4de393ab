"""What is negotiated beyond the baseline of C-FIND, and what it changes in reading a query."""

from datetime import timedelta
from typing import Any

import pytest

from dicom_node.dicom.extended import BASELINE, Extended, answer
from dicom_node.dicom.matching import AllOf, AnyOf, DateAndTime, Empty, Exact, Name, WildCard, Within
from dicom_node.dicom.query import Query, Root
from dicom_node.errors import InvalidQueryError
from tests.querying import ask

ALL = Extended(relational=True, date_time=True, fuzzy=True, zone=True, empty=True, multiple=True)


@pytest.mark.parametrize(
    ("proposed", "answered"),
    [
        (b"", b""),
        (b"\1", b"\1"),
        (b"\0", b"\0"),
        (b"\1\1\1\1\1\1\1", b"\1\1\1\1\0\1\1"),
        (b"\0\1\0\1", b"\0\1\0\1"),
        (b"\2\xff\1", b"\0\0\1"),
        (b"\1" * 20, b"\1\1\1\1\0\1\1"),
    ],
)
def test_what_is_supported_is_answered_one_when_proposed(proposed: bytes, answered: bytes) -> None:
    assert answer(proposed) == answered


def test_bytes_that_are_left_out_say_no() -> None:
    assert Extended.of(b"") == Extended.of(b"\0" * 7) == BASELINE
    assert Extended.of(b"\1\0\1") == Extended(relational=True, fuzzy=True)
    assert Extended.of(answer(b"\1" * 7)) == ALL


def conditions_of(query: Query) -> dict[str, Any]:
    return {condition.keyword: condition.test for condition in (*query.conditions, *query.instance_conditions)}


KEYS = {
    "StudyDate": "20260504-20260505", "StudyTime": "22-06", "PatientName": "SYNTH", "ModalitiesInStudy": "MG\\US",
    "StudyDescription": '""', "TimezoneOffsetFromUTC": "+0100",
}  # fmt: skip


def test_nothing_of_it_holds_without_being_negotiated() -> None:
    with pytest.raises(InvalidQueryError, match="StudyTime ends before it begins"):
        ask("STUDY", **KEYS)
    query = ask("STUDY", **KEYS | {"StudyTime": "06-22"})
    tests = conditions_of(query)
    assert query.zone is None
    assert tests["StudyDescription"] == Exact(frozenset({'""'}))
    assert tests["ModalitiesInStudy"] == Exact(frozenset({"MG", "US"}))
    assert isinstance(tests["PatientName"], Name)
    assert isinstance(tests["StudyTime"], Within)
    for level in ("SERIES", "IMAGE"):
        with pytest.raises(InvalidQueryError, match="must have one value"):
            ask(level, extended=Extended(date_time=True, fuzzy=True, zone=True))


def test_each_of_it_holds_where_it_was() -> None:
    query = ask("IMAGE", Root.PATIENT, extended=ALL, **KEYS)
    tests = conditions_of(query)
    assert query.zone == timedelta(hours=1)
    assert tests["StudyDescription"] == Empty()
    assert tests["ModalitiesInStudy"] == AllOf((Exact(frozenset({"MG"})), Exact(frozenset({"US"}))))
    assert isinstance(tests["StudyDate"], DateAndTime)
    assert "StudyTime" not in tests
    assert [asked.keyword for asked in query.asked if asked.keyword.startswith("Study")] == [
        "StudyDate", "StudyTime", "StudyDescription",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"TimezoneOffsetFromUTC": "CET"}, "TimezoneOffsetFromUTC is no offset from UTC"),
        ({"TimezoneOffsetFromUTC": "+1500"}, "TimezoneOffsetFromUTC is no offset"),
        ({"TimezoneOffsetFromUTC": "+0160"}, "TimezoneOffsetFromUTC is no offset"),
        ({"StudyDate": "20260505-20260504", "StudyTime": "10-11"}, "StudyDate ends before it begins"),
        ({"StudyDate": "20260504-20260504", "StudyTime": "11-10"}, "StudyDate ends before it begins"),
        ({"StudyDate": "x-y", "StudyTime": "10-11"}, "StudyDate is no DA value or range"),
        ({"StudyDate": "20260504-", "StudyTime": "-25"}, "StudyDate is no TM value or range"),
        ({"AccessionNumber": "A" * 1025}, "longer than"),
        ({"StudyDate": "-" * 50_000, "StudyTime": "10-11"}, "StudyDate is longer than"),
        ({"SeriesInstanceUID": "1.2.3"}, "SeriesInstanceUID is below the STUDY level"),
    ],
)
def test_a_broken_rule_is_named(keys: dict[str, str], complaint: str) -> None:
    with pytest.raises(InvalidQueryError, match=complaint) as caught:
        ask("STUDY", extended=ALL, **keys)
    assert len(str(caught.value)) <= 64


def test_each_of_several_values_is_wanted_of_an_attribute_that_may_have_several() -> None:
    every = AllOf((Exact(frozenset({"A"})), WildCard("B*")))
    for keyword, level, test in (
        ("ImageType", "IMAGE", every),
        ("ModalitiesInStudy", "STUDY", every),
        ("Modality", "STUDY", AnyOf(every.tests)),
        ("AccessionNumber", "STUDY", WildCard("A\\B*")),
    ):
        assert conditions_of(ask(level, extended=ALL, **{keyword: "A\\B*"})) == {keyword: test}
    assert conditions_of(ask("STUDY", extended=ALL, ModalitiesInStudy="MG")) == {
        "ModalitiesInStudy": Exact(frozenset({"MG"}))
    }
