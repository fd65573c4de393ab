"""The identifier of a C-GET or C-MOVE request, read and checked: which instances are wanted.

PS3.4 C.4.2.1.4 and C.4.3.1.3. Hierarchical retrieval only: one value for the unique key of each level above that of the
retrieval, a list of UIDs at the level itself (of patients one only), nothing below.

What the standard leaves open is decided here:

- Attributes that are no unique keys of the model select nothing and are passed over: many send back what a query told.
- A Patient ID is taken to the letter, without wild cards. One of wild cards alone is refused: it would be meant as one.
- A Patient ID beyond ASCII without a character set is read as UTF-8 where it is that, else as Latin-1.
"""

import contextlib
from dataclasses import dataclass

from dicom_node.dicom import charsets
from dicom_node.dicom.identifiers import Element, Encoding, read_elements
from dicom_node.dicom.keys import Level
from dicom_node.dicom.query import Root, level_of
from dicom_node.dicom.uids import is_uid
from dicom_node.errors import InvalidQueryError

_CHARACTER_SET, _PATIENT_ID = 0x00080005, 0x00100020

_UNIQUE_KEYS = {
    Level.PATIENT: (_PATIENT_ID, "PatientID"),
    Level.STUDY: (0x0020000D, "StudyInstanceUID"),
    Level.SERIES: (0x0020000E, "SeriesInstanceUID"),
    Level.IMAGE: (0x00080018, "SOPInstanceUID"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """What is wanted: the instances that satisfy every key that is not empty."""

    level: Level
    patient_id: str = ""
    study_uids: tuple[str, ...] = ()
    series_uids: tuple[str, ...] = ()
    instance_uids: tuple[str, ...] = ()


def parse_retrieval(identifier: bytes, encoding: Encoding, root: Root) -> Retrieval:
    """Read a request identifier. Raises InvalidQueryError, in a sentence without values, when it breaks a rule."""
    elements = {element.tag: element for element in read_elements(identifier, encoding)}
    level = level_of(elements, root)
    keys = {each: _values(elements, each) if each >= root.top else () for each in Level}
    for each, values in keys.items():
        name = _UNIQUE_KEYS[each][1]
        if each > level and values:
            raise InvalidQueryError(f"{name} is below the {level.name} level")
        if root.top <= each < level and len(values) != 1:
            raise InvalidQueryError(f"{name} must have one value at the {level.name} level")
        if each is level and not values:
            raise InvalidQueryError(f"{name} is missing at its own level")
    patient = keys[Level.PATIENT]
    return Retrieval(
        level=level,
        patient_id=patient[0] if patient else "",
        study_uids=keys[Level.STUDY],
        series_uids=keys[Level.SERIES],
        instance_uids=keys[Level.IMAGE],
    )


def _values(elements: dict[int, Element], level: Level) -> tuple[str, ...]:
    """Return the values of a level's unique key, each once."""
    tag, name = _UNIQUE_KEYS[level]
    value = elements[tag].value.strip(b" \0") if tag in elements else b""
    if not value:
        return ()
    if level is Level.PATIENT:
        return (_patient_id(value, elements),)
    uids = tuple(dict.fromkeys(text.strip(" \0") for text in value.decode("ascii", "replace").split("\\")))
    if not all(map(is_uid, uids)):
        raise InvalidQueryError(f"{name} holds something that is no UID")
    return uids


def _patient_id(value: bytes, elements: dict[int, Element]) -> str:
    if b"\\" in value and value.isascii():
        raise InvalidQueryError("PatientID must have one value")
    if not value.strip(b"*?"):
        raise InvalidQueryError("PatientID must have one value, and that is a wild card")
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    named = elements[_CHARACTER_SET].value.decode("ascii", "replace").strip(" \0") if _CHARACTER_SET in elements else ""
    if not named:
        with contextlib.suppress(UnicodeDecodeError):
            return value.decode("utf-8")
    sets = charsets.character_sets(named)
    text, legible = charsets.decode(value, sets)
    if not legible or not sets.known:
        raise InvalidQueryError("PatientID does not fit the SpecificCharacterSet")
    return text
