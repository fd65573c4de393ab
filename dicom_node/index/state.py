"""Small facts of the node itself, by name: archive_id, last_review_at and the like.

Functions work in the caller's transaction.
"""

from sqlalchemy import Connection, select, update

from dicom_node.index.tables import node_state


def get(conn: Connection, name: str) -> str | None:
    """Return a fact, None when it was never put down."""
    return conn.execute(select(node_state.c.value).where(node_state.c.name == name)).scalar_one_or_none()


def put(conn: Connection, name: str, value: str) -> None:
    """Put a fact down in the place of the one before."""
    if conn.execute(update(node_state).where(node_state.c.name == name).values(value=value)).rowcount == 0:
        conn.execute(node_state.insert().values(name=name, value=value))


def remove(conn: Connection, name: str, value: str) -> None:
    """Remove a fact, unless it has another value by now."""
    conn.execute(node_state.delete().where(node_state.c.name == name, node_state.c.value == value))
