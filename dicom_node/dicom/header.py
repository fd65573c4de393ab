"""Read one instance: check its data set, take from its header what the index and the rules need.

One pass over the bytes does both. An instance is refused only when its data set is proven broken (`structure`), or when
one of the four UIDs that place it (SOP Class, SOP Instance, Study Instance, Series Instance) is missing or is no UID.
Any other fault is let be: the attribute is read as far as it goes, or left out, and a flag says so.
"""

import os
from functools import lru_cache
from typing import BinaryIO

from dicom_node.dicom.charsets import CharacterSets, character_sets
from dicom_node.dicom.facts import InstanceFacts, Provenance, ReadInstance
from dicom_node.dicom.keys import KEYS
from dicom_node.dicom.nested import NESTED_ATTRIBUTES, NESTED_TAGS, SEQUENCE_TAGS, Nested, tag_of
from dicom_node.dicom.signals import to_signals
from dicom_node.dicom.streams import ReadAt, file_part
from dicom_node.dicom.structure import Item, Selection, check_structure
from dicom_node.dicom.uids import is_uid
from dicom_node.dicom.values import Values
from dicom_node.errors import UnreadableInstanceError

EVIDENCE_KEYWORDS = (
    "SpecificCharacterSet", "InstanceCreationDate", "TimezoneOffsetFromUTC", "LongitudinalTemporalInformationModified",
    "DateOfSecondaryCapture", "PresentationIntentType", "DetectorID", "DeviceUID", "GantryID", "SoftwareVersions",
    "DateOfManufacture", "DateOfInstallation", "DateOfLastDetectorCalibration", "InstitutionalDepartmentName",
    "PerformedProcedureStepDescription", "PositionerPrimaryAngle", "FieldOfViewDimensions", "PaddleDescription",
    "QualityControlSubject", "IrradiationEventUID", "AcquisitionUID", "BurnedInAnnotation", "OperatorsName",
)  # fmt: skip
"""Attributes that are no query key but tell the rules, or people, something."""

_MANDATORY = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_TAGS = {keyword: tag_of(keyword) for keyword in _MANDATORY}

_KEYWORDS = {
    **{key.tag: key.keyword for key in KEYS if key.stored and not key.private and key.vr != "SQ"},
    **{tag_of(keyword): keyword for keyword in EVIDENCE_KEYWORDS},
}
ATTRIBUTES = frozenset({*_KEYWORDS.values(), *NESTED_ATTRIBUTES})
"""The names of every attribute that facts may have, private ones aside; a configured rule can look at no other."""

_SPECIFIC_CHARACTER_SET = tag_of("SpecificCharacterSet")
_SELECTION = Selection(top=frozenset(_KEYWORDS) | SEQUENCE_TAGS, nested=NESTED_TAGS, private=True)


def read_instance(
    file: BinaryIO, start: int, length: int, transfer_syntax_uid: str, provenance: Provenance
) -> ReadInstance:
    """Check the data set of ``length`` bytes at offset ``start`` of a seekable file and read its header.

    Raises UnreadableInstanceError when the data set is broken or lacks one of the four UIDs; the message names the
    attribute and holds nothing of the data set.
    """
    if file.seek(0, os.SEEK_END) < start + length:
        raise UnreadableInstanceError("the file is shorter than its data set")
    return read_data_set(b"", length, file_part(file, start), transfer_syntax_uid, provenance)


def read_data_set(
    head: bytes, length: int, read_at: ReadAt, transfer_syntax_uid: str, provenance: Provenance
) -> ReadInstance:
    """Check a data set of ``length`` bytes and read its header.

    ``head`` is as much of its beginning as is in memory, none or all of it: a header of some 16 KiB is seldom longer.
    ``read_at(offset, size)`` returns ``size`` bytes from an offset in the data set on (fewer at its end); it is asked
    only for what is needed beyond ``head``. Raises UnreadableInstanceError as ``read_instance`` does.
    """
    structure = check_structure(head, length, read_at, transfer_syntax_uid, _SELECTION)
    elements = structure.elements
    values = Values(little_endian=structure.little_endian)
    sets = _character_sets(elements, values)
    text = values.text
    attributes = {
        keyword: text(tag, elements[tag], sets, keyword) for tag, keyword in _KEYWORDS.items() if tag in elements
    }
    for keyword in _MANDATORY:
        if not attributes.get(keyword):
            raise UnreadableInstanceError(f"{keyword} is missing")
        # Cleaned of line ends and the like, as texts are, one that is none would pass for one.
        as_it_came = elements[_TAGS[keyword]].value.strip(b"\0 ").decode("latin-1")
        if as_it_came != attributes[keyword] or not is_uid(as_it_came):
            raise UnreadableInstanceError(f"{keyword} is no UID (PS3.5 9.1)")
    nested = Nested(elements, sets, values)
    attributes |= nested.attributes()
    attributes |= _private_attributes(elements, sets, values)
    facts = InstanceFacts(
        sop_class_uid=attributes["SOPClassUID"],
        sop_instance_uid=attributes["SOPInstanceUID"],
        study_uid=attributes["StudyInstanceUID"],
        series_uid=attributes["SeriesInstanceUID"],
        transfer_syntax_uid=transfer_syntax_uid,
        attributes=attributes,
        rejected_uids=tuple(uid for uid in nested.rejected_uids() if is_uid(uid)),
        flags=(*structure.flags, *values.flags),
    )
    return ReadInstance(facts=facts, signals=to_signals(facts, provenance))


def _character_sets(elements: Item, values: Values) -> CharacterSets:
    element = elements.get(_SPECIFIC_CHARACTER_SET)
    sets = character_sets("" if element is None else element.value.decode("latin-1"))
    if not sets.known:
        values.flags["SpecificCharacterSet: not a defined term"] = None
    return sets


def _private_attributes(elements: Item, sets: CharacterSets, values: Values) -> dict[str, str]:
    """Return the private elements as ``creator:gggg,ee`` with upper-case hexadecimal digits (PS3.5 7.8.1).

    An element (gggg,bbee) belongs to the creator named in (gggg,00bb); without one it means nothing.
    """
    private = [(tag, element) for tag, element in elements.items() if tag & 0x10000]
    creators = {
        tag: values.text(tag, element, sets, "", "") for tag, element in private if 0x10 <= tag & 0xFFFF <= 0xFF
    }
    found: dict[str, str] = {}
    for tag, element in private:
        creator = creators.get((tag & 0xFFFF0000) | (tag >> 8 & 0xFF), "")
        if tag & 0xFFFF > 0xFF and creator:
            found[_private_name(creator, tag)] = values.text(tag, element, sets, "", creator)
    return found


@lru_cache(maxsize=4096)
def _private_name(creator: str, tag: int) -> str:
    return f"{creator}:{tag >> 16:04X},{tag & 0xFF:02X}"
