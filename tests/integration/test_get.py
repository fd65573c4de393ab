"""C-GET in the receiver, asked by a peer made of bytes: what comes back, and how it is counted."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from dicom_node.archive.store import LocalArchive
from dicom_node.dimse import pdu
from dicom_node.errors import DatabaseError, StorageUnavailableError
from dicom_node.index.engine import Index
from dicom_node.index.retrieve import Selected
from tests import raw_peer, retrieving
from tests.archives import wait_until
from tests.raw_peer import EXPLICIT, IMPLICIT, MAMMOGRAM, SECONDARY_CAPTURE, RawPeer
from tests.retrieving import PATIENT_ROOT_GET, STUDY_ROOT_GET, Holdings, cancel, converse, counts, read_message, wanted

LOSSLESS, BIG_ENDIAN = "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.2"
CONTEXTS = (
    (STUDY_ROOT_GET, [IMPLICIT]),
    (PATIENT_ROOT_GET, [IMPLICIT]),
    (MAMMOGRAM, [EXPLICIT]),
    (MAMMOGRAM, [LOSSLESS]),
    (SECONDARY_CAPTURE, [EXPLICIT]),
)


@pytest.fixture
def holdings(tmp_path: Path, sqlite_index: Index) -> Iterator[Holdings]:
    with retrieving.holding(tmp_path / "data", sqlite_index) as made:
        yield made


def peer_of(port: int, **options: Any) -> RawPeer:
    return RawPeer(
        port, calling=b"PACS", **({"contexts": CONTEXTS, "receives": (MAMMOGRAM, SECONDARY_CAPTURE)} | options)
    )


def request(level: str = "STUDY", *, number: int = 7, model: str = STUDY_ROOT_GET, **keys: Any) -> bytes:
    command = raw_peer.command_set(0x0010, number, model, raw_peer.element(0x0700, b"\2\0"), data=True)
    context_id = 1 if model == STUDY_ROOT_GET else 3
    return raw_peer.message(context_id, command, wanted(level, **(keys or {"StudyInstanceUID": "1.2.3"})))


def test_a_study_comes_back_byte_for_byte_in_order(holdings: Holdings) -> None:
    noise = random.Random(7)
    sizes = (1, 2, 16370, 16378, 262144, 1_048_576, 1_048_577, 3_000_001)
    kept = [holdings.keep(noise.randbytes(size), number=number) for number, size in enumerate(sizes, start=1)]
    kept.insert(0, holdings.keep(b"of the first series", series="1.2.3.0", SeriesNumber="-1", number=99))
    holdings.keep(b"of another study", study="1.2.4", series="1.2.4.1")
    with retrieving.serving(holdings.service()) as node, peer_of(node.port) as peer:
        got = converse(peer, request())
        assert [command.affected_sop_instance_uid for command, _, _ in got.stored] == [each.uid for each in kept]
        assert got.data == {each.uid: each.data for each in kept}
        assert {command.number(0x0700) for command, _, _ in got.stored} == {2}
        assert [counts(response) for response in got.pending] == [(left, 9 - left, 0, 0) for left in range(8, 0, -1)]
        assert (got.final.message_id, got.final.status, counts(got.final)) == (7, 0, (None, 9, 0, 0))
        assert peer.release()[0] == 6


@pytest.mark.parametrize("maximum", [20, 4097, 16382, 0])
def test_no_unit_is_longer_than_the_peer_takes_and_none_but_the_last_odd(holdings: Holdings, maximum: int) -> None:
    kept = holdings.keep(random.Random(9).randbytes(300_001))
    with retrieving.serving(holdings.service()) as node, peer_of(node.port, maximum=maximum) as peer:
        lengths: list[int] = []
        read_unit = peer.read_unit

        def note() -> bytes:
            unit = read_unit()
            lengths.append(len(unit) - 6)
            return unit

        peer.read_unit = note  # type: ignore[method-assign]
        got = converse(peer, request())  # looks at the lengths of fragments
    assert got.data == {kept.uid: kept.data}
    assert max(lengths) <= (maximum or 300_000)


def test_every_level_and_list_selects_what_it_names(holdings: Holdings) -> None:
    first = holdings.keep(b"1", number=1, PatientID="SYNTH-A")
    second = holdings.keep(b"2", number=2, PatientID="SYNTH-A")
    other = holdings.keep(b"3", series="1.2.3.2", PatientID="SYNTH-A")
    study = holdings.keep(b"4", study="1.2.4", series="1.2.3.1", PatientID="SYNTH-A")
    stranger = holdings.keep(b"5", study="1.2.5", series="1.2.5.1", PatientID="SYNTH-B")
    asked: list[tuple[str, str, dict[str, Any], set[str]]] = [
        (PATIENT_ROOT_GET, "PATIENT", {"PatientID": "SYNTH-A"}, {"1", "2", "3", "4"}),
        (PATIENT_ROOT_GET, "STUDY", {"PatientID": "SYNTH-A", "StudyInstanceUID": ["1.2.4", "1.2.5"]}, {"4"}),
        (STUDY_ROOT_GET, "STUDY", {"StudyInstanceUID": ["1.2.4", "1.2.5"]}, {"4", "5"}),
        (STUDY_ROOT_GET, "SERIES", {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.1"}, {"1", "2"}),
        (
            STUDY_ROOT_GET,
            "SERIES",
            {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": ["1.2.3.1", "1.2.3.2"]},
            {"1", "2", "3"},
        ),
        (
            STUDY_ROOT_GET,
            "IMAGE",
            {
                "StudyInstanceUID": "1.2.3",
                "SeriesInstanceUID": "1.2.3.1",
                "SOPInstanceUID": [second.uid, other.uid, stranger.uid, study.uid],
            },
            {"2"},
        ),
        (
            PATIENT_ROOT_GET,
            "IMAGE",
            {
                "PatientID": "SYNTH-A",
                "StudyInstanceUID": "1.2.3",
                "SeriesInstanceUID": "1.2.3.1",
                "SOPInstanceUID": first.uid,
            },
            {"1"},
        ),
        (STUDY_ROOT_GET, "STUDY", {"StudyInstanceUID": "1.2.9"}, set()),
    ]
    with retrieving.serving(holdings.service()) as node, peer_of(node.port) as peer:
        for number, (model, level, keys, expected) in enumerate(asked, start=1):
            got = converse(peer, request(level, number=number, model=model, **keys))
            assert {data.decode() for data in got.data.values()} == expected
            assert (got.final.status, counts(got.final)) == (0, (None, len(expected), 0, 0))


def test_each_instance_goes_out_in_the_context_of_its_class_and_syntax_or_not_at_all(holdings: Holdings) -> None:
    plain = holdings.keep(b"plain", number=1)
    lossless = holdings.keep(b"lossless", number=2, syntax=LOSSLESS)
    capture = holdings.keep(b"capture", number=3, sop_class=SECONDARY_CAPTURE)
    unfit = holdings.keep(b"unfit", number=4, syntax=BIG_ENDIAN)
    unknown = holdings.keep(b"unknown", number=5, sop_class="1.2.840.10008.5.1.4.1.1.2")
    with retrieving.serving(holdings.service()) as node, peer_of(node.port) as peer:
        got = converse(peer, request())
    assert {command.affected_sop_instance_uid: context_id for command, context_id, _ in got.stored} == {
        plain.uid: 5,
        lossless.uid: 7,
        capture.uid: 9,
    }
    assert {command.affected_sop_class_uid for command, context_id, _ in got.stored if context_id == 9} == {
        SECONDARY_CAPTURE
    }
    assert (got.final.status, counts(got.final), got.failed) == (0xB000, (None, 3, 2, 0), [unfit.uid, unknown.uid])
    assert got.final.text(0x0902) == f"not taken in transfer syntax {BIG_ENDIAN}"


def test_a_peer_that_took_no_role_gets_nothing(holdings: Holdings) -> None:
    kept = holdings.keep(b"1")
    with retrieving.serving(holdings.service()) as node, peer_of(node.port, receives=()) as peer:
        got = converse(peer, request())
    assert (got.stored, got.final.status, counts(got.final), got.failed) == ([], 0xA702, (None, 0, 1, 0), [kept.uid])


def test_what_the_peer_answers_is_counted(holdings: Holdings) -> None:
    kept = [holdings.keep(bytes([number]), number=number) for number in range(6)]
    with retrieving.serving(holdings.service()) as node, peer_of(node.port) as peer:
        got = converse(peer, request(), [0, 0xB000, 0xA700, 0xC123, 0xB007])
        assert [counts(response) for response in got.pending] == [
            (5, 1, 0, 0), (4, 1, 0, 1), (3, 1, 1, 1), (2, 1, 2, 1), (1, 1, 2, 2),
        ]  # fmt: skip
        assert (got.final.status, counts(got.final)) == (0xB000, (None, 2, 2, 2))
        assert got.failed == [kept[2].uid, kept[3].uid]
        assert got.final.text(0x0902) == "the receiver refused an instance with A700"
        got = converse(peer, request(number=8), [0xB007] * 6)
        assert (got.final.status, counts(got.final), got.failed) == (0xB000, (None, 0, 0, 6), [])
        got = converse(peer, request(number=9), [0xA700] * 6)
        assert (got.final.status, counts(got.final), len(got.failed)) == (0xA702, (None, 0, 6, 0), 6)


@pytest.mark.parametrize(
    ("identifier", "status"),
    [(wanted("STUDY"), 0xA900), (wanted("PATIENT", PatientID="SYNTH-A"), 0xA900), (b"\1\2\3", 0xA900)],
)
def test_an_identifier_that_breaks_a_rule_is_refused_and_the_association_goes_on(
    holdings: Holdings, identifier: bytes, status: int
) -> None:
    holdings.keep(b"1")
    with retrieving.serving(holdings.service()) as node, peer_of(node.port) as peer:
        command = raw_peer.command_set(0x0010, 5, STUDY_ROOT_GET, data=True)
        got = converse(peer, raw_peer.message(1, command, identifier))
        assert (got.final.status, counts(got.final), got.failed) == (status, (None, 0, 0, 0), [])
        assert converse(peer, request()).final.status == 0


def test_a_request_that_names_another_sop_class_than_its_context_is_refused(holdings: Holdings) -> None:
    with retrieving.serving(holdings.service()) as node, peer_of(node.port) as peer:
        command = raw_peer.command_set(0x0010, 5, PATIENT_ROOT_GET, data=True)
        assert converse(peer, raw_peer.message(1, command, wanted("STUDY"))).final.status == 0x0122
        peer.send(raw_peer.message(5, raw_peer.command_set(0x0010, 5, MAMMOGRAM, data=True), b""))
        assert peer.read_unit()[0] == pdu.ABORT


def test_an_index_that_fails_is_told(holdings: Holdings, monkeypatch: pytest.MonkeyPatch) -> None:
    service = holdings.service()

    def fail(_self: object, _retrieval: object) -> Iterator[Any]:
        raise DatabaseError("the index cannot be reached")

    monkeypatch.setattr(type(service), "select", fail)
    with retrieving.serving(service) as node, peer_of(node.port) as peer:
        final = converse(peer, request()).final
        assert (final.status, final.text(0x0902)) == (0xA701, "the index cannot be reached")


@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_damaged_bytes_are_never_sent(holdings: Holdings, size: int, capsys: pytest.CaptureFixture[str]) -> None:
    noise = random.Random(3)
    kept = [holdings.keep(noise.randbytes(size), number=number) for number in range(4)]
    holdings.damage(kept[1])
    (holdings.root / "objects" / kept[2].digest[:2] / f"{kept[2].digest}.dcm").unlink()
    with retrieving.serving(holdings.service()) as node, peer_of(node.port) as peer:
        got = converse(peer, request())
    assert got.data == {each.uid: each.data for each in (kept[0], kept[3])}
    assert (got.final.status, counts(got.final), got.failed) == (0xB000, (None, 2, 2, 0), [kept[1].uid, kept[2].uid])
    told = [line for line in capsys.readouterr().err.splitlines() if "object.damaged" in line]
    assert [each.digest in line for each, line in zip(kept[1:3], told, strict=True)] == [True, True]


def test_a_file_that_breaks_half_way_ends_the_association_before_its_last_byte(holdings: Holdings) -> None:
    kept = holdings.keep(bytes(24_000_000))  # more than the system keeps for a connection
    path = holdings.root / "objects" / kept.digest[:2] / f"{kept.digest}.dcm"
    path.chmod(0o600)
    with retrieving.serving(holdings.service()) as node, peer_of(node.port) as peer:
        peer.send(request())
        assert peer.read_unit()[0] == pdu.DATA_TF  # the object was checked, the rest waits for the peer to read
        with path.open("r+b") as file:
            file.truncate(1000)
        with pytest.raises(ConnectionError, match="unit of type 7"):
            read_message(peer)


def test_a_cancel_ends_it_after_the_instance_that_is_under_way(holdings: Holdings) -> None:
    for number in range(5):
        holdings.keep(bytes([number]), number=number)
    with retrieving.serving(holdings.service()) as node, peer_of(node.port) as peer:
        peer.send(request())
        command, context_id, _ = read_message(peer)
        peer.send(cancel(99) + retrieving.store_response(command, context_id))  # of another request: of no effect
        assert counts(read_message(peer)[0]) == (4, 1, 0, 0)
        command, context_id, _ = read_message(peer)
        peer.send(cancel(7) + retrieving.store_response(command, context_id))
        final, _, _ = read_message(peer)
        if final.status == 0xFF00:
            final, _, _ = read_message(peer)
        assert (final.status, counts(final)) == (0xFE00, (3, 2, 0, 0))
        assert converse(peer, request(number=8)).final.status == 0


def test_a_peer_that_does_not_answer_an_instance_is_idle(holdings: Holdings) -> None:
    holdings.keep(b"1")
    with retrieving.serving(holdings.service(), idle=0.3) as node, peer_of(node.port) as peer:
        peer.send(request())
        read_message(peer)
        assert peer.read_unit()[0] == pdu.ABORT
        wait_until(lambda: node.associations == 0)


def test_a_response_to_what_was_not_sent_ends_the_association(holdings: Holdings) -> None:
    holdings.keep(b"1")
    with retrieving.serving(holdings.service()) as node, peer_of(node.port) as peer:
        peer.send(request())
        command, context_id, _ = read_message(peer)
        assert command.message_id != 7
        wrong = pdu.command_set(0x8001, {0x0120: command.message_id + 1, 0x0900: 0}, has_data_set=False)
        peer.send(raw_peer.message(context_id, wrong))
        assert peer.read_unit()[0] == pdu.ABORT


def test_a_peer_that_closes_in_the_middle_is_let_go(holdings: Holdings) -> None:
    for number in range(3):
        holdings.keep(bytes(300_000) + bytes([number]), number=number)
    with retrieving.serving(holdings.service()) as node:
        with peer_of(node.port) as peer:
            peer.send(request())
            peer.read_unit()
        wait_until(lambda: node.associations == 0)
        with peer_of(node.port) as peer:
            assert converse(peer, request()).final.status == 0


def test_a_list_of_failures_is_cut_to_what_explicit_vr_can_hold() -> None:
    uids = [f"1.2.826.0.1.3680043.10.543.{'9' * 30}.{number}" for number in range(1200)]
    found = [Selected(MAMMOGRAM, uid, EXPLICIT, "", 0, "1.2.3") for uid in uids]
    contexts = ((STUDY_ROOT_GET, [EXPLICIT]),)
    with (
        retrieving.serving(retrieving.Finding(found)) as node,
        peer_of(node.port, contexts=contexts, receives=()) as peer,
    ):
        identifier = wanted("STUDY", StudyInstanceUID="1.2.3")
        explicit = identifier[:4] + b"CS\6\0" + identifier[8:14] + identifier[14:18] + b"UI\6\0" + identifier[22:]
        peer.send(raw_peer.message(1, raw_peer.command_set(0x0010, 5, STUDY_ROOT_GET, data=True), explicit))
        final, _, data = read_message(peer)
    assert (final.status, counts(final)) == (0xA702, (None, 0, 1200, 0))
    listed = data[8:].decode().rstrip("\0").split("\\")
    assert listed == uids[: len(listed)]
    assert 1000 < len(listed) < 1200
    assert len(data) <= 8 + 65534


def test_an_object_that_cannot_be_opened_is_told_in_the_log(
    holdings: Holdings, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = holdings.keep(b"1")

    def refuses(*_: Any) -> Any:
        raise StorageUnavailableError("cannot open it: too many open files")

    monkeypatch.setattr(LocalArchive, "open_object", refuses)
    selected = Selected(MAMMOGRAM, kept.uid, EXPLICIT, kept.digest, 1, "1.2.3")
    with capture_logs() as logs, pytest.raises(StorageUnavailableError):
        [*holdings.service().read(selected)]
    assert [(each["event"], each["digest"]) for each in logs] == [("object.unreadable", kept.digest)]
