"""Messages as they leave: layout, subjects, headers, and what must never be in them."""

from dataclasses import replace
from datetime import date
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.accreditation.reminders import Severity
from dicom_node.alerts.channels import describe, refused
from dicom_node.alerts.mail import make_mail, message_id
from dicom_node.alerts.notice import AlertKind, Item, Notice, NoticeKind, StandingLine
from dicom_node.alerts.render import Message, render
from tests.alerting import SITE, make_message, morning

SENDER, OPS = "dicom-node@example.org", "ops@example.org"


def parse(message: Message) -> EmailMessage:
    parsed = message_from_bytes(make_mail(message, SENDER, [OPS]).as_bytes(), policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def finding(station: str) -> Item:
    return Item(
        alert_id=1,
        key="unregistered_unit/station=x",
        kind=AlertKind.UNREGISTERED_UNIT,
        severity=Severity.CRITICAL,
        details={
            "state": "found", "rule": "The rule.", "serial": "", "station": station, "manufacturer": station,
            "sender": station, "count": 1, "exams": ["abc"], "newest": None,
        },
    )  # fmt: skip


def notice(*items: Item, label: str = "", kind: NoticeKind = NoticeKind.FIRING) -> Notice:
    return Notice(
        key="firing/(site)/1", kind=kind, severity=Severity.CRITICAL, unit_id="", unit_label=label, items=items,
        at=morning(date(2026, 11, 24)),
    )  # fmt: skip


def test_the_text_has_the_shape_people_scan() -> None:
    lines = make_message().text.splitlines()
    assert lines[0] == "Upright A, room 4 (upright_a) - Example Breast Center"
    assert [line.split("  ")[0] for line in lines if line and not line.startswith(" ")][2:] == [
        "What", "Why", "Do one of", "Next", "Seen it?", "Also", "-- ",
        "Sent by dicom-node SBB_NODE on 2026-11-24. No patient data is in this message.",
    ]  # fmt: skip
    assert 'Seen it?   dicom-node alerts ack 4711 --note "..."' in lines


def test_sentences_are_wrapped_and_commands_are_not() -> None:
    lines = make_message().text.splitlines()
    assert max(len(line) for line in lines if "https://" not in line) <= 78
    assert "              dicom-node release record upright_a --date YYYY-MM-DD" in lines


def test_the_html_says_the_same() -> None:
    message = make_message()
    for words in ("Upright A, room 4", "stops counting in 14 days", "dicom-node alerts ack 4711", "No patient data"):
        assert words in message.html
        assert words in " ".join(message.text.split())


def test_the_worst_comes_first_in_the_subject_and_the_rest_is_counted() -> None:
    mild = [replace(finding(f"S{number}"), severity=Severity.WARNING) for number in range(3)]
    subject = render(notice(*mild, finding("WORST")), SITE).subject
    assert subject.startswith("[ACR SBB] Example Breast Center: biopsy images of a device that is no registered unit")
    assert subject.index("WORST") < subject.index("S0")
    assert subject.endswith("; and 2 more")


def test_text_of_devices_is_escaped_in_html_and_kept_in_text() -> None:
    message = render(notice(finding("<b>&UPR</b>")), SITE)
    assert "<b>&UPR" in " ".join(message.text.split())
    assert "<b>" not in message.html
    assert "&lt;b&gt;&amp;UPR" in message.html


@pytest.mark.parametrize("evil", ["X\r\nBcc: thief@example.org", "X\nSubject: other", "X\x00\x1b[31m", "X\u2028Bcc: a"])
def test_no_text_makes_a_header_or_a_line_of_its_own(evil: str) -> None:
    message = render(notice(finding(evil), label=evil), SITE)
    mail = parse(message)
    assert mail["Bcc"] is None
    assert mail.get_all("Subject") == [message.subject]
    assert message.subject.isprintable()
    assert not [line for line in message.text.splitlines() if line.startswith(("Bcc:", "Subject:"))]
    assert "\x1b" not in message.text + message.html


@given(st.text(max_size=80), st.text(max_size=80))
def test_whatever_a_device_or_an_operator_writes_the_mail_keeps_its_headers(station: str, label: str) -> None:
    message = render(notice(finding(station), label=label), SITE)
    mail = parse(message)
    assert mail["From"] == f"dicom-node <{SENDER}>"
    assert mail["To"] == OPS
    assert mail["Bcc"] is None
    assert mail["Message-ID"] == message_id(message, SENDER)
    assert mail["Auto-Submitted"] == "auto-generated"
    assert [part.get_content_type() for part in mail.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    assert not any(part.defects for part in mail.walk())


def test_the_alert_header_names_the_alerts_on_one_line() -> None:
    long_key = "unattributed/" + "%20" * 100
    item = replace(finding("x"), key=long_key)
    raw = make_mail(render(notice(item, finding("y")), SITE), SENDER, [OPS]).as_bytes()
    assert f"X-Dicom-Node-Alert: {long_key} unregistered_unit/station=x\r\n".encode() in raw


def test_the_message_id_is_that_of_the_message_and_the_node() -> None:
    message = make_message()
    assert message_id(message, SENDER) == message_id(replace(message, text="later"), SENDER)
    assert message_id(message, SENDER) != message_id(replace(message, key="other"), SENDER)
    assert message_id(message, SENDER) != message_id(replace(message, source="Other site/SBB_NODE"), SENDER)


def test_critical_alerts_are_marked_important_and_others_are_not() -> None:
    assert parse(render(notice(finding("x")), SITE))["Importance"] == "high"
    assert parse(make_message())["Importance"] is None


def test_the_digest_lists_units_and_open_alerts() -> None:
    line = StandingLine(
        unit="Upright A", portion="clinical", state="nearing", exam_day=date(2026, 6, 8), cutoff=date(2026, 12, 8)
    )
    bare = StandingLine(unit="Upright B", portion="clinical", state="missing", exam_day=None, cutoff=None)
    items = (replace(finding("x"), acknowledged=True),)
    message = render(replace(notice(*items, kind=NoticeKind.DIGEST), table=(line, bare)), SITE)
    rows = [text.split() for text in message.text.splitlines() if text.startswith("Upright")]
    assert rows == [
        ["Upright", "A", "clinical", "nearing", "2026-06-08", "2026-12-08", "14"],
        ["Upright", "B", "clinical", "missing", "-", "-", "-"],
    ]
    assert "(acknowledged)" in " ".join(message.text.split())
    assert "<td>nearing</td>" in message.html


def test_reasons_are_one_printable_line_of_bounded_length() -> None:
    reason = refused("550 \x1b[31mno\r\n" + "x" * 1000).reason
    assert reason.isprintable()
    assert len(reason) == 200
    assert describe(TimeoutError()) == "no answer in time"
    assert describe(ConnectionRefusedError(111, "Connection refused")) == "Connection refused"
    assert describe(ValueError()) == "ValueError"
