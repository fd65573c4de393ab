"""The lists of an evidence package for people: the checklist as text, the eligibility statement as a page to print."""

import textwrap
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from dicom_node.accreditation.checklist import Mark
from dicom_node.accreditation.policies import Policy
from dicom_node.accreditation.standing import ReleaseState
from dicom_node.alerts.phrases import capital, one_line
from dicom_node.services.package_parts import PortionPackage, UnitPackage

_WIDTH = 100
_SIGNS = {Mark.THERE: "[x]", Mark.MISSING: "[ ]", Mark.LOOK: "[?]", Mark.BY_HAND: "[-]"}
"""In front of an item; the word of the mark stands beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Who makes a package, when, where, and by which rules."""

    by: str
    at: datetime
    """Aware."""
    zone: tzinfo
    """The facility's."""
    facility: str
    ae_title: str
    version: str
    """Of this program."""
    policy: Policy

    def as_json(self) -> dict[str, Any]:
        """Return it for the manifest."""
        policy = self.policy
        return {
            "made_at": self.at,
            "made_by": self.by,
            "facility": self.facility,
            "node": {"ae_title": self.ae_title, "version": self.version},
            "policy": {
                "id": policy.id,
                "program": policy.program,
                "article": policy.article,
                "revision": policy.revision,
                "address": policy.address,
                "months": {portion.value: months for portion, months in policy.months.items()},
            },
        }


def checklist_text(unit: UnitPackage, made: Made) -> str:
    """Return what the programme asks of a unit's submission and what is there, as plain text."""
    release = unit.release
    due = f", due on {unit.due}" if unit.due else ""
    lines = [
        f"Checklist: {one_line(unit.unit.label)} ({unit.unit.id}), {one_line(unit.facility)}",
        f"Testing package {release.id}, {_released(unit)} {release.released_on}{due}",
        f"Made {_local(made)} by {one_line(made.by)}, dicom-node {made.version}, policy {made.policy.id}",
        "",
        "[x] there   [ ] missing   [-] to be added by hand   [?] look at it",
        "",
    ]
    if unit.problem:
        lines += [*_wrapped(f"STOPPED: {unit.problem}. This unit has no folders in this package.", ""), ""]
    for portion in unit.portions:
        lines.append(f"{capital(_label(portion))}: {_chosen_words(portion)}")
        if portion.images:
            lines.append(f"  folder {portion.folder}, {_counted(portion)}")
        for item in portion.items:
            words = f": {one_line(item.words)}" if item.words else ""
            lines += _wrapped(f"{item.what} - {item.mark}{words}", f"  {_SIGNS[item.mark]} ")
        lines.append("")
    return "\n".join(lines)


def statement_page(unit: UnitPackage, made: Made) -> str:
    """Return the eligibility statement of a unit: the arithmetic with its source, on one printed page, as HTML."""
    return (
        _templates()
        .get_template("statement.html")
        .render(
            unit=unit,
            release=unit.release,
            made=made,
            made_at=_local(made),
            released=_released(unit),
            label=_label,
            chosen_words=_chosen_words,
            counted=_counted,
            there=Mark.THERE,
        )
    )


def _released(unit: UnitPackage) -> str:
    """Return what stands before the release date: whether that is past or expected, and how far the package is."""
    state = unit.release.state
    return "planned for" if state is ReleaseState.PLANNED else f"{state}, released on"


def _label(portion: PortionPackage) -> str:
    return portion.portion.label


def _chosen_words(portion: PortionPackage) -> str:
    """Say what was chosen of a portion, and whether a person stands for it."""
    if not portion.subject:
        return "nothing chosen"
    confirmed = ""
    if portion.needs_confirmation:
        confirmed = f", confirmed by {one_line(portion.confirmed_by)}" if portion.is_confirmed else ", NOT CONFIRMED"
    return f"{portion.portion.noun} {portion.subject} of {portion.day}{confirmed}"


def _counted(portion: PortionPackage) -> str:
    number = len(portion.images)
    return "1 file" if number == 1 else f"{number} files"


def _local(made: Made) -> str:
    return f"{made.at.astimezone(made.zone):%Y-%m-%d %H:%M %Z}"


def _wrapped(text: str, first: str) -> list[str]:
    return textwrap.wrap(
        text,
        width=_WIDTH,
        initial_indent=first,
        subsequent_indent=" " * (len(first) + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("dicom_node.services"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"plain": one_line, "capital": capital}
    return environment
