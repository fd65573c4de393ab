"""Names that are attacks: paths, line ends, terminal commands and programs where a UID, a title or a text should be.

A real reception with a real archive and index; the log goes through the real gate. Whatever is sent: the right answer,
no file outside the archive, one line of JSON for each event.
"""

import io
import json
import re
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from dicom_node import logs
from dicom_node.dimse.capacity import Places
from dicom_node.dimse.port import open_port
from dicom_node.reception import Ports, Reception, capacity_of
from dicom_node.site import utc_now
from tests import raw_peer
from tests.archives import files_under, received_files, wait_until
from tests.factories import encode, make_mg, new_uid
from tests.raw_peer import EXPLICIT, IMPLICIT, MAMMOGRAM, STUDY_ROOT_FIND, VERIFICATION, RawPeer, item
from tests.sites import opened_site, write_site

FORGED = b'\n{"event": "forged.line"}'

UIDS = [
    b"../../../../../tmp/forged",
    b"/etc/forged",
    b"..",
    b"1.2/../../3",
    b"1.2\\..\\3",
    b"1.2\x003.4",
    b"1.2.3\n",
    b"1.2.3" + FORGED,
    b"1.2.3\x1b[2J",
    b"1." * 32 + b"5",  # 65 characters
    b"9" * 3000,
    b"",
    b"1.2..3",
    b"1.2.003",
    b"1.2.3 OR 1=1",
    b"'; DROP TABLE study;--",
    b"$(reboot)",
    b"%s%n%x",
    b"1.2.\xb2",
]

TITLES = [
    b'X\n{"event":"fo',
    b"X\r\nforged.line",
    b"\x1b[31mRED\x1b]0;x\x07",
    b'"quoted", "x"',
    b"'; DROP TABLE --",
    b"../../etc/passwd",
    b'{"event":"x"}',
    b"%s%s%s%n",
    b"$(reboot)",
    b"UNIT\\n",
    b"PRONE_RM2\n",
    b"PRONE_RM2\0X",
    "PRONÉ_RM2".encode("latin-1"),
    b"\x80\x81\x82\xff\xfe",
    b"",
    b"\0" * 16,
]

TEXTS = [
    b"A" + FORGED,
    b"\x1b[31mA\x1b[0m",
    b"A\0B\r\n",
    b"../../../A",
    b"A'; DROP TABLE study;--",
    b"A\x85\xe2\x80\xa8B",
    b"A\xff",
]


@dataclass
class Facility:
    folder: Path
    port: int
    log: io.StringIO

    def lines(self) -> list[dict[str, object]]:
        """The events logged so far; fails when one of them is forged, or not one line of printable text."""
        text = self.log.getvalue()
        assert re.fullmatch(r"([ -~\u00a1-\uffff]*\n)*", text), repr(text)
        found = [json.loads(line) for line in text.splitlines()]
        assert len(found) == text.count("\n")
        assert all(re.fullmatch(r"[a-z_]+\.[a-z_]+", line["event"]) for line in found)
        events = {line["event"] for line in found}
        assert not events & {"forged.line", "log.free_text", "thread.failed", "connection.failed", "library.warning"}
        assert not any("raised" in line for line in found), found
        return found

    def events(self, name: str) -> list[dict[str, object]]:
        return [line for line in self.lines() if line["event"] == name]


