"""The tables of the index (SQLAlchemy Core), the same for SQLite and PostgreSQL.

Texts of the key table are kept as DICOM text (dates YYYYMMDD, several values joined by a backslash); the days the rules
use are dates; times of the node are UTC and kept as aware datetimes. Patient-level data stands in ``study`` and nowhere
else. Units, attachments, senders, peers and rules are configuration; rows name them by id.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine

from dicom_node.dicom.keys import KEYS, Level

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, stored as UTC without a zone so that both databases order and compare it alike."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware datetime into naive UTC."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the stored UTC its zone back."""
        return None if value is None else value.replace(tzinfo=UTC)


class PlainText(TypeDecorator[str]):
    """Text that both databases take, order and compare alike: by code point.

    A NUL, which PostgreSQL refuses, and half a surrogate pair, which UTF-8 has no form for, cannot be stored; they are
    left out here, so that no peer's text can make a statement fail.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the bytewise collation where the database's own may be a language's."""
        return Text(collation="C") if dialect.name == "postgresql" else Text()

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Leave out what cannot be stored."""
        return None if value is None else storable(value)


def storable(value: str) -> str:
    """Return a text without what cannot be stored."""
    if value.isascii() and "\0" not in value:
        return value
    return value.replace("\0", "").encode("utf-8", "ignore").decode("utf-8")


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, PlainText, nullable=False, default="", server_default="", **options)


def _key_columns(*levels: Level, but: tuple[str, ...]) -> list[Column[str]]:
    """Make a text column for each key of ``levels`` that is kept as text and is not named in ``but``."""
    return [_text(key.column) for key in KEYS if key.level in levels and key.column and key.column not in but]


def _index_of_known(name: str) -> Index:
    """Make an index of a column's texts that leaves out the empty ones."""
    known = text(f"{name} <> ''")
    return Index(None, name, sqlite_where=known, postgresql_where=known)


study = Table(
    "study",
    metadata,
    Column("study_uid", PlainText, primary_key=True),
    *_key_columns(Level.PATIENT, Level.STUDY, but=("study_uid",)),
    # Person names folded for matching without regard to case, one column a component group (PS3.5 6.2.1.1).
    _text("name_alphabetic"),
    _text("name_ideographic"),
    _text("name_phonetic"),
    _text("timezone_offset"),
    _text("modalities"),
    _text("sop_classes"),
    Column("series_count", Integer, nullable=False, default=0),
    Column("instance_count", Integer, nullable=False, default=0),
    # The study's own values are those of the instance received first, so that a rebuild gives the same row.
    Column("first_received_at", UtcDateTime, nullable=False),
    Column("last_received_at", UtcDateTime, nullable=False),
    Column("flags", JSON, nullable=False, default=list),
    Index(None, "patient_id"),
    Index(None, "patient_birth_date"),
    Index(None, "study_date"),
    Index(None, "study_id"),
    Index(None, "accession_number"),
    Index(None, "name_alphabetic"),
    *(_index_of_known(name) for name in ("name_ideographic", "name_phonetic")),
)

name_word = Table(
    "name_word",
    metadata,
    # The words of the patient's name of each study, for fuzzy matching (dicom/fuzzy.py).
    Column("study_uid", PlainText, ForeignKey("study.study_uid"), primary_key=True),
    Column("word", PlainText, primary_key=True),
    _text("sound"),
    Index(None, "word"),
    _index_of_known("sound"),
)

series = Table(
    "series",
    metadata,
    # One Series Instance UID may turn up in two studies; both are kept as they came.
    Column("study_uid", PlainText, ForeignKey("study.study_uid"), primary_key=True),
    Column("series_uid", PlainText, primary_key=True),
    *_key_columns(Level.SERIES, but=("series_uid",)),
    _text("timezone_offset"),
    Column("instance_count", Integer, nullable=False, default=0),
    Column("first_received_at", UtcDateTime, nullable=False),
    Index(None, "series_uid"),
    Index(None, "station_name"),
    Index(None, "device_serial_number", "station_name"),
)

