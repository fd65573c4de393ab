"""Who called from the address of a listed device under an AE title that is not listed: a few rows, never a flood.

Functions work in the caller's transaction.
"""

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, select, update

from dicom_node.accreditation.names import NameUse
from dicom_node.index.tables import stranger

MOST = 200
"""Most pairs of address and AE title that are kept; the one that called longest ago makes room."""
MOST_OF_ADDRESS = 10
"""Most AE titles of one address that are kept."""
FORGOTTEN = timedelta(days=30)
"""What did not call for so long begins anew when it calls again."""

_PAIR = (stranger.c.address, stranger.c.calling_ae)
_CALLS = stranger.c.count.label("calls")


def note(conn: Connection, address: str, calling_ae: str, *, at: datetime, count: int) -> bool:
    """Note calls of one pair, the last at a time; tell whether nothing was known of it, or nothing of late."""
    this = (stranger.c.address == address, stranger.c.calling_ae == calling_ae)
    known = conn.execute(select(stranger.c.last_seen_at, _CALLS).where(*this)).first()
    if known is not None and at - known.last_seen_at <= FORGOTTEN:
        later = max(at, known.last_seen_at)
        conn.execute(update(stranger).where(*this).values(last_seen_at=later, count=known.calls + count))
        return False
    conn.execute(delete(stranger).where(*this))
    _make_room(conn, MOST_OF_ADDRESS, address)
    _make_room(conn, MOST)
    conn.execute(
        stranger.insert().values(address=address, calling_ae=calling_ae, first_seen_at=at, last_seen_at=at, count=count)
    )
    return True


def by_address(conn: Connection) -> dict[str, tuple[NameUse, ...]]:
    """Return by address the AE titles it called under, in order of when they were first used."""
    found: dict[str, tuple[NameUse, ...]] = {}
    query = select(*_PAIR, stranger.c.first_seen_at, stranger.c.last_seen_at, _CALLS).order_by(
        stranger.c.first_seen_at, stranger.c.address, stranger.c.calling_ae
    )
    for row in conn.execute(query):
        use = NameUse(name=row.calling_ae, first_at=row.first_seen_at, last_at=row.last_seen_at, count=row.calls)
        found[row.address] = (*found.get(row.address, ()), use)
    return found


def _make_room(conn: Connection, most: int, address: str | None = None) -> None:
    """Leave room for one more of ``most``, of an address or of all."""
    among = [stranger.c.address == address] if address is not None else []
    excess = conn.execute(select(func.count()).select_from(stranger).where(*among)).scalar_one() - most + 1
    if excess <= 0:
        return
    oldest = select(stranger.c.address, stranger.c.calling_ae).where(*among)
    for row in conn.execute(oldest.order_by(stranger.c.last_seen_at, stranger.c.calling_ae).limit(excess)).all():
        conn.execute(delete(stranger).where(stranger.c.address == row.address, stranger.c.calling_ae == row.calling_ae))
