"""What a peer and the node agreed on beyond the baseline of C-FIND (PS3.4 C.5.1.1).

The service class application information of a SOP Class Extended Negotiation sub-item is one byte for each behaviour,
1 for yes. Bytes at the end may be left out, which says no.
"""

from dataclasses import astuple, dataclass
from typing import Self

_YES = 1


@dataclass(frozen=True, slots=True)
class Extended:
    """The negotiated behaviours, in the order of their bytes."""

    relational: bool = False
    """Unique keys of the levels above may be left out."""
    date_time: bool = False
    """The range of a date and that of its time are one range."""
    fuzzy: bool = False
    """Person names match by their words, allowing for spelling (``dicom.fuzzy``)."""
    zone: bool = False
    """Dates and times are in the Timezone Offset From UTC (0008,0201) of the request."""
    conversion: bool = False
    """Queries see multi-frame objects converted; the node has no such view."""
    empty: bool = False
    """A key of two quotation marks matches a value that is empty."""
    multiple: bool = False
    """Of an attribute with several values, each value of the key has to match one (PS3.4 C.2.2.2.8)."""

    @classmethod
    def of(cls, information: bytes) -> Self:
        """Read the application information, of any length."""
        return cls(*(byte == _YES for byte in information[: len(SUPPORTED)]))


SUPPORTED = (True, True, True, True, False, True, True)
"""What the node answers 1 to when it is proposed, by byte."""

BASELINE = Extended()
"""Nothing was negotiated."""


def answer(proposed: bytes) -> bytes:
    """Return the application information of the answer: a byte for each that was proposed, of those that are known."""
    offered = astuple(Extended.of(proposed))[: len(proposed)]
    return bytes(wanted and supported for wanted, supported in zip(offered, SUPPORTED, strict=False))
