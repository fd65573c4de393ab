"""C-FIND between the receiver and the find use case (PS3.4 C.4.1): reads the request, words and encodes the answers.

A page of records becomes one buffer of whole units, the final response at the end of the last. Between two of them the
receiver listens to the peer: a C-CANCEL ends the query with a word, an abort, a release or a broken connection without.
"""

import contextlib
import struct
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # pynetdicom makes these names at run time
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
)

from dicom_node.dicom.answers import AnswerEncoder
from dicom_node.dicom.extended import Extended
from dicom_node.dicom.identifiers import encoding_of
from dicom_node.dicom.query import Query, Root, parse_query
from dicom_node.dimse import pdu, status
from dicom_node.dimse.pdu import Command, ProtocolError
from dicom_node.dimse.serving import AcceptedContext, Link
from dicom_node.dimse.status import Status
from dicom_node.errors import NodeError
from dicom_node.index.find import Page

PENDING, PENDING_UNSUPPORTED_KEYS, CANCELLED = 0xFF00, 0xFF01, Status(0xFE00)

C_FIND_RSP = 0x8020
_UNIT_HEADER = struct.Struct(">BBLLBB")
_ELEMENT = struct.Struct("<HHL")
_NUMBERS = struct.Struct("<" + 4 * "HHLH")  # four elements of a command set

_ROOTS = {
    PatientRootQueryRetrieveInformationModelFind: Root.PATIENT,
    StudyRootQueryRetrieveInformationModelFind: Root.STUDY,
}

Find = Callable[[Query], Iterator[Page]]
"""The use case."""


class FindScp:
    """Serves the C-FIND requests of one association."""

    def __init__(
        self, *, contexts: Mapping[int, AcceptedContext], link: Link, log: Any, find: Find, retrieve_ae: str
    ) -> None:
        """Serve under those of ``contexts`` (by id) that are of queries.

        ``retrieve_ae`` is the AE title that objects can be retrieved from.
        """
        self._contexts = contexts
        self._link = link
        self._log = log
        self._find = find
        self._retrieve_ae = retrieve_ae

    def begin(self, command: Command, context_id: int, data_set: bytes) -> "Answering":
        """Begin to answer a C-FIND-RQ. Raises ProtocolError when the presentation context is none of queries."""
        context = self._contexts.get(context_id)
        if context is None or context.sop_class_uid not in _ROOTS:
            raise ProtocolError("a query arrived in a presentation context of something else")
        encoding = encoding_of(context.transfer_syntax_uid)
        extended = Extended.of(self._link.extended.get(context.sop_class_uid, b""))

        def read() -> tuple[Query, AnswerEncoder, Iterator[Page]]:
            query = parse_query(data_set, encoding, _ROOTS[context.sop_class_uid], extended)
            return query, AnswerEncoder(query, encoding, retrieve_ae=self._retrieve_ae), self._find(query)

        responses = _Responses(context.sop_class_uid, command.message_id, context_id, self._link.maximum_length)
        return Answering(read, responses, self._log, record=partial(self._record, context.sop_class_uid))

    def _record(self, sop_class_uid: str, query: Query | None, matches: int, final: str) -> None:
        """Tell the audit trail of a query that has ended; of one that could not be read, that it was made."""
        self._link.audit.queried(
            sop_class_uid=sop_class_uid,
            level=query.level.name if query else "",
            keywords=query.keywords if query else (),
            matches=matches,
            status=final,
        )


