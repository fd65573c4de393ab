"""Files that nobody here made, sent by DCMTK as its users would: stored byte for byte, found by unit and date."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import FileDataset

from tests import raw_peer
from tests.archives import received_files
from tests.live import CONFIG, LiveNode, live_node
from tests.raw_peer import RawPeer
from tests.recorder import Recorder

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("storescu") is None, reason="DCMTK is not installed (Debian package dcmtk)"),
]

REAL = Path(os.environ.get("DICOM_NODE_REAL_DATA", Path(__file__).parents[2].parent / "shared" / "data" / "real"))

DICTIONARY = next(Path("/usr/share").glob("libdcmtk*/dicom.dic"), Path("/usr/share/dcmtk/dicom.dic"))
"""DCMTK's own dictionary."""

PROPOSALS = {
    "1.2.840.10008.1.2": "-xi",
    "1.2.840.10008.1.2.1": "-xe",
    "1.2.840.10008.1.2.2": "-xb",
    "1.2.840.10008.1.2.1.99": "-xd",
    "1.2.840.10008.1.2.4.50": "-xy",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.81": "-xu",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
    "1.2.840.10008.1.2.5": "-xr",
}
"""What storescu is told to propose for a file's transfer syntax."""


def files_of(kind: str) -> list[Path]:
    return sorted((REAL / kind).glob("*.dcm"))


def send(path: Path, port: int, *options: str, aet: str = "PRONE_RM2") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["storescu", "-R", *options, "-aet", aet, "-aec", "SBB_NODE", "127.0.0.1", str(port), str(path)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        check=False,
    )


def find(node: LiveNode, model: str, **keys: str) -> list[FileDataset]:
    """Ask by DCMTK's findscu and read what it extracted; one data set an answer."""
    options = [option for keyword, value in keys.items() for option in ("-k", f"{keyword}={value}")]
    folder = node.folder / "found"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    dictionary = folder.with_name("private.dic")  # without it findscu does not know how to write a private key
    dictionary.write_text('(0079,"DICOM_NODE",01)\tLO\tUnitID\t1\tPrivateTag\n')
    command = ["findscu", model, "-X", "-od", str(folder), "-aet", "PACS", "-aec", "SBB_NODE"]
    subprocess.run(
        [*command, *options, "127.0.0.1", str(node.port)],
        check=True,
        timeout=60,
        capture_output=True,
        env={**os.environ, "DCMDICTPATH": f"{DICTIONARY}:{dictionary}"},
    )
    return [pydicom.dcmread(path, force=True) for path in sorted(folder.iterdir())]


def need_files() -> None:
    if not REAL.is_dir():
        pytest.skip(f"the real files are not at {REAL} (DICOM_NODE_REAL_DATA)")


@dataclass(frozen=True)
class Filled:
    """A node and what was sent to it."""

    node: LiveNode
    digests: dict[Path, str]
    """Of the data set of each file as it was sent."""
    by_dcmtk: int
    """How many of them storescu sent; the others it cannot propose, or cannot read."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """A node that was sent every good and every conflicting file, and answered Success to each."""
    need_files()
    with live_node(tmp_path_factory.mktemp("filled")) as node:
        sent: dict[Path, str] = {}
        left: list[Path] = []
        with Recorder(node.port) as relay:
            for path in files_of("good") + files_of("conflict"):
                option = PROPOSALS.get(pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID)
                before = len(relay.recorded.digests)
                result = send(path, relay.port, option) if option else None
                if len(relay.recorded.digests) == before:
                    left.append(path)
                    continue
                assert result is not None
                assert result.returncode == 0, (path.name, result.stderr)
                sent[path] = relay.recorded.digests[-1]
            assert set(relay.recorded.statuses) == {0}
        by_dcmtk = len(sent)
        yield Filled(node, sent | {path: send_as_it_is(path, node.port) for path in left}, by_dcmtk)


def stored_digests(node: LiveNode) -> set[str]:
    """The digests of the data sets on disk, worked out anew by pydicom's reading of the file meta."""
    digests = set()
    for path in (node.data / "objects").rglob("*.dcm"):
        with path.open("rb") as file:
            pydicom.filereader.read_preamble(file, force=False)
            pydicom.filereader._read_file_meta_info(file)
            digest = hashlib.sha256(file.read()).hexdigest()
        assert path.stem == digest
        digests.add(digest)
    return digests


