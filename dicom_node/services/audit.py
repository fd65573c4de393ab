"""What the rooms have to say to the audit trail: one function for each kind of event, plain values in.

A line that cannot be written is told in the log and holds nothing up, with one exception: an instance whose line cannot
be written is not acknowledged. No line holds patient data: studies are named by their UIDs, queries by the keywords
they asked for.
"""

import os
import pwd
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dicom_node.errors import NodeError
from dicom_node.index.record import Outcome
from dicom_node.logs import get_logger

log = get_logger(__name__)

FEW = 20
"""Refusals of one address that are written one by one within ``MINUTE``; further ones are counted."""
MINUTE = 60.0
MOST_ADDRESSES = 1000
"""Addresses whose refusals are counted apart; when there are more, the others are counted together."""
MOST_STUDIES = 100
"""Studies of one association, or of one import, whose counts are held before they are written."""


class Trail(Protocol):
    """What lines are added to."""

    def append(self, event: str, details: Mapping[str, Any], *, durable: bool = False) -> object:
        """Add a line. Raises StorageUnavailableError when it could not be written."""


class NoTrail:
    """Keeps nothing: for what runs outside of a node."""

    def append(self, event: str, details: Mapping[str, Any], *, durable: bool = False) -> None:
        """Forget it."""


def note(trail: Trail, event: str, /, *, durable: bool = True, **details: Any) -> None:
    """Write a line; that it could not be written is told in the log."""
    try:
        trail.append(event, details, durable=durable)
    except NodeError as error:
        log.error("audit.not_written", kind=event, reason=str(error))


