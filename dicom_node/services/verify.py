"""The archive against its own names and against the index: is what was kept still there, and still the same?"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from dicom_node.archive.store import LocalArchive
from dicom_node.archive.verify import rehash
from dicom_node.errors import ObjectDamagedError
from dicom_node.index import contents
from dicom_node.index.engine import Index
from dicom_node.services.recover import differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a verification found."""

    objects: int
    """Objects in the archive."""
    checked: int
    """Of them: those that were read again to their end."""
    damaged: tuple[tuple[str, str], ...]
    """Digest, and what is wrong, in words."""
    missing: tuple[str, ...]
    """Digests that the index has and the archive lacks."""
    without_row: tuple[str, ...]
    """Digests of objects that the index does not know; the next start of the node indexes them."""

    @property
    def is_good(self) -> bool:
        """Tell whether everything that was acknowledged is there and unchanged, as far as it was looked at."""
        return not self.damaged and not self.missing


def verify(
    archive: LocalArchive,
    index: Index,
    *,
    sample: int | None = None,
    progress: Callable[[int, int], None] = lambda _n, _of: None,
) -> Verified:
    """Compare objects and rows, and read objects again: all of them, or ``sample`` chosen at random.

    May run beside a node. ``progress`` is called with the number of objects read and of those to read. Raises
    StorageUnavailableError, DatabaseError.
    """
    chosen: list[str] = []
    objects = 0
    for objects, digest in enumerate(archive.objects(), start=1):
        if sample is not None:
            _draw(chosen, digest, sample, objects)
    found = list(differences(archive, index))
    # An instance that came in between the two lists, or whose row was on its way, is in both by now.
    missing = tuple(digest for digest, in_archive in found if not in_archive and not _is_there(archive, digest))
    with index.read() as conn:
        without_row = tuple(digest for digest, in_archive in found if in_archive and not contents.has_row(conn, digest))
    to_read = len(chosen) if sample is not None else objects
    digests = iter(sorted(chosen)) if sample is not None else archive.objects()
    checked = 0
    damaged = []
    for checked, digest in enumerate(digests, start=1):
        try:
            rehash(archive, digest)
        except ObjectDamagedError as error:
            damaged.append((digest, str(error)))
        progress(checked, to_read)
    return Verified(
        objects=objects,
        checked=checked,
        damaged=tuple(damaged),
        missing=missing,
        without_row=without_row,
    )


def _is_there(archive: LocalArchive, digest: str) -> bool:
    try:
        archive.open_object(digest).close()
    except ObjectDamagedError:
        return False
    return True


def _draw(chosen: list[str], digest: str, sample: int, number: int) -> None:
    """Draw ``sample`` of a stream whose length nobody knows, each with the same chance (reservoir sampling)."""
    if len(chosen) < sample:
        chosen.append(digest)
    elif (place := random.randrange(number)) < sample:  # noqa: S311 - a sample, no secret
        chosen[place] = digest
