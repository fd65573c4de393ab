"""Entries of the index made without a header or rules: each function sets what a test is about."""

import hashlib
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from dicom_node.accreditation.attribution import Attributed, Attribution, Unattributed
from dicom_node.accreditation.derive import Derivation
from dicom_node.accreditation.exams import Performed
from dicom_node.accreditation.portions import Portion, PortionDecision
from dicom_node.accreditation.signals import DateCandidate, Role
from dicom_node.dicom.facts import InstanceFacts, Provenance
from dicom_node.index.record import Entry
from dicom_node.index.rows import unit_of

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DIGITAL_MAMMOGRAPHY = "1.2.840.10008.5.1.4.1.1.1.2"


def make_uid() -> str:
    """Return a UID nobody else has."""
    return f"2.25.{uuid.uuid4().int}"


def make_derivation(
    unit: str = "upright_a",
    *,
    portion: Portion | None = Portion.CLINICAL,
    day: date | None = date(2026, 11, 20),
    rule: str = "biopsy stage",
    stage: str = "scout",
    day_flags: tuple[str, ...] = (),
    attachment: str | None = None,
    attribution_flags: tuple[str, ...] = (),
    candidates: tuple[str, ...] = (),
    unregistered: bool = False,
) -> Derivation:
    """Return what the rules make of an image; of anything else with ``portion`` None. Unit "" is the unknown one."""
    attribution: Attribution
    if unit:
        attribution = Attributed(unit=unit, attachment=attachment, evidence="device serial", flags=attribution_flags)
    else:
        attribution = Unattributed(
            doubt="no unit has this serial", unregistered=unregistered, attachment=attachment, candidates=candidates
        )
    return Derivation(
        attribution=attribution,
        performed=Performed(day=day, source="AcquisitionDate" if day else "", flags=day_flags),
        portion=PortionDecision(portion=portion, rule=rule) if portion else None,
        stage=stage if portion else "",
        role=Role.PRIMARY if portion else Role.SECONDARY,
    )


def exam_of(entry: Entry) -> tuple[str, str]:
    """Return study and unit of the exam that an entry belongs to by the rules."""
    return entry.facts.study_uid, unit_of(entry.derivation)


def by_hand(unit: str) -> Attributed:
    """Return the attribution of an instance that a person assigned to a unit."""
    return Attributed(unit=unit, attachment=None, evidence="a person assigned it")


def make_entry(
    *,
    study_uid: str = "1.2.3",
    series_uid: str = "1.2.3.1",
    sop_instance_uid: str | None = None,
    content: str | None = None,
    seconds: float = 0,
    derivation: Derivation | None = None,
    rejected_uids: tuple[str, ...] = (),
    sop_class_uid: str = DIGITAL_MAMMOGRAPHY,
    **attributes: str,
) -> Entry:
    """Return an entry received ``seconds`` after noon whose digest is that of ``content`` (default: its UID)."""
    uid = sop_instance_uid or make_uid()
    derivation = derivation or make_derivation()
    header = {
        "PatientName": "SYNTH^PATIENT",
        "PatientID": "SYNTH-0001",
        "PatientBirthDate": "19700101",
        "StudyDate": "20261120",
        "Modality": "MG",
        "SeriesNumber": "1",
        "InstanceNumber": "1",
    }
    return Entry(
        facts=InstanceFacts(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=uid,
            study_uid=study_uid,
            series_uid=series_uid,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            attributes=header | attributes,
            rejected_uids=rejected_uids,
        ),
        provenance=Provenance(
            calling_ae="UPRIGHT_A",
            called_ae="SBB_NODE",
            peer_address="127.0.0.1",
            received_at=NOON + timedelta(seconds=seconds),
        ),
        digest=hashlib.sha256((content or uid).encode()).hexdigest(),
        size=1000,
        derivation=derivation,
        derive_for=lambda unit: replace(derivation, attribution=by_hand(unit)),
        dates=(DateCandidate(source="AcquisitionDate", day=derivation.performed.day),),
    )
