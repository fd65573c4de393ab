"""The commands about alerts, on rows that real reviews made and messages that were really sent."""

import socket
from datetime import date, timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from dicom_node.index.tables import metadata
from dicom_node.services.dispatch import Dispatcher
from dicom_node.services.review import review
from dicom_node.site import Stores
from tests.commands import Commands
from tests.factories import make_mg, make_stereo_pair
from tests.sites import START, opened_site, receive, receive_all

PRONE: dict[str, Any] = {"serial": "PT-4471", "station": "PRONE"}
ALERT_KEYS = [
    "id", "key", "kind", "unit", "portion", "severity", "state", "stage", "headline", "opened_at", "changed_at",
    "resolved_at", "acknowledged", "details",
]  # fmt: skip


def review_and_send(stores: Stores, days: int = 0) -> None:
    """Review on the morning so many days on, and send what is due."""
    at, site = START + timedelta(days=days), stores.site
    review(stores.index, site.rules, site.channels, today=site.day(at), now=at)
    Dispatcher(
        stores.index, site.channels, site=site.speaker, labels=site.labels, recheck=lambda _: None, clock=lambda: at
    ).run()


@pytest.fixture
def alerting(site: Path) -> Path:
    """A facility with one alert: the clinical exam of upright A stops counting in 15 days, the phantom is fine."""
    with opened_site(site) as stores:
        receive_all(
            stores,
            *((ds, "UPRIGHT_A") for ds in make_stereo_pair(serial="UA-1002", day=date(2026, 6, 8))),
            (make_mg(serial="UA-1002", day=date(2026, 11, 2), patient_id="ACRPHANTOM1"), "UPRIGHT_A"),
        )
        review_and_send(stores)
    return site


