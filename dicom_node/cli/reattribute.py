"""``dicom-node reattribute``: stored exams worked out anew after units or rules of the configuration changed."""

import sys
from collections.abc import Callable
from datetime import date
from typing import Any

import click

from dicom_node.accreditation.fingerprint import fingerprint
from dicom_node.accreditation.standing import Standing
from dicom_node.alerts.phrases import counted
from dicom_node.cli.app import FAILED, App, pass_app
from dicom_node.cli.exam_words import exam_json
from dicom_node.cli.opened import DAY, by_option, now, opened, reason_option, today
from dicom_node.cli.output import json_option, write_json, write_table
from dicom_node.cli.phrases import day_words, write_sentence
from dicom_node.cli.progress import progress
from dicom_node.errors import OperatorError
from dicom_node.index.exams import ExamRecord
from dicom_node.services.decisions import Verdict
from dicom_node.services.derived_by import is_by_others
from dicom_node.services.finding import Found
from dicom_node.services.reattribution import Applied, ExamChange, Others, Preview, apply, preview, work_out
from dicom_node.services.status import concern
from dicom_node.site import Stores

SHOWN = 100
"""Exams that are written one by one for people."""

since_option = click.option(
    "--since", type=DAY, help="Only studies with something made on this day or later, or without a day."
)


@click.group("reattribute")
def reattribute() -> None:
    """Work stored exams out anew after units or rules of the configuration changed.

    What people decided stands above the rules and is kept.
    """


@reattribute.command("preview")
@since_option
@json_option
@pass_app
def preview_(app: App, *, since: date | None, as_json: bool) -> None:
    """Tell which exams would change their unit, portion or day, and which standings and alerts. Nothing is changed."""
    with opened(app) as stores:
        others, found = _look(stores, since)
        labels, day = stores.site.labels, today(stores)
        with stores.index.read() as conn:
            is_told = is_by_others(conn, stores.site.registry)
    if as_json:
        write_json(_as_json(others, found))
        return
    _write(others, found, labels, day)
    if others.instances or is_told:
        click.echo(
            f'{"Change it" if others.instances else "Put that down"}: dicom-node reattribute apply --reason "..."'
        )


@reattribute.command("apply")
@since_option
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
@reason_option
@by_option
@json_option
@pass_app
def apply_(app: App, *, since: date | None, is_sure: bool, reason: str, by: str, as_json: bool) -> None:
    """Show what preview shows, ask, and change it. May run beside a node, and again when it was cut short."""
    if not reason.strip():
        raise OperatorError("a decision needs a reason, in words that the next person understands")
    if not is_sure and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("without a terminal to ask at, add --yes")
    with opened(app) as stores:
        _check_node(stores)
        others, found = _look(stores, since)
        if not as_json:
            _write(others, found, stores.site.labels, today(stores))
        if others.instances and not is_sure and not click.confirm("Change it?"):
            click.echo("Nothing was changed.")
            raise click.exceptions.Exit(FAILED)
        with progress(len(others.studies), "changing") as step:
            done = apply(
                stores.archive,
                stores.indexer,
                others,
                Verdict(by=by, at=now(), reason=reason.strip()),
                since=since,
                progress=step,
            )
    if as_json:
        write_json(_as_json(others, found) | {"changed": done.instances, "left": done.left})
    else:
        _write_done(done)
    if done.left or others.unreadable:
        raise click.exceptions.Exit(FAILED)


def _check_node(stores: Stores) -> None:
    """Raise OperatorError when a node runs by other units and rules: it would go on making such rows."""
    told = stores.archive.claims.node()
    running = (told or {}).get("registry")
    if running is not None and running != fingerprint(stores.site.registry):
        raise OperatorError(
            "the node still runs by the former configuration: have it read this one first (systemctl reload dicom-node)"
        )


def _look(stores: Stores, since: date | None) -> tuple[Others, Preview]:
    with progress(0, "reading") as step:
        others = work_out(stores.archive, stores.indexer, since=since, progress=step)
    return others, preview(stores.indexer, stores.site.rules, others, today=today(stores))


