"""From an exam that nears its end to the mail, and from a fresh exam to the good news, through a real mail server."""

from collections.abc import Iterator
from datetime import date

import pytest

from dicom_node.accreditation.portions import Portion
from dicom_node.alerts.smtp import Security, SmtpChannel
from dicom_node.index import outbox
from dicom_node.index.engine import Index
from dicom_node.services.dispatch import Dispatcher
from dicom_node.services.review import review
from tests.alerting import SITE, FakeClock, add_exam, make_rules, morning
from tests.receivers import MailReceiver, smtp_server

OPS, LEAD = "ops@example.org", "lead@example.org"
TODAY = date(2026, 11, 24)


class SmallNode:
    """Reviews and sends, with a clock of its own."""

    def __init__(self, index: Index, port: int) -> None:
        self.index, self.clock, self.rules = index, FakeClock(morning(TODAY)), make_rules()
        self.channel = SmtpChannel(
            name="ops-mail", host="127.0.0.1", port=port, sender="dicom-node@example.org", recipients=[OPS, LEAD],
            security=Security.NONE,
        )  # fmt: skip

    def review(self, unit_ids: list[str] | None = None) -> None:
        today = self.clock().astimezone(SITE.zone).date()
        review(self.index, self.rules, [self.channel], today=today, now=self.clock(), unit_ids=unit_ids)

    def dispatch(self) -> None:
        Dispatcher(
            self.index,
            [self.channel],
            site=SITE,
            labels={"upright_a": "Upright A, room 4"},
            recheck=lambda unit_id: self.review([unit_id]),
            clock=self.clock,
            jitter=lambda: 0.0,
        ).run()


@pytest.fixture
def receiver() -> Iterator[MailReceiver]:
    with smtp_server() as running:
        yield running


@pytest.fixture
def node(sqlite_index: Index, receiver: MailReceiver) -> SmallNode:
    with sqlite_index.write() as conn:
        add_exam(conn, date(2026, 6, 8))
        add_exam(conn, date(2026, 11, 1), portion=Portion.PHANTOM)
        add_exam(
            conn, date(2026, 11, 10), unit_id="", sender="ADDON_WS", portion=Portion.UNCLEAR, candidates=["upright_a"]
        )
    return SmallNode(sqlite_index, receiver.port)


def text_of(receiver: MailReceiver, subject: str) -> str:
    [mail] = [mail for mail in receiver.mails if subject in mail["Subject"]]
    body = mail.get_body(("plain",))
    assert body is not None
    return " ".join(body.get_content().split())


def test_the_mail_arrives_once_and_a_fresh_exam_brings_the_good_news(node: SmallNode, receiver: MailReceiver) -> None:
    for _ in range(2):
        node.review()
        node.dispatch()
        node.clock.advance(minutes=20)
    assert len(receiver.mails) == 2  # the unit's, and the one about the exam without a unit
    text = text_of(receiver, "Upright A, room 4: clinical exam stops counting in 14 days (2026-12-08)")
    assert "of 2026-06-08, counts for a testing package released up to and including 2026-12-08" in text
    assert "Testing Overview: Stereotactic Breast Biopsy, revised 2023-03-03" in text
    assert "2026-06-08 plus 6 calendar months is 2026-12-08" in text
    assert "dicom-node release record upright_a --date YYYY-MM-DD" in text
    assert "Reminder on 2026-12-01 unless acknowledged" in text
    assert "Phantom: the newest exam, of 2026-11-01, counts until 2027-05-01." in text
    assert "1 exam that nobody could place may be of this unit" in text
    with node.index.write() as conn:
        add_exam(conn, TODAY)
    node.review(["upright_a"])
    node.dispatch()
    good_news = text_of(receiver, "resolved: clinical exam of 2026-11-24 received")
    assert "It counts for a testing package released up to and including 2027-05-24" in good_news
    assert len(receiver.mails) == 3


def test_each_recipient_has_an_outcome_of_its_own(node: SmallNode, receiver: MailReceiver) -> None:
    receiver.rcpt = {LEAD: "550 5.1.1 no such person", OPS: "451 4.7.1 greylisted"}
    node.review(["upright_a"])
    node.dispatch()
    receiver.rcpt = {LEAD: "550 5.1.1 no such person"}
    node.clock.advance(seconds=29)
    node.dispatch()
    assert receiver.mails == []
    node.clock.advance(seconds=1)
    node.dispatch()
    assert receiver.envelopes == [(OPS,)]
    with node.index.read() as conn:
        found = {each.recipient: (each.state, each.attempts, each.last_error) for each in outbox.deliveries_of(conn, 1)}
    assert found == {OPS: ("delivered", 2, ""), LEAD: ("refused", 1, "550 5.1.1 no such person")}
