"""An exam as a case that can be submitted: what its images tell of it, what it still lacks, which case is the best.

The programme wants of a clinical case a mammogram of two views that shows the calcifications, a stereotactic pair from
before or after firing, and a radiograph of the specimen, with the identification on the images (ACR, Preparing and
Submitting: Stereotactic Breast Biopsy, 08-24-2023; Clinical Image Testing). Headers tell a part of that. They tell no
calcification and prove no pair of tomosynthesis, so an exam stays a candidate until a person has looked.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Self

from dicom_node.accreditation.pairs import (
    CaseImage,
    Element,
    Laterality,
    Pair,
    PairState,
    images_words,
    laterality_of,
    pair_of,
    stage_words,
)
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.signals import Stage


class CaseState(StrEnum):
    """What people made of an exam as a case."""

    NONE = "none"
    """It counts toward nothing, so it is no case."""
    CANDIDATE = "candidate"
    """It counts, and nobody has decided."""
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    """A person said that it cannot be submitted: it counts toward nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseDecision:
    """What a person said of an exam as a case: CONFIRMED or REJECTED, and why."""

    state: CaseState
    mammogram_day: date | None = None
    """The day of the correlating mammogram; None when it was rejected, and for a phantom."""
    decided_by: str
    decided_at: datetime
    reason: str


