"""The presentation contexts the node accepts, by what the caller may do (PS3.8 9.3.2.2, PS3.4 B.5)."""

from collections.abc import Iterable, Mapping, Sequence

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # pynetdicom makes these names at run time
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from dicom_node.dicom import extended
from dicom_node.dicom.uids import STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES

MESSAGE_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
"""For everything but storage, in order of preference."""

FIND_MODELS = (PatientRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelFind)


GET_MODELS = (PatientRootQueryRetrieveInformationModelGet, StudyRootQueryRetrieveInformationModelGet)
MOVE_MODELS = (PatientRootQueryRetrieveInformationModelMove, StudyRootQueryRetrieveInformationModelMove)

PERMISSIONS: Mapping[str, str] = (
    {str(Verification): "echo", str(StorageCommitmentPushModel): "commit"}
    | dict.fromkeys(map(str, FIND_MODELS), "find")
    | dict.fromkeys(map(str, GET_MODELS), "get")
    | dict.fromkeys(map(str, MOVE_MODELS), "move")
)
"""What a caller must be allowed for each abstract syntax but those of storage, which are for ``store`` and ``get``."""

LIBRARY_CONTEXTS: list[PresentationContext] = [build_context(Verification, list(MESSAGE_SYNTAXES))]
"""What the library serves. Made once for all associations: it reads them and changes nothing."""


class ContextTable:
    """What is accepted."""

    def __init__(self, private_sop_classes: Iterable[str] = ()) -> None:
        """``private_sop_classes`` are UIDs the site takes beside every standard storage SOP class."""
        self._storage = frozenset(STORAGE_SOP_CLASSES) | frozenset(private_sop_classes)

    def is_storage(self, abstract_syntax: str) -> bool:
        """Tell whether an abstract syntax is one of storage."""
        return abstract_syntax in self._storage

    def is_library_s(self, abstract_syntax: str) -> bool:
        """Tell whether the library serves an abstract syntax."""
        return any(abstract_syntax == context.abstract_syntax for context in LIBRARY_CONTEXTS)

    def syntax(self, abstract_syntax: str, proposed: Sequence[str]) -> str:
        """Return the transfer syntax that the node prefers among those proposed, "" for none."""
        known = TRANSFER_SYNTAXES if self.is_storage(abstract_syntax) else MESSAGE_SYNTAXES
        return next((str(syntax) for syntax in known if syntax in proposed), "")

    def extended(self, abstract_syntax: str, proposed: bytes) -> bytes:
        """Return what the node grants of the extended negotiation of a SOP class, b"" where it answers nothing."""
        return extended.answer(proposed) if abstract_syntax in FIND_MODELS else b""