@pytest.fixture
def deaf(alerting: Path) -> Path:
    """The same facility with a webhook that nobody answers."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    table = f'\n[[alerts.channel]]\nname = "hook"\ntype = "webhook"\nurl = "http://127.0.0.1:{port}/"\n'
    alerting.write_text(alerting.read_text() + table)
    return alerting


def all_rows(config: Path) -> dict[str, list[Any]]:
    """Return every row of the index."""
    with opened_site(config) as stores, stores.index.read() as conn:
        return {table.name: conn.execute(table.select()).all() for table in metadata.sorted_tables}


class TestList:
    def test_what_fires_and_then_is_resolved(self, alerting: Path, commands: Commands) -> None:
        (alert,) = commands.json("alerts", "list")["alerts"]
        assert list(alert) == ALERT_KEYS
        assert (alert["kind"], alert["unit"], alert["portion"], alert["state"]) == (
            "eligibility", "upright_a", "clinical", "firing",
        )  # fmt: skip
        assert commands.good("alerts", "list").lines[1].split(maxsplit=7) == [
            "1", "2026-11-23", "09:00", "CST", "warning", "upright_a", "clinical",
            "exam stops counting in 15 days (2026-12-08)",
        ]  # fmt: skip
        with opened_site(alerting) as stores:
            for ds in make_stereo_pair(serial="UA-1002", day=date(2026, 11, 22)):
                receive(stores, ds, sender="UPRIGHT_A")
            review_and_send(stores)
        assert commands.good("alerts", "list").out == "No alert is open.\n"
        assert commands.json("alerts", "list")["alerts"] == []
        (alert,) = commands.json("alerts", "list", "--all")["alerts"]
        assert (alert["state"], alert["headline"]) == ("resolved", "resolved: clinical exam of 2026-11-22 received")
        assert "resolved" in commands.good("alerts", "list", "--all").out

    def test_what_could_not_be_delivered_is_told(self, deaf: Path, commands: Commands) -> None:
        with opened_site(deaf) as stores:
            review_and_send(stores, days=1)
        told = commands.json("alerts", "list")
        (failed,) = told["undelivered"]
        assert (failed["channel"], failed["state"], failed["attempts"], failed["unit"]) == (
            "hook", "pending", 1, "upright_a",
        )  # fmt: skip
        assert failed["last_error"]
        out = commands.good("alerts", "list").out
        assert "Not delivered:" in out
        assert failed["last_error"] in out


class TestShow:
    def test_what_why_what_to_do_and_who_was_told(self, alerting: Path, commands: Commands) -> None:
        lines = commands.good("alerts", "show", "1").lines
        assert lines[0] == "Alert 1: Clinical exam stops counting in 15 days (2026-12-08)"
        facts = {line.split("  ")[0]: line for line in lines}
        assert facts["Unit"].endswith("upright_a")
        assert "firing, warning" in facts["State"]
        assert "6 calendar months" in facts["Why"]
        assert facts["Do (2)"].endswith("dicom-node release record upright_a --date YYYY-MM-DD")
        assert "outbox" in lines[-1]
        assert "delivered" in lines[-1]
        told = commands.json("alerts", "show", "1")
        assert list(told) == [*ALERT_KEYS, "words", "deliveries"]
        assert [each["state"] for each in told["deliveries"]] == ["delivered"]

    def test_an_unknown_alert_is_told(self, alerting: Path, commands: Commands) -> None:
        for words in (("show", "7"), ("ack", "7")):
            called = commands("alerts", *words)
            assert (called.code, "there is no alert 7" in called.err) == (1, True)
        assert commands("alerts", "show", "x").code == 2


class TestAcknowledge:
    def test_it_is_told_and_ends_the_reminders(self, alerting: Path, commands: Commands) -> None:
        called = commands.good("alerts", "ack", "1", "--note", "booked for Friday", "--by", "lead")
        assert called.out == "alert 1 is acknowledged, until it gets worse\n"
        (alert,) = commands.json("alerts", "list")["alerts"]
        assert (alert["acknowledged"]["by"], alert["acknowledged"]["note"]) == ("lead", "booked for Friday")
        assert commands.good("alerts", "list").lines[1].endswith("by lead")
        assert "by lead: booked for Friday" in commands.good("alerts", "show", "1").out
        with opened_site(alerting) as stores:
            review_and_send(stores, days=8)
        assert len(commands.json("alerts", "show", "1")["deliveries"]) == 1

    def test_until_a_day_reminders_stop_and_then_go_on(self, alerting: Path, commands: Commands) -> None:
        commands.good("alerts", "ack", "1", "--until", "2026-11-30")
        assert "until 2026-11-30" in commands.good("alerts", "show", "1").out
        with opened_site(alerting) as stores:
            review_and_send(stores, days=7)
            assert len(commands.json("alerts", "show", "1")["deliveries"]) == 1
            review_and_send(stores, days=8)
        assert len(commands.json("alerts", "show", "1")["deliveries"]) == 2

    def test_a_day_that_is_past_is_told(self, alerting: Path, commands: Commands) -> None:
        called = commands("alerts", "ack", "1", "--until", "2026-11-22")
        assert (called.code, "is past" in called.err) == (1, True)


class TestSilence:
    def test_messages_are_held_and_come_when_it_ends(self, alerting: Path, commands: Commands) -> None:
        called = commands.good(
            "alerts", "silence", "upright_a", "--for", "14d", "--reason", "not applying", "--by", "me"
        )
        assert called.out == "messages about upright_a are held until 2026-12-07\n"
        (silence,) = commands.json("alerts", "list")["silences"]
        assert (silence["unit"], silence["until"], silence["by"], silence["reason"]) == (
            "upright_a", "2026-12-07", "me", "not applying",
        )  # fmt: skip
        assert "upright_a is silenced until 2026-12-07 by me: not applying" in commands.good("alerts", "list").out
        with opened_site(alerting) as stores:
            review_and_send(stores, days=8)
        states = [each["state"] for each in commands.json("alerts", "show", "1")["deliveries"]]
        assert states == ["delivered", "pending"]
        commands.good("alerts", "silence", "upright_a", "--for", "0d", "--reason", "applying after all")
        assert commands.json("alerts", "list")["silences"] == []
        with opened_site(alerting) as stores:
            review_and_send(stores, days=8)
        states = [each["state"] for each in commands.json("alerts", "show", "1")["deliveries"]]
        assert states == ["delivered", "delivered"]

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (("nowhere", "--for", "14d", "--reason", "r"), 1, "there is no unit 'nowhere'"),
            (("upright_a", "--for", "fortnight", "--reason", "r"), 2, "write 14d or 2w"),
            (("upright_a", "--for", "14d", "--reason", " "), 1, "needs a reason"),
            (("upright_a", "--for", "14d"), 2, "Missing option '--reason'"),
        ],
    )
    def test_what_does_not_fit_is_told(
        self, alerting: Path, commands: Commands, words: tuple[str, ...], code: int, told: str
    ) -> None:
        called = commands("alerts", "silence", *words)
        assert (called.code, told in called.err) == (code, True)
        assert commands.json("alerts", "list")["silences"] == []


class TestTest:
    def test_without_a_channel_the_message_is_a_file(self, alerting: Path, commands: Commands) -> None:
        outbox = alerting.parent / "data" / "outbox"
        before = set(outbox.iterdir())
        assert commands.good("alerts", "test").out == "outbox: delivered\n"
        (mail,) = set(outbox.iterdir()) - before
        assert "test message" in str(message_from_bytes(mail.read_bytes())["Subject"])

    def test_what_fails_is_told_for_everybody(self, deaf: Path, commands: Commands) -> None:
        called = commands("alerts", "test", "hook")
        assert called.code == 69
        assert called.out.startswith("hook: not delivered; it might be later (")
        assert called.err == "error: 1 of the test messages did not arrive\n"

    def test_an_unknown_channel_is_told(self, deaf: Path, commands: Commands) -> None:
        called = commands("alerts", "test", "pager")
        assert (called.code, called.err) == (1, "error: there is no channel 'pager'; the channels are hook\n")


class TestPreview:
    def test_it_shows_what_a_day_would_bring_and_writes_nothing(self, alerting: Path, commands: Commands) -> None:
        before, mails = all_rows(alerting), list((alerting.parent / "data" / "outbox").iterdir())
        assert commands.good("alerts", "preview").out == "On 2026-11-23 nobody would be told anything.\n"
        (told,) = commands.json("alerts", "preview", "--on", "2026-11-24")
        assert list(told) == ["unit", "kind", "severity", "recipients", "held_until", "subject", "text"]
        assert told["recipients"] == [{"channel": "outbox", "recipient": ""}]
        assert told["subject"] == ("[ACR SBB] Upright A, room 4: clinical exam stops counting in 14 days (2026-12-08)")
        lines = commands.good("alerts", "preview", "--on", "2026-11-24").lines
        assert lines[:2] == ["To: outbox", f"Subject: {told['subject']}"]
        assert commands.good("alerts", "preview", "--on", "2026-11-26").out.startswith("On 2026-11-26 nobody")
        beyond = commands("alerts", "preview", "--on", "9999-12-31")
        assert (beyond.code, beyond.err) == (1, "error: no answer for these days: date value out of range\n")
        assert all_rows(alerting) == before
        assert list((alerting.parent / "data" / "outbox").iterdir()) == mails

    def test_it_tells_that_a_unit_is_silenced(self, alerting: Path, commands: Commands) -> None:
        commands.good("alerts", "silence", "upright_a", "--for", "2w", "--reason", "r")
        words = ("alerts", "preview", "--on", "2026-11-24")
        assert "Held: upright_a is silenced until 2026-12-07" in commands.good(*words).lines
        assert commands.json(*words)[0]["held_until"] == "2026-12-07"
