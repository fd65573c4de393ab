"""The guarded listener: how many get in, who, and how the door closes."""

import contextlib
import socket
import ssl
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable
from ipaddress import IPv6Address
from socketserver import BaseServer
from typing import Any

from pydicom.uid import UID
from pynetdicom import AE
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from dicom_node.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.dimse import pdu
from dicom_node.dimse.access import Proof, Refusal
from dicom_node.dimse.association import NodeAssociation, Wire, read_request, refuse, useless
from dicom_node.dimse.capacity import Full, Places
from dicom_node.dimse.contexts import LIBRARY_CONTEXTS
from dicom_node.dimse.negotiation import AssociationRequest, negotiate
from dicom_node.dimse.port import SELF_CHECK, taken
from dicom_node.dimse.tls import HandshakeRefusedError, peer_certificate, shake_hands
from dicom_node.logs import get_logger, silence_pynetdicom

log = get_logger(__name__)

BACKLOG = 1024
"""Connections the kernel keeps while the accept loop is busy, as far as ``net.core.somaxconn`` lets it."""

FORCE = 2.0
"""Seconds for aborts to leave when the listener closes, before the connections are cut."""

COURTESY = 0.002
"""Seconds in which a new connection is left to processes that have fewer than this one."""

LOOK = 0.25
"""Seconds between two looks of a waiting request whether another process has freed a place."""

_STOPPING = Refusal(result=2, source=3, reason=1, words="the node is stopping; it may try again later")

_OTHER_VERSION = Refusal(
    result=1, source=2, reason=2, words="it speaks another version of the DICOM upper layer protocol than 1"
)

_SELF_CHECKED = Refusal(result=1, source=1, reason=1, words="the node's own check")


