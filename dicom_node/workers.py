"""Several receiving processes on one port: started, watched, replaced when they die, reloaded and drained together.

The port is opened once, here, and every process accepts from the same socket. So a connection waits for whoever is free
next, one that waits is not lost with a process that dies, the port stays the node's while a process is replaced, and
another program that has it is seen at once.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from struct import pack

from dicom_node import logs
from dicom_node.dimse.capacity import Places, make_table
from dicom_node.dimse.listener import FORCE
from dicom_node.errors import HostError, StorageUnavailableError
from dicom_node.logs import get_logger
from dicom_node.reception import Ports, capacity_of
from dicom_node.site import Site, Stores
from dicom_node.worker import Beat, Begin, Hurry, Stop, Take

log = get_logger(__name__)

PATIENCE = 60.0
"""Seconds for the first start, and without a word before a process is ended."""

TAKING = 15.0
"""Seconds for a new configuration to be taken; a process that has not taken it then is replaced."""

STEADY = 60.0
"""Seconds after which a process that dies does not count as one that keeps dying."""

OFTEN = 5
"""Deaths in a row, none of a steady process, from which on its place is unwell until one is steady."""

PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds before a process is started after so many deaths in a row; the last holds for all further ones."""

_SEND = 5
_MARGIN = 5.0
_TURN = 0.5
_DEAF_TO = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


class _Worker:
    """One receiving process that was started."""

    def __init__(self, number: int, files: tuple[int, ...]) -> None:
        """Start an interpreter that loads the program and waits to be told to begin. ``files`` are open in it too."""
        self.number = number
        self.began = self.heard = time.monotonic()
        self.last: Beat | None = None
        """What it said last; it accepts connections from its first word on."""
        ours, theirs = socket.socketpair()
        # A process that does not listen any more must not hold this one.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, pack("ll", _SEND, 0))
        with theirs:
            self.control = Connection(ours.detach())
            self.process = subprocess.Popen(  # noqa: S603 - this program itself
                [sys.executable, "-P", "-c", "from dicom_node.worker import main; main()", str(theirs.fileno())],
                pass_fds=(theirs.fileno(), *files),
                stdin=subprocess.DEVNULL,
                # The same modules as here, whatever the working folder holds.
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )

    @property
    def serial(self) -> int | None:
        """The configuration it works by, None before it accepts connections."""
        return None if self.last is None else self.last.serial

    def tell(self, message: object) -> bool:
        """Send a message; tell whether it left. A process that does not take it is ended."""
        try:
            self.control.send(message)
        except OSError:
            self.process.kill()
            return False
        return True


