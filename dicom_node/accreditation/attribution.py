"""Which unit made an instance, the evidence for it, or the doubt."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributed:
    """An instance made on ``unit``, with the evidence in words; ``attachment`` when one was used."""

    unit: str
    attachment: str | None
    evidence: str
    flags: tuple[str, ...] = ()
    """Weaker evidence that disagreed, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unattributed:
    """An instance of no known unit; ``doubt`` says why in words an operator can act on."""

    doubt: str
    unregistered: bool = False
    """A biopsy image of a device that no unit's configuration names."""
    attachment: str | None = None
    candidates: tuple[str, ...] = ()
    """Units it could be."""


Attribution = Attributed | Unattributed
