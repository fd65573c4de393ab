"""What one image tells of a case, and whether the images of an exam hold a stereotactic pair."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from dicom_node.accreditation.signals import Stage


class Side(StrEnum):
    """Where the source stood in one image of a stereotactic pair, against the scout (PS3.3 C.8.11.7.1.4)."""

    MINUS = "minus"
    PLUS = "plus"


class PairState(StrEnum):
    """Whether an exam has both images of a stereotactic pair."""

    COMPLETE = "complete"
    ABSENT = "absent"
    TOMOSYNTHESIS = "tomosynthesis, confirm by eye"
    """Guided by tomosynthesis, which has no pair of angles."""
    UNVERIFIED = "unverified"
    """There may be one: the headers do not tell."""
    NOT_WANTED = "not wanted"
    """Of a phantom."""


class Laterality(StrEnum):
    """The breast an exam is of."""

    LEFT = "left"
    RIGHT = "right"
    BOTH = "both"
    """Images of either, or one of both: which is the case's is not clear."""
    NOT_TOLD = "not told"


class Element(StrEnum):
    """What identifies an image that is submitted."""

    NAME = "name"
    ID = "id"
    DATE = "date"
    INSTITUTION = "institution"
    STATION = "station"
    OPERATOR = "operator"
    LATERALITY = "laterality"
    VIEW = "view"


FIRED = (Stage.PRE_FIRE, Stage.POST_FIRE)
"""The stages whose pair the programme wants."""

_PAIR_STAGES = (*FIRED, Stage.STEREO_PAIR, Stage.POST_BIOPSY, Stage.POST_MARKER, Stage.BIOPSY, None)
"""Where a pair is looked for, the best first; None: an image whose stage is not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseImage:
    """What one acquired image tells of a case. ``stage`` None: it shows none."""

    stage: Stage | None = None
    side: Side | None = None
    side_source: str = ""
    """The attribute that told the side."""
    exposure: str = ""
    """What tells one exposure from another: an image is sent for processing and for presentation. "" tells nothing."""
    tomosynthesis: bool = False
    """Of a biopsy that tomosynthesis guided."""
    frames: int = 1
    laterality: Laterality = Laterality.NOT_TOLD
    view: str = ""
    """Such as ``CC``; "" when it is not told."""
    targets: frozenset[str] = frozenset()
    """Biopsy targets (Target UID) it shows."""
    present: frozenset[Element] = frozenset()
    burned_in: bool | None = None
    """Burned In Annotation (0028,0301) says YES or NO; None when it says neither."""
    day: date | None = None
    """The day it was performed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The stereotactic pair of an exam: of which stage, and why it is said to be there or not."""

    state: PairState
    stage: Stage | None = None
    """That of the pair; None without one, or when it is not told."""
    reason: str

    @property
    def is_fired(self) -> bool:
        """Tell whether it is a whole pair from before or after firing, as the programme wants."""
        return self.state is PairState.COMPLETE and self.stage in FIRED


def laterality_of(told: Iterable[Laterality]) -> Laterality:
    """Return the breast that several images are of; those that do not tell do not disturb."""
    sides = set(told) - {Laterality.NOT_TOLD}
    if not sides:
        return Laterality.NOT_TOLD
    return next(iter(sides)) if len(sides) == 1 else Laterality.BOTH


def pair_of(images: Iterable[CaseImage]) -> Pair:
    """Tell whether the images hold a stereotactic pair: a minus and a plus image of one stage, breast and target.

    The best pair is told where there are several. Scouts and specimens make none.
    """
    every = list(images)
    several = [each for each in every if each.stage not in (Stage.SCOUT, Stage.SPECIMEN)]
    by_stage = {stage: [each for each in several if each.stage is stage] for stage in _PAIR_STAGES}
    for stage, of_stage in by_stage.items():
        pair = _complete(stage, of_stage)
        if pair is not None:
            return pair
    if any(each.tomosynthesis for each in every):
        return Pair(state=PairState.TOMOSYNTHESIS, reason="guided by tomosynthesis, which has no pair of angles")
    for stage, of_stage in by_stage.items():
        doubt = _doubt(of_stage)
        if doubt:
            return Pair(state=PairState.UNVERIFIED, reason=f"{stage_words(stage)}: {doubt}")
    single = [
        f"of {stage_words(stage)} only the {each.side} image"
        for stage, of_stage in by_stage.items()
        for each in of_stage[:1]
        if each.side
    ]
    return Pair(state=PairState.ABSENT, reason="; ".join(single) or "no two images of one stage")


def _complete(stage: Stage | None, images: Sequence[CaseImage]) -> Pair | None:
    for minus in (each for each in images if each.side is Side.MINUS):
        for plus in (each for each in images if each.side is Side.PLUS):
            if _belong_together(minus, plus):
                sources = " and ".join(sorted({minus.side_source, plus.side_source}))
                reason = f"minus and plus image of {stage_words(stage)}, by {sources}"
                return Pair(state=PairState.COMPLETE, stage=stage, reason=reason)
    return None


def _belong_together(one: CaseImage, other: CaseImage) -> bool:
    breasts = {one.laterality, other.laterality} - {Laterality.NOT_TOLD}
    apart = one.targets and other.targets and not one.targets & other.targets
    return len(breasts) < 2 and not apart


def _doubt(images: Sequence[CaseImage]) -> str:
    """Say why images of one stage may be a pair and nobody can tell; "" when they cannot be one."""
    if {Side.MINUS, Side.PLUS} <= {each.side for each in images}:
        return "the minus and the plus image are of different breasts or targets"
    unknown = [each for each in images if each.side is None]
    if any(each.frames > 1 for each in unknown):
        return "an image of several frames, whose angles are not told"
    one_exposure = len({each.exposure for each in images}) == 1 and images[0].exposure
    if unknown and len(images) > 1 and not one_exposure:
        return f"{images_words(len(unknown))} whose angle is not told"
    return ""


def stage_words(stage: Stage | None) -> str:
    """Name the stage of a pair."""
    return "no told stage" if stage in (None, Stage.BIOPSY) else str(stage)


def images_words(number: int) -> str:
    """Return a number of images in words."""
    return "1 image" if number == 1 else f"{number} images"