class LinkRole(StrEnum):
    """What another study is to a case."""

    MAMMOGRAM = "mammogram"
    """The correlating mammogram."""
    SPECIMEN = "specimen"
    """The radiograph of the specimen."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Link:
    """A study that a person said belongs to a case."""

    role: LinkRole
    study_uid: str


ELEMENTS: Mapping[Portion, tuple[Element, ...]] = {
    Portion.CLINICAL: tuple(Element),
    # A phantom has no patient, no breast and no view.
    Portion.PHANTOM: (Element.DATE, Element.INSTITUTION, Element.STATION, Element.OPERATOR),
}
"""The identification that applies to the images of a portion."""

VIEWS_WANTED = 2
"""Different views of the correlating mammogram."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFacts:
    """What the headers of an exam's images tell of it as a case. Nothing in it is of a patient."""

    images: int
    """The images of the exam's portion that could be read and that nobody rejected."""
    unreadable: int = 0
    stages: tuple[Stage, ...] = ()
    """In the order of a biopsy."""
    pair: Pair
    laterality: Laterality = Laterality.NOT_TOLD
    views: tuple[str, ...] = ()
    missing: Mapping[Element, int] = field(default_factory=dict)
    """Element of the identification to the number of images that lack it, of those that apply."""
    burned_in: bool | None = None
    """Some image says that text is burned in; False when every image says there is none; None otherwise."""
    first_day: date | None = None
    last_day: date | None = None
    """The days of its own images, whatever a person said of the mammogram."""

    calcification = "unknown"
    """Whether it is a case of calcifications: no header tells."""

    def as_json(self) -> dict[str, Any]:
        """Return it in the types that JSON has."""
        values = asdict(self)
        days = {name: day and day.isoformat() for name, day in ((n, values[n]) for n in ("first_day", "last_day"))}
        return values | days | {"calcification": self.calcification}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return what ``as_json`` was made of."""
        pair, days = values["pair"], {name: values[name] for name in ("first_day", "last_day")}
        return cls(
            images=values["images"],
            unreadable=values["unreadable"],
            stages=tuple(Stage(each) for each in values["stages"]),
            pair=Pair(
                state=PairState(pair["state"]), stage=pair["stage"] and Stage(pair["stage"]), reason=pair["reason"]
            ),
            laterality=Laterality(values["laterality"]),
            views=tuple(values["views"]),
            missing={Element(name): number for name, number in values["missing"].items()},
            burned_in=values["burned_in"],
            **{name: day and date.fromisoformat(day) for name, day in days.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedStudy:
    """What the index has of a study that belongs to a case, or is proposed to.

    ``sop_instance_uids`` are the images that are meant; without any the study is not on file (any more).
    """

    role: LinkRole
    study_uid: str
    day: date | None = None
    """The oldest of these images."""
    laterality: Laterality = Laterality.NOT_TOLD
    views: tuple[str, ...] = ()
    sop_instance_uids: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    """What a person should look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An exam as a case: what its images tell, and what a person said of it."""

    exam_id: str
    study_uid: str
    unit_id: str
    portion: Portion
    day: date | None
    """The day it counts from: that of its oldest image to submit, the confirmed mammogram included."""
    facts: CaseFacts
    state: CaseState
    decision: CaseDecision | None = None
    links: tuple[LinkedStudy, ...] = ()
    """The studies that a person said belong to it, by role and day."""

    @property
    def mammogram_day(self) -> date | None:
        """The day of the correlating mammogram, as a person confirmed it."""
        return None if self.decision is None else self.decision.mammogram_day

    def linked(self, role: LinkRole) -> tuple[LinkedStudy, ...]:
        """Return the linked studies of a role."""
        return tuple(each for each in self.links if each.role is role)

    @property
    def has_specimen(self) -> bool:
        """Tell whether a radiograph of the specimen is in the exam, or a person linked one that is on file."""
        linked = any(each.sop_instance_uids for each in self.linked(LinkRole.SPECIMEN))
        return linked or Stage.SPECIMEN in self.facts.stages

    @property
    def still_wanted(self) -> tuple[str, ...]:
        """Return in words what a submission of the case still wants, as far as the node can tell."""
        clinical = self.portion is Portion.CLINICAL
        found = [*(_wanted_of_case(self) if clinical else ())]
        found += [f"{element} on {images_words(number)}" for element, number in self.facts.missing.items()]
        if self.facts.unreadable:
            found.append(f"{images_words(self.facts.unreadable)} that cannot be read")
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A case in its place, with what speaks for it and against it."""

    case: Case
    proposed: tuple[LinkedStudy, ...]
    """Studies that may belong to it, and nobody linked yet."""
    admitted: bool
    """Its day lies in the window of the release."""
    spoiled_by: date | None
    """The day of the newest proposed mammogram, when that would make the case too old for the release."""
    age: str
    """At the release, in words."""

    def proposed_as(self, role: LinkRole) -> list[LinkedStudy]:
        """Return what is proposed as this."""
        return [each for each in self.proposed if each.role is role]

    @property
    def speaks_for(self) -> tuple[str, ...]:
        """What speaks for submitting it."""
        case, facts, found = self.case, self.case.facts, []
        clinical = case.portion is Portion.CLINICAL
        if case.state is CaseState.CONFIRMED and case.decision is not None:
            found.append(f"confirmed by {case.decision.decided_by}")
        if clinical and facts.pair.state is PairState.COMPLETE:
            found.append(f"complete pair: {facts.pair.reason}")
        if case.mammogram_day is None and self.spoiled_by is None:
            found += [
                f"a mammogram of {each.day} on file ({', '.join(each.views) or 'no told view'})"
                for each in self.proposed_as(LinkRole.MAMMOGRAM)[:1]
            ]
        if clinical and case.has_specimen:
            found.append("specimen")
        elif self.proposed_as(LinkRole.SPECIMEN):
            found.append("a specimen on file")
        if facts.images and not facts.missing:
            found.append("identification complete")
        return (*found, self.age) if self.admitted else tuple(found)

    @property
    def speaks_against(self) -> tuple[str, ...]:
        """What speaks against it: what it still wants, and what makes it too old."""
        found = list(self.case.still_wanted)
        if self.case.facts.burned_in:
            found.append("text is burned into the pixels")
        if self.spoiled_by is not None:
            found.append(f"its newest mammogram on file is of {self.spoiled_by}, which the release does not admit")
        if not self.admitted:
            found.append(f"not in the window of the release: {self.age}")
        return tuple(found)


def case_facts(
    images: Iterable[CaseImage], portion: Portion, *, others: Iterable[Stage] = (), unreadable: int = 0
) -> CaseFacts:
    """Add up what the images of an exam's portion tell.

    ``others`` are the stages of images of the same exam that count toward another portion, such as its specimen.
    """
    several = list(images)
    stages = {each.stage for each in several if each.stage} | set(others)
    days = [each.day for each in several if each.day]
    lacking = Counter(
        element for each in several for element in ELEMENTS.get(portion, tuple(Element)) if element not in each.present
    )
    told = {each.burned_in for each in several}
    phantom = portion is Portion.PHANTOM
    return CaseFacts(
        images=len(several),
        unreadable=unreadable,
        stages=tuple(stage for stage in Stage if stage in stages),
        pair=Pair(state=PairState.NOT_WANTED, reason="a phantom") if phantom else pair_of(several),
        laterality=laterality_of(each.laterality for each in several),
        views=tuple(sorted({each.view for each in several} - {""})),
        missing={element: lacking[element] for element in Element if lacking[element]},
        burned_in=True if True in told else False if told == {False} else None,
        first_day=min(days, default=None),
        last_day=max(days, default=None),
    )


