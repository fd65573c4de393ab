"""What a channel is: a way to people, with an outcome for each of them."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from dicom_node.accreditation.reminders import Severity
from dicom_node.alerts.phrases import one_line
from dicom_node.alerts.render import Message


class Result(StrEnum):
    """How an attempt to deliver ended."""

    DELIVERED = "delivered"
    """The other side took it."""
    REFUSED = "refused"
    """The other side will not take it; trying again is pointless."""
    RETRY = "retry"
    """Not now, or nobody can tell: to be tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result for one recipient, with the reason in words when it was not delivered."""

    result: Result
    reason: str = ""


class Channel(Protocol):
    """A way to deliver messages. ``send`` may take as long as its time limit and is called from one thread."""

    @property
    def name(self) -> str:
        """The name in the configuration, unique."""

    @property
    def min_severity(self) -> Severity:
        """The least severity this channel is for."""

    @property
    def recipients(self) -> tuple[str, ...]:
        """Whom it reaches; ``("",)`` for a channel that is its own recipient."""

    def send(self, message: Message, recipients: Sequence[str]) -> Mapping[str, Outcome]:
        """Deliver to some of the recipients and return an outcome for each; a failure is an outcome, not raised."""


DELIVERED = Outcome(result=Result.DELIVERED)


def short(text: str) -> str:
    """Return a peer's text as one line of at most 200 printable characters."""
    return one_line(text)[:200]


def refused(reason: str) -> Outcome:
    """Return a refusal with its reason."""
    return Outcome(result=Result.REFUSED, reason=short(reason))


def retry(reason: str) -> Outcome:
    """Return a failure that may pass, with its reason."""
    return Outcome(result=Result.RETRY, reason=short(reason))


def describe(error: Exception) -> str:
    """Say in words what a network error was."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return short(error.strerror)
    return short(str(error)) or type(error).__name__


@contextlib.contextmanager
def time_limit(seconds: float, connection: Callable[[], socket.socket | None]) -> Iterator[None]:
    """Shut the connection down when the block takes longer than ``seconds``.

    A socket's own timeout starts anew with every byte; a peer that drips would hold a sender without end.
    """

    def cut() -> None:
        sock = connection()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
