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

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from pydicom._dicom_dict import DicomDictionary
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from dicom_node.dicom.streams import Inflated, InflationLimitError, Plain, ReadAt
from dicom_node.dicom.uids import TRANSFER_SYNTAXES
from dicom_node.errors import UnreadableInstanceError

MOST_ELEMENTS = 1_000_000
"""Elements, items and fragments that are checked: about two seconds of work. A tomosynthesis object has some ten
thousand."""

_TOO_MANY = f"more than {MOST_ELEMENTS} elements: not checked further"

MOST_KEPT = 32 * 1024 * 1024
"""Bytes of memory, roughly, that the kept elements may take."""

DEEPEST = 32
"""Sequences inside one another."""

LONGEST_VALUE = 4096
"""Bytes that are kept of a value."""

_COST = 300  # bytes of memory that an element takes beside its value, or an item

_UNDEFINED = 0xFFFFFFFF
_ENDLESS = 1 << 63  # a position beyond any data
_ITEM = 0xFFFEE000
_ITEM_END = 0xFFFEE00D
_SEQUENCE_END = 0xFFFEE0DD
_PIXEL_DATA = 0x7FE00010
_FIRST_PIXEL_TAG = 0x7FE00000
_ITEM_GROUP = 0xFFFE

# PS3.5 7.1.2: these have a length of 32 bits behind two reserved bytes, all others known today one of 16 bits.
_LONG_VRS = {vr: vr.decode() for vr in b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split()}
_SHORT_VRS = {vr: vr.decode() for vr in b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()}
_FILLED_VRS = frozenset({b"  ", b"??", b"--"})  # written for a VR the writer did not know, with a short length
_SHORT_LENGTHS = _SHORT_VRS | {vr: vr.decode() for vr in _FILLED_VRS}
_HOLDING_ITEMS = frozenset({"", "SQ", "UN"})  # of undefined length; all others hold fragments then
_SEQUENCES = frozenset(tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ")


_UNPACK = {
    is_little: tuple(struct.Struct(order + form).unpack_from for form in ("HHI", "HH2sH", "I"))
    for is_little, order in ((True, "<"), (False, ">"))
}
"""By whether it is little endian: unpack a tag and a long length; a tag, VR and short length; a long length."""


class Element(NamedTuple):
    """A data element as encoded: its VR ("" in implicit VR), length in bytes, and value or items."""

    vr: str
    length: int
    value: bytes
    """The first `LONGEST_VALUE` bytes."""
    items: "list[Item] | None" = None
    """Of a sequence."""


_element: Callable[[tuple[str, int, bytes, None]], Element] = partial(tuple.__new__, Element)  # quicker than its own

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
    head: bytes, length: int, read_at: ReadAt, transfer_syntax_uid: str, selection: Selection = NOTHING
) -> Structure:
    """Walk a data set of ``length`` bytes and keep what is selected.

    ``head`` is as much of its beginning as is in memory, none or all of it; ``read_at`` gives the rest where it is
    needed. Raises UnreadableInstanceError when the data set is empty, cut short, or proven wrong.
    """
    if transfer_syntax_uid not in TRANSFER_SYNTAXES:
        raise UnreadableInstanceError("the transfer syntax is none that the node reads")
    if length <= 0:
        raise UnreadableInstanceError("there is no data set")
    walk: _Walk
    if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        inflated = Inflated(head, length, read_at)
        walk = _Walk(inflated, _ENDLESS, transfer_syntax_uid, selection)
        try:
            walk.run()
        except zlib.error:
            raise UnreadableInstanceError("the deflated data set is damaged") from None
        if not walk.flags and not inflated.is_complete:
            raise UnreadableInstanceError("the deflated data set is cut short")
    else:
        walk = _Walk(Plain(head, length, read_at), length, transfer_syntax_uid, selection)
        walk.run()
    return Structure(
        header_end=walk.header_end,
        little_endian=walk.little_endian,
        elements=walk.kept,
        flags=tuple(walk.flags),
    )


class _Frame:
    """What is open: a data set (the whole one, or an item) or, when ``is_sequence``, a sequence.

    ``end`` is the position at which it ends, beyond any data when a delimiter ends it; ``limit`` the end of the
    innermost thing of known length around it. ``kept`` collects the ``wanted`` elements of a data set, ``items`` those
    of a sequence that is kept.
    """

    __slots__ = ("end", "is_sequence", "items", "kept", "limit", "wanted")

    def __init__(self, end: int, limit: int, is_sequence: bool, items: list[Item] | None = None) -> None:
        self.end = end
        self.limit = limit if end == _ENDLESS else end
        self.is_sequence = is_sequence
        self.items = items
        self.kept = _NOTHING_KEPT
        self.wanted = _NOTHING_WANTED


