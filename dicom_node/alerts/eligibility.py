"""Words for a unit's exams that stop counting, have stopped, or are missing."""

from datetime import date

from dicom_node.accreditation.portions import Portion
from dicom_node.alerts.phrases import About, Step, Words, capital, counted, from_today, in_days

_NEEDED = {Portion.CLINICAL: "biopsy case that qualifies", Portion.PHANTOM: "phantom exam"}


def eligibility_words(about: About) -> Words:
    """Put a standing that needs somebody into words, by its state."""
    state = about.details["state"]
    if state == "missing":
        return _missing(about)
    if state == "short":
        return _short(about)
    exam_day, cutoff = about.day("exam_day"), about.day("cutoff")
    assert exam_day is not None
    assert cutoff is not None
    last_release = about.day("last_release") or cutoff
    if state == "lapsed":
        return _lapsed(about, exam_day, cutoff, last_release)
    return _nearing(about, exam_day, cutoff, last_release)


def _nearing(about: About, exam_day: date, cutoff: date, last_release: date) -> Words:
    portion, today = Portion(about.item.portion), about.today
    counts = (
        f"The newest {portion.evidence} on file, of {exam_day}, counts for a testing package released up to and "
        f"including {cutoff}, {from_today(cutoff, today)}."
    )
    deadline = f" on or before {cutoff}"
    if cutoff == today:
        headline = f"today is the last day the {portion.evidence} counts ({cutoff})"
    elif cutoff < today:
        headline = f"{portion.evidence} counts by the end-of-month rule only, to {last_release}"
        deadline = " now"
    else:
        headline = f"{portion.evidence} stops counting {in_days(cutoff, today)} ({cutoff})"
    return Words(
        headline=headline,
        what=counts,
        why=f"{about.details['rule']} {_arithmetic(about, cutoff, last_release)}",
        do=(_perform(about, deadline), _record(about), _silence(about)),
        next=_next(about),
    )


def _lapsed(about: About, exam_day: date, cutoff: date, last_release: date) -> Words:
    portion, today = Portion(about.item.portion), about.today
    return Words(
        headline=f"newest {portion.evidence} stopped counting {in_days(last_release, today)} ({last_release})",
        what=(
            f"The newest {portion.evidence} on file is of {exam_day}. The last day on which a testing package could be "
            f"released and still admit it was {last_release}. A package released today would find "
            f"no {portion.evidence}."
        ),
        why=f"{about.details['rule']} {_arithmetic(about, cutoff, last_release)}",
        do=(_perform(about, ""), _record(about), _silence(about)),
        next=_next(about),
    )


def _missing(about: About) -> Words:
    portion = about.item.portion
    return Words(
        headline=f"no {portion} exam on file",
        what=f"This unit is in use, but no {portion} exam of it is on file that counts.",
        why=about.details["rule"],
        do=(
            _perform(about, ""),
            Step(sentence="If there are older exams, bring them in:", command="dicom-node import PATH"),
            _silence(about),
        ),
    )


def _short(about: About) -> Words:
    portion, details, due = Portion(about.item.portion), about.details, about.day("cutoff")
    assert due is not None
    released, months = details["release_on"], counted(details["months"], "calendar month")
    return Words(
        headline=f"no {portion.evidence} for the package of {released}, due {in_days(due, about.today)} ({due})",
        what=(
            f"No {portion.evidence} on file lies inside the window of the testing package released on {released}: "
            f"{details['window_first']} to {details['window_last']}, both days included. {capital(portion.one)} is "
            f"needed on or before {due}, {from_today(due, about.today)}."
        ),
        why=f"{details['rule']} {released} minus {months} is {details['window_first']}. {details['arithmetic']}",
        do=(
            _perform(about, f" on or before {due}"),
            Step(
                sentence="If the recorded release is wrong or the package is over, correct it:",
                command="dicom-node release list",
            ),
        ),
        next=_next(about),
    )


def _arithmetic(about: About, cutoff: date, last_release: date) -> str:
    sentences = [
        about.details["arithmetic"],
        "No release date is recorded for this unit's next testing package, so the window moves with the calendar.",
    ]
    if last_release > cutoff:
        sentences.append(
            f"Counted back from the release, the end of the month lets packages released up to {last_release} admit "
            f"it; do not rely on the days after {cutoff}."
        )
    planned = about.day("planned_on")
    if planned is not None:
        outcome = "would still count" if about.details.get("counts_for_planned") else "would not count"
        sentences.append(
            f"A package is planned for {planned}: this {Portion(about.item.portion).noun} {outcome} for it."
        )
    return " ".join(sentences)


def _perform(about: About, deadline: str) -> Step:
    portion = Portion(about.item.portion)
    if portion is Portion.PHYSICIST:
        return Step(
            sentence=f"Have a medical physicist survey {about.unit_label}{deadline}, then record the day:",
            command=f"dicom-node surveys record {about.unit_id} --date YYYY-MM-DD",
        )
    return Step(sentence=f"Perform and send a {_NEEDED[portion]} on {about.unit_label}{deadline}.")


def _record(about: About) -> Step:
    return Step(
        sentence="If the testing package is out already, record the day its link was released:",
        command=f"dicom-node release record {about.unit_id} --date YYYY-MM-DD",
    )


def _silence(about: About) -> Step:
    return Step(
        sentence="If this unit is not applying now, hold its messages for a while:",
        command=f'dicom-node alerts silence {about.unit_id} --for 60d --reason "..."',
    )


def _next(about: About) -> str:
    day = about.details.get("next_on")
    return f"Reminder on {day} unless acknowledged." if day else ""
