from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import click
import pytest

from dicom_node.cli.opened import DAY
from dicom_node.cli.phrases import day_words, moment_words, size_words, span_words, write_facts, write_sentence

CHICAGO = ZoneInfo("America/Chicago")
NOW = datetime(2026, 11, 23, 20, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (10 << 20, "10 MiB"),
        (412 << 30, "412 GiB"),
        (1 << 60, "1024 PiB"),
    ],
)
def test_a_size_is_told_in_its_largest_unit(size: int, words: str) -> None:
    assert size_words(size) == words


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(days=12, hours=3), "12 d"),
        (timedelta(hours=3, minutes=59), "3 h"),
        (timedelta(minutes=5), "5 min"),
        (timedelta(seconds=7), "7 s"),
        (timedelta(seconds=-7), "0 s"),
    ],
)
def test_a_span_is_told_in_its_largest_unit(span: timedelta, words: str) -> None:
    assert span_words(span) == words


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (0, "today 14:05"),
        (-14, "today 00:05"),
        (-15, "yesterday 23:05"),
        (10, "tomorrow 00:05"),
        (-48, "Sat 14:05"),
        (-6 * 24, "Tue 14:05"),
        (-7 * 24, "2026-11-16"),
        (48, "2026-11-25"),
    ],
)
def test_a_moment_is_told_as_the_facility_says_it(hours: int, words: str) -> None:
    assert moment_words(NOW + timedelta(hours=hours), CHICAGO, NOW) == words


def test_facts_stand_in_columns_and_empty_ones_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    write_facts([("Unit", "a\x1b"), ("Attachment", ""), ("Day", day_words(None))])
    assert capsys.readouterr().out == "Unit  a\\x1b\nDay   no date\n"
    assert day_words(date(2026, 1, 2)) == "2026-01-02"


def test_a_sentence_is_wrapped_and_an_address_never(capsys: pytest.CaptureFixture[str]) -> None:
    write_sentence(f"{'word ' * 18}https://example.org/{'x' * 100}", first="! ", rest="  ")
    first, address = capsys.readouterr().out.splitlines()
    assert first == f"! {('word ' * 18).strip()}"
    assert address == f"  https://example.org/{'x' * 100}"


def test_a_day_is_written_one_way() -> None:
    assert DAY.convert("2026-02-28", None, None) == DAY.convert(date(2026, 2, 28), None, None) == date(2026, 2, 28)
    for wrong in ("2026-02-30", "20260228x", "28.2.2026", ""):
        with pytest.raises(click.BadParameter, match="YYYY-MM-DD"):
            DAY.convert(wrong, None, None)
