"""What the receiver needs of the services it serves itself: C-STORE and C-FIND."""

from typing import Protocol

from dicom_node.dimse.pdu import Command


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
    """A query that is being answered."""

    def next(self) -> bytes | None:
        """Return the next units for the peer, perhaps none; None when all were returned. Never raises."""

    def cancel(self, message_id: int) -> None:
        """Take note of a C-CANCEL for the request of this number."""

    def abandon(self) -> None:
        """Forget the query. May be called at any time, from any thread, and more than once."""


class FindService(Protocol):
    """What the receiver needs of the use case behind C-FIND."""

    def begin(self, command: Command, context_id: int, identifier: bytes) -> Answers:
        """Begin to answer a C-FIND-RQ that arrived in the presentation context. Raises ProtocolError."""
