"""The requests of an association, while another thread abandons them."""

from collections.abc import Callable

import pytest

from dicom_node.dimse.pdu import C_FIND_RQ, Command
from dicom_node.dimse.requests import Requests


class Answering:
    """Answers in whose turn something happens; once abandoned, it must not be looked at again."""

    def __init__(self, *, units: bytes | None, gives_way: bool) -> None:
        self.units = units
        self.gives_way = gives_way
        self.waits = False
        self.meanwhile: Callable[[], None] = lambda: None
        self.abandoned = 0

    def begin(self, command: Command, context_id: int, data_set: bytes) -> "Answering":
        return self

    def next(self) -> bytes | None:
        self.meanwhile()
        return self.units

    def cancel(self, message_id: int) -> None: ...

    def hear(self, command: Command) -> bool:
        return False

    def abandon(self) -> None:
        self.abandoned += 1


def requests_of(answering: Answering) -> Requests:
    requests = Requests({C_FIND_RQ: lambda: answering})
    requests.begin(Command(C_FIND_RQ, 1, True, 0, "", "", {}), 1, b"")
    return requests


@pytest.mark.parametrize("units", [b"some", None])
@pytest.mark.parametrize("gives_way", [False, True])
def test_what_is_abandoned_in_the_middle_of_its_turn_says_nothing_more(units: bytes | None, gives_way: bool) -> None:
    answering = Answering(units=units, gives_way=gives_way)
    requests = requests_of(answering)
    answering.meanwhile = requests.abandon
    assert requests.next() == b""
    assert (answering.abandoned, requests.is_answering, requests.has_errand) == (1, False, False)


@pytest.mark.parametrize("units", [b"some", None])
def test_an_errand_that_is_abandoned_in_the_middle_of_its_turn_is_gone(units: bytes | None) -> None:
    answering = Answering(units=b"", gives_way=True)
    requests = requests_of(answering)
    requests.next()
    assert requests.has_errand
    answering.units, answering.meanwhile = units, requests.abandon
    requests.run_errand()
    assert (answering.abandoned, requests.has_errand) == (1, False)
