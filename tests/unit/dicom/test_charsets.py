import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.charset import python_encoding

from dicom_node.dicom.charsets import CharacterSets, character_sets, decode, encode

# The examples of PS3.5 annexes H (Japanese), I (Korean), J (UTF-8, GB18030, GBK), K (GB 2312): bytes and text.
NAMES = [
    ("", b"Yamada^Tarou", "Yamada^Tarou"),
    ("ISO_IR 100", b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
    ("ISO_IR 101", b"W\xb3\xf3dz", "Włódz"),
    ("ISO_IR 144", b'\xbb\xee\xda\xe1\xd5\xdc\xd1\xe3\xe0\xd3', "Люксембург"),
    ("ISO_IR 126", b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος"),
    ("ISO_IR 138", b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", "שרון^דבורה"),
    ("ISO_IR 127", b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1", "قباني^لنزار"),
    (
        "\\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    (
        "ISO 2022 IR 13\\ISO 2022 IR 87",
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ),
    (
        "\\ISO 2022 IR 149",
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    ("\\ISO 2022 IR 58", b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=", "Zhang^XiaoDong=张^小东="),
    ("ISO_IR 192", "Wang^XiaoDong=王^小東=".encode(), "Wang^XiaoDong=王^小東="),
    ("GB18030", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东="),
    ("GBK", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\x96\x7c=", "Wang^XiaoDong=王^小東="),
    ("ISO 2022 IR 100\\ISO 2022 IR 144", b"Buc^J\xe9r\xf4me=\x1b-L\xbb\xee\xda", "Buc^Jérôme=Люк"),
]  # fmt: skip


@pytest.mark.parametrize(("sets", "value", "text"), NAMES)
def test_the_examples_of_the_standard_are_decoded(sets: str, value: bytes, text: str) -> None:
    assert decode(value, character_sets(sets), name=True) == (text, True)


@pytest.mark.parametrize(("sets", "value", "text"), NAMES)
def test_the_examples_of_the_standard_survive_a_round_trip(sets: str, value: bytes, text: str) -> None:
    encoded = encode(text, character_sets(sets), name=True)
    assert decode(encoded, character_sets(sets), name=True) == (text, True)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("ISO-IR 100", "ISO_IR 100"),
        ("ISO IR 192", "ISO_IR 192"),
        ("iso_ir 144", "ISO_IR 144"),
        ("ISO_2022_IR_87", "ISO 2022 IR 87"),
        ("utf-8", "ISO_IR 192"),
        ("\\ISO-2022-IR-149", "\\ISO 2022 IR 149"),
    ],
)
def test_misspelt_terms_are_understood(written: str, meant: str) -> None:
    assert character_sets(written) == character_sets(meant)
    assert character_sets(written).known


def test_an_unknown_term_is_told_and_read_as_the_default() -> None:
    sets = character_sets("KLINGON")
    assert not sets.known
    assert decode(b"J\xe9", sets) == ("Jé", True)


def test_a_set_without_extensions_ignores_further_terms_and_is_ignored_as_one() -> None:
    assert character_sets("ISO_IR 192\\ISO 2022 IR 87") == character_sets("ISO_IR 192")
    assert character_sets("ISO 2022 IR 100\\ISO_IR 192") == character_sets("ISO 2022 IR 100")


def test_a_trail_byte_that_looks_like_a_backslash_is_no_separator() -> None:
    value = "表\\誉".encode("gb18030")  # the second one holds no 0x5C in every codec, the first does in shift_jis
    assert decode(value, character_sets("GB18030")) == ("表\\誉", True)
    assert decode("表".encode("shift_jis"), character_sets("ISO_IR 13")) == ("表", True)


def test_the_initial_set_holds_again_after_a_separator() -> None:
    sets = character_sets("ISO 2022 IR 100\\ISO 2022 IR 144")
    assert decode(b"\x1b-L\xbb\xee\\\xe9", sets) == ("Лю\\é", True)
    assert decode(b"\x1b-L\xbb^\xe9", sets, name=True) == ("Л^é", True)
    assert decode(b"\x1b-L\xbb^\xee", sets) == ("Л^ю", True)


@pytest.mark.parametrize(
    "value", [b"\x1b", b"\x1b$", b"\x1b$)", b"\x1b%A", b"a\x1bZZb", b"\x1b$B;", b"\x1b$)C\xff\xff"]
)
def test_broken_escapes_are_told_and_do_not_raise(value: bytes) -> None:
    text, legible = decode(value, character_sets("\\ISO 2022 IR 87"))
    assert not legible
    assert isinstance(text, str)


def test_illegible_bytes_are_replaced_and_told() -> None:
    assert decode(b"a\xffb", character_sets("ISO_IR 192")) == ("a\ufffdb", False)


@given(value=st.binary(max_size=200), sets=st.sampled_from([sets for sets, _, _ in NAMES]), name=st.booleans())
def test_any_bytes_decode_without_an_error(value: bytes, sets: str, name: bool) -> None:
    decode(value, character_sets(sets), name=name)


@given(text=st.text(max_size=60), sets=st.sampled_from([sets for sets, _, _ in NAMES]), name=st.booleans())
def test_what_can_be_encoded_is_decoded_to_the_same(text: str, sets: str, name: bool) -> None:
    text = text.replace("\x1b", "")
    try:
        encoded = encode(text, character_sets(sets), name=name)
    except UnicodeEncodeError:
        return
    assert decode(encoded, character_sets(sets), name=name) == (text, True)


def test_the_default_repertoire_expresses_ascii_only() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode("é", CharacterSets())


def test_plain_text_is_the_same_in_every_character_set() -> None:
    plain = bytes(byte for byte in range(0x20, 0x7F) if byte != ord("\\"))
    for term in python_encoding:
        assert decode(plain, character_sets(term)) == (plain.decode("ascii"), True), term
