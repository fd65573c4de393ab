"""The guarded listener: how many get in, who, and how the door closes."""

import contextlib
import socket
import threading
import time
from socketserver import BaseServer
from typing import Any

from pydicom.uid import UID
from pynetdicom import AE
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from dicom_node.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.dimse import pdu, seams
from dicom_node.dimse.access import Admission, Refusal
from dicom_node.dimse.association import NodeAssociation, Wire, read_request, refuse
from dicom_node.dimse.capacity import Places
from dicom_node.dimse.contexts import LIBRARY_CONTEXTS
from dicom_node.errors import NodeError
from dicom_node.logs import get_logger, silence_pynetdicom

log = get_logger(__name__)

BACKLOG = 128
"""Connections the kernel keeps while the accept loop is busy."""

FORCE = 2.0
"""Seconds for aborts to leave when the listener closes, before the connections are cut."""

SELF_CHECK = 5.0
"""Seconds the listener has to answer itself, and the accept loop for a turn."""

COURTESY = 0.002
"""Seconds in which a new connection is left to processes that have fewer than this one."""

ENDING = 0.3
"""Seconds to wait for the place of an association that has just ended, here or in another process."""

_OWN_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where "every address" is reached from here

_TOO_MANY = Refusal(result=2, source=3, reason=2, words="too many associations at once; it may try again later")

_SELF_CHECKED = Refusal(result=1, source=1, reason=1, words="the node's own check")


def open_port(address: tuple[str, int]) -> socket.socket:
    """Take an address; port 0 takes a free one. Who connects is refused until a ``Listener`` starts.

    The socket may be shared by several processes, so accepting from it never blocks. Raises NodeError when another
    program has the address, or when the installed pynetdicom is none to work with.
    """
    seams.check()
    listening = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise _taken(address, error) from error
    listening.setblocking(False)
    return listening


def _taken(address: tuple[str, int], error: OSError) -> NodeError:
    return NodeError(f"cannot listen on {address[0]} port {address[1]}: {error.strerror or error}")


def answers(port: socket.socket, own_title: str) -> bool:
    """Tell whether an association request to a listening socket is answered within ``SELF_CHECK`` seconds."""
    host, number = port.getsockname()[:2]
    request = pdu.associate_request(own_title)
    host = _OWN_HOST.get(host, host)
    with contextlib.suppress(OSError), socket.create_connection((host, number), SELF_CHECK) as connection:
        connection.sendall(request)
        return connection.recv(1) == bytes([pdu.ASSOCIATE_RJ])
    return False


class Listener:
    """Accepts the connections to one listening socket."""

    def __init__(self, port: socket.socket, *, wire: Wire, places: Places, own_title: str) -> None:
        """Take an open port, which it closes when it stops. ``own_title`` is what the node's own check calls as."""
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
            raise _taken(self._port.getsockname()[:2], error) from error
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
        self, *args: Any, port: socket.socket, wire: Wire, places: Places, own_title: str, **options: Any
    ) -> None:
        self.wire = wire
        self.draining = False
        self.own_title = own_title
        self.turned_at = time.monotonic()
        self._port = port
        self._places = places
        self._lock = threading.Lock()
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
        return super().get_request()

    def living(self) -> list[NodeAssociation]:
        """Return the associations whose threads run; the others give up their places."""
        with self._lock:
            ended = [assoc for assoc in self._associations if not (assoc.is_alive() or assoc.dul.is_alive())]
            for assoc in ended:
                self._places.leave(self._associations.pop(assoc))
            return list(self._associations)

    def start_association(self, assoc: NodeAssociation, connection: Any) -> bool:
        """Start an association, unless there are too many or the node is stopping; tell which."""
        deadline = time.monotonic() + ENDING
        while not self.draining:
            self.living()
            with self._lock:
                if not self.draining and self._places.promote(self._knocking[connection]):
                    assoc.start()
                    self._associations[assoc] = self._knocking.pop(connection)
                    return True
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        return False

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
        place = self._places.take(address)
        if place is None:
            log.warning("connection.refused", peer=address, reason="too many connections at once")
            self.shutdown_request(request)
            return
        with self._lock:
            self._knocking[request] = place
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection up to its association; then it no longer knocks."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
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
            if self.server.start_association(assoc, connection):
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
