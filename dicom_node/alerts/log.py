"""The log as a channel: one line for each message, for sites that watch their logs."""

from collections.abc import Mapping, Sequence

from dicom_node.accreditation.reminders import Severity
from dicom_node.alerts.channels import DELIVERED, Outcome
from dicom_node.alerts.render import Message
from dicom_node.logs import get_logger

log = get_logger(__name__)


class LogChannel:
    """Writes one log line for each message."""

    recipients = ("",)

    def __init__(self, *, name: str, min_severity: Severity = Severity.INFO) -> None:
        self.name = name
        self.min_severity = min_severity

    def send(self, message: Message, recipients: Sequence[str]) -> Mapping[str, Outcome]:
        """Write the line."""
        log.warning(
            "alert.notice",
            message_key=message.key,
            kind=message.kind,
            severity=message.severity,
            unit=message.unit_id,
            subject=message.subject,
        )
        return dict.fromkeys(recipients, DELIVERED)
