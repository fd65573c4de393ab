"""The parts of an evidence package before they are written: units, their portions, the originals of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from dicom_node.accreditation.cases import LinkRole
from dicom_node.accreditation.checklist import Item, PackedImage
from dicom_node.accreditation.pairs import CaseImage, Element
from dicom_node.accreditation.portions import COUNTING_PORTIONS, Portion
from dicom_node.accreditation.signals import Role, Stage
from dicom_node.accreditation.standing import Standing
from dicom_node.accreditation.units import Unit
from dicom_node.dicom.facts import InstanceFacts
from dicom_node.index.images import StoredImage
from dicom_node.index.releases import ReleaseVersion
from dicom_node.services.package_names import image_name

_STAGES = [None, *Stage]
"""The order of the images of one exam; first those whose stage is not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """An original that goes into the package."""

    stored: StoredImage
    facts: InstanceFacts
    """Its header."""
    told: CaseImage
    """What its header tells as an image of a case."""
    linked_as: LinkRole | None
    name: str = ""
    """Of the file in the portion's folder."""

    @property
    def view(self) -> str:
        """The view, such as ``CC``; "" when it is not told."""
        return self.told.view


@dataclass(frozen=True, slots=True, kw_only=True)
class PortionPackage:
    """One portion of one unit: the arithmetic, what was chosen, what was left out, what the programme asks."""

    portion: Portion
    folder: str
    first_day: date
    """First day, included, that the release admits."""
    last_day: date
    """Last day, included, that it admits."""
    standing: Standing
    sentences: tuple[str, ...]
    """The rule with its source, the window and the state, in words."""
    subject: str = ""
    """Id of the exam or survey that was chosen; "" for none."""
    day: date | None = None
    """Its day."""
    day_source: str = ""
    is_confirmed: bool = False
    confirmed_by: str = ""
    confirmed_at: datetime | None = None
    images: tuple[Chosen, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    """SOP Instance UID of what belongs to the exam and is not submitted, and why."""
    items: tuple[Item, ...] = ()

    @property
    def needs_confirmation(self) -> bool:
        """Tell whether somebody has to stand for what was chosen: a phantom is one by its headers."""
        return self.portion is not Portion.PHANTOM

    def as_json(self) -> dict[str, Any]:
        """Return it for the manifest, without the files."""
        return {
            "portion": self.portion,
            "folder": self.folder if self.images else None,
            "state": self.standing.state,
            "first_day": self.first_day,
            "last_day": self.last_day,
            "subject": self.subject or None,
            "day": self.day,
            "day_source": self.day_source,
            "confirmed": self.is_confirmed,
            "confirmed_by": self.confirmed_by,
            "confirmed_at": self.confirmed_at,
            "arithmetic": list(self.sentences),
            "checklist": [{"what": each.what, "mark": each.mark, "words": each.words} for each in self.items],
            "left_out": [{"sop_instance_uid": uid, "why": why} for uid, why in self.left_out],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPackage:
    """What a package has of one unit."""

    unit: Unit
    name: str
    """How the names of its folders and lists begin."""
    release: ReleaseVersion
    facility: str
    """In words: where the unit is enrolled on the release date."""
    portions: tuple[PortionPackage, ...] = ()
    problem: str = ""
    """Why it has no folders, in words; "" when all is well."""

    @property
    def due(self) -> date | None:
        """The day on which the submission is due: printed in the package, or by the policy; None when nothing runs."""
        return self.release.due_on or next((each.standing.due for each in self.portions), None)

    @property
    def images(self) -> tuple[Chosen, ...]:
        """Every original of the unit."""
        return tuple(image for portion in self.portions for image in portion.images)

    def as_json(self) -> dict[str, Any]:
        """Return it for the manifest, without the files."""
        release = self.release
        return {
            "unit": self.unit.id,
            "label": self.unit.label,
            "facility": self.facility,
            "release": {
                "id": release.id,
                "version": release.version,
                "cycle": release.cycle_id or None,
                "released_on": release.released_on,
                "due_on": release.due_on,
                "due": self.due,
                "state": release.state,
            },
            "problem": self.problem or None,
            "portions": [each.as_json() for each in self.portions],
        }


Left = list[tuple[str, str]]
"""SOP Instance UIDs with the reason why they are left out."""


def sorted_out(stored: Iterable[StoredImage], portion: Portion) -> tuple[list[StoredImage], Left]:
    """Return the images of an exam that can be submitted, and the others with the reason."""
    wanted: list[StoredImage] = []
    left_out: Left = []
    for each in stored:
        if each.role != Role.PRIMARY:
            left_out.append((each.sop_instance_uid, f"no acquired image ({each.role})"))
        elif each.rejected:
            left_out.append((each.sop_instance_uid, "a key object rejects it"))
        elif each.portion in COUNTING_PORTIONS and each.portion != portion:
            left_out.append((each.sop_instance_uid, f"{each.portion}: {each.rule}"))
        elif portion is Portion.CLINICAL and each.stage == Stage.SPECIMEN:
            wanted.append(each)
        elif each.portion != portion:
            left_out.append((each.sop_instance_uid, f"counts toward nothing: {each.rule or each.portion}"))
        else:
            wanted.append(each)
    return wanted, left_out


def _is_raw(chosen: Chosen) -> bool:
    return chosen.facts.get("PresentationIntentType") == "FOR PROCESSING"


def _exposure(chosen: Chosen) -> tuple[Any, ...]:
    return *_place(chosen)[:4], chosen.told.exposure


def _place(chosen: Chosen) -> tuple[Any, ...]:
    number = chosen.stored.instance_number
    return (
        _STAGES.index(chosen.told.stage),
        "" if chosen.told.side is None else chosen.told.side.value,
        chosen.told.laterality.value,
        chosen.view,
        int(number) if number.isascii() and number.isdigit() else 0,
        chosen.stored.sop_instance_uid,
    )


def named(portion: Portion, several: Iterable[Chosen]) -> tuple[Chosen, ...]:
    """Give the files of a folder their names: the mammogram first, then the stages in order, the specimen last."""
    order = {LinkRole.MAMMOGRAM: 0, None: 1, LinkRole.SPECIMEN: 2}
    known = {each.stored.sop_instance_uid: each for each in several}
    chosen = sorted(known.values(), key=lambda each: (order[each.linked_as], *_place(each)))
    return tuple(
        replace(
            each,
            name=image_name(
                number,
                portion=portion,
                stage=each.told.stage,
                side=each.told.side,
                linked_as=each.linked_as,
                laterality=each.told.laterality,
                view=each.view,
            ),
        )
        for number, each in enumerate(chosen, start=1)
    )


def without_raw(several: Sequence[Chosen], left_out: Left) -> list[Chosen]:
    """Leave out raw images where there is one for presentation of the same stage, side, breast, view and exposure."""
    shown = {_exposure(each) for each in several if not _is_raw(each)}
    kept = []
    for each in several:
        if _is_raw(each) and _exposure(each) in shown:
            left_out.append((each.stored.sop_instance_uid, "for processing; there is one for presentation"))
        else:
            kept.append(each)
    return kept


def packed(images: Iterable[Chosen], elements: Sequence[Element]) -> list[PackedImage]:
    """Return the images as the checklist sees them; ``elements`` identify an image of the portion."""
    return [
        PackedImage(
            path=each.name,
            linked_as=each.linked_as,
            view=each.view,
            lacking=tuple(element for element in elements if element not in each.told.present),
            burned_in=each.told.burned_in,
        )
        for each in images
    ]
