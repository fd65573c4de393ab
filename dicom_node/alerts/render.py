"""A notice into a message: subject, text, HTML alternative, and the same as data for programs."""

import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from dicom_node.accreditation.reminders import Severity
from dicom_node.alerts.notice import URGENCY, Item, Notice, NoticeKind, Site
from dicom_node.alerts.phrases import About, Words, capital, counted, one_line
from dicom_node.alerts.words import firing_words, resolved_words

SUBJECT_TAG = "[ACR SBB]"
_LONGEST_SUBJECT = 250
_WIDTH = 78
_INDENT = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a channel delivers. ``subject`` is one line of printable characters; nothing in it is patient data."""

    key: str
    source: str
    """The node that speaks: two nodes may use the same key for different messages."""
    kind: NoticeKind
    severity: Severity
    unit_id: str
    subject: str
    text: str
    html: str
    alert_keys: tuple[str, ...]
    at: datetime
    """Aware, in the site's zone."""
    data: Mapping[str, Any]
    """The message for programs: JSON values only."""


def render(notice: Notice, site: Site) -> Message:
    """Put a notice into words. ``notice.at`` decides what "today" is."""
    at = notice.at.astimezone(site.zone)
    today = at.date()
    told = [(item, _words(notice, item, today)) for item in notice.items]
    values = {
        "notice": notice,
        "site": site,
        "today": today,
        "told": told,
        "resolved": notice.kind is NoticeKind.RESOLVED,
        "days_left": lambda line: (line.cutoff - today).days,
    }
    name = "digest" if notice.kind is NoticeKind.DIGEST else "test" if notice.kind is NoticeKind.TEST else "notice"
    subject = _subject(notice, site, told)
    texts, pages = _environments()
    return Message(
        key=notice.key,
        source=f"{site.facility}/{site.ae_title}",
        kind=notice.kind,
        severity=notice.severity,
        unit_id=notice.unit_id,
        subject=subject,
        text=texts.get_template(f"{name}.txt").render(values),
        html=pages.get_template(f"{name}.html").render(values, subject=subject),
        alert_keys=tuple(item.key for item in notice.items),
        at=at,
        data={
            "message_key": notice.key,
            "kind": notice.kind,
            "severity": notice.severity,
            "facility": site.facility,
            "node": site.ae_title,
            "unit": notice.unit_id,
            "unit_label": notice.unit_label,
            "at": at.isoformat(timespec="seconds"),
            "subject": subject,
            "alerts": [_item_data(item, words) for item, words in told],
            "also": list(notice.also),
        },
    )


def _words(notice: Notice, item: Item, today: date) -> Words:
    about = About(item=item, unit_id=notice.unit_id, unit_label=notice.unit_label or item.unit_label, today=today)
    return resolved_words(about) if notice.kind is NoticeKind.RESOLVED else firing_words(about)


def _subject(notice: Notice, site: Site, told: list[tuple[Item, Words]]) -> str:
    if notice.kind is NoticeKind.DIGEST:
        about = f"weekly summary, {counted(len(told), 'open alert')}" if told else "weekly summary, all is well"
        return one_line(f"{SUBJECT_TAG} {site.facility}: {about}")
    if notice.kind is NoticeKind.TEST:
        return one_line(f"{SUBJECT_TAG} {site.facility}: test message")
    worst_first = sorted(told, key=lambda pair: -URGENCY.index(pair[0].severity))
    shown = "; ".join(words.headline for _, words in worst_first[:2])
    more = f"; and {len(told) - 2} more" if len(told) > 2 else ""
    return one_line(f"{SUBJECT_TAG} {notice.unit_label or site.facility}: {shown}{more}")[:_LONGEST_SUBJECT]


def _item_data(item: Item, words: Words) -> dict[str, Any]:
    return {
        "id": item.alert_id,
        "key": item.key,
        "kind": item.kind,
        "portion": item.portion,
        "severity": item.severity,
        "acknowledged": item.acknowledged,
        "details": dict(item.details),
        "words": asdict(words),
    }


@cache
def _environments() -> tuple[Environment, Environment]:
    """Make the environments of the text and of the HTML templates; only the latter escapes."""
    made = []
    for escapes in (False, True):
        environment = Environment(
            loader=PackageLoader("dicom_node.alerts"),
            undefined=StrictUndefined,
            autoescape=escapes,  # noqa: S701 # only the plain text is not escaped
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        environment.filters |= {"hang": _hang, "plain": one_line, "capital": capital}
        made.append(environment)
    return made[0], made[1]


def _hang(text: str, label: str = "", bullet: str = "") -> str:
    """Wrap a sentence beside its label and its bullet."""
    return textwrap.fill(
        one_line(text),
        width=_WIDTH,
        initial_indent=label.ljust(_INDENT) + bullet,
        subsequent_indent=" " * (_INDENT + len(bullet)),
        break_long_words=False,
        break_on_hyphens=False,
    )
