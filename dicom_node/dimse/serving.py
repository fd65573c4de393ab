"""What the receiver needs of the services it serves itself, and what it tells them of the association."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from dicom_node.dimse.pdu import Command
from dicom_node.services.audit import AssociationAudit, NoTrail


@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """An accepted presentation context, and of storage who may send in it (PS3.7 D.3.3.4)."""

    sop_class_uid: str
    transfer_syntax_uid: str
    takes: bool = True
    """The node takes instances in it."""
    gives: bool = False
    """The peer takes instances in it: the node may send, as a C-GET asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a service may know of the association it serves."""

    name: str
    """The names the caller is listed under."""
    calling_ae: str
    called_ae: str
    peer: str
    """Textual address of the caller."""
    services: frozenset[str]
    """All the caller may do."""
    maximum_length: int
    """Longest P-DATA-TF body the peer takes, in bytes; 0 for any."""
    extended: Mapping[str, bytes]
    """Accepted application information by abstract syntax (PS3.7 D.3.3.5)."""
    audit: AssociationAudit = field(default_factory=lambda: AssociationAudit(NoTrail(), {}))


class Transfer(Protocol):
    """One instance on its way in. After ``finish`` or ``discard`` nothing of it is left in the spool."""

    def write(self, *data: memoryview) -> None:
        """Take the next bytes of the data set. Never raises: what went wrong is the answer of ``finish``.

        The views are into the receive buffer, valid until this returns.
        """

    def finish(self) -> tuple[int, str]:
        """Take custody; return the status and the Error Comment for the response."""

    def discard(self) -> None:
        """Forget the instance. May be called at any time and more than once."""


class StoreService(Protocol):
    """What the receiver needs of the use case behind C-STORE."""

    def begin(self, command: Command, context_id: int) -> Transfer:
        """Open a transfer for a C-STORE-RQ that arrived in the presentation context."""


class Answers(Protocol):
    """A request that is being answered."""

    @property
    def waits(self) -> bool:
        """Tell whether there is nothing to send before the peer has said something."""

    @property
    def gives_way(self) -> bool:
        """Tell whether the final response has left, and what is still to be said may wait for the peer's requests."""

    def next(self) -> bytes | None:
        """Return the next units for the peer, perhaps none; None when all is said. Never raises.

        Takes some fifty milliseconds at most, so that the peer is listened to meanwhile.
        """

    def cancel(self, message_id: int) -> None:
        """Take note of a C-CANCEL for the request of this number."""

    def hear(self, command: Command) -> bool:
        """Take the peer's response to a request of the node's own; tell whether it was one. Raises ProtocolError."""

    def abandon(self) -> None:
        """Forget the request. May be called at any time, from any thread, and more than once."""


class RequestService(Protocol):
    """What the receiver needs of the use case behind a request that is no C-STORE."""

    def begin(self, command: Command, context_id: int, data_set: bytes) -> Answers:
        """Begin to answer a request that arrived in the presentation context. Raises ProtocolError."""


class ServiceMaker(Protocol):
    """Makes such a service for one association."""

    def __call__(self, *, contexts: Mapping[int, AcceptedContext], link: Link, log: Any) -> RequestService:
        """Serve under those of the accepted ``contexts`` that are the service's own."""
