"""Lines of the audit trail as audit messages of the standard (PS3.15 A.5: the schema of A.5.1, the messages of A.5.3).

The objects that the standard would have name the patient are left out, and a query is told by the keys it asked for
without their values: the trail knows no patient data.
"""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, SubElement, tostring

from pydicom.datadict import tag_for_keyword


class Code(NamedTuple):
    """A code with its meaning, of PS3.16 annex D or (RFC-3881) of PS3.15 A.5.1.2."""

    value: str
    meaning: str
    scheme: str = "DCM"


APPLICATION_ACTIVITY = Code("110100", "Application Activity")
AUDIT_LOG_USED = Code("110101", "Audit Log Used")
BEGIN_TRANSFERRING = Code("110102", "Begin Transferring DICOM Instances")
INSTANCES_ACCESSED = Code("110103", "DICOM Instances Accessed")
INSTANCES_TRANSFERRED = Code("110104", "DICOM Instances Transferred")
IMPORT = Code("110107", "Import")
QUERY = Code("110112", "Query")
SECURITY_ALERT = Code("110113", "Security Alert")
USER_AUTHENTICATION = Code("110114", "User Authentication")

START, STOP = Code("110120", "Application Start"), Code("110121", "Application Stop")
LOGIN, LOGOUT = Code("110122", "Login"), Code("110123", "Logout")
NODE_AUTHENTICATION = Code("110126", "Node Authentication")
SOFTWARE_CONFIGURATION = Code("110131", "Software Configuration")
RESTRICTED_FUNCTION = Code("110132", "Use of Restricted Function")

APPLICATION, LAUNCHER = Code("110150", "Application"), Code("110151", "Application Launcher")
DESTINATION, SOURCE = Code("110152", "Destination Role ID"), Code("110153", "Source Role ID")
SOURCE_MEDIA, URI_MEDIA = Code("110155", "Source Media"), Code("110037", "URI")

STUDY_UID, SOP_CLASS_UID = Code("110180", "Study Instance UID"), Code("110181", "SOP Class UID")
NODE_ID, URI = Code("110182", "Node ID"), Code("12", "URI", "RFC-3881")

SUCCESS, MINOR, SERIOUS = "0", "4", "8"
"""EventOutcomeIndicator."""