def _wanted_of_case(case: Case) -> list[str]:
    facts, found = case.facts, []
    if not facts.pair.is_fired:
        found.append(f"a pre-fire or post-fire stereo pair: {_pair_words(facts.pair)}")
    if case.mammogram_day is None:
        found.append("the correlating mammogram")
    mammograms = case.linked(LinkRole.MAMMOGRAM)
    views = {view for each in mammograms for view in each.views}
    if mammograms and len(views) < VIEWS_WANTED:
        found.append(f"two views of the mammogram; on file: {', '.join(sorted(views)) or 'no told view'}")
    elif case.mammogram_day is not None and not mammograms:
        found.append("the images of the mammogram, which are not linked")
    if not case.has_specimen:
        found.append("a radiograph of the specimen")
    if facts.laterality in (Laterality.BOTH, Laterality.NOT_TOLD):
        found.append(f"one laterality: {facts.laterality}")
    if case.state is not CaseState.CONFIRMED:
        found.append("a person who has seen that it is a case of calcifications")
    return found


def _pair_words(pair: Pair) -> str:
    if pair.state is PairState.COMPLETE:
        return f"the pair is of {stage_words(pair.stage)}"
    return f"{pair.state}" if pair.state is PairState.TOMOSYNTHESIS else f"{pair.state}, {pair.reason}"


_PAIR_ORDER = (
    PairState.COMPLETE,
    PairState.TOMOSYNTHESIS,
    PairState.UNVERIFIED,
    PairState.NOT_WANTED,
    PairState.ABSENT,
)


def rank(
    cases: Iterable[Case],
    *,
    released_on: date,
    admits: Callable[[date], bool],
    proposed: Mapping[str, Sequence[LinkedStudy]],
) -> list[Ranked]:
    """Put cases in order, the best to submit first, each with what speaks for it and against it.

    ``admits`` tells whether a release on ``released_on`` admits an image of a day; ``proposed`` are the studies that
    may belong to cases, by exam. What is not admitted comes last, before it what its mammogram would make too old. Then
    count, in this order: that a person confirmed the case, a pre-fire or post-fire pair, another pair, the mammogram
    and the specimen, linked or proposed, one laterality, a whole identification, no text in the pixels, and how young
    the case is at the release. Exams that are no case, and rejected ones, are left out.
    """
    ranked = [
        _ranked(case, tuple(proposed.get(case.exam_id, ())), released_on, admits)
        for case in cases
        if case.state in (CaseState.CANDIDATE, CaseState.CONFIRMED)
    ]
    return sorted(ranked, key=_place)


def _place(ranked: Ranked) -> tuple[Any, ...]:
    case, facts = ranked.case, ranked.case.facts
    views = max((len(each.views) for each in ranked.proposed_as(LinkRole.MAMMOGRAM)), default=0)
    return (
        not ranked.admitted,
        ranked.spoiled_by is not None,
        case.state is not CaseState.CONFIRMED,
        not facts.pair.is_fired,
        _PAIR_ORDER.index(facts.pair.state),
        0 if case.mammogram_day else VIEWS_WANTED - min(views, VIEWS_WANTED) + 1,
        0 if case.has_specimen else 1 if ranked.proposed_as(LinkRole.SPECIMEN) else 2,
        facts.laterality in (Laterality.BOTH, Laterality.NOT_TOLD),
        sum(facts.missing.values()),
        facts.burned_in is True,
        -(case.day or date.min).toordinal(),
        case.exam_id,
    )


def _ranked(case: Case, proposed: tuple[LinkedStudy, ...], released_on: date, admits: Callable[[date], bool]) -> Ranked:
    admitted = case.day is not None and admits(case.day)
    mammograms = [each.day for each in proposed if each.role is LinkRole.MAMMOGRAM and each.day is not None]
    newest = max(mammograms, default=None) if case.mammogram_day is None else None
    return Ranked(
        case=case,
        proposed=proposed,
        admitted=admitted,
        spoiled_by=newest if admitted and newest is not None and not admits(newest) else None,
        age=_age_words(case.day, released_on),
    )


def _age_words(day: date | None, released_on: date) -> str:
    if day is None:
        return "undated"
    days = (released_on - day).days
    count = "1 day" if abs(days) == 1 else f"{abs(days)} days"
    return f"{count} {'old at' if days >= 0 else 'after'} the release"
