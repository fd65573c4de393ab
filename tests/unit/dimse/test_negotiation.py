"""What is read from an association request, and what is answered without the library."""

import struct

import pytest
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.presentation import PresentationContext

from dicom_node.dimse.access import Admission
from dicom_node.dimse.association import useless
from dicom_node.dimse.contexts import ContextTable
from dicom_node.dimse.negotiation import (
    AssociationRequest,
    Negotiated,
    UserIdentity,
    negotiate,
    parse_association_request,
)
from dicom_node.dimse.pdu import ProtocolError
from dicom_node.dimse.serving import AcceptedContext
from tests import raw_peer
from tests.raw_peer import EXPLICIT, IMPLICIT, MAMMOGRAM, STUDY_ROOT_FIND, VERIFICATION

JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
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
    assert (parsed.calling_ae, parsed.called_ae) == ("UNIT", "NODE\\xe4")
    assert parsed.proposing([])[26:42] == b"UNIT            "


@pytest.mark.parametrize("name", [b"1.2.840.x", b"\xff\xfe.1", b""])
def test_an_application_context_that_is_no_uid_is_malformed(name: bytes) -> None:
    data = raw_peer.associate_request(b"UNIT", b"NODE", [(VERIFICATION, [IMPLICIT])])
    usual = raw_peer.item(0x10, b"1.2.840.10008.3.1.1.1")
    with pytest.raises(ProtocolError, match="application context"):
        parse_association_request(data.replace(usual, raw_peer.item(0x10, name)))


def test_a_refusal_names_the_permissions_of_which_each_would_do() -> None:
    request = request_for((STUDY_ROOT_FIND, [IMPLICIT]), (MAMMOGRAM, [EXPLICIT]))
    refusal = useless(request, Admission(name="peers.p", services=frozenset({"echo"})), ContextTable())
    assert refusal.needs == ("store", "find")


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
    assert negotiated.accepted == {
        3: AcceptedContext(MAMMOGRAM, EXPLICIT),
        9: AcceptedContext(STUDY_ROOT_FIND, IMPLICIT),
    }
    assert negotiated.refused == {MAMMOGRAM, PRIVATE}
    for_library = A_ASSOCIATE_RQ()
    for_library.decode(negotiated.request)
    assert [context.context_id for context in for_library.presentation_context] == [1]
    results = read_by_library(negotiated, (1, IMPLICIT))
    assert [(context.context_id, context.result) for context in results] == [(1, 0), (3, 0), (5, 4), (7, 3), (9, 0)]
    assert results[1].transfer_syntax == [EXPLICIT]


def test_a_caller_that_may_not_store_gets_no_context_of_storage() -> None:
    negotiated = negotiate(request_for((MAMMOGRAM, [EXPLICIT])), ContextTable(), frozenset({"echo"}))
    assert (negotiated.accepted, negotiated.refused) == ({}, {MAMMOGRAM})
    assert [(context.context_id, context.result) for context in read_by_library(negotiated)] == [(1, 3)]


def test_a_private_class_of_the_site_is_accepted() -> None:
    negotiated = negotiate(request_for((PRIVATE, [EXPLICIT])), ContextTable([PRIVATE]), ALL)
    assert negotiated.accepted == {1: AcceptedContext(PRIVATE, EXPLICIT)}


def with_information(data: bytes, *items: bytes) -> bytes:
    """Return an association request with more sub-items in its user information."""
    at = data.index(raw_peer.item(0x51, struct.pack(">L", 16384)))
    body = data[6 : at - 4] + raw_peer.item(0x50, data[at:] + b"".join(items))
    return struct.pack(">BBL", 1, 0, len(body)) + body


def counted(text: str, more: bytes) -> bytes:
    return struct.pack(">H", len(text)) + text.encode() + more


def information_of(negotiated: Negotiated) -> list[bytes]:
    answered = negotiated.complete(acceptance())
    (user,) = (item for item in raw_peer.items(answered[74:]) if item[0] == 0x50)
    return raw_peer.items(user[4:])


def test_whoever_may_retrieve_takes_instances_where_it_is_the_scp() -> None:
    contexts = [(MAMMOGRAM, [EXPLICIT]), (MAMMOGRAM, [EXPLICIT, IMPLICIT]), (VERIFICATION, [IMPLICIT])]
    role = raw_peer.item(0x54, counted(MAMMOGRAM, b"\1\1"))
    data = with_information(raw_peer.associate_request(b"PACS", b"NODE", contexts), role)
    request = parse_association_request(data)
    assert request.roles == {MAMMOGRAM: (True, True)}
    for services, takes, gives in (({"get"}, 0, 1), ({"store"}, 1, 0), ({"get", "store"}, 1, 1)):
        negotiated = negotiate(request, ContextTable(), frozenset(services))
        assert negotiated.accepted == {
            1: AcceptedContext(MAMMOGRAM, EXPLICIT, bool(takes), bool(gives)),
            # Another context of the same class is worth more with another syntax.
            3: AcceptedContext(MAMMOGRAM, IMPLICIT, bool(takes), bool(gives)),
        }
        assert information_of(negotiated)[2:] == [raw_peer.item(0x54, counted(MAMMOGRAM, bytes([takes, gives])))]
    assert not negotiate(request, ContextTable(), frozenset({"find"})).accepted


