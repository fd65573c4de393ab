"""Which step of a stereotactic biopsy an image shows, and where that is told.

A mammogram taken for a biopsy makes an overdue unit look fresh: the worse error. A biopsy image nobody recognises only
warns too early, and a person puts it right. So what is certain is asked first (codes, Image Type, biopsy targets,
private elements), and words are believed only where they were chosen for the one exposure or series: in the protocol
name and the series description. What the study or procedure step is called says nothing, because the mammograms before
and after a biopsy, on this or another unit, share that name.
"""

import json
import re
from functools import lru_cache

from dicom_node.accreditation.signals import Role, Stage
from dicom_node.dicom.facts import InstanceFacts
from dicom_node.dicom.vendors import private_stage

_TERMS = {
    "STEREO_SCOUT": Stage.SCOUT,
    "TOMO_SCOUT": Stage.SCOUT,
    "STEREO_MINUS": Stage.STEREO_PAIR,
    "STEREO_PLUS": Stage.STEREO_PAIR,
    **dict.fromkeys(("PREFIRE", "PREFIRE_MINUS", "PREFIRE_PLUS"), Stage.PRE_FIRE),
    **dict.fromkeys(("POSTFIRE", "POSTFIRE_MINUS", "POSTFIRE_PLUS"), Stage.POST_FIRE),
    **dict.fromkeys(("POSTBIOPSY", "POSTBIOPSY_MINUS", "POSTBIOPSY_PLUS"), Stage.POST_BIOPSY),
    **dict.fromkeys(("POSTMARKER", "POSTMARKER_MINUS", "POSTMARKER_PLUS"), Stage.POST_MARKER),
}
"""Image Type value 3 (PS3.3 C.8.11.7.1.4). Terms of tomosynthesis and contrast imaging say nothing of a biopsy."""

Concept = frozenset[tuple[str, str]]
"""Every value and coding scheme that means one thing, of the SNOMED schemes SCT and SRT (PS3.16 section 8)."""

_SPECIMEN: Concept = frozenset({("127457009", "SCT"), ("G-8310", "SRT")})
"""Tissue specimen obtained by biopsy."""

_WORD = re.compile(r"[^\W_]+")
_STEREO = frozenset({"stereo", "stereotactic", "stereotaxic"})
_MAMMOGRAM = frozenset({"mammo", "mammogram", "mammograms", "mammography", "screening", "diagnostic"})
_OTHER_PROCEDURES = frozenset(
    {"ultrasound", "us", "mri", "mr", "wire", "needle", "loc", "localization", "localisation", "savi", "galactogram",
     "galactography", "ductogram", "ductography"}
)  # fmt: skip
_TOMO = frozenset({"tomo", "tomosynthesis", "dbt", "3d"})
_PLUS_MINUS_15 = re.compile(r"(?<![\w.])[-+±] ?15 ?(?:°|deg\w*)?(?![\w.])")
_FIRE = (("prefire", Stage.PRE_FIRE), ("pre fire", Stage.PRE_FIRE),
         ("postfire", Stage.POST_FIRE), ("post fire", Stage.POST_FIRE))  # fmt: skip
_AFTER_BIOPSY = (("postbiopsy", Stage.POST_BIOPSY), ("post biopsy", Stage.POST_BIOPSY),
                 ("postclip", Stage.POST_MARKER), ("postmarker", Stage.POST_MARKER),
                 ("clip", Stage.POST_MARKER), ("marker", Stage.POST_MARKER))  # fmt: skip


def tokens(text: str) -> list[str]:
    """Return the words of a text: runs of letters and digits, case-folded."""
    return _WORD.findall(text.casefold())


def has_phrase(words: list[str], phrase: str) -> bool:
    """Tell whether the words of ``phrase`` follow one another in ``words``."""
    return f" {phrase} " in f" {' '.join(words)} "


def names(value: str, scheme: str, concept: Concept) -> bool:
    """Tell whether a code means this; other names of the scheme SRT are taken for it (PS3.16 section 8)."""
    return (value, "SRT" if scheme in {"SNM3", "99SDM"} else scheme) in concept


def stage_of(facts: InstanceFacts, role: Role) -> tuple[Stage | None, str]:
    """Return the stage an image or dose report shows and the attribute that told it, or None and ""."""
    if role is Role.EVIDENCE:
        stage = words_stage(facts.get("AcquisitionProtocol"))
        return stage, "AcquisitionProtocol" if stage else ""
    if role is not Role.PRIMARY:
        return None, ""
    if _is_specimen_view(facts.get("ViewCodeSequence")):
        return Stage.SPECIMEN, "ViewCodeSequence"
    for value in facts.get("ImageType").upper().split("\\")[2:]:
        if value in _TERMS:
            return _TERMS[value], "ImageType"
    if facts.get("BiopsyTargetSequence") not in {"", "[]"}:
        return Stage.BIOPSY, "BiopsyTargetSequence"
    private = private_stage(facts.attributes)
    if private is not None:
        return private
    for keyword in ("ProtocolName", "SeriesDescription"):
        stage = words_stage(facts.get(keyword))
        # Outside mammography a scout or a marker is something else; a specimen counts toward nothing anywhere.
        if stage is not None and (stage is Stage.SPECIMEN or facts.get("Modality") == "MG"):
            return stage, keyword
    return None, ""


@lru_cache(maxsize=512)  # a protocol or series is told in the same words in image after image
def words_stage(text: str) -> Stage | None:
    """Return the stage that the words of a protocol or series tell.

    "Stereo" alone is a biopsy of unknown stage, because the scouts of a protocol are called so too. The mammogram
    after a biopsy is called after it: a post-biopsy, clip or marker image counts only where stereo stands beside it, a
    text that speaks of a mammogram only without "pre" and "post". Other procedures that are not stereotactic are none.
    """
    words = tokens(text)
    found = set(words)
    stereo = bool(found & _STEREO)
    angle = not found & _TOMO and _PLUS_MINUS_15.search(text) is not None
    if "specimen" in found:
        return Stage.SPECIMEN
    if not (stereo or angle) and found & (_MAMMOGRAM | _OTHER_PROCEDURES):
        return None
    if found & _MAMMOGRAM and found & {"pre", "post"}:
        return None
    for phrase, stage in _FIRE:
        if has_phrase(words, phrase):
            return stage
    if any(has_phrase(words, f"post {word}") for word in _STEREO):
        return None
    if "scout" in found:
        return Stage.SCOUT
    if stereo:
        for phrase, stage in _AFTER_BIOPSY:
            if has_phrase(words, phrase):
                return stage
    if angle or has_phrase(words, "stereo pair"):
        return Stage.STEREO_PAIR
    if stereo or ("biopsy" in found and not found & {"pre", "post"}):
        return Stage.BIOPSY
    return None


@lru_cache(maxsize=128)  # there are few views
def _is_specimen_view(views: str) -> bool:
    items = json.loads(views) if views else []
    return any(
        names(code["CodeValue"], code["CodingSchemeDesignator"], _SPECIMEN)
        for item in items
        for code in (item, *item["ViewModifierCodeSequence"])
    )
