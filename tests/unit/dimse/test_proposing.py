"""The request for an association that the node opens, and what a peer may answer, as bytes."""

import contextlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.dimse.negotiation import parse_association_request
from dicom_node.dimse.pdu import ProtocolError
from dicom_node.dimse.proposing import Proposed, Request, abort_words, parse_acceptance, refusal_words
from tests.raw_peer import EXPLICIT, IMPLICIT, MAMMOGRAM, STUDY_ROOT_FIND, item

FIND = Proposed(STUDY_ROOT_FIND, (EXPLICIT, IMPLICIT))
STORE = Proposed(MAMMOGRAM, (EXPLICIT,))


def request(*contexts: Proposed, **more: Any) -> Request:
    return Request(
        calling_ae="SBB_NODE", called_ae="PEER", contexts=contexts or (FIND, STORE), maximum_length=16384, **more
    )


def acceptance(*items: bytes) -> bytes:
    body = bytes([0, 1, 0, 0]) + bytes(64) + b"".join(items)
    return struct.pack(">BxL", 2, len(body)) + body


def result(number: int, code: int, syntax: str) -> bytes:
    return item(0x21, bytes([number, 0, code, 0]) + item(0x40, syntax.encode()))


def roles(syntax: str, *, scu: bool, scp: bool) -> bytes:
    return item(0x54, struct.pack(">H", len(syntax)) + syntax.encode() + bytes([scu, scp]))


def test_the_node_reads_what_it_writes() -> None:
    asked = request(
        FIND,
        STORE,
        roles={MAMMOGRAM: (False, True)},
        extended={STUDY_ROOT_FIND: b"\1\1"},
        identity=("dicom-node", "synthetic"),
    )
    read = parse_association_request(asked.encode())
    assert (read.calling_ae, read.called_ae) == ("SBB_NODE", "PEER")
    assert [(each.context_id, each.abstract_syntax, each.transfer_syntaxes) for each in read.proposals] == [
        (1, STUDY_ROOT_FIND, (EXPLICIT, IMPLICIT)),
        (3, MAMMOGRAM, (EXPLICIT,)),
    ]
    assert read.roles == {MAMMOGRAM: (False, True)}
    assert read.extended == {STUDY_ROOT_FIND: b"\1\1"}
    assert read.identity is not None
    assert (read.identity.kind, read.identity.primary, read.identity.secondary) == (2, b"dicom-node", b"synthetic")
    named = parse_association_request(request(identity=("dicom-node", "")).encode()).identity
    assert named is not None
    assert (named.kind, named.secondary) == (1, b"")


@pytest.mark.parametrize("count", [0, 129])
def test_an_association_has_some_contexts_and_not_too_many(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 128"):
        Request(calling_ae="A", called_ae="B", contexts=[STORE] * count, maximum_length=0).encode()
    assert len(parse_association_request(request(*[STORE] * 128).encode()).proposals) == 128


def test_a_title_of_seventeen_letters_is_none() -> None:
    with pytest.raises(ValueError, match="16 characters"):
        Request(calling_ae="SEVENTEEN_LETTERS", called_ae="B", contexts=[STORE], maximum_length=0).encode()


@pytest.mark.parametrize(
    ("asked", "answered", "granted"),
    [
        (None, None, (True, False)),
        ((False, True), (False, True), (False, True)),
        ((False, True), None, (False, False)),
        ((True, True), (True, False), (True, False)),
        ((False, True), (True, True), (False, True)),
        (None, (True, True), (True, False)),
    ],
)
def test_roles_are_those_asked_for_and_granted(
    asked: tuple[bool, bool] | None, answered: tuple[bool, bool] | None, granted: tuple[bool, bool]
) -> None:
    information = b"" if answered is None else roles(MAMMOGRAM, scu=answered[0], scp=answered[1])
    answer = acceptance(result(3, 0, EXPLICIT), item(0x50, information))
    grant = parse_acceptance(answer, request(roles={} if asked is None else {MAMMOGRAM: asked})).grants[3]
    assert (grant.scu, grant.scp) == granted


def test_a_peer_that_says_no_length_takes_any() -> None:
    answer = parse_acceptance(acceptance(result(1, 0, IMPLICIT), result(3, 2, "")), request())
    assert (answer.maximum_length, [*answer.grants]) == (0, [1])
    assert answer.refusals == {MAMMOGRAM: "no reason given"}


@pytest.mark.parametrize(
    "items",
    [
        [result(2, 0, EXPLICIT)],
        [result(255, 0, EXPLICIT)],
        [item(0x21, b"\1")],
        [item(0x21, bytes([3, 0, 0, 0]))],
        [result(3, 0, IMPLICIT)],
        [item(0x50, item(0x54, b"\0\xff1"))],
        [b"\x21\0\xff\xff"],
        [b"\x21"],
    ],
)
def test_an_acceptance_of_something_else_breaks_the_protocol(items: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        parse_acceptance(acceptance(*items), request())


@given(st.data())
def test_no_bytes_do_worse_than_break_the_protocol(data: st.DataObject) -> None:
    good = bytearray(
        acceptance(
            result(1, 0, IMPLICIT),
            result(3, 3, EXPLICIT),
            item(0x50, item(0x51, bytes(4)) + roles(MAMMOGRAM, scu=True, scp=True) + item(0x56, b"\0\x011x")),
        )
    )
    for _ in range(data.draw(st.integers(0, 5))):
        good[data.draw(st.integers(74, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(good[: data.draw(st.integers(0, len(good)))])
    with contextlib.suppress(ProtocolError):
        parse_acceptance(cut, request())
    assert refusal_words(cut)
    assert abort_words(cut)
