"""What the header of one image tells of a case: stage, side of the pair, breast, view, what identifies it."""

import json
from datetime import date
from functools import lru_cache

from dicom_node.accreditation.pairs import CaseImage, Element, Laterality, Side, laterality_of
from dicom_node.accreditation.signals import Stage
from dicom_node.dicom.facts import InstanceFacts, ReadInstance
from dicom_node.dicom.stages import Concept, names
from dicom_node.dicom.uids import TOMOSYNTHESIS
from dicom_node.dicom.vendors import GE_STEREO_ANGLE

_VIEWS: dict[str, Concept] = {
    view: frozenset({(sct, "SCT"), (srt, "SRT")})
    for view, sct, srt in (
        ("CC", "399162004", "R-10242"),
        ("MLO", "399368009", "R-10226"),
        ("ML", "399260004", "R-10224"),
        ("LM", "399352003", "R-10228"),
        ("LMO", "399099002", "R-10230"),
        ("FB", "399196006", "R-10244"),
        ("SIO", "399188001", "R-102D0"),
        ("ISO", "441555000", "R-40AAA"),
        ("XCCL", "399192008", "R-1024A"),
        ("XCCM", "399101009", "R-1024B"),
    )
}
"""Views of mammography (PS3.16 CID 4014)."""

_SIDES = {"MINUS": Side.MINUS, "PLUS": Side.PLUS}
_SIGNED = ("STEREO", "PREFIRE", "POSTFIRE", "POSTBIOPSY", "POSTMARKER")
_OF_TOMOSYNTHESIS = frozenset({"TOMO_SCOUT", "TOMO_PROJ", "TOMOSYNTHESIS", "TOMO_2D", "PREFIRE", "POSTFIRE"})
"""Image Type value 3 of an image of tomosynthesis; before and after firing without a side (PS3.3 C.8.11.7.1.4)."""

_ANGLES = ("PositionerPrimaryAngle", GE_STEREO_ANGLE)
_STEREO_ANGLE, _ANGLE_TOLERANCE = 15.0, 3.0
"""Degrees of the source in a stereotactic image, and how far what is written may be off."""

_BREASTS = {"L": Laterality.LEFT, "R": Laterality.RIGHT, "B": Laterality.BOTH}


def case_image(read: ReadInstance, day: date | None) -> CaseImage:
    """Return what an acquired image tells of a case; ``day`` is the day it was performed."""
    facts, stage = read.facts, read.signals.stage
    side, side_source = _side(facts)
    laterality = laterality_of(
        breast_told(facts.get(name)) for name in ("ImageLaterality", "FrameLaterality", "Laterality")
    )
    view = view_of(facts.get("ViewCodeSequence"), facts.get("ViewPosition"))
    return CaseImage(
        stage=stage,
        side=None if stage is Stage.SCOUT else side,
        side_source=side_source,
        exposure=_exposure(facts),
        tomosynthesis=facts.sop_class_uid in TOMOSYNTHESIS or bool(_OF_TOMOSYNTHESIS & _types(facts)),
        frames=_number(facts.get("NumberOfFrames")),
        laterality=laterality,
        view=view,
        targets=_targets(facts.get("BiopsyTargetSequence")),
        present=frozenset(
            element
            for element, told in (
                (Element.NAME, facts.get("PatientName").strip("^= ")),
                (Element.ID, facts.get("PatientID")),
                (Element.DATE, day),
                (Element.INSTITUTION, facts.get("InstitutionName")),
                (Element.STATION, facts.get("StationName")),
                (Element.OPERATOR, facts.get("OperatorsName").strip("^= ")),
                (Element.LATERALITY, laterality is not Laterality.NOT_TOLD),
                (Element.VIEW, view),
            )
            if told
        ),
        burned_in={"YES": True, "NO": False}.get(facts.get("BurnedInAnnotation").upper()),
        day=day,
    )


def breast_told(text: str) -> Laterality:
    """Return what a laterality (0020,0062), (0020,0060) or (0020,9072) of one or more values tells."""
    return laterality_of(_BREASTS.get(value, Laterality.NOT_TOLD) for value in text.upper().split("\\"))


@lru_cache(maxsize=512)  # there are few views
def view_of(view_codes: str, view_position: str) -> str:
    """Return the view, such as ``CC``: of the View Code Sequence as ``InstanceFacts`` has it, else of View Position.

    "" when there is none, or none of mammography.
    """
    for item in json.loads(view_codes) if view_codes else []:
        for view, concept in _VIEWS.items():
            if names(item["CodeValue"], item["CodingSchemeDesignator"], concept):
                return view
    position = view_position.upper().strip()
    return position if position in _VIEWS else ""


def _side(facts: InstanceFacts) -> tuple[Side | None, str]:
    """Return the side of an image of a pair and the attribute that told it.

    Where Image Type names a stage, it alone tells: angles of stereotactic images read 0 in the field, or the position
    of the whole arm.
    """
    types = _types(facts)
    for value in types:
        begin, _, end = value.partition("_")
        if begin in _SIGNED and end in _SIDES:
            return _SIDES[end], "ImageType"
    if types & {*_SIGNED, *_OF_TOMOSYNTHESIS, "STEREO_SCOUT"}:
        return None, ""
    for name in _ANGLES:
        angle = _angle(facts.get(name))
        if abs(abs(angle) - _STEREO_ANGLE) <= _ANGLE_TOLERANCE:
            return Side.MINUS if angle < 0 else Side.PLUS, name
    return None, ""


def _exposure(facts: InstanceFacts) -> str:
    time = facts.get("AcquisitionTime")
    return " ".join((facts.get("IrradiationEventUID"), facts.get("AcquisitionDate"), time)) if time else ""


def _types(facts: InstanceFacts) -> set[str]:
    return set(facts.get("ImageType").upper().split("\\")[2:])


def _angle(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 1


def _targets(text: str) -> frozenset[str]:
    return frozenset(item["TargetUID"] for item in json.loads(text or "[]")) - {""}
