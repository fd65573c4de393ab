"""Who takes part: how each receiver is started, and what it guarantees when it answers Success.

Peers are started at their best: PDUs of 128 KiB, and TCP_NODELAY, which DCMTK as packaged leaves off unless the
environment asks for it; without it they need 40 ms more for each instance.
"""

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.node import node_command
from benchmarks.wire import CALLED_AE, LARGEST_UNIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A receiver. ``command`` gives its command line for a port and an empty folder."""

    name: str
    guarantee: str
    """What is so when it answers Success, in a few words; what it flushes was seen by tracing it."""
    command: Callable[[int, Path], list[str]]
    is_present: Callable[[], bool] = field(default=lambda: True)
    finds: bool = False
    """It answers C-FIND, so a run counts only if C-FIND sees every instance."""
    keeps: bool = True
    """It keeps what it takes, so a run counts only if every instance is there."""
    share: int = 1
    """It is sent one in so many of the instances: it is slow, and its rate shows soon."""
    environment: dict[str, str] = field(default_factory=lambda: {"TCP_NODELAY": "1"})


def program(name: str) -> str | None:
    """Return the path of an installed program, looked for outside the virtual environment."""
    own = str(Path(sys.executable).parent)
    folders = [each for each in os.environ.get("PATH", os.defpath).split(os.pathsep) if each != own]
    return shutil.which(name, path=os.pathsep.join([*folders, "/usr/sbin"]))


def _floor(port: int, folder: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.floor", str(port), str(_made(folder / "files"))]


def _receiver(port: int, folder: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.receiver", str(port), str(folder / "archive")]


def _storescp(port: int, folder: Path) -> list[str]:
    files = str(_made(folder / "files"))
    return [program("storescp") or "storescp", "-q", "-od", files, "+B", "--max-pdu", str(LARGEST_UNIT), str(port)]


def _orthanc(port: int, folder: Path) -> list[str]:
    config = {
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "StorageCompression": False,
        "SyncStorageArea": True,
        "HttpServerEnabled": False,
        "DicomPort": port,
        "DicomAet": CALLED_AE,
        "DicomAlwaysAllowFind": True,
        "DicomThreadsCount": 8,
        "MaximumPduLength": LARGEST_UNIT,
        "UnknownSopClassAccepted": True,
        "Plugins": [],
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return [program("Orthanc") or "Orthanc", str(path)]


def _pynetdicom(port: int, folder: Path) -> list[str]:
    files = str(_made(folder / "files"))
    return [sys.executable, "-m", "pynetdicom", "storescp", "-q", "-od", files, "-pdu", str(LARGEST_UNIT), str(port)]


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


CONTENDERS = {
    each.name: each
    for each in (
        Contender(
            name="ours",
            guarantee="checked, indexed and on disk",
            command=node_command,
            finds=True,
        ),
        Contender(
            name="floor",
            guarantee="file on disk; no check, no index",
            command=_floor,
        ),
        Contender(
            name="floor-early",
            guarantee="file on disk; no check, no index",
            command=lambda port, folder: [*_floor(port, folder), "--early"],
        ),
        Contender(
            name="orthanc",
            guarantee="file on disk; its index row may be lost",
            command=_orthanc,
            is_present=lambda: program("Orthanc") is not None,
            finds=True,
        ),
        Contender(
            name="storescp",
            guarantee="nothing on disk; no check, no index",
            command=_storescp,
            is_present=lambda: program("storescp") is not None,
        ),
        Contender(
            name="pynetdicom",
            guarantee="nothing on disk; no index",
            command=_pynetdicom,
            is_present=lambda: importlib.util.find_spec("pynetdicom") is not None,
            share=4,
        ),
        Contender(
            name="receiver",
            guarantee="our receiver alone: file in the page cache; no digest, no check, no flush, no index, no log",
            command=_receiver,
        ),
        Contender(
            name="discard",
            guarantee="nothing: what the sender can do",
            command=lambda port, folder: [*_floor(port, folder), "--discard"],
            keeps=False,
        ),
    )
}
"""By name, in the order of the tables."""
