"""Files that nobody here made come back as they were stored: by C-GET, and by C-MOVE to DCMTK and to Orthanc."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from dicom_node.dicom.part10 import read_meta
from dicom_node.dimse.calling import Calling, Patience, Proposed, Response, call
from dicom_node.dimse.pdu import Command
from tests.live import LiveNode, free_port, live_node
from tests.raw_peer import IMPLICIT
from tests.retrieving import STUDY_ROOT_GET, STUDY_ROOT_MOVE, wanted

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

REAL = Path(os.environ.get("DICOM_NODE_REAL_DATA", Path(__file__).parents[2].parent / "shared" / "data" / "real"))
PATIENCE = Patience(connect=20, answer=60, response=120, sending=60)

ORTHANC = "/usr/sbin/Orthanc"

PUT_RIGHT_BY_ORTHANC = {
    "openrem-sdist__CT-SC-Philips_Brilliance16P",  # has elements of the file meta in items: left out
    "pydicom-wheel__693_J2KI",  # says that its encapsulated pixels are OW: made OB
}
"""Real files that break the standard where Orthanc mends it."""

MORE = """
[peers.viewer]
ae_title = "VIEWER"
host = ["127.0.0.0/8", "::1"]
allow = ["get", "move"]

[peers.dcmtk]
ae_title = "STORESCP"
host = "127.0.0.1"
port = {dcmtk}
allow = ["move-destination"]

[peers.orthanc]
ae_title = "ORTHANC"
host = "127.0.0.1"
port = {orthanc}
allow = ["echo", "move", "move-destination"]
"""


@dataclass(frozen=True)
class Real:
    """One stored instance."""

    path: Path
    uid: str
    study: str
    sop_class: str
    syntax: str
    data: bytes


@dataclass(frozen=True)
class Site:
    """A node with the real files, and where its destinations are to listen."""

    node: LiveNode
    stored: Mapping[str, Real]
    dcmtk: int
    orthanc: int


def read_real(path: Path) -> Real:
    data = data_set_in(path.read_bytes())
    ds = pydicom.dcmread(path, stop_before_pixels=True)
    return Real(path, ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SOPClassUID, ds.file_meta.TransferSyntaxUID, data)


def data_sets_in(folder: Path) -> dict[str, bytes]:
    """Return the data sets of the files in a folder, by the SOP Instance UIDs that their file meta names."""
    found = {}
    for path in folder.iterdir():
        data = path.read_bytes()
        meta = read_meta(io.BytesIO(data))
        found[meta.sop_instance_uid] = data[meta.data_set_offset :]
    return found


def contexts_of(files: Iterable[Real]) -> list[Proposed]:
    return [
        Proposed(sop_class, (syntax,))
        for sop_class, syntax in sorted({(each.sop_class, each.syntax) for each in files})
    ]


def associated(port: int, contexts: list[Proposed], *, calling_ae: str = "VIEWER", **options: Any) -> Calling:
    return call(
        ("127.0.0.1", port),
        calling_ae=calling_ae,
        called_ae="SBB_NODE",
        contexts=contexts,
        patience=PATIENCE,
        **options,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A node that was sent every good and every conflicting file: what came first under a UID is what it serves."""
    if not REAL.is_dir():
        pytest.skip(f"the real files are not at {REAL} (DICOM_NODE_REAL_DATA)")
    files = [read_real(path) for kind in ("good", "conflict") for path in sorted((REAL / kind).glob("*.dcm"))]
    stored: dict[str, Real] = {}
    dcmtk, orthanc = free_port(), free_port()
    with live_node(tmp_path_factory.mktemp("node"), more=MORE.format(dcmtk=dcmtk, orthanc=orthanc)) as node:
        with associated(node.port, contexts_of(files), calling_ae="PRONE_RM2") as sender:
            for each in files:
                context_id = sender.context(each.sop_class, each.syntax)
                status, _ = sender.store(
                    context_id, sop_class_uid=each.sop_class, sop_instance_uid=each.uid, data=[each.data]
                )
                assert status == 0, each.uid
                stored.setdefault(each.uid, each)
        assert len(stored) > 200
        yield Site(node, stored, dcmtk, orthanc)


