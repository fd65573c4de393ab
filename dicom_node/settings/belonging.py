"""Checks on what belongs to what, and when: units to facilities, attachments to units."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Protocol

from dicom_node.accreditation.units import OWN_FACILITY
from dicom_node.settings.devices import AssignmentTable, EnrolmentTable, UnitTable
from dicom_node.settings.lines import KeyPath
from dicom_node.settings.raw import Finding, table_of, tables_of, valid


class _Span(Protocol):
    """Days, both included; None is open."""

    @property
    def first_day(self) -> date | None: ...
    @property
    def last_day(self) -> date | None: ...


def enrolments(data: Mapping[str, Any], context: Mapping[str, Any]) -> Iterator[Finding]:
    """Find enrolments at facilities that do not exist, of days that are taken, or that say nothing."""
    facilities = table_of(data, "facilities")
    if OWN_FACILITY in facilities:
        message = f"{OWN_FACILITY!r} is the facility of [facility]; write another id"
        yield Finding(path=("facilities", OWN_FACILITY), message=message)
    for name, unit in table_of(data, "units").items():
        served = valid(UnitTable, unit, context)
        before: list[tuple[int, EnrolmentTable]] = []
        for position, entry in tables_of(unit, "enrolled"):
            path: KeyPath = ("units", name, "enrolled", position)
            facility = entry.get("facility")
            if isinstance(facility, str) and facility not in {OWN_FACILITY, *facilities}:
                known = ", ".join([OWN_FACILITY, *facilities])
                message = (
                    f"facility {facility!r} does not exist (known: {known}); write a table [facilities.{facility}]"
                )
                yield Finding(path=(*path, "facility"), message=message)
            table = valid(EnrolmentTable, entry, context)
            if table is None:
                continue
            for other, span in before:
                if _share_days(span, table):
                    message = f"some of its days are those of units.{name}.enrolled.{other}; write each day once"
                    yield Finding(path=_where(path, entry), message=message)
            before.append((position, table))
            if served is not None:
                yield from _idle(served, table, path, entry)


def _idle(unit: UnitTable, table: EnrolmentTable, path: KeyPath, entry: Mapping[str, Any]) -> Iterator[Finding]:
    """Find an enrolment that no day of the unit's service is in."""
    if not unit.applying:
        message = "the unit is not applying, so this says nothing; write applying = true, or remove it"
        yield Finding(path=path, message=message, is_warning=True)
    elif unit.retired_on and table.first_day and unit.retired_on < table.first_day:
        message = f"from {table.first_day} is after retired_on {unit.retired_on}; mend one of them"
        yield Finding(path=_where(path, entry), message=message)
    elif unit.installed_on and table.last_day and table.last_day < unit.installed_on:
        message = f"to {table.last_day} is before installed_on {unit.installed_on}; mend one of them"
        yield Finding(path=(*path, "to"), message=message)


def assignments(data: Mapping[str, Any], context: Mapping[str, Any]) -> Iterator[Finding]:
    """Find days on which an attachment is assigned to one unit twice, or to one that is out of service.

    An attachment may be shared: days on which it belongs to several units are right.
    """
    units = {name: valid(UnitTable, unit, context) for name, unit in table_of(data, "units").items()}
    for name, attachment in table_of(data, "attachments").items():
        before: list[tuple[int, AssignmentTable]] = []
        for position, entry in tables_of(attachment, "assigned"):
            path: KeyPath = ("attachments", name, "assigned", position)
            table = valid(AssignmentTable, entry, context)
            if table is None:
                continue
            for other, span in before:
                if span.unit == table.unit and _share_days(span, table):
                    message = (
                        f"some of its days are those of attachments.{name}.assigned.{other}, on the same unit; write "
                        "each day once"
                    )
                    yield Finding(path=_where(path, entry), message=message, is_warning=True)
            before.append((position, table))
            unit = units.get(table.unit)
            retired_on = unit.retired_on if unit is not None else None
            if retired_on is not None and (table.last_day is None or retired_on < table.last_day):
                message = (
                    f"{table.unit} was retired on {retired_on}; write to = {retired_on}, or the day it was taken off"
                )
                yield Finding(path=path, message=message, is_warning=True)


def _where(path: KeyPath, entry: Mapping[str, Any]) -> KeyPath:
    """Return the key to mend in a span: its beginning, where it has one."""
    return (*path, "from") if "from" in entry else path


def _share_days(one: _Span, other: _Span) -> bool:
    return (one.first_day or date.min) <= (other.last_day or date.max) and (other.first_day or date.min) <= (
        one.last_day or date.max
    )
