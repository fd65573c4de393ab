"""What is read from an association request, and what is answered without the library."""

import struct

import pytest
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.presentation import PresentationContext

from dicom_node.dimse.contexts import ContextTable
from dicom_node.dimse.negotiation import AssociationRequest, Negotiated, negotiate, parse_association_request
from dicom_node.dimse.pdu import ProtocolError
from tests import raw_peer
from tests.raw_peer import EXPLICIT, IMPLICIT, MAMMOGRAM, STUDY_ROOT_FIND, VERIFICATION

UNKNOWN_SYNTAX = "1.2.3.4.6"
PRIVATE = "1.2.3.4.5"
ALL = frozenset({"echo", "find", "store"})


def request_for(*contexts: tuple[str, list[str]]) -> AssociationRequest:
    return parse_association_request(raw_peer.associate_request(b"UNIT", b"NODE", contexts))


def acceptance(*contexts: tuple[int, str]) -> bytes:
    """The library's A-ASSOCIATE-AC for contexts by id and transfer syntax."""
    body = struct.pack(">HH64x", 1, 0) + raw_peer.item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, syntax in contexts:
        body += raw_peer.item(0x21, bytes([number, 0, 0, 0]) + raw_peer.item(0x40, syntax.encode()))
    body += raw_peer.item(0x50, raw_peer.item(0x51, struct.pack(">L", 16384)) + raw_peer.item(0x52, b"1.2.3"))
    return struct.pack(">BBL", 2, 0, len(body)) + body


def read_by_library(negotiated: Negotiated, *contexts: tuple[int, str]) -> list[PresentationContext]:
    unit = A_ASSOCIATE_AC()
    unit.decode(negotiated.complete(acceptance(*contexts)))
    return unit.to_primitive().presentation_context_definition_results_list


def test_titles_padded_with_nul_are_tidied_and_odd_bytes_are_shown() -> None:
    request = raw_peer.associate_request(b"UNIT\0\0\0\0\0\0\0\0\0\0\0\0", b"NODE\xe4", [])
    parsed = parse_association_request(request)
    assert (parsed.calling_ae, parsed.called_ae) == ("UNIT", "NODE?")
    assert parsed.proposing([])[26:42] == b"UNIT            "


def test_proposals_are_read_and_what_is_written_again_is_what_came() -> None:
    data = raw_peer.associate_request(b"UNIT", b"NODE", [(MAMMOGRAM, [EXPLICIT, IMPLICIT]), (VERIFICATION, [IMPLICIT])])
    parsed = parse_association_request(data)
    assert [(each.context_id, each.abstract_syntax, each.transfer_syntaxes) for each in parsed.proposals] == [
        (1, MAMMOGRAM, (EXPLICIT, IMPLICIT)),
        (3, VERIFICATION, (IMPLICIT,)),
    ]
    assert parsed.proposing(list(parsed.proposals)) == data


def test_uids_are_read_without_their_padding() -> None:
    parsed = request_for((MAMMOGRAM + "\0", [EXPLICIT + " "]))
    assert (parsed.proposals[0].abstract_syntax, parsed.proposals[0].transfer_syntaxes) == (MAMMOGRAM, (EXPLICIT,))


def test_storage_is_chosen_here_and_the_rest_is_left_to_the_library() -> None:
    request = request_for(
        (VERIFICATION, [IMPLICIT]),
        (MAMMOGRAM, [IMPLICIT, EXPLICIT]),
        (MAMMOGRAM, [UNKNOWN_SYNTAX]),
        (PRIVATE, [EXPLICIT]),
        (STUDY_ROOT_FIND, [IMPLICIT]),
    )
    negotiated = negotiate(request, ContextTable(), ALL)
    assert negotiated.accepted == {3: (MAMMOGRAM, EXPLICIT)}
    assert negotiated.refused == {MAMMOGRAM, PRIVATE}
    for_library = A_ASSOCIATE_RQ()
    for_library.decode(negotiated.request)
    assert [context.context_id for context in for_library.presentation_context] == [1, 9]
    results = read_by_library(negotiated, (1, IMPLICIT), (9, IMPLICIT))
    assert [(context.context_id, context.result) for context in results] == [(1, 0), (3, 0), (5, 4), (7, 3), (9, 0)]
    assert results[1].transfer_syntax == [EXPLICIT]


def test_a_caller_that_may_not_store_gets_no_context_of_storage() -> None:
    negotiated = negotiate(request_for((MAMMOGRAM, [EXPLICIT])), ContextTable(), frozenset({"echo"}))
    assert (negotiated.accepted, negotiated.refused) == ({}, {MAMMOGRAM})
    assert [(context.context_id, context.result) for context in read_by_library(negotiated)] == [(1, 3)]


def test_a_private_class_of_the_site_is_accepted() -> None:
    negotiated = negotiate(request_for((PRIVATE, [EXPLICIT])), ContextTable([PRIVATE]), ALL)
    assert negotiated.accepted == {1: (PRIVATE, EXPLICIT)}


def test_information_nobody_knows_is_kept_from_the_library() -> None:
    data = raw_peer.associate_request(b"UNIT", b"NODE", [(VERIFICATION, [IMPLICIT])])
    unknown = raw_peer.item(0x77, b"whatever")
    at = data.index(raw_peer.item(0x51, struct.pack(">L", 16384)))
    user = data[at:] + unknown
    body = data[6 : at - 4] + raw_peer.item(0x50, user) + raw_peer.item(0x99, b"an item of tomorrow")
    parsed = parse_association_request(struct.pack(">BBL", 1, 0, len(body)) + body)
    assert parsed.proposing(list(parsed.proposals)) == data


PROPOSAL = raw_peer.item(0x30, MAMMOGRAM.encode()) + raw_peer.item(0x40, EXPLICIT.encode())


@pytest.mark.parametrize(
    "item",
    [
        raw_peer.item(0x20, b"\1\0\0"),
        raw_peer.item(0x20, b"\2\0\0\0" + PROPOSAL),
        raw_peer.item(0x20, b"\1\0\0\0" + raw_peer.item(0x30, MAMMOGRAM.encode())),
        raw_peer.item(0x20, b"\1\0\0\0" + raw_peer.item(0x40, EXPLICIT.encode())),
        raw_peer.item(0x20, b"\1\0\0\0" + PROPOSAL + PROPOSAL),
        raw_peer.item(0x20, b"\1\0\0\0" + PROPOSAL[:-1]),
        raw_peer.item(0x50, b"\x51\0\0\4\0\0"),
        b"\x20\0\0\x50\1",
        b"\x20\0",
    ],
)
def test_a_malformed_request_is_told(item: bytes) -> None:
    data = raw_peer.associate_request(b"UNIT", b"NODE", [])
    with pytest.raises(ProtocolError):
        parse_association_request(data + item)
