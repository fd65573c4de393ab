import struct
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_node.dicom.header import read_instance
from dicom_node.dicom.streams import MOST_INFLATED, file_part
from dicom_node.dicom.structure import (
    DEEPEST,
    LONGEST_VALUE,
    MOST_ELEMENTS,
    Selection,
    Structure,
    check_structure,
)
from dicom_node.dicom.uids import TRANSFER_SYNTAXES
from dicom_node.errors import UnreadableInstanceError
from tests.factories import encode, item, make_bto, make_kos, make_mg, make_rdsr, make_sc
from tests.unit.dicom.reading import PROVENANCE

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG = "1.2.840.10008.1.2.4.70"

ITEM = b"\xfe\xff\x00\xe0"
ITEM_END = b"\xfe\xff\x0d\xe0\0\0\0\0"
SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"
UNDEFINED = b"\xff\xff\xff\xff"
SEQUENCE = b"\x08\0\x40\x11SQ\0\0"
UID = b"\x08\0\x18\0UI\x06\0" + b"1.2.3\0"


def check(data: bytes, syntax: str = EXPLICIT, selection: Selection | None = None) -> Structure:
    arguments = () if selection is None else (selection,)
    return check_structure(b"", len(data), file_part(BytesIO(data), 0), syntax, *arguments)


def deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def sequence(content: bytes) -> bytes:
    return SEQUENCE + struct.pack("<I", len(content)) + content


def an_item(content: bytes) -> bytes:
    return ITEM + struct.pack("<I", len(content)) + content


OBJECTS = {
    "mammogram": make_mg(stage="STEREO_MINUS"),
    "tomosynthesis": make_bto(),
    "dose report": make_rdsr(protocol="STEREO"),
    "key objects": make_kos([make_mg()]),
    "capture": make_sc(),
}


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
@pytest.mark.parametrize("name", OBJECTS)
def test_a_whole_data_set_is_accepted_in_every_transfer_syntax(name: str, syntax: str) -> None:
    data = encode(OBJECTS[name], syntax)
    assert check(data, syntax).flags == ()


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, JPEG])
def test_the_header_ends_where_the_pixel_data_begins(syntax: str) -> None:
    data = encode(make_mg(), syntax)
    tag = b"\x7f\xe0\0\x10" if syntax == BIG_ENDIAN else b"\xe0\x7f\x10\0"
    assert check(data, syntax).header_end == data.index(tag)


def test_without_pixel_data_the_header_ends_with_the_data() -> None:
    ds = make_rdsr()
    assert check(encode(ds)).header_end == len(encode(ds))
    assert check(encode(ds, DEFLATED), DEFLATED).header_end == len(encode(ds))


def test_a_data_set_is_read_at_its_offset() -> None:
    data = encode(make_mg())
    file = BytesIO(b"head" + data + b"more")
    assert check_structure(b"", len(data), file_part(file, 4), EXPLICIT).header_end == check(data).header_end


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, JPEG])
@pytest.mark.parametrize("name", OBJECTS)
def test_a_data_set_cut_anywhere_but_between_two_elements_is_refused(name: str, syntax: str) -> None:
    ds = OBJECTS[name]
    data = encode(ds, syntax)
    borders = {0}
    for count in range(1, len(ds)):
        part = Dataset({tag: ds[tag] for tag in sorted(ds.keys())[:count]})
        borders.add(len(encode(part, syntax)))
    for end in range(len(data)):
        if end in borders - {0}:
            check(data[:end], syntax)
        else:
            with pytest.raises(UnreadableInstanceError):
                check(data[:end], syntax)


@pytest.mark.parametrize("name", OBJECTS)
def test_a_deflated_data_set_cut_anywhere_is_refused(name: str) -> None:
    data = deflate(encode(OBJECTS[name]))
    for end in range(len(data)):
        with pytest.raises(UnreadableInstanceError):
            check(data[:end], DEFLATED)


def selected(data: bytes, syntax: str, head: int) -> Structure:
    """Check with the first ``head`` bytes in memory and keep something of every kind."""
    selection = Selection(
        top=frozenset({0x00080060, 0x00100010, 0x0040A730}), nested=frozenset({0x0040A730, 0x0040A160}), private=True
    )
    return check_structure(data[:head], len(data), file_part(BytesIO(data), 0), syntax, selection)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, JPEG, DEFLATED])
