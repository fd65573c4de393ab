"""One instance, or a group of them, becomes rows: what happens inside the one transaction.

The rows do not depend on the order in which instances come, so that a rebuild from the files gives the same: the values
of a study and of a series are those of its instance received first. The one exception is the promise itself: of two
contents under one SOP Instance UID, the one recorded first stays the one served.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Insert, Update, bindparam, select

from dicom_node.accreditation.derive import Derivation
from dicom_node.accreditation.signals import DateCandidate
from dicom_node.dicom.facts import InstanceFacts, Provenance
from dicom_node.errors import DatabaseError
from dicom_node.index import decisions, rows
from dicom_node.index.exam_upkeep import refold
from dicom_node.index.exams import exam_id
from dicom_node.index.tables import conflict, instance, rejection, series, study

_LOOKUP_SIZE = 500
"""Most values in one IN list, so that a large key object selection stays below the limits of both databases."""

# Made once: on the way of every instance, making a statement costs more than running it.
_KNOWN_INSTANCES = select(instance.c.sop_instance_uid, instance.c.digest).where(
    instance.c.sop_instance_uid.in_(bindparam("uids", expanding=True))
)
_KNOWN_STUDIES = select(study).where(study.c.study_uid.in_(bindparam("study_uids", expanding=True)))
_KNOWN_SERIES = select(series).where(
    series.c.study_uid.in_(bindparam("study_uids", expanding=True)),
    series.c.series_uid.in_(bindparam("series_uids", expanding=True)),
)
_KNOWN_CONFLICTS = select(conflict.c.sop_instance_uid, conflict.c.digest).where(
    conflict.c.sop_instance_uid.in_(bindparam("uids", expanding=True))
)
_EXAMS_OF = (
    select(instance.c.study_uid, instance.c.unit_id)
    .distinct()
    .where(instance.c.sop_instance_uid.in_(bindparam("uids", expanding=True)))
)
_INSERT_INSTANCE = instance.insert()
_INSERT_STUDY, _INSERT_SERIES = study.insert(), series.insert()
_UPDATE_STUDY = study.update().where(study.c.study_uid == bindparam("in_study"))
_UPDATE_SERIES = series.update().where(
    series.c.study_uid == bindparam("in_study"), series.c.series_uid == bindparam("in_series")
)


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
    """Heeds what a person decided."""
    derived_unit: str
    """The unit by the rules alone, "" when they know none."""
    dates: tuple[DateCandidate, ...] = ()
    """Every date that was considered."""

    @property
    def exam(self) -> tuple[str, str]:
        """Study and unit."""
        return self.facts.study_uid, rows.unit_of(self.derivation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of an entry; ``exam_id`` is the exam that a new instance is part of, None when there is none."""

    outcome: Outcome
    exam_id: str | None = None


def write_entries(conn: Connection, entries: Sequence[Entry]) -> list[Recorded]:
    """Write the rows of ``entries``, in their order, and return what became of each.

    Raises DatabaseError when a person assigned a study while one of its instances was on its way, so that what the
    rules made of the instance no longer holds.
    """
    outcomes = _sort_out(conn, entries)
    new = [entry for entry, outcome in zip(entries, outcomes, strict=True) if outcome is Outcome.NEW]
    present: set[tuple[str, str]] = set()
    if new:
        _write_studies_and_series(conn, new)
        conn.execute(_INSERT_INSTANCE, [_instance_row(entry) for entry in new])
        exams = {entry.exam for entry in new} | _write_rejections(conn, new)
        in_force = decisions.in_force_of(conn, {study_uid for study_uid, _ in exams})
        for entry in new:
            assigned = in_force[entry.facts.study_uid].assigned.get(entry.derived_unit, entry.derived_unit)
            if assigned != entry.exam[1]:
                raise DatabaseError("a person assigned the study to another unit at this moment; send again")
        present = refold(conn, exams, in_force)
    _write_conflicts(conn, [e for e, outcome in zip(entries, outcomes, strict=True) if outcome is Outcome.CONFLICT])
    return [
        Recorded(
            outcome=outcome,
            exam_id=exam_id(*entry.exam) if outcome is Outcome.NEW and entry.exam in present else None,
        )
        for entry, outcome in zip(entries, outcomes, strict=True)
    ]


