"""Matching of keys, value by value (PS3.4 C.2.2.2)."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.dicom.matching import (
    AnyItem,
    Condition,
    Exact,
    Name,
    WildCard,
    fits,
    fold_name,
    make_test,
    matches,
)

JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"

CASES = [
    # vr, key, stored, matches
    ("LO", "ABC", "ABC", True),
    ("LO", "ABC", "abc", False),
    ("LO", "ABC ", "ABC", True),
    ("LO", "ABC", "ABCD", False),
    ("LO", "AB*", "ABCD", True),
    ("LO", "*CD", "ABCD", True),
    ("LO", "A*D", "ABCD", True),
    ("LO", "A?CD", "ABCD", True),
    ("LO", "A?D", "ABCD", False),
    ("LO", "?*", "A", True),
    ("LO", "ab*", "ABCD", False),
    ("LO", "50%", "50%", True),
    ("LO", "50%", "50x", False),
    ("LO", "A_C", "A_C", True),
    ("LO", "A_C", "ABC", False),
    ("LO", "A_*", "ABC", False),
    ("LO", "O'NEIL", "O'NEIL", True),
    ("LO", 'A"B', 'A"B', True),
    ("LO", "A\\B", "A\\B", True),
    ("LO", "A\\B", "A", False),
    ("LO", "A \\ B", "A\\B", True),
    ("LO", "A\\*", "A\\B", True),
    ("LO", "[AB]*", "A", False),
    ("LO", "[AB]*", "[AB]C", True),
    ("LO", "ä?", "äö", True),
    ("CS", "MG", "MG", True),
    ("CS", "mg", "MG", False),
    ("CS", "M?", "MG", True),
    ("SH", "*", "anything", True),
    ("SH", "**", "anything", True),
    ("SH", "", "anything", True),
    ("AE", "PACS*", "PACS_1", True),
    ("UI", "1.2.3", "1.2.3", True),
    ("UI", "1.2.3", "1.2.30", False),
    ("UI", "1.2.3\0", "1.2.3", True),
    ("UI", "1.2.3\\1.2.4", "1.2.4", True),
    ("UI", "1.2.3\\1.2.4", "1.2.5", False),
    ("UI", "*", "1.2.5", True),
    ("DA", "20260504", "20260504", True),
    ("DA", "20260504", "20260505", False),
    ("DA", "2026.05.04", "20260504", True),
    ("DA", "20260504", "2026.05.04", True),
    ("DA", "20260501-20260531", "20260501", True),
    ("DA", "20260501-20260531", "20260531", True),
    ("DA", "20260501-20260531", "20260601", False),
    ("DA", "20260501-", "20261231", True),
    ("DA", "20260501-", "20260430", False),
    ("DA", "-20260501", "20260501", True),
    ("DA", "-20260501", "19000101", True),
    ("DA", "20260504-20260504", "20260504", True),
    ("DA", "20260101-20261231", "not a date", False),
    ("TM", "1030", "103059.999999", True),
    ("TM", "1030", "103100", False),
    ("TM", "1030", "1030", True),
    ("TM", "103000", "1030", True),
    ("TM", "103001", "1030", False),
    ("TM", "10", "105959", True),
    ("TM", "1000-1030", "103059", True),
    ("TM", "1000-1030", "1031", False),
    ("TM", "1000-1030", "0959", False),
    ("TM", "-1030", "000000", True),
    ("TM", "10:30", "103012", True),
    ("TM", "103000.5", "103000.5", True),
    ("TM", "103000.5", "103000.6", False),
    ("DT", "20260504", "20260504235959.999999", True),
    ("DT", "202605-202606", "20260630", True),
    ("DT", "202605-202606", "20260701", False),
    ("DT", "20260504120000+0100", "20260504110000+0000", True),
    ("DT", "20260504120000+0100", "20260504120000", True),
    ("DT", "20260504120000-0500-", "20260504165959+0000", False),
    ("DT", "20260504120000-0500-", "20260504170000+0000", True),
    ("DT", "-20260504", "20260505", False),
    ("IS", "7", "007", True),
    ("IS", "007", "7", True),
    ("IS", "7", "70", False),
    ("IS", "-3", "-3", True),
    ("IS", "*", "70", True),
    ("IS", "7", "seven", False),
    ("US", "512", "512", True),
    ("PN", "YAMADA^TAROU", JAPANESE, True),
    ("PN", "yamada^tarou", JAPANESE, True),
    ("PN", "yamada*", JAPANESE, True),
    ("PN", "山田*", JAPANESE, True),
    ("PN", "やまだ^たろう", JAPANESE, True),
    ("PN", "yamada", JAPANESE, False),
    ("PN", "Yamada^Tarou=山田^太郎", JAPANESE, True),
    ("PN", "=山田*", JAPANESE, True),
    ("PN", "=yamada*", JAPANESE, False),
    ("PN", "*=*", JAPANESE, True),
    ("PN", "*=山田^花子", JAPANESE, False),
    ("PN", "synth^patient^^^", "SYNTH^PATIENT", True),
    ("PN", "SYNTH", "SYNTH^^^", True),
    ("PN", "SYNTH^*", "SYNTH", True),
    ("PN", "SYNTH^?*", "SYNTH", True),
    ("PN", "*^PAT*", "SYNTH^PATIENT", True),
    ("PN", "MÜLLER", "Müller", True),
    ("PN", "Mu\u0308ller", "Müller", True),
    ("PN", "MULLER", "Müller", False),
    ("PN", "SYNTH ^PATIENT", "SYNTH^PATIENT", True),
    ("PN", "100%^*", "100x^A", False),
    ("PN", "김희중", "김희중", True),
]


@pytest.mark.parametrize(("vr", "key", "stored", "expected"), CASES)
def test_a_key_matches_as_the_standard_says(vr: str, key: str, stored: str, expected: bool) -> None:
    test = make_test(vr, key)
    assert (test is None or test.accepts(stored)) is expected


@pytest.mark.parametrize(
    ("key", "stored", "expected"),
    [
        ("MG", "MG\\US", True),
        ("US", "MG\\US", True),
        ("CT", "MG\\US", False),
        ("M*", "US\\MG", True),
        ("CT\\MG", "US\\MG", True),
        ("CT\\M?", "US\\MG", True),
        ("CT\\MR", "US\\MG", False),
        ("MG\\US", "MG", True),
    ],
)
def test_any_value_of_several_matches(key: str, stored: str, expected: bool) -> None:
    test = make_test("CS", key, multiple=True)
    assert test is not None
    assert Condition("ModalitiesInStudy", test, multiple=True).holds({"ModalitiesInStudy": stored}) is expected


@pytest.mark.parametrize(
    ("vr", "key", "complaint"),
    [
        ("DA", "202605*", "is no DA value or range"),
        ("DA", "20260230", "value or range"),
        ("DA", "202605", "value or range"),
        ("DA", "-", "value or range"),
        ("DA", "20260504-20260505-20260506", "value or range"),
        ("DA", "20260505-20260504", "ends before it begins"),
        ("TM", "2200-0200", "ends before it begins"),
        ("TM", "2500", "value or range"),
        ("TM", "1060", "value or range"),
        ("DT", "20261301", "value or range"),
        ("IS", "x", "whole number"),
        ("IS", "1*", "whole number"),
        ("IS", "1_0", "whole number"),
        ("UI", "1.2.*", "no wild card"),
        ("UI", "1.2.?", "no wild card"),
    ],
)
def test_a_value_that_no_key_may_have_is_refused_without_repeating_it(vr: str, key: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        make_test(vr, key)
    assert key not in str(caught.value)


def test_a_value_that_is_not_known_matches_unless_the_condition_says_otherwise() -> None:
    test = Exact(frozenset({"X"}))
    assert Condition("StationName", test).holds({})
    assert Condition("StationName", test).holds({"StationName": ""})
    assert not Condition("StationName", test, unknown_matches=False).holds({"StationName": ""})


def test_every_condition_has_to_hold() -> None:
    both = (Condition("A", Exact(frozenset({"1"}))), Condition("B", Exact(frozenset({"2"}))))
    assert matches(both, {"A": "1", "B": "2"})
    assert not matches(both, {"A": "1", "B": "3"})
    assert matches((), {"A": "1"})


def test_one_item_has_to_match_all_keys_of_a_sequence() -> None:
    view = Condition(
        "ViewCodeSequence",
        AnyItem(
            (Condition("CodeValue", Exact(frozenset({"R-10242"}))), Condition("CodingSchemeDesignator", WildCard("S*")))
        ),
    )
    scattered = [
        {"CodeValue": "R-10242", "CodingSchemeDesignator": "DCM"},
        {"CodeValue": "R-10226", "CodingSchemeDesignator": "SRT"},
    ]
    together = [*scattered, {"CodeValue": "R-10242", "CodingSchemeDesignator": "SRT"}]
    assert not view.holds({"ViewCodeSequence": json.dumps(scattered)})
    assert view.holds({"ViewCodeSequence": json.dumps(together)})
    assert view.holds({"ViewCodeSequence": ""})
    assert not view.holds({"ViewCodeSequence": "no sequence at all"})


def test_a_sequence_inside_an_item_is_matched_too() -> None:
    inner = Condition("ViewModifierCodeSequence", AnyItem((Condition("CodeValue", Exact(frozenset({"G-8310"}))),)))
    view = Condition("ViewCodeSequence", AnyItem((inner,)))
    stored = [{"CodeValue": "R-10242", "ViewModifierCodeSequence": [{"CodeValue": "G-8310"}]}]
    assert view.holds({"ViewCodeSequence": json.dumps(stored)})
    assert not view.holds({"ViewCodeSequence": json.dumps(stored).replace("G-8310", "G-8311")})


def test_names_are_folded_group_by_group() -> None:
    assert fold_name("YAMADA ^Tarou^^=山田^太郎=やまだ^たろう=more") == ("yamada^tarou", "山田^太郎", "やまだ^たろう")
    assert fold_name("") == ("", "", "")
    assert make_test("PN", "^^") is None
    assert make_test("PN", "=山田") == Name(("", "山田", ""))


def test_the_parts_that_sql_may_use_are_the_literal_ones() -> None:
    pattern = WildCard("ab*cdef?g")
    assert pattern.prefix == "ab"
    assert pattern.longest_literal == "cdef"
    assert WildCard("*").longest_literal == ""


TEXT = st.text(alphabet="abA*?.^%_\\", max_size=12)


@given(pattern=TEXT, text=TEXT)
def test_wild_cards_agree_with_a_regular_expression(pattern: str, text: str) -> None:
    translated = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    assert fits(pattern, text) is (re.fullmatch(translated, text, re.DOTALL) is not None)


def test_a_hostile_pattern_costs_no_more_than_its_length_times_the_text() -> None:
    assert not fits("a*" * 500 + "b", "a" * 1000)
