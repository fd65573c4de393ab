"""The arithmetic of a standing in plain words: the rule, the window, the countdown, and each exam with its reason."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

from dicom_node.accreditation.months import counts_until
from dicom_node.accreditation.policies import Override, Policy, Terms
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.standing import Release, ReleaseState, Standing, State, due_day
from dicom_node.accreditation.units import Enrolment, Unit
from dicom_node.accreditation.windows import Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamOnFile:
    """An exam or a survey of the unit, counting or not, as the index knows it."""

    exam_id: str
    portion: Portion
    day: date | None
    source: str = ""
    """Attribute the day came from."""
    flags: tuple[str, ...] = ()
    excluded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether an exam counts, and why."""

    exam_id: str
    day: date | None
    counts: bool
    why: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The arithmetic for one unit and portion on one day."""

    unit: str
    portion: Portion
    policy_id: str
    today: date
    state: State
    days_left: int | None
    asked_release: date | None
    """The release date somebody asked about, beside the ones on record."""
    sentences: tuple[str, ...]
    exams: tuple[Verdict, ...]
    """Newest first, undated last."""

    def as_json(self) -> dict[str, Any]:
        """Return the explanation as JSON values: dates as ISO text."""
        plain = _plain(asdict(self))
        assert isinstance(plain, dict)
        return plain


def explain(
    unit: Unit,
    standing: Standing,
    policy: Policy,
    exams: Iterable[ExamOnFile],
    *,
    today: date,
    release: date | None = None,
) -> Explanation:
    """Explain ``standing``, which was computed for ``today`` under ``policy``.

    ``exams`` are all exams of the unit that are worth a reason, those that do not count too. With ``release`` the
    question is whether they would count for a package released that day; its due date is not known then.
    """
    portion, windows = standing.portion, policy.windows(standing.portion)
    window = _asked_window(unit, standing, windows, today, release)
    verdicts = _verdicts(exams, portion, window, today)
    sentences = [rule_sentence(policy, portion)]
    if policy.note:
        sentences.append(f"Note: {policy.note}")
    sentences += (override_sentence(each, portion) for each in policy.overrides)
    sentences += enrolment_sentences(unit, today)
    sentences += standing_sentences(standing, unit, policy, today)
    if release is not None:
        sentences.append(_asked_sentence(portion, window, release, verdicts))
    return Explanation(
        unit=unit.id,
        portion=portion,
        policy_id=policy.id,
        today=today,
        state=standing.state,
        days_left=standing.days_left,
        asked_release=release,
        sentences=tuple(sentences),
        exams=verdicts,
    )


def rule_sentence(policy: Policy, portion: Portion) -> str:
    """State the rule for a portion, with its source."""
    return (
        f"Rule {policy.id}: {portion.evidence}s count when performed within {_months(policy.months[portion])} of "
        f"{policy.anchor} ({policy.source(portion)})."
    )


def override_sentence(override: Override, portion: Portion) -> str:
    """State what an override makes of the rule for a portion, with its source."""
    note = f" Note: {override.note}" if override.note else ""
    return (
        f"For packages released from {override.first} to {override.last}, both days included, {portion.evidence}s "
        f"count when performed within {_months(override.months[portion])} ({override.citation}; {override.address})."
        f"{note}"
    )


def arithmetic_sentence(windows: Windows, exam_day: date, cutoff: date) -> str:
    """Say how ``cutoff`` follows from the day of an exam."""
    months = windows.months_on(cutoff)
    forward = counts_until(exam_day, months)
    if forward == cutoff:
        return f"{exam_day} plus {_months(months)} is {cutoff}{_clamped(exam_day, cutoff)}."
    return (
        f"{exam_day} plus {_months(months)} is {forward}, but the window of {_months(months)} is that of packages "
        f"released up to {cutoff}: the day after, another holds, and it does not reach back so far."
    )


def enrolment_sentences(unit: Unit, today: date) -> list[str]:
    """Say since when the unit is enrolled where, when the configuration tells of that."""
    enrolment = unit.enrolment_on(today)
    if enrolment is None or enrolment.first_day is None or not unit.applying:
        return []
    since = f"{unit.label} is enrolled at facility {enrolment.facility} from {enrolment.first_day}"
    why = "a unit that moved to another site is a new one"
    return [f"{since}: exams, surveys and packages of an earlier day do not count there, for {why}."]


def _nowhere_sentence(unit: Unit, today: date) -> str:
    """Say that the unit is enrolled nowhere, and when it was or will be."""
    before = [each for each in unit.enrolments if each.last_day is not None and each.last_day < today]
    after = [each for each in unit.enrolments if each.first_day is not None and today < each.first_day]
    ended = f" The enrolment at facility {before[-1].facility} ended with {before[-1].last_day}." if before else ""
    begins = f" The one at facility {after[0].facility} begins on {after[0].first_day}." if after else ""
    begins = begins or (f" It is in service from {unit.installed_on}." if not unit.enrolments else "")
    return f"{unit.label} is enrolled at no facility on {today}: nothing is due.{ended}{begins}"


def due_sentence(release: Release, terms: Terms) -> str:
    """Say when a package is due, and where that day comes from."""
    day = due_day(release, terms)
    if release.due_on is not None:
        return f"The due date printed in the package is {day}."
    return f"Its due date is {day}: {terms.testing_days} days from {release.released_on}, no due date is printed."


def standing_sentences(standing: Standing, unit: Unit, policy: Policy, today: date) -> list[str]:
    """Say what ages and what is counted down, with the arithmetic, and end with the state in words."""
    if standing.state is State.RETIRED:
        return [f"{unit.label} was retired after {unit.retired_on}: nothing is due."]
    if standing.state is State.NOT_REQUIRED and unit.applying:
        return [_nowhere_sentence(unit, today)]
    if standing.state is State.NOT_REQUIRED:
        return [f"{unit.label} is not applying for accreditation: nothing is due."]
    if standing.release is None or standing.release.state is ReleaseState.PLANNED:
        return _sliding_sentences(standing, unit, policy.windows(standing.portion), today)
    return _frozen_sentences(standing, unit, policy)


def _sliding_sentences(standing: Standing, unit: Unit, windows: Windows, today: date) -> list[str]:
    portion, newest = standing.portion, standing.newest
    sentences = []
    sentences.append(
        f"No release date is recorded for the next testing package of {unit.label}, so the window moves with the "
        "calendar."
    )
    sentences.append(
        f"For a package released today, {_back(today, windows)}: the first {portion.noun} day that counts."
    )
    if newest is None or standing.cutoff is None or standing.last_release is None:
        return [*sentences, f"There never was a {portion.evidence} that counts."]
    sentences.append(
        f"The newest {portion.evidence} is of {newest.day}{_from_source(newest.source)}: "
        f"{arithmetic_sentence(windows, newest.day, standing.cutoff)} "
        f"{_good_until(windows, newest.day, standing.cutoff)}"
    )
    if standing.last_release > standing.cutoff:
        first_doubtful = standing.cutoff + timedelta(days=1)
        days = f"On {first_doubtful}" if first_doubtful == standing.last_release else f"From {first_doubtful}"
        until = "" if first_doubtful == standing.last_release else f" to {standing.last_release}"
        sentences.append(
            f"{days}{until} the answer hangs on how months are counted: {_back(standing.last_release, windows)}, "
            f"which still lets the {portion.noun} count, while counting forward from it ends on {standing.cutoff}. "
            f"Do not rely on {'that day' if until == '' else 'those days'}."
        )
    if standing.release is not None:
        sentences.append(_planned_sentence(standing))
    if standing.state is State.LAPSED:
        sentences.append(f"A package released today, {today}, would find no {portion.evidence}: it has lapsed.")
    elif standing.days_left is not None and standing.days_left < 0:
        sentences.append(f"Today, {today}, is past {standing.cutoff}; by the rule the {portion.noun} still counts.")
    elif standing.cutoff == today:
        sentences.append(f"Today, {today}, is the last of those days.")
    else:
        sentences.append(f"Today is {today}: {_days(standing.days_left or 0)} left.")
    return sentences


def _planned_sentence(standing: Standing) -> str:
    assert standing.release is not None
    outcome = "would still count" if standing.counts_for_planned else "would no longer count"
    return (
        f"A package is planned for {standing.release.released_on}, with a window from {standing.window_first} to "
        f"{standing.window_last}: this {standing.portion.noun} {outcome} for it."
    )


def _frozen_sentences(standing: Standing, unit: Unit, policy: Policy) -> list[str]:
    release, portion, windows = standing.release, standing.portion, policy.windows(standing.portion)
    assert release is not None
    last = (
        "its due date"
        if release.due_on is not None
        else f"{_months(windows.months_on(release.released_on))} after the release"
    )
    sentences = [f"The testing package of {unit.label} was released on {release.released_on}, so nothing ages."]
    sentences.append(
        f"Its window is {standing.window_first} ({_back(release.released_on, windows)}) to {standing.window_last} "
        f"({last}), both days included."
    )
    if standing.state is State.SECURED and standing.newest is not None:
        exam = standing.newest
        sentences.append(f"The {portion.evidence} of {exam.day}{_from_source(exam.source)} lies inside: it is secured.")
    else:
        sentences.append(f"No {portion.evidence} on file lies inside.")
    if release.state is not ReleaseState.RECORDED:
        sentences.append(f"The package is {release.state}: nothing is counted down.")
    elif standing.days_left is not None:
        if standing.days_left > 0:
            left = f"{_days(standing.days_left)} left"
        else:
            left = "that day is today" if standing.days_left == 0 else "that day is past"
        sentences.append(due_sentence(release, policy.terms))
        sentences.append(f"{portion.one.capitalize()} is needed on or before {standing.cutoff}: {left}.")
    return sentences


# The exams, held against one window.


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    release: date
    due: date | None
    windows: Windows
    words: str
    enrolment: Enrolment | None
    """The enrolment of the unit on the release date."""

    @property
    def first(self) -> date:
        return self.windows.first_day(self.release)

    @property
    def last(self) -> date:
        return self.due or self.windows.last_day(self.release)


def _asked_window(unit: Unit, standing: Standing, windows: Windows, today: date, asked: date | None) -> _Window:
    release, due, words = today, None, "a package released today"
    if asked is not None:
        release, words = asked, f"a package released on {asked}"
    elif standing.release is not None and standing.release.state is not ReleaseState.PLANNED:
        release, due = standing.release.released_on, standing.release.due_on
        words = f"the package released on {release}"
    # A unit that lists no enrolments is in the only one there is, also for a question about a day out of its service.
    enrolment = unit.enrolment_on(release) if unit.enrolments else Enrolment()
    return _Window(release=release, due=due, windows=windows, words=words, enrolment=enrolment)


def _verdicts(exams: Iterable[ExamOnFile], portion: Portion, window: _Window, today: date) -> tuple[Verdict, ...]:
    verdicts: list[Verdict] = []
    for exam in sorted(exams, key=lambda exam: (-(exam.day or date.min).toordinal(), exam.exam_id)):
        counts, why = _judge(exam, portion, window, today)
        if counts and any(verdict.counts for verdict in verdicts):
            why += f"; a newer {portion.noun} decides"
        verdicts.append(Verdict(exam_id=exam.exam_id, day=exam.day, counts=counts, why=why, flags=exam.flags))
    return tuple(verdicts)


def _judge(exam: ExamOnFile, portion: Portion, window: _Window, today: date) -> tuple[bool, str]:
    if exam.excluded:
        return False, f"a person {'withdrew' if portion is Portion.PHYSICIST else 'excluded'} it"
    if exam.portion is Portion.UNCLEAR:
        return False, "nobody can tell from its headers what it is; a person may classify it"
    if exam.portion is Portion.NEITHER:
        return False, "it is neither a clinical nor a phantom exam"
    if exam.portion is not portion:
        return False, f"it is a {exam.portion} exam"
    if exam.day is None:
        return False, "the day it was performed is not known"
    if exam.day > today:
        return False, f"it is dated after {today}"
    if window.enrolment is None:
        return False, f"the unit is enrolled at no facility on {window.release}"
    if not window.enrolment.covers(exam.day):
        return False, not_of_enrolment(exam.day, window.enrolment)
    if exam.day < window.first:
        return False, f"{exam.day} is before {window.first}, the first day that {window.words} admits"
    if exam.day > window.last:
        return False, f"{exam.day} is after {window.last}, the last day that {window.words} admits"
    return True, f"{exam.day} is within {window.first} to {window.last}, the days that {window.words} admits"


def not_of_enrolment(day: date, enrolment: Enrolment) -> str:
    """Say why an exam of a day outside an enrolment does not count for it."""
    if enrolment.first_day is not None and day < enrolment.first_day:
        when = f"was made before the unit's enrolment at facility {enrolment.facility}, which begins on"
        return f"it {when} {enrolment.first_day}: a unit that moved to another site is a new one"
    return (
        f"it was made after the unit's enrolment at facility {enrolment.facility}, which ended on {enrolment.last_day}"
    )


def _asked_sentence(portion: Portion, window: _Window, release: date, verdicts: Iterable[Verdict]) -> str:
    inside = [verdict.day for verdict in verdicts if verdict.counts]
    answer = (
        f"the {portion.evidence} of {inside[0]} would count" if inside else f"no {portion.evidence} on file would count"
    )
    return (
        f"Were the package released on {release}, its window would be {window.first} "
        f"({_back(release, window.windows)}) to {window.last}, or to the due date printed in it: {answer}."
    )


# Words.


def _months(count: int) -> str:
    return "1 calendar month" if count == 1 else f"{count} calendar months"


def _days(count: int) -> str:
    return "1 day is" if count == 1 else f"{count} days are"


def _good_until(windows: Windows, exam_day: date, cutoff: date) -> str:
    if all(each.first > cutoff or each.last < exam_day for each in windows.spells):
        return "It counts for every package released on or before that day, and reminders count to it."
    return f"Reminders count to {cutoff}."


def _back(release: date, windows: Windows) -> str:
    first = windows.first_day(release)
    return f"{release} minus {_months(windows.months_on(release))} is {first}{_clamped(release, first)}"


def _clamped(start: date, end: date) -> str:
    return "" if start.day == end.day else f", the last day of a month that has no day {start.day}"


def _from_source(source: str) -> str:
    return f" ({source})" if source else ""


def _plain(value: object) -> object:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
