"""Large objects, full disks, slow peers: the node keeps its memory, its answers and its other senders."""

import contextlib
import hashlib
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import raw_peer
from tests.archives import received_files
from tests.commands import Commands
from tests.factories import encode, make_mg
from tests.live import CONFIG, LiveNode, live_node
from tests.raw_peer import EXPLICIT, IMPLICIT, MAMMOGRAM, VERIFICATION, RawPeer

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

CONTEXTS = ((MAMMOGRAM, [EXPLICIT]), (VERIFICATION, [IMPLICIT]))
ALONE = CONFIG.replace("[storage]", "workers = 1\n\n[storage]")
"""One process, where it does not matter how many."""


def memory(node: LiveNode, line: str) -> int:
    """Bytes of a line of the largest process's status: VmRSS now, VmHWM at its highest."""
    assert node.process is not None
    children = Path(f"/proc/{node.process.pid}/task").glob("*/children")
    processes = [str(node.process.pid), *(pid for file in children for pid in file.read_text().split())]
    found = [
        int(text.split()[1]) * 1024
        for process in processes
        for text in Path(f"/proc/{process}/status").read_text().splitlines()
        if text.startswith(line)
    ]
    assert found
    return max(found)


def send(peer: RawPeer, **options: int) -> int:
    ds = make_mg(**options)
    peer.send(raw_peer.message(1, raw_peer.store_request(MAMMOGRAM, ds.SOPInstanceUID), encode(ds)))
    return peer.read_response()[0].status


def test_two_gibibytes_are_received_in_little_memory(tmp_path: Path) -> None:
    ds = make_mg()
    del ds.PixelData
    head = encode(ds) + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 2 << 30)
    digest, chunk = hashlib.sha256(head), bytes(range(256)) * 508
    with live_node(tmp_path) as node, RawPeer(node.port, contexts=CONTEXTS, timeout=120) as peer:
        assert send(peer) == 0
        before = memory(node, "VmRSS")
        peer.send(raw_peer.message(1, raw_peer.store_request(MAMMOGRAM, ds.SOPInstanceUID)))
        peer.send(raw_peer.unit(struct.pack(">LBB", len(head) + 2, 1, 0) + head))
        left = 2 << 30
        unit = raw_peer.unit(struct.pack(">LBB", len(chunk) + 2, 1, 0) + chunk)
        while left > len(chunk):
            peer.send(unit)
            digest.update(chunk)
            left -= len(chunk)
        peer.send(raw_peer.unit(struct.pack(">LBB", left + 2, 1, 2) + chunk[:left]))
        digest.update(chunk[:left])
        assert peer.read_response()[0].status == 0
        assert memory(node, "VmHWM") - before < 150 << 20
        name = digest.hexdigest()
        assert (node.data / "objects" / name[:2] / f"{name}.dcm").stat().st_size > 2 << 30


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room for the archive alone."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_answered_and_the_association_goes_on(tmp_path: Path, small_volume: Path) -> None:
    config = ALONE.replace('path = "data"', f'path = "{small_volume}/data"').replace('"1 MiB"', '"4 MiB"')
    config += f'\n[database]\nurl = "sqlite:///{tmp_path}/node.db"\n'
    with live_node(tmp_path, config=config) as node, RawPeer(node.port, contexts=CONTEXTS) as peer:
        assert send(peer) == 0
        ballast = small_volume / "ballast"
        ballast.write_bytes(bytes(5 << 20))
        assert send(peer, rows=512, columns=512) == 0xA700
        assert send(peer) == 0xA700
        peer.send(raw_peer.message(3, raw_peer.echo_request()))
        assert peer.read_response()[0].status == 0
        assert received_files(small_volume / "data") == []
        ballast.unlink()
        assert send(peer) == 0


@pytest.fixture(scope="module")
def small_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    """A node of one process that takes a mebibyte at most, for all tests of what it refuses."""
    config = ALONE.replace("[storage]", '[node.limits]\nmax_data_set = "1 MiB"\n\n[storage]')
    with live_node(tmp_path_factory.mktemp("small_node"), config=config) as node:
        yield node


