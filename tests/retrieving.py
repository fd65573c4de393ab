"""Retrieval in tests: an archive with an index of arbitrary bytes, and a listener that serves C-GET and C-MOVE from it."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from dicom_node.archive.store import LocalArchive
from dicom_node.dimse import pdu
from dicom_node.dimse.access import AccessList, Caller, Destination
from dicom_node.dimse.association import Wire
from dicom_node.dimse.calling import Patience
from dicom_node.dimse.capacity import Capacity, Places
from dicom_node.dimse.contexts import ContextTable
from dicom_node.dimse.get import GetScp
from dicom_node.dimse.listener import Listener, open_port
from dicom_node.dimse.move import MoveScp
from dicom_node.dimse.pdu import Command
from dicom_node.dimse.receiver import Limits
from dicom_node.index.engine import Index, open_index
from dicom_node.services.retrieve import RetrieveService
from tests import raw_peer
from tests.archives import begin
from tests.entries import make_entry, make_uid
from tests.factories import encode
from tests.raw_peer import EXPLICIT, MAMMOGRAM

STUDY_ROOT_GET, PATIENT_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3", "1.2.840.10008.5.1.4.1.2.1.3"
STUDY_ROOT_MOVE, PATIENT_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.5.1.4.1.2.1.2"

PATIENCE = Patience(connect=10.0, answer=10.0, response=10.0, sending=10.0)


@dataclass(frozen=True)
class Kept:
    """An instance that can be retrieved."""

    uid: str
    data: bytes
    digest: str


@dataclass(frozen=True)
class Holdings:
    """What a node holds."""

    archive: LocalArchive
    index: Index
    root: Path

    def keep(
        self,
        data: bytes,
        *,
        study: str = "1.2.3",
        series: str = "1.2.3.1",
        number: int = 1,
        uid: str = "",
        syntax: str = EXPLICIT,
        sop_class: str = MAMMOGRAM,
        **attributes: str,
    ) -> Kept:
        """Keep any bytes as an instance."""
        uid = uid or make_uid()
        with begin(self.archive, uid) as incoming:
            incoming.write(data)
            kept = self.archive.keep(incoming)
        entry = make_entry(
            study_uid=study,
            series_uid=series,
            sop_instance_uid=uid,
            sop_class_uid=sop_class,
            InstanceNumber=str(number),
            **attributes,
        )
        facts = replace(entry.facts, transfer_syntax_uid=syntax)
        self.index.record(replace(entry, facts=facts, digest=kept.digest, size=kept.size))
        return Kept(uid, data, kept.digest)

    def damage(self, kept: Kept) -> None:
        """Change one byte of an object, in its middle."""
        path = self.root / "objects" / kept.digest[:2] / f"{kept.digest}.dcm"
        data = bytearray(path.read_bytes())
        data[-len(kept.data) // 2 - 1] ^= 1
        path.chmod(0o600)
        path.write_bytes(data)

    def service(self) -> RetrieveService:
        return RetrieveService(index=self.index, archive=self.archive)


@contextmanager
def holdings(folder: Path) -> Iterator[Holdings]:
    """Make an empty archive and index in a folder."""
    archive = LocalArchive.create(folder / "data", min_free_bytes=0)
    index = open_index(f"sqlite:///{folder}/node.db")
    try:
        yield Holdings(archive, index, folder / "data")
    finally:
        index.close()
        archive.close()


def wanted(level: str, **keys: str | Sequence[str]) -> bytes:
    """Return a request identifier in implicit VR."""
    ds = Dataset()
    ds.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(ds, keyword, value if isinstance(value, str) else list(value))
    return encode(ds, ImplicitVRLittleEndian)


@contextmanager
def serving(
    service: RetrieveService,
    *,
    destinations: Callable[[], Iterable[Destination]] = tuple,
    patience: Patience = PATIENCE,
    places: int = 10,
    tls: Any = None,
    **limits: Any,
) -> Iterator[Listener]:
    """Serve C-GET and C-MOVE on a free port; stores are not served."""

    def no_store(**_: Any) -> Any:
        raise AssertionError("nothing is stored here")

    services = frozenset({"echo", "get", "move"})
    wire = Wire(
        access=AccessList(
            [Caller(name="pacs", ae_title="PACS", hosts=(ip_network("127.0.0.0/8"),), services=services)], ["SBB_NODE"]
        ),
        contexts=ContextTable(),
        limits=Limits(**limits),
        make_store=no_store,
        services={
            pdu.C_GET_RQ: partial(GetScp, select=service.select, read=service.read),
            pdu.C_MOVE_RQ: partial(
                MoveScp,
                select=service.select,
                read=service.read,
                destinations=destinations,
                tls=lambda: tls,
                patience=lambda: patience,
                places=threading.Semaphore(places),
            ),
        },
        now=lambda: datetime.now(UTC),
    )
    listener = Listener(open_port(("127.0.0.1", 0)), wire=wire, places=Places.alone(Capacity()), own_title="OWN")
    listener.start()
    try:
        yield listener
    finally:
        listener.stop(0.0)


def counts(response: Command) -> tuple[int | None, ...]:
    """Return the remaining, completed, failed and warning sub-operations of a response."""
    return tuple(response.number(element) for element in range(0x1020, 0x1024))


def cancel(message_id: int, context_id: int = 1) -> bytes:
    return raw_peer.message(context_id, raw_peer.command_set(0x0FFF, message_id, "", data=False))