_GOOD = ("0000", "B000", "FE00")
"""Final statuses of a query or retrieval that did what was asked, or ended as the asker wanted."""
_PUSH_MODEL = "1.2.840.10008.1.20.1"
_COMMITMENT = {"TransactionUID": "transaction_uid", "Committed": "committed", "Failed": "failed"}
_IMPLICIT_LITTLE = "1.2.840.10008.1.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSource:
    """The node that keeps the trail."""

    ae_title: str
    facility: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """Somebody or something that took part: ActiveParticipant."""

    user_id: str
    ae_title: str = ""
    requestor: bool = False
    role: Code | None = None
    address: str = ""
    media: Code | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """What it was about: ParticipantObjectIdentification. Of its name and query one is written."""

    id: str
    id_type: Code
    role: str
    """ParticipantObjectTypeCodeRole: 3 a report, 13 a security resource."""
    name: str = ""
    query: bytes | None = None
    details: Mapping[str, bytes] = field(default_factory=dict)
    sop_classes: Mapping[str, int] = field(default_factory=dict)
    """SOP Class UID to how many instances of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditMessage:
    """One message."""

    event: Code
    action: str
    participants: Sequence[Participant]
    type: Code | None = None
    outcome: str = SUCCESS
    description: str = ""
    things: Sequence[Thing] = ()


def messages_of(event: str, details: Mapping[str, Any], source: AuditSource) -> list[AuditMessage]:
    """Return what a line of the trail is in the standard's words; one of mixed outcome makes several messages.

    Raises KeyError for an event that is none of the trail's.
    """
    return _MAKERS[event](details, source)


def encode(message: AuditMessage, at: datetime, source: AuditSource) -> bytes:
    """Return a message as an XML document in UTF-8. ``at`` is when it happened, in UTC."""
    root = Element("AuditMessage")
    what = SubElement(
        root,
        "EventIdentification",
        EventActionCode=message.action,
        EventDateTime=at.isoformat(),
        EventOutcomeIndicator=message.outcome,
    )
    _code(what, "EventID", message.event)
    if message.type is not None:
        _code(what, "EventTypeCode", message.type)
    if message.description:
        SubElement(what, "EventOutcomeDescription").text = _clean(message.description)
    for each in message.participants:
        _participant(root, each)
    origin = SubElement(
        root,
        "AuditSourceIdentification",
        AuditEnterpriseSiteID=_clean(source.facility),
        AuditSourceID=_clean(source.ae_title),
    )
    SubElement(origin, "AuditSourceTypeCode", {"csd-code": "4"})  # an application server process
    for thing in message.things:
        _thing(root, thing)
    text = tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def _code(parent: Element, name: str, code: Code) -> None:
    values = {"csd-code": code.value, "codeSystemName": code.scheme, "originalText": code.meaning}
    SubElement(parent, name, values)


def _participant(root: Element, each: Participant) -> None:
    values = {"UserID": _clean(each.user_id), "UserIsRequestor": "true" if each.requestor else "false"}
    if each.ae_title:
        values["AlternativeUserID"] = f"AETITLES={_clean(each.ae_title)}"
    if each.address:
        values |= {"NetworkAccessPointID": _clean(each.address), "NetworkAccessPointTypeCode": "2"}
    element = SubElement(root, "ActiveParticipant", values)
    if each.role is not None:
        _code(element, "RoleIDCode", each.role)
    if each.media is not None:
        _code(SubElement(element, "MediaIdentifier"), "MediaType", each.media)


def _thing(root: Element, thing: Thing) -> None:
    values = {
        "ParticipantObjectID": _clean(thing.id),
        "ParticipantObjectTypeCode": "2",
        "ParticipantObjectTypeCodeRole": thing.role,
    }
    element = SubElement(root, "ParticipantObjectIdentification", values)
    _code(element, "ParticipantObjectIDTypeCode", thing.id_type)
    if thing.query is not None:
        SubElement(element, "ParticipantObjectQuery").text = _base64(thing.query)
    else:
        SubElement(element, "ParticipantObjectName").text = _clean(thing.name or thing.id_type.meaning)
    for kind, value in thing.details.items():
        SubElement(element, "ParticipantObjectDetail", type=kind, value=_base64(value))
    if thing.sop_classes:
        description = SubElement(element, "ParticipantObjectDescription")
        for uid, number in thing.sop_classes.items():
            SubElement(description, "SOPClass", UID=_clean(uid), NumberOfInstances=str(number))


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _clean(text: str) -> str:
    """Escape what XML cannot hold or a reader cannot see: much of it came from a peer."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


# What each event of the trail is.

_Details = Mapping[str, Any]


def _node(source: AuditSource, role: Code | None = None) -> Participant:
    return Participant(user_id=source.ae_title, ae_title=source.ae_title, role=role)


def _caller(details: _Details, role: Code | None = None) -> Participant:
    title, address = details.get("calling_ae", ""), details["peer"]
    return Participant(user_id=title or address, ae_title=title, requestor=True, role=role, address=address)


def _person(details: _Details, role: Code | None = None) -> Participant:
    return Participant(user_id=details["by"], requestor=True, role=role)


def _study(uid: str, sop_classes: Mapping[str, int] | None = None) -> Thing:
    return Thing(id=uid, id_type=STUDY_UID, role="3", sop_classes=sop_classes or {})


def _application(kind: Code) -> Callable[[_Details, AuditSource], list[AuditMessage]]:
    def make(details: _Details, source: AuditSource) -> list[AuditMessage]:
        participants = [_node(source, APPLICATION), _person(details, LAUNCHER)]
        return [AuditMessage(event=APPLICATION_ACTIVITY, action="E", type=kind, participants=participants)]

    return make


