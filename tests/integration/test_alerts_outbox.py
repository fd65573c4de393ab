"""The outbox on real databases: queued once, claimed by one, finished by its holder, tried again after a restart."""

import threading
from contextlib import closing
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.index import alerts, outbox
from dicom_node.index.engine import Index, open_index
from dicom_node.index.outbox import Claim, NewMessage

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TODAY = date(2026, 11, 23)
LEASE = timedelta(minutes=5)


def queue(
    index: Index,
    key: str = "firing/upright_a/1",
    *,
    recipients: tuple[tuple[str, str], ...] = (("ops-mail", "a@example.org"), ("ops-mail", "b@example.org")),
    unit_id: str = "upright_a",
    kind: str = "firing",
    severity: str = "warning",
    alert_ids: tuple[int, ...] = (1,),
    now: datetime = NOW,
) -> bool:
    with index.write() as conn:
        new = NewMessage(
            key=key,
            kind=kind,
            unit_id=unit_id,
            severity=severity,
            alerts=[(alert_id, "d14") for alert_id in alert_ids],
            recipients=recipients,
        )
        return outbox.queue(conn, [new], now) == {key}


def claim(index: Index, now: datetime = NOW, *, channel: str = "ops-mail", urgent_only: bool = False) -> Claim | None:
    with index.write() as conn:
        return outbox.claim(conn, channel, now=now, today=now.date(), lease=LEASE, urgent_only=urgent_only)


def states(index: Index) -> dict[str, str]:
    with index.read() as conn:
        return {each.recipient: each.state for each in outbox.deliveries_of(conn, 1)}


def test_a_message_is_queued_once_for_its_key(index: Index) -> None:
    assert queue(index)
    assert not queue(index)
    assert states(index) == {"a@example.org": "pending", "b@example.org": "pending"}


def test_what_is_queued_in_a_transaction_that_fails_is_not_there(index: Index) -> None:
    def fail() -> None:
        with index.write() as conn:
            new = NewMessage(key="k", kind="firing", unit_id="", severity="info", alerts=(), recipients=[("c", "")])
            assert outbox.queue(conn, [new], NOW) == {"k"}
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with index.read() as conn:
        assert not outbox.any_pending(conn)


def test_a_claim_takes_all_recipients_of_one_message_and_holds_them(index: Index) -> None:
    queue(index)
    queue(index, "firing/prone1/1", unit_id="prone1", now=NOW + timedelta(seconds=1))
    first, second = claim(index, NOW + timedelta(seconds=2)), claim(index, NOW + timedelta(seconds=2))
    assert first is not None
    assert second is not None
    assert first.message.key == "firing/upright_a/1"
    assert [each.recipient for each in first.deliveries] == ["a@example.org", "b@example.org"]
    assert [each.attempts for each in first.deliveries] == [1, 1]
    assert second.message.key == "firing/prone1/1"
    assert claim(index, NOW + timedelta(seconds=2)) is None


def test_a_claim_is_for_one_channel(index: Index) -> None:
    queue(index, recipients=(("ops-mail", "a@example.org"), ("hook", "")))
    mail = claim(index)
    assert mail is not None
    assert [each.channel for each in mail.deliveries] == ["ops-mail"]
    assert claim(index, channel="hook") is not None


def test_what_its_holder_finished_is_not_claimed_again(index: Index) -> None:
    queue(index)
    held = claim(index)
    assert held is not None
    with index.write() as conn:
        for each, state in zip(held.deliveries, ("delivered", "refused"), strict=True):
            assert outbox.finish(conn, held.token, each.id, state, error="550 no", now=NOW)
    assert states(index) == {"a@example.org": "delivered", "b@example.org": "refused"}
    assert claim(index, NOW + timedelta(days=1)) is None


def test_who_held_a_lease_that_ran_out_cannot_finish(index: Index) -> None:
    queue(index)
    slow = claim(index)
    assert claim(index, NOW + LEASE - timedelta(seconds=1)) is None
    quick = claim(index, NOW + LEASE)
    assert slow is not None
    assert quick is not None
    with index.write() as conn:
        assert not outbox.finish(conn, slow.token, slow.deliveries[0].id, "refused", now=NOW)
        assert outbox.finish(conn, quick.token, quick.deliveries[0].id, "delivered", now=NOW)
        assert not outbox.finish(conn, slow.token, slow.deliveries[0].id, "refused", now=NOW)
        assert not outbox.retry(conn, slow.token, slow.deliveries[1].id, attempts=1, error="", now=NOW)
    assert states(index)["a@example.org"] == "delivered"


def test_a_claimant_that_dies_leaves_the_delivery_to_the_next(index: Index) -> None:
    queue(index)
    assert claim(index) is not None
    taken_over = claim(index, NOW + LEASE)
    assert taken_over is not None
    assert [each.attempts for each in taken_over.deliveries] == [2, 2]


