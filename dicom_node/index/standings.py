"""Where each unit stood at the last review. Functions work in the caller's transaction."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, select

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


def save(conn: Connection, unit_id: str, found: Iterable[Standing], reviewed_on: date) -> None:
    """Put what a review found of a unit in the place of what the one before found."""
    conn.execute(standing.delete().where(standing.c.unit_id == unit_id))
    rows = [
        {
            "unit_id": unit_id,
            "portion": each.portion,
            "state": each.state,
            "exam_id": each.newest.exam_id if each.newest else "",
            "exam_day": each.newest.day if each.newest else None,
            "counts_until": each.counts_until,
            "last_release": each.last_release,
            "cutoff": each.cutoff,
            "days_left": each.days_left,
            "policy_id": each.policy_id,
            "reviewed_on": reviewed_on,
        }
        for each in found
    ]
    if rows:
        conn.execute(standing.insert(), rows)


def forget_all_but(conn: Connection, unit_ids: Collection[str]) -> None:
    """Remove the standings of units that are no longer configured."""
    conn.execute(standing.delete().where(standing.c.unit_id.not_in(unit_ids)))


def read(conn: Connection) -> list[SavedStanding]:
    """Return every standing, by unit and portion."""
    query = select(standing).order_by(standing.c.unit_id, standing.c.portion)
    return [
        SavedStanding(**row | {"portion": Portion(row["portion"]), "state": State(row["state"])})
        for row in map(dict, conn.execute(query).mappings())
    ]
