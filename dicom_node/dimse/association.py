"""One connection from its first byte to its association, and what the node knows of an association.

A connection first has to send a whole association request in time and from a listed caller; only then is anything of
the library made for it. The library negotiates and keeps its state machine; the receiver serves C-STORE.
"""

import contextlib
import itertools
import select
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.transport import AddressInformation

from dicom_node.dicom.facts import Provenance
from dicom_node.dimse import pdu
from dicom_node.dimse.access import SERVICES, AccessList, Admission, Refusal
from dicom_node.dimse.contexts import LIBRARY_CONTEXTS, ContextTable
from dicom_node.dimse.limits import Limits
from dicom_node.dimse.negotiation import AssociationRequest, Negotiated, negotiate, parse_association_request
from dicom_node.dimse.receiver import ReceivingSocket
from dicom_node.dimse.serving import AcceptedContext, Link, RequestService, ServiceMaker, StoreService
from dicom_node.dimse.store import Tally
from dicom_node.dimse.tls import peer_certificate
from dicom_node.logs import get_logger
from dicom_node.services.audit import AssociationAudit, CallAudit, NoTrail

log = get_logger(__name__)

LIBRARY_PAUSE = 0.0001
"""Seconds that the library's upper layer loop sleeps between its turns; our socket does the waiting instead."""

LINGER = 1.0
"""Seconds a refused peer has to read its refusal before the connection closes."""

_numbers = itertools.count(1)


class TalliedStore(StoreService, Protocol):
    """A C-STORE service that counts what it took, for the association's last word in the log."""

    @property
    def tally(self) -> Tally:
        """What the association stored so far."""


class StoreMaker(Protocol):
    """Makes the C-STORE service of one association."""

    def __call__(
        self,
        *,
        contexts: Mapping[int, AcceptedContext],
        caller: Provenance,
        draining: Callable[[], bool],
        audit: AssociationAudit,
        log: Any,
    ) -> TalliedStore:
        """Serve the accepted storage ``contexts`` for ``caller``."""


@dataclass(slots=True, kw_only=True)
class Wire:
    """What the node plugs into the listener. ``access``, ``contexts`` and ``limits`` may be replaced while it runs."""

    access: AccessList
    contexts: ContextTable
    limits: Limits
    make_store: StoreMaker
    services: Mapping[int, ServiceMaker]
    """Who serves requests other than C-STORE, by their Command Field."""
    now: Callable[[], datetime]
    """The time in UTC."""
    audit: CallAudit = field(default_factory=lambda: CallAudit(NoTrail()))
    note_stranger: Callable[[str, str], None] = lambda _address, _calling_ae: None
    """Notes who called from a listed device's address under an AE title that is not listed."""


