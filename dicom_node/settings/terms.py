"""The programme's numbers beside the windows, as a site may write them: for every policy, or for one of its own."""

from pydantic import Field

from dicom_node.settings.devices import ConfigTable
from dicom_node.settings.values import Whole


class TermsTable(ConfigTable):
    """``[accreditation.milestones]``, and ``terms`` of a policy: what is left out is that of the policy, or the ACR's.

    What ``[accreditation.milestones]`` gives holds whatever policy is chosen.
    """

    notice_months: Whole | None = Field(default=None, ge=1, le=36)
    """Calendar months before the expiry, when the renewal notice is expected."""
    application_days: Whole | None = Field(default=None, ge=1, le=365)
    """Days from that notice to the day the application is due."""
    application_months: Whole | None = Field(default=None, ge=1, le=36)
    """Calendar months before the expiry by which the application is due at the latest."""
    testing_days: Whole | None = Field(default=None, ge=1, le=365)
    """Calendar days from the release of a package to its due date, where none is printed in it."""
    addendum_months: Whole | None = Field(default=None, ge=1, le=36)
    """Calendar months: with more than these left a unit is added by itself, with less all units renew early."""
    daily_log_months: Whole | None = Field(default=None, ge=1, le=36)
    """Span of the daily and weekly quality control logs."""
    other_log_months: Whole | None = Field(default=None, ge=1, le=36)
    """Span of the other quality control logs."""

    def given(self) -> dict[str, int]:
        """Return what is written, by name."""
        return self.model_dump(exclude_none=True)
