"""What all words of alerts are made with: the values, and small helpers for plain sentences."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from dicom_node.alerts.notice import Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do, with the command for it, or the line to write, where there is one."""

    sentence: str
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """An alert in words. ``headline`` is a phrase that also makes the subject line."""

    headline: str
    what: str
    why: str
    do: tuple[Step, ...]
    next: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """An alert to be put into words: its unit's id and everyday name ("" for none), and the day they are for."""

    item: Item
    unit_id: str
    unit_label: str
    today: date

    @property
    def details(self) -> Mapping[str, Any]:
        """What the alert's row tells."""
        return self.item.details

    def day(self, name: str) -> date | None:
        """Return a date of the details, None when there is none."""
        return read_day(self.details, name)


def read_day(details: Mapping[str, Any], name: str) -> date | None:
    """Return a date of some details, which hold it as ISO text; None when there is none."""
    text = details.get(name)
    return date.fromisoformat(text) if text else None


def one_line(text: str) -> str:
    """Return a device's or an operator's text as one line of printable characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return the number with its noun: ``1 exam``, ``2 exams``."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def capital(text: str) -> str:
    """Return the text with its first letter as a capital."""
    return text[:1].upper() + text[1:]


def in_days(day: date, today: date) -> str:
    """Say when a day is: ``today``, ``in 3 days``, ``3 days ago``."""
    days = (day - today).days
    if days == 0:
        return "today"
    return f"in {counted(days, 'day')}" if days > 0 else f"{counted(-days, 'day')} ago"


def from_today(day: date, today: date) -> str:
    """Say when a day is, after naming it: ``which is today``, ``3 days from today``, ``3 days ago``."""
    days = (day - today).days
    if days == 0:
        return "which is today"
    return f"{counted(days, 'day')} from today" if days > 0 else in_days(day, today)
