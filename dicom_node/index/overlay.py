"""What rows would be after a change, seen by the same statements as ever, and no row changed and no lock taken.

Temporary tables stand before those of the index: both databases look for a name among them first. They belong to the
caller's reading transaction and vanish with it.
"""

from collections.abc import Collection

from sqlalchemy import Connection, bindparam, text

from dicom_node.index.tables import decision, exam, instance

_TABLES = (exam, instance, decision)
_LOOKED_UP = {"exam": ("id", "study_uid"), "instance": ("sop_instance_uid", "study_uid"), "decision": ("study_uid",)}
"""The columns by which rows are looked up while they are changed."""
_AT_ONCE = 500


def begin(conn: Connection, study_uids: Collection[str]) -> None:
    """From now on what is written about exams, instances and decisions of these studies is seen here alone.

    Until ``show`` nothing is seen of other studies.
    """
    real, temporary = _schemas(conn)
    conn.execute(text("CREATE TEMPORARY TABLE shown_study (study_uid TEXT PRIMARY KEY)"))
    uids = sorted(study_uids)
    for start in range(0, len(uids), _AT_ONCE):
        rows = [{"uid": uid} for uid in uids[start : start + _AT_ONCE]]
        conn.execute(text("INSERT INTO shown_study (study_uid) VALUES (:uid)").bindparams(bindparam("uid")), rows)
    for table in _TABLES:
        columns = ", ".join(table.c.keys())
        conn.execute(
            text(
                f"CREATE TEMPORARY TABLE {table.name} AS SELECT {columns} FROM {real}.{table.name} "  # noqa: S608 - names of our own tables
                "WHERE study_uid IN (SELECT study_uid FROM shown_study)"
            )
        )
        for column in _LOOKED_UP[table.name]:
            name = f"shown_{table.name}_{column}"
            on = f"{table.name} ({column})"
            index = f"{temporary}.{name} ON {on}" if conn.dialect.name == "sqlite" else f"{name} ON {temporary}.{on}"
            conn.execute(text(f"CREATE INDEX {index}"))


def show(conn: Connection) -> None:
    """Let the changed rows be seen among those of all other studies. Nothing more may be written after it."""
    real, temporary = _schemas(conn)
    for table in _TABLES:
        columns = ", ".join(table.c.keys())
        conn.execute(text(f"ALTER TABLE {temporary}.{table.name} RENAME TO shown_{table.name}"))
        conn.execute(
            text(
                f"CREATE TEMPORARY VIEW {table.name} AS SELECT {columns} FROM {real}.{table.name} "  # noqa: S608 - names of our own tables
                "WHERE study_uid NOT IN (SELECT study_uid FROM shown_study) "
                f"UNION ALL SELECT {columns} FROM shown_{table.name}"
            )
        )


def _schemas(conn: Connection) -> tuple[str, str]:
    """Return the names of the schemas of the tables and of the temporary ones."""
    if conn.dialect.name == "sqlite":
        return "main", "temp"
    return conn.execute(text("SELECT quote_ident(current_schema())")).scalar_one(), "pg_temp"
