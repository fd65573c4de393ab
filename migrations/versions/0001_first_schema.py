"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Bytewise order on both databases, whatever language PostgreSQL was set up for.
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "alert",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("unit_id", TEXT, server_default="", nullable=False),
        sa.Column("portion", TEXT, server_default="", nullable=False),
        sa.Column("stage", TEXT, server_default="", nullable=False),
        sa.Column("severity", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("opening", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.DateTime(), nullable=False),
        sa.Column("changed_at", sa.DateTime(), nullable=False),
        sa.Column("resolved_at", sa.DateTime(), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(), nullable=True),
        sa.Column("acknowledged_by", TEXT, server_default="", nullable=False),
        sa.Column("acknowledged_note", TEXT, server_default="", nullable=False),
        sa.Column("acknowledged_state", TEXT, server_default="", nullable=False),
        sa.Column("acknowledged_until", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_alert"),
        sa.UniqueConstraint("key", name="uq_alert_key"),
    )
    op.create_index("ix_alert_state_unit_id", "alert", ["state", "unit_id"], unique=False)
    op.create_table(
        "commitment",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("transaction_uid", TEXT, nullable=False),
        sa.Column("caller", TEXT, server_default="", nullable=False),
        sa.Column("calling_ae", TEXT, server_default="", nullable=False),
        sa.Column("called_ae", TEXT, server_default="", nullable=False),
        sa.Column("peer_address", TEXT, server_default="", nullable=False),
        sa.Column("requested", sa.JSON(), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("refusal", sa.Integer(), nullable=True),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(), nullable=False),
        sa.Column("lease", TEXT, server_default="", nullable=False),
        sa.Column("lease_until", sa.DateTime(), nullable=True),
        sa.Column("last_error", TEXT, server_default="", nullable=False),
        sa.Column("failures", sa.JSON(), nullable=True),
        sa.Column("checked_at", sa.DateTime(), nullable=True),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_commitment"),
    )
    op.create_index("ix_commitment_state_next_attempt_at", "commitment", ["state", "next_attempt_at"], unique=False)
    op.create_index("ix_commitment_transaction_uid", "commitment", ["transaction_uid"], unique=False)
    op.create_table(
        "decision",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("study_uid", TEXT, nullable=False),
        sa.Column("unit_id", TEXT, server_default="", nullable=False),
        sa.Column("value", TEXT, server_default="", nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("decided_by", TEXT, nullable=False),
        sa.Column("decided_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_decision"),
        sa.UniqueConstraint("number", name="uq_decision_number"),
    )
    op.create_index("ix_decision_study_uid", "decision", ["study_uid"], unique=False)
    op.create_table(
        "message",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("unit_id", TEXT, server_default="", nullable=False),
        sa.Column("severity", TEXT, nullable=False),
        sa.Column("alerts", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_message"),
        sa.UniqueConstraint("key", name="uq_message_key"),
    )
    op.create_table(
        "node_state",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_node_state"),
    )
    op.create_table(
        "release",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("unit_id", TEXT, nullable=False),
        sa.Column("released_on", sa.Date(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("note", TEXT, server_default="", nullable=False),
        sa.Column("changed_by", TEXT, nullable=False),
        sa.Column("changed_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", "version", name="pk_release"),
    )
    op.create_index("ix_release_unit_id", "release", ["unit_id"], unique=False)
    op.create_table(
        "silence",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("unit_id", TEXT, nullable=False),
        sa.Column("until", sa.Date(), nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("silenced_by", TEXT, nullable=False),
        sa.Column("silenced_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_silence"),
    )
    op.create_table(
        "standing",
        sa.Column("unit_id", TEXT, nullable=False),
        sa.Column("portion", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("exam_id", TEXT, server_default="", nullable=False),
        sa.Column("exam_day", sa.Date(), nullable=True),
        sa.Column("counts_until", sa.Date(), nullable=True),
        sa.Column("last_release", sa.Date(), nullable=True),
        sa.Column("cutoff", sa.Date(), nullable=True),
        sa.Column("days_left", sa.Integer(), nullable=True),
        sa.Column("policy_id", TEXT, server_default="", nullable=False),
        sa.Column("reviewed_on", sa.Date(), nullable=False),
        sa.PrimaryKeyConstraint("unit_id", "portion", name="pk_standing"),
    )
    op.create_table(
        "study",
        sa.Column("study_uid", TEXT, nullable=False),
        sa.Column("patient_name", TEXT, server_default="", nullable=False),
        sa.Column("patient_id", TEXT, server_default="", nullable=False),
        sa.Column("issuer_of_patient_id", TEXT, server_default="", nullable=False),
        sa.Column("patient_birth_date", TEXT, server_default="", nullable=False),
        sa.Column("patient_sex", TEXT, server_default="", nullable=False),
        sa.Column("study_date", TEXT, server_default="", nullable=False),
        sa.Column("study_time", TEXT, server_default="", nullable=False),
        sa.Column("accession_number", TEXT, server_default="", nullable=False),
        sa.Column("study_id", TEXT, server_default="", nullable=False),
        sa.Column("study_description", TEXT, server_default="", nullable=False),
        sa.Column("referring_physician_name", TEXT, server_default="", nullable=False),
        sa.Column("name_alphabetic", TEXT, server_default="", nullable=False),
        sa.Column("name_ideographic", TEXT, server_default="", nullable=False),
        sa.Column("name_phonetic", TEXT, server_default="", nullable=False),
        sa.Column("timezone_offset", TEXT, server_default="", nullable=False),
        sa.Column("modalities", TEXT, server_default="", nullable=False),
        sa.Column("sop_classes", TEXT, server_default="", nullable=False),
        sa.Column("series_count", sa.Integer(), nullable=False),
        sa.Column("instance_count", sa.Integer(), nullable=False),
        sa.Column("first_received_at", sa.DateTime(), nullable=False),
        sa.Column("last_received_at", sa.DateTime(), nullable=False),
        sa.Column("flags", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("study_uid", name="pk_study"),
    )
    op.create_index("ix_study_accession_number", "study", ["accession_number"], unique=False)
    op.create_index("ix_study_name_alphabetic", "study", ["name_alphabetic"], unique=False)
    for name in ("name_ideographic", "name_phonetic"):
        known = sa.text(f"{name} <> ''")
        op.create_index(f"ix_study_{name}", "study", [name], unique=False, sqlite_where=known, postgresql_where=known)
    op.create_index("ix_study_patient_birth_date", "study", ["patient_birth_date"], unique=False)
    op.create_index("ix_study_patient_id", "study", ["patient_id"], unique=False)
    op.create_index("ix_study_study_date", "study", ["study_date"], unique=False)
    op.create_index("ix_study_study_id", "study", ["study_id"], unique=False)
    op.create_table(
        "delivery",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("message_id", sa.Integer(), nullable=False),
        sa.Column("channel", TEXT, nullable=False),
        sa.Column("recipient", TEXT, server_default="", nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(), nullable=False),
        sa.Column("lease", TEXT, server_default="", nullable=False),
        sa.Column("lease_until", sa.DateTime(), nullable=True),
        sa.Column("last_error", TEXT, server_default="", nullable=False),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name="fk_delivery_message_id"),
        sa.PrimaryKeyConstraint("id", name="pk_delivery"),
        sa.UniqueConstraint("message_id", "channel", "recipient", name="uq_delivery_message_id_channel_recipient"),
    )
    op.create_index("ix_delivery_state_next_attempt_at", "delivery", ["state", "next_attempt_at"], unique=False)
    op.create_table(
        "exam",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("study_uid", TEXT, nullable=False),
        sa.Column("unit_id", TEXT, server_default="", nullable=False),
        sa.Column("portion", TEXT, server_default="", nullable=False),
        sa.Column("rule", TEXT, server_default="", nullable=False),
        sa.Column("day", sa.Date(), nullable=True),
        sa.Column("day_source", TEXT, server_default="", nullable=False),
        sa.Column("flags", sa.JSON(), nullable=False),
        sa.Column("stages", sa.JSON(), nullable=False),
        sa.Column("attachments", sa.JSON(), nullable=False),
        sa.Column("attribution", TEXT, server_default="", nullable=False),
        sa.Column("candidates", sa.JSON(), nullable=False),
        sa.Column("unregistered", sa.Boolean(), nullable=False),
        sa.Column("excluded", sa.Boolean(), nullable=False),
        sa.Column("counts", sa.Boolean(), nullable=False),
        sa.Column("primary_count", sa.Integer(), nullable=False),
        sa.Column("instance_count", sa.Integer(), nullable=False),
        sa.Column("first_received_at", sa.DateTime(), nullable=False),
        sa.Column("last_received_at", sa.DateTime(), nullable=False),
        sa.Column("tally", TEXT, server_default="", nullable=False),
        sa.Column("reviewed_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["study_uid"], ["study.study_uid"], name="fk_exam_study_uid"),
        sa.PrimaryKeyConstraint("id", name="pk_exam"),
        sa.UniqueConstraint("study_uid", "unit_id", name="uq_exam_study_uid_unit_id"),
    )
    op.create_index("ix_exam_reviewed_at_last_received_at", "exam", ["reviewed_at", "last_received_at"], unique=False)
    op.create_index("ix_exam_unit_id_portion_day", "exam", ["unit_id", "portion", "day"], unique=False)
    op.create_table(
        "name_word",
        sa.Column("study_uid", TEXT, nullable=False),
        sa.Column("word", TEXT, nullable=False),
        sa.Column("sound", TEXT, server_default="", nullable=False),
        sa.ForeignKeyConstraint(["study_uid"], ["study.study_uid"], name="fk_name_word_study_uid"),
        sa.PrimaryKeyConstraint("study_uid", "word", name="pk_name_word"),
    )
    op.create_index("ix_name_word_word", "name_word", ["word"], unique=False)
    known = sa.text("sound <> ''")
    op.create_index(
        "ix_name_word_sound", "name_word", ["sound"], unique=False, sqlite_where=known, postgresql_where=known
    )
    op.create_table(
        "series",
        sa.Column("study_uid", TEXT, nullable=False),
        sa.Column("series_uid", TEXT, nullable=False),
        sa.Column("modality", TEXT, server_default="", nullable=False),
        sa.Column("series_number", TEXT, server_default="", nullable=False),
        sa.Column("series_date", TEXT, server_default="", nullable=False),
        sa.Column("series_time", TEXT, server_default="", nullable=False),
        sa.Column("series_description", TEXT, server_default="", nullable=False),
        sa.Column("protocol_name", TEXT, server_default="", nullable=False),
        sa.Column("station_name", TEXT, server_default="", nullable=False),
        sa.Column("device_serial_number", TEXT, server_default="", nullable=False),
        sa.Column("manufacturer", TEXT, server_default="", nullable=False),
        sa.Column("manufacturer_model_name", TEXT, server_default="", nullable=False),
        sa.Column("institution_name", TEXT, server_default="", nullable=False),
        sa.Column("performed_procedure_step_start_date", TEXT, server_default="", nullable=False),
        sa.Column("laterality", TEXT, server_default="", nullable=False),
        sa.Column("timezone_offset", TEXT, server_default="", nullable=False),
        sa.Column("instance_count", sa.Integer(), nullable=False),
        sa.Column("first_received_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["study_uid"], ["study.study_uid"], name="fk_series_study_uid"),
        sa.PrimaryKeyConstraint("study_uid", "series_uid", name="pk_series"),
    )
    op.create_index("ix_series_device_serial_number", "series", ["device_serial_number"], unique=False)
    op.create_index("ix_series_series_uid", "series", ["series_uid"], unique=False)
    op.create_index("ix_series_station_name", "series", ["station_name"], unique=False)
    op.create_table(
        "instance",
        sa.Column("sop_instance_uid", TEXT, nullable=False),
        sa.Column("study_uid", TEXT, nullable=False),
        sa.Column("series_uid", TEXT, nullable=False),
        sa.Column("sop_class_uid", TEXT, server_default="", nullable=False),
        sa.Column("instance_number", TEXT, server_default="", nullable=False),
        sa.Column("acquisition_date", TEXT, server_default="", nullable=False),
        sa.Column("acquisition_time", TEXT, server_default="", nullable=False),
        sa.Column("acquisition_date_time", TEXT, server_default="", nullable=False),
        sa.Column("content_date", TEXT, server_default="", nullable=False),
        sa.Column("content_time", TEXT, server_default="", nullable=False),
        sa.Column("image_type", TEXT, server_default="", nullable=False),
        sa.Column("image_laterality", TEXT, server_default="", nullable=False),
        sa.Column("view_position", TEXT, server_default="", nullable=False),
        sa.Column("view_code_sequence", TEXT, server_default="", nullable=False),
        sa.Column("quality_control_image", TEXT, server_default="", nullable=False),
        sa.Column("image_rows", TEXT, server_default="", nullable=False),
        sa.Column("image_columns", TEXT, server_default="", nullable=False),
        sa.Column("number_of_frames", TEXT, server_default="", nullable=False),
        sa.Column("transfer_syntax_uid", TEXT, server_default="", nullable=False),
        sa.Column("timezone_offset", TEXT, server_default="", nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.DateTime(), nullable=False),
        sa.Column("calling_ae", TEXT, server_default="", nullable=False),
        sa.Column("called_ae", TEXT, server_default="", nullable=False),
        sa.Column("peer_address", TEXT, server_default="", nullable=False),
        sa.Column("unit_id", TEXT, server_default="", nullable=False),
        sa.Column("derived_unit_id", TEXT, server_default="", nullable=False),
        sa.Column("attachment_id", TEXT, server_default="", nullable=False),
        sa.Column("attribution", TEXT, server_default="", nullable=False),
        sa.Column("attribution_flags", sa.JSON(), nullable=False),
        sa.Column("candidates", sa.JSON(), nullable=False),
        sa.Column("unregistered", sa.Boolean(), nullable=False),
        sa.Column("role", TEXT, server_default="", nullable=False),
        sa.Column("acquisition_day", sa.Date(), nullable=True),
        sa.Column("day_source", TEXT, server_default="", nullable=False),
        sa.Column("day_flags", sa.JSON(), nullable=False),
        sa.Column("day_candidates", sa.JSON(), nullable=False),
        sa.Column("portion", TEXT, server_default="", nullable=False),
        sa.Column("rule", TEXT, server_default="", nullable=False),
        sa.Column("stage", TEXT, server_default="", nullable=False),
        sa.Column("flags", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_uid", "series_uid"],
            ["series.study_uid", "series.series_uid"],
            name="fk_instance_study_uid_series_uid",
        ),
        sa.PrimaryKeyConstraint("sop_instance_uid", name="pk_instance"),
    )
    op.create_index("ix_instance_acquisition_day_unit_id", "instance", ["acquisition_day", "unit_id"], unique=False)
    op.create_index("ix_instance_digest", "instance", ["digest"], unique=False)
    op.create_index("ix_instance_study_uid_series_uid", "instance", ["study_uid", "series_uid"], unique=False)
    op.create_index("ix_instance_study_uid_unit_id", "instance", ["study_uid", "unit_id"], unique=False)
    op.create_index("ix_instance_unit_id_acquisition_day", "instance", ["unit_id", "acquisition_day"], unique=False)
    op.create_table(
        "conflict",
        sa.Column("sop_instance_uid", TEXT, nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.DateTime(), nullable=False),
        sa.Column("calling_ae", TEXT, server_default="", nullable=False),
        sa.Column("peer_address", TEXT, server_default="", nullable=False),
        sa.Column("study_uid", TEXT, nullable=False),
        sa.Column("decided_at", sa.DateTime(), nullable=True),
        sa.Column("decided_by", TEXT, server_default="", nullable=False),
        sa.Column("reason", TEXT, server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["sop_instance_uid"], ["instance.sop_instance_uid"], name="fk_conflict_sop_instance_uid"
        ),
        sa.PrimaryKeyConstraint("sop_instance_uid", "digest", name="pk_conflict"),
    )
    op.create_index("ix_conflict_digest", "conflict", ["digest"], unique=False)
    op.create_table(
        "rejection",
        sa.Column("rejected_uid", TEXT, nullable=False),
        sa.Column("sop_instance_uid", TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["sop_instance_uid"], ["instance.sop_instance_uid"], name="fk_rejection_sop_instance_uid"
        ),
        sa.PrimaryKeyConstraint("rejected_uid", "sop_instance_uid", name="pk_rejection"),
    )
