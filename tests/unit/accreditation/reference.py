"""An independent reference of the date rules: it walks the calendar day by day and knows no month lengths.

Nothing of the product is used here, so that an error of the product cannot be repeated.
"""

from datetime import date, timedelta
from functools import cache

ONE_DAY = timedelta(days=1)


@cache
def months_before(day: date, months: int) -> date:
    """Walk back until ``months`` ends of month were met, then on to the same day of the month if it is further back."""
    walker, met = day, 0
    while met < months:
        yesterday = walker - ONE_DAY
        met += yesterday.month != walker.month
        walker = yesterday
    while walker.day > day.day:
        walker -= ONE_DAY
    return walker


@cache
def months_after(day: date, months: int) -> date:
    """Walk forward until ``months`` beginnings of month were met, then on to the same day while the month lasts."""
    walker, met = day, 0
    while met < months:
        tomorrow = walker + ONE_DAY
        met += tomorrow.month != walker.month
        walker = tomorrow
    while walker.day < day.day and (walker + ONE_DAY).month == walker.month:
        walker += ONE_DAY
    return walker


def admitted(exam_day: date, release: date, months: int, due: date | None = None) -> bool:
    """Tell whether the window of a release holds the exam day."""
    end = due if due is not None else months_after(release, months)
    return not (exam_day < months_before(release, months) or exam_day > end)


def latest_release(exam_day: date, months: int) -> date:
    """Try release dates from far too late down to the first that still reaches back to the exam."""
    release = exam_day + timedelta(days=31 * months + 5)
    while months_before(release, months) > exam_day:
        release -= ONE_DAY
    return release


def state_without_release(exam_days: list[date], months: int, today: date, warn_days: int) -> str:
    """Tell ok, nearing, lapsed or missing by asking which packages, released day after day, would find an exam."""
    done = [day for day in exam_days if day <= today]
    if not done:
        return "missing"
    if not any(admitted(day, today, months) for day in done):
        return "lapsed"
    sure_until = max(months_after(day, months) for day in done)
    return "nearing" if sure_until <= today + timedelta(days=warn_days) else "ok"


def state_with_recorded_release(
    exam_days: list[date], months: int, today: date, release: date, due: date | None
) -> str:
    """Tell secured or short."""
    inside = [day for day in exam_days if day <= today and admitted(day, release, months, due)]
    return "secured" if inside else "short"


# Standings and cycles as a whole. A package is (state, release, due, cycle); windows are (first, last, months) for the
# release dates of some days, and a number of months for all others.

Package = tuple[str, date, date | None, str]
Lengths = tuple[int, tuple[tuple[date, date, int], ...]]


def length_on(lengths: Lengths, day: date) -> int:
    """Look the months up that a release of the day has."""
    for first, last, months in lengths[1]:
        if not (day < first or day > last):
            return months
    return lengths[0]


def packages_that_bear(packages: list[Package], open_cycles: set[str]) -> list[Package]:
    """Leave out what belongs to the past once a cycle is open."""
    left = []
    for state, release, due, cycle in packages:
        is_history = state in ("passed", "deficient", "closed") and cycle not in open_cycles
        never_was = state == "closed" and cycle in open_cycles
        if not open_cycles or not (is_history or never_was):
            left.append((state, release, due, cycle))
    return left


def package_in_force(packages: list[Package]) -> Package | None:
    """Take the newest that is not closed, else the newest that is."""
    for wanted in (False, True):
        for each in sorted(packages, key=lambda package: package[1], reverse=True):
            if (each[0] == "closed") is wanted:
                return each
    return None


def counted_down_to(exam_day: date, lengths: Lengths, today: date) -> date:
    """Walk over release days: to the end of the days without a gap on which adding months reaches far enough."""

    def is_good(day: date) -> bool:
        return day >= exam_day and months_after(exam_day, length_on(lengths, day)) >= day

    walker = today
    while not is_good(walker):
        walker -= ONE_DAY
    while is_good(walker + ONE_DAY):
        walker += ONE_DAY
    return walker


def stands(
    exam_days: list[date],
    packages: list[Package],
    open_cycles: set[str],
    lengths: Lengths,
    today: date,
    *,
    warn_days: int,
    testing_days: int,
) -> tuple[str, date | None, str]:
    """Tell the state of a unit in service, what is counted down to, and whether a plan would find the newest exam."""
    done = sorted(day for day in exam_days if day <= today)
    package = package_in_force(packages_that_bear(packages, open_cycles))
    if package is not None and package[0] != "planned":
        state, release, due, _ = package
        inside = [day for day in done if admitted(day, release, length_on(lengths, release), due)]
        if inside or state != "recorded":
            return "secured" if inside else "ok", None, "-"
        end = release
        for _ in range(testing_days):
            end += ONE_DAY
        return "short", end if due is None else due, "-"
    if not done:
        return "missing", None, "-"
    planned = "-"
    if package is not None:
        found = admitted(done[-1], package[1], length_on(lengths, package[1]), package[2])
        planned = "yes" if found else "no"
    cutoff = counted_down_to(done[-1], lengths, today)
    if not admitted(done[-1], today, length_on(lengths, today)):
        return "lapsed", cutoff, planned
    return "nearing" if cutoff <= today + warn_days * ONE_DAY else "ok", cutoff, planned


def cycle_is(packages: dict[str, list[Package]]) -> str:
    """Tell how far a cycle is that nobody closed, by the packages of each unit that needs one."""
    least = "passed"
    order = ["open", "recorded", "deficient", "submitted", "passed"]
    for several in packages.values():
        package = package_in_force([each for each in several if each[0] != "closed"])
        reached = "open" if package is None or package[0] == "planned" else package[0]
        least = min(least, reached, key=order.index)
    return {"recorded": "released"}.get(least, least)


def milestones(
    expiry: date,
    packages: list[Package],
    today: date,
    *,
    lengths: Lengths,
    notice_months: int,
    application_days: int,
    application_months: int,
    addendum_months: int,
) -> dict[str, tuple[date, bool]]:
    """Tell the day of each milestone and whether it is done, of a cycle that nobody closed."""
    alive = [each for each in packages if each[0] != "closed"]
    plans = sorted(release for state, release, _, _ in alive if state == "planned")
    renewed = any(
        state != "planned" and months_before(expiry, addendum_months) <= release for state, release, _, _ in alive
    )
    notice = months_before(expiry, notice_months)
    application = min(notice + application_days * ONE_DAY, months_before(expiry, application_months))
    release = plans[0] if plans else application
    return {
        "notice": (notice, renewed or today >= application),
        "application": (application, renewed),
        "collect": (months_before(release, length_on(lengths, release)), renewed and not plans),
        "expiry": (expiry, False),
    }
