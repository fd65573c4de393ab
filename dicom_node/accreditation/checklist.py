"""What the programme asks of each portion of a submission, and whether it is there.

The list for clinical images follows *Preparing and Submitting Images: Stereotactic Breast Biopsy* (ACR, 08-24-2023) and
*Clinical Image Testing: Stereotactic Breast Biopsy*; that of surveys and logs the article on quality control (12-6-22).
What no header can tell is a person's to look at or to add, and the list says so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, tzinfo
from enum import StrEnum

from dicom_node.accreditation.cases import VIEWS_WANTED, Case, CaseState, LinkRole
from dicom_node.accreditation.pairs import Element, Laterality, PairState
from dicom_node.accreditation.policies import Terms
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.surveys import Coverage


class Mark(StrEnum):
    """How it is with something the programme asks."""

    THERE = "there"
    MISSING = "missing"
    LOOK = "look at it"
    """The node cannot tell, or something may be wrong: a person has to look."""
    BY_HAND = "by hand"
    """Never in DICOM: a person adds it to the submission."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing the programme asks, or one that the node warns of."""

    what: str
    mark: Mark
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedImage:
    """What one image of a package tells of itself."""

    path: str
    linked_as: LinkRole | None
    """None: of the exam itself."""
    view: str
    lacking: tuple[Element, ...]
    """Elements of the identification that its header lacks."""
    burned_in: bool | None


FORMS = {
    Portion.CLINICAL: "clinical image data form",
    Portion.PHANTOM: "phantom image data form",
    Portion.PHYSICIST: "medical physicist's summary form",
}


def clinical_items(case: Case, images: Sequence[PackedImage], zone: tzinfo) -> list[Item]:
    """Return the list of a clinical portion whose folder holds ``images`` of ``case``; ``zone`` is the facility's."""
    return [
        _case(case, zone),
        Item(
            what="calcifications",
            mark=Mark.THERE if case.state is CaseState.CONFIRMED else Mark.LOOK,
            words="the case was confirmed as one of calcifications; see that they are marked on the mammogram"
            if case.state is CaseState.CONFIRMED
            else "no header tells whether it is a case of calcifications, nor whether they are marked",
        ),
        _mammogram(case, images),
        _pair(case),
        _specimen(case, images),
        *_breast(case),
        *_of_images(images),
        _form(Portion.CLINICAL),
    ]


def phantom_items(images: Sequence[PackedImage]) -> list[Item]:
    """Return the list of a phantom portion whose folder holds ``images``."""
    there = bool(images)
    return [
        Item(
            what="phantom image",
            mark=Mark.THERE if there else Mark.MISSING,
            words=_files(images) if there else "no image of the exam can be submitted",
        ),
        *_of_images(images),
        _form(Portion.PHANTOM),
    ]


def physicist_items(survey_day: date | None, *, has_report: bool, logs: Iterable[Coverage], terms: Terms) -> list[Item]:
    """Return the list of the physicist report: the survey of a day in the window, its document, the logs."""
    if survey_day is None:
        items = [Item(what="survey", mark=Mark.MISSING, words="none that counts is recorded for this release")]
    else:
        items = [Item(what="survey", mark=Mark.THERE, words=f"performed on {survey_day}")]
    items.append(
        Item(what="physicist's report", mark=Mark.THERE, words="the document as the unit sent it")
        if has_report
        else Item(what="physicist's report", mark=Mark.BY_HAND, words="no document of it is on file: add it")
    )
    for each in logs:
        gaps = ", ".join(f"{gap.first} to {gap.last}" for gap in each.gaps)
        months = each.kind.months(terms)
        told = f"wanted {each.first} to {each.last} ({months} {'month' if months == 1 else 'months'})"
        items.append(
            Item(
                what=f"{each.kind} quality control logs",
                mark=Mark.BY_HAND if each.is_complete else Mark.MISSING,
                words=f"{told}; on record without a gap: add them"
                if each.is_complete
                else f"{told}; no record of {gaps}",
            )
        )
    return [*items, _form(Portion.PHYSICIST)]


