"""A webhook: the message as JSON, POSTed and signed, for chat rooms, pagers and programs."""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from http.client import HTTPException

from dicom_node.accreditation.reminders import Severity
from dicom_node.alerts.channels import DELIVERED, Outcome, describe, refused, retry
from dicom_node.alerts.http import HTTP_LIMIT_S, HTTP_TIMEOUT_S, request
from dicom_node.alerts.render import Message

TRY_AGAIN = frozenset({408, 425, 429})
"""Client errors that mean not now (RFC 9110 15.5.9, RFC 8470 5.2, RFC 6585 4)."""


class WebhookChannel:
    """POSTs each message to one address.

    The body is the message's ``data`` with its text. With a secret, ``X-Dicom-Node-Signature`` is ``sha256=`` and the
    hex HMAC-SHA-256 of the body's bytes. ``message_key`` is the same when a message is sent again.
    """

    recipients = ("",)

    def __init__(
        self,
        *,
        name: str,
        url: str,
        secret: str = "",
        ca_file: str = "",
        min_severity: Severity = Severity.INFO,
        timeout_s: float = HTTP_TIMEOUT_S,
        limit_s: float = HTTP_LIMIT_S,
    ) -> None:
        self.name = name
        self.min_severity = min_severity
        self._url = url
        self._secret = secret.encode()
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._limit_s = limit_s

    def send(self, message: Message, recipients: Sequence[str]) -> Mapping[str, Outcome]:
        """Post the message: 2xx has delivered it, other 3xx and 4xx refuse it, anything else asks to try again."""
        body = json.dumps({**message.data, "text": message.text}, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json"}
        if self._secret:
            headers["X-Dicom-Node-Signature"] = signature(self._secret, body)
        try:
            status = request(
                self._url,
                body=body,
                headers=headers,
                ca_file=self._ca_file,
                timeout_s=self._timeout_s,
                limit_s=self._limit_s,
            )
        except (OSError, HTTPException, ValueError) as error:
            outcome = retry(describe(error))
        else:
            outcome = _verdict(status)
        return dict.fromkeys(recipients, outcome)


def signature(secret: bytes, body: bytes) -> str:
    """Return the value of ``X-Dicom-Node-Signature`` for a body; receivers compute the same and compare."""
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def _verdict(status: int) -> Outcome:
    if 200 <= status < 300:
        return DELIVERED
    answer = f"the address answered with HTTP status {status}"
    if 300 <= status < 400:
        return refused(f"{answer}, a redirect, which is not followed: configure the address it leads to")
    return refused(answer) if 400 <= status < 500 and status not in TRY_AGAIN else retry(answer)
