"""How exams age, as a query sees it: from an exam's day to its last counting day, and back."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from dicom_node.accreditation.months import add_months
from dicom_node.accreditation.policies import Policy
from dicom_node.accreditation.portions import Portion


@dataclass(frozen=True, slots=True, kw_only=True)
class Countdown:
    """What DaysLeft and CountsUntil are worked out from."""

    today: date
    policy: Policy
    """Whose windows decide."""
    ageing_units: Mapping[str, date]
    """Units whose exams age (in service, enrolled, applying, and with no testing package released), by id, each with
    the first exam day that counts."""

    def until(self, unit_id: str, portion: str, day: date) -> date | None:
        """Return the last day on which a counting exam counts, None where nothing ages."""
        if unit_id not in self.ageing_units or day < self.ageing_units[unit_id]:
            return None
        return self.policy.windows(Portion(portion)).counts_until(day, self.today)

    def earliest_day(self, until: date) -> date | None:
        """Return a day before which no exam counts until ``until`` or later; None when the calendar begins after it."""
        with contextlib.suppress(OverflowError):
            return add_months(until, -self.policy.longest)
        return None

    def latest_day(self, until: date) -> date | None:
        """Return a day after which no exam counts until ``until`` or earlier; None when the calendar ends before it."""
        with contextlib.suppress(OverflowError):
            # Up to three days at the end of a long month count until the last day of a short one.
            return add_months(until, -self.policy.shortest) + timedelta(days=3)
        return None