class NodeAssociation(Association):
    """An association of the library with what the node knows of it."""

    def __init__(
        self,
        *,
        ae: Any,
        server: Any,
        connection: socket.socket,
        addresses: tuple[Any, Any],
        request: AssociationRequest,
        admission: Admission,
        negotiated: Negotiated,
        wire: Wire,
        draining: Callable[[], bool],
    ) -> None:
        """Prepare an admitted association; ``addresses`` are the socket addresses here and there."""
        super().__init__(ae, "acceptor")
        self._server = server  # the library finds the associations of a server by it
        self.dul.daemon = True  # a peer that hangs must not keep the process alive
        self.dul._run_loop_delay = LIBRARY_PAUSE  # noqa: SLF001 - a seam: see seams.py
        number = next(_numbers)
        self.name = f"AcceptorThread-{number}"
        self.address = str(addresses[1][0])
        self.log = log.bind(assoc_id=number, calling_ae=request.calling_ae, peer=self.address)
        self._request = request
        self._admission = admission
        self._wire = wire
        self._draining = draining
        self._began = time.monotonic()
        certificate = peer_certificate(connection)
        self._shown = {"certificate": certificate.subject} if certificate else {}
        self._store: TalliedStore | None = None
        self._negotiated = negotiated
        self._audit = wire.audit.association(
            calling_ae=request.calling_ae, called_ae=request.called_ae, peer=self.address
        )

        self.receiving = ReceivingSocket(
            self,
            connection,
            negotiated=self._negotiated,
            limits=wire.limits,
            library_runs=self._reactor_checkpoint,
            draining=draining,
            log=self.log,
        )
        self.receiving.serve_stores(self._make_store)
        self.receiving.serve_requests(
            {command_field: partial(self._make_service, make) for command_field, make in wire.services.items()}
        )
        self.set_socket(self.receiving)
        self.acceptor.supported_contexts = LIBRARY_CONTEXTS
        self.acceptor.maximum_length = wire.limits.maximum_length
        self.acceptor.ae_title = request.called_ae
        self.acceptor.address_info = AddressInformation.from_tuple(addresses[0])
        self.acceptor.implementation_class_uid = ae.implementation_class_uid
        self.acceptor.implementation_version_name = ae.implementation_version_name
        self.requestor.address_info = AddressInformation.from_tuple(addresses[1])
        self.bind(evt.EVT_ACCEPTED, self._on_accepted)
        self.bind(evt.EVT_RELEASED, self._on_ended, ["association.released"])
        self.bind(evt.EVT_ABORTED, self._on_ended, ["association.aborted"])

    def run_reactor(self) -> None:
        """Negotiate in this thread, then run the library's loops: what the association's thread does.

        The library starts its upper layer's thread first, and the two hand each step of the negotiation to the other,
        with a pause before each; a device that opens an association for every image would wait for all of them.
        """
        try:
            self._negotiate()
            if self.is_established:
                self._reactor_checkpoint.clear()  # the receiver wakes the second loop when there is something for it
                self.dul.start()
                self._run_reactor()
            else:
                self.log.warning("association.dropped", reason="pynetdicom refused its request")
        finally:
            self.receiving.close()
            self._tell_end("broken")

    def _negotiate(self) -> None:
        """Take the upper layer and its user through the request that our socket holds (PS3.8 9.2)."""
        upper = self.dul
        upper._read_pdu_data()  # noqa: SLF001 - a seam: see seams.py
        while not upper.event_queue.empty():
            upper.state_machine.do_action(upper.event_queue.get())
        request: Any = upper.receive_pdu()
        if isinstance(request, A_ASSOCIATE):  # otherwise the upper layer has refused it already
            self.requestor.primitive = request
            self.acse.negotiate_association()
            while upper._process_recv_primitive():  # noqa: SLF001 - a seam: see seams.py
                upper.state_machine.do_action(upper.event_queue.get())

    def _on_accepted(self, _event: evt.Event) -> None:
        accepted = len(self._negotiated.accepted) + self._negotiated.verifies
        self._audit.accepted(name=self._admission.name, contexts=accepted)
        self.log.info(
            "association.accepted",
            name=self._admission.name,
            contexts=accepted,
            refused=len(self._negotiated.refused),
            **self._shown,
        )

    def _on_ended(self, _event: evt.Event, name: str) -> None:
        tally = self._store.tally if self._store is not None else None
        self.log.info(
            name,
            instances=tally.instances if tally else 0,
            refused=tally.refused if tally else 0,
            bytes=tally.size if tally else 0,
            seconds=round(time.monotonic() - self._began, 3),
        )
        self._tell_end(name.rpartition(".")[2])

    def _tell_end(self, how: str) -> None:
        """Record the end in the audit trail; the first word counts."""
        tally = self._store.tally if self._store is not None else None
        self._audit.ended(
            how=how,
            seconds=round(time.monotonic() - self._began, 3),
            instances=tally.instances if tally else 0,
            refused=tally.refused if tally else 0,
        )

    def _make_store(self) -> TalliedStore:
        requestor = self.requestor
        self._store = self._wire.make_store(
            contexts={
                number: context
                for number, context in self._negotiated.accepted.items()
                if self._wire.contexts.is_storage(context.sop_class_uid)
            },
            caller=Provenance(
                calling_ae=self._request.calling_ae,
                called_ae=self._request.called_ae,
                peer_address=self.address,
                received_at=self._wire.now(),
                implementation_uid=str(requestor.implementation_class_uid or ""),
                implementation_version=str(requestor.implementation_version_name or ""),
            ),
            draining=self._draining,
            audit=self._audit,
            log=self.log,
        )
        return self._store

    def _make_service(self, make: ServiceMaker) -> RequestService:
        link = Link(
            name=self._admission.name,
            calling_ae=self._request.calling_ae,
            called_ae=self._request.called_ae,
            peer=self.address,
            services=self._admission.services,
            maximum_length=self.requestor.maximum_length or 0,
            extended=self._negotiated.extended,
            audit=self._audit,
        )
        return make(contexts=self._negotiated.accepted, link=link, log=self.log)


