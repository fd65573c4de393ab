"""What the conformance statement says of associations, held against a listener."""

import pytest

from dicom_node.cli.conformance import statement
from dicom_node.cli.conformance_text import DEFAULTS
from dicom_node.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.dicom.query import Query
from tests.querying import listening
from tests.raw_peer import IMPLICIT, VERIFICATION, RawPeer, items


def no_query(_query: Query) -> None:
    raise AssertionError("nothing is asked here")


@pytest.fixture(scope="module")
def information() -> dict[int, bytes]:
    """The sub-items of the user information in an acceptance (PS3.8 9.3.3.3), by type."""
    with (
        listening(no_query) as node,  # type: ignore[arg-type]
        RawPeer(node.port, calling=b"PACS", contexts=[(VERIFICATION, [IMPLICIT])]) as peer,
    ):
        (user,) = (item for item in items(peer.answer[6 + 68 :]) if item[0] == 0x50)
    return {item[0]: item[4:] for item in items(user[4:])}


def test_an_acceptance_names_this_implementation(information: dict[int, bytes]) -> None:
    assert information[0x52].decode() == IMPLEMENTATION_CLASS_UID
    assert information[0x55].decode() == IMPLEMENTATION_VERSION_NAME
    assert f"| {IMPLEMENTATION_CLASS_UID} | the same |" in statement(DEFAULTS)


def test_an_acceptance_offers_the_longest_unit_that_is_stated(information: dict[int, bytes]) -> None:
    assert f"| {int.from_bytes(information[0x51], 'big'):,} bytes (`node.limits.max_pdu`) |" in statement(DEFAULTS)
