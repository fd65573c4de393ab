"""Several contents under one SOP Instance UID: which one is served, and what people decided about it.

Functions work in the caller's transaction.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, literal, null, select, union_all, update

from dicom_node.index.exam_upkeep import ExamKey
from dicom_node.index.tables import conflict, exam, instance, name_word, rejection, series, study


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One content of an instance; its object is kept, served or not. Times are aware UTC."""

    digest: str
    size: int
    """Bytes of the data set."""
    study_uid: str
    """The study that this content names."""
    received_at: datetime
    calling_ae: str
    peer_address: str
    served: bool
    """The one that is indexed, found and counted."""
    decided_at: datetime | None
    """When a person decided against it; None for the one that is served, and while nobody did."""
    decided_by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """An instance that came with several contents, the one received first at the front."""

    sop_instance_uid: str
    contents: tuple[Content, ...]

    @property
    def served(self) -> Content:
        """The content that is indexed."""
        return next(content for content in self.contents if content.served)

    @property
    def waits(self) -> bool:
        """Tell whether a person has to decide."""
        return any(not content.served and content.decided_at is None for content in self.contents)


def conflicts(conn: Connection) -> list[Conflict]:
    """Return every instance with several contents, decided or not, that which came last at the end."""
    return _conflicts(conn)


def conflict_of(conn: Connection, sop_instance_uid: str) -> Conflict | None:
    """Return the contents of one instance; None when it has no other than the one that is served."""
    return next(iter(_conflicts(conn, sop_instance_uid)), None)


def settle(
    conn: Connection, sop_instance_uid: str, digests: Collection[str], *, by: str, at: datetime, reason: str
) -> None:
    """Note that a person decided against some contents of an instance, all but the one that is served."""
    conn.execute(
        update(conflict)
        .where(conflict.c.sop_instance_uid == sop_instance_uid, conflict.c.digest.in_(digests))
        .values(decided_at=at, decided_by=by, reason=reason)
    )


def digests_of(conn: Connection, study_uids: Collection[str]) -> list[tuple[str, bool]]:
    """Return the digests of the instances of some studies and of their other contents, each with whether it is served.

    A content that names another study than its instance is of goes with the instance.
    """
    of_studies = instance.c.study_uid.in_(study_uids)
    served = conn.execute(select(instance.c.digest).where(of_studies)).scalars()
    others = conn.execute(select(conflict.c.digest).join(instance).where(of_studies)).scalars()
    return [(digest, True) for digest in served] + [(digest, False) for digest in others]


def forget_studies(conn: Connection, study_uids: Collection[str]) -> set[ExamKey]:
    """Remove every row of some studies, to write them anew from the files.

    Returns the exams of other studies that their key object selections had a say in: to be folded anew after it.
    """
    gone = select(instance.c.sop_instance_uid).where(instance.c.study_uid.in_(study_uids))
    elsewhere = (
        select(instance.c.study_uid, instance.c.unit_id)
        .join(rejection, rejection.c.rejected_uid == instance.c.sop_instance_uid)
        .where(rejection.c.sop_instance_uid.in_(gone), instance.c.study_uid.not_in(study_uids))
        .distinct()
    )
    touched = {(row.study_uid, row.unit_id) for row in conn.execute(elsewhere)}
    for table in (rejection, conflict):
        conn.execute(table.delete().where(table.c.sop_instance_uid.in_(gone)))
    for table in (exam, instance, series, name_word, study):
        conn.execute(table.delete().where(table.c.study_uid.in_(study_uids)))
    return touched


def _conflicts(conn: Connection, sop_instance_uid: str | None = None) -> list[Conflict]:
    names = ("sop_instance_uid", "digest", "size", "study_uid", "received_at", "calling_ae", "peer_address")
    several = select(conflict.c.sop_instance_uid)
    if sop_instance_uid is not None:
        several = several.where(conflict.c.sop_instance_uid == sop_instance_uid)
    served = select(
        *(instance.c[name] for name in names),
        literal(True).label("served"),
        null().label("decided_at"),
        literal("").label("decided_by"),
        literal("").label("reason"),
    ).where(instance.c.sop_instance_uid.in_(several))
    others = select(
        *(conflict.c[name] for name in names),
        literal(False).label("served"),
        conflict.c.decided_at,
        conflict.c.decided_by,
        conflict.c.reason,
    ).where(conflict.c.sop_instance_uid.in_(several))
    found: dict[str, list[Content]] = {}
    for row in conn.execute(union_all(others, served)).mappings():
        values: dict[str, Any] = dict(row)
        found.setdefault(values.pop("sop_instance_uid"), []).append(Content(**values))
    ordered = [
        Conflict(
            sop_instance_uid=uid, contents=tuple(sorted(contents, key=lambda each: (each.received_at, each.digest)))
        )
        for uid, contents in found.items()
    ]
    return sorted(ordered, key=lambda each: (each.contents[-1].received_at, each.sop_instance_uid))