def studies(files: Iterable[Real]) -> bytes:
    """Return an identifier that asks for the studies of all the files."""
    return wanted("STUDY", StudyInstanceUID=sorted({each.study for each in files}))


def is_for_dcmtk(real: Real) -> bool:
    """Tell whether DCMTK takes it: it aborts on a data set of odd length, which PS3.5 7.1.1 does not allow."""
    return len(real.data) % 2 == 0


class Collecting:
    """Takes what a C-GET brings."""

    def __init__(self) -> None:
        self.taken: dict[str, bytes] = {}
        self._uid, self._data = "", bytearray()

    def begin(self, command: Command, _context_id: int) -> "Collecting":
        self._uid, self._data = command.affected_sop_instance_uid, bytearray()
        return self

    def write(self, *data: memoryview) -> None:
        for view in data:
            self._data += view

    def finish(self) -> tuple[int, str]:
        assert self._uid not in self.taken
        self.taken[self._uid] = bytes(self._data)
        return 0, ""

    def discard(self) -> None:
        self._data = bytearray()


def last(responses: Iterable[Response]) -> Response:
    return list(responses)[-1]


def assert_same(taken: Mapping[str, bytes], expected: Iterable[Real]) -> None:
    """Compare without printing megabytes."""
    data = {each.uid: each.data for each in expected}
    assert taken.keys() == data.keys()
    assert [uid for uid in data if taken[uid] != data[uid]] == []


def test_every_stored_instance_comes_back_by_c_get_with_the_same_bytes(site: Site) -> None:
    files = list(site.stored.values())
    contexts = [Proposed(STUDY_ROOT_GET, (IMPLICIT,)), *contexts_of(files)]
    roles = {each.sop_class: (False, True) for each in files}
    taker = Collecting()
    with associated(site.node.port, contexts, roles=roles) as viewer:
        end = last(viewer.get(viewer.context(STUDY_ROOT_GET), studies(files), store=taker))
    assert (end.status, end.sub_operations) == (0, (0, len(files), 0, 0))
    assert_same(taker.taken, files)


@contextlib.contextmanager
def running(*command: str, folder: Path) -> Iterator[None]:
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


def echoes(port: int, called_ae: str) -> bool:
    with contextlib.suppress(Exception):
        contexts = [Proposed("1.2.840.10008.1.1", (IMPLICIT,))]
        with call(
            ("127.0.0.1", port), calling_ae="SBB_NODE", called_ae=called_ae, contexts=contexts, patience=PATIENCE
        ) as peer:
            return peer.echo() == 0
    return False


def wait_for(port: int, called_ae: str) -> None:
    deadline = time.monotonic() + 60
    while not echoes(port, called_ae):
        assert time.monotonic() < deadline, f"{called_ae} does not come up"
        time.sleep(0.1)


@pytest.mark.skipif(shutil.which("storescp") is None, reason="DCMTK is not installed (Debian package dcmtk)")
def test_every_stored_instance_goes_to_dcmtk_by_c_move_with_the_same_bytes(site: Site, tmp_path: Path) -> None:
    files = list(site.stored.values())
    expected = [each for each in files if is_for_dcmtk(each)]
    assert len(expected) > 200
    ask = tmp_path / "ask.dcm"
    ask.write_bytes(studies(files))
    received = tmp_path / "received"
    received.mkdir()
    scp = ["storescp", "-aet", "STORESCP", "+xa", "-pm", "+B", "-od", str(received), str(site.dcmtk)]
    with running(*scp, folder=tmp_path):
        wait_for(site.dcmtk, "STORESCP")
        moved = subprocess.run(
            [
                *("movescu", "-v", "-S", "-aet", "VIEWER", "-aec", "SBB_NODE", "-aem", "STORESCP"),
                *("127.0.0.1", str(site.node.port), str(ask)),
            ],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=300,
            check=False,
        )
    assert "Received Final Move Response" in moved.stdout + moved.stderr
    assert_same(data_sets_in(received), expected)