exam = Table(
    "exam",
    metadata,
    # A short digest of study and unit: the same after a rebuild.
    Column("id", PlainText, primary_key=True),
    Column("study_uid", PlainText, ForeignKey("study.study_uid"), nullable=False),
    _text("unit_id"),  # "" when the unit is not known
    _text("portion"),
    _text("rule"),
    Column("day", Date, nullable=True),
    _text("day_source"),
    Column("flags", JSON, nullable=False, default=list),
    Column("stages", JSON, nullable=False, default=list),
    Column("attachments", JSON, nullable=False, default=list),
    _text("attribution"),  # the evidence, or the doubt where unit_id is ""
    Column("candidates", JSON, nullable=False, default=list),
    Column("unregistered", Boolean, nullable=False, default=False),
    Column("excluded", Boolean, nullable=False, default=False),
    _text("case_state"),  # confirmed or rejected by a person; "" while nobody decided
    Column("counts", Boolean, nullable=False, default=False),
    Column("primary_count", Integer, nullable=False, default=0),
    Column("instance_count", Integer, nullable=False, default=0),
    Column("first_received_at", UtcDateTime, nullable=False),
    Column("last_received_at", UtcDateTime, nullable=False),
    _text("tally"),  # what the exam is made of (exam_tally.py); "": not known, fold it from its instances
    # Null until the exam was quiet long enough and its unit was reviewed.
    Column("reviewed_at", UtcDateTime, nullable=True),
    UniqueConstraint("study_uid", "unit_id"),
    Index(None, "unit_id", "portion", "day"),
    Index(None, "unit_id", "first_received_at", "id"),
    Index(None, "reviewed_at", "last_received_at"),
)

instance = Table(
    "instance",
    metadata,
    Column("sop_instance_uid", PlainText, primary_key=True),
    Column("study_uid", PlainText, nullable=False),
    Column("series_uid", PlainText, nullable=False),
    *_key_columns(Level.IMAGE, but=("sop_instance_uid", "unit_id", "acquisition_day")),
    _text("timezone_offset"),
    Column("digest", PlainText, nullable=False),  # lower-case hex SHA-256 of the data set
    Column("size", BigInteger, nullable=False),  # bytes of the data set
    Column("received_at", UtcDateTime, nullable=False),
    _text("calling_ae"),
    _text("called_ae"),
    _text("peer_address"),
    _text("unit_id"),  # what holds: the derived unit, or the one a person said
    _text("derived_unit_id"),
    _text("attachment_id"),
    _text("attribution"),  # the evidence, or the doubt
    Column("attribution_flags", JSON, nullable=False, default=list),
    Column("candidates", JSON, nullable=False, default=list),
    Column("unregistered", Boolean, nullable=False, default=False),
    _text("role"),
    Column("acquisition_day", Date, nullable=True),
    _text("day_source"),
    Column("day_flags", JSON, nullable=False, default=list),
    Column("day_candidates", JSON, nullable=False, default=list),  # [[source, "YYYY-MM-DD" or ""], ...]
    _text("portion"),  # "" for an instance that is no primary image
    _text("rule"),
    _text("stage"),
    Column("flags", JSON, nullable=False, default=list),
    ForeignKeyConstraint(["study_uid", "series_uid"], ["series.study_uid", "series.series_uid"]),
    Index(None, "study_uid", "series_uid"),
    Index(None, "study_uid", "unit_id"),
    Index(None, "unit_id", "acquisition_day"),
    Index(None, "acquisition_day", "unit_id"),
    Index(None, "digest"),
)

rejection = Table(
    "rejection",
    metadata,
    # A key object selection (sop_instance_uid) that rejects an image, which may come later.
    Column("rejected_uid", PlainText, primary_key=True),
    Column("sop_instance_uid", PlainText, ForeignKey("instance.sop_instance_uid"), primary_key=True),
)

