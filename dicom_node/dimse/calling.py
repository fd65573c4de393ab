"""Associations that the node opens: small, blocking, with a deadline for every wait.

PS3.8 section 9.2 as the requestor, PS3.7 sections 9.1 and 10.1 as the invoking user. Data sets are passed on as they
come, piece by piece: neither read nor held.
"""

import ssl
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from dicom_node.dimse import pdu
from dicom_node.dimse.dialogue import Dialogue, Patience, broken
from dicom_node.dimse.line import Line, connect
from dicom_node.dimse.pdu import Command, ControlPdu, ProtocolError
from dicom_node.dimse.proposing import Acceptance, Proposed, Request, parse_acceptance, refusal_words
from dicom_node.dimse.serving import AcceptedContext, StoreService
from dicom_node.errors import PeerRefusedError, PeerUnavailableError

__all__ = ["Calling", "Patience", "Proposed", "Response", "call"]

MAXIMUM_LENGTH = 131072
"""Longest P-DATA-TF body offered to peers, in bytes."""

VERIFICATION = "1.2.840.10008.1.1"

_PENDING = frozenset({0xFF00, 0xFF01})
_COMMENT = 0x0902
_MEDIUM = 0
"""Priority (0000,0700) of a request, unless it is said."""


class SubOperations(NamedTuple):
    """How many C-STORE sub-operations of a C-GET or C-MOVE are where (PS3.7 9.3.3.2, 9.3.4.2)."""

    remaining: int
    completed: int
    failed: int
    warning: int


class Response(NamedTuple):
    """One response to a C-FIND, C-GET or C-MOVE; the last one has a status that is not pending."""

    status: int
    comment: str
    data_set: bytes
    """The identifier, encoded in the transfer syntax of the context; b"" for none."""
    sub_operations: SubOperations

    @property
    def is_last(self) -> bool:
        """Tell whether the operation ended with it."""
        return self.status not in _PENDING