def _write(others: Others, found: Preview, labels: dict[str, str], day: date) -> None:
    looked = counted(others.looked_at, "instance")
    unreadable = f"; {counted(others.unreadable, 'object')} could not be read" if others.unreadable else ""
    if not others.instances:
        click.echo(f"{looked} worked out anew: nothing would change{unreadable}.")
        return
    click.echo(f"{looked} worked out anew: {others.instances} would change{unreadable}.")
    if found.exams:
        click.echo()
        write_table(
            ["Exam", "Unit", "Portion", "Day", "Counts", "Instances", "Becomes"],
            [[*_cells(each), _id(each.after)] for each in found.exams[:SHOWN]],
        )
        if len(found.exams) > SHOWN:
            click.echo(f"and {len(found.exams) - SHOWN} more; --json tells all.")
    if found.details:
        click.echo()
        click.echo(f"Of {counted(found.details, 'instance')} only evidence, attachment or remarks would change.")
    for held in found.held:
        said = f"a person gave it to {held.unit_id}, where it stays; the rules now say "
        rules = f"{held.rules_after or 'no unit'} ({held.evidence})" + (", too" if held.agrees else "")
        write_sentence(f"{held.exam_id}: {said}{rules}", first="  ", rest="    ")
    click.echo()
    for change in found.standings:
        told = f"{_standing(change.before)} -> {_standing(change.after)}"
        write_sentence(f"{change.unit.label}, {change.before.portion.label}: {told}", rest="  ")
    if not found.standings:
        click.echo("No standing would change.")
    for word, several in (("Opens", found.opened), ("Ends", found.ended)):
        for each in several:
            headline = concern(each, labels, day).words.headline
            label = labels.get(each.unit_id, "")
            write_sentence(f"{word}: {f'{label}: ' if label else ''}{headline}", rest="  ")


def _standing(standing: Standing) -> str:
    newest = f" ({standing.portion.noun} of {standing.newest.day})" if standing.newest else ""
    until = f", until {standing.cutoff}" if standing.cutoff else ""
    return f"{standing.state}{newest}{until}"


def _write_done(done: Applied) -> None:
    if done.instances:
        click.echo(f"{counted(done.instances, 'instance')} changed, in {counted(len(done.exams), 'exam')}.")
    if done.left:
        click.echo(f"{counted(done.left, 'study', 'studies')} changed meanwhile: run it again.")


def _id(exam: ExamRecord | None) -> str:
    return "-" if exam is None else exam.id


def _cells(change: ExamChange) -> list[str | int]:
    def arrow(words: Callable[[ExamRecord], str]) -> str:
        told = [words(each) for each in (change.before, change.after) if each is not None]
        return " -> ".join(dict.fromkeys(told))

    return [
        _id(change.before),
        arrow(lambda exam: exam.unit_id or "unknown"),
        arrow(lambda exam: exam.portion.value),
        arrow(lambda exam: day_words(exam.day)),
        arrow(_counts),
        change.instances,
    ]


def _counts(exam: ExamRecord) -> str:
    return "excluded" if exam.excluded else "yes" if exam.counts else "no"


def _as_json(others: Others, found: Preview) -> dict[str, Any]:
    return {
        "looked_at": others.looked_at,
        "unreadable": others.unreadable,
        "instances": others.instances,
        "details": found.details,
        "exams": [
            {
                "before": each.before and exam_json(each.before),
                "after": each.after and exam_json(each.after),
                "instances": each.instances,
            }
            for each in found.exams
        ],
        "held": [
            {
                "exam": each.exam_id,
                "unit": each.unit_id,
                "instances": each.instances,
                "rules_before": each.rules_before or None,
                "rules_after": each.rules_after or None,
                "evidence": each.evidence,
                "agrees": each.agrees,
            }
            for each in found.held
        ],
        "standings": [
            {
                "unit": each.unit.id,
                "portion": each.before.portion,
                "before": {
                    "state": each.before.state,
                    "cutoff": each.before.cutoff,
                    "days_left": each.before.days_left,
                },
                "after": {"state": each.after.state, "cutoff": each.after.cutoff, "days_left": each.after.days_left},
            }
            for each in found.standings
        ],
        "alerts": {
            "opened": [_found_json(each) for each in found.opened],
            "ended": [_found_json(each) for each in found.ended],
        },
    }


def _found_json(found: Found) -> dict[str, Any]:
    return {"key": found.key, "kind": found.kind, "unit": found.unit_id or None, "portion": found.portion or None}
