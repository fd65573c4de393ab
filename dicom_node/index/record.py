"""One instance, or a group of them, becomes rows: what happens inside the one transaction.

The rows do not depend on the order in which instances come, so that a rebuild from the files gives the same: the values
of a study and of a series are those of its instance received first. The one exception is the promise itself: of two
contents under one SOP Instance UID, the one recorded first stays the one served.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from sqlalchemy import Connection, bindparam, select

from dicom_node.accreditation.derive import Derivation
from dicom_node.accreditation.signals import DateCandidate
from dicom_node.dicom.facts import InstanceFacts, Provenance
from dicom_node.index import decisions
from dicom_node.index.decisions import InForce
from dicom_node.index.exam_tally import Member
from dicom_node.index.exam_upkeep import ExamKey, GrowingExam, held_tally, refold, save_grown
from dicom_node.index.exams import exam_id
from dicom_node.index.known import Known, Place, look_up, look_up_with_place, whole_series, whole_study
from dicom_node.index.merged import SERIES, Merged, save_studies
from dicom_node.index.prepared import Cursor, Prepared
from dicom_node.index.rows import Row, derived_values, instance_values, merge_series, merge_study, unit_of
from dicom_node.index.tables import conflict, instance, rejection

_LOOKUP_SIZE = 500
"""Most values in one IN list, so that a large key object selection stays below the limits of both databases."""

_EXAMS_OF = (
    select(instance.c.study_uid, instance.c.unit_id)
    .distinct()
    .where(instance.c.sop_instance_uid.in_(bindparam("uids", expanding=True)))
)
_KNOWN_CONFLICTS = select(conflict.c.sop_instance_uid, conflict.c.digest).where(
    conflict.c.sop_instance_uid.in_(bindparam("uids", expanding=True))
)
_INSERT_INSTANCE = Prepared(instance.insert())


class Outcome(StrEnum):
    """What became of an instance that was to be recorded."""

    NEW = "new"
    DUPLICATE = "duplicate"
    """Known with the same content: nothing was written."""
    CONFLICT = "conflict"
    """Known with other content: noted beside the first, which stays the one served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An instance whose object is durable, with what the rules make of it."""

    facts: InstanceFacts
    provenance: Provenance
    digest: str
    """Lower-case hex SHA-256 of the data set."""
    size: int
    """Bytes of the data set."""
    derivation: Derivation
    """By the rules alone."""
    derive_for: Callable[[str], Derivation]
    """What the rules make of it when a person assigned it to a unit."""
    dates: tuple[DateCandidate, ...] = ()
    """Every date that was considered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of an entry."""

    outcome: Outcome
    unit: str
    """The unit it is of, as the rules or a person said; "" when nobody can tell."""
    exam_id: str | None = None
    """The exam that a new instance is part of, None when there is none."""


def write_entries(conn: Connection, entries: Sequence[Entry]) -> list[Recorded]:
    """Write the rows of ``entries``, in their order, and return what became of each."""
    group = _Group(conn)
    taken = [group.take(entry) for entry in entries]
    present = group.write()
    recorded = []
    for (outcome, unit), entry in zip(taken, entries, strict=True):
        key = entry.facts.study_uid, unit
        in_exam = outcome is Outcome.NEW and key in present
        recorded.append(Recorded(outcome=outcome, unit=unit, exam_id=exam_id(*key) if in_exam else None))
    return recorded


class _Group:
    """The rows of a group of entries: looked up and merged entry by entry, then written together."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._cursor = Cursor(conn)
        self._places: dict[tuple[str, str, str], Place] = {}
        self._digests: dict[str, str] = {}
        self._in_force: dict[str, InForce] = {}
        self._studies: dict[str, Merged] = {}
        self._series: dict[tuple[str, str], Merged] = {}
        self._exams: dict[ExamKey, GrowingExam] = {}
        self._instances: list[Row] = []
        self._rejections: list[tuple[str, str]] = []
        self._conflicts: list[Entry] = []

    def take(self, entry: Entry) -> tuple[Outcome, str]:
        """Merge one entry; return what becomes of it, and its unit."""
        facts, unit = entry.facts, unit_of(entry.derivation)
        known, place = self._look_up(facts, unit)
        assigned = self._assigned(facts, unit) if place.decided else None
        digest = self._digests.get(facts.sop_instance_uid, known.digest)
        if digest is None:
            self._digests[facts.sop_instance_uid] = entry.digest
            self._add(entry, known, place, entry.derivation if assigned is None else entry.derive_for(assigned))
            outcome = Outcome.NEW
        elif digest == entry.digest:
            outcome = Outcome.DUPLICATE
        else:
            self._conflicts.append(entry)
            outcome = Outcome.CONFLICT
        return outcome, unit if assigned is None else assigned

    def write(self) -> set[ExamKey]:
        """Write the rows; return the exams of new instances that have a row."""
        present: set[ExamKey] = set()
        if self._instances:
            save_studies(self._cursor, self._studies.values())
            SERIES.save(self._cursor, self._series.values())
            _INSERT_INSTANCE.write(self._cursor, self._instances)
            rejected = self._write_rejections()
            grown = {key: exam for key, exam in self._exams.items() if key not in rejected}
            present = save_grown(self._cursor, grown, self._in_force) | refold(self._conn, rejected)
        self._write_conflicts()
        return present

    def _look_up(self, facts: InstanceFacts, unit: str) -> tuple[Known, Place]:
        key = facts.study_uid, facts.series_uid, unit
        place = self._places.get(key)
        if place is not None:
            return look_up(self._cursor, facts.sop_instance_uid), place
        known, place = look_up_with_place(
            self._cursor,
            sop_instance_uid=facts.sop_instance_uid,
            study_uid=facts.study_uid,
            series_uid=facts.series_uid,
            unit_id=unit,
        )
        self._places[key] = place
        return known, place

    def _assigned(self, facts: InstanceFacts, unit: str) -> str | None:
        """Return the unit that a person assigned an instance to which the rules give to ``unit``."""
        study_uid = facts.study_uid
        if study_uid not in self._in_force:
            self._in_force |= decisions.in_force_of(self._conn, [study_uid])
        return self._in_force[study_uid].unit_for(facts.sop_instance_uid, unit)

    def _add(self, entry: Entry, known: Known, place: Place, derivation: Derivation) -> None:
        """Merge a new instance into its study, series and exam."""
        facts, received_at = entry.facts, entry.provenance.received_at
        study_uid, series_uid = facts.study_uid, facts.series_uid
        old_study, study = self._studies.get(study_uid, (place.study, place.study))
        old_series, series = self._series.get((study_uid, series_uid), (place.series, place.series))
        in_new_series = series is None
        if study is not None and received_at <= study["first_received_at"]:
            study = whole_study(self._cursor, study)
        if series is not None and received_at <= series["first_received_at"]:
            series = whole_series(self._cursor, series)
        self._studies[study_uid] = old_study, merge_study(study, facts, received_at, in_new_series=in_new_series)
        self._series[study_uid, series_uid] = old_series, merge_series(series, facts, received_at)
        row = instance_values(facts, entry.provenance) | derived_values(derivation)
        row["digest"] = entry.digest
        row["size"] = entry.size
        row["derived_unit_id"] = unit_of(entry.derivation)
        row["day_candidates"] = tuple((date.source, date.day.isoformat() if date.day else "") for date in entry.dates)
        self._instances.append(row)
        key = study_uid, row["unit_id"]
        exam = self._exams.get(key)
        if exam is None:
            held = place.exam if row["unit_id"] == row["derived_unit_id"] else held_tally(self._cursor, key)
            exam = self._exams[key] = GrowingExam(held, of_new_study=place.study is None)
        exam.add(Member.of(row, rejected=known.rejected, first_received_at=received_at, last_received_at=received_at))
        self._rejections += ((uid, facts.sop_instance_uid) for uid in dict.fromkeys(facts.rejected_uids))

    def _write_rejections(self) -> set[ExamKey]:
        """Note what key object selections reject; return the exams of the rejected images that are here already."""
        if not self._rejections:
            return set()
        self._conn.execute(
            rejection.insert(), [{"rejected_uid": uid, "sop_instance_uid": by} for uid, by in self._rejections]
        )
        exams: set[ExamKey] = set()
        rejected = iter(dict.fromkeys(uid for uid, _ in self._rejections))
        while some := list(islice(rejected, _LOOKUP_SIZE)):
            exams.update((row.study_uid, row.unit_id) for row in self._conn.execute(_EXAMS_OF, {"uids": some}))
        return exams

    def _write_conflicts(self) -> None:
        """Note the other contents that are not noted yet."""
        if not self._conflicts:
            return
        uids = [entry.facts.sop_instance_uid for entry in self._conflicts]
        noted = {(row.sop_instance_uid, row.digest) for row in self._conn.execute(_KNOWN_CONFLICTS, {"uids": uids})}
        for entry in self._conflicts:
            key = entry.facts.sop_instance_uid, entry.digest
            if key not in noted:
                noted.add(key)
                self._conn.execute(
                    conflict.insert().values(
                        sop_instance_uid=entry.facts.sop_instance_uid,
                        digest=entry.digest,
                        size=entry.size,
                        received_at=entry.provenance.received_at,
                        calling_ae=entry.provenance.calling_ae,
                        peer_address=entry.provenance.peer_address,
                        study_uid=entry.facts.study_uid,
                    )
                )