def test_a_data_set_over_the_limit_is_refused_and_leaves_nothing(small_node: LiveNode) -> None:
    with RawPeer(small_node.port, contexts=CONTEXTS) as peer:
        assert send(peer, rows=1024, columns=1024) == 0xA700
        assert received_files(small_node.data) == []
        assert send(peer) == 0


@pytest.mark.parametrize(
    ("uid", "status"),
    [("1.2.3/../../etc", 0x0117), ("", 0x0117), ("1.2.\0003", 0x0117), ("1" * 65, 0x0117), ("1.2.3", 0xA900)],
)
def test_a_uid_that_is_none_or_another_is_refused(small_node: LiveNode, uid: str, status: int) -> None:
    def objects() -> set[Path]:
        return set((small_node.data / "objects").rglob("*.dcm"))

    before = objects()
    with RawPeer(small_node.port, contexts=CONTEXTS) as peer:
        data = encode(make_mg(sop_instance_uid="1.2.840.99.1"))
        peer.send(raw_peer.message(1, raw_peer.store_request(MAMMOGRAM, uid), data))
        assert peer.read_response()[0].status == status
        truncated = encode(make_mg(sop_instance_uid="1.2.840.99.2"))[:-7]
        peer.send(raw_peer.message(1, raw_peer.store_request(MAMMOGRAM, "1.2.840.99.2"), truncated))
        assert peer.read_response()[0].status & 0xF000 == 0xC000
        assert received_files(small_node.data) == []
        assert objects() == before
        assert send(peer) == 0


def test_beside_peers_that_hang_a_unit_is_served_and_a_stop_is_in_time(tmp_path: Path) -> None:
    config = CONFIG.replace('drain = "5 s"', 'drain = "1 s"')
    with live_node(tmp_path, config=config) as node, contextlib.ExitStack() as open_peers:
        data = encode(make_mg(rows=64, columns=64))
        for number in range(10):
            silent = open_peers.enter_context(RawPeer(node.port, contexts=None))
            silent.send(b"\1\0\0\0"[: number % 5])
            stuck = open_peers.enter_context(RawPeer(node.port, contexts=CONTEXTS))
            stuck.send(
                raw_peer.message(1, raw_peer.store_request(MAMMOGRAM, f"1.2.{number}"), data)[: 200 + 700 * number]
            )
        with RawPeer(node.port, contexts=CONTEXTS) as peer:
            for _ in range(5):
                assert send(peer) == 0
        began = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - began < 30
        assert received_files(node.data) == []


@pytest.mark.usefixtures("logs_as_they_were")
def test_the_node_writes_no_patient_data_but_into_index_and_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = {"PatientName": "PLANTED^NAME", "PatientID": "PLANTED-ID", "AccessionNumber": "PLANTED-ACC"}
    with live_node(tmp_path) as node:
        with RawPeer(node.port, contexts=CONTEXTS) as peer:
            for bad in (
                {},
                {"StudyDate": "PLANTED-DATE"},
                {"StudyInstanceUID": "PLANTED.UID"},
                {"ImageType": "PLANTED"},
            ):
                ds = make_mg(**planted, **bad)  # type: ignore[arg-type]  # keywords of elements
                peer.send(raw_peer.message(1, raw_peer.store_request(MAMMOGRAM, ds.SOPInstanceUID), encode(ds)))
                peer.read_response()
        commands = Commands(node.config, capsys, planted=("PLANTED",))
        for command in (["status"], ["exams", "list", "--all"], ["unattributed", "list"], ["alerts", "list"]):
            assert commands(*command).code == 0
        assert node.stop() == 0
    for path in [node.log, *(p for p in node.data.rglob("*") if p.is_file() and p.suffix == ".eml")]:
        assert b"PLANTED" not in path.read_bytes(), path
    assert not [path for path in node.data.rglob("*") if "PLANTED" in path.name]
