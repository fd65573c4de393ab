"""The association request of a peer, read from its bytes, and the answer to what the receiver serves itself.

PS3.8 sections 9.3.2 (A-ASSOCIATE-RQ) and 9.3.3 (A-ASSOCIATE-AC), PS3.7 annex D.3.3. The contexts of storage are chosen
here, as the receiver serves C-STORE; the library gets a request that proposes the rest, and its acceptance is completed
on the way out. A device proposes up to 128 contexts, and the library needs a tenth of a millisecond for each.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from dicom_node.dimse.contexts import ContextTable
from dicom_node.dimse.pdu import ASSOCIATE_RQ, HEADER_LENGTH, ProtocolError

_FIXED = HEADER_LENGTH + 68
"""Bytes of both units before their variable items."""

_APPLICATION_CONTEXT, _PROPOSED, _RESULT, _USER_INFORMATION = 0x10, 0x20, 0x21, 0x50
_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX = 0x30, 0x40
_KNOWN_INFORMATION = range(0x51, 0x5A)
"""Sub-items of the user information that the library knows; it gives up on any other, which PS3.8 9.3.1 has ignored."""

_ACCEPTANCE, _ABSTRACT_SYNTAX_NOT_SUPPORTED, _TRANSFER_SYNTAXES_NOT_SUPPORTED = 0, 3, 4


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed presentation context; ``item`` is its encoding as it came."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    item: bytes


@dataclass(frozen=True, slots=True)
class AssociationRequest:
    """An A-ASSOCIATE-RQ, with its AE titles tidied as devices in the field need it."""

    calling_ae: str
    called_ae: str
    proposals: tuple[Proposal, ...]
    before: bytes
    """What stands before the proposals, without the header of the unit."""
    after: bytes
    """The user information, as far as it is known."""

    def proposing(self, proposals: list[Proposal]) -> bytes:
        """Encode the request with some of its proposals."""
        body = self.before + b"".join(proposal.item for proposal in proposals) + self.after
        return struct.pack(">BxL", ASSOCIATE_RQ, len(body)) + body


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What was decided about a request before the library sees it."""

    request: bytes
    """The request for the library: what the receiver serves itself is left out."""
    accepted: dict[int, tuple[str, str]]
    """Abstract and transfer syntax of the contexts of storage, by their ids."""
    refused: frozenset[str]
    """Abstract syntaxes of the proposals that were refused."""
    results: tuple[bytes, ...]

    def complete(self, acceptance: bytes) -> bytes:
        """Put the results into the A-ASSOCIATE-AC of the library, in the order of the context ids."""
        results = list(self.results)
        others: list[bytes] = []
        for kind, item in _items(acceptance[_FIXED:]):
            (results if kind == _RESULT else others).append(item)
        results.sort(key=lambda item: item[4])
        body = acceptance[HEADER_LENGTH:_FIXED] + b"".join([*others[:1], *results, *others[1:]])
        return acceptance[:2] + struct.pack(">L", len(body)) + body


def negotiate(request: AssociationRequest, table: ContextTable, services: frozenset[str]) -> Negotiated:
    """Choose among the proposals of a caller that may use ``services``, but for those of the library's services."""
    for_library = []
    accepted: dict[int, tuple[str, str]] = {}
    refused = set()
    results = []
    for proposal in request.proposals:
        if table.is_message(proposal.abstract_syntax):
            for_library.append(proposal)
            continue
        known = "store" in services and table.is_storage(proposal.abstract_syntax)
        chosen = table.storage_syntax(proposal.transfer_syntaxes) if known else ""
        if chosen:
            result = _ACCEPTANCE
            accepted[proposal.context_id] = (proposal.abstract_syntax, chosen)
        else:
            result = _TRANSFER_SYNTAXES_NOT_SUPPORTED if known else _ABSTRACT_SYNTAX_NOT_SUPPORTED
            refused.add(proposal.abstract_syntax)
        syntax = _item(_TRANSFER_SYNTAX, (chosen or proposal.transfer_syntaxes[0]).encode("ascii", "replace"))
        results.append(_item(_RESULT, bytes([proposal.context_id, 0, result, 0]) + syntax))
    return Negotiated(request.proposing(for_library), accepted, frozenset(refused), tuple(results))


def parse_association_request(data: bytes) -> AssociationRequest:
    """Read an A-ASSOCIATE-RQ, header included. Raises ProtocolError when it is malformed.

    A title padded with NUL instead of spaces is padded anew, so that the library takes it. Bytes outside ASCII are kept
    visible as a question mark: no configured title holds one. Items that nobody knows are left out.
    """
    if len(data) < _FIXED or data[0] != ASSOCIATE_RQ:
        raise ProtocolError("the first unit is no association request")
    called, calling = (data[at : at + 16].replace(b"\0", b" ") for at in (10, 26))
    proposals = []
    before = data[HEADER_LENGTH:10] + called + calling + data[42:_FIXED]
    after = b""
    for kind, item in _items(data[_FIXED:]):
        if kind == _PROPOSED:
            proposals.append(_parse_proposal(item))
        elif kind == _USER_INFORMATION:
            known = (part for number, part in _items(item[4:]) if number in _KNOWN_INFORMATION)
            after += _item(_USER_INFORMATION, b"".join(known))
        elif kind == _APPLICATION_CONTEXT:
            before += item
    return AssociationRequest(
        calling_ae=calling.decode("ascii", "replace").replace("\ufffd", "?").strip(),
        called_ae=called.decode("ascii", "replace").replace("\ufffd", "?").strip(),
        proposals=tuple(proposals),
        before=before,
        after=after,
    )


def _parse_proposal(item: bytes) -> Proposal:
    if len(item) < 8 or not item[4] & 1:
        raise ProtocolError("a proposed presentation context is malformed")
    abstract: list[str] = []
    transfer: list[str] = []
    for kind, part in _items(item[8:]):
        if kind in (_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX):
            syntax = part[4:].strip(b"\0 ").decode("ascii", "replace")
            (abstract if kind == _ABSTRACT_SYNTAX else transfer).append(syntax)
    if len(abstract) != 1 or not transfer:
        raise ProtocolError("a proposed presentation context lacks its syntaxes")
    return Proposal(item[4], abstract[0], tuple(transfer), item)


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the whole encoding of each item, its header of four bytes included."""
    at, end = 0, len(data)
    while at < end:
        after = at + 4 + int.from_bytes(data[at + 2 : at + 4], "big")
        if at + 4 > end or after > end:
            raise ProtocolError("an item of the association request is cut short")
        yield data[at], data[at:after]
        at = after
