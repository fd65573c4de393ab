"""From a header and how it came to the signals the accreditation rules read: the one place of that translation."""

from functools import lru_cache

from dicom_node.accreditation.signals import Phantom, Signals
from dicom_node.dicom.datetimes import parse_da
from dicom_node.dicom.facts import InstanceFacts, Provenance
from dicom_node.dicom.performed import altered_dates, date_candidates
from dicom_node.dicom.stages import Concept, has_phrase, names, stage_of, tokens
from dicom_node.dicom.uids import role_of

_STEREOTACTIC_PHANTOM: Concept = frozenset({("113685", "DCM")})
_PHANTOMS: Concept = frozenset(
    {
        *((str(value), "DCM") for value in (*range(113682, 113693), 130541)),
        ("706342009", "SCT"),
        ("R-FE0C7", "SRT"),
    }
)
"""Phantom devices (PS3.16 CID 4052). A test holds them against pydicom's, whose dictionary of all codes is large."""

_WORD_KEYWORDS = ("PatientName", "PatientID", "StudyDescription", "SeriesDescription", "ProtocolName")
_PATTERN_KEYWORDS = ("ImageType", "StudyDescription", "SeriesDescription", "ProtocolName")
_TEST_PATTERNS = ("flat field", "flatfield", "test pattern", "testpattern")

_FIELDS = {
    "manufacturer": "Manufacturer",
    "model": "ManufacturerModelName",
    "device_serial": "DeviceSerialNumber",
    "station_name": "StationName",
    "institution": "InstitutionName",
}
# Where the device that made the exposure may be named, the place nearest to the exposure first: the equipment of an
# object can be the workstation that processed it.
_DEVICES = (
    {field: f"ContributingEquipmentSequence.{keyword}" for field, keyword in _FIELDS.items()},
    {field: f"ContributingSourcesSequence.{keyword}" for field, keyword in _FIELDS.items()},
    _FIELDS,
    {
        "manufacturer": "DeviceObserverManufacturer",
        "model": "DeviceObserverModelName",
        "device_serial": "DeviceObserverSerialNumber",
    },
)


def to_signals(facts: InstanceFacts, provenance: Provenance) -> Signals:
    """Return what an instance tells the rules."""
    role = role_of(facts.sop_class_uid, facts.attributes)
    stage, stage_source = stage_of(facts, role)
    return Signals(
        role=role,
        **_device(facts),
        detector_id=facts.get("DetectorID") or _single(facts.get("ContributingSourcesSequence.DetectorID")),
        device_uid=_device_uid(facts),
        calling_ae=provenance.calling_ae,
        called_ae=provenance.called_ae,
        peer_address=provenance.peer_address,
        dates=date_candidates(facts, role),
        study_day=None if altered_dates(facts) else parse_da(facts.get("StudyDate")),
        stage=stage,
        stage_source=stage_source,
        phantom=_phantom(facts),
        quality_control_image=facts.get("QualityControlImage") not in {"", "NO"},
        test_pattern=_is_test_pattern(facts),
        patient_id=facts.get("PatientID"),
        words=tuple(dict.fromkeys(tokens(" ".join([facts.get(keyword) for keyword in _WORD_KEYWORDS])))),
        attributes=facts.attributes,
    )


def _device(facts: InstanceFacts) -> dict[str, str]:
    """Return the device's texts from the first place that names exactly one serial number; gaps are filled from the
    object's own equipment."""
    own = {field: facts.get(keyword) for field, keyword in _FIELDS.items()}
    place = next((place for place in _DEVICES if _single(facts.get(place["device_serial"]))), _FIELDS)
    if place is _FIELDS:
        return own
    return {field: (_single(facts.get(place[field])) if field in place else "") or text for field, text in own.items()}


def _single(text: str) -> str:
    """Return a text that has one value, "" for none or several."""
    return "" if "\\" in text else text


def _device_uid(facts: InstanceFacts) -> str:
    """Return the UID of the device; some write a UID of the study or series there, which names no device."""
    uid = facts.get("DeviceUID") or _single(facts.get("DeviceObserverUID"))
    return "" if uid in {facts.study_uid, facts.series_uid, facts.sop_instance_uid} else uid


def _phantom(facts: InstanceFacts) -> Phantom | None:
    values = facts.get("DeviceSequence.CodeValue")
    schemes = facts.get("DeviceSequence.CodingSchemeDesignator")
    devices = [device for device in zip(values.split("\\"), schemes.split("\\"), strict=False) if device[0]]
    if any(names(*device, _STEREOTACTIC_PHANTOM) for device in devices):
        return Phantom.STEREOTACTIC
    if any(names(*device, _PHANTOMS) for device in devices):
        return Phantom.OTHER
    return Phantom.UNKNOWN_KIND if facts.get("QualityControlSubject") == "YES" else None


def _is_test_pattern(facts: InstanceFacts) -> bool:
    return any(_names_test_pattern(facts.get(keyword)) for keyword in _PATTERN_KEYWORDS)


@lru_cache(maxsize=512)  # the texts of a protocol, the same in image after image
def _names_test_pattern(text: str) -> bool:
    words = tokens(text)
    return any(has_phrase(words, pattern) for pattern in _TEST_PATTERNS)