def nothing_inside(portion: Portion, words: str) -> list[Item]:
    """Return the list of a portion that has nothing to submit; ``words`` tell why."""
    return [Item(what="case" if portion is Portion.CLINICAL else f"{portion} exam", mark=Mark.MISSING, words=words)]


def _case(case: Case, zone: tzinfo) -> Item:
    if case.state is CaseState.CONFIRMED and case.decision is not None:
        decided = case.decision
        words = f"confirmed by {decided.decided_by} on {decided.decided_at.astimezone(zone).date()}"
        return Item(what="case", mark=Mark.THERE, words=words)
    return Item(
        what="case",
        mark=Mark.LOOK,
        words="NOT CONFIRMED: a candidate by its headers; nobody has said that it can be submitted",
    )


def _mammogram(case: Case, images: Sequence[PackedImage]) -> Item:
    what = "correlating mammogram, two views"
    packed = [each for each in images if each.linked_as is LinkRole.MAMMOGRAM]
    views = sorted({each.view for each in packed} - {""})
    if not packed:
        day = f" (that of {case.mammogram_day})" if case.mammogram_day else ""
        return Item(what=what, mark=Mark.MISSING, words=f"no mammogram that a person confirmed is on file{day}")
    if len(views) < VIEWS_WANTED:
        return Item(what=what, mark=Mark.MISSING, words=f"on file: {', '.join(views) or 'no told view'}")
    return Item(what=what, mark=Mark.THERE, words=", ".join(views))


def _pair(case: Case) -> Item:
    pair, what = case.facts.pair, "pre-fire or post-fire stereotactic pair"
    if pair.is_fired:
        return Item(what=what, mark=Mark.THERE, words=pair.reason)
    unsure = pair.state in (PairState.TOMOSYNTHESIS, PairState.UNVERIFIED)
    words = pair.reason if pair.state is not PairState.COMPLETE else f"only the {pair.reason}"
    return Item(what=what, mark=Mark.LOOK if unsure else Mark.MISSING, words=words)


def _specimen(case: Case, images: Sequence[PackedImage]) -> Item:
    packed = [each for each in images if each.linked_as is LinkRole.SPECIMEN]
    what = "radiograph of the specimen"
    if packed:
        return Item(what=what, mark=Mark.THERE, words=_files(packed))
    words = "what is linked to the case is not on file" if case.linked(LinkRole.SPECIMEN) else "none is linked"
    return Item(what=what, mark=Mark.MISSING, words=words)


def _breast(case: Case) -> list[Item]:
    """Return what to look at when the images are of two breasts; one that is not told is missing identification."""
    if case.facts.laterality is not Laterality.BOTH:
        return []
    words = "the folder holds images of the left and of the right: submit one breast's"
    return [Item(what="one breast", mark=Mark.LOOK, words=words)]


def _of_images(images: Sequence[PackedImage]) -> list[Item]:
    """Return what the images tell of their identification, and of text in their pixels."""
    if not images:
        return []
    lacking = [f"{each.path} lacks {', '.join(each.lacking)}" for each in images if each.lacking]
    burned = [each.path for each in images if each.burned_in]
    silent = [each.path for each in images if each.burned_in is None]
    found = [
        Item(what="identification", mark=Mark.LOOK, words=f"by the header {'; '.join(lacking)}")
        if lacking
        else Item(what="identification", mark=Mark.THERE, words="complete in every header")
    ]
    if burned:
        words = f"burned in by the device's own word: {', '.join(burned)}"
        found.append(Item(what="text in the pixels", mark=Mark.LOOK, words=words))
    if silent:
        words = f"the header does not say whether there is any: {', '.join(silent)}"
        found.append(Item(what="text in the pixels", mark=Mark.LOOK, words=words))
    return found


def _form(portion: Portion) -> Item:
    return Item(what=FORMS[portion], mark=Mark.BY_HAND, words="fill it in and add it")


def _files(images: Sequence[PackedImage]) -> str:
    return "1 image" if len(images) == 1 else f"{len(images)} images"
