"""Fuzzy matching of person names: its examples, and what must hold of any two names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.dicom.extended import Extended
from dicom_node.dicom.fuzzy import LONGEST_WORD, MOST_WORDS, fuzzy_test, is_mistyped, sound_of, words_of
from dicom_node.dicom.matching import make_test

CASES = [
    # key, name, matches
    ("SMITH^JOHN", "Smith^John^Q", True),
    ("john smith", "Smith^John", True),
    ("Smith", "Jones^Smith", True),
    ("Smith^Jane", "Smith^John", True),  # both are 25
    ("Smith^Eve", "Smith^John", False),
    ("Smyth", "Schmidt^Eva", True),
    ("Carl", "Karl", True),
    ("Philip", "Filip", True),
    ("Jo", "Johnson", False),
    ("Joh", "Johnson", True),
    ("Jo*", "Johnson", True),
    ("Jo*^S*", "Smith^Johnson", True),
    ("J?hnson", "Johnson", True),  # as without fuzzy matching
    ("J?hnson", "Johnson^Eve", False),
    ("Andrsen", "Andersen", True),
    ("Anderseen", "Andersen", True),
    ("Anedrsen", "Andersen", True),
    ("Fredericson", "Frederixon", True),
    ("Ogden", "Ugden", True),  # vowels at the beginning sound alike
    ("Bertold", "Hertold", False),  # no error in the first letter
    ("Lima", "Lira", False),  # too short for an error, and another sound
    ("Müller-Lüdenscheid", "MULLER LUDENSCHEID", True),
    ("Sørensen", "Sorensen", True),
    ("D'Angelo", "dAngelo", True),
    ("Eva Maria Lopez", "Lopez^Maria", False),
    ("山田", "Yamada=山田^太郎", True),
    ("山", "山田", False),
    ("山*", "山田", True),
    ("SYNTH7", "SYNTH77", True),
    ("SYNTH77", "SYNTH78", False),  # numbers are not mistyped
    ("A" * 70, "A" * 80, True),
    ("Mustermann", "", False),
]


@pytest.mark.parametrize(("key", "name", "fits"), CASES)
def test_a_name_matches_by_its_words(key: str, name: str, fits: bool) -> None:
    test = make_test("PN", key, extended=Extended(fuzzy=True))
    assert test is not None
    assert test.accepts(name) is fits


NAMES = st.text(alphabet="abAEoöäßsmthn-' .^=*山田İﬁ\u0308", max_size=14)


@given(key=NAMES, name=NAMES)
def test_whatever_matches_without_fuzzy_matching_matches_with_it(key: str, name: str) -> None:
    plain, fuzzy = make_test("PN", key), fuzzy_test(key)
    if plain is not None and fuzzy is not None and plain.accepts(name):
        assert fuzzy.accepts(name)


@given(name=st.text())
def test_words_are_few_short_and_the_same_when_read_again(name: str) -> None:
    words = words_of(name)
    assert len(words) <= MOST_WORDS
    assert all(0 < len(word) <= LONGEST_WORD and words_of(word) == (word,) for word in words if word.isascii())
    assert all(set(sound_of(word)) <= set("0123456") for word in words)


LETTERS = st.text(alphabet="abcn", min_size=4, max_size=7)


@given(word=LETTERS, other=LETTERS)
def test_one_typing_error_is_one_edit_after_the_first_letter(word: str, other: str) -> None:
    edits = {
        *(word[:at] + word[at + 1 :] for at in range(1, len(word))),
        *(word[:at] + letter + word[at:] for at in range(1, len(word) + 1) for letter in "abcn"),
        *(word[:at] + letter + word[at + 1 :] for at in range(1, len(word)) for letter in "abcn"),
        *(word[:at] + word[at + 1] + word[at] + word[at + 2 :] for at in range(1, len(word) - 1)),
    }
    if word != other:
        assert is_mistyped(word, other) == (min(len(word), len(other)) >= 5 and other in edits)
