"""Texts and their bytes under a Specific Character Set (0008,0005): PS3.3 C.12.1.1.2, PS3.5 6.1.

Nothing here raises or warns on what a peer sends: what cannot be decoded is replaced, and the caller is told.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from pydicom.charset import CODES_TO_ENCODINGS, STAND_ALONE_ENCODINGS, python_encoding

UTF_8 = "ISO_IR 192"
LATIN_1 = "ISO_IR 100"

_ESC = b"\x1b"
_FRAGMENT = re.compile(rb"(?:\x1b(?:\$[()].|\$.|..)?)?[^\x1b]*", re.DOTALL)
_ESCAPE = re.compile(rb"\x1b(?:\$[()].|\$.|..)?", re.DOTALL)

# In these the escape sequence designates a multi-byte set to G0, where the bytes of a delimiter may be half a
# character; Python's codecs read the sequences themselves. All other sets leave the delimiters alone.
_WITHIN_G0 = frozenset({"iso2022_jp", "iso2022_jp_2"})
_G0_ESCAPES = frozenset({_ESC + b"(B", _ESC + b"(J", _ESC + b"$B", _ESC + b"$(D"})
_ESCAPE_OF = {codec: escape for escape, codec in CODES_TO_ENCODINGS.items() if codec not in _WITHIN_G0}

# A delimiter returns to the initial set (PS3.5 6.1.2.5.3): line ends and tabs, between values, in names between parts.
_DELIMITERS = re.compile(rb"[\t\n\f\r\\]")
_NAME_DELIMITERS = re.compile(rb"[\t\n\f\r\\^=]")
_TEXT_DELIMITERS = re.compile(r"([\t\n\f\r\\])")
_TEXT_NAME_DELIMITERS = re.compile(r"([\t\n\f\r\\^=])")


def _folded(term: str) -> str:
    """Return a defined term without the variations that occur in the field: case, hyphens, missing underscores."""
    return re.sub(r"[^A-Z0-9]", "", term.upper())


_CODECS = {_folded(term): codec for term, codec in python_encoding.items()} | {"UTF8": "utf-8", "ISOIR192": "utf-8"}
_STAND_ALONE = frozenset(_CODECS[_folded(term)] for term in STAND_ALONE_ENCODINGS)


@dataclass(frozen=True, slots=True)
class CharacterSets:
    """The character sets in force: Python codecs, the initial one first, the code extensions after it."""

    codecs: tuple[str, ...] = (python_encoding[""],)
    known: bool = True
    """False: a value of Specific Character Set was no defined term; the default repertoire stands in for it."""

    @property
    def has_extensions(self) -> bool:
        """Tell whether escape sequences may occur."""
        return self.codecs[0] not in _STAND_ALONE


DEFAULT = CharacterSets()
"""The default repertoire. Bytes beyond it are read as Latin-1, which those who forget the attribute mostly mean."""


@lru_cache(maxsize=128)
def character_sets(specific_character_set: str) -> CharacterSets:
    """Return the sets that the text of Specific Character Set names; its values are joined by a backslash."""
    known = True
    codecs: list[str] = []
    for term in specific_character_set.split("\\"):
        codec = _CODECS.get(_folded(term))
        known = known and codec is not None
        codec = codec or DEFAULT.codecs[0]
        if not codecs or (codec not in _STAND_ALONE and codecs[0] not in _STAND_ALONE):
            codecs.append(codec)
    return CharacterSets(tuple(codecs), known)


def decode(value: bytes, sets: CharacterSets, *, name: bool = False) -> tuple[str, bool]:
    """Return the text of an element's value, values still joined by backslashes, and whether all of it was legible.

    ``name`` is True for PN, in which ``^`` and ``=`` return to the initial character set. Illegible bytes become
    U+FFFD.
    """
    if _ESC not in value or not sets.has_extensions:
        return _decode_with(value, sets.codecs[0])
    delimiters = _NAME_DELIMITERS if name else _DELIMITERS
    parts = [_decode_fragment(part, sets.codecs[0], delimiters) for part in _FRAGMENT.findall(value) if part]
    return "".join(text for text, _ in parts), all(legible for _, legible in parts)


def _decode_with(value: bytes, codec: str) -> tuple[str, bool]:
    try:
        return value.decode(codec), True
    except UnicodeDecodeError:
        return value.decode(codec, errors="replace"), False


def _decode_fragment(part: bytes, initial: str, delimiters: re.Pattern[bytes]) -> tuple[str, bool]:
    """Decode an escape sequence and what follows it up to the next one."""
    match = _ESCAPE.match(part)
    if match is None:
        return _decode_with(part, initial)
    codec = CODES_TO_ENCODINGS.get(match[0])
    if codec is None:
        return _decode_with(part[match.end() :], initial)[0], False
    if codec in _WITHIN_G0:
        return _decode_with(part, codec)
    delimiter = delimiters.search(part, match.end())
    end = delimiter.start() if delimiter else len(part)
    text, legible = _decode_with(part[match.end() : end], codec)
    rest, rest_legible = _decode_with(part[end:], initial)
    return text + rest, legible and rest_legible


def encode(text: str, sets: CharacterSets, *, name: bool = False) -> bytes:
    """Return the bytes of a text, with escape sequences where an extension is needed.

    Raises UnicodeEncodeError when the sets cannot express it. A component (what stands between two delimiters) that
    needs two extensions at once counts as inexpressible.
    """
    if not sets.has_extensions or len(sets.codecs) == 1:
        return _encode_initial(text, sets.codecs[0])
    parts = (_TEXT_NAME_DELIMITERS if name else _TEXT_DELIMITERS).split(text)
    return b"".join(_encode_component(part, sets) for part in parts)


def _encode_initial(text: str, codec: str) -> bytes:
    if codec in _WITHIN_G0:
        return _encode_extension(text, codec)
    if codec == DEFAULT.codecs[0]:
        return text.encode("ascii")
    encoded = text.encode(codec)
    if codec == "shift_jis" and len(encoded) != len(text):
        raise UnicodeEncodeError(codec, text, 0, len(text), "not in JIS X 0201")
    return encoded


def _encode_component(text: str, sets: CharacterSets) -> bytes:
    for number, codec in enumerate(sets.codecs):
        try:
            return _encode_extension(text, codec) if number else _encode_initial(text, codec)
        except UnicodeEncodeError:
            continue
    raise UnicodeEncodeError(sets.codecs[0], text, 0, len(text), "not in the character sets")


def _encode_extension(text: str, codec: str) -> bytes:
    encoded = text.encode(codec)
    if codec not in _WITHIN_G0:
        return _ESCAPE_OF[codec] + encoded
    if not _G0_ESCAPES.issuperset(_ESCAPE.findall(encoded)):
        raise UnicodeEncodeError(codec, text, 0, len(text), "needs a set that DICOM does not define")
    return encoded
