"""The requests of one association that the node serves itself, but for C-STORE."""

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
        return self._answers is not None and self._answers.waits

    @property
    def has_errand(self) -> bool:
        """Tell whether something could be said in a quiet moment."""
        return bool(self._errands) and not self._errands[0].waits

    def begin(self, command: Command, context_id: int, data_set: bytes) -> None:
        """Begin to answer a request. Raises ProtocolError when it does not belong into its context."""
        service = self._services.get(command.field)
        if service is None:
            service = self._services[command.field] = self._makers[command.field]()
        self._answers = service.begin(command, context_id, data_set)

    def next(self) -> bytes:
        """Return the next units of the answer, perhaps none."""
        if self._answers is None:
            return b""
        units = self._answers.next()
        if units is None:
            self._answers = None
        elif self._answers.gives_way:
            self._errands.append(self._answers)
            self._answers = None
        return units or b""

    def run_errand(self) -> bytes:
        """Return the next units of what an answered request still has to say, perhaps none."""
        units = self._errands[0].next() if self._errands else None
        if units is None and self._errands:
            self._errands.popleft()
        return units or b""

    def cancel(self, message_id: int) -> None:
        """Take note of a C-CANCEL."""
        if self._answers is not None:
            self._answers.cancel(message_id)

    def hear(self, command: Command) -> bool:
        """Give the peer's response to whoever asked for it; tell whether anybody did. Raises ProtocolError."""
        asking = [*self._errands] if self._answers is None else [self._answers, *self._errands]
        return any(answers.hear(command) for answers in asking)

    def keep_order(self) -> None:
        """Raise ProtocolError when a request waits behind a response that it stands in front of."""
        if self.waits:
            raise ProtocolError("a request arrived where a response was due")

    def abandon(self) -> None:
        """Forget them all. May be called from any thread, and more than once."""
        answers, self._answers = self._answers, None
        if answers is not None:
            answers.abandon()
        while self._errands:
            self._errands.popleft().abandon()
