"""The books that people keep beside the exams: each version durable before it is seen, each change kept."""

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from dicom_node.archive.store import LocalArchive
from dicom_node.errors import OperatorError
from dicom_node.index import entries
from dicom_node.index.engine import Index
from dicom_node.index.entries import Entry, EntryKind
from dicom_node.services import audit, records
from dicom_node.services.releases import Change
from dicom_node.services.review import want_review


class Entries:
    """The entries of one kind. What their data hold is checked by the caller before."""

    def __init__(self, kind: EntryKind, *, archive: LocalArchive, index: Index) -> None:
        """Keep them in ``index`` and the journal of ``archive``."""
        self._kind = kind
        self._archive = archive
        self._index = index

    def add(
        self,
        data: Mapping[str, Any],
        *,
        unit_id: str = "",
        note: str = "",
        change: Change,
        check: Callable[[Connection], None] | None = None,
    ) -> Entry:
        """Add an entry, unless ``check`` raises what speaks against it. Raises StorageUnavailableError, DatabaseError.

        It is called inside the transaction, so that of two who add the same at once the second is told of the first.
        """
        new = Entry(
            kind=self._kind,
            id=f"{self._kind[0]}{secrets.token_hex(3)}",
            version=1,
            unit_id=unit_id,
            data=data,
            note=note,
            changed_by=change.by,
            changed_at=change.at,
        )
        return self._save(new, check)

    def amend(self, entry_id: str, data: Mapping[str, Any], *, note: str = "", change: Change) -> Entry:
        """Change what is given of an entry's data; the versions before stay. Raises as ``add``, and OperatorError."""
        before = self.history(entry_id)[-1]
        return self._save(
            replace(
                before,
                version=before.version + 1,
                data={**before.data, **data},
                note=note,
                changed_by=change.by,
                changed_at=change.at,
            ),
        )

    def current(self, unit_ids: Collection[str] | None = None) -> list[Entry]:
        """Return the version in force of every entry, of some units where they are given."""
        with self._index.read() as conn:
            return entries.current(conn, self._kind, unit_ids)

    def history(self, entry_id: str) -> list[Entry]:
        """Return every version of an entry, oldest first. Raises OperatorError."""
        with self._index.read() as conn:
            versions = entries.history(conn, self._kind, entry_id)
        if not versions:
            raise OperatorError(f"there is no {self._kind.replace('_', ' ')} {entry_id!a}")
        return versions

    def _save(self, entry: Entry, check: Callable[[Connection], None] | None = None) -> Entry:
        with self._index.write() as conn:
            if check is not None:
                check(conn)
            if not entries.insert(conn, entry):
                raise OperatorError(f"{entry.id} was changed meanwhile; look at it again")
            want_review(conn)
            # Last of what may fail, yet before the commit: what the journal has can be carried out.
            records.save_entry(self._archive.journal, entry)
        audit.entry_kept(
            self._archive.audit,
            by=entry.changed_by,
            kind=entry.kind.value,
            entry_id=entry.id,
            version=entry.version,
            unit_id=entry.unit_id,
        )
        return entry