def read_request(connection: socket.socket, limits: Limits) -> AssociationRequest:
    """Read one whole A-ASSOCIATE-RQ that is within its limits of time and length.

    Raises ProtocolError when something else, or nothing whole, arrives in time; a malformed request is answered by an
    abort before. Raises OSError when the connection breaks.
    """
    deadline = time.monotonic() + limits.request
    connection.setblocking(False)
    head = _read_exactly(connection, pdu.HEADER_LENGTH, deadline)
    length = int.from_bytes(head[2:6], "big")
    if head[0] != pdu.ASSOCIATE_RQ:
        raise pdu.ProtocolError("the first unit is no association request")
    if length > limits.longest_request:
        raise pdu.ProtocolError("the association request is too long")
    data = head + _read_exactly(connection, length, deadline)
    try:
        return parse_association_request(data)
    except pdu.ProtocolError:
        with contextlib.suppress(OSError):
            connection.settimeout(LINGER)
            connection.sendall(pdu.abort(reason=6))
        raise


def _read_exactly(connection: socket.socket, size: int, deadline: float) -> bytes:
    poll = select.poll()
    view = memoryview(bytearray(size))
    at = 0
    while at < size:
        patience = deadline - time.monotonic()
        if patience <= 0:
            raise _too_late()
        # Read before waiting: a TLS connection may hold bytes that poll cannot see.
        try:
            length = connection.recv_into(view[at:])
        except (BlockingIOError, ssl.SSLWantReadError):
            poll.register(connection, select.POLLIN)
        except ssl.SSLWantWriteError:
            poll.register(connection, select.POLLOUT)
        else:
            if not length:
                raise pdu.ProtocolError("the connection closed before an association was requested")
            at += length
            continue
        if not poll.poll(patience * 1000):
            raise _too_late()
    return bytes(view)


def _too_late() -> pdu.ProtocolError:
    return pdu.ProtocolError("no association was requested in time")


def useless(request: AssociationRequest, admission: Admission, contexts: ContextTable) -> Refusal:
    """Return the refusal of a request of which nothing could be accepted."""
    proposed = list(dict.fromkeys(proposal.abstract_syntax for proposal in request.proposals))
    words = "it proposes no presentation context"
    if proposed:
        some = ", ".join(uid[:64] for uid in proposed[:3]) + (f" and {len(proposed) - 3} more" if proposed[3:] else "")
        may = ", ".join(sorted(admission.services)) or "nothing"
        words = f"nothing of what it proposes ({some}) is known here, transfer syntax and all, and allowed to it; "
        words += f"{admission.name} may: {may}"
    more = [each for each in SERVICES if each not in admission.services]
    needs = [each for each in more if not negotiate(request, contexts, frozenset({each})).is_useless]
    return Refusal(result=1, source=1, reason=1, words=words, needs=tuple(needs))


def refuse(connection: socket.socket, refusal: Refusal) -> None:
    """Answer with an A-ASSOCIATE-RJ and give the peer a moment to read it; never raises."""
    with contextlib.suppress(OSError):
        connection.settimeout(LINGER)
        connection.sendall(pdu.associate_reject(refusal.result, refusal.source, refusal.reason))
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
