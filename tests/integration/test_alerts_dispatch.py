"""Dispatch: what was queued reaches people while it is true, once, through failures and restarts."""

import threading
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import closing
from datetime import date, time, timedelta
from typing import Any

import pytest
import structlog
from sqlalchemy import select
from structlog.testing import capture_logs

from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.reminders import Severity
from dicom_node.alerts.channels import DELIVERED, Channel, Outcome, refused, retry
from dicom_node.alerts.smtp import Security, SmtpChannel
from dicom_node.errors import DatabaseError
from dicom_node.index import alerts, outbox
from dicom_node.index.engine import Index, open_index
from dicom_node.index.outbox import Delivery
from dicom_node.index.tables import message, study
from dicom_node.logs import KEYS
from dicom_node.services.dispatch import LEASE, Dispatcher, is_quiet, send_test
from dicom_node.services.found import Rules
from dicom_node.services.review import review
from tests.alerting import SITE, FakeChannel, FakeClock, add_exam, make_rules, make_unit, morning, review_on
from tests.receivers import smtp_server

EXAM_DAY = date(2026, 6, 8)
CUTOFF = date(2026, 12, 8)
TODAY = date(2026, 11, 24)
OPS, LEAD = "ops@example.org", "lead@example.org"


def make_dispatcher(
    index: Index,
    channels: list[Channel],
    clock: FakeClock,
    *,
    rules: Rules | None = None,
    recheck: Callable[[str], object] | None = None,
    quiet_hours: tuple[time, time] | None = None,
) -> Dispatcher:
    rules = rules or make_rules()

    def again(unit_id: str) -> None:
        today = clock().astimezone(SITE.zone).date()
        review(index, rules, channels, today=today, now=clock(), unit_ids=[unit_id])

    return Dispatcher(
        index,
        channels,
        site=SITE,
        labels={unit.id: unit.label for unit in rules.registry.units.values()},
        recheck=recheck or again,
        quiet_hours=quiet_hours,
        clock=clock,
        jitter=lambda: 0.0,
    )


def deliveries(index: Index) -> list[Delivery]:
    with index.read() as conn:
        ids = conn.execute(select(message.c.id).order_by(message.c.id)).scalars()
        return [each for message_id in ids for each in outbox.deliveries_of(conn, message_id)]


def states(index: Index) -> list[str]:
    return [each.state for each in deliveries(index)]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(morning(TODAY))


@pytest.fixture
def near(sqlite_index: Index) -> Index:
    """An index whose unit's clinical exam stops counting in 14 days."""
    with sqlite_index.write() as conn:
        add_exam(conn, EXAM_DAY)
        add_exam(conn, date(2026, 11, 1), portion=Portion.PHANTOM)
    return sqlite_index


def test_what_a_review_queued_arrives_and_a_second_run_sends_nothing(index: Index, clock: FakeClock) -> None:
    with index.write() as conn:
        add_exam(conn, EXAM_DAY)
    channel = FakeChannel(recipients=(OPS, LEAD))
    dispatcher = make_dispatcher(index, [channel], clock)
    review_on(index, make_rules(), [channel], TODAY)
    assert dispatcher.run().delivered == 2
    assert dispatcher.run().delivered == 0
    [(sent, recipients)] = channel.sent
    assert recipients == (OPS, LEAD)
    assert sent.subject == "[ACR SBB] Upright A, room 4: clinical exam stops counting in 14 days (2026-12-08)" or (
        "no phantom exam on file" in sent.subject
    )
    assert states(index) == ["delivered", "delivered"]


def test_an_exam_that_came_meanwhile_cancels_the_message(near: Index, clock: FakeClock) -> None:
    channel = FakeChannel()
    review_on(near, make_rules(), [channel], TODAY)
    with near.write() as conn:
        add_exam(conn, TODAY)
    result = make_dispatcher(near, [channel], clock).run()
    assert channel.sent == []
    assert (result.cancelled, states(near)) == (2, ["cancelled", "cancelled"])