class Answering:
    """One query on its way out. ``next`` is called from one thread, ``abandon`` from any."""

    waits = gives_way = False

    def __init__(
        self,
        read: Callable[[], tuple[Query, AnswerEncoder, Iterator[Page]]],
        responses: "_Responses",
        log: Any,
        *,
        record: Callable[[Query | None, int, str], None] = lambda _query, _matches, _status: None,
    ) -> None:
        """Answer what ``read`` makes of the request; it raises what is wrong with it.

        ``record`` is told the query, how many matches were sent and the final status in hexadecimal, at the end.
        """
        self._record = record
        self._query: Query | None = None
        self._read = read
        self._responses = responses
        self._log = log
        self._began = time.monotonic()
        self._level = ""
        self._matches = 0
        self._final: Status | None = None
        self._cancelled = self._abandoned = self._told = False
        self._details: dict[str, Any] = {}
        self._write: Callable[..., None] = log.info
        self._pending = self._answers()

    def next(self) -> bytes | None:
        """Return the next units to send, the final response at the end of the last; None when all was returned."""
        if self._final is not None or self._abandoned:
            self._end()
            return None
        units = b""
        try:
            if self._cancelled:
                self._final = CANCELLED
            else:
                units = next(self._pending)
        except NodeError as error:
            self._final = status.of_find_error(error)
            self._write, self._details = self._log.warning, {"reason": str(error)}
        except Exception as error:  # noqa: BLE001 # its text is not the peer's to read, it may be patient data
            self._final = status.of_find_error(error)
            self._write, self._details = self._log.error, {"exc_info": error}
        return units if self._final is None else units + self._responses.final(self._final)

    def cancel(self, message_id: int) -> None:
        """End with the next units if it is this query that the peer cancelled."""
        self._cancelled = self._cancelled or message_id == self._responses.message_id

    def hear(self, _command: Command) -> bool:
        """Take no response: a query asks the peer for nothing."""
        return False

    def abandon(self) -> None:
        """End without a word: nobody is there to hear it."""
        self._abandoned = True
        self._end()

    def _answers(self) -> Generator[bytes, None, None]:
        """Yield the pending responses, page by page; the final status is set with the last."""
        query, encoder, pages = self._read()
        self._query, self._level = query, query.level.name
        code = PENDING_UNSUPPORTED_KEYS if query.has_unsupported_keys else PENDING
        for page in pages:
            units = self._responses.pending(code, map(encoder.encode, page.records))
            self._matches += len(page.records)
            if page.is_last:
                self._final = status.SUCCESS
            yield units
        self._final = status.SUCCESS
        yield b""

    def _end(self) -> None:
        """End the search, and write to the log what became of it, once."""
        if self._told:
            return
        with contextlib.suppress(ValueError):  # the other thread is at it and will not be asked for more
            self._pending.close()
        self._told = True
        final = "" if self._final is None else f"{self._final.code:04X}"
        self._record(self._query, self._matches, final)
        self._write(
            "query.answered",
            query_level=self._level,
            matches=self._matches,
            status=final,
            seconds=round(time.monotonic() - self._began, 3),
            **self._details,
        )


class _Responses:
    """Encodes the C-FIND-RSP messages to one request as whole units."""

    def __init__(self, sop_class_uid: str, message_id: int, context_id: int, maximum_length: int) -> None:
        self.message_id = message_id
        uid = sop_class_uid.encode("ascii")
        uid += b"\0" * (len(uid) % 2)
        self._head = _ELEMENT.pack(0, 0x0002, len(uid)) + uid
        self._context_id = context_id
        self._maximum_length = maximum_length

    def pending(self, code: int, identifiers: Iterable[bytes]) -> bytes:
        """Encode a pending response with each identifier."""
        command = self._command(Status(code), has_identifier=True)
        longest = self._maximum_length - pdu.PDV_HEADER_LENGTH if self._maximum_length else 1 << 31
        parts: list[bytes] = []
        for identifier in identifiers:
            size = len(identifier)
            if size <= longest:  # what data_units does, at a third of the price
                header = _UNIT_HEADER.pack(pdu.DATA_TF, 0, size + 6, size + 2, self._context_id, 2)
                parts += (command, header, identifier)
            else:
                parts += (command, self._units(identifier, is_command=False))
        return b"".join(parts)

    def final(self, final: Status) -> bytes:
        """Encode the final response."""
        return self._command(final, has_identifier=False)

    def _command(self, answer: Status, *, has_identifier: bool) -> bytes:
        """Encode a command set (PS3.7 9.3.2.2)."""
        kind = pdu.NO_DATA_SET - has_identifier  # any other number: an identifier follows
        comment = answer.comment.encode("ascii", "replace")
        comment += b" " * (len(comment) % 2)
        parts = [
            self._head,
            _NUMBERS.pack(
                *(0, 0x0100, 2, C_FIND_RSP),
                *(0, 0x0120, 2, self.message_id),
                *(0, 0x0800, 2, kind),
                *(0, 0x0900, 2, answer.code),
            ),
        ]
        if comment:
            parts.append(_ELEMENT.pack(0, 0x0902, len(comment)) + comment)
        body = b"".join(parts)
        return self._units(_ELEMENT.pack(0, 0, 4) + len(body).to_bytes(4, "little") + body, is_command=True)

    def _units(self, data: bytes, *, is_command: bool) -> bytes:
        return pdu.data_units(self._context_id, data, is_command=is_command, maximum_length=self._maximum_length)
