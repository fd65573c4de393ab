"""Words for what the node found beside the countdowns: units, dates and contents that need a person."""

import json
import re
from collections.abc import Mapping
from typing import Any

from dicom_node.alerts.phrases import About, Step, Words, capital, counted, from_today, one_line, read_day

SHOWN = 5
"""How many exams or doubts a text names before it says how many more there are."""

_ATTRIBUTE = 'dicom-node exams attribute EXAM --unit UNIT --reason "..."'
_EXCLUDE = 'dicom-node exams exclude EXAM --reason "..."'
_ANEW = 'dicom-node reattribute apply --reason "..."'
"""What has exams on file follow the configuration, once the node has read it."""


def unregistered_unit_words(about: About) -> Words:
    """Biopsy images came from a device that no unit's configuration names."""
    details = about.details
    if "enrolled" in details:
        return _not_enrolled_words(about)
    named = {"serial number": details["serial"], "station name": details["station"], "made by": details["manufacturer"]}
    device = ", ".join(f"{name} {one_line(text)}" for name, text in named.items() if text) or "no number and no name"
    key, value = ("device_serial", details["serial"]) if details["serial"] else ("station_name", details["station"])
    return Words(
        headline=f"biopsy images of a device that is no registered unit ({device})",
        what=(
            f"{counted(details['count'], 'exam')} with biopsy images came from a device that the configuration names "
            f"as no unit: {device}; sent by {_sender(details)}.{_newest(details)} They count toward nothing as long as "
            f"this is so.{_exams(details)}"
        ),
        why=details["rule"],
        do=(
            Step(
                sentence="If it is a new unit, or a known one whose number or name changed, write this under "
                "[[units.NAME.identity]] in the configuration, reload it, and have the exams on file follow it by "
                "dicom-node reattribute apply:",
                # A JSON text is a TOML text as well.
                command=f"{key} = {json.dumps(one_line(value))}",
            ),
            Step(sentence="If an exam belongs to a unit you have, say so:", command=_ATTRIBUTE),
            Step(sentence="If an exam is no biopsy of this facility, leave it out:", command=_EXCLUDE),
        ),
    )


def _not_enrolled_words(about: About) -> Words:
    """Biopsies were made on a unit on days on which it was not enrolled."""
    details = about.details
    spans = "; ".join(
        f"at {one_line(facility)} from {first or 'the beginning'} to {last or 'now'}"
        for facility, first, last in details["enrolled"]
    )
    exams = f"{counted(details['count'], 'biopsy exam')} of this unit {'is' if details['count'] == 1 else 'are'}"
    return Words(
        headline="biopsies on a day on which the unit is not enrolled",
        what=(
            f"{exams} of days on which the configuration has it enrolled nowhere. It is enrolled {spans}."
            f"{_newest(details)}{_exams(details)}"
        ),
        why=details["rule"],
        do=(
            Step(sentence=f"If it was enrolled then, correct from or to under [[units.{about.unit_id}.enrolled]]."),
            Step(sentence="If an exam was made on another unit, say so:", command=_ATTRIBUTE),
            Step(sentence="If an exam is no biopsy of this facility, leave it out:", command=_EXCLUDE),
        ),
    )


def unit_must_apply_words(about: About) -> Words:
    """A unit that is not applying has an attachment, or biopsies were made on it."""
    details = about.details
    names = ", ".join(one_line(name) for name in details["attachments"])
    if details["state"] == "seen":
        headline = "biopsies on a unit that is not applying"
        what = f"This unit is not applying, but {counted(details['count'], 'biopsy exam')} on file came from it."
        what += _newest(details) + (f" Attachment: {names}." if names else "") + _exams(details)
    else:
        headline = "an attachment belongs to a unit that is not applying"
        what = f"This unit is not applying, but the configuration assigns an attachment to it: {names}."
    return Words(
        headline=headline,
        what=what,
        why=details["rule"],
        do=(
            Step(
                sentence=f"Apply for the unit as well, and write under [units.{about.unit_id}] in the configuration:",
                command="applying = true",
            ),
            *(
                (
                    Step(sentence="If an exam was made on another unit, say so:", command=_ATTRIBUTE),
                    Step(sentence="If an exam is no biopsy of this facility, leave it out:", command=_EXCLUDE),
                )
                if details["state"] == "seen"
                else (
                    Step(
                        sentence="If the attachment is no longer used there, end its assignment in the configuration."
                    ),
                )
            ),
        ),
    )


def undated_words(about: About) -> Words:
    """Exams of a unit have no day that can be trusted."""
    details = about.details
    flags = "; ".join(one_line(flag) for flag in details["flags"][:SHOWN])
    return Words(
        headline=f"{counted(details['count'], 'exam')} without a date that can be trusted",
        what=(
            f"{counted(details['count'], 'exam')} of this unit would count, but the day of the exam is missing, "
            f"impossible or in the future{f' ({flags})' if flags else ''}.{_exams(details)}"
        ),
        why="The day an exam was performed decides whether it counts; without one it counts toward nothing.",
        do=(
            Step(
                sentence="Look at the exam:"
                if details.get("is_drifting")  # its own alert, in the same message, says what to do about the clock
                else "Check the date of the unit's clock, and look at the exam:",
                command="dicom-node exams show EXAM",
            ),
            Step(sentence="Have the unit or the archive send the exam again with its right date."),
            Step(sentence="If the exam need not count, leave it out:", command=_EXCLUDE),
        ),
    )


