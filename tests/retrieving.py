"""Retrieval in tests: an archive with an index of any bytes, and a listener that serves C-GET and C-MOVE from it."""

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
from dicom_node.dicom.retrieve import Retrieval
from dicom_node.dimse import pdu
from dicom_node.dimse.access import AccessList, Caller, Destination
from dicom_node.dimse.association import Wire
from dicom_node.dimse.calling import Patience
from dicom_node.dimse.capacity import Capacity, Places
from dicom_node.dimse.contexts import ContextTable
from dicom_node.dimse.get import GetScp
from dicom_node.dimse.limits import Limits
from dicom_node.dimse.listener import Listener
from dicom_node.dimse.move import MoveScp
from dicom_node.dimse.pdu import Command
from dicom_node.dimse.port import open_port
from dicom_node.errors import CertificateError
from dicom_node.index.engine import Index
from dicom_node.index.retrieve import Selected
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
def holding(root: Path, index: Index) -> Iterator[Holdings]:
    """Make an empty archive beside an index."""
    with LocalArchive.create(root, min_free_bytes=0) as archive:
        yield Holdings(archive, index, root)


def wanted(level: str, **keys: str | Sequence[str]) -> bytes:
    """Return a request identifier in implicit VR."""
    ds = Dataset()
    ds.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(ds, keyword, value if isinstance(value, str) else list(value))
    return encode(ds, ImplicitVRLittleEndian)


@contextmanager
def serving(
    service: Any,
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

    def tls_to(destination: Destination) -> Any:
        if destination.tls and tls is None:
            raise CertificateError("no certificate is configured")
        return tls if destination.tls else None

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
                tls=tls_to,
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


@dataclass(frozen=True)
class Finding:
    """A use case that finds what it is told, and has no bytes of it."""

    found: list[Selected]

    def select(self, _retrieval: Retrieval) -> Iterator[list[Selected]]:
        yield self.found

    def read(self, selected: Selected) -> Iterator[bytes]:
        raise AssertionError("nothing of it is to be read")


def counts(response: Command) -> tuple[int | None, ...]:
    """Return the remaining, completed, failed and warning sub-operations of a response."""
    return tuple(response.number(element) for element in range(0x1020, 0x1024))


def cancel(message_id: int, context_id: int = 1) -> bytes:
    return raw_peer.message(context_id, raw_peer.command_set(0x0FFF, message_id, "", data=False))


def read_message(peer: raw_peer.RawPeer) -> tuple[Command, int, bytes]:
    """Read one message; return its command, its presentation context and its data set."""
    command, context_id, data = b"", 0, b""
    parsed: Command | None = None
    while True:
        unit = peer.read_unit()
        if unit[0] != pdu.DATA_TF:
            raise ConnectionError(f"unit of type {unit[0]}")
        body = unit[6:]
        while body:
            length, context_id, control = int.from_bytes(body[:4], "big"), body[4], body[5]
            value, body = body[6 : 4 + length], body[4 + length :]
            assert control & 2 or len(value) % 2 == 0, "only the last fragment may be of odd length"
            if control & 1:
                command += value
                if control & 2:
                    parsed = pdu.parse_command(command)
                    if not parsed.has_data_set:
                        return parsed, context_id, b""
            else:
                data += value
                if control & 2:
                    assert parsed is not None
                    return parsed, context_id, data


def store_response(request: Command, context_id: int, status: int = 0) -> bytes:
    """Return the units of the answer to a C-STORE-RQ."""
    return raw_peer.message(context_id, pdu.store_response(request, status=status, comment=""))


@dataclass
class Got:
    """What came of one C-GET or C-MOVE."""

    pending: list[Command]
    stored: list[tuple[Command, int, bytes]]
    """Of every C-STORE-RQ that came the command, the context id and the data set."""
    final: Command
    failed: list[str]
    """The Failed SOP Instance UID List, of an answer in implicit VR."""

    @property
    def data(self) -> dict[str, bytes]:
        return {command.affected_sop_instance_uid: data for command, _, data in self.stored}


def converse(peer: raw_peer.RawPeer, request: bytes, statuses: Iterable[int] = ()) -> Got:
    """Make a request and answer what the node asks with these statuses, success after the last."""
    peer.send(request)
    answers = iter(statuses)
    pending: list[Command] = []
    stored: list[tuple[Command, int, bytes]] = []
    while True:
        command, context_id, data = read_message(peer)
        if command.field == pdu.C_STORE_RQ:
            stored.append((command, context_id, data))
            peer.send(store_response(command, context_id, next(answers, 0)))
        elif command.status == 0xFF00:
            assert not data
            pending.append(command)
        else:
            return Got(pending, stored, command, data[8:].decode().strip("\0").split("\\") if data else [])
