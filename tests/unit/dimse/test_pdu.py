"""The byte stream is cut the same way however it was chopped."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.dimse import pdu
from tests import raw_peer


def cut(stream: bytes, borders: list[int], maximum: int = 1 << 16) -> list[tuple[object, ...]]:
    """Feed ``stream`` in pieces and join what belongs together, so that only the meaning is compared."""
    parser = pdu.UnitParser(maximum)
    edges = sorted({0, len(stream), *(border % (len(stream) + 1) for border in borders)})
    seen: list[tuple[object, ...]] = []
    joined = b""
    for first, last in itertools.pairwise(edges):
        for event in parser.feed(memoryview(stream)[first:last]):
            if isinstance(event, pdu.ControlPdu):
                seen.append((event.type, event.data))
                continue
            joined += b"".join(event.views)
            if event.last:
                seen.append((event.context_id, event.is_command, joined))
                joined = b""
    assert not parser.inside_unit
    return seen


COMMAND = raw_peer.store_request(raw_peer.MAMMOGRAM, "1.2.3.4")
DATA = bytes(range(256)) * 5
STREAM = (
    raw_peer.message(1, COMMAND, DATA, size=100)
    + raw_peer.unit(
        *raw_peer.values(3, COMMAND, command=True, size=7), *raw_peer.values(3, DATA, command=False, size=999)
    )
    + raw_peer.unit(raw_peer.values(3, b"", command=False, size=1)[0])
    + raw_peer.RELEASE
)
MEANING = [
    (1, True, COMMAND),
    (1, False, DATA),
    (3, True, COMMAND),
    (3, False, DATA),
    (3, False, b""),
    (5, raw_peer.RELEASE),
]


def test_a_stream_fed_whole_is_cut_into_its_messages() -> None:
    assert cut(STREAM, []) == MEANING


def test_a_stream_fed_byte_by_byte_is_cut_alike() -> None:
    assert cut(STREAM, list(range(len(STREAM)))) == MEANING


@given(st.lists(st.integers(0, len(STREAM)), max_size=40))
def test_any_chopping_gives_the_same_messages(borders: list[int]) -> None:
    assert cut(STREAM, borders) == MEANING


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (struct.pack(">BBL", 4, 0, 70000), "longer than the maximum"),
        (struct.pack(">BBL", 4, 0, 0), "no presentation data value"),
        (struct.pack(">BBL", 8, 0, 4), "unknown type"),
        (struct.pack(">BBL", 0, 0, 4), "unknown type"),
        (struct.pack(">BBL", 1, 0, 0xFFFFFFFF), "too long"),
        (struct.pack(">BBLLBB", 4, 0, 8, 100, 1, 0), "does not fit"),
        (struct.pack(">BBLLBB", 4, 0, 8, 1, 1, 0), "does not fit"),
        (struct.pack(">BBLLBB", 4, 0, 9, 2, 1, 0), "after its last"),
    ],
)
def test_a_malformed_unit_is_refused_by_its_header(stream: bytes, words: str) -> None:
    with pytest.raises(pdu.ProtocolError, match=words):
        list(pdu.UnitParser(65536).feed(memoryview(stream)))


def test_each_unit_is_counted_when_its_first_byte_arrives() -> None:
    parser = pdu.UnitParser(65536)
    list(parser.feed(memoryview(STREAM)[:3]))
    assert (parser.unit_number, parser.inside_unit) == (1, True)
    list(parser.feed(memoryview(STREAM)[3:]))
    assert parser.unit_number == len(MEANING_UNITS)


MEANING_UNITS = [
    *raw_peer.values(1, COMMAND, command=True, size=100),
    *raw_peer.values(1, DATA, command=False, size=100),
    "the unit with everything",
    "the empty value",
    "the release",
]


@given(st.binary(max_size=300))
def test_no_bytes_break_the_parser_but_by_a_protocol_error(stream: bytes) -> None:
    try:
        list(pdu.UnitParser(4096).feed(memoryview(stream)))
    except pdu.ProtocolError:
        return


@given(st.binary(max_size=200))
def test_no_bytes_break_the_command_reader_but_by_a_protocol_error(data: bytes) -> None:
    try:
        pdu.parse_command(data)
    except pdu.ProtocolError:
        return


def test_a_store_request_is_read() -> None:
    command = pdu.parse_command(COMMAND)
    assert command.field == pdu.C_STORE_RQ
    assert command.has_data_set
    assert command.affected_sop_class_uid == raw_peer.MAMMOGRAM
    assert command.affected_sop_instance_uid == "1.2.3.4"


def test_a_response_repeats_the_uids_and_carries_status_and_comment() -> None:
    response = pdu.store_response(pdu.parse_command(COMMAND), status=0xA700, comment="x" * 80)
    read = pdu.parse_command(response)
    assert (read.field, read.status, read.affected_sop_instance_uid) == (0x8001, 0xA700, "1.2.3.4")
    assert b"x" * 64 in response
    assert b"x" * 65 not in response


def test_a_response_does_not_repeat_what_is_no_uid() -> None:
    command = pdu.parse_command(raw_peer.store_request(raw_peer.MAMMOGRAM, "../../etc/passwd"))
    assert b"passwd" not in pdu.store_response(command, status=0x0117, comment="no UID")


@given(data=st.binary(max_size=500), maximum=st.sampled_from([0, 7, 8, 50, 100000]))
def test_wrapped_data_comes_out_again_within_the_peers_limit(data: bytes, maximum: int) -> None:
    stream = pdu.data_units(7, data, is_command=False, maximum_length=maximum)
    assert cut(stream, [], maximum=maximum or 1 << 20) == [(7, False, data)]


@pytest.mark.parametrize("maximum", [8, 9, 15, 16])
def test_all_fragments_but_the_last_are_of_even_length(maximum: int) -> None:
    units = pdu.data_units(1, bytes(33), is_command=True, maximum_length=maximum)
    sizes = []
    while units:
        length = int.from_bytes(units[2:6], "big")
        assert length <= maximum
        sizes.append(length - 6)
        units = units[6 + length :]
    assert sum(sizes) == 33
    assert not any(size % 2 for size in sizes[:-1])


def test_what_arrives_together_of_one_data_set_is_one_fragment() -> None:
    stream = raw_peer.message(1, COMMAND, DATA, size=500) + raw_peer.message(3, COMMAND, DATA[:10])
    fragments = [event for event in pdu.UnitParser(1 << 16).feed(memoryview(stream)) if isinstance(event, pdu.Fragment)]
    assert [(each.context_id, each.is_command, each.last, len(each.views)) for each in fragments] == [
        (1, True, True, 1),
        (1, False, True, 3),
        (3, True, True, 1),
        (3, False, True, 1),
    ]


def test_values_of_two_contexts_are_never_one_fragment() -> None:
    first, *_ = raw_peer.values(1, b"abc", command=False, size=2)
    stream = raw_peer.unit(first, *raw_peer.values(3, b"de", command=False, size=2))
    fragments = [event for event in pdu.UnitParser(1 << 16).feed(memoryview(stream)) if isinstance(event, pdu.Fragment)]
    assert [(each.context_id, each.last, bytes(each.views[0])) for each in fragments] == [
        (1, False, b"ab"),
        (3, True, b"de"),
    ]