def _alert(
    event: str, kind: Code, details: _Details, source: AuditSource, who: Iterable[Participant]
) -> list[AuditMessage]:
    """A security alert about the node; what is known of it becomes the alert's description."""
    told = [f"{name}={value}" for name, value in details.items() if name not in {"by", "calling_ae", "peer"}]
    words = " ".join([event, *told])
    subject = Thing(
        id=source.ae_title,
        id_type=NODE_ID,
        role="13",
        name=source.ae_title,
        details={"Alert Description": _clean(words).encode()},
    )
    return [
        AuditMessage(event=SECURITY_ALERT, action="E", type=kind, participants=[_node(source), *who], things=[subject])
    ]


def _configured(event: str, outcome: str) -> Callable[[_Details, AuditSource], list[AuditMessage]]:
    def make(details: _Details, source: AuditSource) -> list[AuditMessage]:
        found = _alert(event, SOFTWARE_CONFIGURATION, details, source, [])
        return [replace(message, outcome=outcome) for message in found]

    return make


def _used(event: str) -> Callable[[_Details, AuditSource], list[AuditMessage]]:
    """What a person did to the node that is about no study."""

    def make(details: _Details, source: AuditSource) -> list[AuditMessage]:
        found = _alert(event, RESTRICTED_FUNCTION, details, source, [_person(details)])
        return [replace(message, outcome=SERIOUS if details.get("damaged") else SUCCESS) for message in found]

    return make


def _refused(details: _Details, source: AuditSource) -> list[AuditMessage]:
    found = _alert("association.refused", NODE_AUTHENTICATION, details, source, [_caller(details)])
    return [replace(message, outcome=MINOR, description=details.get("reason", "")) for message in found]


def _accepted(details: _Details, source: AuditSource) -> list[AuditMessage]:
    return [
        AuditMessage(event=USER_AUTHENTICATION, action="E", type=LOGIN, participants=[_caller(details), _node(source)])
    ]


def _ended(details: _Details, source: AuditSource) -> list[AuditMessage]:
    outcome = SUCCESS if details.get("how") == "released" else MINOR
    return [replace(message, type=LOGOUT, outcome=outcome) for message in _accepted(details, source)]


def _store_began(details: _Details, source: AuditSource) -> list[AuditMessage]:
    participants = [_caller(details, SOURCE), _node(source, DESTINATION)]
    things = [_study(details["study_uid"])]
    return [AuditMessage(event=BEGIN_TRANSFERRING, action="E", participants=participants, things=things)]


_ACTIONS = {"new": "C", "duplicate": "R", "conflict": "U"}
"""EventActionCode of instances that the node did not have, had, or had with other content (PS3.15 A.5.3.7)."""


def _store_ended(details: _Details, source: AuditSource) -> list[AuditMessage]:
    participants = [_caller(details, SOURCE), _node(source, DESTINATION)]
    return [
        AuditMessage(
            event=INSTANCES_TRANSFERRED,
            action=action,
            participants=participants,
            things=[_study(details["study_uid"], details[outcome])],
        )
        for outcome, action in _ACTIONS.items()
        if details.get(outcome)
    ]


def _query(details: _Details, source: AuditSource) -> list[AuditMessage]:
    asked = Thing(
        id=details["sop_class_uid"],
        id_type=SOP_CLASS_UID,
        role="3",
        query=_asked(details["keywords"], details["level"]),
        details={"TransferSyntax": _IMPLICIT_LITTLE.encode(), "Matches": str(details["matches"]).encode()},
    )
    return [
        AuditMessage(
            event=QUERY,
            action="E",
            outcome=SUCCESS if details["status"] in _GOOD else MINOR,
            participants=[_caller(details, SOURCE), _node(source, DESTINATION)],
            things=[asked],
        )
    ]


def _asked(keywords: Iterable[str], level: str) -> bytes:
    """Return an identifier with the keys that were asked for, none of which has a value but the level."""
    values = {tag: b"" for tag in map(tag_for_keyword, keywords) if tag is not None}
    values[0x00080052] = level.encode("ascii", "replace") + b" " * (len(level) % 2)
    return b"".join(
        (tag >> 16).to_bytes(2, "little")
        + (tag & 0xFFFF).to_bytes(2, "little")
        + len(value).to_bytes(4, "little")
        + value
        for tag, value in sorted(values.items())
    )


