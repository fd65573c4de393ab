"""Words for the milestones of an accreditation cycle: notice, application, collecting cases, expiry."""

from collections.abc import Callable, Mapping
from datetime import date

from dicom_node.accreditation.milestones import MilestoneKind
from dicom_node.accreditation.units import OWN_FACILITY
from dicom_node.alerts.phrases import About, Step, Words, from_today, in_days

_PLAN = Step(
    sentence="See which units have an exam that counts, and by when each needs a new one:",
    command="dicom-node eligibility plan",
)


def _planned(about: About) -> Step:
    return Step(
        sentence="If you know the day on which the testing packages will be released, put it on record for all units:",
        command=f"dicom-node cycles renew {about.details['cycle']} --date YYYY-MM-DD --planned",
    )


def _recorded(about: About) -> Step:
    return Step(
        sentence="If the testing packages are out already, record the day their link was released:",
        command=f"dicom-node cycles renew {about.details['cycle']} --date YYYY-MM-DD",
    )


def milestone_words(about: About) -> Words:
    """Put a milestone into words."""
    details, day = about.details, about.day("day")
    assert day is not None
    headline, what, do = _BY_KIND[MilestoneKind(details["milestone"])](about, day)
    where = "" if details["facility"] == OWN_FACILITY else f" of {details['facility']}"
    return Words(
        headline=f"{headline}, cycle {details['cycle']}{where}",
        what=what,
        why=f"{details['rule']} {details['arithmetic']}",
        do=do,
        next=f"Reminder on {details['next_on']} unless acknowledged." if details["next_on"] else "",
    )


_Told = tuple[str, str, tuple[Step, ...]]


def _notice(about: About, day: date) -> _Told:
    due = about.details["application_on"]
    return (
        f"renewal notice expected {in_days(day, about.today)} ({day})",
        (
            f"The notice for the renewal of the accreditation that ends on {about.details['expires_on']} is expected "
            f"about {day}, {from_today(day, about.today)}. The application is due on {due}, whether or not it has come."
        ),
        (
            Step(sentence="Look for it in the mail of the person whom the programme writes to."),
            Step(sentence=f"If it does not come, ask the programme, and apply on or before {due}."),
            _planned(about),
        ),
    )


def _application(about: About, day: date) -> _Told:
    past = day < about.today
    return (
        f"application for the renewal {'was ' if past else ''}due {in_days(day, about.today)} ({day})",
        (
            f"The application for the renewal of the accreditation that ends on {about.details['expires_on']} "
            f"{'was' if past else 'is'} due on {day}, {from_today(day, about.today)}. No testing package of the "
            "renewal is recorded."
        ),
        (
            Step(sentence="Apply for every unit that is used for stereotactic biopsies, without waiting for a notice."),
            _recorded(about),
            _planned(about),
        ),
    )


def _collect(about: About, day: date) -> _Told:
    past = day < about.today
    guess = " by an estimate, because no release is planned" if about.details["is_estimate"] else ""
    return (
        (
            f"start collecting cases {'since' if past else in_days(day, about.today)} "
            f"{day if past else f'({day})'}{' (estimate)' if guess else ''}"
        ),
        (
            f"Cases performed from {day} on, {from_today(day, about.today)}, can count for the coming testing package"
            f"{guess}. Older ones cannot."
        ),
        (
            Step(sentence="Keep a biopsy case that qualifies, and a phantom exam, of each unit from that day on."),
            _PLAN,
            _planned(about) if guess else _recorded(about),
        ),
    )


def _expiry(about: About, day: date) -> _Told:
    when = f"{'ended' if day < about.today else 'ends'} {in_days(day, about.today)} ({day})"
    if about.details["has_passed"]:
        return (
            f"accreditation of the last cycle {when}, the renewal has passed",
            (
                f"Every unit has passed, and the expiry of the accreditation that was renewed, {day}, is reached. The "
                "next expiry is not on record, so nothing reminds of the next renewal."
            ),
            (
                Step(
                    sentence="Open the cycle of the next expiry, which the new certificate prints:",
                    command="dicom-node cycles open --expires YYYY-MM-DD",
                ),
            ),
        )
    return (
        f"accreditation {when}",
        (
            f"The accreditation {'ended' if day < about.today else 'ends'} on {day}, "
            f"{from_today(day, about.today)}. No renewal that has passed is recorded."
        ),
        (
            Step(sentence="Ask the programme how the renewal stands, and what holds after that day."),
            Step(
                sentence="If the packages were submitted or have passed, put that on record:",
                command=f"dicom-node cycles mark {about.details['cycle']} passed",
            ),
            _recorded(about),
        ),
    )


_BY_KIND: Mapping[MilestoneKind, Callable[[About, date], _Told]] = {
    MilestoneKind.NOTICE: _notice,
    MilestoneKind.APPLICATION: _application,
    MilestoneKind.COLLECT: _collect,
    MilestoneKind.EXPIRY: _expiry,
}