@pytest.mark.parametrize("name", OBJECTS)
def test_how_much_is_in_memory_makes_no_difference(name: str, syntax: str) -> None:
    data = encode(OBJECTS[name], EXPLICIT if syntax == DEFLATED else syntax)
    data = deflate(data) if syntax == DEFLATED else data
    expected = selected(data, syntax, 0)
    for head in range(1, len(data) + 1):
        assert selected(data, syntax, head) == expected


def test_of_a_header_in_memory_nothing_is_read() -> None:
    asked: list[tuple[int, int]] = []

    def read_at(offset: int, size: int) -> bytes:
        asked.append((offset, size))
        return b""

    header = encode(make_mg(PixelData=None))
    pixels = b"\xe0\x7f\x10\0OW\0\0" + struct.pack("<I", 10_000_000)
    structure = check_structure(header + pixels, len(header + pixels) + 10_000_000, read_at, EXPLICIT)
    assert structure.header_end == len(header)
    assert asked == []


def test_what_follows_large_pixel_data_is_checked_too() -> None:
    pixels = b"\xe0\x7f\x10\0OW\0\0" + struct.pack("<I", 100_000) + bytes(100_000)
    padding = b"\xfc\xff\xfc\xffOB\0\0" + struct.pack("<I", 4) + bytes(4)
    assert check(UID + pixels + padding).flags == ()
    with pytest.raises(UnreadableInstanceError, match="longer than the data"):
        check((UID + pixels + padding)[:-1])


def test_a_data_set_of_which_less_comes_than_was_told_is_refused() -> None:
    with pytest.raises(UnreadableInstanceError, match="cut short"):
        check_structure(UID, 2 * len(UID), lambda _offset, _size: b"", EXPLICIT)


def test_a_file_shorter_than_its_data_set_is_refused() -> None:
    data = encode(make_mg())
    with pytest.raises(UnreadableInstanceError, match="shorter"):
        read_instance(BytesIO(data[:-1]), 0, len(data), EXPLICIT, PROVENANCE)


def test_an_empty_data_set_and_an_unknown_transfer_syntax_are_refused() -> None:
    with pytest.raises(UnreadableInstanceError, match="no data set"):
        check(b"")
    with pytest.raises(UnreadableInstanceError, match="transfer syntax"):
        check(UID, "1.2.840.10008.1.2.8.1")


def test_a_2_gib_object_is_checked_without_reading_its_pixels(tmp_path: Path) -> None:
    header = encode(make_mg(PixelData=None))
    size = 2**31 - 2
    pixels = b"\xe0\x7f\x10\0OW\0\0" + struct.pack("<I", size)
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.write(header + pixels)
        file.truncate(len(header) + len(pixels) + size)
    with path.open("rb") as raw:
        counting = Counting(raw)
        tracemalloc.start()
        structure = check_structure(b"", path.stat().st_size, file_part(counting, 0), EXPLICIT)  # type: ignore[arg-type]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert structure.header_end == len(header)
    assert counting.bytes_read < 256 * 1024
    assert peak < 2 * 1024 * 1024


class Counting:
    """A file that counts what is read of it."""

    def __init__(self, file: BinaryIO) -> None:
        self.bytes_read = 0
        self._file = file
        self.seek = file.seek

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.bytes_read += len(data)
        return data