def unattributed_words(about: About) -> Words:
    """Exams that may count came from a sender that does not tell their unit."""
    details = about.details
    one = details["count"] == 1
    exams = counted(details["count"], "exam")
    candidates = ", ".join(one_line(unit) for unit in details["candidates"])
    doubts = "".join(f" {capital(one_line(doubt)).rstrip('.')}." for doubt in details["doubts"][:SHOWN])
    return Words(
        headline=f"{exams} from {_sender(details)} {'waits to be told its' if one else 'wait to be told their'} unit",
        what=(
            f"The images do not tell which unit made {exams} sent by {_sender(details)}"
            f"{f' (it could be {candidates})' if candidates else ''}.{doubts}{_newest(details)} "
            f"{'It counts' if one else 'They count'} toward "
            f"nothing until a person decides.{_exams(details)}"
        ),
        why="An exam counts for the one unit it was made on; a guess could hide that another unit has none.",
        do=(
            Step(sentence="Say which unit made each exam:", command=_ATTRIBUTE),
            Step(
                sentence="If this keeps happening, have the lines for the configuration written that tell it:",
                command='dicom-node unattributed resolve EXAM --rule --unit UNIT --reason "..."',
            ),
            Step(sentence="If an exam need not count, leave it out:", command=_EXCLUDE),
        ),
    )


def ambiguous_words(about: About) -> Words:
    """Two or more units match the same exams."""
    details = about.details
    units = " and ".join(one_line(unit) for unit in details["candidates"])
    exams = counted(details["count"], "exam")
    doubts = "".join(f" {capital(one_line(doubt)).rstrip('.')}." for doubt in details["doubts"][:SHOWN])
    clashing = "; ".join(one_line(line) for line in details["clashing"][:SHOWN])
    missing = [one_line(line) for line in details["missing"][:SHOWN]]
    steps = [Step(sentence="Say which unit made each exam:", command=_ATTRIBUTE)]
    if clashing:
        steps.append(
            Step(
                sentence="Correct the lines of the configuration of which only one unit can be right, reload it, then:",
                command=_ANEW,
            )
        )
    added = missing or ([] if clashing else ["what tells the units apart"])
    steps += [Step(sentence=f"Add to the configuration {line}; reload it, then:", command=_ANEW) for line in added]
    return Words(
        headline=f"{exams} from {_sender(details)} {'matches' if details['count'] == 1 else 'match'} several units",
        what=(
            f"{exams} sent by {_sender(details)} {'matches' if details['count'] == 1 else 'match'} {units}.{doubts}"
            f"{f' The same stands in: {clashing}.' if clashing else ''}{_newest(details)} "
            f"{'It counts' if details['count'] == 1 else 'They count'} toward nothing until a person decides."
            f"{_exams(details)}"
        ),
        why="An exam counts for the one unit it was made on; a guess could hide that another unit has none.",
        do=(*steps, Step(sentence="If an exam need not count, leave it out:", command=_EXCLUDE)),
    )


def conflict_words(about: About) -> Words:
    """A sender sent other content under SOP Instance UIDs that are taken."""
    details = about.details
    instances = counted(details["count"], "instance")
    return Words(
        headline=f"{_sender(details)} sent other content for {instances} already on file",
        what=(
            f"{instances} of {counted(details['studies'], 'study', 'studies')} came again under the same SOP Instance "
            "UID with other content. Both are kept; the first is the one served and counted."
        ),
        why="A SOP Instance UID stands for one content for ever; the sender, or an archive on the way, changed it.",
        do=(
            Step(sentence="Look at both and decide which one holds:", command="dicom-node exams conflicts"),
            Step(sentence="Ask whoever runs the sender what rewrites images that were sent before."),
        ),
    )


def certificate_words(about: About) -> Words:
    """A certificate that associations by TLS need ends soon, or has ended."""
    details = about.details
    ends = read_day(details, "ends") or about.today
    is_own = details["key"] == "certificate_file"
    whose = "the certificate of this node" if is_own else "the certificate of an authority"
    named = f" ({one_line(details['subject'])})" if details["subject"] else ""
    when = f"{'ended' if details['state'] == 'lapsed' else 'ends'} on {ends}"
    return Words(
        headline=f"{whose} {when}",
        what=f"{capital(whose)}{named} {when}, {from_today(ends, about.today)}. It stands in the file of node.tls."
        f"{one_line(details['key'])}.",
        why=(
            "From then on devices that check it send nothing by TLS, and the node does not start with it."
            if is_own
            else "From then on devices whose certificates it signed can send nothing by TLS."
        ),
        do=(
            Step(
                sentence="Ask whoever issues certificates for a new one, and write it, with its key, to the same files."
                if is_own
                else "Ask whoever issues the devices' certificates for the new one of the authority, and add it to the "
                "file; remove the old one when no device shows a certificate of it any more."
            ),
            Step(sentence="Check the files, then have the node take them:", command="dicom-node check-config"),
            Step(sentence="It takes them without a restart:", command="systemctl reload dicom-node"),
        ),
    )


def _sender(details: Mapping[str, Any]) -> str:
    return one_line(details["sender"]) or "an import"


def _newest(details: Mapping[str, Any]) -> str:
    return f" The newest is of {details['newest']}." if details.get("newest") else ""


def _exams(details: Mapping[str, Any]) -> str:
    shown = [re.sub(r"[^A-Za-z0-9]", "", exam_id) for exam_id in details["exams"][:SHOWN]]
    if not shown:
        return ""
    more = details["count"] - len(shown)
    return (
        f" {'Exam' if details['count'] == 1 else 'Exams'}: {', '.join(shown)}{f' and {more} more' if more > 0 else ''}."
    )
