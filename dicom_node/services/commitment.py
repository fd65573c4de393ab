"""Storage commitment: whether what a sender asks about is in custody, told by reading every byte of it again.

A request is a row before it is acknowledged, and stays one until its report was taken. It is looked at in small steps
and held meanwhile, so that nobody else reports it too.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dicom_node.archive.store import LocalArchive
from dicom_node.archive.verify import rehashing
from dicom_node.dicom.commitment import FailureReason, Reference, Report, Request
from dicom_node.errors import NodeError, ObjectDamagedError, ObjectMissingError, StorageUnavailableError
from dicom_node.index import commitments
from dicom_node.index.commitments import GIVEN_UP, REPORTED, Held, Sender
from dicom_node.index.engine import Index
from dicom_node.logs import get_logger
from dicom_node.services.audit import commitment_reported

log = get_logger(__name__)

GRACE = timedelta(seconds=10)
"""How long instances may come after the request for them: a sender may still be storing on another association."""

LEASE = timedelta(minutes=5)
"""How long a request is held without a word: longer than an instance or a response may let it wait."""

FRESH = timedelta(hours=1)
"""How long what was read again is told without reading it once more, when a report was not taken."""

GIVE_UP = timedelta(days=7)
"""How long a report is tried."""

KEPT = timedelta(days=90)
"""How long requests stay listed after they ended."""

STEP = 0.05
"""Seconds that one step of looking takes, in about."""

_RENEWED_EVERY = 60.0


class LeaseLostError(NodeError):
    """Somebody else looks after the request now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitments:
    """The use case. ``is_storage`` tells whether the node stores instances of a SOP class."""

    index: Index
    archive: LocalArchive
    is_storage: Callable[[str], bool]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    grace: timedelta = GRACE

    def accept(self, request: Request, sender: Sender) -> Held:
        """Keep a request durably and hold it. Raises DatabaseError."""
        now = self.now()
        with self.index.write() as conn:
            commitments.forget(conn, now - KEPT)
            held = commitments.accept(
                conn,
                request.transaction_uid,
                sender,
                request.references,
                in_use=FailureReason.DUPLICATE_TRANSACTION_UID,
                now=now,
                lease=LEASE,
            )
        log.info("commitment.accepted", instances=len(held.requested), **_facts(held))
        return held

    def claim(self) -> list[Held]:
        """Hold the requests of one sender whose reports are due, none when none is. Raises DatabaseError."""
        now = self.now()
        with self.index.read() as conn:
            if not commitments.is_any_due(conn, now, LEASE):
                return []  # the common case, without the lock that stores wait for
        with self.index.write() as conn:
            return commitments.claim(conn, now=now, lease=LEASE)

    def is_early(self, held: Held) -> bool:
        """Tell whether instances of a request may still be on their way. Raises DatabaseError."""
        if held.refusal is not None or not timedelta(0) <= self.now() - held.created_at < self.grace:
            return False
        uids = [uid for sop_class_uid, uid in held.requested if self.is_storage(sop_class_uid)]
        with self.index.read() as conn:
            known = commitments.objects_of(conn, uids)
        return any(uid not in known for uid in uids)

    def look(self, held: Held) -> Generator[None, None, Report]:
        """Look at every instance of a request in steps of about ``STEP`` seconds; return the report.

        Raises DatabaseError, and LeaseLostError when somebody else looks after the request.
        """
        failures: Sequence[tuple[int, int]]
        if held.refusal is not None:
            failures = [(place, held.refusal) for place in range(len(held.requested))]
        elif held.checked_at is not None and timedelta(0) <= self.now() - held.checked_at < FRESH:
            failures = held.failures
        else:
            failures = yield from self._look_again(held)
        reasons = dict(failures)
        references = [Reference(*pair) for pair in held.requested]
        return Report(
            held.transaction_uid,
            [reference for place, reference in enumerate(references) if place not in reasons],
            [(references[place], FailureReason(reason)) for place, reason in failures],
        )

    def reported(self, held: Held, report: Report) -> None:
        """Take note that the sender took the report. Raises DatabaseError."""
        with self.index.write() as conn:
            commitments.finish(conn, held, REPORTED, now=self.now())
        commitment_reported(
            self.archive.audit,
            calling_ae=held.sender.calling_ae,
            called_ae=held.sender.called_ae,
            peer=held.sender.peer_address,
            transaction_uid=held.transaction_uid,
            committed=len(report.held),
            failed=len(report.failed),
        )
        log.info("commitment.reported", held=len(report.held), failed=len(report.failed), **_facts(held))

    def not_reported(self, held: Held, why: str) -> None:
        """Put a request back whose report could not be delivered, or give it up. Raises DatabaseError."""
        now = self.now()
        given_up = now - held.created_at >= GIVE_UP
        with self.index.write() as conn:
            if given_up:
                commitments.finish(conn, held, GIVEN_UP, error=why, now=now)
            else:
                commitments.retry(conn, held, error=why, now=now)
        if given_up:
            log.error("commitment.given_up", reason=why, attempt=held.attempts + 1, **_facts(held))
        else:
            log.warning("commitment.not_reported", reason=why, attempt=held.attempts + 1, **_facts(held))

    def put_back(self, held: Held, after: timedelta = timedelta(0)) -> None:
        """Leave a request to whoever looks next, after a time. Raises DatabaseError."""
        with self.index.write() as conn:
            commitments.put_back(conn, held, self.now() + after)

    def free_all(self) -> None:
        """Free what a node that is gone held. Raises DatabaseError."""
        with self.index.write() as conn:
            commitments.free_all(conn, self.now())

    # Looking.

    def _look_again(self, held: Held) -> Generator[None, None, list[tuple[int, int]]]:
        turn = _Turn(lambda: self._hold_on(held))
        turn.hold_on()
        with self.index.read() as conn:
            known = commitments.objects_of(conn, [uid for _, uid in held.requested])
        yield
        verdicts: dict[str, FailureReason | None] = {}
        failures = []
        for place, (sop_class_uid, uid) in enumerate(held.requested):
            sop_class_held, digests = known.get(uid, ("", []))
            reason: FailureReason | None = None
            if not digests:
                reason = FailureReason.NO_SUCH_OBJECT_INSTANCE
                if not self.is_storage(sop_class_uid):
                    reason = FailureReason.SOP_CLASS_NOT_SUPPORTED
            elif sop_class_held != sop_class_uid:
                reason = FailureReason.CLASS_INSTANCE_CONFLICT
            for digest in digests if reason is None else ():
                if digest not in verdicts:
                    verdicts[digest] = yield from self._read_again(digest, turn)
                reason = reason or verdicts[digest]
            if reason is not None:
                failures.append((place, int(reason)))
        if FailureReason.RESOURCE_LIMITATION not in verdicts.values():
            with self.index.write() as conn:
                still = commitments.save_check(conn, held, failures, self.now())
            if not still:
                raise _lost()
        return failures

    def _read_again(self, digest: str, turn: "_Turn") -> Generator[None, None, FailureReason | None]:
        """Read an object to its end; return what is wrong with it."""
        try:
            for _ in rehashing(self.archive, digest):
                yield from turn.rest()
        except ObjectMissingError:
            log.error("object.missing", digest=digest)
            return FailureReason.NO_SUCH_OBJECT_INSTANCE
        except ObjectDamagedError as error:
            log.error("object.unreadable", digest=digest, reason=str(error))
            return FailureReason.PROCESSING_FAILURE
        except StorageUnavailableError as error:
            log.error("object.unreadable", digest=digest, reason=str(error))
            return FailureReason.RESOURCE_LIMITATION
        return None

    def _hold_on(self, held: Held) -> None:
        with self.index.write() as conn:
            if not commitments.hold_on(conn, held, self.now(), LEASE):
                raise _lost()


def _lost() -> LeaseLostError:
    return LeaseLostError("somebody else looks after the request")


class _Turn:
    """Tells when a step has lasted long enough, and holds on to the request when that is due."""

    def __init__(self, hold_on: Callable[[], None]) -> None:
        self._hold_on = hold_on
        self._began = self._renewed = time.monotonic()

    def hold_on(self) -> None:
        self._hold_on()
        self._renewed = time.monotonic()

    def rest(self) -> Iterator[None]:
        """Yield when the step has lasted long enough."""
        now = time.monotonic()
        if now - self._renewed > _RENEWED_EVERY:
            self.hold_on()
        if now - self._began > STEP:
            yield
            self._began = time.monotonic()


def _facts(held: Held) -> dict[str, str]:
    return {
        "transaction_uid": held.transaction_uid,
        "calling_ae": held.sender.calling_ae,
        "name": held.sender.caller,
        "peer": held.sender.peer_address,
    }
