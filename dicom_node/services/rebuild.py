"""The index made anew from the files and the journal alone."""

from collections.abc import Callable
from dataclasses import dataclass

from dicom_node.archive.store import LocalArchive
from dicom_node.errors import ObjectDamagedError
from dicom_node.index import contents
from dicom_node.index.engine import Index
from dicom_node.logs import get_logger
from dicom_node.services import records
from dicom_node.services.conflicts import ConflictDecisions
from dicom_node.services.derived_by import put_registry
from dicom_node.services.ingest import Indexer
from dicom_node.services.recover import in_order, index_object
from dicom_node.services.review import want_review

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a rebuild did."""

    indexed: int
    damaged: tuple[str, ...]
    """Digests of objects that could not be read; each was logged with its reason."""


def rebuild(
    archive: LocalArchive,
    index: Index,
    indexer: Indexer,
    *,
    progress: Callable[[int, int], None] = lambda _n, _of: None,
) -> Rebuilt:
    """Forget every row that files tell and index all objects again, in the order they were received.

    Decisions and releases come back from the journal; alerts and their deliveries stay as they are, so nobody is told
    twice. ``progress`` is called with the number of objects done and of all. Not while another process uses the index.

    Raises DatabaseError, StorageUnavailableError, and ObjectDamagedError for a damaged journal, before anything is
    forgotten. One that is cut short is finished by the next start of the node, or begun again.
    """
    set_aside = {digest for each in records.contents_in_force(archive.journal).values() for digest in each.set_aside}
    order, unreadable = in_order(archive, archive.objects(), last=set_aside)
    damaged = list(unreadable)
    with index.write() as conn:
        contents.clear_derived(conn)
    records.replay(archive.journal, index)
    indexed = 0
    for number, digest in enumerate(order, start=1):
        try:
            index_object(archive, indexer, digest)
            indexed += 1
        except ObjectDamagedError as error:
            damaged.append(digest)
            log.error("object.unreadable", digest=digest, reason=str(error))
        progress(number, len(order))
    ConflictDecisions(archive=archive, indexer=indexer).replay()
    with index.write() as conn:
        put_registry(conn, indexer.registry())
        want_review(conn)
    return Rebuilt(indexed=indexed, damaged=tuple(damaged))
