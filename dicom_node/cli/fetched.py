"""Instances that a C-GET brings, as DICOM files."""

import contextlib
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pydicom.uid import (
    BasicTextSRStorage,
    BreastProjectionXRayImageStorageForPresentation,
    BreastProjectionXRayImageStorageForProcessing,
    BreastTomosynthesisImageStorage,
    ColorSoftcopyPresentationStateStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalMammographyXRayImageStorageForProcessing,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    EnhancedXRayRadiationDoseSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    MammographyCADSRStorage,
    MRImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    XRayRadiationDoseSRStorage,
)

from dicom_node.dicom.facts import Provenance
from dicom_node.dicom.part10 import Seal, build_preamble_and_meta, sealed
from dicom_node.dicom.uids import STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES, is_uid
from dicom_node.dimse.calling import Proposed
from dicom_node.dimse.pdu import Command
from dicom_node.dimse.proposing import MOST_CONTEXTS
from dicom_node.dimse.serving import AcceptedContext

_USUAL_CLASSES: tuple[str, ...] = (
    DigitalMammographyXRayImageStorageForPresentation,
    BreastTomosynthesisImageStorage,
    SecondaryCaptureImageStorage,
    DigitalMammographyXRayImageStorageForProcessing,
    BreastProjectionXRayImageStorageForPresentation,
    BreastProjectionXRayImageStorageForProcessing,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    CTImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    DigitalXRayImageStorageForPresentation,
    XRayRadiationDoseSRStorage,
    EnhancedXRayRadiationDoseSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    MammographyCADSRStorage,
    BasicTextSRStorage,
    EnhancedSRStorage,
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    UltrasoundMultiFrameImageStorage,
    DigitalXRayImageStorageForProcessing,
    MRImageStorage,
    Comprehensive3DSRStorage,
    ColorSoftcopyPresentationStateStorage,
    ComputedRadiographyImageStorage,
    SegmentationStorage,
)
"""What breast imaging makes, the most usual first."""

_STORED = (0x0000, "")
_NO_DATA_SET = (0xC000, "no data set")
_NO_UID, _OTHER_CLASS, _NO_ROOM = (0x0117, "no usable UID"), (0xA900, "not the class of the context"), 0xA700


def contexts_to_fetch(first: Proposed) -> tuple[list[Proposed], dict[str, tuple[bool, bool]]]:
    """Return the presentation contexts of a C-GET, ``first`` that of the request itself, and the roles in them.

    The peer chooses one transfer syntax a context, and may be able to send an instance as it is stored alone: so each
    context proposes one. As there are 128 at most, the more usual a class the more of the syntaxes it gets.
    """
    classes = dict.fromkeys([*map(str, _USUAL_CLASSES), *STORAGE_SOP_CLASSES])
    pairs = [
        ((number + 1) * (rank + 1), uid, str(syntax))
        for number, uid in enumerate(classes)
        for rank, syntax in enumerate(TRANSFER_SYNTAXES)
    ]
    chosen = [Proposed(uid, (syntax,)) for _, uid, syntax in sorted(pairs)[: MOST_CONTEXTS - 1]]
    return [first, *chosen], {each.abstract_syntax: (False, True) for each in chosen}


class FetchedFiles:
    """Takes the instances of one C-GET and writes each to a Part 10 file named by its SOP Instance UID."""

    def __init__(
        self, folder: Path, contexts: Mapping[int, AcceptedContext], *, calling_ae: str, sender: str, address: str
    ) -> None:
        """Write below an existing folder. ``sender`` is the AE title of the peer, ``address`` where it is."""
        self._folder = folder
        self._contexts = contexts
        self._titles = sender, calling_ae, address
        self.paths: list[Path] = []
        """Files that are whole; one that was there before under the same name is replaced."""
        self.failures = 0

    def begin(self, command: Command, context_id: int) -> "_Fetched":
        """Begin a file."""
        sender, receiver, address = self._titles
        provenance = Provenance(
            calling_ae=sender, called_ae=receiver, peer_address=address, received_at=datetime.now(UTC)
        )
        return _Fetched(self, self._folder, command, self._contexts.get(context_id), provenance)


class _Fetched:
    def __init__(
        self,
        files: FetchedFiles,
        folder: Path,
        command: Command,
        context: AcceptedContext | None,
        provenance: Provenance,
    ) -> None:
        self._files = files
        self._digest = hashlib.sha256()
        self._size = 0
        self._file: BinaryIO | None = None
        self._answer = _STORED
        uid = command.affected_sop_instance_uid
        if not is_uid(uid):
            self._answer = _NO_UID
            return
        if context is None or command.affected_sop_class_uid != context.sop_class_uid:
            self._answer = _OTHER_CLASS
            return
        self._path = folder / f"{uid}.dcm"
        self._draft = folder / f".{uid}.part"
        self._head = build_preamble_and_meta(context.sop_class_uid, uid, context.transfer_syntax_uid, provenance)
        try:
            self._file = self._draft.open("wb")
            self._file.write(self._head)
        except OSError as error:
            self._fail(error)

    def write(self, *data: memoryview) -> None:
        """Take the next bytes of the data set."""
        for view in data:
            self._digest.update(view)
            self._size += len(view)
            if self._file is not None:
                try:
                    self._file.write(view)
                except OSError as error:
                    self._fail(error)

    def finish(self) -> tuple[int, str]:
        """Give the file its name; return the status and the Error Comment for the peer."""
        if not self._size and not self._answer[0]:
            self._answer = _NO_DATA_SET
            self.discard()
        file, self._file = self._file, None
        if file is not None:
            try:
                with file:
                    file.seek(0)
                    file.write(sealed(self._head, Seal(size=self._size, digest=self._digest.hexdigest())))
                self._draft.replace(self._path)
                self._files.paths.append(self._path)
            except OSError as error:
                self._file = file
                self._fail(error)
        if self._answer[0]:
            self._files.failures += 1
        return self._answer

    def discard(self) -> None:
        """Remove what is not whole."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(OSError):
                self._draft.unlink(missing_ok=True)
            self._file = None

    def _fail(self, error: OSError) -> None:
        self._answer = (_NO_ROOM, (error.strerror or "cannot be written")[:64])
        self.discard()
