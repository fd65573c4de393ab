"""Existing DICOM files through the same way in as the wire."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from dicom_node.archive.store import LocalArchive
from dicom_node.dicom.facts import Provenance
from dicom_node.dicom.header import read_instance
from dicom_node.dicom.part10 import read_meta
from dicom_node.errors import SenderError, UnreadableInstanceError
from dicom_node.services.audit import ImportAudit
from dicom_node.services.ingest import Indexer, Received, ingest_instance

_CHUNK = 1 << 20

MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR: an inventory, no instance."""


@dataclass(slots=True, kw_only=True)
class Imported:
    """What an import did, or would do."""

    outcomes: dict[str, int] = field(default_factory=dict)
    """Number of files by outcome: new, duplicate, conflict; in a dry run readable."""
    bad: list[tuple[Path, str]] = field(default_factory=list)
    """Files that were not taken, with the reason in words."""
    skipped: int = 0
    """Media directories (DICOMDIR) that were passed over."""
    size: int = 0
    """Bytes of the data sets taken."""


def files_under(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files named or found below the folders named, in a stable order; links to folders are not followed.

    A folder that cannot be listed is yielded itself, so that it is told as a bad file.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        refused: list[OSError] = []
        for folder, folders, names in os.walk(path, onerror=refused.append):
            folders.sort()
            yield from (Path(folder) / name for name in sorted(names))
        yield from sorted(Path(error.filename) for error in refused)


def import_files(
    files: Iterable[Path],
    *,
    archive: LocalArchive,
    indexer: Indexer,
    now: Callable[[], datetime],
    audit: ImportAudit,
    dry_run: bool = False,
    progress: Callable[[Path], None] = lambda _path: None,
) -> Imported:
    """Take each Part 10 file as if it had been received now; the file itself is left as it is.

    A bad file is noted and the next one taken. Raises StorageUnavailableError and DatabaseError: those would fail the
    next file too.
    """
    try:
        return _import_files(files, archive, indexer, now, audit, dry_run=dry_run, progress=progress)
    finally:
        audit.end()


def _import_files(
    files: Iterable[Path],
    archive: LocalArchive,
    indexer: Indexer,
    now: Callable[[], datetime],
    audit: ImportAudit,
    *,
    dry_run: bool,
    progress: Callable[[Path], None],
) -> Imported:
    done = Imported()
    for path in files:
        try:
            stored = _import_file(path, archive, indexer, now(), audit, dry_run=dry_run)
        except SenderError as error:
            done.bad.append((path, str(error)))
        except OSError as error:
            done.bad.append((path, f"cannot be read: {error.strerror or error}"))
        else:
            if stored is None:
                done.skipped += 1
            else:
                outcome, size = stored
                done.outcomes[outcome] = done.outcomes.get(outcome, 0) + 1
                done.size += size
        progress(path)
    return done


def _import_file(
    path: Path, archive: LocalArchive, indexer: Indexer, received_at: datetime, audit: ImportAudit, *, dry_run: bool
) -> tuple[str, int] | None:
    """Take one file; return its outcome and size in bytes, None for a media directory."""
    kind = path.stat().st_mode
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):  # opening a pipe would wait for ever
        raise UnreadableInstanceError("it is no regular file")
    with path.open("rb") as file:
        meta = read_meta(file)
        if meta.sop_class_uid == MEDIA_DIRECTORY:
            return None
        provenance = Provenance(calling_ae="", called_ae="", peer_address="", received_at=received_at)
        length = file.seek(0, os.SEEK_END) - meta.data_set_offset
        read = read_instance(file, meta.data_set_offset, length, meta.transfer_syntax_uid, provenance)
        if dry_run:
            return "readable", length
        # Where the file meta and the data set name different UIDs, the data set counts.
        incoming = archive.receive(
            sop_class_uid=read.facts.sop_class_uid,
            sop_instance_uid=read.facts.sop_instance_uid,
            transfer_syntax_uid=meta.transfer_syntax_uid,
            provenance=provenance,
        )
        with incoming:
            file.seek(meta.data_set_offset)
            while chunk := file.read(_CHUNK):
                incoming.write(chunk)
            received = Received(
                incoming=incoming,
                sop_class_uid=read.facts.sop_class_uid,
                sop_instance_uid=read.facts.sop_instance_uid,
                transfer_syntax_uid=meta.transfer_syntax_uid,
                provenance=provenance,
            )
            stored = ingest_instance(received, archive=archive, indexer=indexer)
            audit.took(stored.study_uid, received.sop_class_uid)
            return stored.outcome.value, stored.size
