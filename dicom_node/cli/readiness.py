"""What a unit has for its submission, for people and for programs."""

from typing import Any

import click

from dicom_node.cli.output import printable, write_table
from dicom_node.cli.phrases import write_sentence
from dicom_node.services.readiness import PortionReadiness, Readiness


def readiness_json(each: Readiness) -> dict[str, Any]:
    """Return it as JSON has it."""
    release, cycle = each.release, each.cycle
    return {
        "unit": each.unit.id,
        "label": each.unit.label,
        "today": each.today,
        "facility": each.facility or None,
        "cycle": None if cycle is None else {"id": cycle.id, "expires_on": cycle.expires_on, "closed": cycle.closed},
        "release": None
        if release is None
        else {
            "id": release.id,
            "released_on": release.released_on,
            "due_on": release.due_on,
            "state": release.state,
        },
        "portions": [_portion_json(one) for one in each.portions],
        "logs": [
            {
                "kind": log.kind,
                "first": log.first,
                "last": log.last,
                "complete": log.is_complete,
                "gaps": log.gaps,
            }
            for log in each.logs
        ],
        "proposed_surveys": each.proposed,
        "missing": each.missing,
    }


def _portion_json(one: PortionReadiness) -> dict[str, Any]:
    standing = one.standing
    return {
        "portion": standing.portion,
        "state": standing.state,
        "counts": None
        if one.counts is None
        else {"id": one.counts.exam_id, "day": one.counts.day, "source": one.counts.source},
        "cutoff": standing.cutoff,
        "days_left": standing.days_left,
        "missing": one.missing or None,
    }


def write_readiness(each: Readiness) -> None:
    """Write it for people."""
    click.echo(printable(f"{each.unit.label} ({each.unit.id}), on {each.today}: {_headline(each)}"))
    write_table(
        ["  Portion", "State", "What counts", "Of", "Until", "Days left"],
        [
            [
                f"  {one.standing.portion.label}",
                one.standing.state.value,
                one.counts.exam_id if one.counts else "-",
                one.counts.day if one.counts else "-",
                one.standing.cutoff or "-",
                "-" if one.standing.days_left is None else one.standing.days_left,
            ]
            for one in each.portions
        ],
    )
    for log in each.logs:
        state = "complete" if log.is_complete else "not complete"
        click.echo(f"  {log.kind} logs, {log.first} to {log.last}: {state}")
    for sentence in each.missing:
        write_sentence(f"missing: {sentence}", first="  ", rest="    ")
    if each.proposed:
        number = len(each.proposed)
        whose = "a document" if number == 1 else f"{number} documents"
        click.echo(f"  {whose} may be the report of a survey: dicom-node surveys list --unit {each.unit.id}")


def _headline(each: Readiness) -> str:
    cycle, release = each.cycle, each.release
    expiry = "" if cycle is None or cycle.expires_on is None else f", accredited until {cycle.expires_on}"
    if release is None:
        return f"no testing package{expiry}"
    due = f", due on {release.due_on}" if release.due_on else ""
    return f"testing package {release.id} of {release.released_on}, {release.state}{due}{expiry}"
