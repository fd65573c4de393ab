"""What the answer to a retrieval does when it is given up, without a network."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import structlog

from dicom_node.dicom.keys import Level
from dicom_node.dicom.retrieve import Retrieval
from dicom_node.dimse import pdu, retrieve
from dicom_node.dimse.pdu import Command
from dicom_node.dimse.retrieve import Request, Responses, Retrieving, TransferRecord
from dicom_node.dimse.serving import AcceptedContext
from dicom_node.dimse.sub_operations import Counts, Tally
from dicom_node.index.retrieve import Selected
from dicom_node.services.audit import AssociationAudit, NoTrail
from tests.raw_peer import IMPLICIT, command_set
from tests.retrieving import STUDY_ROOT_MOVE, counts

FOUND = [Selected("1.2.840.10008.5.1.4.1.1.2", f"1.2.{number}", IMPLICIT, "", 10, "1.2") for number in range(70_000)]


class Way:
    """Counts every instance at once, as a status tells it to."""

    waits = is_inside_message = False

    def __init__(self, code: int = 0) -> None:
        self._code = code
        self.sent = 0
        self.abandoned = False

    def send(self, selected: Sequence[Selected], tally: Tally, is_cancelled: Callable[[], bool]) -> Iterator[bytes]:
        for each in selected:
            self.sent += 1
            tally.hear(each, self._code)
            if self.sent == 1:
                yield b""

    def hear(self, command: Command) -> bool:
        return False

    def abandon(self) -> None:
        self.abandoned = True


def retrieving(way: Way, *, during: Callable[[Retrieving], None] = lambda _: None) -> Retrieving:
    request = pdu.parse_command(command_set(0x0021, 7, STUDY_ROOT_MOVE, data=True))

    def read() -> Request:
        during(answers)
        return Request(Retrieval(level=Level.STUDY, study_uids=("1.2",)), way, "")

    record = TransferRecord(AssociationAudit(NoTrail(), {}), "PACS2")
    responses = Responses(request, AcceptedContext(STUDY_ROOT_MOVE, IMPLICIT), 1, 0)
    answers = Retrieving(read, lambda _retrieval: iter([FOUND]), responses, structlog.get_logger(), record)
    return answers


def commands(answers: Retrieving) -> list[Command]:
    found = []
    while (units := answers.next()) is not None:
        for piece in pdu.UnitParser(1 << 32).feed(memoryview(units)):
            assert isinstance(piece, pdu.Fragment)
            if piece.is_command:
                found.append(pdu.parse_command(b"".join(piece.views)))
    return found


def test_counts_beyond_what_an_element_holds_are_told_as_the_highest() -> None:
    pending, final = commands(retrieving(Way()))
    assert (pending.status, counts(pending)) == (0xFF00, (0xFFFF, 1, 0, 0))
    assert (final.status, counts(final)) == (0, (None, 0xFFFF, 0, 0))


class InPieces(Way):
    """Sends one instance in three pieces, whose receiver answers before the last of them has left."""

    def send(self, selected: Sequence[Selected], tally: Tally, is_cancelled: Callable[[], bool]) -> Iterator[bytes]:
        for number in range(3):
            self.is_inside_message = number < 2
            yield b"%d" % number


def test_no_pending_response_is_put_between_the_pieces_of_an_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieve, "KEPT_UP", -1.0)
    answers = retrieving(InPieces())
    said = [answers.next() for _ in range(4)]
    assert said[1] is not None
    assert said[1].endswith(b"0")
    assert len(said[1]) > 1
    assert said[2:] == [b"1", b"2"]


def test_what_was_given_up_while_it_was_being_read_sends_nothing() -> None:
    way = Way()
    answers = retrieving(way, during=Retrieving.abandon)
    commands(answers)
    assert way.sent == 0


def test_a_way_that_is_given_up_is_told() -> None:
    way = Way()
    answers = retrieving(way)
    answers.next()
    answers.abandon()
    answers.abandon()
    assert way.abandoned
    assert answers.next() is None


@pytest.mark.parametrize("code", [0, 0xA700])
def test_a_closed_tally_counts_no_more(code: int) -> None:
    tally = Tally()
    tally.expect(2)
    tally.hear(FOUND[0], code)
    before: Any = tally.counts
    tally.close()
    tally.hear(FOUND[1], code)
    assert tally.counts == before != Counts(2)
