"""Rows of studies and series that get more instances: each as it is and as it will be, written together.

The words of the patient's name belong to the row of the study.
"""

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import Table, and_, bindparam

from dicom_node.index.prepared import Cursor, Prepared
from dicom_node.index.rows import Row, word_rows
from dicom_node.index.tables import name_word, series, study

Merged = tuple[Row | None, Row]
"""A row of the database, None when there is none, and the row that takes its place: what is held of it, or all."""


class _Writes:
    """The statements that write rows of one table. ``often`` are the columns that most instances change."""

    def __init__(self, table: Table, often: Sequence[str]) -> None:
        key = [column.name for column in table.primary_key]
        update = table.update().where(and_(*(table.c[name] == bindparam(name) for name in key)))
        self._insert = Prepared(table.insert())
        self._update_often = Prepared(update, often)
        self._update = Prepared(update, [column.name for column in table.c if column.name not in key])
        self._size = len(table.c)

    def save(self, cursor: Cursor, merged: Iterable[Merged]) -> None:
        """Write them; each counts one more instance at least."""
        new: list[Row] = []
        often: list[Row] = []
        seldom: list[Row] = []
        for saved, row in merged:
            if saved is None:
                new.append(row)
            else:
                (seldom if len(row) == self._size else often).append(row)
        self._insert.write(cursor, new)
        self._update_often.write(cursor, often)
        self._update.write(cursor, seldom)


_STUDIES = _Writes(study, ["modalities", "sop_classes", "series_count", "instance_count", "last_received_at", "flags"])
SERIES = _Writes(series, ["instance_count"])

_INSERT_WORD = Prepared(name_word.insert())
_DELETE_WORDS = Prepared(name_word.delete().where(name_word.c.study_uid == bindparam("study_uid")))


def save_studies(cursor: Cursor, merged: Collection[Merged]) -> None:
    """Write rows of studies, and the words of the names that are new."""
    _STUDIES.save(cursor, merged)
    named = [(saved, row) for saved, row in merged if saved is None or saved["patient_name"] != row["patient_name"]]
    _DELETE_WORDS.write(cursor, [row for saved, row in named if saved is not None])
    _INSERT_WORD.write(cursor, [word for _, row in named for word in word_rows(row)])