class Listener:
    """Accepts the connections to one listening socket."""

    def __init__(
        self,
        port: socket.socket,
        *,
        wire: Wire,
        places: Places,
        own_title: str,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        """Take an open port, which it closes when it stops. ``own_title`` is what the node's own check calls as.

        ``tls`` gives the context in force at a connection; without it associations are not encrypted.
        """
        silence_pynetdicom()
        self._port = port
        ae = AE()
        # Deadlines are the receiver's, by the monotonic clock; admission and counting are the listener's.
        ae.network_timeout = None
        ae.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        ae.maximum_associations = 1 << 16
        ae.maximum_pdu_size = wire.limits.maximum_length
        server = ae.make_server(
            port.getsockname(),
            # The server insists on a context; what a caller may use is decided at each request.
            contexts=LIBRARY_CONTEXTS,
            server_class=_Server,
            request_handler=_Connection,
            port=port,
            wire=wire,
            places=places,
            own_title=own_title,
            tls=tls,
        )
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
    def associations(self) -> int:
        """Number of associations under way in this process."""
        return len(self._server.living())

    @property
    def is_alive(self) -> bool:
        """Tell whether connections are being accepted."""
        return self._thread.is_alive() and time.monotonic() - self._server.turned_at < SELF_CHECK

    def start(self) -> None:
        """Accept connections from now on. Raises NodeError when another program has the port since it was opened."""
        try:
            self._port.listen(BACKLOG)
        except OSError as error:
            raise taken(self._port.getsockname()[:2], error) from error
        self._thread.start()

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

    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        *args: Any,
        port: socket.socket,
        wire: Wire,
        places: Places,
        own_title: str,
        tls: Callable[[], ssl.SSLContext] | None,
        **options: Any,
    ) -> None:
        self.wire = wire
        self.tls = tls
        self.draining = False
        self.own_title = own_title
        self.turned_at = time.monotonic()
        self._port = port
        self._places = places
        self._changed = threading.Condition()  # the places below
        self._knocking: dict[Any, int] = {}  # places of the connections that have no association yet
        self._associations: dict[NodeAssociation, int] = {}  # and of those that have
        super().__init__(*args, **options)

    def server_bind(self) -> None:
        """Take the port that is open already instead of a socket of the library's."""
        if self.socket is not None:
            self.socket.close()
        self.socket = self._port
        self.server_address = self._port.getsockname()

    def server_activate(self) -> None:
        """Leave it to ``Listener.start`` to listen: who connects before finds nobody, instead of waiting for long."""

    def get_request(self) -> Any:
        """Accept a connection, after a process that has fewer got the chance to. Raises OSError when it took it."""
        if self._places.is_ahead:
            time.sleep(COURTESY)
        connection, address = super().get_request()
        return connection, (_plain_address(address[0]), *address[1:2])

    def living(self) -> list[NodeAssociation]:
        """Return the associations whose threads run; the others give up their places."""
        with self._changed:
            ended = [assoc for assoc in self._associations if not (assoc.is_alive() or assoc.dul.is_alive())]
            for assoc in ended:
                self._places.leave(self._associations.pop(assoc))
            self._changed.notify(len(ended))
            return list(self._associations)

    def reserve(self, connection: Any, ae_title: str, *, brings: bool) -> Refusal | None:
        """Get a connection the place of an association, waiting for one for a while; say why when there is none."""
        deadline = time.monotonic() + self._places.capacity.patience
        with self._changed:
            while not self.draining:
                full = self._places.promote(self._knocking[connection], ae_title, brings=brings)
                if full is None:
                    return None
                if time.monotonic() > deadline:
                    words = f"too many associations {full}; it may try again later"
                    return Refusal(result=2, source=3, reason=2, words=words)
                self._changed.wait(LOOK)
        return _STOPPING

    def start_association(self, assoc: NodeAssociation, connection: Any) -> Refusal | None:
        """Start an association that has its place, unless the node is stopping."""
        with self._changed:
            if self.draining:
                return _STOPPING
            assoc.start()
            self._associations[assoc] = self._knocking.pop(connection)
        return None

    def service_actions(self) -> None:
        """Free the places of associations that ended, for other processes to take.

        Leaves out the library's collecting of garbage in the accept loop: it halts every association.
        """
        self.turned_at = time.monotonic()
        self.living()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection a thread of its own, or close it when there are too many."""
        address = str(client_address[0])
        self.living()
        # The node's own check comes from the address it goes to, and a flood must not make the node look dead.
        brings = self.wire.access.stores_from(address) or address == _plain_address(request.getsockname()[0])
        place = self._places.take(address, brings=brings)
        if isinstance(place, Full):
            log.warning("connection.refused", peer=address, reason=f"too many connections {place}")
            self.shutdown_request(request)
            return
        with self._changed:
            self._knocking[request] = place
        # Not by a Thread: the accept loop would wait until it runs, which under load takes as long as all the rest.
        try:
            start_new_thread(self.process_request_thread, (request, client_address))
        except RuntimeError:  # the system gives no thread
            self._leave(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection up to its association; then it no longer knocks."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._leave(request)

    def _leave(self, request: Any) -> None:
        """Free the place of a connection that became no association."""
        with self._changed:
            place = self._knocking.pop(request, None)
        if place is not None:
            self._places.leave(place)

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
        address, limits = str(self.client_address[0]), self.server.wire.limits
        try:
            if self.server.tls is not None:
                secure = shake_hands(connection, self.server.tls(), limits.handshake)
                if secure is None:
                    return  # the node's own check
                connection = secure
            request = read_request(connection, limits)
        except (pdu.ProtocolError, OSError) as error:
            reason = str(error) if isinstance(error, pdu.ProtocolError) else "the connection broke"
            log.info("connection.dropped", peer=address, reason=reason)
            if isinstance(error, HandshakeRefusedError):
                self.server.wire.audit.refused(calling_ae="", called_ae="", peer=address, code="", reason=reason)
            self.server.shutdown_request(connection)
            return
        is_own = request.calling_ae == self.server.own_title
        refusal = _SELF_CHECKED if is_own else self._welcome(connection, request, address)
        if refusal is None:
            return
        if not is_own:
            log.warning(
                "association.rejected",
                calling_ae=request.calling_ae,
                called_ae=request.called_ae,
                peer=address,
                reason=refusal.words,
            )
            self.server.wire.audit.refused(
                calling_ae=request.calling_ae,
                called_ae=request.called_ae,
                peer=address,
                code=f"{refusal.result}/{refusal.source}/{refusal.reason}",
                reason=refusal.words,
                needs=refusal.needs,
            )
            if refusal.is_neighbour:
                self.server.wire.note_stranger(address, request.calling_ae)
        refuse(connection, refusal)
        with contextlib.suppress(OSError):
            self.server.shutdown_request(connection)

    def _welcome(self, connection: socket.socket, request: AssociationRequest, address: str) -> Refusal | None:
        """Make an association of a request, or say why not."""
        wire = self.server.wire
        if not request.is_version_1:
            return _OTHER_VERSION
        proof = Proof(
            is_secure=self.server.tls is not None,
            certificate=peer_certificate(connection),
            identity=request.identity,
        )
        admission = wire.access.admit(
            calling_ae=request.calling_ae, called_ae=request.called_ae, address=address, proof=proof
        )
        if isinstance(admission, Refusal):
            return admission
        negotiated = negotiate(request, wire.contexts, admission.services, is_named=admission.is_named)
        if negotiated.is_useless:
            return useless(request, admission, wire.contexts)
        # The server knows a connection by the socket that it accepted.
        refusal = self.server.reserve(self.request, request.calling_ae, brings="store" in admission.services)
        if refusal is not None:
            return refusal
        assoc = NodeAssociation(
            ae=self.ae,
            server=self.server,
            connection=connection,
            addresses=(connection.getsockname(), self.client_address),
            request=request,
            admission=admission,
            negotiated=negotiated,
            wire=wire,
            draining=lambda: self.server.draining,
        )
        return self.server.start_association(assoc, self.request)


def _plain_address(address: str) -> str:
    """Return an address as a person writes it: one of IPv4 that came in by a socket of IPv6 is one of IPv4."""
    mapped = IPv6Address(address).ipv4_mapped if address.startswith("::ffff:") else None
    return str(mapped) if mapped is not None else address