def _sort_out(conn: Connection, entries: Sequence[Entry]) -> list[Outcome]:
    """Tell new instances from known ones."""
    uids = [entry.facts.sop_instance_uid for entry in entries]
    known = {row.sop_instance_uid: row.digest for row in conn.execute(_KNOWN_INSTANCES, {"uids": uids})}
    outcomes = []
    for uid, entry in zip(uids, entries, strict=True):
        if uid not in known:
            known[uid] = entry.digest
            outcomes.append(Outcome.NEW)
        else:
            outcomes.append(Outcome.DUPLICATE if known[uid] == entry.digest else Outcome.CONFLICT)
    return outcomes


def _write_studies_and_series(conn: Connection, new: Sequence[Entry]) -> None:
    study_uids = list({entry.facts.study_uid for entry in new})
    series_uids = list({entry.facts.series_uid for entry in new})
    known_studies = conn.execute(_KNOWN_STUDIES, {"study_uids": study_uids}).mappings()
    known_series = conn.execute(_KNOWN_SERIES, {"study_uids": study_uids, "series_uids": series_uids}).mappings()
    studies = {row["study_uid"]: dict(row) for row in known_studies}
    several = {(row["study_uid"], row["series_uid"]): dict(row) for row in known_series}
    old_studies, old_series = set(studies), set(several)
    for entry in new:
        facts, received_at = entry.facts, entry.provenance.received_at
        study_uid, series_uid = facts.study_uid, facts.series_uid
        in_new_series = (study_uid, series_uid) not in several
        several[study_uid, series_uid] = rows.merge_series(several.get((study_uid, series_uid)), facts, received_at)
        studies[study_uid] = rows.merge_study(studies.get(study_uid), facts, received_at, in_new_series=in_new_series)
    _execute_many(conn, _INSERT_STUDY, [row for key, row in studies.items() if key not in old_studies])
    _execute_many(conn, _INSERT_SERIES, [row for key, row in several.items() if key not in old_series])
    _execute_many(conn, _UPDATE_STUDY, [studies[key] | {"in_study": key} for key in old_studies])
    _execute_many(
        conn, _UPDATE_SERIES, [several[key] | {"in_study": key[0], "in_series": key[1]} for key in old_series]
    )


def _execute_many(conn: Connection, statement: Insert | Update, values: list[dict[str, Any]]) -> None:
    if values:
        conn.execute(statement, values)


def _instance_row(entry: Entry) -> dict[str, Any]:
    return {
        **rows.instance_values(entry.facts, entry.provenance),
        **rows.derived_values(entry.derivation),
        "digest": entry.digest,
        "size": entry.size,
        "derived_unit_id": entry.derived_unit,
        "day_candidates": [[date.source, date.day.isoformat() if date.day else ""] for date in entry.dates],
    }


def _write_rejections(conn: Connection, new: Sequence[Entry]) -> set[tuple[str, str]]:
    """Note what key object selections reject; return the exams of the rejected images that are here already."""
    pairs = [(uid, e.facts.sop_instance_uid) for e in new for uid in dict.fromkeys(e.facts.rejected_uids)]
    if not pairs:
        return set()
    conn.execute(rejection.insert(), [{"rejected_uid": uid, "sop_instance_uid": by} for uid, by in pairs])
    exams: set[tuple[str, str]] = set()
    rejected = iter(dict.fromkeys(uid for uid, _ in pairs))
    while some := list(islice(rejected, _LOOKUP_SIZE)):
        exams.update((row.study_uid, row.unit_id) for row in conn.execute(_EXAMS_OF, {"uids": some}))
    return exams


def _write_conflicts(conn: Connection, conflicting: Sequence[Entry]) -> None:
    """Note the other contents that are not noted yet."""
    if not conflicting:
        return
    uids = [entry.facts.sop_instance_uid for entry in conflicting]
    noted = {(row.sop_instance_uid, row.digest) for row in conn.execute(_KNOWN_CONFLICTS, {"uids": uids})}
    for entry in conflicting:
        key = entry.facts.sop_instance_uid, entry.digest
        if key not in noted:
            noted.add(key)
            conn.execute(
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
