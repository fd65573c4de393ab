"""The mammogram and the specimen radiograph of a case, from whatever device: proposed, never decided.

A study is proposed only where patient, breast and day fit. Whose it is must be beyond doubt: the same patient id, of
the same issuer where both name one, and no name or birth date that says otherwise. A person confirms.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import groupby

from sqlalchemy import Connection

from dicom_node.accreditation.cases import VIEWS_WANTED, Case, CaseFacts, Link, LinkedStudy, LinkRole
from dicom_node.accreditation.evidence import from_cabinet
from dicom_node.accreditation.pairs import Laterality, laterality_of
from dicom_node.accreditation.portions import COUNTING_PORTIONS, Portion
from dicom_node.accreditation.signals import Role, Signals, Stage
from dicom_node.accreditation.units import Registry
from dicom_node.index import cases as rows
from dicom_node.index.cases import ImageRow, Patient
from dicom_node.index.engine import Index

SPECIMEN_DAYS = 1
"""Days after the biopsy on which its specimen may still be radiographed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """Studies that may belong to a case, the newest of each role first, and why others are not proposed."""

    studies: tuple[LinkedStudy, ...] = ()
    doubts: tuple[str, ...] = ()

    def but_linked(self, case: Case) -> tuple[LinkedStudy, ...]:
        """Return those studies that nobody linked to the case yet."""
        linked = {(each.role, each.study_uid) for each in case.links}
        return tuple(each for each in self.studies if (each.role, each.study_uid) not in linked)


def propose(index: Index, registry: Registry, case: Case) -> Proposals:
    """Look for the mammogram and the specimen radiograph of a clinical case. Raises DatabaseError."""
    if case.portion is not Portion.CLINICAL:
        return Proposals()
    with index.read() as conn:
        own = rows.patient_of(conn, case.study_uid)
        doubt = "it is not on file" if own is None else _doubt_of(own)
        if own is None or doubt:
            return Proposals(doubts=(f"nothing is proposed: {doubt}",))
        studies = rows.studies_of(conn, own.patient_id)
        fitting = [each.study_uid for each in studies if _is_same(own, each)]
        images = _images(conn, fitting)
    doubts = []
    if len(fitting) < len(studies):
        number = len(studies) - len(fitting)
        doubts.append(
            f"{number} {'study has' if number == 1 else 'studies have'} the patient id, but another issuer, name or "
            "birth date, or several: not proposed"
        )
    facts = case.facts
    if facts.first_day is None or facts.last_day is None:
        doubts.append("no mammogram or specimen is proposed: the images of the biopsy are undated")
        return Proposals(doubts=tuple(doubts))
    if facts.laterality not in (Laterality.LEFT, Laterality.RIGHT):
        doubts.append(f"no mammogram is proposed: the laterality of the biopsy is {facts.laterality}")
    by_cabinet = _by_cabinet(registry)
    mammograms = _mammograms([each for each in images if not by_cabinet(each)], facts, facts.first_day)
    specimens = _specimens(images, facts, (facts.first_day, facts.last_day), by_cabinet)
    return Proposals(
        studies=(
            *_studies(LinkRole.MAMMOGRAM, mammograms, lambda study: _remarks(study, facts.first_day)),
            *_studies(LinkRole.SPECIMEN, specimens, lambda _: ()),
        ),
        doubts=tuple(doubts),
    )


def describe(conn: Connection, links: Iterable[Link], facts: CaseFacts) -> tuple[LinkedStudy, ...]:
    """Return what the index has of the studies that a person linked to a case, by role and study."""
    found = []
    for link in sorted(links):
        images = _images(conn, [link.study_uid])
        if link.role is LinkRole.SPECIMEN:
            meant = [each for each in images if each.stage is Stage.SPECIMEN]
            meant = meant or [each for each in images if each.portion not in COUNTING_PORTIONS and each.stage is None]
        else:
            meant = [each for each in images if _is_mammogram(each) and each.laterality is facts.laterality]
        found += _studies(link.role, meant, lambda _: ()) or [LinkedStudy(role=link.role, study_uid=link.study_uid)]
    return tuple(found)


def _images(conn: Connection, study_uids: Sequence[str]) -> list[ImageRow]:
    return [image for several in rows.images_of(conn, study_uids).values() for image in several]


def _doubt_of(patient: Patient) -> str:
    if patient.flags:
        return "the images of the biopsy name different patients"
    return "" if patient.patient_id else "the images of the biopsy have no patient id"


def _is_same(one: Patient, other: Patient) -> bool:
    """Tell whether two studies of one patient id are of one patient beyond doubt."""
    told = ((one.issuer, other.issuer), (one.birth_date, other.birth_date), *zip(one.name, other.name, strict=True))
    return not other.flags and all(mine == theirs for mine, theirs in told if mine and theirs)


def _is_mammogram(image: ImageRow) -> bool:
    """Tell whether an image is a mammogram: no step of a biopsy, no phantom, nothing for quality control."""
    plain = image.stage is None and image.portion not in (None, *COUNTING_PORTIONS) and not image.quality_control
    return image.modality == "MG" and plain


def _mammograms(images: Iterable[ImageRow], facts: CaseFacts, biopsy_day: date) -> list[ImageRow]:
    if facts.laterality not in (Laterality.LEFT, Laterality.RIGHT):
        return []
    return [
        each
        for each in images
        if _is_mammogram(each)
        and each.laterality is facts.laterality
        and each.day is not None
        and each.day <= biopsy_day
    ]


def _specimens(
    images: Iterable[ImageRow], facts: CaseFacts, days: tuple[date, date], by_cabinet: Callable[[ImageRow], bool]
) -> list[ImageRow]:
    first, last = days[0], days[1] + timedelta(days=SPECIMEN_DAYS)
    fitting = {Laterality.NOT_TOLD, facts.laterality}
    return [
        each
        for each in images
        if (each.stage is Stage.SPECIMEN or by_cabinet(each))
        and each.laterality in fitting
        and each.day is not None
        and first <= each.day <= last
    ]


def _by_cabinet(registry: Registry) -> Callable[[ImageRow], bool]:
    """Return what tells whether an image came from a listed specimen cabinet."""

    def sent(image: ImageRow) -> bool:
        signals = Signals(role=Role.PRIMARY, calling_ae=image.calling_ae, peer_address=image.peer_address)
        return from_cabinet(signals, registry)

    return sent


def _studies(
    role: LinkRole, images: Iterable[ImageRow], remarks: Callable[[LinkedStudy], tuple[str, ...]]
) -> list[LinkedStudy]:
    """Put images together by study, the newest study first."""
    found = []
    for study_uid, group in groupby(sorted(images, key=lambda each: each.study_uid), key=lambda each: each.study_uid):
        several = list(group)
        study = LinkedStudy(
            role=role,
            study_uid=study_uid,
            day=min((each.day for each in several if each.day), default=None),
            laterality=laterality_of(each.laterality for each in several),
            views=tuple(sorted({each.view for each in several} - {""})),
            sop_instance_uids=tuple(sorted(each.sop_instance_uid for each in several)),
        )
        found.append(replace(study, remarks=remarks(study)))
    return sorted(found, key=lambda each: each.day or date.min, reverse=True)


def _remarks(mammogram: LinkedStudy, biopsy_day: date | None) -> tuple[str, ...]:
    found = []
    if len(mammogram.views) < VIEWS_WANTED:
        found.append("two views are wanted")
    if mammogram.day == biopsy_day:
        found.append("of the day of the biopsy: see that it was taken before")
    return tuple(found)
