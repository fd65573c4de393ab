"""The whole node killed at random moments while four senders store: nothing acknowledged lost, nothing partial seen."""

import hashlib
import random
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
import pytest

from tests import raw_peer
from tests.archives import received_files
from tests.factories import encode, make_mg, new_uid
from tests.faults.powered_node import told_instances
from tests.live import CONFIG, LiveNode, live_node
from tests.raw_peer import EXPLICIT, MAMMOGRAM, RawPeer

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SENDERS = 4


@dataclass
class Acknowledged:
    """What senders were told is stored: SOP Instance UID to the digest of the data set."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    digests: dict[str, str] = field(default_factory=dict)
    sent: int = 0

    def add(self, uid: str, digest: str) -> None:
        with self.lock:
            self.digests[uid] = digest


def keep_sending(node: LiveNode, acknowledged: Acknowledged, stop: threading.Event, seed: int) -> None:
    chance = random.Random(seed)
    study_uid, series_uid = new_uid(), new_uid()
    while not stop.is_set():
        try:
            with RawPeer(node.port, contexts=[(MAMMOGRAM, [EXPLICIT])]) as peer:
                while not stop.is_set():
                    side = chance.choice([8, 64, 512])
                    ds = make_mg(study_uid=study_uid, series_uid=series_uid, rows=side, columns=side)
                    data = encode(ds)
                    acknowledged.sent += 1
                    peer.send(raw_peer.message(1, raw_peer.store_request(MAMMOGRAM, ds.SOPInstanceUID), data, 16000))
                    if peer.read_response()[0].status == 0:
                        acknowledged.add(ds.SOPInstanceUID, hashlib.sha256(data).hexdigest())
        except OSError:
            time.sleep(0.05)


def data_set_digest(path: Path) -> str:
    with path.open("rb") as file:
        pydicom.filereader.read_preamble(file, force=False)
        pydicom.filereader._read_file_meta_info(file)
        return hashlib.sha256(file.read()).hexdigest()


@pytest.mark.parametrize(("workers", "kills"), [(1, 30), (2, 15)])
def test_no_kill_loses_what_was_acknowledged_or_shows_what_is_partial(tmp_path: Path, workers: int, kills: int) -> None:
    chance = random.Random(20261123)
    acknowledged, stop = Acknowledged(), threading.Event()
    config = CONFIG.replace("[storage]", f"workers = {workers}\n\n[storage]")
    with live_node(tmp_path, config=config) as node:
        senders = [
            threading.Thread(target=keep_sending, args=(node, acknowledged, stop, seed), daemon=True)
            for seed in range(SENDERS)
        ]
        for sender in senders:
            sender.start()
        for _ in range(kills):
            time.sleep(chance.uniform(0.05, 1.0))
            node.kill()
            node.start()
        stop.set()
        for sender in senders:
            sender.join(timeout=60)
        assert node.stop() == 0
        assert node.command("audit", "verify").returncode == 0
    assert len(acknowledged.digests) > kills

    objects = {path.stem: path for path in (node.data / "objects").rglob("*.dcm")}
    damaged = [digest for digest, path in objects.items() if data_set_digest(path) != digest]
    assert damaged == []
    with sqlite3.connect(node.data / "node.db") as index:
        rows = dict(index.execute("SELECT sop_instance_uid, digest FROM instance"))
        studies = dict(index.execute("SELECT study_uid, count(*) FROM instance GROUP BY study_uid"))
    index.close()
    lost = {uid for uid, digest in acknowledged.digests.items() if rows.get(uid) != digest or digest not in objects}
    assert lost == set()
    assert set(rows.values()) == set(objects)
    assert received_files(node.data) == []
    told = told_instances(node.data)
    assert [study_uid for study_uid, number in studies.items() if told[study_uid] < number] == []
