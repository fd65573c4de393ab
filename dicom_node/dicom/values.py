"""The value of one element as clean text: decoded, without control characters and padding, of bounded length."""

import struct
from collections.abc import Mapping
from functools import lru_cache

from pydicom.datadict import dictionary_VR, private_dictionary_VR

from dicom_node.dicom.charsets import CharacterSets, decode
from dicom_node.dicom.datetimes import parse_da
from dicom_node.dicom.structure import Element

LONGEST_TEXT = 512
"""Characters that are kept of a text. No VR that is indexed allows more, and database indexes have limits."""

_IN_CHARACTER_SET = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})  # PS3.5 6.1.2.3
_IN_DEFAULT_SET = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})
_SINGLE_VALUED = frozenset({"LT", "ST", "UR", "UT"})  # a backslash is an ordinary character in them (PS3.5 6.4)
_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_READABLE = _IN_CHARACTER_SET | _IN_DEFAULT_SET | _NUMBERS.keys()
_LONGEST_HEX = 32
_CUT = f"cut at {LONGEST_TEXT} characters"

_CLEAN: Mapping[int, str | None] = dict.fromkeys((*range(32), *range(127, 160))) | {
    ord(space): " " for space in "\t\n\f\r"
}


class Values:
    """Turns the elements of one data set into text and collects in ``flags`` what was not as it should be."""

    def __init__(self, *, little_endian: bool) -> None:
        self.flags: dict[str, None] = {}
        self._order = "<" if little_endian else ">"

    def text(self, tag: int, element: Element, sets: CharacterSets, name: str, creator: str | None = None) -> str:
        """Return the value of a standard element, or of a private one of ``creator``.

        Several values are joined by a backslash. ``name`` stands for the element in flags, "" for one not worth any.
        Dates become YYYYMMDD where they are dates. A sequence is "".
        """
        vr, length, value, items = element
        if vr not in _READABLE:
            vr = dictionary_vr(tag) if creator is None else _private_vr(tag, creator)
            if vr not in _READABLE:
                return "" if creator is None else self._unreadable(element)
        # Most values are short plain text, the same in every character set, and are done here.
        if vr not in _NUMBERS and length <= LONGEST_TEXT and value.isascii() and items is None:
            text = value.decode("ascii").strip("\0 ")
            if text.isprintable() and "\\" not in text and (vr != "DA" or "." not in text):
                return text
        return self._readable(vr, element, sets, name)

    def _unreadable(self, element: Element) -> str:
        """Return what has no known readable VR: as text where it is printable, else as hexadecimal digits when short,
        else the number of bytes. A sequence, or nothing but blanks, is ""."""
        value = element.value.strip(b"\0 \t\r\n")
        if value.isascii() and value.decode("ascii").translate(_CLEAN).isprintable():
            return self._clean(value.decode("ascii"), "UT", "")
        return value.hex() if len(value) <= _LONGEST_HEX else f"{element.length} bytes"

    def _readable(self, vr: str, element: Element, sets: CharacterSets, name: str) -> str:
        if element.items is not None:
            self._flag(name, "a sequence where a value belongs")
            return ""
        value = element.value
        if vr in _NUMBERS:
            return self._numbers(_NUMBERS[vr], value, name)
        if element.length > len(value):
            self._flag(name, _CUT)
        if vr in _IN_DEFAULT_SET:
            return self._clean(value.decode("latin-1"), vr, name)
        text, legible = decode(value, sets, name=vr == "PN")
        if not legible:
            self._flag(name, "not in its character set")
        return self._clean(text, vr, name)

    def _numbers(self, form: str, value: bytes, name: str) -> str:
        size = struct.calcsize(form)
        if len(value) % size:
            self._flag(name, "not a whole number of values")
        numbers = struct.unpack_from(f"{self._order}{len(value) // size}{form}", value)
        if len(numbers) == 1 and form not in "fd":
            return str(numbers[0])
        return self._cut("\\".join(f"{number:.10g}" if form in "fd" else str(number) for number in numbers), name)

    def _clean(self, text: str, vr: str, name: str) -> str:
        if not text.isprintable():
            text = text.translate(_CLEAN)
        if vr in _SINGLE_VALUED:
            return self._cut(text.strip(), name)
        values = [value.strip(" ") for value in text.split("\\")]
        if vr == "DA":
            values = [_plain_date(value) for value in values]
        return self._cut("\\".join(values), name)

    def _cut(self, text: str, name: str) -> str:
        if len(text) <= LONGEST_TEXT:
            return text
        self._flag(name, _CUT)
        return text[:LONGEST_TEXT].rstrip()

    def _flag(self, name: str, problem: str) -> None:
        if name:
            self.flags[f"{name}: {problem}"] = None


@lru_cache(maxsize=4096)
def dictionary_vr(tag: int) -> str:
    """Return the VR of a standard element (PS3.6), the first one where it may have several, "" when there is none."""
    try:
        return dictionary_VR(tag)[:2]
    except KeyError:
        return ""


@lru_cache(maxsize=1024)
def _private_vr(tag: int, creator: str) -> str:
    try:
        return private_dictionary_VR(tag, creator)[:2]
    except KeyError:
        return ""


def _plain_date(text: str) -> str:
    day = parse_da(text)
    return text if day is None else f"{day.year:04}{day.month:02}{day.day:02}"
