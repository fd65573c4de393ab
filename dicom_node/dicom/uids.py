"""UIDs: what is one, the storage SOP classes with what each counts toward, the transfer syntaxes in order."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from pydicom._uid_dict import UID_dictionary
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    BreastProjectionXRayImageStorageForPresentation,
    BreastProjectionXRayImageStorageForProcessing,
    BreastTomosynthesisImageStorage,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalMammographyXRayImageStorageForProcessing,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    EncapsulatedCDAStorage,
    EncapsulatedPDFStorage,
    EnhancedXRayRadiationDoseSRStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    KeyObjectSelectionDocumentStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameSingleBitSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    XRayRadiationDoseSRStorage,
)
from pynetdicom import sop_class
from pynetdicom.presentation import AllStoragePresentationContexts

from dicom_node.accreditation.signals import Role

_UID = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+", re.ASCII)
_LONGEST_UID = 64


def is_uid(text: str) -> bool:
    """Tell whether ``text`` is a UID as PS3.5 9.1 defines it.

    At most 64 characters; two or more components of the digits 0 to 9, joined by full stops; no component is empty or
    begins with 0 unless it is 0. Padding, line ends and any other character make it none.
    """
    return len(text) <= _LONGEST_UID and _is_uid(text)


@lru_cache(maxsize=4096)  # the same ones come with image after image, and each at several places
def _is_uid(text: str) -> bool:
    return _UID.fullmatch(text) is not None


TRANSFER_SYNTAXES: tuple[str, ...] = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEG2000Lossless,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    HTJ2K,
    RLELossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)
"""Transfer syntaxes accepted for storage (PS3.5 A), the preferred one first: uncompressed, lossless, lossy; then the
deflated one (only its beginning can be read cheaply) and the retired big endian, which dose reports still use."""


@dataclass(frozen=True, slots=True)
class StorageSopClass:
    """A storage SOP class (PS3.4 B.5) and what its instances count toward before their header is known."""

    uid: str
    name: str
    role: Role


_PRIMARY = frozenset(
    {
        DigitalMammographyXRayImageStorageForPresentation,
        DigitalMammographyXRayImageStorageForProcessing,
        BreastTomosynthesisImageStorage,
        BreastProjectionXRayImageStorageForPresentation,
        BreastProjectionXRayImageStorageForProcessing,
        DigitalXRayImageStorageForPresentation,
        DigitalXRayImageStorageForProcessing,
        ComputedRadiographyImageStorage,
    }
)
_EVIDENCE = frozenset({XRayRadiationDoseSRStorage, EnhancedXRayRadiationDoseSRStorage})
_CONTROL = frozenset({KeyObjectSelectionDocumentStorage})

# Vendors wrap mammographic projections and reconstructed slices in these: their header decides.
_WRAPPERS = frozenset(
    {
        SecondaryCaptureImageStorage,
        MultiFrameSingleBitSecondaryCaptureImageStorage,
        MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        MultiFrameTrueColorSecondaryCaptureImageStorage,
    }
)
SECONDARY_CAPTURES = _WRAPPERS
"""Single- and multi-frame secondary capture image classes."""

TOMOSYNTHESIS = frozenset({BreastTomosynthesisImageStorage})
"""Classes whose acquisition date stands in nested sequences."""

PROJECTIONS = frozenset(
    {BreastProjectionXRayImageStorageForPresentation, BreastProjectionXRayImageStorageForProcessing}
)
"""Enhanced multi-frame projection classes."""

DOSE_REPORTS = _EVIDENCE
"""Radiation dose structured reports."""

KEY_OBJECTS = _CONTROL
"""Key object selection documents."""

DOCUMENTS = frozenset({EncapsulatedPDFStorage, EncapsulatedCDAStorage})
"""Documents that are kept as they are: a physicist's report may come as one."""


_COMPOSITE_ROOT = "1.2.840.10008.5.1.4.1.1."


def _class_role(uid: str) -> Role:
    if uid in _PRIMARY:
        return Role.PRIMARY
    if uid in _EVIDENCE:
        return Role.EVIDENCE
    return Role.CONTROL if uid in _CONTROL else Role.SECONDARY


def _names() -> dict[str, str]:
    """Map the UID of every standard composite storage class to its name.

    pynetdicom lists those in force (PS3.4 B.5), some of them newer than pydicom's dictionary; their keyword is the name
    then. Retired ones (PS3.6 A) come from pydicom's dictionary: old devices still send them, and an image that came is
    better kept than refused. Classes of other standards that borrow DICOM's root (DICOS, DICONDE) are left out.
    """
    keywords = {str(value): keyword for keyword, value in vars(sop_class).items() if isinstance(value, UID)}
    uids = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    uids += [
        uid
        for uid, (name, kind, _info, status, _keyword) in UID_dictionary.items()
        if kind == "SOP Class" and status == "Retired" and "Storage" in name and uid.startswith(_COMPOSITE_ROOT)
    ]
    return {uid: UID_dictionary[uid][0] if uid in UID_dictionary else keywords[uid] for uid in uids}


STORAGE_SOP_CLASSES: dict[str, StorageSopClass] = {
    uid: StorageSopClass(uid, name, _class_role(uid)) for uid, name in sorted(_names().items())
}
"""Every standard storage SOP class the node accepts, by UID."""


def role_of(sop_class_uid: str, attributes: Mapping[str, str]) -> Role:
    """Return what an instance counts toward, by its SOP class and, where that is not enough, its header.

    ``attributes`` maps keyword to text as in ``InstanceFacts``. A secondary capture that says it is an original
    mammogram is a vendor's way to send an acquired image. A CT image of Modality MG is a reconstructed slice of
    tomosynthesis. A private or unknown class counts toward nothing.
    """
    mammogram = attributes.get("Modality", "") == "MG"
    if sop_class_uid in _WRAPPERS:
        original = attributes.get("ImageType", "").split("\\")[0] == "ORIGINAL"
        return Role.PRIMARY if mammogram and original else Role.SECONDARY
    if sop_class_uid == CTImageStorage:
        return Role.PRIMARY if mammogram else Role.SECONDARY
    return _class_role(sop_class_uid)
