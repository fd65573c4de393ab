"""A whole node as its users run it: the real command in its own process, on a free port, in a folder of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

CONFIG = """\
config_version = 1

[facility]
name = "Synthetic Center"
time_zone = "America/Chicago"

[node]
ae_title = "SBB_NODE"
bind = "127.0.0.1"
port = {port}
drain = "5 s"

[storage]
path = "data"
min_free = "1 MiB"

[units.prone1]
label = "Prone table, room 2"
kind = "prone"
phantom_patient_ids = ["ACRPHANTOM*"]
[[units.prone1.identity]]
ae_title = "PRONE_RM2"
host = ["127.0.0.0/8", "::1"]

[units.upright_a]
label = "Upright A, room 4"
kind = "upright"
[[units.upright_a.identity]]
ae_title = "UPRIGHT_A"
host = ["127.0.0.0/8", "::1"]
device_serial = "UA-1002"

[peers.pacs]
ae_title = "PACS"
host = ["127.0.0.0/8", "::1"]
allow = ["echo", "find"]

[alerts]
settle = "1 s"
digest = "off"
"""


def free_port() -> int:
    """Return a TCP port of the loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LiveNode:
    """A node in a process of its own. ``start`` may be called again after ``kill`` or ``stop``."""

    def __init__(self, folder: Path, *, more: str = "", config: str = CONFIG) -> None:
        self.folder = folder
        self.port = free_port()
        self.config = folder / "dicom-node.toml"
        self.config.write_text(config.format(port=self.port) + more, encoding="utf-8")
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self._logged = 0

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self, *, wait: bool = True) -> None:
        with self.log.open("ab") as log:
            self._logged = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dicom_node", "--config", str(self.config), "serve", "--create"],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            self.wait_until_up()

    def wait_until_up(self, seconds: float = 60.0) -> None:
        assert self.process is not None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if b"\nCtrl-C stops.\n" in self.log.read_bytes()[self._logged :]:
                return
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError("the node did not come up:\n" + self.log.read_text())

    def kill(self) -> None:
        """End every process of the node as a power cut of the machine would: at once."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)

    def stop(self) -> int:
        """Ask the node to stop; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def command(self, *arguments: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run a command of the node's with its configuration."""
        return subprocess.run(
            [sys.executable, "-m", "dicom_node", "--config", str(self.config), *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@contextlib.contextmanager
def live_node(folder: Path, *, more: str = "", config: str = CONFIG) -> Iterator[LiveNode]:
    """Run a node for the length of a block."""
    node = LiveNode(folder, more=more, config=config)
    node.start()
    try:
        yield node
    finally:
        node.kill()
