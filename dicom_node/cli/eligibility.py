"""``dicom-node eligibility``: why a unit stands where it stands."""

from datetime import date

import click

from dicom_node.accreditation.explain import Explanation
from dicom_node.accreditation.portions import COUNTING_PORTIONS, Portion
from dicom_node.cli.app import App, pass_app
from dicom_node.cli.opened import DAY, known_unit, opened, today
from dicom_node.cli.output import Cell, json_option, printable, write_json, write_table
from dicom_node.cli.phrases import day_words, write_sentence
from dicom_node.services.eligibility import explain_unit

SHOWN = 20
"""Exams named one by one; what is older does not decide anything."""


@click.group("eligibility")
def eligibility() -> None:
    """See the arithmetic behind a unit's standing."""


@eligibility.command("explain")
@click.argument("unit_id", metavar="UNIT")
@click.option("--portion", type=click.Choice([each.value for each in COUNTING_PORTIONS]), help="One portion alone.")
@click.option("--on", "on", type=DAY, help="As of this day, by what is on file now; else today.")
@click.option("--release", type=DAY, help="What would count for a testing package released on this day?")
@json_option
@pass_app
def explain(
    app: App, *, unit_id: str, portion: str | None, on: date | None, release: date | None, as_json: bool
) -> None:
    """Tell in words which exams of UNIT count and why the others do not."""
    with opened(app) as stores:
        known_unit(stores, unit_id)
        explanations = explain_unit(
            stores.index,
            stores.site.rules,
            unit_id,
            portions=[Portion(portion)] if portion else COUNTING_PORTIONS,
            today=on or today(stores),
            release=release,
        )
        label = stores.site.labels[unit_id]
    if as_json:
        write_json([each.as_json() for each in explanations])
        return
    for number, each in enumerate(explanations):
        click.echo(("\n" if number else "") + f"{printable(label)}, {each.portion}, on {each.today}: {each.state}")
        _write(each)


def _write(each: Explanation) -> None:
    for sentence in each.sentences:
        write_sentence(sentence, first="  ", rest="    ")
    if not each.exams:
        return
    write_table(
        ["  Exam", "Day", "Counts", "Why"],
        [
            [
                f"  {exam.exam_id}",
                day_words(exam.day),
                Cell("yes", "green") if exam.counts else Cell("no", "yellow"),
                "; ".join((exam.why, *exam.flags)),
            ]
            for exam in each.exams[:SHOWN]
        ],
    )
    if len(each.exams) > SHOWN:
        click.echo(f"  and {len(each.exams) - SHOWN} more: dicom-node exams list --unit {each.unit}")