class Calling:
    """An established association. One thread works with it; ``abort`` may be called by any.

    Every operation raises PeerUnavailableError when the peer does not do its part; the association is over then.
    """

    def __init__(self, line: Line, request: Request, patience: Patience) -> None:
        """Negotiate on a fresh line. Raises PeerUnavailableError and PeerRefusedError."""
        self._dialogue = Dialogue(line, maximum_length=request.maximum_length, patience=patience)
        self._message_id = 0  # of the latest request
        self._context_id = 0  # as above
        with self._dialogue:
            self._acceptance = self._negotiate(request, patience.answer)
        self._dialogue.respect(self._acceptance.maximum_length)
        self.accepted: Mapping[int, AcceptedContext] = {
            number: AcceptedContext(grant.abstract_syntax, grant.transfer_syntax, takes=grant.scp, gives=grant.scu)
            for number, grant in self._acceptance.grants.items()
        }
        """The accepted presentation contexts by their ids."""
        self.extended = self._acceptance.extended
        """What the peer answered to the extended negotiation, by SOP class."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release the association, or abort it when something went wrong."""
        if kind is None:
            self.release()
        else:
            self.abort()

    def context(self, abstract_syntax: str, transfer_syntax: str = "") -> int:
        """Return the id of an accepted context of an abstract syntax, of any transfer syntax unless one is named.

        Raises PeerRefusedError when there is none.
        """
        for number, accepted in self.accepted.items():
            if accepted.sop_class_uid == abstract_syntax and transfer_syntax in ("", accepted.transfer_syntax_uid):
                return number
        why = self._acceptance.refusals.get(abstract_syntax, "not in that transfer syntax")
        raise PeerRefusedError(f"the peer does not take {abstract_syntax}: {why}")

    # Operations.

    def echo(self) -> int:
        """Verify the connection (C-ECHO, PS3.4 annex A); return the status, 0 for success."""
        context_id = self.context(VERIFICATION)
        return self._ask(context_id, pdu.C_ECHO_RQ, {0x0002: VERIFICATION}).status

    def store(
        self,
        context_id: int,
        *,
        sop_class_uid: str,
        sop_instance_uid: str,
        data: Iterable[bytes | memoryview],
        move_originator: tuple[str, int] | None = None,
        priority: int = _MEDIUM,
    ) -> tuple[int, str]:
        """Send an instance (C-STORE, PS3.4 annex B); return the status and the Error Comment.

        ``data`` is the data set as it is stored, in the transfer syntax of the context, in pieces of any size. What it
        raises goes to the caller, and ends the association. ``move_originator`` is the AE title and the message id of
        the C-MOVE that this is a sub-operation of, whose ``priority`` it has (PS3.4 C.4.2.1.2).
        """
        elements: dict[int, int | str] = {0x0002: sop_class_uid, 0x0700: priority, 0x1000: sop_instance_uid}
        if move_originator is not None:
            elements[0x1030], elements[0x1031] = move_originator
        answer = self._ask(context_id, pdu.C_STORE_RQ, elements, data)
        return answer.status, answer.text(_COMMENT)

    def event_report(
        self, context_id: int, *, sop_class_uid: str, sop_instance_uid: str, event_type: int, data: bytes
    ) -> int:
        """Report an event (N-EVENT-REPORT, PS3.7 10.1.1) with its information; return the status."""
        elements: dict[int, int | str] = {0x0002: sop_class_uid, 0x1000: sop_instance_uid, 0x1002: event_type}
        return self._ask(context_id, pdu.N_EVENT_REPORT_RQ, elements, (data,)).status

    def find(self, context_id: int, identifier: bytes) -> Iterator[Response]:
        """Query (C-FIND, PS3.4 C.4.1); yield the responses as they come, the final one last.

        Whoever stops before the last response ends the association; ``cancel`` asks the peer to stop.
        """
        return self._inquire(context_id, pdu.C_FIND_RQ, identifier)

    def move(self, context_id: int, identifier: bytes, *, destination: str) -> Iterator[Response]:
        """Have instances sent to an AE title (C-MOVE, PS3.4 C.4.2); yield the responses as ``find`` does."""
        return self._inquire(context_id, pdu.C_MOVE_RQ, identifier, destination=destination)

    def get(self, context_id: int, identifier: bytes, *, store: StoreService) -> Iterator[Response]:
        """Retrieve instances on this association (C-GET, PS3.4 C.4.3); yield the responses as ``find`` does.

        Each instance that arrives goes to ``store``, which words the answer to the peer.
        """
        return self._inquire(context_id, pdu.C_GET_RQ, identifier, store=store)

    def cancel(self) -> None:
        """Ask the peer to stop the operation whose responses are being read (C-CANCEL, PS3.7 9.3.2.3)."""
        command = pdu.command_set(pdu.C_CANCEL_RQ, {0x0120: self._message_id}, has_data_set=False)
        with self._dialogue:
            self._dialogue.send_command(self._context_id, command)

    # Endings.

    def release(self) -> None:
        """End the association orderly, once nothing is under way. Never raises."""
        self._dialogue.release()

    def abort(self) -> None:
        """End the association at once, from any thread; a call that is under way raises PeerUnavailableError."""
        self._dialogue.abort()

    # How it is done.

    def _negotiate(self, request: Request, patience: float) -> Acceptance:
        self._dialogue.send(request.encode())
        answer = self._dialogue.next_event(time.monotonic() + patience, "the association request")
        if not isinstance(answer, ControlPdu):
            raise ProtocolError("data came before the association")
        if answer.type == pdu.ASSOCIATE_RJ:
            raise PeerRefusedError(f"the peer refuses the association: {refusal_words(answer.data)}")
        if answer.type != pdu.ASSOCIATE_AC:
            self._dialogue.end_by(answer)
        acceptance = parse_acceptance(answer.data, request)
        if not acceptance.grants:
            reasons = sorted(set(acceptance.refusals.values())) or ["no reason given"]
            raise PeerRefusedError(f"the peer accepts no presentation context: {', '.join(reasons)}")
        return acceptance

    def _ask(
        self,
        context_id: int,
        field: int,
        elements: Mapping[int, int | str],
        data: Iterable[bytes | memoryview] | None = None,
    ) -> Command:
        """Make a request that has one response."""
        with self._dialogue:
            self._request(context_id, field, elements, data)
            return self._response(field)[0]

    def _inquire(
        self,
        context_id: int,
        field: int,
        identifier: bytes,
        *,
        destination: str = "",
        store: StoreService | None = None,
    ) -> Iterator[Response]:
        """Make a request that has many responses."""
        elements: dict[int, int | str] = {0x0002: self.accepted[context_id].sop_class_uid, 0x0700: _MEDIUM}
        if destination:
            elements[0x0600] = destination
        with self._dialogue:
            self._request(context_id, field, elements, (identifier,))
        while True:
            with self._dialogue:
                command, data_set = self._response(field, store)
            counts = SubOperations(*(command.number(element) or 0 for element in range(0x1020, 0x1024)))
            response = Response(command.status, command.text(_COMMENT), data_set, counts)
            if response.is_last:
                yield response
                return
            with self._dialogue:  # who stops to listen here leaves the peer in the middle of its answer
                yield response

    def _request(
        self,
        context_id: int,
        field: int,
        elements: Mapping[int, int | str],
        data: Iterable[bytes | memoryview] | None,
    ) -> None:
        self._message_id = self._message_id % 0xFFFF + 1
        self._context_id = context_id
        command = pdu.command_set(field, {0x0110: self._message_id, **elements}, has_data_set=data is not None)
        self._dialogue.send_command(context_id, command)
        if data is not None:
            self._dialogue.send_data_set(context_id, data)

    def _response(self, field: int, store: StoreService | None = None) -> tuple[Command, bytes]:
        """Return the next response to the latest request, and its data set."""
        command, data_set = self._dialogue.next_response(store)
        if command.field != field | pdu.RESPONSE_BIT or command.message_id != self._message_id:
            raise ProtocolError("it answered a request that was not made")
        return command, data_set


