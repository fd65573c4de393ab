"""What vendors tell in private elements: evidence of a biopsy that their standard attributes may lack.

Names are those of ``InstanceFacts.attributes``: private creator, group and the last two digits of the element.
"""

from collections.abc import Mapping

from dicom_node.accreditation.signals import Stage

GE_STEREO_ANGLE = "GEMS_SENO_02:0045,06"
"""Degrees of the tube in a stereotactic exposure; 0 in scouts, in mammograms, and in some stereotactic pairs too."""

GE_STEREO_BUFFER = "GEMS_SENO_02:0045,71"
"""What the stereotactic positioner computed, as text; filled with blanks in mammograms."""

IMS_BIOPSY_IMAGE = "IMS s.r.l. Biopsy Private Code:1269,01"
"""An integer, 0 when the image is of no biopsy."""


def private_stage(attributes: Mapping[str, str]) -> tuple[Stage, str] | None:
    """Return the biopsy stage private elements give evidence of, and the private creator; None without evidence."""
    if _is_not_zero(attributes.get(GE_STEREO_ANGLE, "")):
        return Stage.STEREO_PAIR, "private GEMS_SENO_02"
    if attributes.get(GE_STEREO_BUFFER):
        return Stage.BIOPSY, "private GEMS_SENO_02"
    if _is_not_zero(attributes.get(IMS_BIOPSY_IMAGE, "")):
        return Stage.BIOPSY, "private IMS s.r.l. Biopsy Private Code"
    return None


def _is_not_zero(text: str) -> bool:
    """Tell whether a number was written and is not 0. Anything but a number is no evidence."""
    try:
        return float(text) != 0
    except ValueError:
        return False