def send_as_it_is(path: Path, port: int) -> str:
    """Send a file's data set byte for byte, without any library; return its digest."""
    ds = pydicom.dcmread(path, stop_before_pixels=True)
    with path.open("rb") as file:
        pydicom.filereader.read_preamble(file, force=False)
        pydicom.filereader._read_file_meta_info(file)
        data = file.read()
    with RawPeer(port, contexts=[(ds.SOPClassUID, [ds.file_meta.TransferSyntaxUID])]) as peer:
        peer.send(raw_peer.message(1, raw_peer.store_request(ds.SOPClassUID, ds.SOPInstanceUID), data))
        assert peer.read_response()[0].status == 0, path.name
        peer.release()
    return hashlib.sha256(data).hexdigest()


def test_every_good_and_conflicting_file_is_stored_as_sent_and_found(filled: Filled) -> None:
    node, sent = filled.node, filled.digests
    assert filled.by_dcmtk > 200
    assert len(sent) - filled.by_dcmtk < 30
    assert set(sent.values()) <= stored_digests(node)
    served: set[str] = set()
    for path in sent:
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        keys = {
            "StudyInstanceUID": ds.StudyInstanceUID,
            "SeriesInstanceUID": ds.SeriesInstanceUID,
            "SOPInstanceUID": ds.SOPInstanceUID,
        }
        images = find(node, "-S", QueryRetrieveLevel="IMAGE", **keys, InstanceNumber="")
        found = [image.SOPInstanceUID for image in images]
        # A conflicting file may name another study or series for an instance that is taken: the first stays served.
        assert found == [ds.SOPInstanceUID] or (path.parent.name == "conflict" and found == []), path.name
        served.update(found)
    assert served == {pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in sent}


def test_the_study_of_every_good_file_is_found_by_its_unit_and_date(filled: Filled) -> None:
    node = filled.node
    good = [path for path in filled.digests if path.parent.name == "good"]
    uids = {pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID: path.name for path in good}
    private = {"0079,0010": "DICOM_NODE"}
    for study_uid, name in uids.items():
        mine = {
            "QueryRetrieveLevel": "STUDY",
            "StudyInstanceUID": study_uid,
            **private,
            "0079,1005": "",
            "0079,1001": "",
        }
        (study,) = find(node, "-S", **mine)
        units, days = str(study[0x0079, 0x1001].value), str(study[0x0079, 0x1005].value)
        first_day = days.split("\\", maxsplit=1)[0]
        again = find(
            node,
            "-S",
            QueryRetrieveLevel="STUDY",
            StudyInstanceUID="",
            AcquisitionDate=first_day,
            **private,
            **{"0079,1001": units.split("\\", maxsplit=1)[0]},
        )
        assert study_uid in {found.StudyInstanceUID for found in again}, name


def test_nasty_files_get_some_answer_and_leave_index_and_files_in_agreement(tmp_path: Path) -> None:
    need_files()
    with live_node(tmp_path, config=CONFIG.replace("[storage]", "workers = 1\n\n[storage]")) as node:
        for path in files_of("nasty"):
            for option in ("-xe", "-xs"):
                send(path, node.port, option)
        assert node.process is not None
        assert node.process.poll() is None
        assert send(files_of("good")[0], node.port, "-xe").returncode in (0, 1)
        assert node.stop() == 0
        assert received_files(node.data) == []
        node.start()
        assert '"indexed": 0, "missing": 0, "unreadable": 0' in node.log.read_text().rsplit("node.stopped", 1)[-1]
