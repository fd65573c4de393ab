"""Where each unit stood at the last review. Functions work in the caller's transaction."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, bindparam, select

from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.standing import Standing, State
from dicom_node.index.tables import standing


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedStanding:
    """A row of ``standing``: what a review on the local day ``reviewed_on`` found for one unit and portion."""

    unit_id: str
    portion: Portion
    state: State
    exam_id: str
    """The newest exam that counts, "" for none."""
    exam_day: date | None
    counts_until: date | None
    last_release: date | None
    cutoff: date | None
    days_left: int | None
    """Days from ``reviewed_on`` to ``cutoff``."""
    policy_id: str
    reviewed_on: date


def to_save(found: Standing, reviewed_on: date) -> SavedStanding:
    """Return what is saved of what a review found."""
    return SavedStanding(
        unit_id=found.unit,
        portion=found.portion,
        state=found.state,
        exam_id=found.newest.exam_id if found.newest else "",
        exam_day=found.newest.day if found.newest else None,
        counts_until=found.counts_until,
        last_release=found.last_release,
        cutoff=found.cutoff,
        days_left=found.days_left,
        policy_id=found.policy_id,
        reviewed_on=reviewed_on,
    )


def save(conn: Connection, rows: Sequence[SavedStanding]) -> None:
    """Put what a review found, of each unit and portion, in the place of what the one before found."""
    if not rows:
        return
    conn.execute(
        standing.delete().where(
            standing.c.unit_id == bindparam("of_unit"), standing.c.portion == bindparam("of_portion")
        ),
        [{"of_unit": row.unit_id, "of_portion": row.portion} for row in rows],
    )
    conn.execute(standing.insert(), [{name: getattr(row, name) for name in SavedStanding.__slots__} for row in rows])


def forget_all_but(conn: Connection, unit_ids: Collection[str]) -> None:
    """Remove the standings of units that are no longer configured."""
    conn.execute(standing.delete().where(standing.c.unit_id.not_in(unit_ids)))


def read(conn: Connection, unit_ids: Collection[str] | None = None) -> list[SavedStanding]:
    """Return every standing, or those of some units, by unit and portion."""
    query = select(standing).order_by(standing.c.unit_id, standing.c.portion)
    if unit_ids is not None:
        query = query.where(standing.c.unit_id.in_(unit_ids))
    names = standing.c.keys()
    rows = (dict(zip(names, row, strict=True)) for row in conn.execute(query))
    return [SavedStanding(**row | {"portion": Portion(row["portion"]), "state": State(row["state"])}) for row in rows]
