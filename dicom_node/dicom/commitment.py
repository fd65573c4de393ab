"""Storage commitment as data sets: what a request names, and what the report says of each (PS3.4 annex J)."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from dicom_node.dicom.identifiers import Element, Encoding, read_elements, write_element, write_sequence
from dicom_node.dicom.uids import is_uid
from dicom_node.errors import InvalidActionError, InvalidQueryError

LARGEST = 1 << 20
"""Longest action information that is read, in bytes; 5,000 instances take some 600,000."""

MOST_ELEMENTS = 40_000
"""Most elements of action information; an instance takes two."""

_RETRIEVE_AE, _TRANSACTION_UID = 0x00080054, 0x00081195
_CLASS_UID, _INSTANCE_UID, _FAILURE_REASON = 0x00081150, 0x00081155, 0x00081197
_FAILED_SOP_SEQUENCE, _REFERENCED_SOP_SEQUENCE = 0x00081198, 0x00081199


class FailureReason(IntEnum):
    """Why an instance is not committed to: Failure Reason (0008,1197), PS3.3 C.14.1.1."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    DUPLICATE_TRANSACTION_UID = 0x0131
    RESOURCE_LIMITATION = 0x0213


class Reference(NamedTuple):
    """An instance as a request names it."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Request:
    """The action information of an N-ACTION: what the sender wants to be safe."""

    transaction_uid: str
    references: tuple[Reference, ...]
    """One or more."""


@dataclass(frozen=True, slots=True)
class Report:
    """The event information of an N-EVENT-REPORT: the answer for each instance, in the order of the request."""

    transaction_uid: str
    held: Sequence[Reference]
    failed: Sequence[tuple[Reference, FailureReason]]

    @property
    def event_type(self) -> int:
        """Event Type ID: 1 when everything is held, 2 when there are failures (PS3.4 J.3.3)."""
        return 2 if self.failed else 1


def read_request(data: bytes, encoding: Encoding) -> Request:
    """Read action information (PS3.4 table J.3-1). Raises InvalidActionError when it is not whole or lacks something.

    Elements that a report does not need are passed over.
    """
    if not data:
        raise InvalidActionError("the action information is missing")
    try:
        read = read_elements(data, encoding, largest=LARGEST, most_elements=MOST_ELEMENTS)
    except InvalidQueryError:
        raise InvalidActionError("the action information cannot be read") from None
    elements = {element.tag: element for element in read}
    transaction_uid = _text(elements.get(_TRANSACTION_UID))
    if not is_uid(transaction_uid):
        raise InvalidActionError("Transaction UID is missing or no UID")
    sequence = elements.get(_REFERENCED_SOP_SEQUENCE)
    if sequence is None or not sequence.items:
        raise InvalidActionError("Referenced SOP Sequence is missing or empty")
    return Request(transaction_uid, tuple(_reference(item) for item in sequence.items))


def _reference(item: tuple[Element, ...]) -> Reference:
    elements = {element.tag: element for element in item}
    found = Reference(_text(elements.get(_CLASS_UID)), _text(elements.get(_INSTANCE_UID)))
    # What has the letters of a UID and breaks its rules is no instance that anybody holds: the report says so.
    if not all(0 < len(uid) <= 64 and not uid.strip("0123456789.") for uid in found):
        raise InvalidActionError("a referenced SOP class or instance UID is missing or no UID")
    return found


def _text(element: Element | None) -> str:
    return "" if element is None else element.value.decode("ascii", "replace").strip(" \0")


def write_report(report: Report, encoding: Encoding, *, retrieve_ae: str) -> bytes:
    """Write event information (PS3.4 table J.3-2); ``retrieve_ae`` is the AE title that the held can be had from."""
    parts = [
        write_element(_RETRIEVE_AE, "AE", retrieve_ae.encode("ascii"), encoding),
        _uid(_TRANSACTION_UID, report.transaction_uid, encoding),
    ]
    if report.failed:
        items = [_item(reference, encoding) + _reason(reason, encoding) for reference, reason in report.failed]
        parts.append(write_sequence(_FAILED_SOP_SEQUENCE, items, encoding))
    if report.held:
        items = [_item(reference, encoding) for reference in report.held]
        parts.append(write_sequence(_REFERENCED_SOP_SEQUENCE, items, encoding))
    return b"".join(parts)


def _item(reference: Reference, encoding: Encoding) -> bytes:
    sop_class, sop_instance = reference
    return _uid(_CLASS_UID, sop_class, encoding) + _uid(_INSTANCE_UID, sop_instance, encoding)


def _reason(reason: FailureReason, encoding: Encoding) -> bytes:
    return write_element(_FAILURE_REASON, "US", struct.pack(encoding.order + "H", reason), encoding)


def _uid(tag: int, uid: str, encoding: Encoding) -> bytes:
    return write_element(tag, "UI", uid.encode("ascii"), encoding)
