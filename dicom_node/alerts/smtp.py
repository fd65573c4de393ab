"""E-mail by SMTP (RFC 5321): STARTTLS (RFC 3207) or TLS from the start, login, an outcome for each recipient."""

import contextlib
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from enum import StrEnum

from dicom_node.accreditation.reminders import Severity
from dicom_node.alerts.channels import DELIVERED, Outcome, describe, refused, retry, short, time_limit
from dicom_node.alerts.mail import make_mail
from dicom_node.alerts.render import Message

SMTP_TIMEOUT_S = 20.0
"""How long a single answer of the relay may take, and the connection to it."""

SEND_LIMIT_S = 60.0
"""How long one message may take in all, from the greeting on."""


class Security(StrEnum):
    """How the connection to the relay is protected. There is no falling back from one to another."""

    STARTTLS = "starttls"
    TLS = "tls"
    """From the first byte, as on port 465."""
    NONE = "none"
    """For a relay on this machine."""


class SmtpChannel:
    """Sends each message once for all recipients that are due."""

    def __init__(
        self,
        *,
        name: str,
        host: str,
        port: int,
        sender: str,
        recipients: Sequence[str],
        security: Security = Security.STARTTLS,
        username: str = "",
        password: str = "",
        ca_file: str = "",
        min_severity: Severity = Severity.INFO,
        timeout_s: float = SMTP_TIMEOUT_S,
        limit_s: float = SEND_LIMIT_S,
    ) -> None:
        """Prepare a channel; nothing is connected yet.

        ``sender`` and ``recipients`` are plain addresses (``ops@example.org``). ``ca_file`` is a PEM file of the
        authorities that may vouch for the relay, "" for those of the system.
        """
        self.name = name
        self.min_severity = min_severity
        self.recipients = tuple(recipients)
        self._host = host
        self._port = port
        self._sender = sender
        self._security = security
        self._username = username
        self._password = password
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._limit_s = limit_s

    def send(self, message: Message, recipients: Sequence[str]) -> Mapping[str, Outcome]:
        """Send to some of the recipients.

        Of what the relay answers to a recipient or to the message, 5xx refuses and 4xx asks to try again. Everything
        before that (connection, certificate, login, sender) is not the message's fault and can be mended by an
        operator: try again. So is an answer that never came after the message was handed over; the relay may have it,
        and knows the repeat by its Message-ID.
        """
        outcomes: dict[str, Outcome] = {}
        problem = retry("the relay gave no answer")
        try:
            smtp = self._client()
            with contextlib.closing(smtp), time_limit(self._limit_s, lambda: smtp.sock):
                self._log_in(smtp)
                self._hand_over(smtp, message, recipients, outcomes)
                with contextlib.suppress(smtplib.SMTPException, OSError):
                    smtp.quit()
        except smtplib.SMTPResponseException as error:
            problem = retry(_answer(error.smtp_code, error.smtp_error))
        except (smtplib.SMTPException, OSError, ValueError) as error:
            problem = retry(describe(error))
        return {recipient: outcomes.get(recipient, problem) for recipient in recipients}

    def _client(self) -> smtplib.SMTP:
        if self._security is Security.TLS:
            return smtplib.SMTP_SSL(timeout=self._timeout_s, context=self._tls())
        return smtplib.SMTP(timeout=self._timeout_s)

    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._ca_file or None)

    def _log_in(self, smtp: smtplib.SMTP) -> None:
        smtp._host = self._host  # type: ignore[attr-defined] # noqa: SLF001 # the name TLS checks; set by the constructor only, which would connect at once
        code, text = smtp.connect(self._host, self._port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, text)
        smtp.ehlo_or_helo_if_needed()
        if self._security is Security.STARTTLS:
            smtp.starttls(context=self._tls())
        if self._username:
            smtp.login(self._username, self._password)

    def _hand_over(
        self, smtp: smtplib.SMTP, message: Message, recipients: Sequence[str], outcomes: dict[str, Outcome]
    ) -> None:
        """Do the mail transaction (RFC 5321 3.3), filling ``outcomes`` as the answers come."""
        smtp.ehlo_or_helo_if_needed()
        code, text = smtp.mail(self._sender)
        if code != 250:
            raise smtplib.SMTPSenderRefused(code, text, self._sender)
        accepted = []
        for recipient in recipients:
            code, text = smtp.rcpt(recipient)
            if code in {250, 251}:
                accepted.append(recipient)
            else:
                outcomes[recipient] = _verdict(code, text)
        if not accepted:
            return
        try:
            code, text = smtp.data(make_mail(message, self._sender, self.recipients).as_bytes())
        except smtplib.SMTPDataError as error:  # the DATA command itself was not taken
            verdict = _verdict(error.smtp_code, error.smtp_error)
        else:
            verdict = DELIVERED if code == 250 else _verdict(code, text)
        outcomes |= dict.fromkeys(accepted, verdict)


def _verdict(code: int, text: bytes | str) -> Outcome:
    answer = _answer(code, text)
    return refused(answer) if 500 <= code < 600 else retry(answer)


def _answer(code: int, text: bytes | str) -> str:
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return short(f"{code} {shown}")