def call(
    address: tuple[str, int],
    *,
    calling_ae: str,
    called_ae: str,
    contexts: Sequence[Proposed],
    patience: Patience,
    tls: ssl.SSLContext | None = None,
    roles: Mapping[str, tuple[bool, bool]] | None = None,
    extended: Mapping[str, bytes] | None = None,
    identity: tuple[str, str] | None = None,
) -> Calling:
    """Open an association with the application entity at a host and port.

    ``contexts`` are at most 128. ``roles`` says by abstract syntax whether this side is SCU, and SCP; SCU alone where
    it says nothing. ``extended`` is the service class application information by SOP class, ``identity`` a username
    and passcode ("" for none).

    Raises PeerUnavailableError when the peer cannot be reached or does not answer, PeerRefusedError when it wants
    neither the association nor any of its contexts; in words that tell it apart.
    """
    request = Request(
        calling_ae=calling_ae,
        called_ae=called_ae,
        contexts=contexts,
        maximum_length=MAXIMUM_LENGTH,
        roles=roles or {},
        extended=extended or {},
        identity=identity,
    )
    host, port = address
    try:
        line = connect(host, port, patience.connect)
    except TimeoutError:
        raise PeerUnavailableError("the connection was not taken in time") from None
    except OSError as error:
        raise broken(error) from error
    if tls is not None:
        try:
            line.encrypt(tls, host, patience.connect)
        except TimeoutError:
            line.cut()
            raise PeerUnavailableError("TLS was not answered in time") from None
        except OSError as error:
            line.cut()
            raise broken(error) from error
    return Calling(line, request, patience)
