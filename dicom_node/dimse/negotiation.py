"""The association request of a peer, read from its bytes, and the answer to what the receiver serves itself.

PS3.8 sections 9.3.2 (A-ASSOCIATE-RQ) and 9.3.3 (A-ASSOCIATE-AC), PS3.7 annex D.3.3. All is decided here but
verification; the library gets a request that proposes that alone, and its acceptance is completed on the way out. A
device proposes up to 128 contexts, and the library needs a tenth of a millisecond for each.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.dicom.uids import is_uid
from dicom_node.dimse.contexts import PERMISSIONS, ContextTable
from dicom_node.dimse.items import HEADER, counted, encode_item, read_items, split, uid_and_rest
from dicom_node.dimse.pdu import ASSOCIATE_RQ, HEADER_LENGTH, ProtocolError
from dicom_node.dimse.serving import AcceptedContext

_FIXED = HEADER_LENGTH + 68
"""Bytes of both units before their variable items."""

_APPLICATION_CONTEXT, _PROPOSED, _RESULT, _USER_INFORMATION = 0x10, 0x20, 0x21, 0x50
_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX = 0x30, 0x40
_ASYNCHRONOUS, _ROLES, _EXTENDED, _USER_IDENTITY, _IDENTITY_ACCEPTED = 0x53, 0x54, 0x56, 0x58, 0x59
_MAXIMUM_LENGTH, _IMPLEMENTATION_CLASS, _IMPLEMENTATION_VERSION = 0x51, 0x52, 0x55

_USUAL_LENGTH = struct.pack(">L", 16384)
"""Maximum length that a peer is taken to have which does not say."""

_LEAST_LENGTH = 8
"""A maximum length below has no room for anything beside the header of a value: it is taken as none, as 0 is."""

_VERSION_1 = b"\0\1"

_ONE_AT_A_TIME = struct.pack(">HH", 1, 1)
"""Operations invoked and performed at a time (PS3.7 D.3.3.3)."""

_ACCEPTANCE, _ABSTRACT_SYNTAX_NOT_SUPPORTED, _TRANSFER_SYNTAXES_NOT_SUPPORTED = 0, 3, 4


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed presentation context; ``item`` is its encoding as it came."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    item: bytes


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """Who uses the calling application entity, as it says (PS3.7 D.3.3.7)."""

    kind: int
    """1 username, 2 username and passcode, 3 Kerberos ticket, 4 SAML assertion, 5 JSON web token."""
    primary: bytes
    secondary: bytes
    wants_response: bool


@dataclass(frozen=True, slots=True)
class AssociationRequest:
    """An A-ASSOCIATE-RQ, with its AE titles tidied as devices in the field need it."""

    calling_ae: str
    called_ae: str
    proposals: tuple[Proposal, ...]
    before: bytes
    """What stands before the proposals, without the header of the unit."""
    after: bytes
    """The user information, as far as the library reads it."""
    roles: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)
    """By SOP class whether the requestor would be its SCU, its SCP (PS3.7 D.3.3.4); SCU alone where it says nothing."""
    extended: Mapping[str, bytes] = field(default_factory=dict)
    """By SOP class the application information proposed (PS3.7 D.3.3.5)."""
    identity: UserIdentity | None = None
    is_version_1: bool = True
    """It speaks the one version of the protocol there is; the other bits are not looked at (PS3.8 9.3.2)."""
    asks_for_window: bool = False
    """It proposes an asynchronous operations window."""

    def proposing(self, proposals: list[Proposal]) -> bytes:
        """Encode the request with some of its proposals."""
        body = self.before + b"".join(proposal.item for proposal in proposals) + self.after
        return struct.pack(">BxL", ASSOCIATE_RQ, len(body)) + body


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What was decided about a request before the library sees it."""

    request: bytes
    """The request for the library: what the receiver serves itself is left out."""
    verifies: int
    """How many of its contexts the library accepts."""
    accepted: Mapping[int, AcceptedContext]
    """The others that are accepted, by their ids."""
    refused: frozenset[str]
    """Abstract syntaxes of the proposals that were refused."""
    extended: Mapping[str, bytes]
    """What was granted of extended negotiations, by SOP class."""
    results: tuple[bytes, ...]
    information: bytes
    """Sub-items for the user information of the acceptance."""

    @property
    def is_useless(self) -> bool:
        """Tell whether nothing could be done on the association."""
        return not self.accepted and not self.verifies

    def complete(self, acceptance: bytes) -> bytes:
        """Put the results into the A-ASSOCIATE-AC of the library, in the order of the context ids."""
        results = list(self.results)
        others: list[bytes] = []
        for kind, item in read_items(acceptance[_FIXED:]):
            (results if kind == _RESULT else others).append(item)
        results.sort(key=lambda item: item[4])
        others = [item if item[0] != _USER_INFORMATION else self._informed(item) for item in others]
        body = acceptance[HEADER_LENGTH:_FIXED] + b"".join([*others[:1], *results, *others[1:]])
        return acceptance[:2] + struct.pack(">L", len(body)) + body

    def _informed(self, item: bytes) -> bytes:
        return encode_item(_USER_INFORMATION, item[4:] + self.information)


