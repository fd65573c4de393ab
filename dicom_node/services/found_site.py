"""What needs people and concerns no known unit: unknown devices, exams without a unit, contents that differ."""

from collections.abc import Iterator
from datetime import date

from sqlalchemy import Connection

from dicom_node.accreditation.ambiguity import clashes
from dicom_node.accreditation.policies import Policy
from dicom_node.accreditation.reminders import Severity
from dicom_node.accreditation.units import Registry
from dicom_node.alerts.notice import AlertKind
from dicom_node.index import findings
from dicom_node.services.finding import LONGEST, Found, accredited_rule, joined, quoted, sender, stage, told, week


def unknown_devices(conn: Connection, policy: Policy, since: date) -> Iterator[Found]:
    """Yield the devices that made biopsy images and are no unit."""
    for device in findings.unknown_devices(conn, since):
        name = f"serial={quoted(device.serial)}" if device.serial else f"station={quoted(device.station)}"
        yield Found(
            key=f"unregistered_unit/{name}",
            kind=AlertKind.UNREGISTERED_UNIT,
            severity=Severity.CRITICAL,
            stage=stage("unregistered", week(device.exams.last_received_at)),
            details={
                "state": "found",
                "serial": device.serial[:LONGEST],
                "station": device.station[:LONGEST],
                "manufacturer": device.manufacturer[:LONGEST],
                "sender": device.sender,
                "rule": accredited_rule(policy),
            }
            | told(device.exams),
        )


def ambiguous_exams(conn: Connection, registry: Registry, since: date) -> Iterator[Found]:
    """Yield the exams that may count and that two or more units match, by sender and units."""
    for waiting in findings.ambiguous_exams(conn, since):
        found = clashes(waiting.doubts, waiting.candidates, registry)
        yield Found(
            key=f"ambiguous/{sender(waiting.sender)}/{joined(waiting.candidates)}",
            kind=AlertKind.AMBIGUOUS,
            severity=Severity.WARNING,
            stage=stage("ambiguous", week(waiting.exams.last_received_at)),
            details={
                "state": "found",
                "sender": waiting.sender,
                "candidates": list(waiting.candidates),
                "doubts": list(waiting.doubts),
                "clashing": list(found.clashing),
                "missing": list(found.missing),
            }
            | told(waiting.exams),
        )


def unattributed_exams(conn: Connection, since: date) -> Iterator[Found]:
    """Yield the exams that may count and wait to be told their unit, with one candidate or none, by sender."""
    for waiting in findings.unattributed_exams(conn, since):
        yield Found(
            key=f"unattributed/{sender(waiting.sender)}",
            kind=AlertKind.UNATTRIBUTED,
            severity=Severity.WARNING,
            stage=stage("unattributed", week(waiting.exams.last_received_at)),
            details={
                "state": "found",
                "sender": waiting.sender,
                "candidates": list(waiting.candidates),
                "doubts": list(waiting.doubts),
            }
            | told(waiting.exams),
        )


def conflicts(conn: Connection) -> Iterator[Found]:
    """Yield the contents that differ under one SOP Instance UID, by sender."""
    for conflict in findings.conflicts(conn):
        yield Found(
            key=f"conflict/{sender(conflict.sender)}",
            kind=AlertKind.CONFLICT,
            severity=Severity.WARNING,
            stage=stage("conflict", week(conflict.last_received_at)),
            details={
                "state": "found",
                "sender": conflict.sender,
                "count": conflict.count,
                "studies": conflict.studies,
            },
        )
