"""What the receiver needs of pynetdicom beyond its documented interface, looked at before the node listens.

The receiver hangs on names and ways of the library that a release may move without a word: then the node must not
start, rather than lose its tongue in the middle of an exam. Names are looked up; ways are tried by one whole
association over the loopback, from the request to the release.
"""

import socket
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Never

import pynetdicom
from pynetdicom import AE, evt
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import StateMachine
from pynetdicom.transport import AssociationServer, AssociationSocket, RequestHandler, ThreadedAssociationServer

from dicom_node.dimse import pdu
from dicom_node.dimse.access import AccessList, Admission
from dicom_node.dimse.association import NodeAssociation, Wire
from dicom_node.dimse.contexts import ContextTable
from dicom_node.dimse.items import encode_item
from dicom_node.dimse.limits import Limits
from dicom_node.dimse.negotiation import negotiate, parse_association_request
from dicom_node.errors import LibraryError

TESTED = "3.0.4"
"""The release of pynetdicom that this release of the node was tested with."""

PATIENCE = 5.0
"""Seconds for each answer of the rehearsal; it comes within a few milliseconds."""

_VERIFICATION, _IMPLICIT = b"1.2.840.10008.1.1", b"1.2.840.10008.1.2"
_ECHO_NUMBERS = ((0x0100, 0x0030), (0x0110, 1), (0x0800, pdu.NO_DATA_SET))
_RELEASE_RP = 0x06

_NAMES: tuple[tuple[type, tuple[str, ...]], ...] = (
    (Association, ("_run_reactor", "abort", "bind", "kill", "set_socket")),
    (DULServiceProvider, ("_is_transport_event", "_process_recv_primitive", "_read_pdu_data", "receive_pdu")),
    (AssociationSocket, ("close", "event_queue", "provider_queue", "ready", "recv", "send")),
    (StateMachine, ("do_action",)),
    (ACSE, ("negotiate_association",)),
    (AssociationServer, ("process_request", "server_bind", "server_close", "service_actions", "shutdown_request")),
    (ThreadedAssociationServer, ("process_request_thread",)),
    (RequestHandler, ("ae", "handle")),
)

_WAYS = (
    "_reactor_checkpoint.wait",
    "acceptor.supported_contexts",
    "dul._run_loop_delay",
    "dul.event_queue.empty",
    "dul.state_machine.current_state",
    "dul.to_provider_queue.not_empty",
    "requestor.maximum_length",
)
"""Attributes of an association that was just made."""


@cache
def check() -> None:
    """Look at every seam, once in a process. Raises LibraryError, which says what was expected and what to install."""
    missing = next(_missing(), None)
    if missing is not None:
        raise _moved(f"it has no {missing}")
    try:
        _rehearse()
    except Exception as error:
        raise _moved(f"an association on trial failed ({error or type(error).__name__})") from error


def _moved(what: str) -> LibraryError:
    return LibraryError(
        f"pynetdicom {pynetdicom.__version__} is not as the receiver needs it: {what}; "
        f"install pynetdicom {TESTED}, with which this release was tested"
    )


def _missing() -> Iterator[str]:
    for owner, names in _NAMES:
        yield from (f"{owner.__name__}.{name}" for name in names if not hasattr(owner, name))
    association = Association(AE(), "acceptor")
    for way in _WAYS:
        at: object = association
        for name in way.split("."):
            if not hasattr(at, name):
                yield f"Association.{way}"
                break
            at = getattr(at, name)


class _Trial(NodeAssociation):
    """An association that is no news."""

    def _on_accepted(self, _event: evt.Event) -> None:
        pass

    def _on_ended(self, _event: evt.Event, name: str) -> None:
        pass


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHL", 0, number, len(value)) + value


def _associate_request() -> bytes:
    """An A-ASSOCIATE-RQ that proposes verification (PS3.8 9.3.2)."""
    title = b"TRIAL".ljust(16)
    body = struct.pack(">HH16s16s32x", 1, 0, title, title) + encode_item(0x10, b"1.2.840.10008.3.1.1.1")
    body += encode_item(0x20, b"\1\0\0\0" + encode_item(0x30, _VERIFICATION) + encode_item(0x40, _IMPLICIT))
    body += encode_item(0x50, encode_item(0x51, struct.pack(">L", 16384)) + encode_item(0x52, b"2.25.1"))
    return struct.pack(">BxL", pdu.ASSOCIATE_RQ, len(body)) + body


def _echo_request() -> bytes:
    """A C-ECHO-RQ (PS3.7 9.3.5.1)."""
    uid = _element(0x0002, _VERIFICATION + b"\0")
    numbers = b"".join(_element(number, struct.pack("<H", value)) for number, value in _ECHO_NUMBERS)
    command = _element(0x0000, struct.pack("<L", len(uid + numbers))) + uid + numbers
    return pdu.data_units(1, command, is_command=True, maximum_length=0)


def _rehearse() -> None:
    """Open an association, verify and release it: what a device does, and all that the library does for the node."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), PATIENCE) as peer,
    ):
        connection, address = server.accept()
        association = _make_association(connection, address)
        association.start()
        try:
            _expect(peer, pdu.ASSOCIATE_AC, encode_item(0x21, b"\1\0\0\0" + encode_item(0x40, _IMPLICIT)))
            peer.sendall(_echo_request())
            _expect(peer, pdu.DATA_TF, _element(0x0900, b"\0\0"))
            peer.sendall(struct.pack(">BxL4x", pdu.RELEASE_RQ, 4))
            _expect(peer, _RELEASE_RP, b"")
        finally:
            peer.close()
            association.join(PATIENCE)
            association.dul.join(PATIENCE)
    if association.is_alive() or association.dul.is_alive():
        raise RuntimeError("it did not end")


def _expect(peer: socket.socket, kind: int, part: bytes) -> None:
    """Read one unit; raise RuntimeError when it is not of the kind, or does not hold the bytes, that were expected."""
    head = peer.recv(6, socket.MSG_WAITALL)
    body = peer.recv(int.from_bytes(head[2:6], "big"), socket.MSG_WAITALL)
    if head[:1] != bytes([kind]) or part not in body:
        raise RuntimeError(f"unit {head[:1].hex() or 'none'} instead of {kind:02x}")


def _no_service(**_: object) -> Never:
    raise AssertionError("an association on trial stores nothing and asks for nothing")


def _make_association(connection: socket.socket, address: tuple[str, int]) -> NodeAssociation:
    ae = AE()
    ae.network_timeout = None
    request, contexts, services = parse_association_request(_associate_request()), ContextTable(), frozenset({"echo"})
    return _Trial(
        ae=ae,
        server=None,
        connection=connection,
        addresses=(connection.getsockname(), address),
        request=request,
        admission=Admission(name="trial", services=services),
        negotiated=negotiate(request, contexts, services),
        wire=Wire(
            access=AccessList([], []),
            contexts=contexts,
            limits=Limits(),
            make_store=_no_service,
            services={},
            now=lambda: datetime.now(UTC),
        ),
        draining=lambda: False,
    )
