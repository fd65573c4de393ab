"""The presentation contexts the node accepts, by what the caller may do (PS3.8 9.3.2.2, PS3.4 B.5)."""

from collections.abc import Iterable

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


class ContextTable:
    """What is accepted, for which service. Contexts are made for what a peer proposes: a long table costs nothing."""

    def __init__(self, private_sop_classes: Iterable[str] = ()) -> None:
        """``private_sop_classes`` are UIDs the site takes beside every standard storage SOP class."""
        self._storage = frozenset(STORAGE_SOP_CLASSES) | frozenset(private_sop_classes)

    def is_storage(self, abstract_syntax: str) -> bool:
        """Tell whether an abstract syntax is one of storage."""
        return abstract_syntax in self._storage

    def for_proposal(self, proposed: Iterable[str], services: frozenset[str]) -> list[PresentationContext]:
        """Return the contexts to support for the abstract syntaxes a peer proposes, as far as it may use them.

        The library takes the first transfer syntax of a context's list that the peer proposes too, so their order is
        the node's preference.
        """
        return [
            build_context(abstract_syntax, list(syntaxes))
            for abstract_syntax in dict.fromkeys(proposed)
            if (syntaxes := self._syntaxes(abstract_syntax, services))
        ]

    def _syntaxes(self, abstract_syntax: str, services: frozenset[str]) -> tuple[str, ...]:
        if abstract_syntax == Verification:
            return MESSAGE_SYNTAXES if "echo" in services else ()
        if abstract_syntax in FIND_MODELS:
            return MESSAGE_SYNTAXES if "find" in services else ()
        return tuple(TRANSFER_SYNTAXES) if "store" in services and self.is_storage(abstract_syntax) else ()
