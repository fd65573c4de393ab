"""An exam: the instances of one study made on one unit, folded from what each instance tells."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from dicom_node.accreditation.portions import COUNTING_PORTIONS, Portion
from dicom_node.accreditation.signals import Signals, Stage


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
    """Attribute the first day came from; of several, the first by alphabet."""
    rule: str = ""
    """The rules that decided, by alphabet."""


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
    """Per portion, the images that were not rejected."""


def performed(signals: Signals, received_on: date, installed_on: date | None) -> Performed:
    """Return the day an instance was performed: the first usable date of its kind of object.

    Not usable is a date of 1900 or earlier (what devices write when they know none), one more than a day after
    ``received_on`` (the local day of receipt; a day ahead is what zones explain), and one before ``installed_on``, the
    day the unit was installed. Each such date is flagged and the next one is tried. A usable study date more than a day
    away is flagged, and the earlier of the two days counts. The day of receipt is never taken for the day of the exam.
    """
    flags: list[str] = []
    for candidate in signals.dates:
        problem = candidate.problem
        if candidate.day is not None and not problem:
            problem = _problem(candidate.day, received_on, installed_on)
        if candidate.day is None or problem:
            flags.append(f"{candidate.source}: {problem or 'no date'}")
            continue
        day, source = candidate.day, candidate.source
        study_day = signals.study_day
        if study_day is not None and not _problem(study_day, received_on, installed_on):
            if (day - study_day).days > 1:
                flags.append(f"StudyDate is more than a day before {source}: the study date counts")
                day, source = study_day, "StudyDate"
            elif (study_day - day).days > 1:
                flags.append(f"StudyDate is more than a day after {source}: {source} counts")
        if day > received_on:
            flags.append(f"{source}: a day after it was received")
        return Performed(day=day, source=source, flags=tuple(flags))
    return Performed(day=None, source="", flags=tuple(flags))


def _problem(day: date, received_on: date, installed_on: date | None) -> str:
    if day.year <= 1900:
        return "year 1900 or earlier"
    if (day - received_on).days > 1:
        return "more than a day after it was received"
    if installed_on is not None and day < installed_on:
        return "before the unit was installed"
    return ""


def fold(contributions: Iterable[Contribution], override: Override) -> Exam:
    """Make the exam of all its instances' contributions, in any order and grouped in any way.

    Only primary images that nobody rejected decide. Clinical images beside phantom images, or beside images that nobody
    can tell, make an unclear exam: a phantom counted as clinical would hide an overdue unit. Images that count toward
    neither do not disturb. The day is that of the earliest dated image of the exam's portion, so an exam over midnight
    has the day it began. A portion that a person gave, and that no image has, takes the earliest day of all images.
    """
    everything = list(contributions)
    images = [c for c in everything if c.portion is not None and not c.rejected]
    tallies = {p: _tally([c for c in images if c.portion is p]) for p in Portion if any(c.portion is p for c in images)}
    portion, rule = _portion(tallies, any(c.rejected for c in everything))
    if override.portion is not None:
        portion, rule = override.portion, "a person classified it"
    deciding = [c for c in images if c.portion is portion] or images or [c for c in everything if not c.rejected]
    dates = _tally(deciding)
    return Exam(
        portion=portion,
        rule=rule,
        day=dates.first_day,
        source=dates.source,
        flags=_flags(deciding, dates, rejected=any(c.rejected for c in everything)),
        stages=tuple(stage.value for stage in Stage if any(c.stage == stage.value for c in images)),
        attachments=tuple(sorted({c.attachment for c in images if c.attachment})),
        excluded=override.excluded,
        counts=portion in COUNTING_PORTIONS and dates.first_day is not None and not override.excluded,
        tallies=tallies,
    )


def _portion(tallies: dict[Portion, PortionTally], rejected: bool) -> tuple[Portion, str]:
    if Portion.CLINICAL in tallies and Portion.PHANTOM in tallies:
        return Portion.UNCLEAR, "clinical and phantom images in one exam"
    if Portion.CLINICAL in tallies and Portion.UNCLEAR in tallies:
        return Portion.UNCLEAR, "clinical images beside unclear ones"
    for portion in (Portion.CLINICAL, Portion.PHANTOM, Portion.UNCLEAR, Portion.NEITHER):
        if portion in tallies:
            return portion, tallies[portion].rule
    return Portion.NEITHER, "every image is rejected" if rejected else "no images"


def _tally(contributions: list[Contribution]) -> PortionTally:
    dated = [(c.performed.day, c.performed.source) for c in contributions if c.performed.day is not None]
    first_day, source = min(dated, default=(None, ""))
    return PortionTally(
        count=sum(c.count for c in contributions),
        undated=sum(c.count for c in contributions if c.performed.day is None),
        first_day=first_day,
        last_day=max((day for day, _ in dated), default=None),
        source=source,
        rule="; ".join(sorted({c.rule for c in contributions})),
    )


def _flags(deciding: list[Contribution], dates: PortionTally, *, rejected: bool) -> tuple[str, ...]:
    flags = {flag for c in deciding for flag in c.performed.flags}
    if dates.first_day is not None and dates.last_day is not None and (dates.last_day - dates.first_day).days > 1:
        flags.add("the images span more than a day")
    if dates.undated and dates.first_day is not None:
        flags.add("some images are undated")
    if rejected:
        flags.add("rejected images are left out")
    return tuple(sorted(flags))
