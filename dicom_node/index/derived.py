"""What the rows of instances hold of the rules' doing, to be held against what the rules make of them now.

Functions work in the caller's transaction.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any, Self

from sqlalchemy import Connection, func, or_, select

from dicom_node.index.tables import instance

_LOOKUP_SIZE = 500
"""Most values in one IN list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedRow:
    """An instance with the columns that the rules and people's decisions fill."""

    sop_instance_uid: str
    digest: str
    unit_id: str
    derived_unit_id: str
    attachment_id: str
    attribution: str
    attribution_flags: tuple[str, ...]
    candidates: tuple[str, ...]
    unregistered: bool
    role: str
    acquisition_day: date | None
    day_source: str
    day_flags: tuple[str, ...]
    portion: str
    rule: str
    stage: str

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Make one of a row with these columns."""
        values: dict[str, Any] = {n: tuple(each) if isinstance(each, list) else each for n, each in row.items()}
        return cls(**values)

    def has(self, values: Mapping[str, Any]) -> bool:
        """Tell whether its columns have these values already."""
        return all(getattr(self, name) == value for name, value in values.items())

    def is_alike(self, values: Mapping[str, Any]) -> bool:
        """Tell whether unit, portion and day are these."""
        return self.has({name: values[name] for name in ("unit_id", "portion", "acquisition_day")})


def studies(conn: Connection, since: date | None) -> dict[str, int]:
    """Return how many instances each study has, in order of their UIDs.

    ``since`` leaves out studies all of whose instances have an earlier day; one without a day is none.
    """
    query = select(instance.c.study_uid, func.count()).group_by(instance.c.study_uid).order_by(instance.c.study_uid)
    if since is not None:
        late = or_(instance.c.acquisition_day >= since, instance.c.acquisition_day.is_(None))
        query = query.where(instance.c.study_uid.in_(select(instance.c.study_uid).where(late)))
    return {row[0]: row[1] for row in conn.execute(query)}


def sizes(conn: Connection, study_uids: Collection[str]) -> dict[str, int]:
    """Return how many instances each of these studies has."""
    return {study_uid: len(rows) for study_uid, rows in rows_of(conn, study_uids).items()}


def rows_of(conn: Connection, study_uids: Collection[str]) -> dict[str, list[DerivedRow]]:
    """Return the instances of each of these studies that has any, by SOP Instance UID."""
    found: dict[str, list[DerivedRow]] = {}
    columns = [instance.c[each.name] for each in fields(DerivedRow)]
    uids = sorted(study_uids)
    for start in range(0, len(uids), _LOOKUP_SIZE):
        of_some = instance.c.study_uid.in_(uids[start : start + _LOOKUP_SIZE])
        query = select(instance.c.study_uid, *columns).where(of_some)
        for row in conn.execute(query.order_by(instance.c.study_uid, instance.c.sop_instance_uid)).mappings():
            values = dict(row)
            found.setdefault(values.pop("study_uid"), []).append(DerivedRow.of(values))
    return found
