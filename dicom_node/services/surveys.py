"""What people record of physicists' surveys and technologists' logs, and which documents may be reports of a survey.

Nothing is deleted: what was recorded by mistake is withdrawn, and every version stays.
"""

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

from sqlalchemy import Connection

from dicom_node.accreditation.surveys import BY_A_PERSON, LogKind
from dicom_node.accreditation.units import Unit
from dicom_node.archive.store import LocalArchive
from dicom_node.errors import OperatorError
from dicom_node.index import entries
from dicom_node.index.documents import Document, documents
from dicom_node.index.engine import Index
from dicom_node.index.entries import Entry, EntryKind
from dicom_node.services.entries import Entries
from dicom_node.services.kept import is_dismissed, log_of, survey_of
from dicom_node.services.releases import MOST_YEARS, Change


def proposals(conn: Connection, unit_ids: Collection[str]) -> list[Document]:
    """Return the documents of units that nobody confirmed or dismissed yet as reports of a survey."""
    decided = {each.data.get("source") for each in entries.current(conn, EntryKind.SURVEY)}
    return [each for each in documents(conn, unit_ids) if each.sop_instance_uid not in decided]


class Surveys:
    """The surveys of the facility's units."""

    def __init__(self, *, archive: LocalArchive, index: Index, units: Mapping[str, Unit]) -> None:
        """Keep them in ``index`` and the journal of ``archive`` for the configured ``units``."""
        self._entries = Entries(EntryKind.SURVEY, archive=archive, index=index)
        self._index = index
        self._units = units

    def record(self, unit_id: str, day: date, *, note: str, change: Change) -> Entry:
        """Record that a medical physicist surveyed a unit on a local day.

        Raises OperatorError for an unknown unit, a day that cannot be, or a survey that is recorded already.
        """
        _check_days(self._units, unit_id, day, day, change.today)
        data = {"day": day.isoformat(), "source": BY_A_PERSON}
        return self._entries.add(
            data, unit_id=unit_id, note=note, change=change, check=lambda conn: _check_alone(conn, unit_id, day)
        )

    def amend(self, survey_id: str, *, day: date | None, note: str, change: Change) -> Entry:
        """Correct the day of a survey, or the note. Raises OperatorError."""
        now = self._in_force(survey_id)
        if day is not None and day != survey_of(now).day:
            self._check(now.unit_id, day, change.today)
        return self._entries.amend(survey_id, {} if day is None else {"day": day.isoformat()}, note=note, change=change)

    def withdraw(self, survey_id: str, *, reason: str, change: Change) -> Entry:
        """Say that a survey was recorded by mistake. Raises OperatorError."""
        self._in_force(survey_id)
        return self._entries.amend(survey_id, {"withdrawn": True}, note=_reasoned(reason), change=change)

    def confirm(self, sop_instance_uid: str, *, day: date | None, note: str, change: Change) -> Entry:
        """Make a document the report of a survey, performed on ``day``, else on the day that it tells.

        One that was dismissed or withdrawn may be confirmed all the same. Raises OperatorError.
        """
        document = self._document(sop_instance_uid)
        chosen = day or document.day
        if chosen is None:
            raise OperatorError(
                "the document does not tell its day; say when the survey was performed: --date YYYY-MM-DD"
            )
        before = self._about(sop_instance_uid)
        if before is not None and not _is_void(before):
            raise OperatorError(f"the document is the report of survey {before.id} already")
        self._check(document.unit_id, chosen, change.today)
        data = {"day": chosen.isoformat(), "source": sop_instance_uid, "dismissed": False, "withdrawn": False}
        if before is not None:
            return self._entries.amend(before.id, data, note=note, change=change)
        return self._entries.add(
            data,
            unit_id=document.unit_id,
            note=note,
            change=change,
            check=lambda conn: _check_alone(conn, document.unit_id, chosen),
        )

    def dismiss(self, sop_instance_uid: str, *, reason: str, change: Change) -> Entry:
        """Say that a document is no report of a survey. Raises OperatorError."""
        document = self._document(sop_instance_uid)
        before = self._about(sop_instance_uid)
        if before is not None and not _is_void(before):
            raise OperatorError(
                f"the document is the report of survey {before.id}: dicom-node surveys withdraw {before.id}"
            )
        if before is not None:
            raise OperatorError("the document was dismissed or withdrawn already")
        data = {"source": sop_instance_uid, "dismissed": True}
        return self._entries.add(data, unit_id=document.unit_id, note=_reasoned(reason), change=change)

    def listed(self, unit_id: str | None = None, *, history: bool = False) -> list[Entry]:
        """Return the surveys, newest day first, withdrawn ones too; with ``history`` every version of each."""
        found = [each for each in self._entries.current(_one(unit_id)) if not is_dismissed(each)]
        found.sort(key=lambda each: (survey_of(each).day, each.id), reverse=True)
        return _with_history(self._entries, found) if history else found

    def proposed(self, unit_id: str | None = None) -> list[Document]:
        """Return the documents that may be reports of a survey, the one received last first."""
        with self._index.read() as conn:
            return proposals(conn, self._units if unit_id is None else [unit_id])

    def _in_force(self, survey_id: str) -> Entry:
        now = self._entries.history(survey_id)[-1]
        if _is_void(now):
            raise OperatorError(f"survey {survey_id} was withdrawn or dismissed; record a new one")
        return now

    def _about(self, sop_instance_uid: str) -> Entry | None:
        """Return what was decided about a document."""
        return next((each for each in self._entries.current() if each.data.get("source") == sop_instance_uid), None)

    def _document(self, sop_instance_uid: str) -> Document:
        with self._index.read() as conn:
            found = documents(conn, self._units)
        for each in found:
            if each.sop_instance_uid == sop_instance_uid:
                return each
        raise OperatorError(
            f"there is no encapsulated document {sop_instance_uid!a} of a known unit; see: dicom-node surveys list"
        )

    def _check(self, unit_id: str, day: date, today: date) -> None:
        _check_days(self._units, unit_id, day, day, today)
        with self._index.read() as conn:
            _check_alone(conn, unit_id, day)