def test_good_news_reaches_those_who_had_the_bad_news(near: Index, clock: FakeClock) -> None:
    channel = FakeChannel(recipients=(OPS, LEAD), answer=lambda to: refused("550") if to == LEAD else DELIVERED)
    dispatcher = make_dispatcher(near, [channel], clock)
    review_on(near, make_rules(), [channel], TODAY)
    dispatcher.run()
    with near.write() as conn:
        add_exam(conn, TODAY)
    clock.advance(hours=1)
    review(near, make_rules(), [channel], today=TODAY, now=clock())
    dispatcher.run()
    subject, to = channel.sent[1][0].subject, channel.sent[1][1]
    assert to == (OPS,)
    assert subject == "[ACR SBB] Upright A, room 4: resolved: clinical exam of 2026-11-24 received"
    assert states(near) == ["delivered", "refused", "delivered", "cancelled"]


def test_a_reminder_that_was_overtaken_by_the_next_one_is_cancelled(near: Index, clock: FakeClock) -> None:
    channel = FakeChannel()
    review_on(near, make_rules(), [channel], TODAY)
    seven_before = CUTOFF - timedelta(days=7)
    review_on(near, make_rules(), [channel], seven_before)
    clock.now = morning(seven_before)
    make_dispatcher(near, [channel], clock).run()
    assert channel.subjects == ["[ACR SBB] Upright A, room 4: clinical exam stops counting in 7 days (2026-12-08)"]
    assert sorted(states(near)) == ["cancelled", "delivered"]


def test_days_are_counted_from_the_day_of_sending(near: Index, clock: FakeClock) -> None:
    channel = FakeChannel()
    review_on(near, make_rules(), [channel], TODAY)
    clock.now = morning(TODAY + timedelta(days=2))
    make_dispatcher(near, [channel], clock).run()
    assert "stops counting in 12 days" in channel.subjects[0]


def test_one_channel_that_fails_holds_up_no_other(near: Index, clock: FakeClock) -> None:
    def explode(recipient: str) -> Outcome:
        raise RuntimeError

    channels = [
        FakeChannel("down", answer=lambda to: retry("no answer in time")),
        FakeChannel("faulty", answer=explode),
        FakeChannel("works"),
    ]
    review_on(near, make_rules(), channels, TODAY)
    result = make_dispatcher(near, list(channels), clock).run()
    assert (result.delivered, result.to_retry) == (1, 2)
    assert len(channels[2].sent) == 1
    assert [(each.channel, each.state, each.last_error) for each in deliveries(near)] == [
        ("down", "pending", "no answer in time"),
        ("faulty", "pending", "fault in the node: RuntimeError"),
        ("works", "delivered", ""),
    ]


def test_a_channel_that_is_down_is_tried_once_a_run(sqlite_index: Index, clock: FakeClock) -> None:
    rules = make_rules(*(make_unit(f"unit{number}", f"Unit {number}") for number in range(5)))
    with sqlite_index.write() as conn:
        for number in range(5):
            add_exam(conn, EXAM_DAY, unit_id=f"unit{number}")
    channel = FakeChannel(answer=lambda to: retry("no answer in time"))
    review_on(sqlite_index, rules, [channel], TODAY)
    make_dispatcher(sqlite_index, [channel], clock, rules=rules).run()
    assert len(channel.sent) == 1


def test_back_off_survives_a_restart_of_everything(sqlite_url: str, clock: FakeClock) -> None:
    attempts = []
    for _ in range(6):
        with closing(open_index(sqlite_url)) as index:
            channel = FakeChannel(answer=lambda to: retry("451 later"))
            if not attempts:
                with index.write() as conn:
                    add_exam(conn, EXAM_DAY)
                review_on(index, make_rules(), [channel], TODAY)
            make_dispatcher(index, [channel], clock).run()
            attempts.append(len(channel.sent))
        clock.advance(seconds=30)
    # Attempts after 0, 30, 90 (60 later), 210 s: the runs at 60, 120 and 150 s find nothing due.
    assert attempts == [1, 1, 0, 1, 0, 0]


def test_a_day_of_a_dead_relay_ends_within_a_quarter_of_an_hour_of_its_return(near: Index, clock: FakeClock) -> None:
    channel = FakeChannel(answer=lambda to: retry("no answer in time"))
    dispatcher = make_dispatcher(near, [channel], clock)
    review_on(near, make_rules(), [channel], TODAY)
    for _ in range(24 * 12):
        dispatcher.run()
        clock.advance(minutes=5)
    channel.answer = FakeChannel().answer
    waited = 0
    while dispatcher.run().delivered == 0:
        clock.advance(minutes=1)
        waited += 1
    assert waited <= 15


