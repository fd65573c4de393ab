"""The sub-operations of a C-GET or C-MOVE: what becomes of each, and how they reach their receiver (PS3.4 C.4.2.3)."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from dicom_node.dimse import status
from dicom_node.dimse.pdu import Command
from dicom_node.index.retrieve import Selected

UNREADABLE = "an instance cannot be read from the archive"
"""Why an instance failed that never left; the log says more."""

Read = Callable[[Selected], Iterator[bytes]]
"""The use case: hands out one data set in pieces; b"" says that there is none yet."""


def without_context(selected: Selected, taken: Iterable[tuple[str, str]]) -> str:
    """Say why an instance has no presentation context among those ``taken`` (SOP class, transfer syntax)."""
    if any(sop_class == selected.sop_class_uid for sop_class, _ in taken):
        return f"not taken in transfer syntax {selected.transfer_syntax_uid}"
    return f"SOP class not taken: {selected.sop_class_uid}"


class Counts(NamedTuple):
    """Sub-operations by what became of them (PS3.7 9.3.3.2, 9.3.4.2)."""

    remaining: int = 0
    completed: int = 0
    failed: int = 0
    warned: int = 0


class Tally:
    """What becomes of the sub-operations of one request. Safe to use from two threads."""

    def __init__(self) -> None:
        """Begin with none."""
        self._news = threading.Condition()
        self._closed = False
        self.counts = Counts()
        self.size = 0
        """Bytes of the data sets that were taken."""
        self.failed_uids: list[str] = []
        self.reason = ""
        """Why the first one failed; no patient data."""

    def expect(self, count: int) -> None:
        """Say how many there will be."""
        self.counts = Counts(remaining=count)

    def fail(self, selected: Selected, reason: str) -> None:
        """Count an instance that was not sent, or not taken."""
        with self._news:
            if self._closed:
                return
            remaining, completed, failed, warned = self.counts
            self.counts = Counts(remaining - 1, completed, failed + 1, warned)
            self.failed_uids.append(selected.sop_instance_uid)
            self.reason = self.reason or reason
            self._news.notify_all()

    def hear(self, selected: Selected, code: int) -> None:
        """Count an instance by the status of its C-STORE response."""
        if not status.is_taken(code):
            self.fail(selected, f"the receiver refused an instance with {code:04X}")
            return
        warning = status.is_warning(code)
        with self._news:
            if self._closed:
                return
            remaining, completed, failed, warned = self.counts
            self.counts = Counts(remaining - 1, completed + (not warning), failed, warned + warning)
            self.size += selected.size
            self._news.notify_all()

    def close(self) -> None:
        """Count no more."""
        with self._news:
            self._closed = True
            self._news.notify_all()

    def wait(self, told: Counts, seconds: float) -> None:
        """Wait until something else than ``told`` can be told, for so long at most."""
        with self._news:
            self._news.wait_for(lambda: self._closed or self.counts != told, seconds)


class Way(Protocol):
    """How instances reach their receiver. All but ``abandon`` is called from the receiver's thread."""

    @property
    def waits(self) -> bool:
        """Tell whether there is nothing to send before the peer has said something."""

    @property
    def is_inside_message(self) -> bool:
        """Tell whether the peer has a part of a message, so that nothing but the rest of it may follow."""

    def send(self, selected: Sequence[Selected], tally: Tally, is_cancelled: Callable[[], bool]) -> Iterator[bytes]:
        """Send the instances and count each; yield units for the peer, b"" whenever it should be listened to.

        Ends early when the request is cancelled. Raises NodeError when not even the first could be tried.
        """

    def hear(self, command: Command) -> bool:
        """Take the peer's response to a request of ours; tell whether it was one. Raises ProtocolError."""

    def abandon(self) -> None:
        """Give up at once. May be called from any thread and more than once."""
