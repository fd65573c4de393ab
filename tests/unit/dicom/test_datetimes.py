from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.dicom.datetimes import parse_da, parse_dt


@pytest.mark.parametrize("text", ["20260504", "2026.05.04", "20260504 ", "20260504\0"])
def test_a_date_is_read_in_both_its_forms(text: str) -> None:
    assert parse_da(text) == date(2026, 5, 4)


@pytest.mark.parametrize(
    "text",
    ["", " ", "2026", "202605", "20260532", "20261301", "00000101", "2026.0504", "202605.04", "2026-05-04",
     "20260504\n", "20260504090000", "20260504-20260601", "٢٠٢٦٠٥٠٤", "ANONYMIZED"],
)  # fmt: skip
def test_anything_else_is_no_date(text: str) -> None:
    assert parse_da(text) is None


@pytest.mark.parametrize(
    "text",
    ["20260504", "2026050409", "202605040901", "20260504090159", "20260504090159.1", "20260504090159.123456",
     "20260504090159.123456+0200", "20260504-0500", "20260504235959-1200 "],
)  # fmt: skip
def test_a_date_time_gives_the_day_as_written(text: str) -> None:
    assert parse_dt(text) == date(2026, 5, 4)


@pytest.mark.parametrize("text", ["", "2026", "202605", "2026050", "20260532", "20260504T090000", "20260504 0901", "x"])
def test_a_date_time_without_a_day_is_none(text: str) -> None:
    assert parse_dt(text) is None


@given(day=st.dates())
def test_every_day_is_read_back(day: date) -> None:
    text = f"{day:%Y%m%d}".zfill(8)
    assert parse_da(text) == parse_dt(text) == day


@given(text=st.text(max_size=30))
def test_any_text_is_read_without_an_error(text: str) -> None:
    parse_da(text)
    parse_dt(text)
