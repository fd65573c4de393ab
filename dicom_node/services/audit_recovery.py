"""What a crash kept from the audit trail, added at the start of the node."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from dicom_node.archive.audit import AuditRecord, AuditTrail
from dicom_node.index.contents import Receipt, received_since
from dicom_node.index.engine import Index
from dicom_node.index.record import Outcome
from dicom_node.services.audit import note

LOOKED_AT = 100_000
"""Lines that are looked through, from the end, for the last start of the node."""

BEFORE = timedelta(hours=1)
"""How long an instance may have been on its way before its association's first line."""

LAST = timedelta(seconds=5)
"""What came in so short a time before the last line is told again: another line may tell it, or may have been lost."""

_Key = tuple[str, str, str]
"""Study Instance UID, calling AE title and address."""


@dataclass(slots=True)
class _Run:
    """What the trail tells of the last run of the node."""

    last_at: datetime | None = None
    began_at: datetime | None = None
    stopped: bool = False
    told_at: dict[_Key, datetime] = field(default_factory=dict)
    """When the last transfer that has ended was recorded."""
    open: dict[_Key, AuditRecord] = field(default_factory=dict)
    """The first line of transfers whose end is not recorded."""


def recover_transfers(trail: AuditTrail, index: Index) -> int:
    """Record what was stored in the last run of the node and no line tells the end of; return how many transfers.

    That is what a killed process was at, and what was acknowledged in the second before a power cut. An instance that
    came again with the same content then left no row, so it is not among them. To be called before anything is
    received. Raises StorageUnavailableError, DatabaseError.
    """
    run = _last_run(trail.read_back())
    if run.last_at is None or run.began_at is None or (run.stopped and not run.open):
        return 0
    since = [datetime.fromisoformat(record.details["since"]) for record in run.open.values()]
    if not run.stopped:
        since.append(max(run.began_at, run.last_at - BEFORE))
    missing: dict[tuple[_Key, str], dict[Outcome, Counter[str]]] = {}
    with index.read() as conn:
        for receipt in received_since(conn, min(since)):
            key = (receipt.study_uid, receipt.calling_ae, receipt.peer_address)
            if _is_missing(receipt, key, run):
                outcome = Outcome.NEW if receipt.sop_class_uid else Outcome.CONFLICT
                counts = missing.setdefault((key, receipt.called_ae), {}).setdefault(outcome, Counter())
                counts[receipt.sop_class_uid] += 1
    for (key, called_ae), outcomes in missing.items():
        began = run.open.get(key)
        details: dict[str, Any] = {
            "association": began.details["association"] if began else "",
            "calling_ae": key[1],
            "called_ae": began.details["called_ae"] if began else called_ae,
            "peer": key[2],
            "study_uid": key[0],
            "recovered": True,
            **{outcome.value: each for outcome, each in outcomes.items()},
        }
        note(trail, "store.ended", **details)
    return len(missing)


def _last_run(newest_first: Iterable[AuditRecord]) -> _Run:
    run = _Run()
    ended = set()
    for record in islice(newest_first, LOOKED_AT):
        run.last_at = run.last_at or record.at
        run.began_at = record.at
        if record.event == "node.started":
            break
        if record.event == "node.stopped":
            run.stopped = True
        elif record.event in {"store.began", "store.ended"}:
            details = record.details
            key = (details["study_uid"], details["calling_ae"], details["peer"])
            if record.event == "store.ended":
                ended.add((details["association"], *key))
                run.told_at.setdefault(key, record.at)
            elif (details["association"], *key) not in ended:
                run.open[key] = record
    return run


def _is_missing(receipt: Receipt, key: _Key, run: _Run) -> bool:
    if not receipt.peer_address:
        return False  # imported: that has a line of its own
    began, told_at = run.open.get(key), run.told_at.get(key)
    if began is not None and receipt.received_at >= datetime.fromisoformat(began.details["since"]):
        return True
    if run.stopped or run.last_at is None:
        return False
    return told_at is None or receipt.received_at > min(told_at, run.last_at - LAST)
