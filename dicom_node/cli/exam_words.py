"""What the commands that decide about exams share: an exam in a line and as JSON, and who decides."""

from dataclasses import asdict
from typing import Any

import click

from dicom_node.cli.opened import now
from dicom_node.cli.output import printable
from dicom_node.cli.phrases import day_words
from dicom_node.index.exams import ExamRecord
from dicom_node.services.decisions import Verdict
from dicom_node.site import Stores


def exam_json(exam: ExamRecord) -> dict[str, Any]:
    """Return an exam as JSON has it: ``exam`` is its id, ``unit`` null when nobody can tell."""
    values = asdict(exam)
    of_id, unit_id, _ = (values.pop(name) for name in ("id", "unit_id", "case_state"))
    return {"exam": of_id, "unit": unit_id or None} | values | {"why_not": exam.why_not, "case": exam.case}


def verdict_of(by: str, reason: str) -> Verdict:
    """Return who decides now, and why."""
    return Verdict(by=by, at=now(), reason=reason)


def tell_exam(stores: Stores, exam: ExamRecord) -> None:
    """Write in a line what became of an exam that was decided about."""
    where = stores.site.labels.get(exam.unit_id, exam.unit_id) or "no known unit"
    counts = f"counts as {exam.portion}" if exam.counts else f"counts toward nothing ({exam.why_not})"
    click.echo(printable(f"exam {exam.id}: {where}, {day_words(exam.day)}; {counts}"))
