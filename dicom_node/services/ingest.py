"""The one way in: an instance in the spool becomes a durable object and a row in the index."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from dicom_node.accreditation.derive import Derivation, derive
from dicom_node.accreditation.units import Registry
from dicom_node.archive.incoming import Incoming
from dicom_node.archive.store import LocalArchive
from dicom_node.dicom.facts import Provenance, ReadInstance
from dicom_node.dicom.header import read_data_set
from dicom_node.errors import MismatchedInstanceError
from dicom_node.index.engine import Index
from dicom_node.index.record import Entry, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An instance whose bytes are all in the spool, and what its sender said of it."""

    incoming: Incoming
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    provenance: Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What became of an instance. ``unit`` is "" when nobody can tell whose it is."""

    sop_instance_uid: str
    study_uid: str
    unit: str
    outcome: Outcome
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexer:
    """Works out what an instance is and puts it into the index: the half of the way in that a rebuild repeats."""

    index: Index
    registry: Callable[[], Registry]
    local_day: Callable[[datetime], date]
    """The facility's calendar day of a UTC time."""

    def derive_for(self, read: ReadInstance, provenance: Provenance, assigned_unit: str | None) -> Derivation:
        """Return what the rules make of an instance, when a person assigned it to a unit or (None) nobody did."""
        return derive(read.signals, self.registry(), self.local_day(provenance.received_at), assigned_unit)

    def entry(self, read: ReadInstance, provenance: Provenance, *, digest: str, size: int) -> Entry:
        """Return an instance whose object is durable as the index takes it."""
        return Entry(
            facts=read.facts,
            provenance=provenance,
            digest=digest,
            size=size,
            derivation=self.derive_for(read, provenance, None),
            derive_for=lambda unit: self.derive_for(read, provenance, unit),
            dates=read.signals.dates,
        )

    def record(self, read: ReadInstance, provenance: Provenance, *, digest: str, size: int) -> Stored:
        """Index an instance whose object is durable. Raises DatabaseError."""
        recorded = self.index.record(self.entry(read, provenance, digest=digest, size=size))
        return Stored(
            sop_instance_uid=read.facts.sop_instance_uid,
            study_uid=read.facts.study_uid,
            unit=recorded.unit,
            outcome=recorded.outcome,
            size=size,
        )


def ingest_instance(received: Received, *, archive: LocalArchive, indexer: Indexer) -> Stored:
    """Take custody of an instance, in the order that no crash can break.

    Read and check the header, make the object durable, then commit its row; only then does the caller answer. A crash
    in between, or a power cut soon after, leaves an object without a row, which recovery indexes at the next start. The
    same content again changes nothing; other content under a taken SOP Instance UID is kept beside the first.

    Raises UnreadableInstanceError, MismatchedInstanceError, StorageUnavailableError, DatabaseError; the caller
    discards the spool file in every case.
    """
    incoming = received.incoming
    read = read_data_set(
        incoming.beginning, incoming.size, incoming.read_at, received.transfer_syntax_uid, received.provenance
    )
    if read.facts.sop_class_uid != received.sop_class_uid:
        raise MismatchedInstanceError("SOP Class UID of the data set is not that of the request")
    if read.facts.sop_instance_uid != received.sop_instance_uid:
        raise MismatchedInstanceError("SOP Instance UID of the data set is not that of the request")
    kept = archive.keep(incoming)
    return indexer.record(read, received.provenance, digest=kept.digest, size=kept.size)
