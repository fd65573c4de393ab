"""C-GET: the instances leave on the association of the request, one C-STORE after the other (PS3.4 C.4.3).

An instance goes out in a context of its own SOP class and transfer syntax in which the peer took the role of an SCP, or
not at all: nothing is converted.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dicom_node.dimse import pdu
from dicom_node.dimse.pdu import Command, ProtocolError
from dicom_node.dimse.retrieve import Request, Responses, Retrieving, Select, TransferRecord, context_of, read_retrieval
from dicom_node.dimse.serving import AcceptedContext, Link
from dicom_node.dimse.sub_operations import UNREADABLE, Read, Tally, without_context
from dicom_node.errors import ObjectDamagedError, StorageUnavailableError
from dicom_node.index.retrieve import Selected

_C_STORE_RSP = pdu.C_STORE_RQ | pdu.RESPONSE_BIT
_PRIORITY = 0x0700


class GetScp:
    """Serves the C-GET requests of one association."""

    def __init__(
        self, *, contexts: Mapping[int, AcceptedContext], link: Link, log: Any, select: Select, read: Read
    ) -> None:
        """Serve under those of ``contexts`` (by id) that are of C-GET, and send in those that give."""
        self._contexts = contexts
        self._link = link
        self._log = log
        self._select = select
        self._read = read

    def begin(self, command: Command, context_id: int, data_set: bytes) -> Retrieving:
        """Begin to answer a C-GET-RQ. Raises ProtocolError when the presentation context is none of C-GET."""
        context = context_of(self._contexts, context_id, command)

        def read() -> Request:
            retrieval = read_retrieval(command, context, data_set)
            return Request(
                retrieval, SameAssociation(command, self._contexts, self._link.maximum_length, self._read), ""
            )

        responses = Responses(command, context, context_id, self._link.maximum_length)
        record = TransferRecord(self._link.audit, self._link.calling_ae, self._link.peer)
        return Retrieving(read, self._select, responses, self._log, record)


class SameAssociation:
    """The way back to the peer that asks."""

    def __init__(
        self, command: Command, contexts: Mapping[int, AcceptedContext], maximum_length: int, read: Read
    ) -> None:
        """Send for the request ``command``."""
        self._contexts = {
            (context.sop_class_uid, context.transfer_syntax_uid): number
            for number, context in contexts.items()
            if context.gives
        }
        self._priority = command.number(_PRIORITY) or 0
        self._maximum_length = maximum_length
        self._read = read
        # The request's own number is in use until its final response.
        following = range(command.message_id + 1, command.message_id + 0xFFFF)
        self._numbers = itertools.cycle([number & 0xFFFF for number in following])
        self._number: int | None = None  # of the C-STORE that is under way
        self._answer: Command | None = None  # to it
        self.is_inside_message = False

    @property
    def waits(self) -> bool:
        """Tell whether the response to an instance is due."""
        return self._number is not None and self._answer is None and not self.is_inside_message

    def send(self, selected: Sequence[Selected], tally: Tally, is_cancelled: Callable[[], bool]) -> Iterator[bytes]:
        """Send the instances one by one; an instance that is under way when the request is cancelled is sent whole."""
        for each in selected:
            if is_cancelled():
                return
            context_id = self._contexts.get((each.sop_class_uid, each.transfer_syntax_uid))
            if context_id is None:
                tally.fail(each, without_context(each, self._contexts))
                continue
            pieces = self._read(each)
            try:
                while not (first := next(pieces)):  # the object is read and checked before
                    yield b""
                    if is_cancelled():
                        return
            except (ObjectDamagedError, StorageUnavailableError):
                tally.fail(each, UNREADABLE)
                continue
            yield from self._store(each, context_id, itertools.chain([first], pieces))
            if self._answer is not None:
                tally.hear(each, self._answer.status)
                self._number = None

    def _store(self, each: Selected, context_id: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield a C-STORE-RQ (PS3.7 9.3.1.1) with its data set, then nothing until it is answered."""
        self._number, self._answer = next(self._numbers), None
        elements: dict[int, int | str] = {
            0x0002: each.sop_class_uid,
            0x0110: self._number,
            _PRIORITY: self._priority,
            0x1000: each.sop_instance_uid,
        }
        command = pdu.command_set(pdu.C_STORE_RQ, elements, has_data_set=True)
        units = pdu.data_units(context_id, command, is_command=True, maximum_length=self._maximum_length)
        self.is_inside_message = True
        left = each.size
        for piece in pieces:
            left -= len(piece)
            units += pdu.data_units(
                context_id, piece, is_command=False, maximum_length=self._maximum_length, last=not left
            )
            self.is_inside_message = left > 0
            yield units
            units = b""
        while self._answer is None:
            yield b""

    def hear(self, command: Command) -> bool:
        """Take a C-STORE-RSP; it may come before the whole data set was sent. Raises ProtocolError on another's."""
        if command.field != _C_STORE_RSP:
            return False
        if command.message_id != self._number or self._answer is not None:
            raise ProtocolError("an instance was answered that was not sent")
        self._answer = command
        return True

    def abandon(self) -> None:
        """Give up: whoever closes the association ends all of it."""
