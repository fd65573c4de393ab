"""The presentation contexts the node accepts, by what the caller may do (PS3.8 9.3.2.2, PS3.4 B.5)."""

from collections.abc import Iterable, Sequence

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # pynetdicom makes these names at run time
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from dicom_node.dicom.uids import STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES

MESSAGE_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
"""For verification and queries, in order of preference."""

FIND_MODELS = (PatientRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelFind)


_MESSAGE_SERVICES = {Verification: "echo"} | dict.fromkeys(FIND_MODELS, "find")

_MESSAGE_CONTEXTS = {
    abstract_syntax: build_context(abstract_syntax, list(MESSAGE_SYNTAXES)) for abstract_syntax in _MESSAGE_SERVICES
}
"""Made once for all associations: the library reads them and changes nothing."""


class ContextTable:
    """What is accepted, for which service: storage by the receiver, verification and queries by the library."""

    def __init__(self, private_sop_classes: Iterable[str] = ()) -> None:
        """``private_sop_classes`` are UIDs the site takes beside every standard storage SOP class."""
        self._storage = frozenset(STORAGE_SOP_CLASSES) | frozenset(private_sop_classes)

    def is_storage(self, abstract_syntax: str) -> bool:
        """Tell whether an abstract syntax is one of storage."""
        return abstract_syntax in self._storage

    def is_message(self, abstract_syntax: str) -> bool:
        """Tell whether an abstract syntax is one of verification or queries."""
        return abstract_syntax in _MESSAGE_SERVICES

    def storage_syntax(self, proposed: Sequence[str]) -> str:
        """Return the transfer syntax that the node prefers among those proposed for storage, "" for none."""
        return next((str(syntax) for syntax in TRANSFER_SYNTAXES if syntax in proposed), "")

    def for_services(self, services: frozenset[str]) -> list[PresentationContext]:
        """Return the contexts that the library supports for a caller who may use ``services``.

        The library takes the first transfer syntax of a context's list that the peer proposes too, so their order is
        the node's preference.
        """
        return [_MESSAGE_CONTEXTS[syntax] for syntax, service in _MESSAGE_SERVICES.items() if service in services]
