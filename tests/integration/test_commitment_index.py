"""Requests for commitment on real databases: kept once, held by one, tried again after growing pauses."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.index import commitments
from dicom_node.index.commitments import GIVEN_UP, LAST_RETRY, REPORTED, Held, Sender
from dicom_node.index.engine import Index
from tests.raw_peer import MAMMOGRAM

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LEASE = timedelta(minutes=5)
SENDER = Sender(caller="units.prone1", calling_ae="PRONE_RM2", called_ae="SBB_NODE", peer_address="10.20.30.11")
OTHER = Sender(caller="units.upright_a", calling_ae="UPRIGHT_A", called_ae="SBB_NODE", peer_address="10.20.30.12")
IN_USE = 0x0131


def accept(index: Index, uid: str = "2.25.9", *instances: str, sender: Sender = SENDER, now: datetime = NOW) -> Held:
    requested = [(MAMMOGRAM, each) for each in instances or ("2.25.1",)]
    with index.write() as conn:
        return commitments.accept(conn, uid, sender, requested, in_use=IN_USE, now=now, lease=LEASE)


def claim(index: Index, now: datetime = NOW) -> list[Held]:
    with index.write() as conn:
        return commitments.claim(conn, now=now, lease=LEASE)


def put_back(index: Index, held: Held, at: datetime = NOW) -> bool:
    with index.write() as conn:
        return commitments.put_back(conn, held, at)


def states(index: Index) -> list[tuple[str, str, int | None]]:
    with index.read() as conn:
        return [(each.transaction_uid, each.state, each.failed) for each in commitments.list_requests(conn)]


def test_a_request_is_held_by_who_accepted_it_until_the_lease_ends(index: Index) -> None:
    held = accept(index)
    assert (held.requested, held.refusal, held.attempts, held.checked_at) == (((MAMMOGRAM, "2.25.1"),), None, 0, None)
    assert claim(index) == []
    (taken,) = claim(index, NOW + LEASE)
    assert (taken.id, taken.sender) == (held.id, SENDER)
    assert not put_back(index, held)  # it is another's by now
    assert put_back(index, taken, NOW + timedelta(minutes=9))
    assert claim(index, NOW + timedelta(minutes=8)) == []
    assert len(claim(index, NOW + timedelta(minutes=9))) == 1


def test_holding_on_keeps_a_request_and_takes_one_that_nobody_holds(index: Index) -> None:
    held = accept(index)

    def hold_on(now: datetime) -> bool:
        with index.write() as conn:
            return commitments.hold_on(conn, held, now, LEASE)

    assert hold_on(NOW + timedelta(minutes=4))
    assert claim(index, NOW + timedelta(minutes=6)) == []
    put_back(index, held)
    assert hold_on(NOW)
    (taken,) = claim(index, NOW + LEASE)
    assert not hold_on(NOW)
    put_back(index, taken)
    with index.write() as conn:
        assert commitments.hold_on(conn, taken, NOW, LEASE)
        assert commitments.finish(conn, taken, REPORTED, now=NOW)
        assert not commitments.hold_on(conn, taken, NOW, LEASE)


def test_requests_of_one_caller_are_claimed_together(index: Index) -> None:
    for number in range(commitments.MOST_AT_ONCE + 2):
        put_back(index, accept(index, f"2.25.{number}"), NOW + timedelta(milliseconds=number))
    put_back(index, accept(index, sender=OTHER))
    later = NOW + timedelta(seconds=1)
    batches = [claim(index, later) for _ in range(4)]
    assert sorted(len(batch) for batch in batches) == [0, 1, 2, commitments.MOST_AT_ONCE]
    assert all(len({held.sender for held in batch}) <= 1 for batch in batches)


def test_the_same_request_again_is_one_row_and_takes_it_from_its_holder(index: Index) -> None:
    first = accept(index)
    with index.write() as conn:
        assert commitments.save_check(conn, first, [(0, 0x0112)], NOW)
    again = accept(index)
    assert (again.id, again.checked_at, again.failures) == (first.id, None, ())
    with index.write() as conn:
        assert not commitments.save_check(conn, first, [], NOW)
        assert not commitments.finish(conn, first, REPORTED, now=NOW)
        assert commitments.finish(conn, again, REPORTED, now=NOW)
    assert accept(index).id == first.id
    assert states(index) == [("2.25.9", "waiting", None)]


def test_a_transaction_uid_is_in_use_until_its_report_was_taken(index: Index) -> None:
    assert accept(index).refusal is None
    assert accept(index, "2.25.9", "2.25.2", "2.25.3").refusal == IN_USE
    assert states(index)[0] == ("2.25.9", "waiting", 2)
    assert accept(index, "2.25.9", "2.25.2", sender=OTHER).refusal is None
    first = accept(index)
    assert first.refusal is None  # the first one again
    with index.write() as conn:
        commitments.finish(conn, first, REPORTED, now=NOW)
    assert accept(index, "2.25.9", "2.25.2", "2.25.3").refusal is None


def test_pauses_grow_and_survive(index: Index) -> None:
    held = accept(index)
    now, pauses = NOW, []
    for _ in range(12):
        with index.write() as conn:
            assert commitments.retry(conn, held, error="not reached", now=now, jitter=lambda: 0.0)
            (row,) = commitments.list_requests(conn)
        pauses.append(row.next_attempt_at - now)
        now = row.next_attempt_at
        (held,) = claim(index, now)
    assert pauses[0] == timedelta(seconds=10)
    assert pauses == sorted(pauses)
    assert pauses[-1] == timedelta(hours=1)
    with index.write() as conn:
        commitments.finish(conn, held, GIVEN_UP, error="not reached", now=now)
        (row,) = commitments.list_requests(conn)
    assert (row.state, row.attempts, row.last_error, row.finished_at) == ("given up", 13, "not reached", now)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_pause_is_never_longer_than_an_hour(attempts: int, jitter: float) -> None:
    assert timedelta(seconds=5) <= commitments.back_off(attempts, lambda: jitter) <= LAST_RETRY


def test_a_clock_that_was_set_back_stops_nothing(index: Index) -> None:
    put_back(index, accept(index, now=NOW + timedelta(days=400)), NOW + timedelta(days=400))
    assert len(claim(index)) == 1


def test_a_start_frees_what_was_held_and_old_requests_are_forgotten(index: Index) -> None:
    held = accept(index)
    ended = accept(index, "2.25.10")
    with index.write() as conn:
        commitments.finish(conn, ended, REPORTED, now=NOW)
        commitments.free_all(conn, NOW)
    assert [each.id for each in claim(index)] == [held.id]
    with index.write() as conn:
        commitments.forget(conn, NOW)
        assert len(commitments.list_requests(conn)) == 2
        commitments.forget(conn, NOW + timedelta(seconds=1))
    assert states(index) == [("2.25.9", "waiting", None)]


@pytest.mark.parametrize("number", [0, 1, 1200])
def test_many_instances_are_looked_up(sqlite_index: Index, number: int) -> None:
    with sqlite_index.read() as conn:
        assert commitments.objects_of(conn, [f"2.25.{each}" for each in range(number)]) == {}