def test_back_off_holds_after_a_restart(index_url: str) -> None:
    with closing(open_index(index_url)) as index:
        queue(index)
        held = claim(index)
        assert held is not None
        with index.write() as conn:
            for each in held.deliveries:
                outbox.retry(conn, held.token, each.id, attempts=1, error="451 later", now=NOW, jitter=lambda: 0.0)
    with closing(open_index(index_url)) as index:
        assert claim(index, NOW + timedelta(seconds=29)) is None
        again = claim(index, NOW + timedelta(seconds=30))
        assert again is not None
        assert [(each.attempts, each.last_error) for each in again.deliveries] == [(2, "451 later")] * 2


def test_a_clock_set_back_delays_nothing_for_long(index: Index) -> None:
    ahead = NOW + timedelta(days=365)
    queue(index, now=ahead)
    assert claim(index, ahead) is not None  # and its holder dies
    assert claim(index) is not None


def test_messages_about_a_silenced_unit_wait_until_the_silence_is_over(index: Index) -> None:
    queue(index)

    def silence(until: date) -> None:
        with index.write() as conn:
            alerts.silence_unit(conn, "upright_a", until=until, reason="not applying", by="synthetic", now=NOW)

    silence(TODAY)
    assert claim(index) is None
    assert claim(index, NOW + timedelta(days=1)) is not None
    silence(TODAY + timedelta(days=60))
    later = NOW + timedelta(days=1) + LEASE
    assert claim(index, later) is None
    silence(TODAY - timedelta(days=1))
    assert claim(index, later) is not None


def test_in_quiet_hours_only_critical_firing_messages_are_claimed(index: Index) -> None:
    queue(index, "a", severity="warning")
    queue(index, "b", severity="critical", kind="resolved")
    queue(index, "c", severity="critical")
    quiet = claim(index, urgent_only=True)
    assert quiet is not None
    assert quiet.message.key == "c"
    assert claim(index, urgent_only=True) is None


def test_what_goes_to_nobody_configured_is_cancelled(index: Index) -> None:
    queue(index)
    with index.write() as conn:
        outbox.cancel_all_but(conn, {("ops-mail", "a@example.org")}, NOW)
    assert states(index) == {"a@example.org": "pending", "b@example.org": "cancelled"}


class TestReached:
    def reached(self, index: Index, recipient: str = "a@example.org", alert_id: int = 1) -> bool:
        with index.read() as conn:
            return outbox.reached(conn, "upright_a", [alert_id], "ops-mail", recipient)

    def test_nobody_is_reached_by_what_was_never_sent(self, index: Index) -> None:
        queue(index)
        assert not self.reached(index)

    def test_a_message_cancelled_before_its_first_attempt_reached_nobody(self, index: Index) -> None:
        queue(index)
        held = claim(index)
        assert held is not None
        with index.write() as conn:
            outbox.finish(conn, held.token, held.deliveries[0].id, "cancelled", now=NOW)
        assert not self.reached(index)

    def test_who_may_have_got_it_counts_as_reached(self, index: Index) -> None:
        queue(index)
        held = claim(index)
        assert held is not None
        assert self.reached(index)
        with index.write() as conn:
            outbox.finish(conn, held.token, held.deliveries[1].id, "refused", now=NOW)
        assert not self.reached(index, "b@example.org")
        assert not self.reached(index, alert_id=2)


def test_many_claimants_at_once_get_each_message_once(index: Index) -> None:
    for number in range(20):
        queue(index, f"firing/{number}", recipients=(("ops-mail", "a@example.org"),))
    got: list[str] = []

    def work() -> None:
        while (held := claim(index)) is not None:
            got.append(held.message.key)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(f"firing/{number}" for number in range(20))


@given(attempts=st.integers(min_value=1, max_value=100_000), jitter=st.floats(min_value=0, max_value=1))
def test_back_off_doubles_from_half_a_minute_and_never_passes_a_quarter_of_an_hour(
    attempts: int, jitter: float
) -> None:
    delay = outbox.back_off(attempts, lambda: jitter)
    whole = min(30 * 2 ** min(attempts - 1, 20), 900)
    assert timedelta(seconds=whole / 2) <= delay <= timedelta(seconds=whole)


@pytest.fixture
def failing(index: Index) -> Index:
    """An index in which one delivery waits for another attempt and one was refused."""
    queue(index)
    held = claim(index)
    assert held is not None
    first, second = held.deliveries
    with index.write() as conn:
        outbox.retry(conn, held.token, first.id, attempts=1, error="no answer in time", now=NOW)
        outbox.finish(conn, held.token, second.id, "refused", error="550 unknown", now=NOW)
    return index


def test_what_did_not_arrive_can_be_listed(failing: Index) -> None:
    with failing.read() as conn:
        listed = [(each.recipient, each.last_error) for _, each in outbox.undelivered(conn, NOW)]
        later = [each.recipient for _, each in outbox.undelivered(conn, NOW + timedelta(seconds=1))]
        assert outbox.last_delivered(conn) is None
    assert listed == [("a@example.org", "no answer in time"), ("b@example.org", "550 unknown")]
    assert later == ["a@example.org"]