def negotiate(
    request: AssociationRequest, table: ContextTable, services: frozenset[str], *, is_named: bool = False
) -> Negotiated:
    """Choose among the proposals of a caller that may use ``services``.

    ``is_named`` tells that its user identity is the one it is listed with, which it is told when it wants to be.
    """
    for_library = []
    accepted: dict[int, AcceptedContext] = {}
    refused = set()
    results = []
    for proposal in request.proposals:
        takes, gives = _direction(request, table, services, proposal.abstract_syntax)
        known = takes or gives
        wanted = _not_yet(accepted, proposal)
        if gives and not takes:
            wanted = _wanted_most(table, proposal.abstract_syntax, wanted)
        chosen = table.syntax(proposal.abstract_syntax, wanted) if known else ""
        if chosen and table.is_library_s(proposal.abstract_syntax):
            for_library.append(proposal)
            continue
        if chosen:
            result = _ACCEPTANCE
            accepted[proposal.context_id] = AcceptedContext(proposal.abstract_syntax, chosen, takes, gives)
        else:
            result = _TRANSFER_SYNTAXES_NOT_SUPPORTED if known else _ABSTRACT_SYNTAX_NOT_SUPPORTED
            refused.add(proposal.abstract_syntax)
        syntax = encode_item(_TRANSFER_SYNTAX, (chosen or proposal.transfer_syntaxes[0]).encode("ascii", "replace"))
        results.append(encode_item(_RESULT, bytes([proposal.context_id, 0, result, 0]) + syntax))
    contexts = {context.sop_class_uid: context for context in accepted.values()}
    extended = {
        uid: granted
        for uid, proposed in request.extended.items()
        if uid in contexts and (granted := table.extended(uid, proposed))
    }
    return Negotiated(
        request=request.proposing(for_library),
        verifies=len(for_library),
        accepted=accepted,
        refused=frozenset(refused),
        extended=extended,
        results=tuple(results),
        information=_information(request, contexts, extended, is_named=is_named),
    )


def _direction(
    request: AssociationRequest, table: ContextTable, services: frozenset[str], abstract_syntax: str
) -> tuple[bool, bool]:
    """Tell whether the node serves an abstract syntax to this caller, and whether it may send instances in it."""
    if not table.is_storage(abstract_syntax):
        return PERMISSIONS.get(abstract_syntax) in services, False
    is_scu, is_scp = request.roles.get(abstract_syntax, (True, False))
    return is_scu and "store" in services, is_scp and "get" in services


def _not_yet(accepted: Mapping[int, AcceptedContext], proposal: Proposal) -> tuple[str, ...]:
    """Return the transfer syntaxes proposed, without those that the peer has in another context for the SOP class.

    Who proposes a SOP class in several contexts of several syntaxes gets more than one of them, for a C-GET.
    """
    had = {
        context.transfer_syntax_uid
        for context in accepted.values()
        if context.sop_class_uid == proposal.abstract_syntax
    }
    return tuple(syntax for syntax in proposal.transfer_syntaxes if syntax not in had) or proposal.transfer_syntaxes


def _wanted_most(table: ContextTable, abstract_syntax: str, proposed: tuple[str, ...]) -> tuple[str, ...]:
    """Return the transfer syntax for a peer that will receive: its own order tells what it would rather have.

    But for implicit VR where it takes explicit VR too: that is what the node stores when a sender leaves it the choice.
    """
    first = next((syntax for syntax in proposed if table.syntax(abstract_syntax, [syntax])), "")
    if first == ImplicitVRLittleEndian and ExplicitVRLittleEndian in proposed:
        first = ExplicitVRLittleEndian
    return (first,) if first else ()


def _information(
    request: AssociationRequest,
    contexts: Mapping[str, AcceptedContext],
    extended: Mapping[str, bytes],
    *,
    is_named: bool,
) -> bytes:
    """Encode the answers to what the user information proposed (PS3.7 D.3.3)."""
    parts = [encode_item(_ASYNCHRONOUS, _ONE_AT_A_TIME)] if request.asks_for_window else []
    for uid, (is_scu, _) in request.roles.items():
        context = contexts.get(uid)
        if context is not None:
            roles = bytes([is_scu and context.takes, context.gives])
            parts.append(encode_item(_ROLES, counted(uid.encode("ascii")) + roles))
    parts += [encode_item(_EXTENDED, counted(uid.encode("ascii")) + granted) for uid, granted in extended.items()]
    if is_named and request.identity is not None and request.identity.wants_response:
        parts.append(encode_item(_IDENTITY_ACCEPTED, counted(b"")))  # username and passcode have no server response
    return b"".join(parts)


