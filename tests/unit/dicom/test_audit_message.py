"""Lines of the trail in the standard's form, held against the schema of PS3.15 A.5.1 and the tables of A.5.3."""

import base64
from datetime import UTC, datetime
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO

from dicom_node.dicom.audit_message import EVENTS, AuditSource, encode, messages_of

AT = datetime(2026, 11, 23, 15, 0, 0, 42, tzinfo=UTC)
SOURCE = AuditSource(ae_title="SBB_NODE", facility='Center "A" & <B>')
CALLER = {"association": "ab12", "calling_ae": "PRONE_RM2", "called_ae": "SBB_NODE", "peer": "10.20.30.11"}
STUDY, MG = "1.2.3", "1.2.840.10008.5.1.4.1.1.1.2"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
BY = {"by": "jane"}
RETRIEVE = {**CALLER, "study_uids": [STUDY], "destination_ae": "PACS", "destination": "10.20.30.5"}

# Event, details, and for each message: EventID, EventTypeCode, action, outcome, roles, (id type, id) of the objects.
CASES: list[tuple[str, dict[str, Any], list[tuple[str, str, str, str, list[str], list[tuple[str, str]]]]]] = [
    ("node.started", {**BY, "version": "1", "port": 104}, [("110100", "110120", "E", "0", ["110150", "110151"], [])]),
    ("node.stopped", BY, [("110100", "110121", "E", "0", ["110150", "110151"], [])]),
    ("config.reloaded", {"changed": ["units"]}, [("110113", "110131", "E", "0", [""], [("110182", "SBB_NODE")])]),
    ("config.rejected", {"problems": 2}, [("110113", "110131", "E", "4", [""], [("110182", "SBB_NODE")])]),
    ("association.accepted", {**CALLER, "name": "units.prone1"}, [("110114", "110122", "E", "0", ["", ""], [])]),
    ("association.ended", {**CALLER, "how": "released"}, [("110114", "110123", "E", "0", ["", ""], [])]),
    ("association.ended", {**CALLER, "how": "aborted"}, [("110114", "110123", "E", "4", ["", ""], [])]),
    (
        "association.refused",
        {**CALLER, "code": "1/1/3", "reason": "not listed"},
        [("110113", "110126", "E", "4", ["", ""], [("110182", "SBB_NODE")])],
    ),
    (
        "store.began",
        {**CALLER, "study_uid": STUDY, "since": "2026-11-23T15:00:00+00:00"},
        [("110102", "", "E", "0", ["110153", "110152"], [("110180", STUDY)])],
    ),
    (
        "store.ended",
        {**CALLER, "study_uid": STUDY, "new": {MG: 2}, "duplicate": {MG: 1}, "conflict": {MG: 3}},
        [("110104", "", action, "0", ["110153", "110152"], [("110180", STUDY)]) for action in ("C", "R", "U")],
    ),
    (
        "query.answered",
        {
            **CALLER,
            "sop_class_uid": FIND,
            "level": "STUDY",
            "keywords": ["PatientName"],
            "matches": 3,
            "status": "0000",
        },
        [("110112", "", "E", "0", ["110153", "110152"], [("110181", FIND)])],
    ),
    (
        "query.answered",
        {**CALLER, "sop_class_uid": FIND, "level": "", "keywords": [], "matches": 0, "status": "A900"},
        [("110112", "", "E", "4", ["110153", "110152"], [("110181", FIND)])],
    ),
    ("retrieve.began", RETRIEVE, [("110102", "", "E", "0", ["110153", "110152", ""], [("110180", STUDY)])]),
    (
        "retrieve.ended",
        {**RETRIEVE, "destination_ae": "PRONE_RM2", "sent": 3, "failed": 0, "status": "0000"},
        [("110104", "", "R", "0", ["110153", "110152"], [("110180", STUDY)])],
    ),
    (
        "retrieve.ended",
        {**RETRIEVE, "sent": 3, "failed": 1, "status": "B000"},
        [
            ("110104", "", "R", "0", ["110153", "110152", ""], [("110180", STUDY)]),
            ("110104", "", "R", "4", ["110153", "110152", ""], [("110180", STUDY)]),
        ],
    ),
    (
        "retrieve.ended",
        {
            **RETRIEVE,
            "study_uids": [],
            "destination_ae": "NOBODY",
            "destination": "",
            "sent": 0,
            "failed": 0,
            "status": "A801",
        },
        [("110104", "", "R", "4", ["110153", "110152", ""], [])],
    ),
    (
        "commitment.reported",
        {**CALLER, "transaction_uid": "1.9", "committed": 2, "failed": 1},
        [
            ("110103", "", "R", "0", ["", ""], [("110181", "1.2.840.10008.1.20.1")]),
            ("110103", "", "R", "4", ["", ""], [("110181", "1.2.840.10008.1.20.1")]),
        ],
    ),
    (
        "files.imported",
        {**BY, "studies": {STUDY: {MG: 2}}},
        [("110107", "", "C", "0", ["110152", "110152", "110155"], [("110180", STUDY)])],
    ),
    (
        "exam.decided",
        {**BY, "kind": "exclude", "study_uid": STUDY, "unit": "prone1", "value": ""},
        [("110103", "", "U", "0", ["", ""], [("110180", STUDY)])],
    ),
    ("content.decided", {**BY, "study_uid": STUDY}, [("110103", "", "U", "0", ["", ""], [("110180", STUDY)])]),
    ("release.recorded", {**BY, "unit": "a"}, [("110113", "110132", "E", "0", ["", ""], [("110182", "SBB_NODE")])]),
    ("entry.kept", {**BY, "kind": "cycle"}, [("110113", "110132", "E", "0", ["", ""], [("110182", "SBB_NODE")])]),
    ("policy.accepted", {**BY, "policy": "p"}, [("110113", "110132", "E", "0", ["", ""], [("110182", "SBB_NODE")])]),
    ("alert.acknowledged", {**BY, "alert": 3}, [("110113", "110132", "E", "0", ["", ""], [("110182", "SBB_NODE")])]),
    ("unit.silenced", {**BY, "unit": "a"}, [("110113", "110132", "E", "0", ["", ""], [("110182", "SBB_NODE")])]),
    ("unit.retired", {**BY, "unit": "a"}, [("110113", "110132", "E", "0", ["", ""], [("110182", "SBB_NODE")])]),
    ("archive.verified", {**BY, "damaged": 0}, [("110113", "110132", "E", "0", ["", ""], [("110182", "SBB_NODE")])]),
    ("archive.verified", {**BY, "damaged": 1}, [("110113", "110132", "E", "8", ["", ""], [("110182", "SBB_NODE")])]),
    ("index.rebuilt", {**BY, "indexed": 1}, [("110113", "110132", "E", "0", ["", ""], [("110182", "SBB_NODE")])]),
    ("audit.exported", {**BY, "lines": 7}, [("110101", "", "R", "0", [""], [("12", "audit")])]),
]