@pytest.mark.parametrize(
    "data",
    [
        SEQUENCE + UNDEFINED + ITEM + UNDEFINED + UID + ITEM_END + SEQUENCE_END,
        SEQUENCE + UNDEFINED + an_item(UID) + SEQUENCE_END,
        sequence(ITEM + UNDEFINED + UID + ITEM_END),
        sequence(an_item(UID) + an_item(b"")),
        sequence(b""),
        SEQUENCE + UNDEFINED + SEQUENCE_END,
        sequence(an_item(sequence(an_item(UID)))),
        # Superfluous delimiters after things whose length is known.
        sequence(an_item(UID + ITEM_END) + SEQUENCE_END),
        # Items of a UN of undefined length are in implicit VR (PS3.5 6.2.2).
        b"\x09\0\x02\x10UN\0\0" + UNDEFINED + an_item(b"\x08\0\x18\0\6\0\0\0" + b"1.2.3\0") + SEQUENCE_END,
        # Implicit elements in the items of an explicit data set.
        sequence(an_item(b"\x08\0\x18\0\6\0\0\0" + b"1.2.3\0")),
        # A VR of spaces, as a CT writes it, with a short length.
        b"\x28\0\x20\x01  \2\0\0\0" + UID,
        # A VR nobody knows, with a long length (PS3.5 7.1.2), and with a short one as a wrong writer would.
        b"\x09\0\x02\x10ZZ\0\0\2\0\0\0ab" + UID,
        b"\x09\0\x02\x10ZZ\2\0ab" + UID,
        # Encapsulated bytes in a private element.
        b"\x09\0\x02\x10OB\0\0" + UNDEFINED + an_item(b"") + an_item(b"\xfe\xff\xdd\xe0") + SEQUENCE_END,
    ],
)
def test_what_is_met_in_the_field_is_accepted(data: bytes) -> None:
    assert check(data).flags == ()


def test_an_implicit_sequence_is_known_by_its_tag_or_by_its_undefined_length() -> None:
    known = b"\x08\0\x40\x11" + struct.pack("<I", 8) + an_item(b"")
    private = b"\x09\0\x02\x10" + UNDEFINED + an_item(b"") + SEQUENCE_END
    opaque = b"\x09\0\x02\x10" + struct.pack("<I", 4) + b"abcd"
    assert check(known + private + opaque, IMPLICIT).flags == ()
    with pytest.raises(UnreadableInstanceError, match="longer than what holds it"):
        check(b"\x08\0\x40\x11" + struct.pack("<I", 8) + ITEM + b"\1\0\0\0", IMPLICIT)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (UID[:-1], "longer than the data"),
        (b"\x08\0\x18\0UN\0\0\xfe\xff\xff\xff" + bytes(100), "longer than the data"),
        (sequence(an_item(UID[:-1])), "longer than what holds it"),
        (sequence(ITEM + b"\xf0\0\0\0" + UID), "an item is longer"),
        (sequence(UID), "outside an item"),
        (SEQUENCE + UNDEFINED + an_item(UID), "cut short"),
        (SEQUENCE + UNDEFINED + ITEM + UNDEFINED + UID, "cut short"),
        (SEQUENCE + UNDEFINED + ITEM + UNDEFINED + UID + SEQUENCE_END, "not closed"),
        (an_item(UID), "outside one"),
        (ITEM_END, "outside one"),
        (SEQUENCE_END, "outside one"),
        (SEQUENCE + UNDEFINED + ITEM_END, "not closed"),
        (b"\xe0\x7f\x10\0OB\0\0" + UNDEFINED + UID, "something else than fragments"),
        (b"\xe0\x7f\x10\0OB\0\0" + UNDEFINED + ITEM + UNDEFINED, "something else than fragments"),
        (b"\xe0\x7f\x10\0OB\0\0" + UNDEFINED + ITEM + b"\2\0\0\0a", "longer than the data"),
        (b"\xe0\x7f\x10\0OB\0\0" + UNDEFINED + an_item(b"ab"), "cut short"),
        (UID + b"\x08\0\x18", "cut short"),
        (UID + b"\x09\0\x02\x10UN\0\0\2\0", "cut short"),
    ],
)
def test_what_is_proven_wrong_is_refused_by_name(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableInstanceError, match=reason):
        check(data)


def nested(depth: int) -> bytes:
    return (SEQUENCE + UNDEFINED + ITEM + UNDEFINED) * depth + (ITEM_END + SEQUENCE_END) * depth


def test_the_deepest_nesting_is_checked_to_its_end() -> None:
    data = UID + nested(DEEPEST)
    assert check(data).flags == ()
    with pytest.raises(UnreadableInstanceError):
        check(data[:-8])


@pytest.mark.parametrize("depth", [DEEPEST + 1, 100_000])
def test_what_is_nested_deeper_is_kept_with_a_flag_and_the_header_before_it(depth: int) -> None:
    structure = check(UID + nested(depth), selection=Selection(top=frozenset({0x00080018})))
    assert structure.flags == ("nested deeper than 32 sequences: not checked further",)
    assert structure.header_end == len(UID)
    assert structure.elements[0x00080018].value == b"1.2.3\0"


