"""Requests the receiver serves beside C-STORE: asking the peer back, giving way to it, saying more when it is quiet."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

from dicom_node.dimse import pdu
from dicom_node.dimse.access import AccessList, Caller
from dicom_node.dimse.association import Wire
from dicom_node.dimse.capacity import Capacity, Places
from dicom_node.dimse.contexts import ContextTable
from dicom_node.dimse.limits import Limits
from dicom_node.dimse.listener import Listener
from dicom_node.dimse.pdu import Command
from dicom_node.dimse.port import open_port
from tests import raw_peer
from tests.archives import wait_until
from tests.raw_peer import IMPLICIT, RawPeer, command_set, element, message

COMMITMENT = "1.2.840.10008.1.20.1"
GET = "1.2.840.10008.5.1.4.1.2.2.3"


class Asking:
    """Asks the peer once, waits for its response, and says so in the final one."""

    def __init__(self, number: int, context_id: int) -> None:
        self._number, self._context_id = number, context_id
        self.asked, self.heard, self.abandoned = False, False, False
        self.cancelled: list[int] = []
        self._said = False

    @property
    def waits(self) -> bool:
        return self.asked and not self.heard

    @property
    def gives_way(self) -> bool:
        return False

    def next(self) -> bytes | None:
        if not self.asked:
            self.asked = True
            return message(self._context_id, command_set(0x0001, 9, "1.2", data=False))
        if not self.heard:
            return b""
        if self._said:
            return None
        self._said = True
        return message(self._context_id, final(self._number, 0x8010))

    def cancel(self, message_id: int) -> None:
        self.cancelled.append(message_id)

    def hear(self, command: Command) -> bool:
        self.heard = (command.field, command.message_id) == (0x8001, 9)
        return self.heard

    def abandon(self) -> None:
        self.abandoned = True


class Reporting(Asking):
    """Answers at once and asks the peer later."""

    def next(self) -> bytes | None:
        if not self._said:
            self._said = True
            return message(self._context_id, final(self._number, 0x8130))
        if not self.asked:
            self.asked = True
            return message(self._context_id, command_set(0x0100, 9, COMMITMENT, data=False))
        return None if self.heard else b""

    @property
    def gives_way(self) -> bool:
        return self._said

    def hear(self, command: Command) -> bool:
        self.heard = (command.field, command.message_id) == (0x8100, 9)
        return self.heard


def final(number: int, field: int) -> bytes:
    return command_set(field, number, "1.2", element(0x0900, b"\0\0"), data=False)


def response(field: int) -> bytes:
    return command_set(field, 9, "1.2", element(0x0900, b"\0\0"), data=False)


@contextmanager
def serving(field: int, made: Callable[[int, int], Asking], **limits: Any) -> Iterator[tuple[int, list[Asking]]]:
    """Serve requests with a Command Field; give the port and what was begun."""
    begun: list[Asking] = []

    class Service:
        def begin(self, command: Command, context_id: int, data_set: bytes) -> Asking:
            begun.append(made(command.message_id, context_id))
            return begun[-1]

    def no_store(**_: Any) -> Any:
        raise AssertionError("nothing is stored here")

    services = frozenset({"echo", "get", "commit"})
    wire = Wire(
        access=AccessList(
            [Caller(name="pacs", ae_title="PACS", hosts=(ip_network("127.0.0.0/8"),), services=services)], ["SBB_NODE"]
        ),
        contexts=ContextTable(),
        limits=Limits(**limits),
        make_store=no_store,
        services={field: lambda **_: Service()},
        now=lambda: datetime.now(UTC),
    )
    listener = Listener(open_port(("127.0.0.1", 0)), wire=wire, places=Places.alone(Capacity()), own_title="OWN")
    listener.start()
    try:
        yield listener.port, begun
    finally:
        listener.stop(0.0)


def pacs(port: int, abstract_syntax: str) -> RawPeer:
    return RawPeer(port, calling=b"PACS", contexts=((abstract_syntax, [IMPLICIT]), (raw_peer.VERIFICATION, [IMPLICIT])))


def test_the_node_asks_the_peer_and_goes_on_with_its_response() -> None:
    with serving(pdu.C_GET_RQ, Asking) as (port, begun), pacs(port, GET) as peer:
        peer.send(message(1, command_set(0x0010, 7, GET, data=True), b""))
        asked, _ = peer.read_response()
        assert (asked.field, asked.message_id) == (0x0001, 9)
        peer.send(message(1, command_set(0x0FFF, 7, "", data=False)))
        wait_until(lambda: begun[0].cancelled == [7])
        peer.send(message(1, response(0x8001)))
        answer, _ = peer.read_response()
        assert (answer.field, answer.message_id) == (0x8010, 7)
        assert peer.release()[0] == 6


def test_a_request_where_a_response_is_due_ends_the_association() -> None:
    with serving(pdu.C_GET_RQ, Asking) as (port, begun), pacs(port, GET) as peer:
        peer.send(message(1, command_set(0x0010, 7, GET, data=True), b""))
        peer.read_response()
        peer.send(message(3, raw_peer.echo_request(8)))
        assert peer.read_unit()[0] == pdu.ABORT
        wait_until(lambda: begun[0].abandoned)


def test_a_peer_that_never_responds_is_idle() -> None:
    with serving(pdu.C_GET_RQ, Asking, idle=0.3) as (port, begun), pacs(port, GET) as peer:
        peer.send(message(1, command_set(0x0010, 7, GET, data=True), b""))
        peer.read_response()
        assert peer.read_unit()[0] == pdu.ABORT
        wait_until(lambda: begun[0].abandoned)


def test_what_is_still_to_be_said_leaves_when_the_peer_is_quiet_and_holds_up_no_request() -> None:
    with serving(pdu.N_ACTION_RQ, Reporting) as (port, begun), pacs(port, COMMITMENT) as peer:
        peer.send(message(1, command_set(0x0130, 7, COMMITMENT, data=True), b""))
        assert [peer.read_response()[0].field for _ in range(2)] == [0x8130, 0x0100]
        peer.send(message(3, raw_peer.echo_request(8)))
        assert peer.read_response()[0].field == 0x8030
        peer.send(message(1, response(0x8100)))
        wait_until(lambda: begun[0].heard)
        assert peer.release()[0] == 6
        assert not begun[0].abandoned


def test_what_could_not_be_said_is_given_up_with_the_association() -> None:
    with serving(pdu.N_ACTION_RQ, Reporting) as (port, begun), pacs(port, COMMITMENT) as peer:
        peer.send(message(1, command_set(0x0130, 7, COMMITMENT, data=True), b""))
        peer.read_response()
        peer.read_response()
        assert peer.release()[0] == 6
        wait_until(lambda: begun[0].abandoned)
