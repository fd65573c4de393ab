"""The node on disks whose power can be cut, what its senders were promised, and what became of it."""

import contextlib
import hashlib
import io
import json
import random
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from dicom_node import logs
from dicom_node.cli.app import run
from dicom_node.node import Node
from dicom_node.settings import load_settings
from dicom_node.site import Site, open_stores
from tests import raw_peer
from tests.factories import encode, make_mg, new_uid
from tests.live import CONFIG, LiveNode
from tests.raw_peer import EXPLICIT, IMPLICIT, MAMMOGRAM, STUDY_ROOT_FIND, RawPeer


class PoweredNode(LiveNode):
    """A node whose archive is on the first of some disks and whose index is on the last."""

    def __init__(self, folder: Path, roots: Sequence[Path], *, under: Sequence[str] = (), more: str = "") -> None:
        """Configure it in ``folder``; ``under`` is the start of a command line that runs the rest of it.

        ``more`` are lines of the configuration's table of the node.
        """
        folder.mkdir(exist_ok=True)
        self._archive = roots[0] / "data"
        self.index = self.data / "node.db" if len(roots) == 1 else roots[-1] / "index" / "node.db"
        config = CONFIG.replace('path = "data"', f'path = "{self.data}"')
        config = config.replace("[storage]", f"{more}\n[storage]")
        super().__init__(folder, config=config, more=f'\n[database]\nurl = "sqlite:///{self.index}"\n')
        self._under = under

    @property
    def data(self) -> Path:
        """The storage folder."""
        return self._archive

    def start(self, *, wait: bool = True) -> None:
        """Start it as a service would after a boot."""
        command = [*self._under, sys.executable, "-m", "dicom_node", "--config", str(self.config), "serve", "--create"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        if wait:
            self.wait_until_up()

    def __enter__(self) -> Self:
        """Start it."""
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it."""
        self.kill()


@dataclass(frozen=True)
class Promise:
    """A Success that a sender has read, when the journal of the disks was ``at`` bytes long."""

    at: int
    uid: str
    digest: str


class Promises:
    """What senders have sent and been promised. Safe to use from many threads."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self.kept: list[Promise] = []
        self.sent: dict[str, set[str]] = {}
        """Digests of the data sets that went out under each SOP Instance UID, whatever was answered."""
        self.series: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def going_out(self, instance: "Instance") -> None:
        """Note what is about to be sent."""
        with self._lock:
            self.series.add(instance.series)
            self.sent.setdefault(instance.uid, set()).add(instance.digest)

    def promised(self, instance: "Instance") -> None:
        """Note what was just promised."""
        at = self.now()
        with self._lock:
            self.kept.append(Promise(at, instance.uid, instance.digest))

    def before(self, at: int) -> list[Promise]:
        """Return what had been promised when the power was cut."""
        return [promise for promise in self.kept if promise.at <= at]


@dataclass(frozen=True)
class Instance:
    """A data set that goes out."""

    series: tuple[str, str]
    """Its Study and Series Instance UID."""
    uid: str
    data: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the data set, in hex."""
        return hashlib.sha256(self.data).hexdigest()

    def message(self, *, uid: str = "") -> bytes:
        """The C-STORE-RQ and the data set; ``uid`` is for a request that names another one than the data set."""
        request = raw_peer.store_request(MAMMOGRAM, uid or self.uid)
        return raw_peer.message(1, request, self.data, 120_000)

    def otherwise(self) -> "Instance":
        """Return other content under the same SOP Instance UID."""
        return Instance(self.series, self.uid, self.data[:-1] + bytes([self.data[-1] ^ 0xFF]))


_UIDS = random.SystemRandom()


class Modality:
    """A device that makes instances of one series; quick, since only the UID differs from those before."""

    def __init__(self) -> None:
        self._series, self._draft_uid = (new_uid(), new_uid()), _uid()
        self._drafts = [
            encode(
                make_mg(
                    study_uid=self._series[0],
                    series_uid=self._series[1],
                    sop_instance_uid=self._draft_uid,
                    rows=side,
                    columns=side,
                )
            )
            for side in (8, 64, 300)
        ]

    def instance(self, chance: random.Random) -> Instance:
        """Make an instance of one of three sizes."""
        uid = _uid()
        data = chance.choice(self._drafts).replace(self._draft_uid.encode(), uid.encode())
        return Instance(self._series, uid, data)


def _uid() -> str:
    return f"2.25.{_UIDS.randrange(10**37, 10**38)}"


def peer(port: int) -> RawPeer:
    """Associate as a registered device."""
    return RawPeer(port, contexts=[(MAMMOGRAM, [EXPLICIT])], timeout=60.0)


def store(on: RawPeer, instance: Instance, promises: Promises) -> int:
    """Store an instance, note what is promised, and return the status."""
    promises.going_out(instance)
    on.send(instance.message())
    status = on.read_response()[0].status
    if status == 0:
        promises.promised(instance)
    assert status is not None
    return status


def keep_storing(port: int, promises: Promises, stop: threading.Event, seed: int) -> None:
    """Store as devices do, good and bad, until told to stop; after an error, again."""
    chance, modality = random.Random(seed), Modality()
    while not stop.is_set():
        with contextlib.suppress(OSError), peer(port) as first, peer(port) as second:
            for _ in range(chance.randrange(1, 12)):
                _store_somehow(port, first, second, modality.instance(chance), promises, chance)
                if stop.is_set():
                    return
        stop.wait(0.01)


def _store_somehow(
    port: int, first: RawPeer, second: RawPeer, instance: Instance, promises: Promises, chance: random.Random
) -> None:
    """Store an instance once, twice, twice at a time, after an aborted or a refused attempt, or with other content."""
    way = chance.randrange(12)
    if way == 0:
        _send_and_abort(port, instance, promises, chance)
    elif way == 1:
        promises.going_out(instance)
        first.send(instance.message(uid=_uid()))
        assert first.read_response()[0].status == 0xA900
    elif way == 2:
        promises.going_out(instance)
        second.send(instance.message())
    store(first, instance, promises)
    if way == 2 and second.read_response()[0].status == 0:
        promises.promised(instance)
    if way == 3:
        store(second, instance, promises)
    elif way == 4:
        store(second, instance.otherwise(), promises)


def _send_and_abort(port: int, instance: Instance, promises: Promises, chance: random.Random) -> None:
    """Send all of an instance or but a part of it, and go away without an answer."""
    message = instance.message()
    promises.going_out(instance)
    with peer(port) as gone:
        gone.send(message if chance.random() < 0.5 else message[: chance.randrange(300, len(message))])


def store_for(seconds: float, node: PoweredNode, promises: Promises, *, senders: int, seed: int) -> None:
    """Let some senders store for so long, and until some instances have been acknowledged."""
    stop, enough = threading.Event(), len(promises.kept) + 5 * senders
    threads = [
        threading.Thread(target=keep_storing, args=(node.port, promises, stop, 1000 * seed + each), daemon=True)
        for each in range(senders)
    ]
    for thread in threads:
        thread.start()
    try:
        time.sleep(seconds)
        deadline = time.monotonic() + 60
        while len(promises.kept) < enough:
            assert time.monotonic() < deadline, f"{len(promises.kept)} acknowledged:\n{node.log.read_text()}"
            time.sleep(0.05)
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=60)


@dataclass(frozen=True)
class Found:
    """What a node that was started after a power cut has."""

    answered: frozenset[str]
    """SOP Instance UIDs that C-FIND answers with."""
    rows: dict[str, str]
    """The digest that the index has for each SOP Instance UID."""
    objects: dict[str, str]
    """The SHA-256 of the data set in each file under ``objects/``, by the digest that names the file."""
    verified: dict[str, object]
    """What ``dicom-node verify --all --json`` writes."""
    audited: dict[str, object]
    """What ``dicom-node audit verify --json`` writes."""
    untold: list[str]
    """Study Instance UIDs of which the audit trail tells fewer new instances than the index has."""

    def lost(self, promises: Sequence[Promise]) -> list[Promise]:
        """Return the promises that were not kept."""
        return [
            promise
            for promise in promises
            if promise.uid not in self.answered or self.objects.get(promise.digest) != promise.digest
        ]

    def wrong(self, promises: Promises) -> list[str]:
        """Return what should not be: nothing damaged, partial, missing, unheard of or in another's place is seen."""
        sent, first = promises.sent, {}
        wrong = [f"object {name} holds {digest}" for name, digest in self.objects.items() if name != digest]
        wrong += [f"C-FIND answers with {uid}" for uid in self.answered if uid not in sent]
        wrong += [
            f"the row of {uid} names {digest}"
            for uid, digest in self.rows.items()
            if digest not in sent.get(uid, ()) or digest not in self.objects
        ]
        for promise in promises.kept:
            served = first.setdefault(promise.uid, promise.digest)
            if self.rows.get(promise.uid, served) != served:
                wrong.append(f"{promise.uid} is no longer the first content that was acknowledged")
        if self.audited["problem"] is not None:
            wrong.append(f"the audit trail: {self.audited['problem']}")
        wrong += [f"the audit trail tells too little of {study_uid}" for study_uid in self.untold]
        if self.answered != set(self.rows):
            wrong.append(f"C-FIND answers with {len(self.answered)} of {len(self.rows)} rows")
        wrong += [
            f"verify says {kind}: {self.verified[kind]}"
            for kind in ("damaged", "missing", "without_row")
            if self.verified[kind] != []
        ]
        return wrong


@contextlib.contextmanager
def _started_here(node: PoweredNode) -> Iterator[None]:
    """Start the node in this process: what it finds and puts right is the same, and nothing is loaded anew for it."""
    logs.configure(level="error", form="json")
    settings = load_settings(node.config, {}).settings
    alone = settings.node.model_copy(update={"workers": 1})
    with contextlib.ExitStack() as undo:
        site = Site.of(settings.model_copy(update={"node": alone}))
        stores = undo.enter_context(contextlib.closing(open_stores(site, create=True)))
        running = Node(stores)
        running.start(by_clock=False)
        undo.pop_all()
    try:
        yield
    finally:
        running.stop()


def look(node: PoweredNode, series: set[tuple[str, str]]) -> Found:
    """Start the node and see what it has."""
    verified, audited = io.StringIO(), io.StringIO()
    with _started_here(node):
        answered = frozenset(uid for each in series for uid in _find(node.port, *each))
        objects = {path.stem: _data_set_digest(path) for path in (node.data / "objects").rglob("*.dcm")}
        with contextlib.redirect_stdout(verified):
            run(["--config", str(node.config), "verify", "--all", "--json"])
        with contextlib.redirect_stdout(audited):
            run(["--config", str(node.config), "audit", "verify", "--json"])
    with contextlib.closing(sqlite3.connect(node.index)) as index:
        rows = dict(index.execute("SELECT sop_instance_uid, digest FROM instance"))
        studies = dict(index.execute("SELECT study_uid, count(*) FROM instance GROUP BY study_uid"))
    told = told_instances(node.data)
    untold = [study_uid for study_uid, number in studies.items() if told[study_uid] < number]
    return Found(answered, rows, objects, json.loads(verified.getvalue()), json.loads(audited.getvalue()), untold)


def told_instances(data: Path) -> Counter[str]:
    """Return how many new instances the audit trail tells of each study, by transfers that have ended."""
    told: Counter[str] = Counter()
    for path in (data / "audit").glob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            entry = json.loads(line)
            if entry["event"] == "store.ended":
                told[entry["details"]["study_uid"]] += sum(entry["details"].get("new", {}).values())
    return told


def _find(port: int, study_uid: str, series_uid: str) -> list[str]:
    """Ask for the SOP Instance UIDs of a series."""
    ds = Dataset()
    ds.QueryRetrieveLevel = "IMAGE"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = study_uid, series_uid, ""
    request = raw_peer.command_set(0x0020, 1, STUDY_ROOT_FIND, raw_peer.element(0x0700, b"\0\0"), data=True)
    with RawPeer(port, calling=b"PACS", contexts=[(STUDY_ROOT_FIND, [IMPLICIT])], timeout=60.0) as asking:
        asking.send(raw_peer.message(1, request, encode(ds, ImplicitVRLittleEndian)))
        answers = bytearray()
        while True:
            unit = asking.read_unit()
            assert unit[0] == 4, unit[:10]
            if not unit[11] & 1:
                answers += unit[12:]
                continue
            status = raw_peer.parse_command(unit[12:]).status
            if status not in {0xFF00, 0xFF01}:
                assert status == 0, f"C-FIND ends with {status:#06x}"
                break
    return [uid.decode() for uid in re.findall(rb"\x08\0\x18\0[\0-\x40]\0\0\0([0-9.]+)", answers)]


def _data_set_digest(path: Path) -> str:
    """SHA-256 of a stored file behind its file meta; "" of one that has none."""
    with path.open("rb") as file:
        try:
            pydicom.filereader.read_preamble(file, force=False)
            pydicom.filereader._read_file_meta_info(file)
        except (pydicom.errors.InvalidDicomError, EOFError, ValueError, KeyError):
            return ""
        return hashlib.sha256(file.read()).hexdigest()