_NOTHING_KEPT: dict[int, Element] = {}  # of what wants nothing: it stays empty
_NOTHING_WANTED: frozenset[int] = frozenset()


class _LimitError(Exception):
    """A limit of the walk is reached."""


class _Walk:
    def __init__(self, data: Plain | Inflated, length: int, transfer_syntax_uid: str, selection: Selection) -> None:
        self.little_endian = transfer_syntax_uid != ExplicitVRBigEndian
        self.header_end = -1
        self.flags: list[str] = []
        self._data = data
        self._implicit = transfer_syntax_uid == ImplicitVRLittleEndian
        self._selection = selection
        self._unpack_implicit, self._unpack_explicit, self._unpack_length = _UNPACK[self.little_endian]
        self.kept: dict[int, Element] = {}
        self._root = _Frame(_ENDLESS, length, is_sequence=False)
        self._root.wanted, self._root.kept = selection.top, self.kept
        self._open: list[_Frame] = []
        self._top_start = 0
        self._room = MOST_KEPT

    def run(self) -> None:
        """Walk to the end, or to a limit."""
        reached = ""
        try:
            self._run()
        except _LimitError as limit:
            reached = str(limit)
        except InflationLimitError as limit:
            reached = f"deflated: {limit}"
        if self._room < 0:
            self.flags.append(f"more than {MOST_KEPT} bytes of header: the rest is not read")
        if reached:
            self.flags.append(reached)
        if self.header_end < 0:
            self.header_end = self._top_start

    def _run(self) -> None:  # noqa: PLR0915 - one loop, because a call for each element would double what it costs
        """Pass every element."""
        data, root, implicit = self._data, self._root, self._implicit
        unpack_implicit, unpack_explicit = self._unpack_implicit, self._unpack_explicit
        frame, position, count = root, 0, 0
        window, start, window_end = b"", 0, 0
        try:
            while True:
                if frame.is_sequence:
                    frame, position, count = self._in_sequence(frame, position, count)
                    continue
                end, limit, wanted, kept = frame.end, frame.limit, frame.wanted, frame.kept
                private = self._selection.private and frame is root
                while position < end:
                    if position + 12 > window_end:
                        window, start = data.window(position, 12)
                        window_end = start + len(window)
                        if position + 8 > window_end:
                            if frame is root and data.ends_at(position):
                                return
                            raise UnreadableInstanceError("the data set is cut short")
                    count += 1
                    if count > MOST_ELEMENTS:
                        raise _LimitError(_TOO_MANY)
                    at = position - start
                    vr: str | None = ""
                    if implicit:
                        group, element, length = unpack_implicit(window, at)
                    else:
                        group, element, code, length = unpack_explicit(window, at)
                        vr = _SHORT_LENGTHS.get(code)
                    tag = (group << 16) + element
                    if tag >= _FIRST_PIXEL_TAG:
                        if group == _ITEM_GROUP:
                            frame = self._closed(frame, tag, window[at + 4 : at + 8], _ITEM_END)
                            position += 8
                            break
                        if frame is root and self.header_end < 0:
                            self.header_end = position
                    at += 8
                    is_wanted = tag in wanted or (private and group & 1 and length <= LONGEST_VALUE)
                    if not vr:  # its length has 32 bits: it may have none, or be a sequence
                        if vr is None:
                            vr, length, more = self._odd(code, length, window[at - 4 : at + 4])
                            at += more
                            is_wanted = tag in wanted or (private and group & 1 and length <= LONGEST_VALUE)
                        if length == _UNDEFINED or vr == "SQ" or (not vr and tag in _SEQUENCES):
                            if frame is root:
                                self._top_start = position
                            if length == _UNDEFINED and (tag == _PIXEL_DATA or vr not in _HOLDING_ITEMS):
                                position, count = self._fragments(frame, tag, start + at, count)
                                continue
                            position = start + at
                            frame = self._enter(frame, tag, position, length, is_wanted)
                            break
                    value_end = start + at + length
                    if value_end > limit:
                        raise _too_long(tag, is_top=frame is root)
                    if is_wanted:
                        if value_end <= window_end and length <= LONGEST_VALUE:
                            value = window[at : at + length]
                        else:
                            value = self._read(start + at, min(length, LONGEST_VALUE))
                        self._room -= _COST + len(value)
                        if self._room >= 0:
                            kept[tag] = _element((vr, length, value, None))
                    if value_end > window_end and not data.reaches(value_end):
                        raise UnreadableInstanceError(f"{_name(tag)} is longer than the data")
                    position = value_end
                else:
                    frame = self._open.pop()
        finally:
            if frame is root:
                self._top_start = position

    def _odd(self, code: bytes, short_length: int, lengths: bytes) -> tuple[str, int, int]:
        """Return VR, length, and further bytes before the value, of an explicit element with a VR of no short length.

        ``lengths`` are the bytes behind the tag. Some writers put implicit elements into the items of explicit data
        sets, and the items of a UN of undefined length are implicit anyway (PS3.5 6.2.2): no VR there, so "" for it.
        """
        vr = _LONG_VRS.get(code)
        if vr is None:
            if not (code.isalpha() and code.isupper()):
                return "", self._unpack_length(lengths, 0)[0], 0
            vr = code.decode("ascii")
            if short_length != 0:
                return vr, short_length, 0
        # A VR of a later edition has a long length behind two zero bytes too (PS3.5 7.1.2).
        if len(lengths) < 8:
            raise UnreadableInstanceError("the data set is cut short")
        return vr, self._unpack_length(lengths, 4)[0], 4

    def _read(self, position: int, size: int) -> bytes:
        """Return the bytes at a position, fewer at the end."""
        window, start = self._data.window(position, size)
        return window[position - start : position - start + size]

    def _enter(self, frame: _Frame, tag: int, position: int, length: int, is_wanted: bool) -> _Frame:
        """Open a sequence whose items begin at a position."""
        end = _ENDLESS if length == _UNDEFINED else position + length
        if frame.limit < end < _ENDLESS:
            raise _too_long(tag, is_top=frame is self._root)
        if len(self._open) >= 2 * DEEPEST:
            raise _LimitError(f"nested deeper than {DEEPEST} sequences: not checked further")
        items: list[Item] | None = None
        if is_wanted:
            self._room -= _COST + min(length, LONGEST_VALUE)
            if self._room >= 0:
                items = []
                frame.kept[tag] = Element("SQ", 0, b"", items)
        self._open.append(frame)
        return _Frame(end, frame.limit, True, items)

    def _in_sequence(self, frame: _Frame, position: int, count: int) -> tuple[_Frame, int, int]:
        """Take an item, or the end of a sequence; return the frame open then, where it goes on, and the new count."""
        if position >= frame.end:
            return self._open.pop(), position, count
        window, start = self._data.window(position, 8)
        at = position - start
        if len(window) - at < 8:
            raise UnreadableInstanceError("the data set is cut short")
        count = _one_more(count)
        group, element, length = self._unpack_implicit(window, at)
        tag = (group << 16) + element
        position += 8
        if group != _ITEM_GROUP:
            raise UnreadableInstanceError(f"{_name(tag)} stands in a sequence outside an item")
        if tag != _ITEM:
            return self._closed(frame, tag, window[at + 4 : at + 8], _SEQUENCE_END), position, count
        end = _ENDLESS if length == _UNDEFINED else position + length
        if end != _ENDLESS and end > frame.limit:
            raise UnreadableInstanceError("an item is longer than what holds it")
        item = _Frame(end, frame.limit, False)
        if frame.items is not None:
            self._room -= _COST
            if self._room >= 0:
                item.wanted, item.kept = self._selection.nested, {}
                frame.items.append(item.kept)
        self._open.append(frame)
        return item, position, count

    def _closed(self, frame: _Frame, tag: int, length: bytes, delimiter: int) -> _Frame:
        """Take the delimiter of an item or sequence; return the frame that is open then."""
        if frame is not self._root and tag == delimiter and not any(length):
            # Where the length is known, the delimiter is superfluous and harmless.
            return self._open.pop() if frame.end == _ENDLESS else frame
        raise UnreadableInstanceError("a sequence is not closed or an item stands outside one")

    def _fragments(self, frame: _Frame, tag: int, position: int, count: int) -> tuple[int, int]:
        """Pass over the fragments of encapsulated pixel data (PS3.5 A.4); return where they end and the new count."""
        while True:
            header = self._read(position, 8)
            if len(header) < 8:
                raise UnreadableInstanceError(f"{_name(tag)} is cut short")
            count = _one_more(count)
            group, element, length = self._unpack_implicit(header, 0)
            item = (group << 16) + element
            position += 8
            if item == _SEQUENCE_END:
                return position, count
            if item != _ITEM or length == _UNDEFINED:
                raise UnreadableInstanceError(f"{_name(tag)} holds something else than fragments")
            position += length
            if position > frame.limit or not self._data.reaches(position):
                raise UnreadableInstanceError(f"a fragment of {_name(tag)} is longer than the data")


def _too_long(tag: int, *, is_top: bool) -> UnreadableInstanceError:
    return UnreadableInstanceError(f"{_name(tag)} is longer than {'the data' if is_top else 'what holds it'}")


def _one_more(count: int) -> int:
    if count >= MOST_ELEMENTS:
        raise _LimitError(_TOO_MANY)
    return count + 1


def _name(tag: int) -> str:
    return f"element ({tag >> 16:04X},{tag & 0xFFFF:04X})"
