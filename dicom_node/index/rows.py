"""The values of rows, made from what is known of one instance; no database here."""

from datetime import datetime
from typing import Any

from dicom_node.accreditation.attribution import Attributed
from dicom_node.accreditation.derive import Derivation
from dicom_node.dicom.facts import InstanceFacts, Provenance
from dicom_node.dicom.fuzzy import sound_of, words_of
from dicom_node.dicom.keys import KEYS, Level
from dicom_node.dicom.matching import fold_name
from dicom_node.index.tables import storable

PATIENT_IDS_DIFFER = "its instances name different patient ids"
PATIENTS_DIFFER = "its instances name different patient names or birth dates"

Row = dict[str, Any]

STUDY_HELD = (
    "study_uid", "patient_id", "patient_name", "patient_birth_date", "modalities", "sop_classes", "series_count",
    "instance_count", "first_received_at", "last_received_at", "flags",
)  # fmt: skip
"""What counting one more instance in needs of a study's row, and changes in it."""
SERIES_HELD = ("study_uid", "series_uid", "instance_count", "first_received_at")
"""As ``STUDY_HELD``, of a series' row."""

_NAMES = ("name_alphabetic", "name_ideographic", "name_phonetic")


def _texts(facts: InstanceFacts, columns: tuple[tuple[str, str], ...]) -> Row:
    texts = facts.attributes
    return {column: texts.get(keyword, "") for column, keyword in columns}


def _storable_texts(facts: InstanceFacts, columns: tuple[tuple[str, str], ...]) -> Row:
    """Return texts as they are held, so that they can be compared with what is."""
    return {column: storable(facts.get(keyword)) for column, keyword in columns}


def _columns(*levels: Level) -> tuple[tuple[str, str], ...]:
    """Return column and keyword of the keys of ``levels`` whose text is read from headers, and of their offset."""
    of_keys = ((key.column, key.keyword) for key in KEYS if key.level in levels and key.column and key.stored)
    return *of_keys, ("timezone_offset", "TimezoneOffsetFromUTC")


_STUDY_COLUMNS = _columns(Level.PATIENT, Level.STUDY)
_SERIES_COLUMNS = _columns(Level.SERIES)
_INSTANCE_COLUMNS = _columns(Level.IMAGE)


def unit_of(derivation: Derivation) -> str:
    """Return the unit an instance was made on, "" when nobody can tell."""
    return derivation.attribution.unit if isinstance(derivation.attribution, Attributed) else ""


def instance_values(facts: InstanceFacts, provenance: Provenance) -> Row:
    """Return the columns of an instance row that header and association fill."""
    row = _texts(facts, _INSTANCE_COLUMNS)
    row["sop_instance_uid"] = facts.sop_instance_uid
    row["sop_class_uid"] = facts.sop_class_uid
    row["study_uid"] = facts.study_uid
    row["series_uid"] = facts.series_uid
    row["transfer_syntax_uid"] = facts.transfer_syntax_uid
    row["received_at"] = provenance.received_at
    row["calling_ae"] = provenance.calling_ae
    row["called_ae"] = provenance.called_ae
    row["peer_address"] = provenance.peer_address
    row["flags"] = facts.flags
    return row


def derived_values(derivation: Derivation) -> Row:
    """Return the columns of an instance row that the rules fill."""
    performed, portion, attribution = derivation.performed, derivation.portion, derivation.attribution
    row: Row = {
        "attachment_id": storable(attribution.attachment or ""),
        "role": derivation.role.value,
        "acquisition_day": performed.day,
        "day_source": storable(performed.source),
        "day_flags": performed.flags,
        "portion": portion.portion.value if portion else "",
        "rule": storable(portion.rule) if portion else "",
        "stage": storable(derivation.stage),
    }
    if isinstance(attribution, Attributed):
        row["unit_id"] = attribution.unit
        row["attribution"] = storable(attribution.evidence)
        row["attribution_flags"] = attribution.flags
        row["candidates"] = ()
        row["unregistered"] = False
    else:
        row["unit_id"] = ""
        row["attribution"] = storable(attribution.doubt)
        row["attribution_flags"] = ()
        row["candidates"] = tuple(sorted(attribution.candidates))
        row["unregistered"] = attribution.unregistered
    return row


