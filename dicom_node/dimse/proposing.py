"""The request for an association that the node opens, and the peer's answer, as bytes and in words.

PS3.8 sections 9.3.2 (A-ASSOCIATE-RQ), 9.3.3 (A-ASSOCIATE-AC), 9.3.4 (A-ASSOCIATE-RJ) and 9.3.8 (A-ABORT); PS3.7 annex
D.3.3 (role selection, extended negotiation, user identity).
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dicom_node.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.dimse.items import HEADER, counted, encode_item, read_items, uid_and_rest
from dicom_node.dimse.pdu import ASSOCIATE_RQ, HEADER_LENGTH, ProtocolError

MOST_CONTEXTS = 128
"""Presentation contexts of one association: their ids are the odd numbers of a byte (PS3.8 9.3.2.2)."""

_APPLICATION_CONTEXT_NAME = b"1.2.840.10008.3.1.1.1"
_FIXED = HEADER_LENGTH + 68
_APPLICATION_CONTEXT, _PROPOSED, _RESULT, _USER_INFORMATION = 0x10, 0x20, 0x21, 0x50
_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX = 0x30, 0x40
_MAXIMUM_LENGTH, _IMPLEMENTATION_UID, _ROLES, _VERSION, _EXTENDED, _IDENTITY = 0x51, 0x52, 0x54, 0x55, 0x56, 0x58

_REASONS = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
"""Source and reason of an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""

_CONTEXT_RESULTS = {
    1: "rejected by the user",
    2: "no reason given",
    3: "abstract syntax not supported",
    4: "transfer syntaxes not supported",
}
"""Results of a presentation context beside acceptance (PS3.8 table 9-18)."""

