"""Orthanc as a peer: a real DICOM server that stores, asks and retrieves as it is told by its REST interface."""

import contextlib
import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.archives import wait_until
from tests.live import free_port

TITLE = "ORTHANC"


@dataclass
class Orthanc:
    """A running Orthanc of the AE title ``TITLE``; the node is its modality ``node``."""

    dicom_port: int
    web_port: int

    def ask(self, path: str, body: Any = None) -> Any:
        """Do a GET, or with a body (JSON, or bytes as they are) a POST, and return the JSON of the answer."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.web_port}{path}", data)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def upload(self, path: Path) -> str:
        """Give it a file; return its own id of the instance."""
        return str(self.ask("/instances", path.read_bytes())["ID"])


@contextlib.contextmanager
def orthanc(folder: Path, *, node_port: int, node_title: str = "SBB_NODE", dicom_port: int = 0) -> Iterator[Orthanc]:
    """Run one for the length of a block; the test is skipped where it is not installed."""
    found = shutil.which("Orthanc", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))
    if found is None:
        pytest.skip("Orthanc is not installed")
    folder.mkdir(exist_ok=True)
    peer = Orthanc(dicom_port or free_port(), free_port())
    config = {
        "Name": TITLE,
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "HttpPort": peer.web_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": TITLE,
        "DicomPort": peer.dicom_port,
        "DicomAlwaysAllowStore": True,
        "DicomModalities": {"node": {"AET": node_title, "Host": "127.0.0.1", "Port": node_port}},
        "Plugins": [],
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([found, str(path)], stdout=log, stderr=log)
    try:
        wait_until(lambda: _answers(peer, process, folder / "log"))
        yield peer
    finally:
        process.kill()
        process.wait()


def _answers(peer: Orthanc, process: "subprocess.Popen[bytes]", log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        peer.ask("/system")
    except OSError:
        return False
    return True