@pytest.mark.parametrize(("version", "speaks"), [(b"\0\1", True), (b"\0\3", True), (b"\0\2", False), (b"\0\0", False)])
def test_of_the_protocol_version_its_lowest_bit_alone_is_looked_at(version: bytes, speaks: bool) -> None:
    data = raw_peer.associate_request(b"UNIT", b"NODE", [(VERIFICATION, [IMPLICIT])])
    request = parse_association_request(data[:6] + version + data[8:])
    assert request.is_version_1 is speaks
    assert request.proposing(list(request.proposals)) == data


def test_no_role_is_accepted_that_was_not_proposed() -> None:
    role = raw_peer.item(0x54, counted(STUDY_ROOT_FIND, b"\0\1"))
    data = with_information(raw_peer.associate_request(b"PACS", b"NODE", [(STUDY_ROOT_FIND, [IMPLICIT])]), role)
    negotiated = negotiate(parse_association_request(data), ContextTable(), ALL)
    assert information_of(negotiated)[2:] == [raw_peer.item(0x54, counted(STUDY_ROOT_FIND, b"\0\0"))]


def test_who_only_receives_a_class_gets_the_transfer_syntax_it_named_first() -> None:
    lossless = "1.2.840.10008.1.2.4.70"
    contexts = [(MAMMOGRAM, ["1.2.3", lossless, EXPLICIT]), (MAMMOGRAM, [lossless, IMPLICIT])]
    data = raw_peer.associate_request(b"PACS", b"NODE", contexts, receives=[MAMMOGRAM])
    negotiated = negotiate(parse_association_request(data), ContextTable(), frozenset({"get", "store"}))
    assert [context.transfer_syntax_uid for context in negotiated.accepted.values()] == [lossless, IMPLICIT]
    data = raw_peer.associate_request(b"PACS", b"NODE", contexts)
    negotiated = negotiate(parse_association_request(data), ContextTable(), frozenset({"get", "store"}))
    assert [context.transfer_syntax_uid for context in negotiated.accepted.values()] == [EXPLICIT, IMPLICIT]


def test_the_window_is_one_and_extensions_are_answered_byte_by_byte() -> None:
    data = with_information(
        raw_peer.associate_request(b"PACS", b"NODE", [(STUDY_ROOT_FIND, [IMPLICIT])]),
        raw_peer.item(0x53, struct.pack(">HH", 8, 8)),
        raw_peer.item(0x56, counted(STUDY_ROOT_FIND, b"\1\1\1")),
        raw_peer.item(0x56, counted(MAMMOGRAM, b"\1")),
    )
    request = parse_association_request(data)
    assert (request.asks_for_window, request.extended[STUDY_ROOT_FIND]) == (True, b"\1\1\1")
    negotiated = negotiate(request, ContextTable(), ALL)
    window, extension = information_of(negotiated)[2:]
    assert window == raw_peer.item(0x53, struct.pack(">HH", 1, 1))
    assert extension == raw_peer.item(0x56, counted(STUDY_ROOT_FIND, b"\1\1\1"))
    assert set(negotiated.extended) == {STUDY_ROOT_FIND}


def test_the_user_identity_is_read_and_kept_from_the_library() -> None:
    names = struct.pack(">BB", 2, 1) + struct.pack(">H", 4) + b"anna" + struct.pack(">H", 6) + b"secret"
    plain = raw_peer.associate_request(b"PACS", b"NODE", [(VERIFICATION, [IMPLICIT])])
    request = parse_association_request(with_information(plain, raw_peer.item(0x58, names)))
    assert request.identity == UserIdentity(2, b"anna", b"secret", wants_response=True)
    assert request.proposing(list(request.proposals)) == plain


@pytest.mark.parametrize(
    "item", [raw_peer.item(0x54, b"\0\x20abc"), raw_peer.item(0x58, b"\2"), raw_peer.item(0x56, b"")]
)
def test_a_sub_item_that_is_cut_short_is_told(item: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_association_request(with_information(raw_peer.associate_request(b"UNIT", b"NODE", []), item))


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


@pytest.mark.parametrize(
    ("proposed", "chosen"),
    [
        ([IMPLICIT, EXPLICIT], EXPLICIT),
        ([IMPLICIT], IMPLICIT),
        ([JPEG_LOSSLESS, EXPLICIT, IMPLICIT], JPEG_LOSSLESS),
        ([UNKNOWN_SYNTAX, IMPLICIT], IMPLICIT),
    ],
)
def test_a_peer_that_will_receive_gets_what_it_would_rather_have(proposed: list[str], chosen: str) -> None:
    data = with_information(
        raw_peer.associate_request(b"PACS", b"NODE", [(MAMMOGRAM, proposed)]),
        raw_peer.item(0x54, counted(MAMMOGRAM, b"\0\1")),
    )
    negotiated = negotiate(parse_association_request(data), ContextTable(), frozenset({"get"}))
    assert negotiated.accepted == {1: AcceptedContext(MAMMOGRAM, chosen, takes=False, gives=True)}