def parse_association_request(data: bytes) -> AssociationRequest:
    """Read an A-ASSOCIATE-RQ, header included. Raises ProtocolError when it is malformed.

    A title padded with NUL instead of spaces is padded anew, so that the library takes it. Bytes outside ASCII are kept
    visible behind a backslash: no configured title holds one (PS3.5 6.2). Items that nobody knows are left out.
    """
    if len(data) < _FIXED or data[0] != ASSOCIATE_RQ:
        raise ProtocolError("the first unit is no association request")
    called, calling = (data[at : at + 16].replace(b"\0", b" ") for at in (10, 26))
    proposals = []
    before = _VERSION_1 + data[8:10] + called + calling + data[42:_FIXED]
    information = b""
    for kind, item in read_items(data[_FIXED:]):
        if kind == _PROPOSED:
            proposals.append(_parse_proposal(item))
        elif kind == _USER_INFORMATION:
            information += item[4:]
        elif kind == _APPLICATION_CONTEXT:
            if not is_uid(item[4:].strip(b"\0 ").decode("latin-1")):
                raise ProtocolError("the application context name is no UID")
            before += item
    parts = [*read_items(information)]
    user = [kept for number, part in parts if (kept := _for_library(number, part))]
    if not any(part[0] == _MAXIMUM_LENGTH for part in user):
        # It is mandatory (PS3.8 D.1), and the library counts on it.
        user.insert(0, encode_item(_MAXIMUM_LENGTH, _USUAL_LENGTH))
    return AssociationRequest(
        calling_ae=calling.decode("ascii", "backslashreplace").strip(" "),
        called_ae=called.decode("ascii", "backslashreplace").strip(" "),
        proposals=tuple(proposals),
        before=before,
        after=encode_item(_USER_INFORMATION, b"".join(user)),
        roles={
            uid: (more[:1] == b"\1", more[1:2] == b"\1")
            for uid, more in (uid_and_rest(part[HEADER:]) for number, part in parts if number == _ROLES)
        },
        extended=dict(uid_and_rest(part[HEADER:]) for number, part in parts if number == _EXTENDED),
        identity=next((_parse_identity(part[4:]) for number, part in parts if number == _USER_IDENTITY), None),
        is_version_1=bool(data[7] & 1),
        asks_for_window=any(number == _ASYNCHRONOUS for number, _ in parts),
    )


def _for_library(kind: int, part: bytes) -> bytes:
    """Return a sub-item of the user information as the library takes it, b"" when it is none of its own.

    It gives up on sub-items that it does not know, which PS3.8 9.3.1 has ignored, and on a name that is longer or more
    colourful than PS3.7 D.3.3.2 has it: neither is worth the loss of an association.
    """
    body = part[4:]
    if kind == _MAXIMUM_LENGTH and len(body) == 4:
        return part if int.from_bytes(body) >= _LEAST_LENGTH else encode_item(kind, bytes(4))
    if kind == _IMPLEMENTATION_CLASS and is_uid(body.strip(b"\0 ").decode("latin-1")):
        return part
    if kind == _IMPLEMENTATION_VERSION and (name := bytes(map(_plain, body[:16])).strip()):
        return encode_item(kind, name)
    return b""


def _plain(byte: int) -> int:
    return byte if 0x20 <= byte < 0x7F and byte != 0x5C else 0x3F if byte else 0x20


def _parse_identity(body: bytes) -> UserIdentity:
    if len(body) < 2:
        raise ProtocolError("the user identity is cut short")
    primary, rest = split(body[2:])
    secondary, _ = split(rest)
    return UserIdentity(body[0], primary, secondary, body[1] == 1)


def _parse_proposal(item: bytes) -> Proposal:
    if len(item) < 8 or not item[4] & 1:
        raise ProtocolError("a proposed presentation context is malformed")
    abstract: list[str] = []
    transfer: list[str] = []
    for kind, part in read_items(item[8:]):
        if kind in (_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX):
            syntax = part[4:].strip(b"\0 ").decode("ascii", "replace")
            (abstract if kind == _ABSTRACT_SYNTAX else transfer).append(syntax)
    if len(abstract) != 1 or not transfer:
        raise ProtocolError("a proposed presentation context lacks its syntaxes")
    return Proposal(item[4], abstract[0], tuple(transfer), item)
