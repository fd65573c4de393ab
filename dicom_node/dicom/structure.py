"""The structure of a data set: every element from the first to the last, its length against the data (PS3.5 7).

An instance is acknowledged only when its data set parses to the end and no element is longer than the data. The
libraries do not tell: they return a truncated value short. So the node walks the data set itself, without recursion,
without reading pixel values, in memory that does not depend on the object's size; and since it passes every element of
the header anyway, it keeps the few that the index is made of.

What is proven wrong is refused: an element longer than what holds it, an item outside a sequence, a missing delimiter,
bytes that are no element. What only goes beyond the limits of a reader (more elements, deeper nesting, more inflated
bytes than any exam has) is not proven wrong; it is kept, with a flag that says how far it was checked. The limits are
counts, not seconds, so that a rebuild comes to the same result on any machine. A data set cut off exactly between two
top-level elements cannot be told from a shorter one; only a mandatory UID that is missing then shows it.
"""

import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from pydicom._dicom_dict import DicomDictionary
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from dicom_node.dicom.streams import FileRange, Inflated, InflationLimitError
from dicom_node.dicom.uids import TRANSFER_SYNTAXES
from dicom_node.errors import UnreadableInstanceError

MOST_ELEMENTS = 1_000_000
"""Elements, items and fragments that are checked: about two seconds of work. A tomosynthesis object has some ten
thousand."""

MOST_KEPT = 32 * 1024 * 1024
"""Bytes of memory, roughly, that the kept elements may take."""

DEEPEST = 32
"""Sequences inside one another."""

LONGEST_VALUE = 4096
"""Bytes that are kept of a value."""

_COST = 300  # bytes of memory that an element takes beside its value, or an item

_UNDEFINED = 0xFFFFFFFF
_ITEM = 0xFFFEE000
_ITEM_END = 0xFFFEE00D
_SEQUENCE_END = 0xFFFEE0DD
_PIXEL_DATA = 0x7FE00010
_FIRST_PIXEL_TAG = 0x7FE00000