@pytest.mark.skipif(shutil.which("getscu") is None, reason="DCMTK is not installed (Debian package dcmtk)")
@pytest.mark.parametrize(
    ("option", "syntax"),
    [("+xe", "1.2.840.10008.1.2.1"), ("+xs", "1.2.840.10008.1.2.4.70"), ("+xd", "1.2.840.10008.1.2.1.99")],
)
def test_getscu_gets_what_is_stored_in_the_syntax_it_prefers(
    site: Site, tmp_path: Path, option: str, syntax: str
) -> None:
    stored = site.stored.values()
    others = {each.study for each in stored if each.syntax != syntax or not is_for_dcmtk(each)}
    some = sorted({each.study for each in stored} - others)[:10]
    files = [each for each in stored if each.study in some]
    assert files
    ask = tmp_path / "ask.dcm"
    ask.write_bytes(studies(files))
    received = tmp_path / "received"
    received.mkdir()
    done = subprocess.run(
        [
            *("getscu", "-v", "-S", option, "+B", "-od", str(received), "-aet", "VIEWER", "-aec", "SBB_NODE"),
            *("127.0.0.1", str(site.node.port), str(ask)),
        ],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert_same(data_sets_in(received), files)


def orthanc_get(port: int, path: str, body: bytes | None = None) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data=body, timeout=120) as answer:
        return bytes(answer.read())


@contextlib.contextmanager
def orthanc(site: Site, folder: Path) -> Iterator[int]:
    """Run Orthanc; give the port of its REST interface."""
    http = free_port()
    config = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": http,
        "DicomPort": site.orthanc,
        "DicomAet": "ORTHANC",
        "DicomModalities": {"node": ["SBB_NODE", "127.0.0.1", site.node.port]},
        "UnknownSopClassAccepted": True,
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(config))
    with running(ORTHANC, str(folder / "orthanc.json"), folder=folder):
        wait_for(site.orthanc, "ORTHANC")
        yield http


def held_by_orthanc(port: int) -> dict[str, bytes]:
    """Return the files that Orthanc has stored, by their SOP Instance UIDs."""
    files = (orthanc_get(port, f"/instances/{name}/file") for name in json.loads(orthanc_get(port, "/instances")))
    return {read_meta(io.BytesIO(file)).sop_instance_uid: file for file in files}


def data_set_in(file: bytes) -> bytes:
    return file[read_meta(io.BytesIO(file)).data_set_offset :]


def elements_of(file: bytes) -> Dataset:
    """Return what a file says, without the group lengths."""

    def drop(ds: Dataset, element: DataElement) -> None:
        if element.tag.element == 0:
            del ds[element.tag]

    ds = pydicom.dcmread(io.BytesIO(file))
    ds.walk(drop)
    return Dataset(ds)


@pytest.mark.skipif(not Path(ORTHANC).exists(), reason="Orthanc is not installed (Debian package orthanc)")
def test_every_stored_instance_goes_to_orthanc_by_c_move(site: Site, tmp_path: Path) -> None:
    stored = site.stored.values()
    # Orthanc falls silent on a data set of odd length.
    odd = {each.study for each in stored if len(each.data) % 2}
    files = [each for each in stored if each.study not in odd]
    one = next(each for each in files if each.syntax == "1.2.840.10008.1.2.4.70")
    with orthanc(site, tmp_path) as port:
        ask = {
            "Level": "Study",
            "Resources": [{"StudyInstanceUID": one.study}],
            "TargetAet": "ORTHANC",
            "Synchronous": True,
        }
        orthanc_get(port, "/modalities/node/move", json.dumps(ask).encode())
        assert one.uid in held_by_orthanc(port)
        with associated(site.node.port, [Proposed(STUDY_ROOT_MOVE, (IMPLICIT,))]) as viewer:
            end = last(viewer.move(viewer.context(STUDY_ROOT_MOVE), studies(files), destination="ORTHANC"))
        held = held_by_orthanc(port)
    assert (end.status, end.sub_operations) == (0, (0, len(files), 0, 0))
    changed = [each for each in files if data_set_in(held[each.uid]) != each.data]
    assert len(files) - len(changed) > 100
    # Orthanc writes these anew: group lengths left out, delimiters instead of lengths. What they say is the same.
    different = [each.uid for each in changed if elements_of(held[each.uid]) != elements_of(each.path.read_bytes())]
    assert {each.path.stem for each in changed if each.uid in different} == PUT_RIGHT_BY_ORTHANC
