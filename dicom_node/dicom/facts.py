"""What the node knows of one instance: its header as text, and how it came here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from dicom_node.accreditation.signals import Signals


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How an instance reached the node. Kept in the file's private information element, so a rebuild knows it too."""

    calling_ae: str
    called_ae: str
    peer_address: str
    """Textual IPv4 or IPv6 address; "" for an import."""
    received_at: datetime
    """Aware, UTC, whole microseconds."""
    implementation_uid: str = ""
    implementation_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFacts:
    """The header of one instance in the standard's words.

    ``attributes`` maps keyword to decoded text for every element of ``dicom.keys`` and the evidence elements of
    ``dicom.header`` that the data set holds; several values are joined by a backslash, an element present but empty
    is "", an absent one is missing; a sequence is JSON (a list of objects keyword -> text). Private vendor elements
    are keyed ``creator:gggg,ee``.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_uid: str
    series_uid: str
    transfer_syntax_uid: str
    attributes: Mapping[str, str]
    rejected_uids: tuple[str, ...] = ()
    """SOP Instance UIDs that a rejecting Key Object Selection refers to."""
    flags: tuple[str, ...] = ()
    """What could not be read and was let be, in words without values."""

    def get(self, keyword: str) -> str:
        """Return the text of an attribute, "" when the data set lacks it."""
        return self.attributes.get(keyword, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadInstance:
    """A header with what it tells the rules."""

    facts: InstanceFacts
    signals: Signals