class QcLogs:
    """The technologist's logs of the facility's units."""

    def __init__(self, *, archive: LocalArchive, index: Index, units: Mapping[str, Unit]) -> None:
        """Keep them in ``index`` and the journal of ``archive`` for the configured ``units``."""
        self._entries = Entries(EntryKind.QC_LOG, archive=archive, index=index)
        self._units = units

    def record(self, unit_id: str, kind: LogKind, first: date, last: date, *, note: str, change: Change) -> Entry:
        """Record that a log is kept for the local days ``first`` to ``last``. Raises OperatorError."""
        if last < first:
            raise OperatorError(f"a log cannot end on {last}, before it begins on {first}")
        _check_days(self._units, unit_id, first, last, change.today)
        data: dict[str, Any] = {"kind": kind.value, "first": first.isoformat(), "last": last.isoformat()}
        return self._entries.add(data, unit_id=unit_id, note=note, change=change)

    def withdraw(self, log_id: str, *, reason: str, change: Change) -> Entry:
        """Say that a log was recorded by mistake. Raises OperatorError."""
        if _is_void(self._entries.history(log_id)[-1]):
            raise OperatorError(f"log {log_id} was withdrawn already")
        return self._entries.amend(log_id, {"withdrawn": True}, note=_reasoned(reason), change=change)

    def listed(self, unit_id: str | None = None, *, history: bool = False) -> list[Entry]:
        """Return the logs, the one that ends last first, withdrawn ones too; with ``history`` every version of each."""
        found = self._entries.current(_one(unit_id))
        found.sort(key=lambda each: (log_of(each).last, each.id), reverse=True)
        return _with_history(self._entries, found) if history else found


def _with_history(kept: Entries, found: list[Entry]) -> list[Entry]:
    return [version for each in found for version in reversed(kept.history(each.id)) if not is_dismissed(version)]


def _one(unit_id: str | None) -> list[str] | None:
    return None if unit_id is None else [unit_id]


def _is_void(entry: Entry) -> bool:
    return is_dismissed(entry) or bool(entry.data.get("withdrawn", False))


def _reasoned(reason: str) -> str:
    if not reason.strip():
        raise OperatorError("a decision needs a reason, in words that the next person understands")
    return reason.strip()


def _check_alone(conn: Connection, unit_id: str, day: date) -> None:
    for each in entries.current(conn, EntryKind.SURVEY, [unit_id]):
        if not _is_void(each) and survey_of(each).day == day:
            raise OperatorError(f"a survey of {unit_id} on {day} is recorded already: {each.id}")


def _check_days(units: Mapping[str, Unit], unit_id: str, first: date, last: date, today: date) -> None:
    if unit_id not in units:
        raise OperatorError(f"there is no unit {unit_id!a}; the units are {', '.join(sorted(units)) or 'none'}")
    if last > today:
        raise OperatorError(f"{last} is in the future: write the day as YYYY-MM-DD")
    if today.year - first.year > MOST_YEARS:
        raise OperatorError(f"{first} is not plausible: write the day as YYYY-MM-DD")
    installed_on = units[unit_id].installed_on
    if installed_on is not None and first < installed_on:
        raise OperatorError(f"{first} is before {unit_id} was installed, on {installed_on}")
