"""The tables of the configuration that say when, and by which channels, people are told."""

from datetime import time
from enum import StrEnum
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from dicom_node.accreditation.reminders import Severity
from dicom_node.alerts.smtp import Security
from dicom_node.settings.devices import ConfigTable
from dicom_node.settings.values import Clock, FilePath, Hours, Id, Seconds, Text, Whole, check_mail_address


class Digest(StrEnum):
    """How often the digest goes out, which comes even when nothing is due."""

    OFF = "off"
    DAILY = "daily"
    WEEKLY = "weekly"


def _check_url(value: str) -> str:
    # The address itself may be the secret, so the message does not repeat it.
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not value.isprintable() or " " in value:
        raise ValueError("not a web address; write one that begins with https:// (or http://)")
    if parts.username or parts.password:
        raise ValueError("a web address with a password in it; leave it out and sign the messages with secret_file")
    return value


Url = Annotated[str, AfterValidator(_check_url)]
MailAddress = Annotated[str, AfterValidator(check_mail_address)]


class ChannelTable(ConfigTable):
    """What every ``[[alerts.channel]]`` has."""

    name: Id = Field(examples=["ops-mail"])
    """Its name in logs and in ``alerts test``."""
    min_severity: Severity = Severity.INFO
    """The least urgent alerts it takes: ``info``, ``warning`` or ``critical``."""


class SmtpChannelTable(ChannelTable):
    """``[[alerts.channel]]`` with ``type = "smtp"``: e-mail."""

    type: Literal["smtp"]
    host: Text = Field(examples=["smtp.example.org"])
    """Name or address of the mail server."""
    port: Whole = Field(default=587, ge=1, le=65535)
    """Its TCP port."""
    security: Security = Security.STARTTLS
    """``starttls``, ``tls`` (from the first byte, as on port 465) or ``none`` (for a server on this machine)."""
    ca_file: FilePath | None = None
    """Certificates (PEM) trusted for it; the system's when left out."""
    username: Text | None = None
    """Name to log in with."""
    password_file: FilePath | None = None
    """File whose first line is the password."""
    sender: MailAddress = Field(alias="from", examples=["dicom-node@example.org"])
    """Address the mails come from."""
    to: tuple[MailAddress, ...] = Field(min_length=1, examples=["biopsy-ops@example.org"])
    """Addresses the mails go to."""

    @model_validator(mode="after")
    def _logs_in_whole(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file belong together; write both or neither")
        if self.username is not None and self.security is Security.NONE:
            raise ValueError('the password would travel in clear; write security = "starttls", or leave the log-in out')
        return self


class WebhookChannelTable(ChannelTable):
    """``[[alerts.channel]]`` with ``type = "webhook"``: an HTTP POST of JSON."""

    type: Literal["webhook"]
    url: Url = Field(examples=["https://hooks.example.org/dicom-node"])
    """Address to post to."""
    secret_file: FilePath | None = None
    """File whose first line signs the messages (HMAC-SHA256); unsigned when left out."""
    ca_file: FilePath | None = None
    """Certificates (PEM) trusted for it; the system's when left out."""


class LogChannelTable(ChannelTable):
    """``[[alerts.channel]]`` with ``type = "log"``: a line in the node's log."""

    type: Literal["log"]


AnyChannelTable = Annotated[
    SmtpChannelTable | WebhookChannelTable | LogChannelTable,
    Field(discriminator="type"),
]


class DeadManTable(ConfigTable):
    """``[alerts.dead_man]``: an address that is visited after each good review; someone else notices when it is not."""

    url: Url = Field(examples=["https://hooks.example.org/ping/dicom-node"])
    """Address to visit (GET)."""
    ca_file: FilePath | None = None
    """Certificates (PEM) trusted for it; the system's when left out."""


class AlertsTable(ConfigTable):
    """``[alerts]``: when units are reviewed and people are told."""

    evaluate_at: Clock = time(6)
    """Time of the daily review, in the facility's zone."""
    quiet_hours: Hours | None = None
    """Stretch of the day, in the facility's zone, in which all but critical messages are held."""
    digest: Digest = Digest.WEEKLY
    """How often the digest goes out: ``off``, ``daily`` or ``weekly`` (on Mondays)."""
    settle: Seconds = 60.0
    """Time without a new instance after which an exam is taken as complete and its unit is reviewed."""
    channel: tuple[AnyChannelTable, ...] = ()
    """Where messages go; without one they become files under ``outbox`` in the storage folder."""
    dead_man: DeadManTable | None = None
    """See ``[alerts.dead_man]``."""
