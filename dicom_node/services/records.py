"""What people decide and record: first into the journal beside the objects, then into the index.

A crash between the two is put right at the next start, and a rebuild reads the journal again, so losing the index loses
none of it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from typing import Any

from dicom_node.accreditation.policies import SURVEY_MONTHS, Override, Policy, Terms
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.standing import ReleaseState
from dicom_node.archive.journal import Journal
from dicom_node.index import decisions, entries, releases
from dicom_node.index.decisions import Decision, DecisionKind
from dicom_node.index.engine import Index
from dicom_node.index.entries import Entry, EntryKind
from dicom_node.index.releases import ReleaseVersion

_DECISION, _RELEASE, _CONTENT, _POLICY, _ENTRY = "decision", "release", "content", "policy", "entry"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentDecision:
    """Which of the contents of an instance a person decided to have served, by their digests."""

    sop_instance_uid: str
    digest: str
    set_aside: tuple[str, ...]
    """The others that were known then; one that comes later needs another decision."""
    reason: str
    decided_by: str
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedPolicy:
    """A policy, whole, that a person had standings worked out by from then on."""

    policy: Policy
    reason: str
    accepted_by: str
    accepted_at: datetime


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
            "instances": list(decision.instances),
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
            "cycle_id": release.cycle_id,
            "changed_by": release.changed_by,
            "changed_at": release.changed_at.isoformat(),
        },
    )


def save_entry(journal: Journal, entry: Entry) -> None:
    """Make a version of an entry durable; the caller puts it into the index next."""
    journal.append(
        _ENTRY,
        {
            "kind": entry.kind.value,
            "id": entry.id,
            "version": entry.version,
            "unit_id": entry.unit_id,
            "data": dict(entry.data),
            "note": entry.note,
            "changed_by": entry.changed_by,
            "changed_at": entry.changed_at.isoformat(),
        },
    )


def save_content(journal: Journal, decision: ContentDecision) -> None:
    """Make a decision about the contents of an instance durable; the caller carries it out next."""
    journal.append(
        _CONTENT,
        {
            "sop_instance_uid": decision.sop_instance_uid,
            "digest": decision.digest,
            "set_aside": list(decision.set_aside),
            "reason": decision.reason,
            "decided_by": decision.decided_by,
            "decided_at": decision.decided_at.isoformat(),
        },
    )


def save_policy(journal: Journal, accepted: AcceptedPolicy) -> None:
    """Make it durable that a policy is accepted."""
    journal.append(
        _POLICY,
        {
            "policy": _policy_record(accepted.policy),
            "reason": accepted.reason,
            "accepted_by": accepted.accepted_by,
            "accepted_at": accepted.accepted_at.isoformat(),
        },
    )


def policy_in_force(journal: Journal) -> AcceptedPolicy | None:
    """Return the policy that was accepted last, None when none ever was.

    Raises ObjectDamagedError when the journal is damaged.
    """
    last = None
    for kind, record in journal.read():
        if kind == _POLICY:
            last = record
    return None if last is None else _accepted(last)


def contents_in_force(journal: Journal) -> dict[str, ContentDecision]:
    """Return the decision that holds for each instance, by SOP Instance UID: the last one, with all set aside before.

    Raises ObjectDamagedError when the journal is damaged.
    """
    found: dict[str, ContentDecision] = {}
    for kind, record in journal.read():
        if kind != _CONTENT:
            continue
        new = _content(record)
        before = found.get(new.sop_instance_uid, new)
        set_aside = {*before.set_aside, before.digest, *new.set_aside} - {new.digest}
        found[new.sop_instance_uid] = replace(new, set_aside=tuple(sorted(set_aside)))
    return found


def replay(journal: Journal, index: Index) -> set[str]:
    """Put the decisions about exams, releases and entries that the index lacks into it.

    Returns the studies that were decided about.

    Raises ObjectDamagedError when the journal is damaged: nothing of it is guessed.
    """
    touched: set[str] = set()
    versions: dict[tuple[str, str | None, str, int], dict[str, Any]] = {}
    with index.write() as conn:
        for kind, record in journal.read():
            if kind == _DECISION:
                decision = _decision(record)
                if decisions.insert(conn, decision):
                    touched.add(decision.study_uid)
            elif kind in (_RELEASE, _ENTRY):
                versions[kind, record.get("kind"), record["id"], record["version"]] = record
        # A version that a crash kept from the commit may be followed by another of its number: the last was kept.
        for (kind, *_), record in versions.items():
            if kind == _RELEASE:
                releases.insert(conn, _release(record))
            else:
                entries.insert(conn, _entry(record))
    return touched


def _decision(record: Mapping[str, Any]) -> Decision:
    return Decision(
        **{
            **record,
            "kind": DecisionKind(record["kind"]),
            "instances": tuple(record.get("instances", ())),
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


def _entry(record: Mapping[str, Any]) -> Entry:
    return Entry(
        **{
            **record,
            "kind": EntryKind(record["kind"]),
            "changed_at": datetime.fromisoformat(record["changed_at"]),
        }
    )


def _content(record: Mapping[str, Any]) -> ContentDecision:
    return ContentDecision(
        **{
            **record,
            "set_aside": tuple(record["set_aside"]),
            "decided_at": datetime.fromisoformat(record["decided_at"]),
        }
    )


def _policy_record(policy: Policy) -> dict[str, Any]:
    record = asdict(policy)
    for each in (record, *record["overrides"]):
        each["months"] = {portion.value: months for portion, months in each["months"].items()}
        each.update({key: value.isoformat() for key, value in each.items() if isinstance(value, date)})
    return record


def _accepted(record: Mapping[str, Any]) -> AcceptedPolicy:
    policy = record["policy"]
    overrides = [Override(**_windows_read(each)) for each in policy["overrides"]]
    return AcceptedPolicy(
        **{
            **record,
            "policy": Policy(
                **{
                    **_windows_read(policy),
                    "overrides": tuple(overrides),
                    "terms": Terms(**policy.get("terms", {})),
                }
            ),
            "accepted_at": datetime.fromisoformat(record["accepted_at"]),
        }
    )


def _windows_read(record: Mapping[str, Any]) -> dict[str, Any]:
    days = {key: date.fromisoformat(record[key]) for key in ("revision", "first", "last") if key in record}
    # What was accepted before surveys were recorded has no months of them.
    months = {Portion.PHYSICIST: SURVEY_MONTHS} | {Portion(key): number for key, number in record["months"].items()}
    return {**record, **days, "months": months}
