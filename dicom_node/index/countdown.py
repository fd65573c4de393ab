"""How exams age, as a query sees it: from an exam's day to its last counting day, and back."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from dicom_node.accreditation.months import add_months, counts_until
from dicom_node.accreditation.portions import Portion


@dataclass(frozen=True, slots=True, kw_only=True)
class Countdown:
    """What DaysLeft and CountsUntil are worked out from."""

    today: date
    months: Mapping[Portion, int]
    """The policy's window of each counting portion, in calendar months."""
    ageing_units: frozenset[str]
    """Ids of the units whose exams age: in service, applying, and with no testing package released."""

    def until(self, unit_id: str, portion: str, day: date) -> date | None:
        """Return the last day on which a counting exam counts, None where nothing ages."""
        return counts_until(day, self.months[Portion(portion)]) if unit_id in self.ageing_units else None

    def earliest_day(self, until: date) -> date | None:
        """Return a day before which no exam counts until ``until`` or later; None when the calendar begins after it."""
        with contextlib.suppress(OverflowError):
            return add_months(until, -max(self.months.values()))
        return None

    def latest_day(self, until: date) -> date | None:
        """Return a day after which no exam counts until ``until`` or earlier; None when the calendar ends before it."""
        with contextlib.suppress(OverflowError):
            # Up to three days at the end of a long month count until the last day of a short one.
            return add_months(until, -min(self.months.values())) + timedelta(days=3)
        return None
