"""What one instance tells the accreditation rules, free of DICOM encoding.

``dicom.signals`` fills these from a header; the rules read nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum


class Role(StrEnum):
    """What an instance's SOP class counts toward."""

    PRIMARY = "primary"
    """An acquired image: may make an exam count."""
    EVIDENCE = "evidence"
    """A radiation dose report: says which unit and when, makes nothing count by itself."""
    SECONDARY = "secondary"
    """Kept and found, counted toward nothing; it inherits from its study."""
    CONTROL = "control"
    """A key object selection: may reject other instances."""


class Stage(StrEnum):
    """Step of a stereotactic biopsy that an image shows (PS3.3 C.8.11.7.1.4, Image Type value 3, and the like)."""

    SCOUT = "scout"
    STEREO_PAIR = "stereo-pair"
    PRE_FIRE = "pre-fire"
    POST_FIRE = "post-fire"
    POST_BIOPSY = "post-biopsy"
    POST_MARKER = "post-marker"
    BIOPSY = "biopsy"
    """A biopsy image whose stage is not told."""
    SPECIMEN = "specimen"
    """A radiograph of the specimen: no evidence of a biopsy on the unit that made it."""


class Phantom(StrEnum):
    """What an instance says of a phantom."""

    STEREOTACTIC = "stereotactic"
    """Device code 113685, DCM: ACR accreditation phantom for stereotactic breast biopsy."""
    OTHER = "other"
    """A coded phantom of another programme (113684, DCM: mammography) or kind (706342009, SCT, other CID 4052)."""
    UNKNOWN_KIND = "unknown-kind"
    """Quality Control Subject says YES; which phantom is not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DateCandidate:
    """One date found in an instance, in the order of preference for its kind of object.

    ``day`` is the calendar date as the unit wrote it, or None when the attribute held no calendar date; ``problem``
    then says why in words without the value ("not a date", "year 1900", "dates were modified").
    ``source`` is the attribute's keyword, nested ones joined by a dot.
    """

    source: str
    day: date | None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What one instance tells the rules. Texts are decoded and stripped; an absent attribute is ""."""

    role: Role
    manufacturer: str = ""
    model: str = ""
    device_serial: str = ""
    station_name: str = ""
    institution: str = ""
    detector_id: str = ""
    device_uid: str = ""
    calling_ae: str = ""
    called_ae: str = ""
    peer_address: str = ""
    """Textual IPv4 or IPv6 address of the sender; "" for an import."""
    dates: tuple[DateCandidate, ...] = ()
    study_day: date | None = None
    stage: Stage | None = None
    stage_source: str = ""
    """Which attribute told the stage, such as ``ImageType`` or ``private GEMS_SENO_02``."""
    phantom: Phantom | None = None
    quality_control_image: bool = False
    """Quality Control Image (0028,0300) is present and not NO."""
    test_pattern: bool = False
    """Image Type or description says flat field or test pattern in the standard's own terms."""
    patient_id: str = ""
    words: tuple[str, ...] = ()
    """Whole tokens (split at anything but letters and digits, case folded) of patient name and id, study and series
    description and protocol; for phantom patterns only."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Every header attribute kept for the index, by keyword, and private vendor elements as ``creator:gggg,ee``
    (``IMS s.r.l. Biopsy Private Code:1269,01``); several values are joined by a backslash. For configured rules."""
