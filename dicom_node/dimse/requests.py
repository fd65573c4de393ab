"""The requests of one association that the node serves itself, but for C-STORE."""

import contextlib
from collections import deque
from collections.abc import Callable, Mapping

from dicom_node.dimse.pdu import Command, ProtocolError
from dicom_node.dimse.serving import Answers, RequestService


class Requests:
    """At most one request is being answered; what earlier ones still have to say waits for a quiet moment.

    Everything is called from the receiver's thread, but for ``abandon``.
    """

    def __init__(self, makers: Mapping[int, Callable[[], RequestService]]) -> None:
        """``makers`` make the service of a Command Field, once, when it is first asked for."""
        self._makers = makers
        self._services: dict[int, RequestService] = {}
        self._answers: Answers | None = None
        self._errands: deque[Answers] = deque()

    def serve(self, field: int) -> bool:
        """Tell whether requests with this Command Field are served here."""
        return field in self._makers

    @property
    def is_answering(self) -> bool:
        """Tell whether a request waits for its final response."""
        return self._answers is not None

    @property
    def waits(self) -> bool:
        """Tell whether the request that is being answered cannot go on before the peer says something."""
        answers = self._answers
        return answers is not None and answers.waits

    @property
    def has_errand(self) -> bool:
        """Tell whether something could be said in a quiet moment."""
        errand = next(iter([*self._errands]), None)
        return errand is not None and not errand.waits

    def begin(self, command: Command, context_id: int, data_set: bytes) -> None:
        """Begin to answer a request. Raises ProtocolError when it does not belong into its context."""
        service = self._services.get(command.field)
        if service is None:
            service = self._services[command.field] = self._makers[command.field]()
        self._answers = service.begin(command, context_id, data_set)

    def next(self) -> bytes:
        """Return the next units of the answer, perhaps none."""
        answers = self._answers
        units = answers.next() if answers is not None else None
        if answers is None or self._answers is not answers:  # abandoned, perhaps meanwhile
            return b""
        if units is None:
            self._answers = None
        elif answers.gives_way:
            self._errands.append(answers)
            self._answers = None
        return units or b""

    def run_errand(self) -> bytes:
        """Return the next units of what an answered request still has to say, perhaps none."""
        errand = next(iter([*self._errands]), None)
        units = errand.next() if errand is not None else None
        if units is None and errand is not None:
            with contextlib.suppress(ValueError):  # abandoned meanwhile
                self._errands.remove(errand)
        return units or b""

    def cancel(self, message_id: int) -> None:
        """Take note of a C-CANCEL."""
        answers = self._answers
        if answers is not None:
            answers.cancel(message_id)

    def hear(self, command: Command) -> bool:
        """Give the peer's response to whoever asked for it; tell whether anybody did. Raises ProtocolError."""
        answers = self._answers
        asking = [*self._errands] if answers is None else [answers, *self._errands]
        return any(each.hear(command) for each in asking)

    def keep_order(self) -> None:
        """Raise ProtocolError when a request waits behind a response that it stands in front of."""
        if self.waits:
            raise ProtocolError("a request arrived where a response was due")

    def abandon(self) -> None:
        """Forget them all. May be called from any thread, and more than once."""
        answers, self._answers = self._answers, None
        if answers is not None:
            answers.abandon()
        with contextlib.suppress(IndexError):  # another thread may take the last one
            while True:
                self._errands.popleft().abandon()
