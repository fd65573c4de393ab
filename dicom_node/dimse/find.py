"""C-FIND between the library and the find use case (PS3.4 C.4.1).

The library negotiates, decodes the request's command and sends the final response. The pending ones leave from here: a
page of records becomes one buffer of whole units, sent through the association's own socket, because building each
response by the library costs a hundred times as much. Nothing else is sent on an association while its request is being
served. Between two pages the peer is listened to: a C-CANCEL, an abort or a release ends the query.
"""

import struct
import time
from collections.abc import Callable, Iterator

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # pynetdicom makes these names at run time
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
)

from dicom_node.dicom.answers import AnswerEncoder
from dicom_node.dicom.identifiers import encoding_of
from dicom_node.dicom.query import Query, Root, parse_query
from dicom_node.dimse import pdu, status
from dicom_node.dimse.status import Status
from dicom_node.errors import NodeError
from dicom_node.logs import get_logger

log = get_logger(__name__)

C_FIND_RSP = 0x8020
PENDING, PENDING_UNSUPPORTED_KEYS, CANCELLED = 0xFF00, 0xFF01, Status(0xFE00)

_ROOTS = {
    PatientRootQueryRetrieveInformationModelFind: Root.PATIENT,
    StudyRootQueryRetrieveInformationModelFind: Root.STUDY,
}

Find = Callable[[Query], Iterator[list[dict[str, str]]]]
"""The use case: pages of records, keyword to text."""

Handler = Callable[[evt.Event], Iterator[tuple[Dataset, None]]]


def find_handler(find: Find, *, retrieve_ae: str) -> Handler:
    """Return the handler of ``evt.EVT_C_FIND``. ``retrieve_ae`` is the AE title objects can be retrieved from.

    It sends the pending responses itself and yields at most the final one, 0xFE00, 0xA700, 0xA900 or 0xC001 with an
    Error Comment; where it yields nothing the library ends with 0x0000.
    """

    def handle(event: evt.Event) -> Iterator[tuple[Dataset, None]]:
        final = _Answering(event, find, retrieve_ae).run()
        if final is not None and final.code != status.SUCCESS.code:
            yield _final_response(final), None

    return handle


class _Answering:
    """One query on its way out."""

    def __init__(self, event: evt.Event, find: Find, retrieve_ae: str) -> None:
        self._event = event
        self._find = find
        self._retrieve_ae = retrieve_ae
        self._matches = 0
        self._level = ""

    def run(self) -> Status | None:
        """Send every pending response; return the final status, None when nobody is there to hear it."""
        began = time.monotonic()
        write: Callable[..., None] = log.info
        details: dict[str, object] = {}
        try:
            final = self._answer()
        except NodeError as error:
            final = status.of_find_error(error)
            write, details = log.warning, {"reason": str(error)}
        except Exception as error:  # noqa: BLE001 # the library would log its text, which may be patient data
            final = status.of_find_error(error)
            write, details = log.error, {"exc_info": True}
        requestor = self._event.assoc.requestor
        write(
            "query.answered",
            calling_ae=requestor.ae_title,
            peer=requestor.address,
            query_level=self._level,
            matches=self._matches,
            status="" if final is None else f"{final.code:04X}",
            seconds=round(time.monotonic() - began, 3),
            **details,
        )
        return final

    def _answer(self) -> Status | None:
        event, assoc = self._event, self._event.assoc
        context, request, connection = event.context, event.request, assoc.dul.socket
        if not isinstance(request, C_FIND) or connection is None:
            raise TypeError("bound to an event that is no C-FIND of an association")
        encoding = encoding_of(context.transfer_syntax)
        identifier = request.Identifier.getvalue() if request.Identifier is not None else b""
        query = parse_query(identifier, encoding, _ROOTS[context.abstract_syntax])
        self._level = query.level.name
        encoder = AnswerEncoder(query, encoding, retrieve_ae=self._retrieve_ae)
        room = assoc.requestor.maximum_length or 0
        command = pdu.data_units(
            context.context_id,
            _pending_command(
                str(request.AffectedSOPClassUID),
                request.MessageID or 0,
                PENDING_UNSUPPORTED_KEYS if query.has_unsupported_keys else PENDING,
            ),
            is_command=True,
            maximum_length=room,
        )
        for page in self._find(query):
            if event.is_cancelled:
                return CANCELLED
            if _has_left(assoc):
                return None
            units = bytearray()
            for record in page:
                units += command
                units += pdu.data_units(
                    context.context_id, encoder.encode(record), is_command=False, maximum_length=room
                )
            if units:
                connection.send(bytes(units))
                self._matches += len(page)
        return status.SUCCESS


def _has_left(assoc: Association) -> bool:
    """Tell whether the peer, or the node itself, ended the association."""
    ended = assoc.acse.is_aborted() or assoc.acse.is_release_requested()
    return ended or not assoc.is_established or not assoc.dul.is_alive()


def _pending_command(sop_class_uid: str, message_id: int, code: int) -> bytes:
    """Encode the command set of a pending C-FIND-RSP (PS3.7 9.3.2.2), the same for every answer to one query."""
    uid = sop_class_uid.encode("ascii")
    values = {
        0x0002: uid + b"\0" * (len(uid) % 2),
        0x0100: struct.pack("<H", C_FIND_RSP),
        0x0120: struct.pack("<H", message_id),
        0x0800: struct.pack("<H", pdu.NO_DATA_SET - 1),  # anything else: an identifier follows
        0x0900: struct.pack("<H", code),
    }
    body = b"".join(struct.pack("<HHL", 0, element, len(value)) + value for element, value in values.items())
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def _final_response(final: Status) -> Dataset:
    response = Dataset()
    response.Status = final.code
    if final.comment:
        response.ErrorComment = final.comment
    return response
