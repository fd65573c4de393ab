"""What the conformance statement says of associations, held against a listener."""

from collections.abc import Iterator

import pytest

from dicom_node.cli.conformance import statement
from dicom_node.cli.conformance_network import REJECTIONS
from dicom_node.cli.conformance_text import DEFAULTS
from dicom_node.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.dicom.query import Query
from tests.querying import listening
from tests.raw_peer import IMPLICIT, MAMMOGRAM, VERIFICATION, RawPeer, associate_request, items


def no_query(_query: Query) -> None:
    raise AssertionError("nothing is asked here")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with listening(no_query) as node:  # type: ignore[arg-type]
        yield node.port


@pytest.fixture(scope="module")
def information(port: int) -> dict[int, bytes]:
    """The sub-items of the user information in an acceptance (PS3.8 9.3.3.3), by type."""
    with RawPeer(port, calling=b"PACS", contexts=[(VERIFICATION, [IMPLICIT])]) as peer:
        (user,) = (item for item in items(peer.answer[6 + 68 :]) if item[0] == 0x50)
    return {item[0]: item[4:] for item in items(user[4:])}


def test_an_acceptance_names_this_implementation(information: dict[int, bytes]) -> None:
    assert information[0x52].decode() == IMPLEMENTATION_CLASS_UID
    assert information[0x55].decode() == IMPLEMENTATION_VERSION_NAME
    assert f"| {IMPLEMENTATION_CLASS_UID} | the same |" in statement(DEFAULTS)


def test_an_acceptance_offers_the_longest_unit_that_is_stated(information: dict[int, bytes]) -> None:
    assert f"| {int.from_bytes(information[0x51], 'big'):,} bytes (`node.limits.max_pdu`) |" in statement(DEFAULTS)


def of_version_2() -> bytes:
    request = bytearray(associate_request(b"PACS", b"SBB_NODE", [(VERIFICATION, [IMPLICIT])]))
    request[7] = 2
    return bytes(request)


@pytest.mark.parametrize(
    ("request_bytes", "numbers"),
    [
        (associate_request(b"PACS", b"SBB_NODE", [(MAMMOGRAM, [IMPLICIT])]), (1, 1, 1)),
        (of_version_2(), (1, 2, 2)),
        (associate_request(b"STRANGER", b"SBB_NODE", [(VERIFICATION, [IMPLICIT])]), (1, 1, 3)),
        (associate_request(b"PACS", b"OTHER", [(VERIFICATION, [IMPLICIT])]), (1, 1, 7)),
    ],
    ids=["nothing it may", "protocol version", "calling AE title", "called AE title"],
)
def test_a_rejection_is_one_of_those_that_are_stated(
    port: int, request_bytes: bytes, numbers: tuple[int, int, int]
) -> None:
    with RawPeer(port, contexts=None) as peer:
        peer.send(request_bytes)
        answer = peer.read_unit()
    assert (answer[0], *answer[7:10]) == (3, *numbers)
    assert numbers in dict(REJECTIONS)
