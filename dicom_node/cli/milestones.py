"""What lies ahead of the facility's accreditation cycles, for people and for programs."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import click

from dicom_node.accreditation.milestones import REPEATED, Milestone, MilestoneKind, MilestoneState
from dicom_node.accreditation.units import OWN_FACILITY
from dicom_node.cli.output import Cell, write_table
from dicom_node.services.milestones import CycleAhead

_HEADERS = {
    MilestoneKind.COLLECT: "Collect cases from",
    MilestoneKind.NOTICE: "Notice expected",
    MilestoneKind.APPLICATION: "Application due",
    MilestoneKind.EXPIRY: "Expires",
}


def write_cycles(cycles: Sequence[CycleAhead]) -> None:
    """Write a row for each cycle, and an empty line; nothing without a cycle."""
    if not cycles:
        return
    rows: list[list[Cell | str | int | date | None]] = []
    for ahead in cycles:
        by_kind = {each.kind: each for each in ahead.milestones}
        where = "" if ahead.cycle.facility == OWN_FACILITY else f" of {ahead.cycle.facility}"
        rows.append([ahead.cycle.id + where, ahead.state.value, *(_cell(by_kind.get(kind)) for kind in _HEADERS)])
    write_table(["Cycle", "State", *_HEADERS.values()], rows)
    click.echo()


def _cell(milestone: Milestone | None) -> Cell:
    if milestone is None:
        return Cell("-")
    words = f"{'about ' if milestone.is_estimate else ''}{milestone.day}"
    if milestone.state is MilestoneState.AHEAD:
        return Cell(words)
    is_late = milestone.state is MilestoneState.PAST and milestone.kind in REPEATED
    return Cell(f"{words} {milestone.state}", "bold red" if is_late else "dim")


def cycle_json(ahead: CycleAhead, today: date) -> dict[str, Any]:
    """Return a cycle with what lies ahead of it as JSON has it."""
    return {
        "cycle": ahead.cycle.id,
        "facility": ahead.cycle.facility,
        "state": ahead.state,
        "expires_on": ahead.cycle.expires_on,
        "policy": ahead.policy_id,
        "milestones": [
            {
                "kind": each.kind,
                "day": each.day,
                "days_left": (each.day - today).days,
                "state": each.state,
                "is_estimate": each.is_estimate,
                "arithmetic": each.arithmetic,
            }
            for each in ahead.milestones
        ],
    }
