"""A receiving process beside the node's own: what runs in it, and what the two say to each other.

``workers.py`` starts it in an interpreter of its own that inherits open files: the control connection, the open
ports and the table of places. It reads no configuration: whatever it works by,
the node's process has accepted and handed over. It hears no signals either, and ends at once when that process does.
"""

import os
import sys
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection

from dicom_node import logs
from dicom_node.dimse.capacity import Places
from dicom_node.errors import NodeError
from dicom_node.logs import get_logger
from dicom_node.reception import Ports, Reception, capacity_of
from dicom_node.services.review import last_review
from dicom_node.site import Site, Stores, join_stores, utc_now

log = get_logger(__name__)

BEAT = 2.0
"""Seconds between two words of a process to the one that supervises it."""

_CLOSING_TURN = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """The first thing a process is told."""

    number: int
    """Its number among the receiving processes, from 1."""
    site: Site
    serial: int
    """Of this configuration; each later one has a higher one."""
    archive_id: str
    ports: tuple[int | None, int | None]
    """File descriptors of the open ports, see ``Ports.files``."""
    workers: int
    """How many processes there are."""
    places: int
    """File descriptor of the table of places."""
    own_title: str
    level: logs.Level
    form: logs.Format


@dataclass(frozen=True, slots=True)
class Take:
    """Work by this configuration; the next words carry its serial."""

    serial: int
    site: Site


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop accepting, let associations end for so many seconds, and end."""

    grace: float


@dataclass(frozen=True, slots=True)
class Hurry:
    """End the time that associations have."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What a process says every ``BEAT`` seconds from when it accepts connections."""

    well: bool
    serial: int
    """Of the configuration it works by."""


def work(control: Connection) -> None:
    """Serve until told to stop. When the node's process ends without that, this one ends on the spot."""
    try:
        begin = control.recv()
    except EOFError:
        return
    assert isinstance(begin, Begin)
    logs.configure(level=begin.level, form=begin.form, worker=begin.number)
    stores = join_stores(begin.site, begin.archive_id)
    reception = Reception(
        stores,
        Ports.inherited(begin.ports),
        places=Places(capacity_of(begin.site.settings), begin.places, begin.number, begin.workers),
        own_title=begin.own_title,
        now=utc_now,
    )
    reception.start()
    serial, hurry = begin.serial, threading.Event()
    closing: threading.Thread | None = None
    try:
        while closing is None or closing.is_alive():
            if closing is None:
                control.send(Beat(well=reception.is_well and _index_answers(stores), serial=serial))
            if not control.poll(BEAT if closing is None else _CLOSING_TURN):
                continue
            match control.recv():
                case Take() as taken:
                    reception.take(taken.site)
                    serial = taken.serial
                case Stop(grace=grace):
                    closing = threading.Thread(target=reception.stop, args=(grace, hurry))
                    closing.start()
                case Hurry():
                    hurry.set()
    except (EOFError, OSError):
        # Nobody supervises this any more, and another node may want the port and the archive. What is not acknowledged
        # yet is not promised, and what a process leaves behind is put right by the next start.
        log.error("worker.orphaned")
        os._exit(1)
    stores.close()


def main() -> None:
    """Run the process; its one argument is the file descriptor of the control connection."""
    try:
        work(Connection(int(sys.argv[1])))
    except Exception:  # the last place that can say why
        log.exception("worker.failed")
        os._exit(1)  # threads of associations would hold up an orderly end


def _index_answers(stores: Stores) -> bool:
    try:
        with stores.index.read() as conn:
            last_review(conn)
    except NodeError as error:
        log.error("node.unwell", reason=str(error))
        return False
    return True
