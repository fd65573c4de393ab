"""The main job: an exam arrives by C-STORE, a mail warns before it stops counting, a fresh exam ends it."""

import signal
import sqlite3
import time
from contextlib import closing
from datetime import date, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydicom.dataset import Dataset

from dicom_node.accreditation.months import first_day
from tests import raw_peer
from tests.archives import wait_until
from tests.factories import encode, make_mg
from tests.live import LiveNode, live_node
from tests.raw_peer import EXPLICIT, MAMMOGRAM, RawPeer
from tests.receivers import MailReceiver, smtp_server

CHANNEL = """
[[alerts.channel]]
name = "ops-mail"
type = "smtp"
host = "127.0.0.1"
port = {port}
security = "none"
from = "dicom-node@example.org"
to = ["biopsy-ops@example.org", "physics@example.org"]
"""


def wait_for_mail(received: MailReceiver, count: int, seconds: float = 60.0) -> EmailMessage:
    deadline = time.monotonic() + seconds
    while len(received.mails) < count:
        assert time.monotonic() < deadline, f"{len(received.mails)} mails came"
        time.sleep(0.1)
    return received.mails[count - 1]


def exam(day: date, **options: Any) -> Dataset:
    return make_mg(
        day=day,
        serial="PT-4471",
        station="PRONE2",
        **{"patient_name": "PLANTED^NAME", "PatientID": "PLANTED-ID"} | options,
    )


def send(node: LiveNode, *exams: Dataset) -> None:
    """Send them without a pause, so that none is settled before the last is there."""
    messages = [raw_peer.message(1, raw_peer.store_request(MAMMOGRAM, ds.SOPInstanceUID), encode(ds)) for ds in exams]
    with RawPeer(node.port, contexts=[(MAMMOGRAM, [EXPLICIT])]) as peer:
        for message in messages:
            peer.send(message)
            assert peer.read_response()[0].status == 0
        peer.release()


def rows(node: LiveNode, query: str) -> list[Any]:
    with closing(sqlite3.connect(node.data / "node.db")) as index:
        return index.execute(query).fetchall()


def last_review(node: LiveNode) -> str:
    """When the node reviewed last, in a form that sorts; "" when it has not."""
    found = rows(node, "SELECT value FROM node_state WHERE name = 'last_review_at'")
    return str(found[0][0]) if found else ""


def wait_for_review(node: LiveNode, after: str) -> None:
    """Wait until the node has reviewed later than that; it looks every 20 seconds whether a review is due."""
    deadline = time.monotonic() + 60
    while last_review(node) <= after:
        assert time.monotonic() < deadline, "there was no review"
        time.sleep(0.1)


def deliveries(node: LiveNode) -> dict[str, int]:
    """How many deliveries of messages to recipients there are in each state."""
    return dict(rows(node, "SELECT state, count(*) FROM delivery GROUP BY state"))


def text_of(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


@pytest.mark.timeout(240)
def test_a_mail_warns_fourteen_days_before_once_and_a_fresh_exam_ends_it(
    tmp_path: Path,
) -> None:
    today = datetime.now(ZoneInfo("America/Chicago")).date()
    last_counting_day = today + timedelta(days=14)
    old = first_day(last_counting_day, 6)
    with smtp_server() as received, live_node(tmp_path, more=CHANNEL.format(port=received.port)) as node:
        wait_for_review(node, after="")  # or it might see the one without the other
        # A phantom of today: nothing to say about it.
        send(node, exam(today, PatientID="ACRPHANTOM-1"), exam(old))
        warning = wait_for_mail(received, 1)
        assert "Prone table, room 2" in warning["Subject"]
        assert "14 days" in warning["Subject"]
        text = text_of(warning)
        print(warning["Subject"])
        print(text)
        for fact in (
            "Prone table, room 2",
            old.isoformat(),
            last_counting_day.isoformat(),
            "6 calendar months",
            "release record",
        ):
            assert fact in text, fact
        assert sorted(received.envelopes[0]) == ["biopsy-ops@example.org", "physics@example.org"]
        assert warning["Auto-Submitted"] == "auto-generated"

        # A second review, by a new start, and a third, by a reload, find nothing new to say.
        assert node.stop() == 0
        reviewed = last_review(node)
        node.start()
        wait_for_review(node, after=reviewed)
        reviewed = last_review(node)
        assert node.process is not None
        node.process.send_signal(signal.SIGHUP)
        wait_for_review(node, after=reviewed)
        assert deliveries(node) == {"delivered": 2}
        assert len(received.mails) == 1

        send(node, exam(today))
        resolved = wait_for_mail(received, 2)
        assert "Prone table, room 2" in resolved["Subject"]
        assert today.isoformat() in text_of(resolved)
        assert resolved["Message-ID"] != warning["Message-ID"]
        wait_until(lambda: deliveries(node) == {"delivered": 4})
        assert len(received.mails) == 2
        assert node.stop() == 0
    everything = node.log.read_text() + "".join(mail.as_string() for mail in received.mails)
    assert "PLANTED" not in everything
    assert "ACRPHANTOM" not in everything
