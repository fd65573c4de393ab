"""The schema of the index: made and brought up to date by Alembic, in one transaction, under the writer's lock.

Killed at any point, the database has the old schema or the new one. The migrations are shipped inside the wheel as
``dicom_node/_migrations``; in a checkout they are the folder ``migrations``.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.resources import files
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from dicom_node.errors import DatabaseError, SchemaTooNewError
from dicom_node.logs import get_logger

REVISION = "0002"
"""The newest migration: the schema that this program needs."""

log = get_logger(__name__)

Transaction = Callable[[], AbstractContextManager[Connection]]


def migrations_folder() -> Path:
    """Return where the migrations are."""
    package = Path(str(files("dicom_node")))
    shipped = package / "_migrations"
    return shipped if shipped.is_dir() else package.parent / "migrations"


def current_revision(conn: Connection) -> str | None:
    """Return the revision of the schema, None for an empty database.

    Raises DatabaseError when there are tables but none of ours.
    """
    tables = inspect(conn).get_table_names()
    if "alembic_version" in tables:
        return conn.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if tables:
        raise DatabaseError("the database belongs to another program: it has tables but no schema revision")
    return None


def bring_up_to_date(read: Transaction, upgrade: Transaction, *, before_upgrade: Callable[[str], object]) -> None:
    """Make the schema that of this program; ``before_upgrade`` gets the old revision before an existing one changes.

    Raises SchemaTooNewError, without having written, when the database has a revision that this program does not know.
    """
    with read() as conn:
        if current_revision(conn) == REVISION:
            return
    # Alembic is slow to import, and needed once in the life of a schema.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with read() as conn:
        old = current_revision(conn)
        if old is not None and old not in known:
            raise SchemaTooNewError(
                f"the index has schema {old}, made by a newer release of dicom-node; this one knows up to {REVISION}"
            )
    with upgrade() as conn:
        old = current_revision(conn)  # again: another process may have been first
        if old == REVISION:
            return
        if old is not None:
            before_upgrade(old)
        config.attributes["connection"] = conn
        command.upgrade(config, REVISION)
    log.info("index.upgraded", old=old or "", new=REVISION)
