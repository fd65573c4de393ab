"""Which portion of a submission an image belongs to, and the rule that decided."""

from dataclasses import dataclass
from enum import StrEnum


class Portion(StrEnum):
    """What an image, an exam or a survey counts toward."""

    CLINICAL = "clinical"
    PHANTOM = "phantom"
    PHYSICIST = "physicist"
    """The medical physicist's report: its surveys are recorded by people, no exam is ever one."""
    NEITHER = "neither"
    """Known to count toward nothing: a mammogram, a mammography phantom, a flat field, a specimen."""
    UNCLEAR = "unclear"
    """Nobody can tell from the header: shown to a person, counted toward nothing."""

    @property
    def label(self) -> str:
        """What people call the portion."""
        return "physicist report" if self is Portion.PHYSICIST else self.value

    @property
    def noun(self) -> str:
        """What has a day that counts: an ``exam`` or a ``survey``."""
        return "survey" if self is Portion.PHYSICIST else "exam"

    @property
    def one(self) -> str:
        """The noun with its article: ``an exam``, ``a survey``."""
        return "a survey" if self is Portion.PHYSICIST else "an exam"

    @property
    def evidence(self) -> str:
        """What counts toward the portion: ``clinical exam``, ``physicist survey``."""
        return f"{self.value} {self.noun}"


COUNTING_PORTIONS = (Portion.CLINICAL, Portion.PHANTOM)
"""The portions that images count toward."""

PORTIONS = (*COUNTING_PORTIONS, Portion.PHYSICIST)
"""What a submission consists of: a unit has a standing in each."""

EXAM_PORTIONS = (*COUNTING_PORTIONS, Portion.NEITHER, Portion.UNCLEAR)
"""What an exam may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortionDecision:
    """A portion and, in a few words, the rule that decided it."""

    portion: Portion
    rule: str