def parsed(event: str, details: dict[str, Any]) -> list[Element]:
    return [fromstring(encode(message, AT, SOURCE)) for message in messages_of(event, details, SOURCE)]


def code(element: Element | None) -> str:
    return "" if element is None else element.attrib["csd-code"]


@pytest.mark.parametrize(("event", "details", "expected"), CASES)
def test_each_event_is_the_message_of_the_standard(event: str, details: Any, expected: Any) -> None:
    found = []
    for root in parsed(event, details):
        what = root.find("EventIdentification")
        assert what is not None
        found.append(
            (
                code(what.find("EventID")),
                code(what.find("EventTypeCode")),
                what.attrib["EventActionCode"],
                what.attrib["EventOutcomeIndicator"],
                [code(each.find("RoleIDCode")) for each in root.findall("ActiveParticipant")],
                [
                    (code(each.find("ParticipantObjectIDTypeCode")), each.attrib["ParticipantObjectID"])
                    for each in root.findall("ParticipantObjectIdentification")
                ],
            )
        )
        check_schema(root)
    assert found == expected


def test_every_event_has_a_case() -> None:
    assert {event for event, _, _ in CASES} == set(EVENTS)


_ORDER = {
    "AuditMessage": (
        "EventIdentification",
        "ActiveParticipant",
        "AuditSourceIdentification",
        "ParticipantObjectIdentification",
    ),
    "EventIdentification": ("EventID", "EventTypeCode", "EventOutcomeDescription"),
    "ActiveParticipant": ("RoleIDCode", "MediaIdentifier"),
    "MediaIdentifier": ("MediaType",),
    "AuditSourceIdentification": ("AuditSourceTypeCode",),
    "ParticipantObjectIdentification": (
        "ParticipantObjectIDTypeCode",
        "ParticipantObjectName",
        "ParticipantObjectQuery",
        "ParticipantObjectDetail",
        "ParticipantObjectDescription",
    ),
    "ParticipantObjectDescription": ("SOPClass",),
}
_MANDATORY = {
    "EventIdentification": {"EventActionCode", "EventDateTime", "EventOutcomeIndicator"},
    "EventID": {"csd-code", "codeSystemName", "originalText"},
    "EventTypeCode": {"csd-code", "codeSystemName", "originalText"},
    "ActiveParticipant": {"UserID", "UserIsRequestor"},
    "RoleIDCode": {"csd-code", "codeSystemName", "originalText"},
    "MediaType": {"csd-code", "codeSystemName", "originalText"},
    "AuditSourceIdentification": {"AuditSourceID", "AuditEnterpriseSiteID"},
    "AuditSourceTypeCode": {"csd-code"},
    "ParticipantObjectIdentification": {
        "ParticipantObjectID",
        "ParticipantObjectTypeCode",
        "ParticipantObjectTypeCodeRole",
    },
    "ParticipantObjectIDTypeCode": {"csd-code", "codeSystemName", "originalText"},
    "ParticipantObjectDetail": {"type", "value"},
    "SOPClass": {"UID", "NumberOfInstances"},
}
_OPTIONAL = {"ActiveParticipant": {"AlternativeUserID", "NetworkAccessPointID", "NetworkAccessPointTypeCode"}}