_ABORT_REASONS = {
    0: "no reason given",
    1: "unrecognized unit",
    2: "unexpected unit",
    4: "unrecognized parameter",
    5: "unexpected parameter",
    6: "invalid parameter value",
}
"""Reasons of an A-ABORT by the service provider (PS3.8 table 9-26)."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """A presentation context to propose."""

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """All that an A-ASSOCIATE-RQ says. The ids of the contexts are 1, 3, 5, … in their order."""

    calling_ae: str
    called_ae: str
    contexts: Sequence[Proposed]
    maximum_length: int
    """Longest P-DATA-TF body that is taken, in bytes."""
    roles: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)
    """Whether this side is SCU, and SCP, by abstract syntax; SCU alone where it is not said (PS3.7 D.3.3.4)."""
    extended: Mapping[str, bytes] = field(default_factory=dict)
    """Service class application information by SOP class (PS3.7 D.3.3.5)."""
    identity: tuple[str, str] | None = None
    """Username and passcode, the latter "" for none (PS3.7 D.3.3.7)."""

    def encode(self) -> bytes:
        """Return the unit. Raises ValueError when it cannot be said."""
        if not 0 < len(self.contexts) <= MOST_CONTEXTS:
            raise ValueError(f"an association has 1 to {MOST_CONTEXTS} presentation contexts")
        titles = [title.encode("ascii").ljust(16) for title in (self.called_ae, self.calling_ae)]
        if any(len(title) > 16 for title in titles):
            raise ValueError("an AE title has at most 16 characters")
        body = struct.pack(">HH16s16s32x", 1, 0, *titles)
        body += encode_item(_APPLICATION_CONTEXT, _APPLICATION_CONTEXT_NAME)
        for number, context in enumerate(self.contexts):
            syntaxes = encode_item(_ABSTRACT_SYNTAX, context.abstract_syntax.encode("ascii"))
            for syntax in context.transfer_syntaxes:
                syntaxes += encode_item(_TRANSFER_SYNTAX, syntax.encode("ascii"))
            body += encode_item(_PROPOSED, bytes([2 * number + 1, 0, 0, 0]) + syntaxes)
        body += encode_item(_USER_INFORMATION, self._user_information())
        return struct.pack(">BxL", ASSOCIATE_RQ, len(body)) + body

    def _user_information(self) -> bytes:
        items = encode_item(_MAXIMUM_LENGTH, struct.pack(">L", self.maximum_length))
        items += encode_item(_IMPLEMENTATION_UID, IMPLEMENTATION_CLASS_UID.encode("ascii"))
        for syntax, (scu, scp) in self.roles.items():
            items += encode_item(_ROLES, counted(syntax.encode("ascii")) + bytes([scu, scp]))
        items += encode_item(_VERSION, IMPLEMENTATION_VERSION_NAME.encode("ascii"))
        for syntax, information in self.extended.items():
            items += encode_item(_EXTENDED, counted(syntax.encode("ascii")) + information)
        if self.identity is not None:
            username, passcode = (text.encode("utf-8") for text in self.identity)
            kind = 2 if passcode else 1
            items += encode_item(_IDENTITY, bytes([kind, 0]) + counted(username) + counted(passcode))
        return items


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """An accepted presentation context, and the roles of this side in it."""

    abstract_syntax: str
    transfer_syntax: str
    scu: bool
    scp: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """What an A-ASSOCIATE-AC says about a request."""

    grants: Mapping[int, Grant]
    """The accepted contexts by their ids."""
    refusals: Mapping[str, str]
    """In words why others were not, by abstract syntax."""
    maximum_length: int
    """Longest P-DATA-TF body that the peer takes, in bytes; 0 for any."""
    extended: Mapping[str, bytes]
    """Service class application information that the peer returned, by SOP class."""


def parse_acceptance(data: bytes, request: Request) -> Acceptance:
    """Read the A-ASSOCIATE-AC to a request. Raises ProtocolError when it is malformed or answers something else."""
    results: list[bytes] = []
    information: list[tuple[int, bytes]] = []
    for kind, item in read_items(data[_FIXED:]):
        if kind == _RESULT:
            results.append(item[HEADER:])
        elif kind == _USER_INFORMATION:
            information += [(number, part[HEADER:]) for number, part in read_items(item[HEADER:])]
    roles = dict(request.roles)
    extended: dict[str, bytes] = {}
    maximum_length = 0
    granted_roles: dict[str, tuple[bool, bool]] = {}
    for kind, item in information:
        if kind == _MAXIMUM_LENGTH and len(item) == 4:
            maximum_length = int.from_bytes(item, "big")
        elif kind in (_ROLES, _EXTENDED):
            syntax, rest = uid_and_rest(item)
            if kind == _EXTENDED:
                extended[syntax] = rest
            elif len(rest) == 2:
                granted_roles[syntax] = (bool(rest[0]), bool(rest[1]))
    grants: dict[int, Grant] = {}
    refusals: dict[str, str] = {}
    for item in results:
        context_id, proposed = _answered(item, request)
        syntax = proposed.abstract_syntax
        if item[2]:
            refusals[syntax] = _CONTEXT_RESULTS.get(item[2], "no reason known")
            continue
        # Without an answer to its role proposal the requestor is SCU alone.
        asked = roles.get(syntax, (True, False))
        answered = granted_roles.get(syntax, (True, False))
        grants[context_id] = Grant(
            abstract_syntax=syntax,
            transfer_syntax=_transfer_syntax(item, proposed),
            scu=asked[0] and answered[0],
            scp=asked[1] and answered[1],
        )
    return Acceptance(grants=grants, refusals=refusals, maximum_length=maximum_length, extended=extended)


def refusal_words(data: bytes) -> str:
    """Return in words why an A-ASSOCIATE-RJ refuses, as ``called AE title not recognized``."""
    if len(data) < 10:
        return "no reason given"
    result, source, reason = data[7:10]
    words = _REASONS.get((source, reason), f"reason {reason} of source {source}, which the standard does not define")
    return f"{words}, for the moment" if result == 2 and source != 3 else words


def abort_words(data: bytes) -> str:
    """Return in words why an A-ABORT aborts."""
    if len(data) < 10 or data[8] != 2:
        return "no reason given"
    return _ABORT_REASONS.get(data[9], "no reason known")


def _answered(item: bytes, request: Request) -> tuple[int, Proposed]:
    """Return which of the proposals a result is about."""
    if len(item) < 4 or not item[0] & 1 or item[0] // 2 >= len(request.contexts):
        raise ProtocolError("the acceptance names a presentation context that was not proposed")
    return item[0], request.contexts[item[0] // 2]


def _transfer_syntax(item: bytes, proposed: Proposed) -> str:
    for kind, part in read_items(item[4:]):
        syntax = part[HEADER:].strip(b"\0 ").decode("ascii", "replace")
        if kind == _TRANSFER_SYNTAX and syntax in proposed.transfer_syntaxes:
            return syntax
    raise ProtocolError("the acceptance names a transfer syntax that was not proposed")