def test_a_crash_between_sending_and_recording_sends_one_duplicate_with_the_same_message_id(
    near: Index, clock: FakeClock
) -> None:
    with smtp_server() as receiver:
        channel = SmtpChannel(
            name="ops-mail", host="127.0.0.1", port=receiver.port, sender="dicom-node@example.org",
            recipients=[OPS], security=Security.NONE,
        )  # fmt: skip
        review_on(near, make_rules(), [channel], TODAY)

        class DiesAfterSending:
            name, min_severity, recipients = channel.name, channel.min_severity, channel.recipients

            def send(self, message: object, recipients: object) -> dict[str, Outcome]:
                channel.send(message, recipients)  # type: ignore[arg-type] # passed on as given
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make_dispatcher(near, [DiesAfterSending()], clock).run()
        assert make_dispatcher(near, [channel], clock).run().delivered == 0
        clock.advance(seconds=LEASE.total_seconds())
        assert make_dispatcher(near, [channel], clock).run().delivered == 1
        clock.advance(days=1)
        make_dispatcher(near, [channel], clock).run()
    first, second = receiver.mails
    assert first["Message-ID"] == second["Message-ID"]


def test_two_dispatchers_at_once_deliver_once(index_url: str, clock: FakeClock) -> None:
    units = [make_unit(f"unit{number}", f"Unit {number}") for number in range(8)]
    rules = make_rules(*units)
    channel = FakeChannel()
    with closing(open_index(index_url)) as index:
        with index.write() as conn:
            for unit in units:
                add_exam(conn, EXAM_DAY, unit_id=unit.id)
        review_on(index, rules, [channel], TODAY)
    started = threading.Barrier(2)

    def work() -> None:
        with closing(open_index(index_url)) as own:
            started.wait()
            make_dispatcher(own, [channel], clock, rules=rules).run()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(message.unit_id for message, _ in channel.sent) == sorted(unit.id for unit in units)


def test_a_dispatcher_that_was_too_slow_does_not_overwrite_what_the_next_one_did(near: Index, clock: FakeClock) -> None:
    quick_channel = FakeChannel()

    def slow(recipient: str) -> Outcome:
        clock.advance(seconds=LEASE.total_seconds())
        make_dispatcher(near, [quick_channel], clock).run()
        return refused("550 too late")

    review_on(near, make_rules(), [quick_channel], TODAY)
    with capture_logs() as lines:
        make_dispatcher(near, [FakeChannel(answer=slow)], clock).run()
    assert len(quick_channel.sent) == 1
    assert states(near) == ["delivered"]
    assert "alert.lease_lost" in [line["event"] for line in lines]


def test_quiet_hours_hold_and_do_not_drop(near: Index, clock: FakeClock) -> None:
    channel = FakeChannel()
    dispatcher = make_dispatcher(near, [channel], clock, quiet_hours=(time(19), time(6, 30)))
    review_on(near, make_rules(), [channel], TODAY)
    dispatcher.run()
    assert channel.sent == []
    clock.advance(minutes=30)
    dispatcher.run()
    assert len(channel.sent) == 1


def test_a_critical_alert_does_not_wait_for_the_morning(near: Index, clock: FakeClock) -> None:
    channel = FakeChannel()
    clock.now = morning(CUTOFF)
    review_on(near, make_rules(), [channel], CUTOFF)
    make_dispatcher(near, [channel], clock, quiet_hours=(time(19), time(6, 30))).run()
    assert "today is the last day" in channel.subjects[0]


def test_a_silence_holds_messages_and_what_became_untrue_meanwhile_is_never_sent(near: Index, clock: FakeClock) -> None:
    channel = FakeChannel()
    dispatcher = make_dispatcher(near, [channel], clock)
    with near.write() as conn:
        alerts.silence_unit(
            conn, "upright_a", until=date(2026, 12, 31), reason="not applying", by="synthetic", now=clock()
        )
    for offset in range(30):
        clock.now = morning(TODAY + timedelta(days=offset))
        review_on(near, make_rules(), [channel], TODAY + timedelta(days=offset))
        dispatcher.run()
    assert channel.sent == []
    with near.write() as conn:
        add_exam(conn, date(2026, 12, 24))
    for day in (date(2026, 12, 31), date(2027, 1, 1), date(2027, 1, 2)):
        clock.now = morning(day)
        review_on(near, make_rules(), [channel], day)
        dispatcher.run()
    assert channel.sent == []
    assert set(states(near)) == {"cancelled"}


