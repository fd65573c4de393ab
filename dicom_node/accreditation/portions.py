"""Which portion of a submission an image belongs to, and the rule that decided."""

from dataclasses import dataclass
from enum import StrEnum


class Portion(StrEnum):
    """What an image or exam counts toward."""

    CLINICAL = "clinical"
    PHANTOM = "phantom"
    NEITHER = "neither"
    """Known to count toward nothing: a mammogram, a mammography phantom, a flat field, a specimen."""
    UNCLEAR = "unclear"
    """Nobody can tell from the header: shown to a person, counted toward nothing."""


COUNTING_PORTIONS = (Portion.CLINICAL, Portion.PHANTOM)
"""The portions whose exams age."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortionDecision:
    """A portion and, in a few words, the rule that decided it."""

    portion: Portion
    rule: str
