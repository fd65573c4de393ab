"""Dates and times in the zone of a request."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from dicom_node.dicom.zones import adjust, offset, offset_text

CHICAGO = ZoneInfo("America/Chicago")
STUDY = ("StudyDate", "StudyTime", "StudyOffsetFromUTC")


@pytest.mark.parametrize(
    ("stored", "zone", "moved"),
    [
        (("20260504", "103000", "+0200"), "+0000", ("20260504", "083000")),
        (("20260504", "0030", "+0200"), "-0100", ("20260503", "2130")),
        (("20260504", "233059.25", "+0000"), "+0530", ("20260505", "050059.25")),
        (("20260504", "10", "+0000"), "+0100", ("20260504", "11")),
        (("20260504", "10", "+0000"), "+0530", ("20260504", "1530")),
        (("20260504", "10:30", "+0000"), "+0100", ("20260504", "1130")),
        (("20260504", "1030", ""), "+0000", ("20260504", "1530")),  # summer time in Chicago
        (("20260104", "1030", ""), "+0000", ("20260104", "1630")),
        (("20260104", "1030", "CST"), "+0000", ("20260104", "1630")),  # no offset: as if there were none
        (("20260504", "", "+0200"), "+0000", ("20260504", "")),
        (("", "1030", "+0200"), "+0000", ("", "1030")),
        (("soon", "1030", "+0200"), "+0000", ("soon", "1030")),
        (("00010101", "0000", "+1400"), "-1200", ("00010101", "0000")),  # there is no day before it
    ],
)
def test_a_date_and_its_time_move_together(stored: tuple[str, str, str], zone: str, moved: tuple[str, str]) -> None:
    record = dict(zip(STUDY, stored, strict=True))
    adjust(record, offset(zone), CHICAGO)
    assert record == dict(zip(STUDY[:2], moved, strict=True))


@pytest.mark.parametrize(
    ("stored", "own", "moved"),
    [
        ("20260504103000.5", "+0200", "20260504093000.5+0100"),
        ("20260504103000-0500", "+0200", "20260504163000+0100"),
        ("2026050410", "", "2026050416+0100"),
        ("20260504", "+0200", "20260504"),
        ("202605", "+0200", "202605"),
        ("then", "+0200", "then"),
    ],
)
def test_a_date_time_moves_by_itself(stored: str, own: str, moved: str) -> None:
    record = {"AcquisitionDateTime": stored, "InstanceOffsetFromUTC": own, "PatientBirthDate": "19700101"}
    adjust(record, timedelta(hours=1), CHICAGO)
    assert record == {"AcquisitionDateTime": moved, "PatientBirthDate": "19700101"}


@pytest.mark.parametrize("text", ["+0000", "-1200", "+1400", "+0530", "-0330"])
def test_an_offset_is_written_as_it_was_read(text: str) -> None:
    assert offset_text(offset(text)) == text


@pytest.mark.parametrize("text", ["", "0100", "+1", "+0160", "+1401", "-1201", "+01:00", "+0100 "])
def test_anything_else_is_no_offset(text: str) -> None:
    with pytest.raises(ValueError, match="offset"):
        offset(text)