def test_after_a_silence_only_the_newest_reminder_is_sent(near: Index, clock: FakeClock) -> None:
    channel = FakeChannel()
    dispatcher = make_dispatcher(near, [channel], clock)
    with near.write() as conn:
        alerts.silence_unit(conn, "upright_a", until=date(2026, 12, 6), reason="away", by="synthetic", now=clock())
    for offset in range(14):
        day = TODAY + timedelta(days=offset)
        clock.now = morning(day)
        review_on(near, make_rules(), [channel], day)
        dispatcher.run()
    assert channel.subjects == ["[ACR SBB] Upright A, room 4: clinical exam stops counting in 1 day (2026-12-08)"]


def test_a_recheck_that_fails_does_not_keep_the_message_back(near: Index, clock: FakeClock) -> None:
    def fail(unit_id: str) -> None:
        raise DatabaseError("the index is busy")

    channel = FakeChannel()
    review_on(near, make_rules(), [channel], TODAY)
    make_dispatcher(near, [channel], clock, recheck=fail).run()
    assert len(channel.sent) == 1


def test_a_channel_that_left_the_configuration_has_its_deliveries_cancelled(near: Index, clock: FakeClock) -> None:
    review_on(near, make_rules(), [FakeChannel("old"), FakeChannel("new")], TODAY)
    make_dispatcher(near, [FakeChannel("new")], clock).run()
    assert [(each.channel, each.state) for each in deliveries(near)] == [("old", "cancelled"), ("new", "delivered")]


def test_good_and_bad_news_of_a_unit_come_in_one_message(near: Index, clock: FakeClock) -> None:
    channel = FakeChannel()
    dispatcher = make_dispatcher(near, [channel], clock)
    review_on(near, make_rules(), [channel], TODAY)
    dispatcher.run()
    clock.now = morning(date(2027, 3, 2))  # 60 days before the phantom's end
    with near.write() as conn:
        add_exam(conn, date(2027, 3, 1))
    review_on(near, make_rules(), [channel], date(2027, 3, 2))
    dispatcher.run()
    [_, (both, _)] = channel.sent
    assert both.subject == "[ACR SBB] Upright A, room 4: phantom exam stops counting in 60 days (2027-05-01)"
    assert "Resolved: the clinical exam of 2027-03-01 solved an earlier alert." in " ".join(both.text.split())


def test_nothing_of_a_patient_gets_into_a_message(near: Index, clock: FakeClock) -> None:
    channel = FakeChannel()
    with near.write() as conn:
        for portion in (Portion.UNCLEAR, Portion.CLINICAL):
            add_exam(conn, None, portion=portion, unit_id="" if portion is Portion.UNCLEAR else "upright_a")
        add_exam(conn, TODAY, unit_id="", portion=Portion.UNCLEAR, unregistered=True)
        names = ("patient_name", "patient_id", "patient_birth_date", "accession_number", "study_description")
        planted = {name: f"PLANTED {name}" for name in names}
        conn.execute(study.update().values(planted))
    review_on(near, make_rules(), [channel], TODAY, digest="weekly")
    make_dispatcher(near, [channel], clock).run()
    assert len(channel.sent) == 3
    assert "PLANTED" not in repr(channel.sent)


