"""The places of connections, as several processes count them; each process is another owner of one table."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dicom_node.dimse.capacity import Capacity, Places, make_table

SMALL = Capacity(associations=2, connections=4, connections_per_address=3)


@pytest.fixture
def table() -> Iterator[int]:
    file = make_table(SMALL)
    yield file
    os.close(file)


@pytest.fixture
def both(table: int) -> tuple[Places, Places]:
    return Places(SMALL, table, 1, 2), Places(SMALL, table, 2, 2)


def take(places: Places, address: str) -> int:
    place = places.take(address)
    assert place is not None
    return place


def test_connections_are_counted_in_all_and_for_each_address(both: tuple[Places, Places]) -> None:
    first, second = both
    taken = [take(places, "10.0.0.1") for places in (first, second, first)]
    assert second.take("10.0.0.1") is None
    last = take(second, "10.0.0.2")
    assert first.take("10.0.0.3") is None
    assert len({*taken, last}) == SMALL.connections
    first.leave(taken[0])
    assert second.take("10.0.0.1") == taken[0]
    second.leave(last)
    assert first.take("10.0.0.1") is None
    assert first.take("10.0.0.2") == last


def test_associations_are_counted_in_all(both: tuple[Places, Places]) -> None:
    first, second = both
    one, two, three = take(first, "a"), take(second, "a"), take(first, "a")
    assert first.promote(one)
    assert second.promote(two)
    assert not first.promote(three)
    assert first.associations == second.associations == 2
    second.leave(two)
    assert first.promote(three)
    assert second.associations == 2


def test_what_a_dead_process_held_is_free_again(both: tuple[Places, Places]) -> None:
    first, second = both
    kept = take(first, "a")
    assert second.promote(take(second, "a"))
    take(second, "a")
    assert first.take("a") is None
    first.vacate(2)
    assert first.associations == 0
    assert take(first, "a") != kept
    assert first.promote(kept)


def test_who_has_more_is_ahead(both: tuple[Places, Places]) -> None:
    first, second = both
    assert not first.is_ahead
    place = take(first, "a")
    assert first.is_ahead
    assert not second.is_ahead
    first.promote(place)
    assert first.is_ahead
    take(second, "b")
    assert not first.is_ahead


def test_one_process_is_never_ahead(table: int) -> None:
    alone = Places(SMALL, table)
    take(alone, "a")
    assert not alone.is_ahead


def test_many_processes_take_no_place_twice_and_one_that_is_killed_in_between_holds_nobody_up() -> None:
    large = Capacity(associations=400, connections=400, connections_per_address=400)
    script = (
        "import os, sys\nfrom dicom_node.dimse.capacity import Capacity, Places\n"
        "large = Capacity(associations=400, connections=400, connections_per_address=400)\n"
        "owner = int(sys.argv[2])\nplaces = Places(large, int(sys.argv[1]), owner, 4)\n"
        "for _ in range(2000):\n    place = places.take('a')\n    places.promote(place)\n    places.leave(place)\n"
        "taken = [places.take('a') for _ in range(100)]\nprint(*taken, flush=True)\n"
        "with places._locked():\n    os.kill(os.getpid(), 9)\n"
    )
    table = make_table(large)
    try:
        started = [
            subprocess.Popen(
                [sys.executable, "-c", script, str(table), str(owner)],
                pass_fds=(table,),
                stdout=subprocess.PIPE,
                text=True,
            )
            for owner in range(1, 5)
        ]
        told = [process.communicate(timeout=60)[0].split() for process in started]
        assert sorted(int(place) for places in told for place in places) == list(range(400))
        places = Places(large, table, 5, 5)
        assert places.take("b") is None
        places.vacate(3)
        assert [places.take("b") for _ in range(100)] == sorted(int(place) for place in told[2])
    finally:
        os.close(table)
