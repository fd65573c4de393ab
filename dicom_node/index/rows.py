"""The values of rows, made from what is known of one instance; no database here."""

from datetime import datetime
from typing import Any

from dicom_node.accreditation.attribution import Attributed, Attribution
from dicom_node.accreditation.derive import Derivation
from dicom_node.dicom.facts import InstanceFacts, Provenance
from dicom_node.dicom.keys import KEYS, Level
from dicom_node.dicom.matching import fold_name
from dicom_node.index.tables import storable

PATIENT_IDS_DIFFER = "its instances name different patient ids"
PATIENTS_DIFFER = "its instances name different patient names or birth dates"

Row = dict[str, Any]

_NAMES = ("name_alphabetic", "name_ideographic", "name_phonetic")


def _texts(facts: InstanceFacts, columns: tuple[tuple[str, str], ...]) -> Row:
    return {column: storable(facts.get(keyword)) for column, keyword in columns}


def _columns(*levels: Level) -> tuple[tuple[str, str], ...]:
    """Return column and keyword of the keys of ``levels`` whose text is read from headers."""
    return tuple((key.column, key.keyword) for key in KEYS if key.level in levels and key.column and key.stored)


_STUDY_COLUMNS = _columns(Level.PATIENT, Level.STUDY)
_SERIES_COLUMNS = _columns(Level.SERIES)
_INSTANCE_COLUMNS = _columns(Level.IMAGE)


def unit_of(derivation: Derivation) -> str:
    """Return the unit an instance was made on, "" when nobody can tell."""
    return derivation.attribution.unit if isinstance(derivation.attribution, Attributed) else ""


def instance_values(facts: InstanceFacts, provenance: Provenance) -> Row:
    """Return the columns of an instance row that header and association fill."""
    return {
        **_texts(facts, _INSTANCE_COLUMNS),
        "sop_instance_uid": facts.sop_instance_uid,
        "sop_class_uid": facts.sop_class_uid,
        "study_uid": facts.study_uid,
        "series_uid": facts.series_uid,
        "transfer_syntax_uid": facts.transfer_syntax_uid,
        "received_at": provenance.received_at,
        "calling_ae": provenance.calling_ae,
        "called_ae": provenance.called_ae,
        "peer_address": provenance.peer_address,
        "flags": list(facts.flags),
    }


def derived_values(derivation: Derivation) -> Row:
    """Return the columns of an instance row that the rules fill."""
    performed, portion = derivation.performed, derivation.portion
    return {
        **_attribution_values(derivation.attribution),
        "role": derivation.role.value,
        "acquisition_day": performed.day,
        "day_source": storable(performed.source),
        "day_flags": list(performed.flags),
        "portion": portion.portion.value if portion else "",
        "rule": storable(portion.rule) if portion else "",
        "stage": storable(derivation.stage),
    }


def _attribution_values(attribution: Attribution) -> Row:
    if isinstance(attribution, Attributed):
        return {
            "unit_id": attribution.unit,
            "attachment_id": storable(attribution.attachment or ""),
            "attribution": storable(attribution.evidence),
            "attribution_flags": list(attribution.flags),
            "candidates": [],
            "unregistered": False,
        }
    return {
        "unit_id": "",
        "attachment_id": storable(attribution.attachment or ""),
        "attribution": storable(attribution.doubt),
        "attribution_flags": [],
        "candidates": sorted(attribution.candidates),
        "unregistered": attribution.unregistered,
    }


def merge_study(row: Row | None, facts: InstanceFacts, received_at: datetime, *, in_new_series: bool) -> Row:
    """Return a study's row with one more instance counted in; ``row`` is None for the first."""
    own = _texts(facts, _STUDY_COLUMNS) | {"study_uid": facts.study_uid}
    if row is not None and own["patient_name"] == row["patient_name"]:
        own |= {name: row[name] for name in _NAMES}
    else:
        own |= zip(_NAMES, fold_name(own["patient_name"]), strict=True)
    modality, sop_class_uid = storable(facts.get("Modality")), facts.sop_class_uid
    if row is None:
        return own | {
            "modalities": modality,
            "sop_classes": sop_class_uid,
            "series_count": 1,
            "instance_count": 1,
            "first_received_at": received_at,
            "last_received_at": received_at,
            "flags": [],
        }
    flags = set(row["flags"])
    if own["patient_id"] != row["patient_id"]:
        flags.add(PATIENT_IDS_DIFFER)
    if any(own[name] != row[name] for name in (*_NAMES, "patient_birth_date")):
        flags.add(PATIENTS_DIFFER)
    return _older(row, own, received_at) | {
        "modalities": _with_value(row["modalities"], modality),
        "sop_classes": _with_value(row["sop_classes"], sop_class_uid),
        "series_count": row["series_count"] + in_new_series,
        "instance_count": row["instance_count"] + 1,
        "last_received_at": max(row["last_received_at"], received_at),
        "flags": sorted(flags),
    }


def merge_series(row: Row | None, facts: InstanceFacts, received_at: datetime) -> Row:
    """Return a series' row with one more instance counted in; ``row`` is None for the first."""
    own = _texts(facts, _SERIES_COLUMNS)
    own |= {"study_uid": facts.study_uid, "series_uid": facts.series_uid}
    if row is None:
        return own | {"instance_count": 1, "first_received_at": received_at}
    return _older(row, own, received_at) | {"instance_count": row["instance_count"] + 1}


def _older(row: Row, own: Row, received_at: datetime) -> Row:
    """Return the row with the values of the instance received first, its own or those it has."""
    if received_at > row["first_received_at"]:
        return row
    # Instances received at the same microsecond: the lesser values, so that the order in which they come is no matter.
    mine = (received_at, [own[column] for column in sorted(own)])
    held = (row["first_received_at"], [row[column] for column in sorted(own)])
    return row | own | {"first_received_at": received_at} if mine < held else row


def _with_value(joined: str, value: str) -> str:
    """Add a value to those joined by a backslash, in order and once each."""
    return "\\".join(sorted({*joined.split("\\"), value} - {""}))
