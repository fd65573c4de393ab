"""The guarded listener: how many get in, who, and how the door closes."""

import contextlib
import secrets
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass
from socketserver import BaseServer
from typing import Any

from pynetdicom import AE
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from dicom_node.dimse import pdu
from dicom_node.dimse.access import Admission, Refusal
from dicom_node.dimse.association import NodeAssociation, Wire, read_request, refuse
from dicom_node.errors import NodeError
from dicom_node.logs import get_logger, silence_pynetdicom

log = get_logger(__name__)

BACKLOG = 128
"""Connections the kernel keeps while the accept loop is busy."""

FORCE = 2.0
"""Seconds for aborts to leave when the listener closes, before the connections are cut."""

SELF_CHECK = 5.0
"""Seconds the listener has to answer itself."""

_OWN_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where "every address" is reached from here

_VERIFICATION = "1.2.840.10008.1.1"

_TOO_MANY = Refusal(result=2, source=3, reason=2, words="too many associations at once; it may try again later")

_SELF_CHECKED = Refusal(result=1, source=1, reason=1, words="the node's own check")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How many may be connected at once."""

    associations: int = 32
    connections: int = 128
    """Connections that have not closed yet, associations included."""
    connections_per_address: int = 64


class Listener:
    """One listening address."""

    def __init__(self, address: tuple[str, int], *, wire: Wire, capacity: Capacity) -> None:
        """Bind the address at once; port 0 takes a free one. Raises NodeError when it cannot be bound."""
        silence_pynetdicom()
        ae = AE()
        # Deadlines are the receiver's, by the monotonic clock; admission and counting are the listener's.
        ae.network_timeout = None
        ae.maximum_associations = 1 << 16
        ae.maximum_pdu_size = wire.limits.maximum_length
        try:
            server = ae.make_server(
                address,
                # The server insists on a context; what a caller may use is decided at each request.
                contexts=wire.contexts.for_proposal([_VERIFICATION], frozenset({"echo"})),
                server_class=_Server,
                request_handler=_Connection,
                wire=wire,
                capacity=capacity,
            )
        except OSError as error:
            raise NodeError(f"cannot listen on {address[0]} port {address[1]}: {error.strerror or error}") from error
        if not isinstance(server, _Server):
            raise TypeError("pynetdicom made another server than it was asked for")
        self._server = server
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="dicom-listener", daemon=True
        )

    @property
    def port(self) -> int:
        """The TCP port that is listened on."""
        return int(self._server.server_address[1])

    @property
    def is_alive(self) -> bool:
        """Tell whether connections are being accepted."""
        return self._thread.is_alive()

    @property
    def associations(self) -> int:
        """Number of associations under way."""
        return len(self._server.living())

    def start(self) -> None:
        """Accept connections from now on."""
        self._thread.start()

    def answers(self) -> bool:
        """Tell whether an association request to the own address is answered within ``SELF_CHECK`` seconds."""
        host = _OWN_HOST.get(str(self._server.server_address[0]), str(self._server.server_address[0]))
        request = pdu.associate_request(self._server.own_title)
        with contextlib.suppress(OSError), socket.create_connection((host, self.port), SELF_CHECK) as connection:
            connection.sendall(request)
            return connection.recv(1) == bytes([pdu.ASSOCIATE_RJ])
        return False

    def stop(self, grace: float, hurry: threading.Event | None = None) -> None:
        """Stop accepting, let what is under way end for up to ``grace`` seconds, then abort, then cut.

        ``hurry`` ends the grace when it is set.
        """
        self._server.draining = True
        if self._thread.is_alive():
            BaseServer.shutdown(self._server)  # the library's own also unlists the server where it never was
            self._thread.join()
        self._server.server_close()
        self._wait(grace, hurry)
        for assoc in self._server.living():
            assoc.abort(block=False)
        self._wait(FORCE)
        for assoc in self._server.living():
            assoc.log.warning("association.cut")
            assoc.receiving.close()

    def _wait(self, seconds: float, hurry: threading.Event | None = None) -> None:
        deadline = time.monotonic() + seconds
        while self._server.living() and time.monotonic() < deadline and not (hurry is not None and hurry.is_set()):
            time.sleep(0.02)


class _Server(ThreadedAssociationServer):
    """Accepts connections, counts them, and remembers its associations."""

    request_queue_size = BACKLOG
    daemon_threads = True
    block_on_close = False

    def __init__(self, *args: Any, wire: Wire, capacity: Capacity, **options: Any) -> None:
        self.wire = wire
        self.draining = False
        self.own_title = secrets.token_hex(8)  # nobody else can know it, so a refusal of it is no news
        self._capacity = capacity
        self._lock = threading.Lock()
        self._knocking: Counter[str] = Counter()  # connections by address that have no association yet
        self._associations: list[NodeAssociation] = []
        super().__init__(*args, **options)

    def living(self) -> list[NodeAssociation]:
        """Return the associations whose threads run."""
        with self._lock:
            self._associations = [assoc for assoc in self._associations if assoc.is_alive() or assoc.dul.is_alive()]
            return list(self._associations)

    def start_association(self, assoc: NodeAssociation) -> bool:
        """Start an association, unless there are too many or the node is stopping; tell which."""
        living = self.living()
        with self._lock:
            if self.draining or len(living) >= self._capacity.associations:
                return False
            assoc.start()
            self._associations.append(assoc)
            return True

    def service_actions(self) -> None:
        """Leave out the library's collecting of garbage in the accept loop: it halts every association."""

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection a thread of its own, or close it when there are too many."""
        address = str(client_address[0])
        living = self.living()
        with self._lock:
            total = self._knocking.total() + len(living)
            of_address = self._knocking[address] + sum(assoc.address == address for assoc in living)
            full = total >= self._capacity.connections or of_address >= self._capacity.connections_per_address
            if not full:
                self._knocking[address] += 1
        if full:
            log.warning("connection.refused", peer=address, reason="too many connections at once")
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection up to its association; then it no longer knocks."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            address = str(client_address[0])
            with self._lock:
                self._knocking[address] -= 1
                if not self._knocking[address]:
                    del self._knocking[address]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what broke before an association was made; the library would print it."""
        log.error("connection.failed", peer=str(client_address[0]), exc_info=True)  # noqa: LOG014 - called inside one


