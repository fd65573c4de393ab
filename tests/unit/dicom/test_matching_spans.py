"""What dates, times and date-times cover."""

from datetime import date, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.dicom.matching import Within, make_test
from dicom_node.dicom.spans import span, split_range


@pytest.mark.parametrize(
    ("vr", "text", "first", "last"),
    [
        ("DA", "20260228", "2026-02-28T00:00:00", "2026-02-28T23:59:59.999999"),
        ("DT", "2024", "2024-01-01T00:00:00", "2024-12-31T23:59:59.999999"),
        ("DT", "202402", "2024-02-01T00:00:00", "2024-02-29T23:59:59.999999"),
        ("DT", "999912", "9999-12-01T00:00:00", "9999-12-31T23:59:59.999999"),
        ("DT", "2024022910", "2024-02-29T10:00:00", "2024-02-29T10:59:59.999999"),
        ("TM", "10", "0001-01-01T10:00:00", "0001-01-01T10:59:59.999999"),
        ("TM", "101112.25", "0001-01-01T10:11:12.250000", "0001-01-01T10:11:12.259999"),
        ("TM", "235960", "0001-01-01T23:59:59", "0001-01-01T23:59:59.999999"),
    ],
)
def test_a_value_covers_what_it_says(vr: str, text: str, first: str, last: str) -> None:
    assert (span(vr, text).first.isoformat(), span(vr, text).last.isoformat()) == (first, last)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2026-0500", "2026-0500", "2026-0500"),
        ("2026-2027", "2026", "2027"),
        ("20260101-0500-20260102-0500", "20260101-0500", "20260102-0500"),
        ("20260101-0500-", "20260101-0500", ""),
        ("-20260101-0500", "", "20260101-0500"),
        ("20260101-20260102", "20260101", "20260102"),
    ],
)
def test_the_hyphen_of_an_offset_is_told_from_that_of_a_range(text: str, low: str, high: str) -> None:
    assert split_range("DT", text) == (low, high)


@pytest.mark.parametrize("text", ["20260101+1401", "20260101-1260", "2026010", "20260101T10", ""])
def test_what_is_no_date_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        span("DT", text) if text else split_range("DT", "-")


def _written(moment: time, length: int) -> str:
    return moment.strftime("%H%M%S.%f")[:length]


@given(
    low=st.times(),
    high=st.times(),
    stored=st.times(),
    lengths=st.tuples(*[st.sampled_from([2, 4, 6, 13])] * 3),
)
def test_times_lie_in_a_range_by_the_precision_they_are_written_in(
    low: time, high: time, stored: time, lengths: tuple[int, int, int]
) -> None:
    texts = [_written(moment, length) for moment, length in zip((low, high, stored), lengths, strict=True)]
    first, last = texts[0].ljust(6, "0"), texts[1]
    begins = texts[2].ljust(6, "0").ljust(7, ".").ljust(13, "0")
    if first[: len(last)] > last:
        return  # it ends before it begins
    test = make_test("TM", f"{texts[0]}-{texts[1]}")
    assert isinstance(test, Within)
    # Fixed-width digits compare as text; the end is compared in as many digits as it has.
    expected = begins >= first.ljust(7, ".").ljust(13, "0") and begins[: len(last)] <= last
    assert test.accepts(texts[2]) is expected


@given(low=st.dates(), length=st.integers(0, 800), stored=st.dates(), open_end=st.sampled_from(["", "low", "high"]))
def test_days_lie_in_a_range_with_both_ends_included(low: date, length: int, stored: date, open_end: str) -> None:
    try:
        high = low + timedelta(days=length)
    except OverflowError:
        high = date.max
    low_text, high_text, stored_text = (day.isoformat().replace("-", "") for day in (low, high, stored))
    key = f"{'' if open_end == 'low' else low_text}-{'' if open_end == 'high' else high_text}"
    test = make_test("DA", key)
    assert test is not None
    expected = (open_end == "low" or low <= stored) and (open_end == "high" or stored <= high)
    assert test.accepts(stored_text) is expected
