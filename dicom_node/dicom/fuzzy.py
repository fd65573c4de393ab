"""Fuzzy semantic matching of person names (PS3.4 C.2.2.2.1.3): by their words, allowing for spelling.

A name is taken for its words: case, accents, apostrophes and the order of components and component groups do not
count, and every other mark that is no letter and no digit separates. Each word of the key has to fit a word of the
name:

- it is the same word,
- or its beginning, from three letters on; any beginning where the key has a ``*`` after it,
- or has one typing error, where both have five letters or more and begin alike: a letter wrong, missing or too many, or
  two neighbours swapped,
- or sounds like it: their sounds are the same and have two consonants at least.

The sound of a word is its Soundex code of full length with the first letter coded by its group as well, so that Carl
sounds like Karl. Typing errors and sounds are told of words in the letters a to z alone.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

MOST_WORDS, LONGEST_WORD = 16, 64
"""What is looked at of a name: its first words, the first characters of each."""

SHORTEST_BEGINNING = 3
SHORTEST_MISTYPED = 5
"""Lengths of words, in letters."""

_APOSTROPHES = re.compile("['\u2018\u2019\u02bc`\u00b4.]")
_WORD = re.compile(r"[^\W_]+")
_ACCENTS = re.compile("[\u0300-\u036f]")
_LETTERS = re.compile(r"[a-z]+")
_WITHOUT_ACCENT = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ħ": "h"}
)

_GROUPS = {
    letter: digit
    for digit, letters in (("1", "bfpv"), ("2", "cgjkqsxz"), ("3", "dt"), ("4", "l"), ("5", "mn"), ("6", "r"))
    for letter in letters
}
_SILENT = frozenset("hw")  # between two letters of one group they do not separate; vowels do


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a key; ``is_open``: any word that begins with it fits."""

    text: str
    is_open: bool = False

    @property
    def may_be_a_beginning(self) -> bool:
        """Tell whether longer words fit."""
        return self.is_open or len(self.text) >= SHORTEST_BEGINNING

    @property
    def may_be_mistyped(self) -> bool:
        """Tell whether words with a typing error fit."""
        return len(self.text) >= SHORTEST_MISTYPED and _LETTERS.fullmatch(self.text) is not None

    def fits(self, word: str) -> bool:
        """Tell whether a word of a name fits."""
        if self.text == word or (self.may_be_a_beginning and word.startswith(self.text)):
            return True
        sound = sound_of(self.text)
        return (sound != "" and sound == sound_of(word)) or (self.may_be_mistyped and is_mistyped(self.text, word))


@dataclass(frozen=True, slots=True)
class FuzzyName:
    """Matching of a person name by its words."""

    words: tuple[Word, ...]

    def accepts(self, stored: str) -> bool:
        """Tell whether each word of the key fits a word of the name."""
        words = words_of(stored)
        return all(any(asked.fits(word) for word in words) for asked in self.words)


def fuzzy_test(key: str) -> FuzzyName | None:
    """Return the test for a key; None when it has wild cards elsewhere than at the end of words, or no words at all."""
    plain = re.sub(r"\*+(?=[\s^=]|$)", "\0", key)
    if "*" in plain or "?" in plain:
        return None
    words: dict[Word, None] = {}
    for part in re.split(r"(?<=\0)|[\s^=]", plain):
        found = words_of(part)
        for place, text in enumerate(found, start=1):
            words[Word(text, is_open=place == len(found) and part.endswith("\0"))] = None
    return FuzzyName(tuple(words)[:MOST_WORDS]) if words else None


@lru_cache(maxsize=4096)
def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name as they are compared, each once, in their order."""
    folded = unicodedata.normalize("NFKD", name).casefold()
    folded = unicodedata.normalize("NFC", _ACCENTS.sub("", _APOSTROPHES.sub("", folded))).translate(_WITHOUT_ACCENT)
    words = (word[:LONGEST_WORD] for word in _WORD.findall(folded))
    return tuple(dict.fromkeys(words))[:MOST_WORDS]


@lru_cache(maxsize=4096)
def sound_of(word: str) -> str:
    """Return the sound of a word, one digit a consonant, "" when it has none that could be compared."""
    if _LETTERS.fullmatch(word) is None:
        return ""
    sound, last = "" if word[0] in _GROUPS else "0", ""
    for letter in word:
        group = _GROUPS.get(letter, "")
        if group and group != last:
            sound += group
        if letter not in _SILENT:
            last = group
    return sound if len(sound.lstrip("0")) >= 2 else ""


def is_mistyped(word: str, other: str) -> bool:
    """Tell whether one typing error after the first letter makes one word of the other."""
    shorter, longer = sorted((word, other), key=len)
    if len(shorter) < SHORTEST_MISTYPED or len(longer) - len(shorter) > 1 or shorter[0] != longer[0]:
        return False
    if _LETTERS.fullmatch(other) is None:
        return False
    at = next((at for at, (a, b) in enumerate(zip(shorter, longer, strict=False)) if a != b), len(shorter))
    if len(shorter) < len(longer):
        return shorter[at:] == longer[at + 1 :]
    return shorter[at + 1 :] == longer[at + 1 :] or (
        shorter[at : at + 2] == longer[at : at + 2][::-1] and shorter[at + 2 :] == longer[at + 2 :]
    )
