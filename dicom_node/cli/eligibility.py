"""``dicom-node eligibility``: why a unit stands where it stands, and what it needs next."""

from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

import click

from dicom_node.accreditation.explain import Explanation, not_of_enrolment
from dicom_node.accreditation.plan import CALENDAR_MONTHS, Event, EventKind, Need, PortionPlan, calendar_end
from dicom_node.accreditation.policies import Policy
from dicom_node.accreditation.portions import PORTIONS, Portion
from dicom_node.accreditation.standing import State
from dicom_node.cli.app import App, pass_app
from dicom_node.cli.opened import DAY, known_unit, opened, today
from dicom_node.cli.output import Cell, json_option, printable, write_json, write_table
from dicom_node.cli.phrases import day_words, write_sentence
from dicom_node.cli.readiness import readiness_json, write_readiness
from dicom_node.services.eligibility import UnitPlan, explain_unit, plan_units, under_policy
from dicom_node.services.found import Rules
from dicom_node.services.readiness import read_readiness
from dicom_node.site import Stores

SHOWN = 20
"""Exams named one by one; what is older does not decide anything."""

_WIDTH = 80
"""Columns of the plan: it is printed and pinned up."""


def _policy_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--policy",
        "policy_id",
        metavar="ID",
        help="By this policy, shipped or the site's own; else by the one in force.",
    )(command)


@click.group("eligibility")
def eligibility() -> None:
    """See the arithmetic behind a unit's standing, and plan ahead."""


@eligibility.command("explain")
@click.argument("unit_id", metavar="UNIT")
@click.option("--portion", type=click.Choice([each.value for each in PORTIONS]), help="One portion alone.")
@click.option("--on", "on", type=DAY, help="As of this day, by what is on file now; else today.")
@click.option("--release", type=DAY, help="What would count for a testing package released on this day?")
@_policy_option
@json_option
@pass_app
def explain(
    app: App,
    *,
    unit_id: str,
    portion: str | None,
    on: date | None,
    release: date | None,
    policy_id: str | None,
    as_json: bool,
) -> None:
    """Tell in words which exams of UNIT count and why the others do not."""
    with opened(app) as stores:
        known_unit(stores, unit_id)
        explanations = explain_unit(
            stores.index,
            _rules(stores, policy_id),
            unit_id,
            portions=[Portion(portion)] if portion else PORTIONS,
            today=on or today(stores),
            release=release,
        )
        label = stores.site.labels[unit_id]
    if as_json:
        write_json([each.as_json() for each in explanations])
        return
    for number, each in enumerate(explanations):
        click.echo(
            ("\n" if number else "") + f"{printable(label)}, {each.portion.label}, on {each.today}: {each.state}"
        )
        _write(each)


@eligibility.command("plan")
@click.option("--release", type=DAY, help="Plan for a testing package released on this day; else for the planned one.")
@click.option("--unit", "unit_id", metavar="UNIT", help="One unit alone.")
@_policy_option
@json_option
@pass_app
def plan(app: App, *, release: date | None, unit_id: str | None, policy_id: str | None, as_json: bool) -> None:
    """Tell which exams will still count at the planned release, by when new ones are needed, and what ends when."""
    with opened(app) as stores:
        day, rules = today(stores), _rules(stores, policy_id)
        if release is not None and release < day:
            raise click.UsageError(f"{release} is past; a plan looks ahead from {day}")
        units = list(rules.registry.units) if unit_id is None else [known_unit(stores, unit_id)]
        plans = plan_units(stores.index, rules, units, today=day, release=release)
    if as_json:
        write_json(_plan_as_json(plans, rules.policy, day, release))
    else:
        _write_plan(plans, rules.policy, day)


@eligibility.command("readiness")
@click.argument("unit_id", metavar="[UNIT]", required=False)
@_policy_option
@json_option
@pass_app
def readiness(app: App, *, unit_id: str | None, policy_id: str | None, as_json: bool) -> None:
    """Tell what UNIT, or every unit, has for its submission today, and what is missing."""
    with opened(app) as stores:
        day, rules = today(stores), _rules(stores, policy_id)
        units = list(rules.registry.units) if unit_id is None else [known_unit(stores, unit_id)]
        with stores.index.read() as conn:
            found = read_readiness(conn, rules, units, day)
    if as_json:
        write_json([readiness_json(each) for each in found])
        return
    for number, each in enumerate(found):
        if number:
            click.echo()
        write_readiness(each)


def _rules(stores: Stores, policy_id: str | None) -> Rules:
    return under_policy(stores.site.rules, policy_id, stores.site.settings.policies())


def _plan_as_json(plans: Iterable[UnitPlan], policy: Policy, day: date, release: date | None) -> dict[str, Any]:
    several = list(plans)
    return {
        "policy_id": policy.id,
        "today": day,
        "until": calendar_end(day),
        "asked_release": release,
        "units": [{"unit": each.unit, "label": each.label, "portions": each.portions} for each in several],
        "calendar": [{"month": month, "events": events} for month, events in _by_month(several, day).items()],
    }


