"""Names of folders and files in an evidence package: made of a list of known words and of the unit's label.

No text of a patient and none of a device gets into a name: what is not on a list is left out. All names are lower- and
upper-case letters, digits, ``-``, ``_`` and ``.``, so that no system and no checksum list needs to escape any.
"""

import re
from collections.abc import Iterable

from dicom_node.accreditation.cases import LinkRole
from dicom_node.accreditation.pairs import Laterality, Side
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.signals import Stage

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""A name of a file or folder in a package."""

_NOT_PLAIN = re.compile(r"[^a-z0-9]+")
_LONGEST_LABEL = 40
_VIEWS = frozenset({"CC", "MLO", "ML", "LM", "LMO", "FB", "SIO", "ISO", "XCCL", "XCCM"})
_SIDES = {Laterality.LEFT: "L", Laterality.RIGHT: "R", Laterality.BOTH: "B"}
_STAGES = {
    Stage.SCOUT: "scout",
    Stage.STEREO_PAIR: "stereo",
    Stage.PRE_FIRE: "prefire",
    Stage.POST_FIRE: "postfire",
    Stage.POST_BIOPSY: "postbiopsy",
    Stage.POST_MARKER: "postmarker",
    Stage.BIOPSY: "biopsy",
    Stage.SPECIMEN: "specimen",
}
_FOLDERS = {Portion.CLINICAL: "clinical", Portion.PHANTOM: "phantom", Portion.PHYSICIST: "physicist-report"}


def unit_names(units: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the beginning of the names of each unit, given its id and label: no two begin alike."""
    names: dict[str, str] = {}
    several = list(units)
    plain = {unit_id: _plain(label) for unit_id, label in several}
    for unit_id, _ in several:
        alone = list(plain.values()).count(plain[unit_id]) == 1
        names[unit_id] = plain[unit_id] if plain[unit_id] and alone else f"{plain[unit_id]}-unit-{unit_id}".strip("-")
    return names


def folder_name(unit_name: str, portion: Portion) -> str:
    """Return the name of the folder of a unit's portion."""
    return f"{unit_name}-{_FOLDERS[portion]}"


def image_name(
    number: int,
    *,
    portion: Portion,
    stage: Stage | None,
    side: Side | None,
    linked_as: LinkRole | None,
    laterality: Laterality,
    view: str,
) -> str:
    """Return the name of an image such as ``03-prefire-minus-L.dcm``; ``number`` is its place in the folder, from 1."""
    if linked_as is not None:
        what = linked_as.value
    elif portion is Portion.PHANTOM:
        what = "phantom"
    else:
        what = _STAGES[stage] if stage else "image"
    side_word = "" if side is None else side.value
    shown = view if view in _VIEWS and what in ("mammogram", "image") else ""
    parts = [f"{number:02}", what, side_word, _SIDES.get(laterality, ""), shown]
    return "-".join(part for part in parts if part) + ".dcm"


def document_name(number: int) -> str:
    """Return the name of the physicist's report; ``number`` is its place in the folder, from 1."""
    return f"{number:02}-physicist-report.dcm"


def _plain(label: str) -> str:
    return _NOT_PLAIN.sub("-", label.casefold())[:_LONGEST_LABEL].strip("-")