def process_user() -> str:
    """Return the name of the user of the system that this process runs as."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"


# The node itself.


def node_started(trail: Trail, *, version: str, port: int) -> None:
    """Record that the node has begun to listen."""
    note(trail, "node.started", by=process_user(), version=version, port=port)


def node_stopped(trail: Trail) -> None:
    """Record that the node has stopped in order."""
    note(trail, "node.stopped", by=process_user())


def config_reloaded(trail: Trail, *, changed: Sequence[str]) -> None:
    """Record that another configuration is in force; ``changed`` names the tables that differ."""
    note(trail, "config.reloaded", changed=list(changed))


def config_rejected(trail: Trail, *, problems: int) -> None:
    """Record that a new configuration was refused as a whole."""
    note(trail, "config.rejected", problems=problems)


# What people do.


def exam_decided(trail: Trail, *, by: str, decision: str, kind: str, study_uid: str, unit_id: str, value: str) -> None:
    """Record what a person decided about an exam; the reason stands in the journal."""
    note(trail, "exam.decided", by=by, decision=decision, kind=kind, study_uid=study_uid, unit=unit_id, value=value)


def content_decided(trail: Trail, *, by: str, study_uid: str, sop_instance_uid: str, digest: str) -> None:
    """Record which content of an instance a person decided to have served."""
    note(trail, "content.decided", by=by, study_uid=study_uid, sop_instance_uid=sop_instance_uid, digest=digest)


def release_recorded(
    trail: Trail, *, by: str, release_id: str, version: int, unit_id: str, state: str, released_on: str
) -> None:
    """Record a testing package, or a change of one."""
    note(
        trail,
        "release.recorded",
        by=by,
        release=release_id,
        version=version,
        unit=unit_id,
        state=state,
        released_on=released_on,
    )


def entry_kept(trail: Trail, *, by: str, kind: str, entry_id: str, version: int, unit_id: str) -> None:
    """Record a cycle, survey or log that a person wrote down, or a change of one; its words stand in the journal."""
    note(trail, "entry.kept", by=by, kind=kind, entry=entry_id, version=version, unit=unit_id)


def policy_accepted(trail: Trail, *, by: str, policy_id: str, before: str, reason: str) -> None:
    """Record that a person had standings worked out by a policy from now on; ``before`` is the id of the one before."""
    note(trail, "policy.accepted", by=by, policy=policy_id, before=before, reason=reason)


def alert_acknowledged(trail: Trail, *, by: str, alert: int, until: str) -> None:
    """Record that a person has seen an alert; ``until`` is a day, or "" for as long as it lasts."""
    note(trail, "alert.acknowledged", by=by, alert=alert, until=until)


def unit_silenced(trail: Trail, *, by: str, unit_id: str, until: str) -> None:
    """Record that messages about a unit are held, up to and including a day."""
    note(trail, "unit.silenced", by=by, unit=unit_id, until=until)


def unit_retired(trail: Trail, *, by: str, unit_id: str, retired_on: str, reason: str) -> None:
    """Record that a person wrote the last day in service of a unit into the configuration."""
    note(trail, "unit.retired", by=by, unit=unit_id, retired_on=retired_on, reason=reason)


def archive_verified(trail: Trail, *, by: str, checked: int, damaged: int, missing: int) -> None:
    """Record that stored objects were read again."""
    note(trail, "archive.verified", by=by, checked=checked, damaged=damaged, missing=missing)


def index_rebuilt(trail: Trail, *, by: str, indexed: int, damaged: int) -> None:
    """Record that the index was made anew."""
    note(trail, "index.rebuilt", by=by, indexed=indexed, damaged=damaged)


def reattribution_began(trail: Trail, *, by: str, reason: str, exams: int, instances: int) -> None:
    """Record that a person has stored instances made anew by the units and rules in force: how many will change."""
    note(trail, "reattribution.began", by=by, reason=reason, exams=exams, instances=instances)


def reattribution_ended(trail: Trail, *, by: str, instances: int, left: int) -> None:
    """Record how many instances were changed, and how many have still to be."""
    note(trail, "reattribution.ended", by=by, instances=instances, left=left)


def trail_exported(trail: Trail, *, by: str, lines: int) -> None:
    """Record that the trail itself was read out."""
    note(trail, "audit.exported", by=by, lines=lines)


def package_built(
    trail: Trail,
    *,
    by: str,
    release_ids: Sequence[str],
    unit_ids: Sequence[str],
    studies: Mapping[str, Mapping[str, int]],
    seal: str,
) -> None:
    """Record that originals leave the node as an evidence package: how many of each SOP class, by study.

    ``seal`` is the SHA-256 of its list of sums.
    """
    note(
        trail,
        "package.built",
        by=by,
        releases=list(release_ids),
        units=list(unit_ids),
        studies={uid: dict(classes) for uid, classes in studies.items()},
        seal=seal,
    )


class ImportAudit:
    """What one import took in, study by study; ``end`` writes what is left."""

    def __init__(self, trail: Trail, *, by: str) -> None:
        """Record what the person ``by`` takes in."""
        self._trail = trail
        self._by = by
        self._studies: dict[str, Counter[str]] = {}

    def took(self, study_uid: str, sop_class_uid: str) -> None:
        """Count an instance."""
        if study_uid not in self._studies and len(self._studies) >= MOST_STUDIES:
            self.end()
        self._studies.setdefault(study_uid, Counter())[sop_class_uid] += 1

    def end(self) -> None:
        """Write what was counted since the last line."""
        if self._studies:
            note(self._trail, "files.imported", by=self._by, studies=self._studies)
            self._studies = {}


# What callers do.


@dataclass(slots=True)
class _Refusals:
    """Refusals of one address."""

    began: float
    written: int = 0
    counted: int = 0
    last: dict[str, Any] = field(default_factory=dict)


def commitment_reported(
    trail: Trail, *, calling_ae: str, called_ae: str, peer: str, transaction_uid: str, committed: int, failed: int
) -> None:
    """Record that a caller was told how many of the instances it asked about the node keeps, and how many not."""
    note(
        trail,
        "commitment.reported",
        calling_ae=calling_ae,
        called_ae=called_ae,
        peer=peer,
        transaction_uid=transaction_uid,
        committed=committed,
        failed=failed,
    )


class CallAudit:
    """Records the associations of one process. Used from the threads of all of them."""

    def __init__(self, trail: Trail, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Record in ``trail``; ``clock`` counts seconds."""
        self._trail = trail
        self._clock = clock
        self._refusals: dict[str, _Refusals] = {}
        self._lock = threading.Lock()

    def association(self, *, calling_ae: str, called_ae: str, peer: str) -> "AssociationAudit":
        """Return what records one association; nothing is written yet."""
        self._tell_counted()
        caller = {"association": secrets.token_hex(6), "calling_ae": calling_ae, "called_ae": called_ae, "peer": peer}
        return AssociationAudit(self._trail, caller)

    def refused(
        self, *, calling_ae: str, called_ae: str, peer: str, code: str, reason: str, needs: Sequence[str] = ()
    ) -> None:
        """Record a refusal, ``code`` being result/source/reason of the A-ASSOCIATE-RJ; of a flood the first ones.

        ``needs`` are permissions of which each would have admitted it.
        The others of the same address are counted, and told once a minute while they last.
        """
        details: dict[str, Any] = {"calling_ae": calling_ae, "called_ae": called_ae, "peer": peer}
        details |= {"code": code, "reason": reason, **({"needs": list(needs)} if needs else {})}
        self._tell_counted()
        now = self._clock()
        with self._lock:
            address = peer if peer in self._refusals or len(self._refusals) < MOST_ADDRESSES else ""
            known = self._refusals.setdefault(address, _Refusals(now))
            if known.written >= FEW:
                known.counted += 1
                known.last = details
                return
            known.written += 1
        note(self._trail, "association.refused", durable=False, **details)

    def end(self) -> None:
        """Write what was counted and not told yet."""
        self._tell_counted(at_once=True)

    def _tell_counted(self, *, at_once: bool = False) -> None:
        now = self._clock()
        told = []
        with self._lock:
            for address, known in [*self._refusals.items()]:
                if not at_once and now - known.began < MINUTE:
                    continue
                if known.counted:
                    told.append({**known.last, "count": known.counted})
                    known.began, known.counted = now, 0
                else:
                    del self._refusals[address]  # a minute without one
        for details in told:
            note(self._trail, "association.refused", durable=False, **details)


