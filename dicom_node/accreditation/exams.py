"""An exam: the instances of one study made on one unit, folded from what each instance tells."""

from dataclasses import dataclass, field
from datetime import date

from dicom_node.accreditation.portions import Portion


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """The day an instance was performed, or None with the reasons in ``flags``.

    ``source`` is the attribute the day came from; ``flags`` are words without values.
    """

    day: date | None
    source: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What one instance, or ``count`` alike ones, add to their exam. A non-primary instance has ``portion`` None."""

    portion: Portion | None
    rule: str
    performed: Performed
    stage: str = ""
    attachment: str | None = None
    count: int = 1
    rejected: bool = False
    """A key object selection rejected the image: it counts toward nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortionTally:
    """The primary instances of one portion in an exam."""

    count: int = 0
    undated: int = 0
    first_day: date | None = None
    last_day: date | None = None
    source: str = ""
    """Attribute the first day came from."""
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What people decided about an exam; None leaves the derived value."""

    portion: Portion | None = None
    excluded: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """An exam as the rules see it. ``day`` None: undated, counted toward nothing."""

    portion: Portion
    rule: str
    day: date | None
    source: str
    flags: tuple[str, ...]
    stages: tuple[str, ...]
    attachments: tuple[str, ...]
    excluded: bool
    counts: bool
    """A dated clinical or phantom exam that nobody excluded."""
    tallies: dict[Portion, PortionTally] = field(default_factory=dict)