class _Connection(RequestHandler):
    """Takes one connection from accept to its association."""

    server: _Server

    def handle(self) -> None:
        """Read the association request, decide about it, and let the library negotiate."""
        connection: socket.socket = self.request
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        address, wire = str(self.client_address[0]), self.server.wire
        try:
            request = read_request(connection, wire.limits.request)
        except (pdu.ProtocolError, OSError) as error:
            reason = str(error) if isinstance(error, pdu.ProtocolError) else "the connection broke"
            log.info("connection.dropped", peer=address, reason=reason)
            self.server.shutdown_request(connection)
            return
        if request.calling_ae == self.server.own_title:
            refuse(connection, _SELF_CHECKED)
            self.server.shutdown_request(connection)
            return
        decision = wire.access.admit(calling_ae=request.calling_ae, called_ae=request.called_ae, address=address)
        if isinstance(decision, Admission):
            assoc = NodeAssociation(
                ae=self.ae,
                server=self.server,
                connection=connection,
                addresses=(connection.getsockname(), self.client_address),
                request=request,
                admission=decision,
                wire=wire,
                draining=lambda: self.server.draining,
            )
            if self.server.start_association(assoc):
                return
            decision = _TOO_MANY
        log.warning(
            "association.rejected",
            calling_ae=request.calling_ae,
            called_ae=request.called_ae,
            peer=address,
            reason=decision.words,
        )
        refuse(connection, decision)
        with contextlib.suppress(OSError):
            self.server.shutdown_request(connection)
