"""Words for what the node found of devices: attachments that moved, clocks that are wrong, names that changed."""

import json
from collections.abc import Mapping
from typing import Any

from dicom_node.alerts.phrases import About, Step, Words, capital, counted, in_days, one_line

_MOST_HOSTS = 8
"""Hosts of an attachment that a text names."""

_EXCLUDE = 'dicom-node exams exclude EXAM --reason "..."'


def attachment_moved_words(about: About) -> Words:
    """An attachment left a host, which gets no fresh cases."""
    details = about.details
    label, since = one_line(details["attachment_label"]), about.day("since")
    if details["state"] == "seen":
        what = (
            f"Since {since} {counted(details['elsewhere'], 'biopsy exam')} were made with {label} on other units, and "
            "none on this one."
        )
    else:
        what = f"The configuration assigns {label} to this unit no longer since {since}, and no other attachment."
    hosts = "; ".join(f"{one_line(host)} {day}" for host, day in details["hosts"][:_MOST_HOSTS])
    newest, cutoff = about.day("newest"), about.day("cutoff")
    if newest is None:
        what += " No clinical exam of this unit is on file."
    elif cutoff is None:
        what += f" Its newest clinical exam is of {newest}."
    else:
        what += f" Its newest clinical exam, of {newest}, counts until {cutoff}, {in_days(cutoff, about.today)}."
    if hosts:
        what += f" The last biopsies with the attachment: {hosts}."
    return Words(
        headline=f"{label} is used elsewhere; this unit gets no fresh cases",
        what=what,
        why="Each unit is accredited by exams made on itself; those made with its attachment on another do not count.",
        do=(
            Step(sentence="Plan a case on this unit before its newest exam stops counting."),
            Step(
                sentence="If it has an attachment, assign it in the configuration:",
                command=f"[[attachments.{one_line(details['attachment'])}.assigned]]\n"
                f"unit = {json.dumps(about.unit_id)}\nfrom = {about.today}",
            ),
            Step(
                sentence=f"If the unit is no longer used for biopsies, write under [units.{about.unit_id}]:",
                command="applying = false",
            ),
        ),
    )


def clock_drift_words(about: About) -> Words:
    """The days that a device writes are not those on which it sends."""
    details = about.details
    days, studies = details["days"], counted(details["studies"], "study", "studies")
    off = f"{counted(abs(days), 'day')} {'ahead' if days > 0 else 'behind'}"
    since, last = about.day("since"), about.day("last")
    when = f"on {since}" if since == last else f"from {since} to {last}"
    return Words(
        headline=f"the clock of {_sender(details)} seems to be {off}",
        what=(
            f"{capital(studies)} that {_sender(details)} sent itself {when} "
            f"{'is' if details['studies'] == 1 else 'are'} dated {off} of the day of receipt, and none of the right "
            "day came since."
        ),
        why=(
            "The day an exam was performed decides whether it counts. A wrong one lets it count too long or too short, "
            "or not at all."
        ),
        do=(
            Step(sentence="Set the date of the device, and of its worklist if the date comes from there."),
            Step(
                sentence="Have exams of wrong days sent again with the right ones, or leave them out:", command=_EXCLUDE
            ),
            Step(sentence="This ends when the device has sent a study of the right day."),
        ),
    )


def renamed_device_words(about: About) -> Words:
    """A known device shows itself under another name."""
    names = about.details["names"]
    is_refused = any(name["refused"] for name in names)
    shown = ", ".join(one_line(name["new"]) for name in names)
    return Words(
        headline=f"the unit may have been renamed to {shown}" + ("; it is not let in" if is_refused else ""),
        what=" ".join(_told(name) for name in names),
        why=(
            "What calls under an AE title that is not listed is refused, so exams may be waiting on the device."
            if is_refused
            else "Units are told apart by what the configuration has of them; a name it does not have tells nothing, "
            "or another unit."
        ),
        do=(
            *(
                Step(
                    sentence=f"If this is the unit, write under [[units.{about.unit_id}.identity]] and reload:",
                    command=f"{name['key']} = {json.dumps(one_line(name['new']))}",
                )
                for name in names
            ),
            Step(sentence="If not, give the device its old name back: this ends when it is seen again."),
        ),
    )


def _told(name: Mapping[str, Any]) -> str:
    old = " or ".join(one_line(each) for each in name["old"]) or "none"
    new = one_line(name["new"])
    if name["key"] == "station_name":
        return (
            f"Since {name['since']} the images of this device carry the station name {new} instead of {old} "
            f"({counted(name['count'], 'study', 'studies')})."
        )
    by = f"from the unit's address {one_line(name['address'])} somebody"
    if name["refused"]:
        return (
            f"Since {name['since']} {by} has called {counted(name['count'], 'time')} under the AE title {new}, which "
            f"is not listed, and was refused; the unit's own is {old}, and nothing came under it since."
        )
    return (
        f"Since {name['since']} {by} sends images of this device under the AE title {new} instead of {old} "
        f"({counted(name['count'], 'exam')})."
    )


def _sender(details: Mapping[str, Any]) -> str:
    return one_line(details["sender"])
