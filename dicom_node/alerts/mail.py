"""A message as an e-mail (RFC 5322): text with an HTML alternative."""

import hashlib
import re
from collections.abc import Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from dicom_node.alerts.render import Message

# Seven-bit bodies pass relays that do not offer 8BITMIME; a long header stays on one line, where a folded one would be
# cut in the middle of an alert's key. RFC 5322 2.1.1 allows 998.
_POLICY = SMTP.clone(cte_type="7bit", max_line_length=900)


def message_id(message: Message, sender: str) -> str:
    """Return the Message-ID: the same for the same message, however often it is sent."""
    digest = hashlib.sha256(f"{message.source}\0{message.key}".encode()).hexdigest()[:32]
    return f"<{digest}.dicom-node@{sender.rpartition('@')[2]}>"


def make_mail(message: Message, sender: str, recipients: Sequence[str]) -> EmailMessage:
    """Write the mail from ``sender`` to ``recipients``; without any, to undisclosed recipients.

    Texts of devices and of the configuration may stand in the subject and the headers; ``Message`` holds them as single
    lines of printable characters, and the email package refuses any other.
    """
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = Address("dicom-node", addr_spec=sender)
    mail["To"] = ", ".join(recipients) or "undisclosed-recipients:;"
    mail["Subject"] = message.subject
    mail["Date"] = format_datetime(message.at)
    mail["Message-ID"] = message_id(message, sender)
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    mail["X-Auto-Response-Suppress"] = "All"  # the same for Exchange
    mail["X-Dicom-Node-Alert"] = re.sub(r"[^\x21-\x7e]+", " ", " ".join(message.alert_keys) or message.key)[:800]
    if message.severity == "critical" and message.kind == "firing":
        mail["Importance"] = "high"
    mail.set_content(message.text)
    mail.add_alternative(message.html, subtype="html")
    return mail