def merge_study(row: Row | None, facts: InstanceFacts, received_at: datetime, *, in_new_series: bool) -> Row:
    """Return a study's row with one more instance counted in; ``row`` is None for the first.

    Of a row that is there, the columns ``STUDY_HELD`` are enough, and those are returned, unless the instance may be
    the one received first.
    """
    modality, sop_class_uid = storable(facts.get("Modality")), facts.sop_class_uid
    if row is None:
        return _study_texts(facts) | {
            "modalities": _with_value("", modality),
            "sop_classes": sop_class_uid,
            "series_count": 1,
            "instance_count": 1,
            "first_received_at": received_at,
            "last_received_at": received_at,
            "flags": [],
        }
    merged = row.copy() if received_at > row["first_received_at"] else _older(row, _study_texts(facts), received_at)
    flags = _patient_flags(row, facts)
    if flags:
        merged["flags"] = sorted({*row["flags"], *flags})
    if modality != row["modalities"]:
        merged["modalities"] = _with_value(row["modalities"], modality)
    if sop_class_uid != row["sop_classes"]:
        merged["sop_classes"] = _with_value(row["sop_classes"], sop_class_uid)
    merged["series_count"] += in_new_series
    merged["instance_count"] += 1
    merged["last_received_at"] = max(row["last_received_at"], received_at)
    return merged


def _study_texts(facts: InstanceFacts) -> Row:
    own = _storable_texts(facts, _STUDY_COLUMNS) | {"study_uid": facts.study_uid}
    return own | dict(zip(_NAMES, fold_name(own["patient_name"]), strict=True))


def word_rows(study_row: Row) -> list[Row]:
    """Return the rows of the words of a study's patient name."""
    return [
        {"study_uid": study_row["study_uid"], "word": word, "sound": sound_of(word)}
        for word in words_of(study_row["patient_name"])
    ]


def _patient_flags(row: Row, facts: InstanceFacts) -> list[str]:
    """Return in which words an instance names another patient than the row of its study."""
    flags = []
    if storable(facts.get("PatientID")) != row["patient_id"]:
        flags.append(PATIENT_IDS_DIFFER)
    name = storable(facts.get("PatientName"))
    same_name = name == row["patient_name"] or fold_name(name) == fold_name(row["patient_name"])
    if not same_name or storable(facts.get("PatientBirthDate")) != row["patient_birth_date"]:
        flags.append(PATIENTS_DIFFER)
    return flags


def merge_series(row: Row | None, facts: InstanceFacts, received_at: datetime) -> Row:
    """Return a series' row with one more instance counted in; ``row`` is None for the first.

    As ``merge_study``, with ``SERIES_HELD``.
    """
    if row is None:
        return _series_texts(facts) | {"instance_count": 1, "first_received_at": received_at}
    merged = row.copy() if received_at > row["first_received_at"] else _older(row, _series_texts(facts), received_at)
    merged["instance_count"] += 1
    return merged


def _series_texts(facts: InstanceFacts) -> Row:
    own = _storable_texts(facts, _SERIES_COLUMNS)
    return own | {"study_uid": facts.study_uid, "series_uid": facts.series_uid}


def _older(row: Row, own: Row, received_at: datetime) -> Row:
    """Return a new row with the values of the instance received first, its own or those it has."""
    # Instances received at the same microsecond: the lesser values, so that the order in which they come is no matter.
    mine = (received_at, [own[column] for column in sorted(own)])
    held = (row["first_received_at"], [row[column] for column in sorted(own)])
    return row | own | {"first_received_at": received_at} if mine < held else row.copy()


def _with_value(joined: str, value: str) -> str:
    """Add a value, or several, to those joined by a backslash, in order and once each."""
    return "\\".join(sorted({*joined.split("\\"), *value.split("\\")} - {""}))
