"""What a caller must show beside its AE title and address, entry by entry."""

from ipaddress import ip_network

import pytest

from dicom_node.dimse.access import AccessList, Admission, Caller, Proof, Refusal
from dicom_node.dimse.negotiation import UserIdentity
from dicom_node.dimse.tls import PeerCertificate

HERE = (ip_network("10.0.0.0/8"),)
FINGERPRINT = "sha256:" + "ab" * 32
SHOWN = PeerCertificate(subject="pacs", marks=frozenset({"pacs", "pacs.example.org", FINGERPRINT}))


def caller(
    name: str, *services: str, certificates: tuple[str, ...] = (), username: str = "", passcode: str = ""
) -> Caller:
    return Caller(
        name=name,
        ae_title="PACS",
        hosts=HERE,
        services=frozenset(services),
        certificates=certificates,
        username=username,
        passcode=passcode,
    )


def decide(*callers: Caller, proof: Proof | None = None) -> Admission | Refusal:
    access = AccessList(callers, ["NODE"])
    if proof is None:
        return access.admit(calling_ae="PACS", called_ae="NODE", address="10.0.0.5")
    return access.admit(calling_ae="PACS", called_ae="NODE", address="10.0.0.5", proof=proof)


def test_each_entry_gives_what_it_gives_to_whoever_shows_what_it_wants() -> None:
    entries = caller("a", "find"), caller("b", "get", certificates=("pacs",))
    plain = decide(*entries)
    assert plain == Admission(name="a", services=frozenset({"find"}))
    bound = decide(*entries, proof=Proof(is_secure=True, certificate=SHOWN))
    assert bound == Admission(name="a, b", services=frozenset({"find", "get"}))


@pytest.mark.parametrize("listed", ["PACS", "pacs.example.org", FINGERPRINT])
def test_a_name_or_the_fingerprint_is_enough(listed: str) -> None:
    entry = caller("b", "get", certificates=("other", listed))
    assert isinstance(decide(entry, proof=Proof(is_secure=True, certificate=SHOWN)), Admission)


@pytest.mark.parametrize("shown", [None, PeerCertificate(subject="x", marks=frozenset({"x"}))])
def test_another_certificate_or_none_is_refused_as_an_unknown_caller(shown: PeerCertificate | None) -> None:
    answer = decide(caller("b", "get", certificates=("pacs",)), proof=Proof(is_secure=True, certificate=shown))
    assert isinstance(answer, Refusal)
    assert (answer.result, answer.source, answer.reason) == (1, 1, 3)


@pytest.mark.parametrize(
    ("kind", "user", "code", "is_right"),
    [
        (2, b"u", b"p", True),
        (2, b"u", b"p ", False),
        (2, b"u", b"", False),
        (2, b"up", b"", False),
        (2, b"U", b"p", False),
        (1, b"u", b"p", False),
        (4, b"u", b"p", False),
    ],
)
def test_username_and_passcode_are_compared_to_the_letter(kind: int, user: bytes, code: bytes, is_right: bool) -> None:
    proof = Proof(is_secure=True, identity=UserIdentity(kind, user, code, True))
    answer = decide(caller("b", "get", username="u", passcode="p"), proof=proof)
    if is_right:
        assert answer == Admission(name="b", services=frozenset({"get"}), is_named=True)
    else:
        assert isinstance(answer, Refusal)
        assert (answer.result, answer.source, answer.reason) == (2, 2, 1)


def test_the_right_passcode_in_the_clear_is_refused() -> None:
    proof = Proof(identity=UserIdentity(2, b"u", b"p", True))
    answer = decide(caller("b", "get", username="u", passcode="p"), proof=proof)
    assert isinstance(answer, Refusal)
    assert "only taken by TLS" in answer.words
