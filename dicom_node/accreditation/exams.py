"""An exam: the instances of one study made on one unit, folded from what each instance tells."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from dicom_node.accreditation.cases import CaseDecision, CaseState, Link
from dicom_node.accreditation.portions import COUNTING_PORTIONS, Portion
from dicom_node.accreditation.signals import Signals, Stage

MAMMOGRAM_SOURCE = "the mammogram a person confirmed"
"""The source of an exam's day where its correlating mammogram is older than its images."""


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
    """What one instance adds to its exam; more alike ones add nothing. A non-primary instance has ``portion`` None."""

    portion: Portion | None
    rule: str
    performed: Performed
    stage: str = ""
    attachment: str | None = None
    rejected: bool = False
    """A key object selection rejected the image: it counts toward nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortionTally:
    """What the images of one portion in an exam tell together, whatever their number."""

    undated: bool = False
    """Some of them have no day."""
    first_day: date | None = None
    last_day: date | None = None
    source: str = ""
    """Attribute the first day came from; of several, the first by alphabet."""
    rules: frozenset[str] = frozenset()
    """The rules that decided."""
    flags: frozenset[str] = frozenset()
    """The flags of their days."""

    @property
    def rule(self) -> str:
        """The rules that decided, by alphabet."""
        return "; ".join(sorted(self.rules))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """All that an exam is made of: the contributions of its instances, added up in any order, each once or more often.

    It grows with the kinds of contributions, not with their number.
    """

    portions: Mapping[Portion | None, PortionTally] = field(default_factory=dict)
    """By portion, what was not rejected; None: what is no acquired image."""
    stages: frozenset[str] = frozenset()
    attachments: frozenset[str] = frozenset()
    rejected: bool = False
    """Some contribution was rejected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What people decided about an exam; None leaves the derived value."""

    portion: Portion | None = None
    excluded: bool = False
    reason: str = ""
    case: CaseDecision | None = None
    links: frozenset[Link] = frozenset()
    """The studies that belong to it as a case."""

    @property
    def oldest_day(self) -> date | None:
        """The day of the correlating mammogram: a clinical case is as old as its oldest image."""
        return None if self.case is None else self.case.mammogram_day


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
    case: CaseState | None
    """What a person said of it as a case: CONFIRMED or REJECTED."""
    counts: bool
    """A dated clinical or phantom exam that nobody excluded or rejected."""


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
    """Make the exam of all its instances' contributions, in any order and each once or more often."""
    return conclude(add_up(contributions), override)


def add_up(contributions: Iterable[Contribution], onto: Tally = Tally()) -> Tally:  # never changed
    """Add contributions to a tally. Which ones come first, and which come twice, makes no difference."""
    new = list(contributions)
    counted = [c for c in new if not c.rejected]
    images = [c for c in counted if c.portion is not None]
    portions = dict(onto.portions)
    for portion in {c.portion for c in counted}:
        held = [portions[portion]] if portion in portions else []
        portions[portion] = _together([*held, *(_alone(c) for c in counted if c.portion is portion)])
    return Tally(
        portions=portions,
        stages=onto.stages.union(c.stage for c in images if c.stage),
        attachments=onto.attachments.union(c.attachment for c in images if c.attachment),
        rejected=onto.rejected or len(counted) < len(new),
    )


def conclude(tally: Tally, override: Override) -> Exam:
    """Make the exam that a tally comes to.

    Only primary images that nobody rejected decide. Clinical images beside phantom images, or beside images that nobody
    can tell, make an unclear exam: a phantom counted as clinical would hide an overdue unit. Images that count toward
    neither do not disturb. The day is that of the earliest dated image of the exam's portion, so an exam over midnight
    has the day it began. A portion that a person gave, and that no image has, takes the earliest day of all images. A
    confirmed clinical case whose mammogram is older counts from the mammogram's day.
    """
    portion, rule = _portion(tally)
    if override.portion is not None:
        portion, rule = override.portion, "a person classified it"
    images = [told for of, told in tally.portions.items() if of is not None]
    dates = tally.portions.get(portion) or _together(images or tally.portions.values())
    day, source = dates.first_day, dates.source
    flags = _flags(dates, rejected=tally.rejected)
    mammogram = override.oldest_day if portion is Portion.CLINICAL else None
    if day is not None and mammogram is not None and mammogram < day:
        flags = ("older than its images: as old as the mammogram", *flags)
        day, source = mammogram, MAMMOGRAM_SOURCE
    case = None if override.case is None else override.case.state
    rejected = case is CaseState.REJECTED
    counts = portion in COUNTING_PORTIONS and day is not None and not override.excluded and not rejected
    return Exam(
        portion=portion,
        rule=rule,
        day=day,
        source=source,
        flags=flags,
        stages=tuple(stage.value for stage in Stage if stage.value in tally.stages),
        attachments=tuple(sorted(tally.attachments)),
        excluded=override.excluded,
        case=case,
        counts=counts,
    )


def _portion(tally: Tally) -> tuple[Portion, str]:
    portions = tally.portions
    if Portion.CLINICAL in portions and Portion.PHANTOM in portions:
        return Portion.UNCLEAR, "clinical and phantom images in one exam"
    if Portion.CLINICAL in portions and Portion.UNCLEAR in portions:
        return Portion.UNCLEAR, "clinical images beside unclear ones"
    for portion in (Portion.CLINICAL, Portion.PHANTOM, Portion.UNCLEAR, Portion.NEITHER):
        if portion in portions:
            return portion, portions[portion].rule
    return Portion.NEITHER, "every image is rejected" if tally.rejected else "no images"


def _alone(contribution: Contribution) -> PortionTally:
    day = contribution.performed.day
    return PortionTally(
        undated=day is None,
        first_day=day,
        last_day=day,
        source="" if day is None else contribution.performed.source,
        rules=frozenset({contribution.rule}),
        flags=frozenset(contribution.performed.flags),
    )


def _together(tallies: Iterable[PortionTally]) -> PortionTally:
    several = list(tallies)
    first_day, source = min(
        ((each.first_day, each.source) for each in several if each.first_day is not None), default=(None, "")
    )
    return PortionTally(
        undated=any(each.undated for each in several),
        first_day=first_day,
        last_day=max((each.last_day for each in several if each.last_day is not None), default=None),
        source=source,
        rules=frozenset().union(*(each.rules for each in several)),
        flags=frozenset().union(*(each.flags for each in several)),
    )


def _flags(dates: PortionTally, *, rejected: bool) -> tuple[str, ...]:
    flags = set(dates.flags)
    if dates.first_day is not None and dates.last_day is not None and (dates.last_day - dates.first_day).days > 1:
        flags.add("the images span more than a day")
    if dates.undated and dates.first_day is not None:
        flags.add("some images are undated")
    if rejected:
        flags.add("rejected images are left out")
    return tuple(sorted(flags))
