"""Storage commitment in tests: a facility that listens in this process, and what a peer made of bytes says to it."""

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from io import BytesIO
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from dicom_node.dimse import pdu
from dicom_node.dimse.access import AccessList, Caller, Destination
from dicom_node.dimse.association import Wire
from dicom_node.dimse.calling import Patience
from dicom_node.dimse.capacity import Capacity, Places
from dicom_node.dimse.commitment import CommitmentScp
from dicom_node.dimse.contexts import ContextTable
from dicom_node.dimse.limits import Limits
from dicom_node.dimse.listener import Listener
from dicom_node.dimse.pdu import Command
from dicom_node.dimse.port import open_port
from dicom_node.dimse.reporting import Reporter
from dicom_node.index import commitments
from dicom_node.index.commitments import Listed
from dicom_node.services.commitment import Commitments
from dicom_node.site import Stores
from tests import raw_peer
from tests.factories import encode, item
from tests.raw_peer import IMPLICIT, VERIFICATION, RawPeer, command_set, element, message
from tests.sites import opened_site, write_site

COMMITMENT, INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
CONTEXTS = ((COMMITMENT, [IMPLICIT]), (VERIFICATION, [IMPLICIT]))


def information(transaction_uid: str, references: Iterable[tuple[str, str]]) -> bytes:
    """Action information, in implicit VR little endian."""
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    ds.ReferencedSOPSequence = [
        item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=uid) for sop_class, uid in references
    ]
    return encode(ds, ImplicitVRLittleEndian)


def action(
    data: bytes | None,
    *,
    context_id: int = 1,
    sop_class: str = COMMITMENT,
    instance: str = INSTANCE,
    kind: int = 1,
) -> bytes:
    """An N-ACTION-RQ with Message ID 7."""
    more = element(0x0003, sop_class.encode()), element(0x1001, instance.encode()), element(0x1008, _us(kind))
    return message(context_id, command_set(0x0130, 7, "", *more, data=data is not None), data)


def taken(message_id: int, status: int = 0) -> bytes:
    """An N-EVENT-REPORT-RSP."""
    return message(1, command_set(0x8100, message_id, COMMITMENT, element(0x0900, _us(status)), data=False))


def _us(number: int) -> bytes:
    return struct.pack("<H", number)


def sender(port: int, **options: Any) -> RawPeer:
    """A unit that calls a port."""
    return RawPeer(port, contexts=CONTEXTS, **options)


def ask(peer: RawPeer, transaction_uid: str, *images: Dataset) -> None:
    """Ask for commitment of images; it must be accepted."""
    peer.send(action(information(transaction_uid, [(ds.SOPClassUID, ds.SOPInstanceUID) for ds in images])))
    answer, _ = peer.read_response()
    assert (answer.field, answer.message_id, answer.status) == (0x8130, 7, 0)


def acceptance() -> bytes:
    """An A-ASSOCIATE-AC of context 1."""
    body = bytes([0, 1, 0, 0]) + bytes(64) + raw_peer.item(0x10, b"1.2.840.10008.3.1.1.1")
    body += raw_peer.item(0x21, bytes([1, 0, 0, 0]) + raw_peer.item(0x40, IMPLICIT.encode()))
    body += raw_peer.item(0x50, raw_peer.item(0x51, (16384).to_bytes(4, "big")) + raw_peer.item(0x52, b"1.2.3"))
    return bytes([2, 0]) + len(body).to_bytes(4, "big") + body


def read_report(peer: RawPeer) -> tuple[Command, Dataset]:
    """Read an N-EVENT-REPORT-RQ: its command and its event information."""
    command, _ = peer.read_response()
    assert command.field == pdu.N_EVENT_REPORT_RQ
    assert (command.affected_sop_class_uid, command.affected_sop_instance_uid) == (COMMITMENT, INSTANCE)
    data, last = b"", 0
    while not last:
        unit = peer.read_unit()
        data, last = data + unit[12:], unit[11] & 2
    return command, dcmread(BytesIO(data), force=True)


def told(peer: RawPeer) -> tuple[int, Dataset]:
    """Read the report and take it; return event type and information."""
    command, report = read_report(peer)
    peer.send(taken(command.message_id))
    return command.number(0x1002) or 0, report


def held(report: Dataset) -> list[str]:
    """SOP instances that a report commits to."""
    return [each.ReferencedSOPInstanceUID for each in report.get("ReferencedSOPSequence", [])]


def failed(report: Dataset) -> dict[str, int]:
    """SOP instances that a report does not commit to, with the reasons."""
    return {each.ReferencedSOPInstanceUID: each.FailureReason for each in report.get("FailedSOPSequence", [])}


@dataclass
class Facility:
    """A node that answers requests for commitment alone, and reports when ``reporter.run`` is called."""

    stores: Stores
    commitments: Commitments
    port: int
    reporter: Reporter
    destinations: list[Destination]
    ahead: timedelta = timedelta(0)
    """How far its clock is ahead."""

    def reach(self, port: int, **options: Any) -> None:
        """Let the unit take associations on a port of this machine, and nowhere else."""
        unit = Destination(
            name="units.prone1", ae_title="PRONE_RM2", address="127.0.0.1", port=port, tls=False, services=frozenset()
        )
        self.destinations[:] = [replace(unit, **options)]

    def requests(self) -> list[Listed]:
        with self.stores.index.read() as conn:
            return commitments.list_requests(conn)

    def state(self) -> str:
        """State of the newest request."""
        return self.requests()[0].state

    def is_free(self) -> bool:
        """Tell whether the newest request waits for whoever looks after it."""
        now = datetime.now(UTC) + self.ahead
        with self.stores.index.read() as conn:
            return commitments.is_any_due(conn, now, timedelta(minutes=5))

    def object_of(self, ds: Dataset) -> Path:
        with self.stores.index.read() as conn:
            _, (digest,) = commitments.objects_of(conn, [ds.SOPInstanceUID])[ds.SOPInstanceUID]
        return self.stores.site.settings.storage.path / "objects" / digest[:2] / f"{digest}.dcm"


@contextmanager
def facility(folder: Path, *, grace: float = 0.0, pause: float = 0.0, **limits: Any) -> Iterator[Facility]:
    """Run one; ``grace`` and ``pause`` in seconds."""
    with opened_site(write_site(folder)) as stores:
        made: Facility
        service = replace(
            stores.commitments(now=lambda: datetime.now(UTC) + made.ahead), grace=timedelta(seconds=grace)
        )
        destinations: list[Destination] = []
        reporter = Reporter(
            service, destinations=lambda: destinations, tls=stores.site.tls_to, patience=Patience(connect=5, answer=5)
        )
        services = frozenset({"echo", "commit"})
        unit = Caller(name="units.prone1", ae_title="PRONE_RM2", hosts=(ip_network("127.0.0.0/8"),), services=services)

        def no_store(**_: Any) -> Any:
            raise AssertionError("nothing is stored here")

        wire = Wire(
            access=AccessList([unit], ["SBB_NODE", "SBB_OLD"]),
            contexts=ContextTable(),
            limits=Limits(**limits),
            make_store=no_store,
            services={pdu.N_ACTION_RQ: partial(CommitmentScp, commitments=service, pause=pause)},
            now=lambda: datetime.now(UTC),
        )
        listener = Listener(open_port(("127.0.0.1", 0)), wire=wire, places=Places.alone(Capacity()), own_title="OWN")
        made = Facility(stores, service, listener.port, reporter, destinations)
        listener.start()
        try:
            yield made
        finally:
            listener.stop(0.0)