# PS3.5 7.1.2: these have a length of 32 bits behind two reserved bytes, all others known today one of 16 bits.
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_FILLED_VRS = frozenset({b"  ", b"??", b"--"})  # written for a VR the writer did not know, with a short length
_SEQUENCES = frozenset(tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ")


@dataclass(frozen=True, slots=True)
class Element:
    """A data element as encoded: its VR ("" in implicit VR), length in bytes, and value or items."""

    vr: str
    length: int
    value: bytes
    """The first `LONGEST_VALUE` bytes."""
    items: "tuple[Item, ...] | list[Item] | None" = None
    """Of a sequence."""


Item = Mapping[int, Element]
"""Tag, as (group << 16) + element, to element."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What to keep while walking: top-level tags, and tags inside kept sequences at any depth."""

    top: frozenset[int] = frozenset()
    nested: frozenset[int] = frozenset()
    private: bool = False
    """Keep every top-level private element of at most `LONGEST_VALUE` bytes too."""


@dataclass(frozen=True, slots=True)
class Structure:
    """What the walk found.

    ``header_end`` is the offset from the data set's start (of a deflated one: in the inflated bytes) of the first
    top-level element of group 7FE0 or later; else of the end; else, beyond the limits, of the element in which the
    walk stopped.
    """

    header_end: int
    little_endian: bool
    elements: Item
    flags: tuple[str, ...]


NOTHING = Selection()


def check_structure(
    file: BinaryIO, start: int, length: int, transfer_syntax_uid: str, selection: Selection = NOTHING
) -> Structure:
    """Walk the data set of ``length`` bytes at offset ``start`` of a seekable file and keep what is selected.

    Raises UnreadableInstanceError when the data set is empty, cut short, or proven wrong.
    """
    if transfer_syntax_uid not in TRANSFER_SYNTAXES:
        raise UnreadableInstanceError("the transfer syntax is none that the node reads")
    if length <= 0:
        raise UnreadableInstanceError("there is no data set")
    if file.seek(0, os.SEEK_END) < start + length:
        raise UnreadableInstanceError("the file is shorter than its data set")
    walk: _Walk
    if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        inflated = Inflated(file, start, length)
        walk = _Walk(inflated, None, transfer_syntax_uid, selection)
        try:
            walk.run()
        except zlib.error:
            raise UnreadableInstanceError("the deflated data set is damaged") from None
        except InflationLimitError:
            walk.stop(f"deflated: checked up to {inflated.position} inflated bytes")
        else:
            if not walk.flags and not inflated.is_complete:
                raise UnreadableInstanceError("the deflated data set is cut short")
    else:
        walk = _Walk(FileRange(file, start, length), length, transfer_syntax_uid, selection)
        walk.run()
    return Structure(
        header_end=walk.header_end if walk.header_end is not None else walk.data.position,
        little_endian=walk.little_endian,
        elements=walk.kept,
        flags=tuple(walk.flags),
    )


class _Frame:
    """What is open: a data set (the whole one, or an item) or, when ``is_sequence``, a sequence.

    ``end`` is the position at which it ends, None when a delimiter ends it; ``limit`` the end of the innermost thing of
    known length around it. ``kept`` collects the selected elements of a data set, ``items`` those of a sequence.
    """

    __slots__ = ("end", "is_sequence", "items", "kept", "limit")

    def __init__(
        self,
        *,
        end: int | None,
        limit: int | None,
        is_sequence: bool = False,
        kept: dict[int, Element] | None = None,
        items: list[Item] | None = None,
    ) -> None:
        self.end = end
        self.limit = limit if end is None else end
        self.is_sequence = is_sequence
        self.kept = kept
        self.items = items


class _LimitError(Exception):
    """A limit of the walk is reached."""


class _Walk:
    def __init__(
        self, data: FileRange | Inflated, length: int | None, transfer_syntax_uid: str, selection: Selection
    ) -> None:
        self.data = data
        self.little_endian = transfer_syntax_uid != ExplicitVRBigEndian
        self.header_end: int | None = None
        self.kept: dict[int, Element] = {}
        self.flags: list[str] = []
        self._implicit = transfer_syntax_uid == ImplicitVRLittleEndian
        self._selection = selection
        order = "<" if self.little_endian else ">"
        self._unpack_implicit = struct.Struct(order + "HHI").unpack
        self._unpack_explicit = struct.Struct(order + "HH2sH").unpack
        self._unpack_length = struct.Struct(order + "I").unpack
        self._root = _Frame(end=None, limit=length, kept=self.kept)
        self._open: list[_Frame] = []
        self._top_start = 0
        self._count = 0
        self._kept_size = 0

    def run(self) -> None:
        """Walk to the end, or to a limit."""
        try:
            self._run()
        except _LimitError as limit:
            self.stop(str(limit))

    def stop(self, flag: str) -> None:
        """Note that the walk ends here, before the end."""
        self.flags.append(flag)
        if self.header_end is None:
            self.header_end = self._top_start

    def _run(self) -> None:
        data, root = self.data, self._root
        frame = root
        while True:
            if frame.end is not None and data.position >= frame.end:
                frame = self._open.pop()
                continue
            position = data.position
            if frame is root:
                self._top_start = position
            header = data.read(8)
            if len(header) < 8:
                if not header and frame is root:
                    return
                raise UnreadableInstanceError("the data set is cut short")
            self._count_one()
            group, element, length = self._unpack_implicit(header)
            tag = (group << 16) + element
            if group == 0xFFFE:
                frame = self._delimiter(frame, tag, length)
                continue
            if frame.is_sequence:
                raise UnreadableInstanceError(f"{_name(tag)} stands in a sequence outside an item")
            if frame is root and tag >= _FIRST_PIXEL_TAG and self.header_end is None:
                self.header_end = position
            vr = b""
            if not self._implicit:
                vr, length = self._explicit(header, length)
            frame = self._value(frame, tag, vr, length)

    def _explicit(self, header: bytes, implicit_length: int) -> tuple[bytes, int]:
        """Return VR and length of an element in explicit VR; b"" when it turns out to be implicit.

        Some writers put implicit elements into the items of explicit data sets, and the items of a UN of undefined
        length are implicit anyway (PS3.5 6.2.2): no VR there, so no VR assumed.
        """
        vr, length = self._unpack_explicit(header)[2:]
        if vr in _SHORT_VRS or vr in _FILLED_VRS:
            return vr, length
        if not (vr.isalpha() and vr.isupper()):
            return b"", implicit_length
        if vr not in _LONG_VRS and length != 0:
            return vr, length
        # A VR of a later edition has a long length behind two zero bytes too (PS3.5 7.1.2).
        extra = self.data.read(4)
        if len(extra) < 4:
            raise UnreadableInstanceError("the data set is cut short")
        return vr, self._unpack_length(extra)[0]

    def _value(self, frame: _Frame, tag: int, vr: bytes, length: int) -> _Frame:
        """Pass over the value of an element; return the frame that is open then."""
        wanted = self._wants(frame, tag, length)
        if length == _UNDEFINED:
            if tag == _PIXEL_DATA or vr not in {b"", b"SQ", b"UN"}:
                self._fragments(frame, tag)
                return frame
            return self._enter(frame, tag, None, wanted)
        end = self.data.position + length
        if frame.limit is not None and end > frame.limit:
            whole = "the data" if not self._open else "what holds it"
            raise UnreadableInstanceError(f"{_name(tag)} is longer than {whole}")
        if vr == b"SQ" or (not vr and tag in _SEQUENCES):
            return self._enter(frame, tag, end, wanted)
        value = b""
        if wanted:
            value = self.data.read(min(length, LONGEST_VALUE))
            frame.kept[tag] = Element(vr.decode("ascii"), length, value)  # type: ignore[index] # wanted: it has one
        if not self.data.skip(length - len(value)):
            raise UnreadableInstanceError(f"{_name(tag)} is longer than the data")
        return frame

    def _enter(self, frame: _Frame, tag: int, end: int | None, wanted: bool) -> _Frame:
        """Open a sequence."""
        if len(self._open) >= 2 * DEEPEST:
            raise _LimitError(f"nested deeper than {DEEPEST} sequences: not checked further")
        items: list[Item] | None = None
        if wanted:
            items = []
            frame.kept[tag] = Element("SQ", 0, b"", items)  # type: ignore[index] # wanted: it has one
        self._open.append(frame)
        return _Frame(end=end, limit=frame.limit, is_sequence=True, items=items)

    def _delimiter(self, frame: _Frame, tag: int, length: int) -> _Frame:
        """Take an item, or the end of an item or sequence; return the frame that is open then."""
        if frame.is_sequence and tag == _ITEM:
            end = None if length == _UNDEFINED else self.data.position + length
            if end is not None and frame.limit is not None and end > frame.limit:
                raise UnreadableInstanceError("an item is longer than what holds it")
            kept: dict[int, Element] | None = None
            if frame.items is not None and self._affords(0):
                kept = {}
                frame.items.append(kept)
            self._open.append(frame)
            return _Frame(end=end, limit=frame.limit, kept=kept)
        if length == 0 and frame is not self._root and tag == (_SEQUENCE_END if frame.is_sequence else _ITEM_END):
            # Where the length is known, the delimiter is superfluous and harmless.
            return self._open.pop() if frame.end is None else frame
        raise UnreadableInstanceError("a sequence is not closed or an item stands outside one")

    def _fragments(self, frame: _Frame, tag: int) -> None:
        """Pass over the fragments of encapsulated pixel data (PS3.5 A.4)."""
        while True:
            header = self.data.read(8)
            if len(header) < 8:
                raise UnreadableInstanceError(f"{_name(tag)} is cut short")
            self._count_one()
            group, element, length = self._unpack_implicit(header)
            item = (group << 16) + element
            if item == _SEQUENCE_END:
                return
            if item != _ITEM or length == _UNDEFINED:
                raise UnreadableInstanceError(f"{_name(tag)} holds something else than fragments")
            if frame.limit is not None and self.data.position + length > frame.limit:
                raise UnreadableInstanceError(f"a fragment of {_name(tag)} is longer than the data")
            if not self.data.skip(length):
                raise UnreadableInstanceError(f"a fragment of {_name(tag)} is longer than the data")

    def _wants(self, frame: _Frame, tag: int, length: int) -> bool:
        if frame is self._root:
            private = self._selection.private and bool(tag & 0x10000) and length <= LONGEST_VALUE
            if tag not in self._selection.top and not private:
                return False
        elif frame.kept is None or tag not in self._selection.nested:
            return False
        return self._affords(length)

    def _affords(self, length: int) -> bool:
        """Tell whether an item, or an element of ``length`` bytes, may still be kept, and account for it."""
        if self._kept_size > MOST_KEPT:
            return False
        self._kept_size += _COST + min(length, LONGEST_VALUE)
        if self._kept_size > MOST_KEPT:
            self.flags.append(f"more than {MOST_KEPT} bytes of header: the rest is not read")
        return self._kept_size <= MOST_KEPT

    def _count_one(self) -> None:
        self._count += 1
        if self._count > MOST_ELEMENTS:
            raise _LimitError(f"more than {MOST_ELEMENTS} elements: not checked further")


def _name(tag: int) -> str:
    return f"element ({tag >> 16:04X},{tag & 0xFFFF:04X})"
