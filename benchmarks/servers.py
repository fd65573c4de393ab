"""A receiver that runs for a measurement, in a folder of its own, and what it costs the machine."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import Contender

_CHECKOUT = Path(__file__).resolve().parents[1]
_TICKS = os.sysconf("SC_CLK_TCK")

_PAUSE = 0.05
"""Seconds between two looks at whether a server is still busy; one that uses more than a tick in them is."""

_PATIENCE = 2.0
"""Seconds to wait until a server is not busy any more."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of one process, in MiB."""

    now: float = 0.0
    peak: float = 0.0


class Server:
    """A running contender. ``folder`` holds all it stores."""

    def __init__(self, contender: Contender, folder: Path, patience: float) -> None:
        """Start it in a session of its own; raises RuntimeError when it does not listen within ``patience`` seconds."""
        self.contender = contender
        self.folder = folder
        self.port = free_port()
        self._log = folder / "log"
        command = contender.command(self.port, folder)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=_CHECKOUT,
                env={**os.environ, **contender.environment},
            )
        try:
            began = time.monotonic()
            self._wait_until_it_listens(patience)
            self.started_in = time.monotonic() - began
        except BaseException:
            self.stop()
            raise

    def cpu_seconds(self) -> float:
        """Return the processor time of all its processes so far, those that ended included."""
        total = 0
        for fields in self._processes().values():
            total += sum(int(field) for field in fields[11:15])  # utime, stime, and those of collected children
        return total / _TICKS

    def settled_cpu_seconds(self) -> float:
        """Return the processor time once the server rests: what it puts off until after its answers counts as well."""
        deadline = time.monotonic() + _PATIENCE
        before = self.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(_PAUSE)
            now = self.cpu_seconds()
            if now - before <= 1 / _TICKS:
                return now
            before = now
        return before

    def forget_peak(self) -> None:
        """Count the peak of memory from now on."""
        for pid in self._processes():
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): resets VmHWM

    def memory(self) -> dict[int, Memory]:
        """Return the memory of each of its processes that runs now, by process id."""
        found = {}
        for pid in self._processes():
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmHWM", "VmRSS"))}
                found[pid] = Memory(int(values.get("VmRSS", 0)) / 1024, int(values.get("VmHWM", 0)) / 1024)
        return found

    def stop(self) -> None:
        """End every process of it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20)

    def _wait_until_it_listens(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        words = self._log.read_text(errors="replace")[-600:]
        raise RuntimeError(f"{self.contender.name} does not listen:\n{words}")

    def _processes(self) -> dict[int, list[str]]:
        """Return the fields of /proc/PID/stat from the state on, of each process of its session (proc(5))."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    if int(fields[3]) == self._process.pid:
                        found[int(entry.name)] = fields
        return found


@contextlib.contextmanager
def running(contender: Contender, parent: Path) -> Iterator[Server]:
    """Run a contender on an empty store for the length of a block; the store is removed and the disk settled."""
    folder = Path(tempfile.mkdtemp(prefix=f"{contender.name}-", dir=parent))
    try:
        with started(contender, folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.sync()


@contextlib.contextmanager
def started(contender: Contender, folder: Path, *, patience: float = 60.0) -> Iterator[Server]:
    """Run a contender on what ``folder`` holds for the length of a block."""
    server = Server(contender, folder, patience)
    try:
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """Return a TCP port of the loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