def check_schema(element: Element) -> None:
    """Order and attributes as the RELAX NG schema wants them."""
    order = _ORDER.get(element.tag, ())
    places = [order.index(child.tag) for child in element]
    assert places == sorted(places)
    must = _MANDATORY.get(element.tag, set())
    assert must <= set(element.attrib) <= must | _OPTIONAL.get(element.tag, set())
    assert all(element.attrib.values())
    if element.tag == "AuditMessage":
        assert len(element.findall("EventIdentification")) == len(element.findall("AuditSourceIdentification")) == 1
        requestors = [each for each in element.findall("ActiveParticipant") if each.attrib["UserIsRequestor"] == "true"]
        assert len(requestors) <= 1 <= len(element.findall("ActiveParticipant"))
    if element.tag == "ParticipantObjectIdentification":
        assert (element.find("ParticipantObjectName") is None) != (element.find("ParticipantObjectQuery") is None)
    for child in element:
        check_schema(child)


def test_the_time_and_the_source_are_told() -> None:
    (root,) = parsed("node.stopped", BY)
    what, source = root.find("EventIdentification"), root.find("AuditSourceIdentification")
    assert what is not None
    assert source is not None
    assert what.attrib["EventDateTime"] == "2026-11-23T15:00:00.000042+00:00"
    assert source.attrib == {"AuditSourceID": "SBB_NODE", "AuditEnterpriseSiteID": 'Center "A" & <B>'}


def test_what_a_peer_sent_is_escaped() -> None:
    hostile = 'A"><x/>&\x00\x1b[2J\u202e'
    details = {**CALLER, "calling_ae": hostile, "code": "1/1/3", "reason": f"{hostile} is not listed"}
    (root,) = parsed("association.refused", details)
    caller = root.findall("ActiveParticipant")[1]
    assert caller.attrib["UserID"] == 'A"><x/>&\\x00\\x1b[2J\\x202e'
    assert caller.attrib["NetworkAccessPointID"] == "10.20.30.11"


def test_instances_are_counted_by_sop_class_and_outcome() -> None:
    roots = parsed("store.ended", {**CALLER, "study_uid": STUDY, "new": {MG: 2}, "conflict": {MG: 1}})
    told = [
        (root.find("EventIdentification").attrib["EventActionCode"], root.find(".//SOPClass").attrib)  # type: ignore[union-attr]
        for root in roots
    ]
    assert told == [
        ("C", {"UID": MG, "NumberOfInstances": "2"}),
        ("U", {"UID": MG, "NumberOfInstances": "1"}),
    ]


def test_a_query_is_a_data_set_of_the_keys_without_their_values() -> None:
    keywords = ["StudyInstanceUID", "PatientName", "PatientID", "NoKeyword"]
    details = {**CALLER, "sop_class_uid": FIND, "level": "STUDY", "keywords": keywords, "matches": 12, "status": "0000"}
    (root,) = parsed("query.answered", details)
    query = root.find(".//ParticipantObjectQuery")
    assert query is not None
    asked = dcmread(DicomBytesIO(base64.b64decode(query.text or "")), force=True)
    assert {element.keyword: element.value for element in asked} == {
        "QueryRetrieveLevel": "STUDY",
        "PatientName": "",
        "PatientID": "",
        "StudyInstanceUID": "",
    }
    told = {
        each.attrib["type"]: base64.b64decode(each.attrib["value"]) for each in root.iter("ParticipantObjectDetail")
    }
    assert told == {"TransferSyntax": b"1.2.840.10008.1.2", "Matches": b"12"}