class AssociationAudit:
    """Records what one association does."""

    def __init__(self, trail: Trail, caller: Mapping[str, str]) -> None:
        """Record for the association and caller that ``caller`` tells: association, calling_ae, called_ae, peer."""
        self._trail = trail
        self._caller = caller
        self._studies: dict[str, dict[Outcome, Counter[str]]] = {}
        self._lock = threading.Lock()
        self._is_open, self._name = False, ""

    def accepted(self, *, name: str, contexts: int) -> None:
        """Record that it was accepted: the caller as the configuration names it, and how many contexts."""
        self._is_open, self._name = True, name
        self._note("association.accepted", name=name, contexts=contexts)

    def stored(self, *, study_uid: str, sop_class_uid: str, outcome: Outcome, received_at: str) -> None:
        """Count an instance, before it is acknowledged; the first of its study is recorded at once.

        ``received_at`` is when it began to arrive, UTC. Raises StorageUnavailableError when the line could not be
        written.
        """
        with self._lock:
            if study_uid not in self._studies:
                self._trail.append("store.began", {**self._caller, "study_uid": study_uid, "since": received_at})
                if len(self._studies) >= MOST_STUDIES:
                    self._end_transfers()
            counts = self._studies.setdefault(study_uid, {}).setdefault(outcome, Counter())
            counts[sop_class_uid] += 1
            if not self._is_open:  # it ended while the instance was taken in
                self._end_transfers()

    def queried(self, *, sop_class_uid: str, level: str, keywords: Iterable[str], matches: int, status: str) -> None:
        """Record a query that has ended: what it asked for, never the values. ``status`` is hexadecimal or ""."""
        self._note(
            "query.answered",
            sop_class_uid=sop_class_uid,
            level=level,
            keywords=sorted(keywords),
            matches=matches,
            status=status,
        )

    def retrieve_began(self, *, study_uids: Collection[str], destination_ae: str, destination: str) -> None:
        """Record that the node begins to send; ``destination`` is the address, for C-GET the caller's own."""
        self._note(
            "retrieve.began", study_uids=sorted(study_uids), destination_ae=destination_ae, destination=destination
        )

    def retrieve_ended(
        self,
        *,
        study_uids: Collection[str],
        destination_ae: str,
        destination: str,
        sent: int,
        failed: int,
        status: str,
    ) -> None:
        """Record how many instances the node sent, how many were not taken, and the final status in hexadecimal.

        A request that was refused has no studies; the destination is then as it was asked for.
        """
        self._note(
            "retrieve.ended",
            study_uids=sorted(study_uids),
            destination_ae=destination_ae,
            destination=destination,
            sent=sent,
            failed=failed,
            status=status,
        )

    def ended(self, *, how: str, seconds: float, instances: int = 0, refused: int = 0) -> None:
        """Record the end, once: ``how`` is ``released``, ``aborted`` or ``broken``; and before it what was stored.

        Of an association that was not accepted there is no end.
        """
        with self._lock:
            self._end_transfers()
            if not self._is_open:
                return
            self._is_open = False
        self._note("association.ended", name=self._name, how=how, seconds=seconds, instances=instances, refused=refused)

    def _end_transfers(self) -> None:
        for study_uid, counts in self._studies.items():
            self._note("store.ended", study_uid=study_uid, **{outcome.value: each for outcome, each in counts.items()})
        self._studies = {}

    def _note(self, event: str, **details: Any) -> None:
        note(self._trail, event, durable=False, **self._caller, **details)
