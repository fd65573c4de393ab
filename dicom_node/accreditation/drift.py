"""Whether a device's clock is wrong, by the days it writes and the days on which it sends.

A study that is sent long after it was made is nothing unusual: a queue that stood still, a study sent once more. A
study of a day to come is impossible. So a clock that is ahead shows in one study; one that is behind shows when
studies of different days lie equally far back, with none of the right day between.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby, takewhile

RIGHT = (-1, 0)
"""Days between receipt and exam that a right clock explains: sent on the same day, or the next."""

LEAST_BEHIND = 2
"""Days that a clock must be behind before anyone could tell it from studies sent late."""

_WEEK = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A study that the device sent itself."""

    received_on: date
    """The facility's local day of receipt."""
    made_on: date
    """The day the device wrote."""

    @property
    def offset(self) -> int:
        """Days that the day written is ahead of the day of receipt; negative when it is before."""
        return (self.made_on - self.received_on).days


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How far a clock is off, in days, positive when it is ahead; since when it was seen, and in how many studies."""

    days: int
    since: date
    """Day of receipt of the first study it was seen in."""
    last: date
    """And of the last."""
    studies: int


def drift(sent: Sequence[Sent]) -> Drift | None:
    """Return what the studies of one device, those received last first, tell of its clock; None when it may be right.

    A study of the right day ends what those before it told. Studies of days a whole number of weeks apart are taken
    for one rhythm of sending, such as that of every Wednesday on every Friday, and not for a clock that is behind. A
    clock is as far behind in all that it sends on a day: what waited and is sent in order is not.
    """
    wrong = list(takewhile(lambda each: each.offset not in RIGHT, sent))
    ahead = [each for each in wrong if each.offset > 0]
    if ahead:
        return _drift(ahead)
    for offset, group in groupby(wrong, key=lambda each: each.offset):
        alike = list(group)
        days = {each.received_on for each in alike}
        if any(each.received_on in days and each.offset != offset for each in wrong):
            continue
        if offset <= -LEAST_BEHIND and any((each.made_on - alike[0].made_on).days % _WEEK for each in alike):
            return _drift(alike)
    return None


def _drift(studies: Sequence[Sent]) -> Drift:
    return Drift(
        days=studies[0].offset,
        since=min(each.received_on for each in studies),
        last=max(each.received_on for each in studies),
        studies=len(studies),
    )