def test_more_elements_than_any_exam_has_are_kept_with_a_flag() -> None:
    structure = check(UID + b"\x09\0\x02\x10SH\0\0" * (MOST_ELEMENTS + 1))
    assert structure.flags == ("more than 1000000 elements: not checked further",)
    assert structure.header_end == len(UID) + (MOST_ELEMENTS - 1) * 8


def test_fragments_count_as_elements() -> None:
    pixels = b"\xe0\x7f\x10\0OB\0\0" + UNDEFINED + an_item(b"") * (MOST_ELEMENTS + 1) + SEQUENCE_END
    structure = check(UID + pixels)
    assert structure.flags == ("more than 1000000 elements: not checked further",)
    assert structure.header_end == len(UID)


@pytest.mark.parametrize("content", [b"", UID, b"\x08\0\x18\0UI\xa0\x0f" + bytes(4000)])
def test_kept_elements_are_bounded_in_memory(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicom_node.dicom.structure.MOST_KEPT", 1_000_000)
    data = sequence(an_item(content) * 10_000) + UID
    selection = Selection(top=frozenset({0x00081140}), nested=frozenset({0x00080018}))
    tracemalloc.start()
    structure = check_structure(b"", len(data), file_part(BytesIO(data), 0), EXPLICIT, selection)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert structure.flags == ("more than 1000000 bytes of header: the rest is not read",)
    assert structure.header_end == len(data)
    assert peak < 3_000_000


def test_selected_elements_are_kept_and_nothing_else() -> None:
    ds = make_mg(DeviceSequence=Sequence([item(CodeValue="113685", CodeMeaning="x")]))
    selection = Selection(top=frozenset({0x00080060, 0x00500010}), nested=frozenset({0x00080100}))
    kept = check(encode(ds), selection=selection).elements
    assert kept.keys() == {0x00080060, 0x00500010}
    assert kept[0x00080060].value == b"MG"
    assert kept[0x00080060].vr == "CS"
    items = kept[0x00500010].items
    assert items is not None
    assert [found.keys() for found in items] == [{0x00080100}]


def test_of_a_long_value_only_its_beginning_is_kept() -> None:
    data = b"\x20\0\x00\x40LT" + struct.pack("<H", 50_000) + b"x" * 50_000
    kept = check(data, selection=Selection(top=frozenset({0x00204000}))).elements
    assert kept[0x00204000].length == 50_000
    assert kept[0x00204000].value == b"x" * LONGEST_VALUE


def test_private_elements_are_kept_on_request_unless_they_are_long() -> None:
    ds = Dataset()
    block = ds.private_block(0x0045, "GEMS_SENO_02", create=True)
    block.add_new(0x06, "DS", "15")
    block.add_new(0x26, "OB", b"x" * (LONGEST_VALUE + 2))
    kept = check(encode(ds), selection=Selection(private=True)).elements
    assert kept.keys() == {0x00450010, 0x00451006}


def test_a_deflated_bomb_is_inflated_no_further_than_the_limit() -> None:
    pixels = b"\xe0\x7f\x10\0OW\0\0" + struct.pack("<I", 256 * 1024 * 1024)
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = compressor.compress(UID + pixels)
    data += b"".join(compressor.compress(bytes(1024 * 1024)) for _ in range(256)) + compressor.flush()
    tracemalloc.start()
    structure = check(data, DEFLATED, Selection(top=frozenset({0x00080018})))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert structure.header_end == len(UID)
    assert structure.elements[0x00080018].value == b"1.2.3\0"
    assert structure.flags[0].startswith("deflated: checked up to")
    assert int(structure.flags[0].split()[-3]) <= MOST_INFLATED
    assert peak < 4 * 1024 * 1024


def test_a_deflated_data_set_may_be_padded() -> None:
    data = deflate(encode(make_rdsr()))
    assert check(data + b"\0", DEFLATED).flags == ()


@pytest.mark.parametrize("data", [b"\0", b"not deflated at all", deflate(UID)[:-2] + b"\xff\xff", deflate(UID[:-1])])
def test_damaged_deflated_data_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableInstanceError):
        check(data, DEFLATED)
