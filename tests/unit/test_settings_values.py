from datetime import time
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.settings import values


@pytest.mark.parametrize(
    ("text", "size"), [("0 B", 0), ("20 GiB", 20 << 30), ("128KiB", 131072), ("1.5 MiB", 3 << 19), ("2 TiB", 2 << 40)]
)
def test_a_size_is_a_number_with_a_unit(text: str, size: int) -> None:
    assert values.read_size(text) == size


@pytest.mark.parametrize("value", ["20 GB", "20", 20, "", "-1 GiB", "GiB", None, True, "20 GiB free"])
def test_what_is_no_size_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(ValueError, match='such as "20 GiB"'):
        values.read_size(value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30 s", 30), ("0.5 s", 0.5), ("5min", 300), ("2 h", 7200), ("1 d", 86400)]
)
def test_a_span_of_time_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert values.read_seconds(text) == seconds


@pytest.mark.parametrize("value", [30, "30", "0 s", "-1 s", "soon", None, "1 m"])
def test_what_is_no_span_of_time_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(ValueError, match='such as "30 s"'):
        values.read_seconds(value)


@pytest.mark.parametrize("title", ["A", "PRONE_RM2", "a b", "X" * 16, '~!"#$%&()[]'])
def test_an_ae_title_has_1_to_16_printable_characters(title: str) -> None:
    assert values.read_ae_title(title) == title
    assert values.read_ae_title(f" {title}  ") == title


@pytest.mark.parametrize("title", ["", "    ", "X" * 17, "BACK\\SLASH", "NEW\nLINE", "UMLAUT_Ü", 12, None])
def test_what_no_device_could_call_with_is_no_ae_title(title: object) -> None:
    with pytest.raises(ValueError, match=r"AE title|characters"):
        values.read_ae_title(title)


def test_an_address_is_a_network_of_one() -> None:
    assert values.read_network("10.20.30.11") == ip_network("10.20.30.11/32")
    assert values.read_network("fd00::/8") == ip_network("fd00::/8")


@pytest.mark.parametrize("value", ["10.20.30.256", "prone.example.org", "", 10, "10.0.0.0/33"])
def test_a_name_or_a_broken_address_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="not an IP address or network"):
        values.read_network(value)


def test_an_address_with_a_mask_is_not_taken_for_the_network_around_it() -> None:
    with pytest.raises(ValueError, match=r"write the address alone or '10\.20\.30\.0/24'"):
        values.read_network("10.20.30.11/24")


@pytest.mark.parametrize("value", ["2026-02-29", "2026-03-01T00:00:00", 20260301, "", "March"])
def test_what_is_no_calendar_date_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="such as 2026-03-01"):
        values.read_day(value)


def test_quiet_hours_may_pass_midnight() -> None:
    assert values.read_hours("19:00-06:30") == (time(19), time(6, 30))
    assert values.read_hours("12:00 - 13:00") == (time(12), time(13))


@pytest.mark.parametrize("value", ["19:00", "19:00-19:00", "24:00-06:00", "19-6", "", None, 5])
def test_what_is_no_stretch_of_the_day_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match='such as "19:00-06:30"'):
        values.read_hours(value)


@pytest.mark.parametrize("pattern", ["", "*", "?*", " * "])
def test_a_pattern_that_fits_every_patient_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="fits every Patient ID"):
        values.check_pattern(pattern)


@pytest.mark.parametrize("ladder", [(), (1, 2), (3, 3), (5, 0), (0,)])
def test_a_ladder_falls_and_ends_at_one_day_or_more(ladder: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="falling"):
        values.check_ladder(ladder)


@pytest.mark.parametrize("name", ["StationName", "calling_ae", "IMS s.r.l. Biopsy Private Code:1269,01"])
def test_a_rule_looks_at_keywords_private_elements_and_the_association(name: str) -> None:
    assert values.check_attribute(name) == name


@pytest.mark.parametrize("name", ["stationName", "0008,1010", "", "X:1269", "calling_aet"])
def test_what_names_no_attribute_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="names no attribute"):
        values.check_attribute(name)


_READERS: list[Any] = [
    values.read_size,
    values.read_seconds,
    values.read_ae_title,
    values.read_network,
    values.read_bind,
    values.read_day,
    values.read_clock,
    values.read_hours,
    values.read_zone,
]
_toml = st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.dates(), st.lists(st.text(max_size=3)))


@given(st.sampled_from(_READERS), _toml)
def test_a_reader_returns_a_value_or_says_what_to_write(reader: Any, value: object) -> None:
    said = ""
    try:
        reader(value)
    except ValueError as error:
        said = str(error)
    assert not said or "write" in said or "did you mean" in said or "DICOM allows" in said


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("device.example.org", "device.example.org"),
        ("Prone table 2", "Prone table 2"),
        ("SHA256:" + ":".join(["AB"] * 32), "sha256:" + "ab" * 32),
        ("sha256:" + "0f" * 32, "sha256:" + "0f" * 32),
    ],
)
def test_a_certificate_is_known_by_a_name_or_its_fingerprint(written: str, read: str) -> None:
    assert values.read_certificate(written) == read


@pytest.mark.parametrize("written", ["", "sha256:12", "sha256:" + "g" * 64, "a\nb", "ä", "x" * 65, 5])
def test_what_names_no_certificate_is_told(written: object) -> None:
    with pytest.raises(ValueError, match="names no certificate"):
        values.read_certificate(written)
