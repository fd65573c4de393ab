"""What the sequences of a header tell, as flat attributes: devices, dates, views, report content.

Names are the keyword of the sequence and of the element joined by a dot; several items are joined by a backslash, the
same text once. Items of structured reports, which have codes instead of keywords, are named in `_CONTENT`.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from pydicom.datadict import tag_for_keyword

from dicom_node.dicom.charsets import CharacterSets, character_sets
from dicom_node.dicom.datetimes import parse_dt
from dicom_node.dicom.structure import Item
from dicom_node.dicom.values import LONGEST_TEXT, Values

ACQUISITION_EQUIPMENT = "109101"
"""DCM code: purpose of the contributing equipment that acquired the image (PS3.16 CID 7005)."""

REJECTIONS = frozenset({"113001", "113037", "113038", "113039"})
"""DCM codes of document titles that reject what they refer to (PS3.16 CID 7011): for quality, for patient safety, as
an incorrect worklist entry, as data past retention."""

CONTENT_ATTRIBUTES = {
    "121012": "DeviceObserverUID",
    "121013": "DeviceObserverName",
    "121014": "DeviceObserverManufacturer",
    "121015": "DeviceObserverModelName",
    "121016": "DeviceObserverSerialNumber",
    "110119": "StationAETitle",
    "125203": "AcquisitionProtocol",
    "111526": "DateTimeStarted",
    "113809": "StartOfXRayIrradiation",
}
"""DCM codes of content items (PS3.16 TID 1004, 10001, 10003, 10003A) and the attributes they become."""

_EARLIEST = frozenset({"DateTimeStarted", "StartOfXRayIrradiation"})

_encode = json.JSONEncoder(ensure_ascii=False).encode

_MOST_ITEMS = 16  # of a sequence that becomes JSON

_DEVICE = ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "StationName", "InstitutionName")


def tag_of(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return int(tag)


_SEQUENCES = (
    "ContributingSourcesSequence", "XRay3DAcquisitionSequence", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "UDISequence", "DeviceSequence", "ContributingEquipmentSequence",
    "BiopsyTargetSequence", "ViewCodeSequence", "ConceptNameCodeSequence", "ContentSequence",
    "CurrentRequestedProcedureEvidenceSequence",
)  # fmt: skip
_ELEMENTS = (
    *_DEVICE, "SpecificCharacterSet", "AcquisitionDateTime", "DetectorID", "StartAcquisitionDateTime",
    "FrameContentSequence", "FrameAcquisitionDateTime", "FrameAnatomySequence", "FrameLaterality",
    "UniqueDeviceIdentifier", "PurposeOfReferenceCodeSequence", "BiopsyTargetSequence", "TargetUID",
    "ViewModifierCodeSequence", "CodeValue", "CodingSchemeDesignator", "CodeMeaning",
    "ContentSequence", "ConceptNameCodeSequence", "TextValue", "UID", "DateTime",
    "ReferencedSeriesSequence", "ReferencedSOPSequence", "ReferencedSOPInstanceUID",
)  # fmt: skip
_TAGS = {keyword: tag_of(keyword) for keyword in (*_SEQUENCES, *_ELEMENTS)}

NESTED_ATTRIBUTES = frozenset(
    {
        *CONTENT_ATTRIBUTES.values(), "FrameLaterality", "UDISequence.UniqueDeviceIdentifier", "ViewCodeSequence",
        "BiopsyTargetSequence", "DeviceSequence.CodeValue", "DeviceSequence.CodingSchemeDesignator",
        *(f"ContributingEquipmentSequence.{keyword}" for keyword in _DEVICE),
        *(f"ContributingSourcesSequence.{keyword}" for keyword in (*_DEVICE, "DetectorID", "AcquisitionDateTime")),
        "XRay3DAcquisitionSequence.StartAcquisitionDateTime", "FrameContentSequence.FrameAcquisitionDateTime",
    }
)  # fmt: skip
"""The names of everything that `Nested.attributes` may return."""

SEQUENCE_TAGS = frozenset(_TAGS[keyword] for keyword in _SEQUENCES)
"""Top-level sequences that `Nested` reads."""

_TOLD_IN_ITEMS = SEQUENCE_TAGS - {_TAGS["ViewCodeSequence"], _TAGS["BiopsyTargetSequence"]}
"""Most images have none of these."""

NESTED_TAGS = frozenset(_TAGS[keyword] for keyword in _ELEMENTS)
"""Elements it reads inside them."""


class _In(NamedTuple):
    """An item with the character sets in force in it (PS3.5 7.5.3)."""

    item: Item
    sets: CharacterSets


class Nested:
    """Reads the kept sequences of one data set."""

    def __init__(self, elements: Item, sets: CharacterSets, values: Values) -> None:
        self._root = _In(elements, sets)
        self._values = values

    def attributes(self) -> dict[str, str]:
        """Return what the sequences tell, for attributes that are there."""
        found: dict[str, str] = {}
        if not _TOLD_IN_ITEMS.isdisjoint(self._root.item):
            texts = {
                **self._devices(),
                **self._dates(),
                "FrameLaterality": self._joined("FrameLaterality", self._frames("FrameAnatomySequence")),
                "UDISequence.UniqueDeviceIdentifier": self._joined(
                    "UniqueDeviceIdentifier", self._items(self._root, "UDISequence")
                ),
                **self._content(),
            }
            found = {name: text for name, text in texts.items() if text}
        if _TAGS["ViewCodeSequence"] in self._root.item:
            found["ViewCodeSequence"] = self._json("ViewCodeSequence", [self._root], self._view)
        targets = [self._root, *self._functional_groups()]
        if any(_TAGS["BiopsyTargetSequence"] in place.item for place in targets):
            found["BiopsyTargetSequence"] = self._json("BiopsyTargetSequence", targets, self._target)
        return found

    def rejected_uids(self) -> tuple[str, ...]:
        """Return the SOP Instance UIDs a rejecting key object selection refers to, in order; else nothing.

        The content tree says what is meant; where it names nothing, the evidence does.
        """
        titles = self._items(self._root, "ConceptNameCodeSequence")
        if not any(self._code(title) in REJECTIONS for title in titles):
            return ()
        for sequence in ("ContentSequence", "CurrentRequestedProcedureEvidenceSequence"):
            references = self._descend(self._root, (sequence, "ContentSequence", "ReferencedSeriesSequence"))
            uids = dict.fromkeys(
                self._text(reference, "ReferencedSOPInstanceUID")
                for place in references
                for reference in self._items(place, "ReferencedSOPSequence")
            )
            uids.pop("", None)
            if uids:
                return tuple(uids)
        return ()

    def _devices(self) -> dict[str, str]:
        sources = self._items(self._root, "ContributingSourcesSequence")
        equipment = [
            place
            for place in self._items(self._root, "ContributingEquipmentSequence")
            if any(
                self._code(purpose) == ACQUISITION_EQUIPMENT
                for purpose in self._items(place, "PurposeOfReferenceCodeSequence")
            )
        ]
        devices = self._items(self._root, "DeviceSequence")[:_MOST_ITEMS]
        return {
            **{
                f"ContributingSourcesSequence.{keyword}": self._joined(keyword, sources)
                for keyword in (*_DEVICE, "DetectorID")
            },
            **{f"ContributingEquipmentSequence.{keyword}": self._joined(keyword, equipment) for keyword in _DEVICE},
            # Value and scheme of one device stand at the same place in both, so none is left out.
            "DeviceSequence.CodeValue": "\\".join(self._text(device, "CodeValue") for device in devices),
            "DeviceSequence.CodingSchemeDesignator": "\\".join(
                self._text(device, "CodingSchemeDesignator") for device in devices
            ),
        }

    def _dates(self) -> dict[str, str]:
        return {
            "ContributingSourcesSequence.AcquisitionDateTime": self._earliest(
                "AcquisitionDateTime", self._items(self._root, "ContributingSourcesSequence")
            ),
            "XRay3DAcquisitionSequence.StartAcquisitionDateTime": self._earliest(
                "StartAcquisitionDateTime", self._items(self._root, "XRay3DAcquisitionSequence")
            ),
            "FrameContentSequence.FrameAcquisitionDateTime": self._earliest(
                "FrameAcquisitionDateTime", self._frames("FrameContentSequence")
            ),
        }

    def _content(self) -> dict[str, str]:
        """Return the content items of `CONTENT_ATTRIBUTES`; of dates the earliest."""
        texts: dict[str, dict[str, None]] = {}
        for place in self._descend(self._root, ("ContentSequence",)):
            for concept in self._items(place, "ConceptNameCodeSequence"):
                name = CONTENT_ATTRIBUTES.get(self._code(concept))
                if name is not None:
                    text = next(filter(None, (self._text(place, k) for k in ("TextValue", "UID", "DateTime"))), "")
                    texts.setdefault(name, {})[text] = None
        return {name: earliest_dt(found) if name in _EARLIEST else _join(found) for name, found in texts.items()}

    def _view(self, place: _In) -> dict[str, object]:
        view: dict[str, object] = self._code_texts(place)
        view["ViewModifierCodeSequence"] = [
            self._code_texts(modifier) for modifier in self._items(place, "ViewModifierCodeSequence")[:_MOST_ITEMS]
        ]
        return view

    def _code_texts(self, place: _In) -> dict[str, object]:
        return {key: self._text(place, key)[:64] for key in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")}

    def _target(self, place: _In) -> dict[str, object]:
        return {"TargetUID": self._text(place, "TargetUID")}

    def _json(self, keyword: str, places: Iterable[_In], read: Callable[[_In], dict[str, object]]) -> str:
        items = [item for place in places for item in self._items(place, keyword)]
        return _encode([read(item) for item in items[:_MOST_ITEMS]])

    def _functional_groups(self) -> list[_In]:
        return [
            group
            for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
            for group in self._items(self._root, keyword)
        ]

    def _frames(self, keyword: str) -> list[_In]:
        return [item for group in self._functional_groups() for item in self._items(group, keyword)]

    def _items(self, place: _In, keyword: str) -> list[_In]:
        """Return the items of a sequence; none when it is absent or no sequence."""
        element = place.item.get(_TAGS[keyword])
        if element is None or element.items is None:
            return []
        return [_In(item, self._sets(item, place.sets)) for item in element.items]

    def _sets(self, item: Item, inherited: CharacterSets) -> CharacterSets:
        element = item.get(_TAGS["SpecificCharacterSet"])
        return inherited if element is None else character_sets(element.value.decode("latin-1"))

    def _descend(self, place: _In, sequences: tuple[str, ...]) -> Iterator[_In]:
        """Yield every item in the sequences of these keywords, in those of its items and so on, in order."""
        waiting = [iter([place])]
        while waiting:
            current = next(waiting[-1], None)
            if current is None:
                waiting.pop()
                continue
            if current is not place:
                yield current
            waiting.append(iter([item for keyword in sequences for item in self._items(current, keyword)]))

    def _code(self, place: _In) -> str:
        """Return the value of a DCM code, "" of any other scheme."""
        return self._text(place, "CodeValue") if self._text(place, "CodingSchemeDesignator") == "DCM" else ""

    def _text(self, place: _In, keyword: str) -> str:
        tag = _TAGS[keyword]
        element = place.item.get(tag)
        return "" if element is None else self._values.text(tag, element, place.sets, keyword)

    def _joined(self, keyword: str, places: Iterable[_In]) -> str:
        return _join(self._text(place, keyword) for place in places)

    def _earliest(self, keyword: str, places: Iterable[_In]) -> str:
        return earliest_dt(self._text(place, keyword) for place in places)


def _join(texts: Iterable[str]) -> str:
    """Join different texts by backslashes, as many whole ones as fit."""
    joined = ""
    for text in dict.fromkeys(texts):
        longer = f"{joined}\\{text}" if joined and text else joined or text
        if len(longer) > LONGEST_TEXT:
            break
        joined = longer
    return joined


def earliest_dt(texts: Iterable[str]) -> str:
    """Return the date-time with the earliest day; when none has a day, the first text there is."""
    texts = [text for text in texts if text]
    dated = [(day, text) for text in texts if (day := parse_dt(text)) is not None]
    return min(dated)[1] if dated else next(iter(texts), "")