conflict = Table(
    "conflict",
    metadata,
    # Other content under a SOP Instance UID that is taken: kept beside the first, which stays the one served until a
    # person decides. The decision is saved in the archive's journal as well.
    Column("sop_instance_uid", PlainText, ForeignKey("instance.sop_instance_uid"), primary_key=True),
    Column("digest", PlainText, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    _text("calling_ae"),
    _text("peer_address"),
    Column("study_uid", PlainText, nullable=False),
    Column("decided_at", UtcDateTime, nullable=True),  # null while nobody decided which content is served
    _text("decided_by"),
    _text("reason"),
    Index(None, "digest"),
)

decision = Table(
    "decision",
    metadata,
    # What a person decided about an exam; the newest of a kind holds. Saved in the archive's journal as well.
    Column("id", PlainText, primary_key=True),
    Column("number", Integer, nullable=False, unique=True),  # the order of deciding, whatever the clock did
    Column("kind", PlainText, nullable=False),  # attribute, classify, exclude, include, confirm, reject, link, carry
    Column("study_uid", PlainText, nullable=False),
    _text("unit_id"),  # the exam's unit when it was decided; for attribute: the derived unit
    # attribute and carry: the unit; classify: the portion; confirm: the mammogram's day; link: role and study
    _text("value"),
    # SOP Instance UIDs that stay with the unit whatever the rules become; of attribute and carry.
    Column("instances", JSON, nullable=False, default=list, server_default="[]"),
    Column("reason", PlainText, nullable=False),
    Column("decided_by", PlainText, nullable=False),
    Column("decided_at", UtcDateTime, nullable=False),
    Index(None, "study_uid"),
)

release = Table(
    "release",
    metadata,
    # Each change of a testing package is a new version; the highest holds. Saved in the archive's journal as well.
    Column("id", PlainText, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("unit_id", PlainText, nullable=False),
    Column("released_on", Date, nullable=False),
    Column("due_on", Date, nullable=True),
    Column("state", PlainText, nullable=False),
    _text("note"),
    _text("cycle_id"),  # the accreditation cycle it belongs to, "" for none
    Column("changed_by", PlainText, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    Index(None, "unit_id"),
)

entry = Table(
    "entry",
    metadata,
    # What people keep books of: accreditation cycles, physicist surveys, quality control logs. Each change is a new
    # version; the highest holds. Saved in the archive's journal as well.
    Column("kind", PlainText, primary_key=True),
    Column("id", PlainText, primary_key=True),
    Column("version", Integer, primary_key=True),
    _text("unit_id"),  # "" for what concerns no single unit
    Column("data", JSON, nullable=False),
    _text("note"),
    Column("changed_by", PlainText, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    Index(None, "kind", "unit_id"),
)

exam_case = Table(
    "exam_case",
    metadata,
    # What the headers of an exam tell of it as a case, kept so that they are read once; lost, it is read again.
    Column("exam_id", PlainText, primary_key=True),
    Column("mark", PlainText, nullable=False),  # tells of which state of the exam it is
    Column("data", JSON, nullable=False),
)

stranger = Table(
    "stranger",
    metadata,
    # Who called from the address of a unit under an AE title that is not listed.
    Column("address", PlainText, primary_key=True),
    Column("calling_ae", PlainText, primary_key=True),
    Column("first_seen_at", UtcDateTime, nullable=False),
    Column("last_seen_at", UtcDateTime, nullable=False),
    Column("count", Integer, nullable=False, default=1),
)

standing = Table(
    "standing",
    metadata,
    # As of the last review.
    Column("unit_id", PlainText, primary_key=True),
    Column("portion", PlainText, primary_key=True),
    Column("state", PlainText, nullable=False),
    _text("exam_id"),
    Column("exam_day", Date, nullable=True),
    Column("counts_until", Date, nullable=True),
    Column("last_release", Date, nullable=True),
    Column("cutoff", Date, nullable=True),
    Column("days_left", Integer, nullable=True),
    _text("policy_id"),
    Column("reviewed_on", Date, nullable=False),
)

alert = Table(
    "alert",
    metadata,
    # A condition someone must know of, from the day it was found until it is resolved.
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("key", PlainText, nullable=False, unique=True),  # eligibility/upright_a/clinical/2026-06-08
    Column("kind", PlainText, nullable=False),
    _text("unit_id"),
    _text("portion"),
    _text("stage"),  # the last reminder that was queued
    Column("severity", PlainText, nullable=False),  # info, warning, critical
    Column("state", PlainText, nullable=False),  # firing, resolved
    Column("details", JSON, nullable=False, default=dict),  # what the words are made of; no patient data
    Column("opening", Integer, nullable=False, default=1),  # 2 when it was resolved once and is back, and so on
    Column("opened_at", UtcDateTime, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    Column("resolved_at", UtcDateTime, nullable=True),
    Column("acknowledged_at", UtcDateTime, nullable=True),
    _text("acknowledged_by"),
    _text("acknowledged_note"),
    _text("acknowledged_state"),  # how bad it was then, such as nearing; something worse ends the acknowledgement
    Column("acknowledged_until", Date, nullable=True),
    Index(None, "state", "unit_id"),
)

message = Table(
    "message",
    metadata,
    # One notice to people: several alerts of one unit at one review share it. The key makes a repeat harmless.
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("key", PlainText, nullable=False, unique=True),
    Column("kind", PlainText, nullable=False),  # firing, resolved, digest, test
    _text("unit_id"),
    Column("severity", PlainText, nullable=False),
    Column("alerts", JSON, nullable=False, default=list),  # [[alert id, stage], ...]
    Column("created_at", UtcDateTime, nullable=False),
)

delivery = Table(
    "delivery",
    metadata,
    # One message to one recipient by one channel.
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("message_id", Integer, ForeignKey("message.id"), nullable=False),
    Column("channel", PlainText, nullable=False),
    _text("recipient"),
    Column("state", PlainText, nullable=False),  # pending, delivered, cancelled, refused
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    _text("lease"),
    Column("lease_until", UtcDateTime, nullable=True),
    _text("last_error"),
    Column("finished_at", UtcDateTime, nullable=True),
    UniqueConstraint("message_id", "channel", "recipient"),
    Index(None, "state", "next_attempt_at"),
)

commitment = Table(
    "commitment",
    metadata,
    # A request for storage commitment, and how far its report has come.
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("transaction_uid", PlainText, nullable=False),
    _text("caller"),  # the names it is listed under
    _text("calling_ae"),
    _text("called_ae"),
    _text("peer_address"),
    Column("requested", JSON, nullable=False),  # [[SOP class UID, SOP instance UID], ...]
    Column("instances", Integer, nullable=False),  # how many that are
    Column("refusal", Integer, nullable=True),  # failure reason of all of them; null: each is looked at
    Column("state", PlainText, nullable=False),  # waiting, reported, given up
    Column("created_at", UtcDateTime, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    _text("lease"),
    Column("lease_until", UtcDateTime, nullable=True),
    _text("last_error"),
    Column("failures", JSON(none_as_null=True), nullable=True),  # [[place in requested, failure reason], ...]
    Column("checked_at", UtcDateTime, nullable=True),  # when failures was so; null: not looked at yet
    Column("finished_at", UtcDateTime, nullable=True),
    Index(None, "state", "next_attempt_at"),
    Index(None, "transaction_uid"),
)

silence = Table(
    "silence",
    metadata,
    # No messages about a unit until a day, that day included.
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("unit_id", PlainText, nullable=False),
    Column("until", Date, nullable=False),
    Column("reason", PlainText, nullable=False),
    Column("silenced_by", PlainText, nullable=False),
    Column("silenced_at", UtcDateTime, nullable=False),
)

node_state = Table(
    "node_state",
    metadata,
    # Small facts of the node itself: archive_id, last_review_at, last_digest_at, config_digest.
    Column("name", PlainText, primary_key=True),
    Column("value", PlainText, nullable=False),
)
