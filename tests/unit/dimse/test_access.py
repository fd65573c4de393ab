"""Who is admitted, and what an installer reads about the others."""

from ipaddress import ip_network

import pytest

from dicom_node.dimse.access import AccessList, Admission, Caller, Refusal

ACCESS = AccessList(
    [
        Caller(
            name="prone1",
            ae_title="PRONE_RM2",
            hosts=(ip_network("10.0.0.1/32"), ip_network("fd00::/64")),
            services=frozenset({"echo", "store"}),
        ),
        Caller(name="pacs", ae_title="PACS", hosts=(ip_network("10.0.0.5/32"),), services=frozenset({"echo", "find"})),
        Caller(name="station", ae_title="PACS", hosts=(ip_network("10.0.0.5/32"),), services=frozenset({"store"})),
    ],
    ["SBB_NODE", "SBB_OLD"],
)


def decide(calling: str, address: str, called: str = "SBB_NODE") -> Admission | Refusal:
    return ACCESS.admit(calling_ae=calling, called_ae=called, address=address)


def refused(calling: str, address: str, called: str = "SBB_NODE") -> Refusal:
    decision = decide(calling, address, called)
    assert isinstance(decision, Refusal)
    return decision


def test_a_listed_title_from_its_address_is_admitted_for_its_services() -> None:
    assert decide("PRONE_RM2", "10.0.0.1") == Admission(name="prone1", services=frozenset({"echo", "store"}))


def test_ipv6_and_ipv4_in_ipv6_are_matched() -> None:
    assert isinstance(decide("PRONE_RM2", "fd00::7"), Admission)
    assert isinstance(decide("PRONE_RM2", "::ffff:10.0.0.1"), Admission)
    assert isinstance(decide("PRONE_RM2", "fd00::7%eth0"), Admission)


def test_a_title_listed_twice_may_do_what_both_may() -> None:
    assert decide("PACS", "10.0.0.5") == Admission(name="pacs, station", services=frozenset({"echo", "find", "store"}))


def test_every_called_title_of_the_node_is_its_own() -> None:
    assert isinstance(decide("PACS", "10.0.0.5", "SBB_OLD"), Admission)


def test_a_wrong_called_title_is_told_the_right_one() -> None:
    refusal = refused("PRONE_RM2", "10.0.0.1", "sbb_node")
    assert (refusal.result, refusal.source, refusal.reason) == (1, 1, 7)
    assert "SBB_NODE" in refusal.words


def test_a_listed_title_from_another_address_is_refused_with_the_address() -> None:
    refusal = refused("PRONE_RM2", "10.0.0.9")
    assert (refusal.result, refusal.source, refusal.reason) == (1, 1, 3)
    assert "10.0.0.9" in refusal.words
    assert "prone1" in refusal.words


def test_an_unknown_title_from_a_known_address_may_be_a_renamed_device() -> None:
    refusal = refused("PRONE_RM2X", "10.0.0.1")
    assert "was the device renamed" in refusal.words
    assert refusal.is_neighbour


@pytest.mark.parametrize(
    ("calling_ae", "address", "called_ae"),
    [
        pytest.param("PRONE_RM2X", "10.0.0.9", "SBB_NODE", id="from an unknown address"),
        pytest.param("PRONE_RM2", "10.0.0.9", "SBB_NODE", id="a listed title"),
        pytest.param("", "10.0.0.1", "SBB_NODE", id="no title"),
        pytest.param("PRONE_RM2X", "10.0.0.1", "sbb_node", id="it calls another node"),
    ],
)
def test_nobody_else_who_is_refused_is_a_renamed_device(calling_ae: str, address: str, called_ae: str) -> None:
    assert not refused(calling_ae, address, called_ae).is_neighbour


def test_an_unknown_title_is_shown_so_that_it_cannot_forge_a_log_line() -> None:
    words = refused("EVIL\r\nlevel=info", "10.0.0.77").words
    assert "\n" not in words
    assert "\\r\\n" in words


def test_titles_are_compared_to_the_letter() -> None:
    assert isinstance(decide("prone_rm2", "10.0.0.1"), Refusal)


def test_blank_titles_are_refused_in_words_of_their_own() -> None:
    assert refused("PRONE_RM2", "10.0.0.1", "").words.startswith("it names no AE title that it calls")
    assert refused("", "10.0.0.1").words.startswith("it names no AE title of its own")


def test_addresses_of_callers_that_store_are_known_before_they_speak() -> None:
    assert ACCESS.stores_from("10.0.0.1")
    assert ACCESS.stores_from("::ffff:10.0.0.1")
    assert ACCESS.stores_from("fd00::99")
    assert ACCESS.stores_from("10.0.0.5")
    assert not ACCESS.stores_from("10.0.0.9")
    assert not ACCESS.stores_from("fd01::1")


def test_a_network_of_all_addresses_tells_nobody_apart() -> None:
    everywhere = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    callers = [
        Caller(name="unit", ae_title="U", hosts=everywhere, services=frozenset({"store"})),
        Caller(name="pacs", ae_title="P", hosts=(ip_network("10.0.0.7/32"),), services=frozenset({"find"})),
    ]
    access = AccessList(callers, ["SBB_NODE"])
    assert not access.stores_from("10.0.0.7")
    assert not access.stores_from("::1")
