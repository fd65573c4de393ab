"""Security in the conformance statement: TLS, who is let in, audit (N.8)."""

from collections.abc import Mapping

from dicom_node.cli.conformance_text import Facts, table
from dicom_node.dicom import audit_message
from dicom_node.dimse.access import SERVICES
from dicom_node.services.audit_forwarding import OVERDUE

EVENTS = (
    audit_message.APPLICATION_ACTIVITY,
    audit_message.AUDIT_LOG_USED,
    audit_message.BEGIN_TRANSFERRING,
    audit_message.INSTANCES_ACCESSED,
    audit_message.INSTANCES_TRANSFERRED,
    audit_message.EXPORT,
    audit_message.IMPORT,
    audit_message.QUERY,
    audit_message.SECURITY_ALERT,
    audit_message.USER_AUTHENTICATION,
)

_GCM = tuple(f"ECDHE-{key}-AES{bits}" for key in ("ECDSA", "RSA") for bits in ("128-GCM-SHA256", "256-GCM-SHA384"))
_OTHERS = (
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-CCM",
    "ECDHE-ECDSA-AES256-CCM",
)
SUITES: Mapping[str, tuple[str, ...]] = {"bcp195": _GCM, "bcp195-modified": (*_GCM, *_OTHERS)}
"""Cipher suites of TLS 1.2 by profile, in the names of OpenSSL."""

_PROFILES = {
    "bcp195": "B.12 BCP 195 RFC 8996, 9325",
    "bcp195-modified": "B.13 modified BCP 195 RFC 8996, 9325",
}


def security(_facts: Facts) -> list[str]:
    """Say how associations are protected, who is let in, and what is recorded."""
    return [
        "## N.8 Security",
        "### N.8.1 Secure transport",
        "PS3.15 annex B, with a port of its own; the port without TLS may be switched off.",
        table(
            ("profile", "`node.tls.profile`", "cipher suites of TLS 1.2"),
            [(name, f"`{profile}`", ", ".join(SUITES[profile])) for profile, name in _PROFILES.items()],
        ),
        (
            "TLS 1.3 is preferred, with the suites of the installed OpenSSL; nothing below TLS 1.2 is offered, and "
            "none of the retired profiles. Keys and signatures below 112 bits are refused: RSA has 2048 bits or more, "
            "SHA-1 is not taken. There is no renegotiation, no compression, and no session ticket; a session of "
            "TLS 1.2 may be resumed by its id until the certificates are read again."
        ),
        (
            "With `node.tls.ca_file` each side shows a certificate, and one of the authorities must have issued it; "
            "without it a caller shows none, and the node calls nobody by TLS. Whom it calls must have the address in "
            "its certificate. An entry of the configuration may want a certain certificate instead, by a name in it or "
            "by its fingerprint. Certificates are read again at a reload."
        ),
        "### N.8.2 Who is let in",
        (
            "A caller is listed by AE title and address, and, where the configuration says so, by certificate and "
            "by username and passcode (PS3.7 D.3.3.7, types 1 and 2), which are taken over TLS alone. A positive "
            "response is sent to a caller that is listed with a username and asked for it. Each caller has leave for "
            f"single services: {', '.join(f'`{service}`' for service in SERVICES)}. Kerberos, SAML and JSON web tokens "
            "are not supported."
        ),
        "### N.8.3 Audit",
        (
            "The audit trail is kept beside the stored instances, each line bound to the one before. It can be "
            "exported as audit messages (PS3.15 A.5), and is sent to a repository by syslog over TLS (PS3.15 A.6, "
            "RFC 5424, RFC 5425) where `[audit.syslog]` names one; a message may arrive more than once, with the same "
            "number. What the repository did not take is told of in the log, and what waits longer than "
            f"{OVERDUE.total_seconds() / 3600:g} h in `dicom-node status`. The trail knows no patient data: the "
            "patient is left out of every message, though PS3.15 A.5.3 has one in several, studies stand there by "
            "their UIDs, and queries by the keys they asked for without a value."
        ),
        table(
            ("event", "code"),
            [(each.meaning, f"{each.value} {each.scheme}") for each in sorted(EVENTS)],
        ),
    ]
