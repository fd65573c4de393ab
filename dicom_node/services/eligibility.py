"""The arithmetic of a unit's standing in words, for any day and any release date."""

from collections.abc import Iterable
from datetime import date

from sqlalchemy import Connection

from dicom_node.accreditation.explain import ExamOnFile, Explanation, explain
from dicom_node.accreditation.portions import Portion
from dicom_node.index import exams
from dicom_node.index.engine import Index
from dicom_node.services.found import Rules, whats_so


def explain_unit(
    index: Index,
    rules: Rules,
    unit_id: str,
    *,
    portions: Iterable[Portion],
    today: date,
    release: date | None = None,
) -> list[Explanation]:
    """Explain where a configured unit stands on the local day ``today``, by what is on file now.

    With ``release`` also what would count for a package released that day. Raises DatabaseError.
    """
    unit = rules.registry.units[unit_id]
    wanted = frozenset(portions)
    with index.read() as conn:
        found = [each for each in whats_so(conn, rules, [unit_id], today)[unit_id].standings if each.portion in wanted]
        return [
            explain(
                unit,
                standing,
                rules.policy,
                _worth_a_reason(conn, unit_id, standing.portion),
                today=today,
                release=release,
            )
            for standing in found
        ]


def _worth_a_reason(conn: Connection, unit_id: str, portion: Portion) -> list[ExamOnFile]:
    """Return the unit's exams of a portion, excluded ones too, and those that nobody can tell."""
    found = [each for one in (portion, Portion.UNCLEAR) for each in exams.listed(conn, unit_id=unit_id, portion=one)]
    return [
        ExamOnFile(
            exam_id=each.id,
            portion=each.portion,
            day=each.day,
            source=each.day_source,
            flags=each.flags,
            excluded=each.excluded,
        )
        for each in found
    ]