@pytest.fixture(scope="module")
def reception(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    folder = tmp_path_factory.mktemp("facility") / "node"  # what is written beside it is seen
    folder.mkdir()
    with opened_site(write_site(folder, more='[node.limits]\nwaiting = "0.1 s"')) as stores:
        places = Places.alone(capacity_of(stores.site.settings))
        port = open_port(("127.0.0.1", 0))
        reception = Reception(stores, Ports(plain=port), places=places, own_title="OWN", now=utc_now)
        reception.start()
        yield folder, port.getsockname()[1]
        reception.stop(0.0, threading.Event())


@pytest.fixture
def facility(reception: tuple[Path, int], logs_as_they_were: None) -> Iterator[Facility]:
    log = io.StringIO()
    logs.configure(level="info", form="json", stream=log, environ={})
    folder, port = reception
    before = _outside(folder)
    made = Facility(folder, port, log)
    yield made
    assert _outside(folder) == before
    objects = files_under(folder / "data" / "objects")
    assert all(re.fullmatch(r"[0-9a-f]{2}/[0-9a-f]{64}\.dcm", name) for name in objects), objects
    wait_until(lambda: received_files(folder / "data") == [])
    made.lines()


def _outside(folder: Path) -> list[str]:
    """What is beside the folders in which the archive and the index keep their files."""
    own = re.compile(r"data/(audit|objects|spool)/|data/node\.db")
    return [name for name in files_under(folder.parent) if not own.match(name.partition("/")[2])]


def store(peer: RawPeer, uid: bytes, data: bytes, *, sop_class: bytes = MAMMOGRAM.encode(), more: bytes = b"") -> int:
    command = (
        raw_peer.element(0x0002, sop_class) + raw_peer.element(0x0100, b"\1\0") + raw_peer.element(0x0110, b"\1\0")
    )
    command += raw_peer.element(0x0800, b"\0\0") + raw_peer.element(0x1000, uid) + more
    peer.send(raw_peer.message(1, raw_peer.element(0x0000, struct.pack("<L", len(command))) + command, data))
    return peer.read_response()[0].status


def unit(facility: Facility) -> RawPeer:
    return RawPeer(facility.port, contexts=((MAMMOGRAM, [EXPLICIT]), (VERIFICATION, [IMPLICIT])))


@pytest.mark.parametrize("uid", UIDS)
def test_a_uid_that_is_none_is_refused_in_the_command(facility: Facility, uid: bytes) -> None:
    with unit(facility) as peer:
        assert store(peer, uid, encode(make_mg())) == 0x0117
        assert store(peer, (whole := make_mg()).SOPInstanceUID.encode(), encode(whole)) == 0
        peer.release()
    (line,) = facility.events("instance.refused")
    assert line["sop_uid"] == ""


@pytest.mark.parametrize("keyword", ["sop_instance_uid", "study_uid", "series_uid"])
@pytest.mark.parametrize("uid", [uid for uid in UIDS if 0 < len(uid) <= 64])
def test_a_uid_that_is_none_is_refused_in_the_data_set(facility: Facility, keyword: str, uid: bytes) -> None:
    ds = make_mg()
    element = ds[{"sop_instance_uid": 0x00080018, "study_uid": 0x0020000D, "series_uid": 0x0020000E}[keyword]]
    head = struct.pack("<HH2s", element.tag.group, element.tag.element, b"UI")
    before, _, after = encode(ds).partition(head)
    padded = uid + b"\0" * (len(uid) % 2)
    data = before + head + struct.pack("<H", len(padded)) + padded + after[2 + after[0] :]
    with unit(facility) as peer:
        status = store(peer, ds.SOPInstanceUID.encode(), data)
        assert status in (0xA900, 0xC000), hex(status)
        peer.release()


@pytest.mark.parametrize("title", TITLES)
def test_a_title_that_is_an_attack_is_not_recognized(facility: Facility, title: bytes) -> None:
    with RawPeer(facility.port, calling=title[:16]) as peer:
        assert tuple(peer.answer[7:10]) == (1, 1, 3)
    with RawPeer(facility.port, called=title[:16]) as peer:
        assert tuple(peer.answer[7:10]) == (1, 1, 7)
    assert len(facility.events("association.rejected")) == 2


@pytest.mark.parametrize("uid", [uid for uid in UIDS if uid and len(uid) < 3000])
def test_a_sop_class_that_is_a_path_is_no_service(facility: Facility, uid: bytes) -> None:
    proposal = item(0x20, b"\1\0\0\0" + item(0x30, uid) + item(0x40, EXPLICIT.encode()))
    with RawPeer(facility.port, contexts=None) as peer:
        peer.send(_with(_request(), proposals=proposal))
        assert tuple(peer.read_unit()[7:10]) == (1, 1, 1)
    (line,) = facility.events("association.rejected")
    assert "units.prone1 may: " in str(line["reason"])
    with unit(facility) as peer:
        assert store(peer, new_uid().encode(), encode(make_mg()), sop_class=uid) == 0xA900


@pytest.mark.parametrize("text", TEXTS)
def test_texts_of_a_peer_forge_nothing(facility: Facility, text: bytes) -> None:
    """Implementation version name, move originator, private creator and values of a data set."""
    ds = make_mg(patient_name="PLANTED^NAME", patient_id="PLANTED-ID")
    ds.add_new(0x00790010, "LO", "CREATOR-PLACE".ljust(len(text) + 20, "x"))
    place = b"CREATOR-PLACE".ljust(len(text) + 20, b"x")
    user = item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3") + item(0x55, text[:16])
    with RawPeer(facility.port, contexts=None) as peer:
        peer.send(_with(_request(), user=user))
        assert peer.read_unit()[0] == 2
        data = encode(ds).replace(place, text.ljust(len(place), b" ")).replace(b"UPRIGHT_A", text[:9].ljust(9))
        more = raw_peer.element(0x1030, text[:16])
        assert store(peer, ds.SOPInstanceUID.encode(), data, more=more) == 0
        assert peer.release()[0] == 6
    assert len(facility.events("instance.stored")) == 1
    assert "PLANTED" not in facility.log.getvalue()


@pytest.mark.parametrize("text", TEXTS)
def test_query_keys_forge_nothing(facility: Facility, text: bytes) -> None:
    def element(group: int, number: int, value: bytes) -> bytes:
        value += b" " * (len(value) % 2)
        return struct.pack("<HHL", group, number, len(value)) + value

    level = element(0x0008, 0x0052, b"STUDY")
    keys = (0x0010, 0x0010), (0x0010, 0x0020), (0x0020, 0x000D), (0x0008, 0x0050)
    contexts = ((STUDY_ROOT_FIND, [IMPLICIT]),)
    with RawPeer(facility.port, calling=b"PACS", contexts=contexts) as peer:
        asked = [level + element(*key, text) for key in keys]
        asked += [element(0x0008, 0x0052, text), element(0x0008, 0x0005, text) + level]
        for identifier in asked:
            command = raw_peer.command_set(0x0020, 1, STUDY_ROOT_FIND, raw_peer.element(0x0700, b"\0\0"), data=True)
            peer.send(raw_peer.message(1, command, identifier))
            while (answer := peer.read_response()[0]).has_data_set:
                peer.read_unit()
            assert answer.status in (0, 0xA900), hex(answer.status)
        peer.release()
    facility.lines()


# Requests as devices of the field send them.


def _request(calling: bytes = b"PRONE_RM2", called: bytes = b"SBB_NODE") -> bytes:
    return raw_peer.associate_request(calling, called, ((MAMMOGRAM, [EXPLICIT]), (VERIFICATION, [IMPLICIT])))


def _with(
    request: bytes, *, proposals: bytes | None = None, user: bytes | None = None, order: Sequence[int] = ()
) -> bytes:
    """The request with other proposals or user information, or its items in another order of their types."""
    items = raw_peer.items(request[74:])
    if proposals is not None:
        items = [part for part in items if part[0] != 0x20] + raw_peer.items(proposals)
    if user is not None:
        items = [part for part in items if part[0] != 0x50] + [item(0x50, user)]
    items.sort(key=lambda part: (order or (0x10, 0x20, 0x50)).index(part[0]))
    body = request[6:74] + b"".join(items)
    return struct.pack(">BBL", 1, 0, len(body)) + body


_USER = item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3")
_MANY = b"".join(
    item(0x20, bytes([number, 0, 0, 0]) + item(0x30, uid.encode()) + 30 * item(0x40, EXPLICIT.encode()))
    for number, uid in zip(range(1, 256, 2), [VERIFICATION, MAMMOGRAM, *["1.2.3.4"] * 126], strict=True)
)
_ODD = bytearray(_request())
_ODD[1] = _ODD[8] = _ODD[9] = 0xFF
_ODD[42:74] = b"\xa5" * 32


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(_request(b"PRONE_RM2".ljust(16, b"\0"), b"SBB_NODE".ljust(16, b"\0")), id="padded with NUL"),
        pytest.param(_request(b" PRONE_RM2", b"  SBB_NODE"), id="padded in front"),
        pytest.param(_with(_request(), user=item(0x60, b"?" * 9) + _USER + item(0xFE, b"")), id="unknown information"),
        pytest.param(_with(_request(), user=item(0x52, b"1.2.3")), id="no maximum length"),
        pytest.param(_with(_request(), user=item(0x51, bytes(4))), id="no implementation, no limit"),
        pytest.param(_with(_request(), user=_USER + item(0x55, b"")), id="empty version name"),
        pytest.param(_with(_request(), user=_USER + item(0x55, b"V" * 30)), id="version name too long"),
        pytest.param(_with(_request(), user=_USER + item(0x55, "V\u00c9\n".encode())), id="odd version name"),
        pytest.param(_with(_request(), user=item(0x51, bytes(2)) + item(0x52, b"1.02/x")), id="odd implementation"),
        pytest.param(_with(_request(), proposals=_MANY), id="128 contexts"),
        pytest.param(bytes(_ODD), id="reserved bytes"),
        pytest.param(_with(_request(), order=(0x50, 0x20, 0x10)), id="items in another order"),
    ],
)
def test_requests_as_devices_send_them_are_served(facility: Facility, request_: bytes) -> None:
    with RawPeer(facility.port, contexts=None) as peer:
        peer.send(request_)
        answer = peer.read_unit()
        assert answer[0] == 2
        accepted = [part[4] for part in raw_peer.items(answer[74:]) if part[0] == 0x21 and part[6] == 0]
        assert len(accepted) == 2
        verification = min(accepted) if len(request_) > 60000 else max(accepted)
        peer.send(raw_peer.message(verification, raw_peer.echo_request(7)))
        assert peer.read_response()[0].status == 0
        assert peer.release()[0] == 6
    assert facility.events("association.accepted")
