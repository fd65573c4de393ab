"""The places of connections, as several processes count them; each process is another owner of one table."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dicom_node.dimse.capacity import FEW, Capacity, Full, Places, make_table

SMALL = Capacity(associations=2, connections=4, connections_per_address=3)
LARGE = Capacity(
    associations=20,
    associations_per_address=9,
    associations_per_ae_title=12,
    connections=40,
    connections_per_address=12,
    kept=25,
)


@pytest.fixture
def table() -> Iterator[int]:
    file = make_table(SMALL)
    yield file
    os.close(file)


@pytest.fixture
def both(table: int) -> tuple[Places, Places]:
    return Places(SMALL, table, 1, 2), Places(SMALL, table, 2, 2)


def take(places: Places, address: str) -> int:
    place = places.take(address, brings=True)
    assert not isinstance(place, Full)
    return place


def is_full(places: Places, address: str, *, brings: bool = True) -> Full | None:
    place = places.take(address, brings=brings)
    return place if isinstance(place, Full) else None


def promote(places: Places, place: int, ae_title: str = "A") -> bool:
    return places.promote(place, ae_title, brings=True) is None


def test_connections_are_counted_in_all_and_for_each_address(both: tuple[Places, Places]) -> None:
    first, second = both
    taken = [take(places, "10.0.0.1") for places in (first, second, first)]
    assert is_full(second, "10.0.0.1") is Full.OF_ADDRESS
    last = take(second, "10.0.0.2")
    assert is_full(first, "10.0.0.3") is Full.IN_ALL
    assert len({*taken, last}) == SMALL.connections
    first.leave(taken[0])
    assert take(second, "10.0.0.1") == taken[0]
    second.leave(last)
    assert is_full(first, "10.0.0.1") is Full.OF_ADDRESS
    assert take(first, "10.0.0.2") == last


def test_associations_are_counted_in_all(both: tuple[Places, Places]) -> None:
    first, second = both
    one, two, three = take(first, "a"), take(second, "a"), take(first, "a")
    assert promote(first, one)
    assert promote(second, two)
    assert not promote(first, three)
    assert first.associations == second.associations == 2
    second.leave(two)
    assert promote(first, three)
    assert second.associations == 2


def test_associations_are_counted_for_each_address_and_each_title() -> None:
    places = Places.alone(LARGE)
    taken = [take(places, "a") for _ in range(LARGE.connections_per_address)]
    for place in taken[:9]:
        assert promote(places, place)
    assert places.promote(taken[9], "A", brings=True) is Full.OF_ADDRESS
    for _ in range(3):
        assert promote(places, take(places, "b"))
    assert places.promote(take(places, "b"), "A", brings=True) is Full.OF_AE_TITLE
    assert promote(places, take(places, "b"), "B")
    places.leave(taken[0])
    assert promote(places, taken[9])


def test_strangers_never_take_the_kept_connections() -> None:
    places = Places.alone(LARGE)
    free = LARGE.connections - LARGE.connections * LARGE.kept // 100
    got = [is_full(places, f"stranger {number}", brings=False) for number in range(2 * free)]
    assert got == [None] * free + [Full.IN_ALL] * free
    for number in range(LARGE.connections - free):
        assert is_full(places, f"unit {number // 2}") is None
    assert is_full(places, "one more") is Full.IN_ALL


def test_an_address_that_holds_many_gets_none_of_the_kept_connections() -> None:
    places = Places.alone(LARGE)
    for number in range(3):
        for _ in range(10):
            take(places, f"wild {number}")
    assert is_full(places, "wild 0") is Full.IN_ALL
    for _ in range(FEW):
        take(places, "unit")
    assert is_full(places, "unit") is Full.IN_ALL
    assert is_full(places, "another") is None


def test_associations_are_kept_for_those_who_bring_instances() -> None:
    places = Places.alone(LARGE)
    for number in range(15):
        assert places.promote(take(places, f"pacs {number}"), f"PACS{number}", brings=False) is None
    assert places.promote(take(places, "pacs"), "PACS", brings=False) is Full.IN_ALL
    for _ in range(FEW):
        assert promote(places, take(places, "unit"))
    assert places.promote(take(places, "unit"), "A", brings=True) is Full.IN_ALL
    assert promote(places, take(places, "another"))


def test_what_a_dead_process_held_is_free_again(both: tuple[Places, Places]) -> None:
    first, second = both
    kept = take(first, "a")
    assert promote(second, take(second, "a"))
    take(second, "a")
    assert is_full(first, "a")
    first.vacate(2)
    assert first.associations == 0
    assert take(first, "a") != kept
    assert promote(first, kept)


def test_who_has_more_is_ahead(both: tuple[Places, Places]) -> None:
    first, second = both
    assert not first.is_ahead
    place = take(first, "a")
    assert first.is_ahead
    assert not second.is_ahead
    promote(first, place)
    assert first.is_ahead
    take(second, "b")
    assert not first.is_ahead


def test_one_process_is_never_ahead(table: int) -> None:
    alone = Places(SMALL, table)
    take(alone, "a")
    assert not alone.is_ahead


def test_many_processes_take_no_place_twice_and_one_that_is_killed_in_between_holds_nobody_up() -> None:
    large = Capacity(associations=400, connections=400, connections_per_address=400, kept=0)
    script = (
        "import os, sys\nfrom dicom_node.dimse.capacity import Capacity, Places\n"
        "large = Capacity(associations=400, connections=400, connections_per_address=400, kept=0)\n"
        "owner = int(sys.argv[2])\nplaces = Places(large, int(sys.argv[1]), owner, 4)\n"
        "for _ in range(2000):\n    place = places.take('a', brings=True)\n"
        "    places.promote(place, 'A', brings=True)\n    places.leave(place)\n"
        "taken = [places.take('a', brings=True) for _ in range(100)]\nprint(*taken, flush=True)\n"
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
        assert is_full(places, "b")
        places.vacate(3)
        assert [take(places, "b") for _ in range(100)] == sorted(int(place) for place in told[2])
    finally:
        os.close(table)
