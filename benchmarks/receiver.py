"""The node's receiver without flush, check and index, for comparison with receivers that do none of these either.

    python -m benchmarks.receiver PORT FOLDER

Reading, cutting, spool and digest are the product's own; only what follows the last byte is left out. It exists for
measuring: the node itself has no such switch.
"""

import itertools
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.wire import CALLED_AE, CALLING_AE
from dicom_node import logs
from dicom_node.archive.store import OBJECTS, LocalArchive
from dicom_node.dicom.facts import Provenance
from dicom_node.dimse.access import AccessList, Caller
from dicom_node.dimse.association import Wire
from dicom_node.dimse.contexts import ContextTable
from dicom_node.dimse.listener import Capacity, Listener
from dicom_node.dimse.receiver import Limits
from dicom_node.dimse.store import AcceptedContext, StoreScp
from dicom_node.index.record import Outcome
from dicom_node.services.ingest import Received, Stored

_LARGEST = 4 << 30
_numbers = itertools.count(1)


def main() -> None:
    """Listen until SIGTERM."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    logs.configure(level="info", form="json")
    archive = LocalArchive.create(folder, min_free_bytes=1 << 30)
    objects = os.open(folder / OBJECTS, os.O_RDONLY | os.O_DIRECTORY)

    def keep(received: Received) -> Stored:
        received.incoming.replace(f"{next(_numbers)}-{received.incoming.digest}", objects)
        return Stored(
            sop_instance_uid=received.sop_instance_uid,
            study_uid="",
            unit="",
            outcome=Outcome.NEW,
            size=received.incoming.size,
        )

    def make_store(
        *, contexts: dict[int, AcceptedContext], caller: Provenance, draining: Callable[[], bool], log: Any
    ) -> StoreScp:
        return StoreScp(
            contexts=contexts,
            caller=caller,
            archive=archive,
            ingest=keep,
            now=lambda: datetime.now(UTC),
            draining=draining,
            maximum_data_set=_LARGEST,
            log=log,
        )

    bench = Caller(name="bench", ae_title=CALLING_AE, hosts=(), services=frozenset({"store"}))
    wire = Wire(
        access=AccessList([bench], [CALLED_AE]),
        contexts=ContextTable(),
        limits=Limits(),
        make_store=make_store,
        find=lambda _event: iter(()),
        now=lambda: datetime.now(UTC),
    )
    Listener(("127.0.0.1", port), wire=wire, capacity=Capacity()).start()
    signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main()
