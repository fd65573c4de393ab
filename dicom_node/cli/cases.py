"""The commands of ``dicom-node exams`` about cases: the best candidates, and what a person decides about one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, tzinfo
from typing import Any

import click

from dicom_node.accreditation.cases import Case, CaseState, LinkedStudy, Ranked
from dicom_node.accreditation.portions import COUNTING_PORTIONS, Portion
from dicom_node.cli.app import App, pass_app
from dicom_node.cli.exam_words import tell_exam, verdict_of
from dicom_node.cli.opened import DAY, by_option, known_unit, opened, reason_option, today
from dicom_node.cli.output import json_option, local, printable, write_json, write_table
from dicom_node.cli.phrases import day_words, write_facts, write_sentence
from dicom_node.index.exams import ExamRecord
from dicom_node.services.cases import RankedCases, cases_of, rank_unit
from dicom_node.services.links import Proposals, propose
from dicom_node.site import Stores


@click.command("candidates")
@click.option("--unit", "unit_id", metavar="UNIT", help="Of one unit.")
@click.option("--release", type=DAY, help="For a testing package released on this day; else for the one on record.")
@json_option
@pass_app
def candidates(app: App, *, unit_id: str | None, release: date | None, as_json: bool) -> None:
    """List the clinical exams that could be submitted, the best first, with what speaks for and against each."""
    with opened(app) as stores:
        units = list(stores.site.registry.units) if unit_id is None else [known_unit(stores, unit_id)]
        found = [
            rank_unit(stores.archive, stores.index, stores.site.rules, each, today=today(stores), release=release)
            for each in units
        ]
        labels = stores.site.labels
    if as_json:
        write_json([_ranked_json(each) for each in found])
        return
    for number, each in enumerate(found):
        click.echo(("\n" if number else "") + printable(f"{labels[each.unit_id]}: {_release_words(each)}"))
        _write_ranked(each.ranked)
    if any(each.ranked for each in found):
        click.echo("\nLook at one: dicom-node exams show ID")


@click.command("confirm")
@click.argument("exam_id", metavar="ID")
@click.option("--mammogram-date", "mammogram_day", type=DAY, help="Day of the correlating mammogram, as on its images.")
@click.option("--mammogram", "mammograms", multiple=True, metavar="UID", help="A proposed study that holds it.")
@click.option("--specimen", "specimens", multiple=True, metavar="UID", help="A proposed study of the specimen.")
@reason_option
@by_option
@pass_app
def confirm(
    app: App,
    *,
    exam_id: str,
    mammogram_day: date | None,
    mammograms: tuple[str, ...],
    specimens: tuple[str, ...],
    reason: str,
    by: str,
) -> None:
    """Say that an exam can be submitted as a case: you have seen its calcifications, its pair and its mammogram.

    It counts from the day of the mammogram when that is older. A phantom exam needs no mammogram.
    """
    with opened(app) as stores:
        exam = stores.cases().confirm(
            exam_id, verdict_of(by, reason), mammogram_day=mammogram_day, mammograms=mammograms, specimens=specimens
        )
        tell_exam(stores, exam)


@click.command("reject")
@click.argument("exam_id", metavar="ID")
@reason_option
@by_option
@pass_app
def reject(app: App, *, exam_id: str, reason: str, by: str) -> None:
    """Say that an exam cannot be submitted as a case, so that it counts toward nothing."""
    with opened(app) as stores:
        tell_exam(stores, stores.cases().reject(exam_id, verdict_of(by, reason)))


CASE_COMMANDS = (candidates, confirm, reject)


@dataclass(frozen=True, slots=True)
class ShownCase:
    """A case as ``exams show`` has it."""

    case: Case
    proposals: Proposals

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        proposed = self.proposals.but_linked(self.case)
        return _case_json(self.case) | {"proposals": proposed, "doubts": self.proposals.doubts}

    def write(self, zone: tzinfo) -> None:
        """Write it for people."""
        case, facts, decision = self.case, self.case.facts, self.case.decision
        state = str(case.state)
        if decision is not None:
            state += f" by {decision.decided_by} on {local(decision.decided_at, zone)}: {decision.reason}"
        lacking = ", ".join(f"{element} on {number}" for element, number in facts.missing.items())
        burned_in = {True: "yes: look at the pixels before you submit", False: "no", None: "not told"}
        clinical = case.portion is Portion.CLINICAL
        click.echo()
        write_facts(
            [
                ("Case", state),
                ("Mammogram", "" if case.mammogram_day is None else f"of {case.mammogram_day}"),
                ("Pair", f"{facts.pair.state}: {facts.pair.reason}" if clinical else ""),
                ("Laterality", str(facts.laterality) if clinical else ""),
                ("Calcifications", f"{facts.calcification}: no header tells" if clinical else ""),
                ("Identification", f"missing of {facts.images} images: {lacking}" if lacking else "complete"),
                ("Burned-in text", burned_in[facts.burned_in]),
                ("Still wanted", "; ".join(case.still_wanted)),
            ]
        )
        _write_studies(case, self.proposals)


def shown_case(stores: Stores, exam: ExamRecord) -> ShownCase | None:
    """Return an exam as a case; None for one that can be none. Raises as ``cases_of``."""
    if exam.portion not in COUNTING_PORTIONS:
        return None
    case = cases_of(stores.archive, stores.index, [exam])[exam.id]
    return ShownCase(case, propose(stores.index, stores.site.registry, case))


def _case_json(case: Case) -> dict[str, Any]:
    return {
        "state": case.state,
        "facts": case.facts.as_json(),
        "mammogram_day": case.mammogram_day,
        "decision": case.decision,
        "links": case.links,
        "still_wanted": case.still_wanted,
    }


def _ranked_json(found: RankedCases) -> dict[str, Any]:
    return {
        "unit": found.unit_id,
        "released_on": found.released_on,
        "release_state": found.release_state,
        "cases": [
            {"exam": each.case.exam_id, "day": each.case.day, "admitted": each.admitted}
            | {"speaks_for": each.speaks_for, "speaks_against": each.speaks_against, "proposals": each.proposed}
            | _case_json(each.case)
            for each in found.ranked
        ],
    }


def _release_words(found: RankedCases) -> str:
    if found.release_state is None:
        return f"for a testing package released on {found.released_on}"
    return f"for the {found.release_state} testing package of {found.released_on}"


def _write_ranked(ranked: Sequence[Ranked]) -> None:
    if not ranked:
        click.echo("  no exam on file that counts is young enough")
    for number, each in enumerate(ranked, start=1):
        click.echo(f"{number:>3}  {each.case.exam_id}  {day_words(each.case.day)}  {each.case.state}")
        for word, reasons in (("for", each.speaks_for), ("against", each.speaks_against)):
            if reasons:
                write_sentence("; ".join(reasons), first=f"     {word:<8} ", rest=" " * 14)


def _write_studies(case: Case, proposals: Proposals) -> None:
    several = [("linked", each) for each in case.links]
    several += [("proposed", each) for each in proposals.but_linked(case)]
    if several:
        click.echo()
        write_table(
            ["Other study", "As", "Day", "Laterality", "Views", "Images", "Study UID", "Remarks"],
            [[how, *_study_cells(each)] for how, each in several],
        )
    for doubt in proposals.doubts:
        write_sentence(doubt)
    if any(how == "proposed" for how, _ in several) and case.state is not CaseState.NONE:
        click.echo(
            f"Link: dicom-node exams confirm {case.exam_id} --mammogram UID --specimen UID --reason TEXT",
        )


def _study_cells(study: LinkedStudy) -> Iterable[str | int]:
    return (
        study.role.value,
        day_words(study.day),
        study.laterality.value,
        ", ".join(study.views),
        len(study.sop_instance_uids),
        study.study_uid,
        "; ".join(study.remarks),
    )