def _by_month(plans: Iterable[UnitPlan], day: date) -> dict[str, list[Event]]:
    """Return every month of the calendar, as ``2026-11``, with its events; months without any too."""
    end = calendar_end(day)
    numbers = range(day.year * 12 + day.month - 1, end.year * 12 + end.month)
    months: dict[str, list[Event]] = {f"{number // 12:04}-{number % 12 + 1:02}": [] for number in numbers}
    for event in sorted((event for each in plans for event in each.events), key=lambda event: event.day):
        months[f"{event.day:%Y-%m}"].append(event)
    return months


def _write_plan(plans: Iterable[UnitPlan], policy: Policy, day: date) -> None:
    several = list(plans)
    write_sentence(f"Plan from {day}. Rule {policy.id}: {policy.citation}", width=_WIDTH, rest="  ")
    click.echo()
    rows = [(each, portion) for each in several for portion in each.portions]
    write_table(
        ["Unit", "Portion", "Release", "Count", "Count until", "New exam"],
        [
            [
                portion.unit if portion is each.portions[0] else "",
                portion.portion.label,
                portion.release or "-",
                len(portion.counting),
                _until(portion),
                _need(portion),
            ]
            for each, portion in rows
        ],
    )
    if any(portion.is_ageing for _, portion in rows):
        click.echo()
        write_sentence(
            "Count: exams on file that count for that release, or without one for a package released today. Count "
            "until: last release date that the newest exam is sure to count for. In the physicist report surveys "
            "take the place of exams.",
            width=_WIDTH,
        )
    if any(_is_doubtful(portion) for _, portion in rows):
        write_sentence(
            "?: by the rule it counts a little longer, but that hangs on how months are counted at their ends. Do not "
            "rely on those days.",
            width=_WIDTH,
        )
    for each, portion in rows:
        _write_left_out(each, portion)
    for each in several:
        _write_past_plan(each, day)
    click.echo(f"\nThe next {CALENDAR_MONTHS} months, to {calendar_end(day)}:")
    for month, events in _by_month(several, day).items():
        click.echo(month if events else f"{month}  -")
        for event in events:
            _write_event(event)


def _write_left_out(each: UnitPlan, portion: PortionPlan) -> None:
    """Say that an exam does not count because the unit was enrolled elsewhere, where no newer one counts instead."""
    day, enrolment = portion.left_out, portion.enrolment
    if day is not None and enrolment is not None and (portion.newest is None or portion.newest < day):
        words = not_of_enrolment(day, enrolment)
        write_sentence(
            f"! {each.unit}: the {portion.portion.evidence} of {day} does not count: {words}.", width=_WIDTH, rest="  "
        )


def _write_past_plan(each: UnitPlan, day: date) -> None:
    planned = next((one.release for one in each.portions if one.is_ageing), None)
    if planned is not None and planned < day:
        write_sentence(
            f"! {each.unit}: the release planned for {planned} is past. Record the package if it is out, or amend the "
            f"plan: dicom-node release list --unit {each.unit}",
            width=_WIDTH,
            rest="  ",
        )


def _write_event(event: Event) -> None:
    mark = "? " if event.kind is EventKind.AMBIGUOUS else ""
    until = f" to {event.until:%a %d}" if event.until not in (None, event.day) else ""
    if event.until is not None and f"{event.until:%Y-%m}" != f"{event.day:%Y-%m}":
        until = f" to {event.until}"
    write_sentence(
        f"{event.day:%a %d}{until}  {event.unit}: {mark}{event.words}", first="  ", rest="          ", width=_WIDTH
    )


def _is_doubtful(portion: PortionPlan) -> bool:
    return portion.counts_until != portion.last_release


def _until(portion: PortionPlan) -> str:
    if portion.counts_until is None:
        return "-"
    return f"{portion.counts_until} ?" if _is_doubtful(portion) else str(portion.counts_until)


def _need(portion: PortionPlan) -> Cell:
    match portion.need:
        case Need.NO:
            return Cell("no" if portion.is_ageing else "no, secured", "green")
        case Need.BY:
            return Cell(f"by {portion.needed_by}", "yellow")
        case Need.NOW:
            return Cell("now", "bold red")
        case Need.NOTHING_DUE:
            return Cell(_why_nothing(portion), "dim")


def _why_nothing(portion: PortionPlan) -> str:
    if portion.state is State.RETIRED:
        return "retired"
    if portion.enrolment is None:
        return "not enrolled"
    if portion.state is State.NOT_REQUIRED or portion.release_state is None:
        return "not applying"
    return portion.release_state.value


def _write(each: Explanation) -> None:
    for sentence in each.sentences:
        write_sentence(sentence, first="  ", rest="    ")
    if not each.exams:
        return
    write_table(
        [f"  {each.portion.noun.capitalize()}", "Day", "Counts", "Why"],
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
        listed = "surveys" if each.portion is Portion.PHYSICIST else "exams"
        click.echo(f"  and {len(each.exams) - SHOWN} more: dicom-node {listed} list --unit {each.unit}")