class Workers:
    """The receiving processes of a node."""

    def __init__(self, stores: Stores, ports: Ports, *, number: int, own_title: str) -> None:
        """Start ``number`` processes on open ports, which it closes when it stops; they wait for ``start``.

        This process must run the node of the archive. ``own_title`` is what the node's own check calls as.
        """
        self._stores = stores
        self._ports = ports
        self._own_title = own_title
        capacity = capacity_of(stores.site.settings)
        self._table = make_table(capacity)
        self._places = Places(capacity, self._table)
        self._site, self._serial = stores.site, 0
        self._changed = threading.Condition(threading.RLock())
        self._deaths = dict.fromkeys(range(1, number + 1), 0)
        """For each number, how many in a row died before they were steady."""
        self._due = dict.fromkeys(self._deaths, 0.0)
        self._living: dict[int, _Worker] = {}
        self._stopping = self._untidy = False
        self._thread = threading.Thread(target=self._supervise, name="workers", daemon=True)
        for each in self._deaths:
            self._launch(each)

    @property
    def associations(self) -> int:
        """Number of associations under way."""
        return self._places.associations

    @property
    def is_listening(self) -> bool:
        """Tell whether any process accepts connections."""
        with self._changed:
            return any(worker.last is not None for worker in self._living.values())

    @property
    def is_well(self) -> bool:
        """Tell whether every process accepts connections and none keeps dying."""
        with self._changed:
            return (
                self._thread.is_alive()
                and all(deaths < OFTEN for deaths in self._deaths.values())
                and len(self._ready()) == len(self._deaths)
            )

    def start(self) -> None:
        """Accept connections from now on; returns when every process does. Raises HostError when not all will."""
        with self._changed:
            for worker in self._living.values():
                self._begin(worker)
            self._thread.start()
            if self._changed.wait_for(lambda: len(self._ready()) == len(self._deaths), PATIENCE):
                return
        self.stop(0.0, threading.Event())
        raise HostError("the receiving processes did not start; the log says why")

    def take(self, site: Site) -> None:
        """Have every process work by another configuration; returns when all do. One that does not is replaced."""
        with self._changed:
            self._site, self._serial = site, self._serial + 1
            message = Take(self._serial, _for_workers(site))
            for worker in self._living.values():
                worker.tell(message)
            if not self._changed.wait_for(self._have_taken, TAKING):
                for worker in self._living.values():
                    if worker.serial != self._serial:
                        worker.process.kill()

    def stop(self, grace: float, hurry: threading.Event) -> None:
        """Stop accepting, let associations end for up to ``grace`` seconds or until ``hurry``, then cut them."""
        with self._changed:
            self._stopping = True
            self._ports.close()
            for worker in self._living.values():
                if worker.last is None:
                    worker.process.kill()
                else:
                    worker.tell(Stop(grace))
        if self._thread.is_alive():
            self._thread.join()
        deadline = time.monotonic() + grace + 2 * FORCE + _MARGIN
        is_hurried = False
        while self._living and time.monotonic() < deadline:
            if hurry.is_set() and not is_hurried:
                is_hurried = True
                deadline = min(deadline, time.monotonic() + 2 * FORCE + _MARGIN)
                for worker in self._living.values():
                    worker.tell(Hurry())
            self._listen(_TURN)
        with self._changed:
            for worker in [*self._living.values()]:
                log.error("worker.silent", worker=worker.number, process=worker.process.pid)
                worker.process.kill()
                self._bury(worker)
        self._tidy()
        os.close(self._table)

    def _supervise(self) -> None:
        while not self._stopping:
            self._listen(_TURN)
            with self._changed:
                now = time.monotonic()
                for number, due in self._due.items():
                    if number not in self._living and now >= due and not self._stopping:
                        try:
                            self._begin(self._launch(number))
                        except OSError as error:
                            self._try_again(number, f"cannot be started: {error.strerror}")
                for worker in self._living.values():
                    if now - worker.heard > PATIENCE:
                        log.error("worker.silent", worker=worker.number, process=worker.process.pid)
                        worker.process.kill()
                    elif now - worker.began > STEADY:
                        self._deaths[worker.number] = 0
            self._tidy()

    def _tidy(self) -> None:
        """Clear away what dead processes left: after their successors were started, and while nobody waits for it."""
        if self._untidy:
            self._untidy = False
            try:
                self._stores.archive.sweep()
            except StorageUnavailableError as error:
                log.warning("spool.not_swept", reason=str(error))  # the next start or the next death clears it

    def _listen(self, seconds: float) -> None:
        """Hear what processes say, waiting for the first word."""
        speaking = {worker.control: worker for worker in self._living.values()}
        if not speaking:
            time.sleep(seconds)
            return
        for control in wait([*speaking], seconds):
            worker = speaking[control]  # type: ignore[index] # only connections were given
            with self._changed:
                try:
                    beat = worker.control.recv()
                except (EOFError, OSError):
                    self._bury(worker)
                    continue
                assert isinstance(beat, Beat)
                if worker.last is None:
                    log.info("worker.listening", worker=worker.number, process=worker.process.pid)
                worker.last, worker.heard = beat, time.monotonic()
                self._changed.notify_all()

    def _launch(self, number: int) -> _Worker:
        ports = (port.fileno() for port in self._ports)
        files = (*ports, self._table, self._stores.archive.claims.node_lock)
        # Signals are for the node's process alone. A mask passes on to a new process, where nothing is ready yet.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _DEAF_TO)
        try:
            worker = self._living[number] = _Worker(number, files)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return worker

    def _begin(self, worker: _Worker) -> None:
        worker.heard = time.monotonic()
        level, form = logs.in_force()
        worker.tell(
            Begin(
                number=worker.number,
                site=_for_workers(self._site),
                serial=self._serial,
                archive_id=self._stores.archive.archive_id,
                ports=self._ports.files,
                workers=len(self._deaths),
                places=self._table,
                own_title=self._own_title,
                level=level,
                form=form,
            )
        )

    def _bury(self, worker: _Worker) -> None:
        """Put away a process that has ended or is ending, and what it held."""
        number = worker.number
        del self._living[number]
        worker.control.close()
        try:
            code = worker.process.wait(_MARGIN)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            code = worker.process.wait()
        self._places.vacate(number)
        self._changed.notify_all()
        if self._stopping and code == 0:
            return
        self._untidy = True
        if time.monotonic() - worker.began > STEADY:
            self._deaths[number] = 0
        how = f"ended by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with exit code {code}"
        self._try_again(number, how, process=worker.process.pid)

    def _try_again(self, number: int, reason: str, **details: int) -> None:
        """Note one more failure, and when the next process is to be started."""
        pause = PAUSES[min(self._deaths[number], len(PAUSES) - 1)]
        self._deaths[number] += 1
        self._due[number] = time.monotonic() + pause
        log.error("worker.died", worker=number, reason=reason, count=self._deaths[number], seconds=pause, **details)

    def _ready(self) -> list[_Worker]:
        return [worker for worker in self._living.values() if worker.last is not None and worker.last.well]

    def _have_taken(self) -> bool:
        return all(worker.serial == self._serial for worker in self._living.values())


def _for_workers(site: Site) -> Site:
    """Return a configuration without the channels: receiving needs none, nor their secrets."""
    return replace(site, channels=())
