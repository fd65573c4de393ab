"""The key table: every attribute that a query may match or return, with its level and where it is kept.

One table drives what is read from a header, which columns the index has, what C-FIND matches and returns, and what the
conformance statement says. Levels and matching types: PS3.4 C.6.1.1 and C.6.2.1; the node's own keys are private.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

PRIVATE_CREATOR = "DICOM_NODE"
"""Private creator (PS3.5 7.8.1) of the node's own keys in group 0079."""

PRIVATE_GROUP = 0x0079


class Level(IntEnum):
    """Query/retrieve level (PS3.4 C.3.3), top down."""

    PATIENT = 0
    STUDY = 1
    SERIES = 2
    IMAGE = 3


class KeyType(StrEnum):
    """Matching key type (PS3.4 C.2.2.1)."""

    UNIQUE = "U"
    REQUIRED = "R"
    OPTIONAL = "O"


@dataclass(frozen=True, slots=True)
class Key:
    """One attribute of the query model.

    ``tag`` is (group << 16) + element; a private key's element is the one in block 10. ``column`` is the column of the
    level's table (PATIENT and STUDY: study, SERIES: series, IMAGE: instance) that holds its text; "" when the
    value is computed. ``stored`` False: never read from a header. ``multiple``: several values, joined by a backslash,
    are understood in what is stored and in what is asked for; in any other key a backslash is a character like others.
    """

    keyword: str
    tag: int
    vr: str
    level: Level
    type: KeyType = KeyType.OPTIONAL
    column: str = ""
    stored: bool = True
    private: bool = False
    multiple: bool = False


_P, _S, _E, _I = Level.PATIENT, Level.STUDY, Level.SERIES, Level.IMAGE
_U, _R = KeyType.UNIQUE, KeyType.REQUIRED

KEYS: tuple[Key, ...] = (
    Key("PatientName", 0x00100010, "PN", _P, _R, "patient_name"),
    Key("PatientID", 0x00100020, "LO", _P, _U, "patient_id"),
    Key("IssuerOfPatientID", 0x00100021, "LO", _P, column="issuer_of_patient_id"),
    Key("PatientBirthDate", 0x00100030, "DA", _P, column="patient_birth_date"),
    Key("PatientSex", 0x00100040, "CS", _P, column="patient_sex"),
    Key("NumberOfPatientRelatedStudies", 0x00201200, "IS", _P, stored=False),
    Key("NumberOfPatientRelatedSeries", 0x00201202, "IS", _P, stored=False),
    Key("NumberOfPatientRelatedInstances", 0x00201204, "IS", _P, stored=False),
    Key("StudyInstanceUID", 0x0020000D, "UI", _S, _U, "study_uid"),
    Key("StudyDate", 0x00080020, "DA", _S, _R, "study_date"),
    Key("StudyTime", 0x00080030, "TM", _S, _R, "study_time"),
    Key("AccessionNumber", 0x00080050, "SH", _S, _R, "accession_number"),
    Key("StudyID", 0x00200010, "SH", _S, _R, "study_id"),
    Key("StudyDescription", 0x00081030, "LO", _S, column="study_description"),
    Key("ReferringPhysicianName", 0x00080090, "PN", _S, column="referring_physician_name"),
    Key("ModalitiesInStudy", 0x00080061, "CS", _S, stored=False, multiple=True),
    Key("SOPClassesInStudy", 0x00080062, "UI", _S, stored=False, multiple=True),
    Key("NumberOfStudyRelatedSeries", 0x00201206, "IS", _S, stored=False),
    Key("NumberOfStudyRelatedInstances", 0x00201208, "IS", _S, stored=False),
    Key("SeriesInstanceUID", 0x0020000E, "UI", _E, _U, "series_uid"),
    Key("Modality", 0x00080060, "CS", _E, _R, "modality", multiple=True),
    Key("SeriesNumber", 0x00200011, "IS", _E, _R, "series_number"),
    Key("SeriesDate", 0x00080021, "DA", _E, column="series_date"),
    Key("SeriesTime", 0x00080031, "TM", _E, column="series_time"),
    Key("SeriesDescription", 0x0008103E, "LO", _E, column="series_description"),
    Key("ProtocolName", 0x00181030, "LO", _E, column="protocol_name"),
    Key("StationName", 0x00081010, "SH", _E, column="station_name"),
    Key("DeviceSerialNumber", 0x00181000, "LO", _E, column="device_serial_number"),
    Key("Manufacturer", 0x00080070, "LO", _E, column="manufacturer"),
    Key("ManufacturerModelName", 0x00081090, "LO", _E, column="manufacturer_model_name"),
    Key("InstitutionName", 0x00080080, "LO", _E, column="institution_name"),
    Key("PerformedProcedureStepStartDate", 0x00400244, "DA", _E, column="performed_procedure_step_start_date"),
    Key("Laterality", 0x00200060, "CS", _E, column="laterality"),
    Key("NumberOfSeriesRelatedInstances", 0x00201209, "IS", _E, stored=False),
    Key("SOPInstanceUID", 0x00080018, "UI", _I, _U, "sop_instance_uid"),
    Key("SOPClassUID", 0x00080016, "UI", _I, column="sop_class_uid"),
    Key("InstanceNumber", 0x00200013, "IS", _I, _R, "instance_number"),
    Key("AcquisitionDate", 0x00080022, "DA", _I, column="acquisition_date"),
    Key("AcquisitionTime", 0x00080032, "TM", _I, column="acquisition_time"),
    Key("AcquisitionDateTime", 0x0008002A, "DT", _I, column="acquisition_date_time"),
    Key("ContentDate", 0x00080023, "DA", _I, column="content_date"),
    Key("ContentTime", 0x00080033, "TM", _I, column="content_time"),
    Key("ImageType", 0x00080008, "CS", _I, column="image_type", multiple=True),
    Key("ImageLaterality", 0x00200062, "CS", _I, column="image_laterality"),
    Key("ViewPosition", 0x00185101, "CS", _I, column="view_position"),
    Key("ViewCodeSequence", 0x00540220, "SQ", _I, column="view_code_sequence"),
    Key("QualityControlImage", 0x00280300, "CS", _I, column="quality_control_image"),
    Key("Rows", 0x00280010, "US", _I, column="image_rows"),
    Key("Columns", 0x00280011, "US", _I, column="image_columns"),
    Key("NumberOfFrames", 0x00280008, "IS", _I, column="number_of_frames"),
    Key("AvailableTransferSyntaxUID", 0x00083002, "UI", _I, column="transfer_syntax_uid", stored=False),
    Key("UnitID", 0x00791001, "LO", _I, column="unit_id", stored=False, private=True),
    Key("Portion", 0x00791002, "CS", _I, stored=False, private=True),
    Key("DaysLeft", 0x00791003, "IS", _I, stored=False, private=True),
    Key("CountsUntil", 0x00791004, "DA", _I, stored=False, private=True),
    Key("AcquisitionDay", 0x00791005, "DA", _I, column="acquisition_day", stored=False, private=True),
)
"""Every key, top level first. The private ones describe the exam (the study's instances on one unit)."""

BY_KEYWORD: dict[str, Key] = {key.keyword: key for key in KEYS}
BY_TAG: dict[int, Key] = {key.tag: key for key in KEYS}

DESCENDING_KEYWORDS = frozenset(
    {"StationName", "DeviceSerialNumber", "AcquisitionDate", "Modality"} | {key.keyword for key in KEYS if key.private}
)
"""Keys of lower levels that also match and return at the STUDY and SERIES levels: a study matches when one of its
instances has all of them together. There, AcquisitionDate means the acquisition day the node worked out."""
