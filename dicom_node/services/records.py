"""What people decide and record: first into the journal beside the objects, then into the index.

A crash between the two is put right at the next start, and a rebuild reads the journal again, so losing the index loses
none of it.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from dicom_node.accreditation.standing import ReleaseState
from dicom_node.archive.journal import Journal
from dicom_node.index import decisions, releases
from dicom_node.index.decisions import Decision, DecisionKind
from dicom_node.index.engine import Index
from dicom_node.index.releases import ReleaseVersion

_DECISION, _RELEASE = "decision", "release"


def save_decision(journal: Journal, decision: Decision) -> None:
    """Make a decision durable; the caller puts it into the index next."""
    journal.append(
        _DECISION,
        {
            "id": decision.id,
            "kind": decision.kind.value,
            "study_uid": decision.study_uid,
            "unit_id": decision.unit_id,
            "value": decision.value,
            "reason": decision.reason,
            "decided_by": decision.decided_by,
            "decided_at": decision.decided_at.isoformat(),
        },
    )


def save_release(journal: Journal, release: ReleaseVersion) -> None:
    """Make a version of a testing package durable; the caller puts it into the index next."""
    journal.append(
        _RELEASE,
        {
            "id": release.id,
            "version": release.version,
            "unit_id": release.unit_id,
            "released_on": release.released_on.isoformat(),
            "due_on": release.due_on.isoformat() if release.due_on else None,
            "state": release.state.value,
            "note": release.note,
            "changed_by": release.changed_by,
            "changed_at": release.changed_at.isoformat(),
        },
    )


def replay(journal: Journal, index: Index) -> set[str]:
    """Put what the journal has and the index lacks into the index; return the studies it decides about.

    Raises ObjectDamagedError when the journal is damaged: nothing of it is guessed.
    """
    touched: set[str] = set()
    with index.write() as conn:
        for kind, record in journal.read():
            if kind == _DECISION:
                decision = _decision(record)
                if decisions.insert(conn, decision):
                    touched.add(decision.study_uid)
            elif kind == _RELEASE:
                releases.insert(conn, _release(record))
    return touched


def _decision(record: Mapping[str, Any]) -> Decision:
    return Decision(
        **{
            **record,
            "kind": DecisionKind(record["kind"]),
            "decided_at": datetime.fromisoformat(record["decided_at"]),
        }
    )


def _release(record: Mapping[str, Any]) -> ReleaseVersion:
    return ReleaseVersion(
        **{
            **record,
            "released_on": date.fromisoformat(record["released_on"]),
            "due_on": date.fromisoformat(record["due_on"]) if record["due_on"] else None,
            "state": ReleaseState(record["state"]),
            "changed_at": datetime.fromisoformat(record["changed_at"]),
        }
    )
