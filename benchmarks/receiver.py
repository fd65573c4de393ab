"""The node's receiver without digest, check, flush, index and log, to be held against one that does none of these.

    python -m benchmarks.receiver PORT FOLDER

Reading, cutting and the answers are the product's own; in the place of the store service stands one that writes each
instance to a file, as DCMTK's storescp does with ``+B``. It exists for measuring: the node itself has no such switch.
"""

import itertools
import os
import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.wire import CALLED_AE, CALLING_AE
from dicom_node import logs
from dicom_node.dicom.facts import Provenance
from dicom_node.dicom.part10 import build_preamble_and_meta
from dicom_node.dicom.uids import is_uid
from dicom_node.dimse.access import AccessList, Caller
from dicom_node.dimse.association import Wire
from dicom_node.dimse.capacity import Capacity, Places
from dicom_node.dimse.contexts import ContextTable
from dicom_node.dimse.limits import Limits
from dicom_node.dimse.listener import Listener
from dicom_node.dimse.pdu import Command
from dicom_node.dimse.port import open_port
from dicom_node.dimse.serving import AcceptedContext
from dicom_node.dimse.store import Tally

_REFUSED = 0xA700
_VIEWS_AT_ONCE = 1024  # IOV_MAX on Linux
_numbers = itertools.count(1)


class Files:
    """A store service that puts each instance into a file of one folder, in the page cache."""

    def __init__(self, folder: int, contexts: Mapping[int, AcceptedContext], caller: Provenance) -> None:
        self.tally = Tally()
        self._folder = folder
        self._contexts = contexts
        self._caller = caller

    def begin(self, command: Command, context_id: int) -> "File":
        """Open the file of an instance and write its head."""
        context = self._contexts[context_id]
        name = command.affected_sop_instance_uid
        if not is_uid(name) or command.affected_sop_class_uid != context.sop_class_uid:
            raise ValueError("the benchmarks' sender sends no such command")
        head = build_preamble_and_meta(context.sop_class_uid, name, context.transfer_syntax_uid, self._caller)
        return File(self.tally, name, head, self._folder)


class File:
    """One instance on its way in."""

    def __init__(self, tally: Tally, name: str, head: bytes, folder: int) -> None:
        self._tally = tally
        self._size = 0
        self._whole = True
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        self._file = os.open(f"{next(_numbers)}-{name}", flags, 0o640, dir_fd=folder)
        self.write(memoryview(head))

    def write(self, *data: memoryview) -> None:
        """Write views of the receive buffer; what cannot be written is told by ``finish``."""
        for at in range(0, len(data), _VIEWS_AT_ONCE):
            views = data[at : at + _VIEWS_AT_ONCE]
            size = os.writev(self._file, views)
            self._whole = self._whole and size == sum(map(len, views))
            self._size += size

    def finish(self) -> tuple[int, str]:
        """Close the file and answer."""
        self.discard()
        if not self._whole:
            return _REFUSED, "a file was not written whole"
        self._tally.instances += 1
        self._tally.size += self._size
        return 0, ""

    def discard(self) -> None:
        """Close the file."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def main() -> None:
    """Listen until SIGTERM."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    logs.configure(level="warning", form="json")
    folder.mkdir()
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def make_store(*, contexts: Mapping[int, AcceptedContext], caller: Provenance, **_: object) -> Files:
        return Files(opened, contexts, caller)

    bench = Caller(name="bench", ae_title=CALLING_AE, hosts=(), services=frozenset({"store"}))
    wire = Wire(
        access=AccessList([bench], [CALLED_AE]),
        contexts=ContextTable(),
        limits=Limits(),
        make_store=make_store,
        services={},
        now=lambda: datetime.now(UTC),
    )
    Listener(open_port(("127.0.0.1", port)), wire=wire, places=Places.alone(Capacity()), own_title="NOBODY").start()
    signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main()