def _retrieve(event: Code, action: str) -> Callable[[_Details, AuditSource], list[AuditMessage]]:
    """Instances that the node sends: to whoever asked (C-GET) or to a destination (C-MOVE)."""

    def make(details: _Details, source: AuditSource) -> list[AuditMessage]:
        asker = _caller(details)
        if details.get("destination_ae", asker.ae_title) == asker.ae_title:
            others = [replace(asker, role=DESTINATION)]
        else:
            title = details["destination_ae"]
            others = [
                Participant(user_id=title, ae_title=title, role=DESTINATION, address=details["destination"]),
                asker,
            ]
        message = AuditMessage(
            event=event,
            action=action,
            participants=[_node(source, SOURCE), *others],
            things=[_study(uid) for uid in details["study_uids"]],
        )
        failed = replace(message, outcome=MINOR, description=_failure(details))
        if details.get("failed"):
            return [message, failed] if details["sent"] else [failed]
        return [message if details.get("status", "0000") in _GOOD else failed]

    return make


def _failure(details: _Details) -> str:
    status = f"it ended with {details['status']}" if details.get("status") else "it was cut short"
    return f"{details['failed']} instances were not taken" if details.get("failed") else status


def _imported(details: _Details, source: AuditSource) -> list[AuditMessage]:
    files = Participant(user_id="files", role=SOURCE_MEDIA, media=URI_MEDIA)
    return [
        AuditMessage(
            event=IMPORT,
            action="C",
            participants=[_person(details, DESTINATION), _node(source, DESTINATION), files],
            things=[_study(uid, classes) for uid, classes in details["studies"].items()],
        )
    ]


def _decided(details: _Details, source: AuditSource) -> list[AuditMessage]:
    return [
        AuditMessage(
            event=INSTANCES_ACCESSED,
            action="U",
            participants=[_person(details), _node(source)],
            things=[_study(details["study_uid"])],
        )
    ]


def _committed(details: _Details, source: AuditSource) -> list[AuditMessage]:
    """A storage commitment that was reported: the instances were read again for it."""
    told = {name: str(details[key]).encode() for name, key in _COMMITMENT.items()}
    asked = Thing(id=_PUSH_MODEL, id_type=SOP_CLASS_UID, role="3", name="Storage Commitment Push Model", details=told)
    message = AuditMessage(
        event=INSTANCES_ACCESSED, action="R", participants=[_caller(details), _node(source)], things=[asked]
    )
    failed = replace(message, outcome=MINOR, description=f"{details['failed']} instances are not committed")
    return [*([message] if details["committed"] else []), *([failed] if details["failed"] else [])]


def _exported(details: _Details, _source: AuditSource) -> list[AuditMessage]:
    trail = Thing(id="audit", id_type=URI, role="13", name="Security Audit Log")
    return [AuditMessage(event=AUDIT_LOG_USED, action="R", participants=[_person(details)], things=[trail])]


_MAKERS: Mapping[str, Callable[[_Details, AuditSource], list[AuditMessage]]] = {
    "node.started": _application(START),
    "node.stopped": _application(STOP),
    "config.reloaded": _configured("config.reloaded", SUCCESS),
    "config.rejected": _configured("config.rejected", MINOR),
    "association.accepted": _accepted,
    "association.ended": _ended,
    "association.refused": _refused,
    "store.began": _store_began,
    "store.ended": _store_ended,
    "query.answered": _query,
    "retrieve.began": _retrieve(BEGIN_TRANSFERRING, "E"),
    "retrieve.ended": _retrieve(INSTANCES_TRANSFERRED, "R"),
    "commitment.reported": _committed,
    "files.imported": _imported,
    "exam.decided": _decided,
    "content.decided": _decided,
    "release.recorded": _used("release.recorded"),
    "entry.kept": _used("entry.kept"),
    "policy.accepted": _used("policy.accepted"),
    "alert.acknowledged": _used("alert.acknowledged"),
    "unit.silenced": _used("unit.silenced"),
    "unit.retired": _used("unit.retired"),
    "archive.verified": _used("archive.verified"),
    "index.rebuilt": _used("index.rebuilt"),
    "audit.exported": _exported,
}

EVENTS = tuple(_MAKERS)
"""The events of the trail."""