class TestDigest:
    def test_it_tells_where_every_unit_stands_and_what_is_open(self, near: Index, clock: FakeClock) -> None:
        channel = FakeChannel()
        review_on(near, make_rules(), [channel], TODAY, digest="weekly")
        make_dispatcher(near, [channel], clock).run()
        digest = next(message for message, _ in channel.sent if message.kind == "digest")
        assert digest.subject == "[ACR SBB] Example Breast Center: weekly summary, 1 open alert"
        assert "2026-06-08" in digest.text
        assert "Dates are by rule acr-sbb-2023-03-03: " in digest.text
        assert "Upright A, room 4: clinical exam stops counting in 14 days" in digest.text

    def test_when_all_is_well_it_says_so(self, sqlite_index: Index, clock: FakeClock) -> None:
        channel = FakeChannel()
        review_on(sqlite_index, make_rules(), [channel], TODAY, digest="weekly")
        make_dispatcher(sqlite_index, [channel], clock).run()
        [subject] = channel.subjects
        assert subject.endswith("weekly summary, all is well")
        assert "nothing is due" in channel.sent[0][0].text

    def test_one_that_waited_a_week_gives_way_to_the_next(self, near: Index, clock: FakeClock) -> None:
        channel = FakeChannel(answer=lambda to: retry("no answer in time"))
        dispatcher = make_dispatcher(near, [channel], clock)
        for day in (TODAY, TODAY + timedelta(days=7)):
            clock.now = morning(day)
            review_on(near, make_rules(), [channel], day, digest="weekly")
            dispatcher.run()
        channel.answer = FakeChannel().answer
        clock.advance(hours=1)
        sent_before = len(channel.sent)
        dispatcher.run()
        clock.advance(hours=1)
        dispatcher.run()
        assert [subject for subject in channel.subjects[sent_before:] if "summary" in subject] == [
            "[ACR SBB] Example Breast Center: weekly summary, 1 open alert"
        ]

    def test_it_tells_of_messages_that_do_not_arrive_and_of_silences(self, near: Index, clock: FakeClock) -> None:
        channels = [FakeChannel(answer=lambda to: refused("550 no such person")), FakeChannel("second")]
        with near.write() as conn:
            alerts.silence_unit(
                conn, "prone1", until=date(2026, 12, 31), reason="not applying", by="synthetic", now=clock()
            )
        review_on(near, make_rules(), channels, TODAY)
        dispatcher = make_dispatcher(near, list(channels), clock)
        dispatcher.run()
        review_on(near, make_rules(), channels, TODAY, digest="weekly")
        dispatcher.run()
        text = channels[1].sent[-1][0].text
        assert "Messages by ops-mail did not all arrive" in text
        assert "held until 2026-12-31 (not applying)" in text


def test_a_test_message_goes_past_the_queue_to_everybody(clock: FakeClock) -> None:
    channel = FakeChannel(recipients=(OPS, LEAD), min_severity=Severity.CRITICAL)
    outcomes = send_test(channel, SITE, at=clock())
    assert set(outcomes) == {OPS, LEAD}
    assert channel.subjects == ["[ACR SBB] Example Breast Center: test message"]


@pytest.mark.parametrize(
    ("hours", "at", "quiet"),
    [
        (None, time(3), False),
        ((time(19), time(6)), time(19), True),
        ((time(19), time(6)), time(23, 59), True),
        ((time(19), time(6)), time(0), True),
        ((time(19), time(6)), time(5, 59), True),
        ((time(19), time(6)), time(6), False),
        ((time(19), time(6)), time(18, 59), False),
        ((time(12), time(13)), time(12, 30), True),
        ((time(12), time(13)), time(13), False),
    ],
)
def test_quiet_hours_may_pass_midnight_and_end_before_their_last_minute(
    hours: tuple[time, time] | None, at: time, quiet: bool
) -> None:
    assert is_quiet(hours, at) is quiet


@pytest.fixture
def info_logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """The log lines of a test, from the level a running node has."""
    configured = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("info"))
    with capture_logs() as lines:
        yield lines
    structlog.configure(**configured)


def test_log_lines_of_deliveries_tell_what_came_of_them(
    near: Index, clock: FakeClock, info_logs: list[MutableMapping[str, Any]]
) -> None:
    channels = [FakeChannel(), FakeChannel("hook", ("",), answer=lambda to: refused("HTTP status 410"))]
    review_on(near, make_rules(), channels, TODAY)
    make_dispatcher(near, list(channels), clock).run()
    told = {line["channel"]: line for line in info_logs if "channel" in line}
    assert told["ops-mail"]["event"] == "alert.delivered"
    assert (told["hook"]["event"], told["hook"]["error"]) == ("alert.failed", "HTTP status 410")
    assert all(key in KEYS for line in info_logs for key in line if key not in ("log_level", "event"))
