"""Clients of other makers, as their users run them: dcmjs-dimse (JavaScript) and GDCM's gdcmscu."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from tests.archives import wait_until
from tests.factories import make_stereo_pair, write_file
from tests.live import LiveNode, free_port, live_node

ROOT = Path(__file__).parents[2]
MODULES = ROOT / ".ci" / "clients" / "node_modules"
SCRIPT = Path(__file__).with_name("dcmjs_client.js")

pytestmark = pytest.mark.interop

needs_dcmjs = pytest.mark.skipif(
    shutil.which("node") is None or not (MODULES / "dcmjs-dimse").is_dir(),
    reason="dcmjs-dimse is not installed (Debian packages nodejs and npm; npm install --prefix .ci/clients)",
)
needs_gdcm = pytest.mark.skipif(
    shutil.which("gdcmscu") is None, reason="GDCM is not installed (Debian package libgdcm-tools)"
)

MORE = """
[peers.dcmjs]
ae_title = "DCMJS"
host = "127.0.0.1"
port = {dcmjs}
allow = ["echo", "find", "get", "move", "move-destination"]
[peers.gdcm]
ae_title = "GDCM"
host = "127.0.0.1"
port = {gdcm}
allow = ["echo", "find", "move", "move-destination"]
"""


class Facility:
    """A node that knows both clients, and a file of a biopsy for each."""

    def __init__(self, node: LiveNode, ports: dict[str, int], files: list[Path], pair: tuple[Dataset, Dataset]) -> None:
        self.node, self.ports, self.files = node, ports, files
        self.study = str(pair[0].StudyInstanceUID)
        self.instances = sorted(str(ds.SOPInstanceUID) for ds in pair)


@pytest.fixture(scope="module")
def facility(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facility]:
    folder = tmp_path_factory.mktemp("clients")
    ports = {"dcmjs": free_port(), "gdcm": free_port()}
    pair = make_stereo_pair(StationName="TABLE2")
    files = [write_file(folder / f"{number}.dcm", ds) for number, ds in enumerate(pair)]
    with live_node(folder, more=MORE.format(**ports)) as node:
        yield Facility(node, ports, files, pair)


def dcmjs(facility: Facility, *arguments: str) -> Any:
    """Run one request of dcmjs-dimse and return what came of it."""
    done = subprocess.run(
        ["node", SCRIPT, MODULES, str(facility.node.port), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@needs_dcmjs
def test_dcmjs_verifies_stores_finds_and_retrieves(facility: Facility) -> None:
    assert dcmjs(facility, "echo")["statuses"] == ["0000"]
    for path in facility.files:
        assert dcmjs(facility, "store", str(path))["statuses"] == ["0000"]
    asked = {
        "StationName": "TABLE2",
        "StudyInstanceUID": "",
        "AcquisitionDate": "",
        "NumberOfStudyRelatedInstances": "",
    }
    found = dcmjs(facility, "find", json.dumps(asked))
    assert found["statuses"][-1] == "0000"
    (answer,) = (each for each in found["answers"] if each["StudyInstanceUID"] == facility.study)
    assert int(answer["NumberOfStudyRelatedInstances"]) == 2
    for kind, more in (("get", ()), ("move", (str(facility.ports["dcmjs"]),))):
        done = dcmjs(facility, kind, facility.study, *more)
        assert done["statuses"][-1] == "0000", done
        assert done["counts"] == [2, 0, 0]
        assert sorted(done["received"]) == facility.instances


def gdcmscu(facility: Facility, *options: str, title: str = "GDCM") -> None:
    """Run gdcmscu once.

    Debian's gdcmscu ends by an exception of its own after every release, whoever the peer is, and writes no results
    then: its exit code says nothing, so what it asked and how that ended is read from the node's log.
    """
    subprocess.run(
        ["gdcmscu", "--aetitle", title, "--call", "SBB_NODE", *options, "127.0.0.1", str(facility.node.port)],
        capture_output=True,
        timeout=60,
        check=False,
        cwd=facility.node.folder,  # where it leaves what it retrieves
    )


def logged(node: LiveNode, event: str, calling_ae: str) -> list[dict[str, Any]]:
    """Return what the node's log tells of a caller's events of one name."""
    lines = (json.loads(line) for line in node.log.read_text().splitlines() if line.startswith("{"))
    return [line for line in lines if (line["event"], line.get("calling_ae")) == (event, calling_ae)]


@needs_gdcm
def test_gdcmscu_verifies_stores_finds_and_retrieves(facility: Facility) -> None:
    node = facility.node
    gdcmscu(facility, "--echo")
    wait_until(lambda: len(logged(node, "association.released", "GDCM")) == 1)
    for path in facility.files:
        gdcmscu(facility, "--store", "-i", str(path), title="PRONE_RM2")
    stored = [line for line in logged(node, "instance.stored", "PRONE_RM2") if line["study_uid"] == facility.study]
    assert {line["sop_uid"] for line in stored} == set(facility.instances)
    gdcmscu(facility, "--find", "--studyroot", "--study", "--key", f"20,d={facility.study}")
    (query,) = logged(node, "query.answered", "GDCM")
    assert (query["matches"], query["status"]) == (1, "0000")
    gdcmscu(
        facility, "--move", "--studyroot", "--study", "--key", f"20,d={facility.study}",
        "--port-scp", str(facility.ports["gdcm"]),
    )  # fmt: skip
    (retrieved,) = logged(node, "retrieve.answered", "GDCM")
    assert (retrieved["status"], retrieved["instances"]) == ("0000", 2)
