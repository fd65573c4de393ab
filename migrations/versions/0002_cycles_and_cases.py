"""Cycles, surveys and logs that people keep; what headers tell of cases; strangers at a unit's address; two indexes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the tables, the cycle of a testing package, what an exam is as a case, and what arrivals are looked up by."""
    op.add_column("release", sa.Column("cycle_id", TEXT, server_default="", nullable=False))
    op.add_column("exam", sa.Column("case_state", TEXT, server_default="", nullable=False))
    op.add_column("decision", sa.Column("instances", sa.JSON(), server_default="[]", nullable=False))
    op.create_table(
        "entry",
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("unit_id", TEXT, server_default="", nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("note", TEXT, server_default="", nullable=False),
        sa.Column("changed_by", TEXT, nullable=False),
        sa.Column("changed_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "id", "version", name="pk_entry"),
    )
    op.create_index("ix_entry_kind_unit_id", "entry", ["kind", "unit_id"], unique=False)
    op.create_table(
        "exam_case",
        sa.Column("exam_id", TEXT, nullable=False),
        sa.Column("mark", TEXT, nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("exam_id", name="pk_exam_case"),
    )
    op.create_table(
        "stranger",
        sa.Column("address", TEXT, nullable=False),
        sa.Column("calling_ae", TEXT, nullable=False),
        sa.Column("first_seen_at", sa.DateTime(), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("address", "calling_ae", name="pk_stranger"),
    )
    op.create_index(
        "ix_exam_unit_id_first_received_at_id", "exam", ["unit_id", "first_received_at", "id"], unique=False
    )
    op.drop_index("ix_series_device_serial_number", table_name="series")
    op.create_index(
        "ix_series_device_serial_number_station_name", "series", ["device_serial_number", "station_name"], unique=False
    )
