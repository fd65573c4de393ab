"""A folder of .eml files as a channel: where the mails go while no other channel is configured."""

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from dicom_node.accreditation.reminders import Severity
from dicom_node.alerts.channels import DELIVERED, Outcome, describe, retry
from dicom_node.alerts.mail import make_mail, message_id
from dicom_node.alerts.render import Message

SENDER = "dicom-node@localhost"


class FolderChannel:
    """Writes each message as one file that a mail program opens. A message sent again replaces its file."""

    recipients = ("",)

    def __init__(self, *, name: str, folder: Path, min_severity: Severity = Severity.INFO) -> None:
        self.name = name
        self.folder = folder
        self.min_severity = min_severity

    def send(self, message: Message, recipients: Sequence[str]) -> Mapping[str, Outcome]:
        """Write the file under its final name in one step, so that nobody reads half of it."""
        about = re.sub(r"[^A-Za-z0-9_-]+", "-", message.unit_id) or "site"
        unique = message_id(message, SENDER)[1:9]
        path = self.folder / f"{message.at:%Y-%m-%d}-{message.kind}-{about}-{unique}.eml"
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(make_mail(message, SENDER, ()).as_bytes())
            unfinished.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            return dict.fromkeys(recipients, retry(f"{self.folder}: {describe(error)}"))
        return dict.fromkeys(recipients, DELIVERED)
