"""Which of several contents under one SOP Instance UID is served: decided by a person, carried out, kept for good."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from dicom_node.archive.store import LocalArchive
from dicom_node.dicom.facts import ReadInstance
from dicom_node.errors import ObjectDamagedError, OperatorError
from dicom_node.index import conflicts, exam_upkeep
from dicom_node.index.conflicts import Conflict, Content
from dicom_node.index.record import write_entries
from dicom_node.logs import get_logger
from dicom_node.services import audit, records
from dicom_node.services.decisions import Verdict
from dicom_node.services.ingest import Indexer
from dicom_node.services.records import ContentDecision
from dicom_node.services.recover import read_object
from dicom_node.services.review import want_review

log = get_logger(__name__)

FIRST = "first"
"""Stands for the content that was received first."""


class ConflictDecisions:
    """Decisions about instances that came with several contents. Each is durable, and survives a rebuild."""

    def __init__(self, *, archive: LocalArchive, indexer: Indexer) -> None:
        """Work on the index of ``indexer`` and the journal and objects of ``archive``."""
        self._archive = archive
        self._indexer = indexer

    def all(self) -> list[Conflict]:
        """Return every instance that came with several contents, decided or not."""
        with self._indexer.index.read() as conn:
            return conflicts.conflicts(conn)

    def differences(self, conflict: Conflict) -> list[str]:
        """Return what of the header differs between the contents: keywords alone, never a value.

        Empty when it is the pixels, or something that no index reads. Raises ObjectDamagedError.
        """
        heads = [_header(read_object(self._archive, content.digest)[0]) for content in conflict.contents]
        return sorted(
            keyword for keyword in set().union(*heads) if len({head.get(keyword, None) for head in heads}) > 1
        )

    def keep(self, sop_instance_uid: str, which: str, verdict: Verdict) -> Conflict:
        """Serve the content whose digest begins with ``which``, or ``FIRST``, and set the others aside.

        The others stay in the archive. Raises OperatorError when there is no such conflict or content, or no reason;
        ObjectDamagedError when an object of the study cannot be read: nothing is decided then.
        """
        if not verdict.reason.strip():
            raise OperatorError("a decision needs a reason, in words that the next person understands")
        with self._indexer.index.write() as conn:
            conflict = self._conflict(conn, sop_instance_uid)
            chosen = _choose(conflict, which)
            decision = ContentDecision(
                sop_instance_uid=sop_instance_uid,
                digest=chosen.digest,
                set_aside=tuple(each.digest for each in conflict.contents if each is not chosen),
                reason=verdict.reason.strip(),
                decided_by=verdict.by,
                decided_at=verdict.at,
            )
            self._carry_out(conn, conflict, decision)
            # Last of what may fail, yet before the commit: what the journal has can be carried out.
            records.save_content(self._archive.journal, decision)
        audit.content_decided(
            self._archive.audit,
            by=verdict.by,
            study_uid=chosen.study_uid,
            sop_instance_uid=sop_instance_uid,
            digest=chosen.digest,
        )
        with self._indexer.index.read() as conn:
            return self._conflict(conn, sop_instance_uid)

    def replay(self) -> None:
        """Carry out what the journal holds and a crash, or making the index anew, kept from the index."""
        for decision in records.contents_in_force(self._archive.journal).values():
            try:
                with self._indexer.index.write() as conn:
                    conflict = conflicts.conflict_of(conn, decision.sop_instance_uid)
                    if conflict is not None and not _is_carried_out(conflict, decision):
                        self._carry_out(conn, conflict, decision)
            except ObjectDamagedError as error:
                log.error("conflict.not_carried_out", sop_uid=decision.sop_instance_uid, reason=str(error))

    def _carry_out(self, conn: Connection, conflict: Conflict, decision: ContentDecision) -> None:
        if conflict.served.digest != decision.digest:
            chosen = next((each for each in conflict.contents if each.digest == decision.digest), None)
            if chosen is not None:
                self._serve(conn, conflict.served, chosen)
        # The rows of other conflicts of the studies were made anew as well.
        for each in [*records.contents_in_force(self._archive.journal).values(), decision]:
            conflicts.settle(
                conn,
                each.sop_instance_uid,
                each.set_aside,
                by=each.decided_by,
                at=each.decided_at,
                reason=each.reason,
            )
        want_review(conn)

    def _serve(self, conn: Connection, before: Content, chosen: Content) -> None:
        """Write the studies of both contents anew, as if ``chosen`` had been recorded first."""
        study_uids = {before.study_uid, chosen.study_uid}
        order = []
        for digest, is_served in conflicts.digests_of(conn, study_uids):
            read, provenance, size = read_object(self._archive, digest)
            comes_first = digest == chosen.digest or (is_served and digest != before.digest)
            entry = self._indexer.entry(read, provenance, digest=digest, size=size)
            order.append((not comes_first, provenance.received_at, digest, entry))
        elsewhere = conflicts.forget_studies(conn, study_uids)
        write_entries(conn, [entry for *_, entry in sorted(order, key=lambda each: each[:3])])
        exam_upkeep.refold(conn, elsewhere)

    def _conflict(self, conn: Connection, sop_instance_uid: str) -> Conflict:
        conflict = conflicts.conflict_of(conn, sop_instance_uid)
        if conflict is None:
            raise OperatorError("no other content is kept under this SOP Instance UID; see: dicom-node exams conflicts")
        return conflict


def _choose(conflict: Conflict, which: str) -> Content:
    if which == FIRST:
        return conflict.contents[0]
    chosen: Sequence[Content] = [each for each in conflict.contents if each.digest.startswith(which.lower())]
    if len(chosen) != 1:
        known = ", ".join(each.digest[:12] for each in conflict.contents)
        raise OperatorError(f"{'several contents begin' if chosen else 'no content begins'} so; they are {known}")
    return chosen[0]


def _is_carried_out(conflict: Conflict, decision: ContentDecision) -> bool:
    return all(
        each.served if each.digest == decision.digest else each.decided_at is not None
        for each in conflict.contents
        if each.digest in {decision.digest, *decision.set_aside}
    )


def _header(read: ReadInstance) -> dict[str, Any]:
    facts = read.facts
    return dict(facts.attributes) | {
        "SOPClassUID": facts.sop_class_uid,
        "StudyInstanceUID": facts.study_uid,
        "SeriesInstanceUID": facts.series_uid,
        "TransferSyntaxUID": facts.transfer_syntax_uid,
    }
