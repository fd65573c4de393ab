"""Security in the conformance statement: TLS, who is let in, audit (N.8)."""

from dicom_node.cli.conformance_text import Facts, table
from dicom_node.dicom import audit_message
from dicom_node.services.audit_forwarding import OVERDUE

_EVENTS = (
    audit_message.APPLICATION_ACTIVITY,
    audit_message.AUDIT_LOG_USED,
    audit_message.BEGIN_TRANSFERRING,
    audit_message.INSTANCES_ACCESSED,
    audit_message.INSTANCES_TRANSFERRED,
    audit_message.IMPORT,
    audit_message.QUERY,
    audit_message.SECURITY_ALERT,
    audit_message.USER_AUTHENTICATION,
)


def security(_facts: Facts) -> list[str]:
    """Say how associations are protected, who is let in, and what is recorded."""
    return [
        "## N.8 Security",
        "### N.8.1 Secure transport",
        "PS3.15 annex B, with a port of its own; the port without TLS may be switched off.",
        table(
            ("profile", "`node.tls.profile`", "versions", "cipher suites of TLS 1.2"),
            [
                ("B.12 BCP 195 RFC 8996, 9325", "`bcp195`", "1.2, 1.3", "ECDHE with AES-GCM"),
                (
                    "B.13 modified BCP 195 RFC 8996, 9325",
                    "`bcp195-modified`",
                    "1.2, 1.3",
                    "ECDHE with AES-GCM, CHACHA20-POLY1305 or AES-CCM",
                ),
            ],
        ),
        (
            "With `node.tls.ca_file` each side shows a certificate, and one of the authorities must have issued it. "
            "An entry of the configuration may want a certain one, by a name in it or by its fingerprint. Sessions "
            "are not resumed. Certificates are read again at a reload. Of retired profiles none is offered."
        ),
        "### N.8.2 Who is let in",
        (
            "A caller is listed by AE title and address, and, where the configuration says so, by certificate and "
            "by username and passcode (PS3.7 D.3.3.7, types 1 and 2), which are taken over TLS alone. A positive "
            "response to the user identity is sent when it was asked for. Each caller has leave for single "
            "services: `echo`, `store`, `find`, `get`, `move`, `move-destination`, `commit`. Kerberos, SAML and "
            "JSON web tokens are not supported."
        ),
        "### N.8.3 Audit",
        (
            "The audit trail is kept beside the stored instances, each line bound to the one before. It can be "
            "exported as audit messages (PS3.15 A.5), and is sent to a repository by syslog over TLS (PS3.15 A.6, "
            "RFC 5424, RFC 5425) where `[audit.syslog]` names one; a message may arrive more than once, with the "
            f"same number. One that waits longer than {OVERDUE.total_seconds() / 3600:g} h is told of in the log and "
            "in `dicom-node status`. Names and ids of patients are not in it."
        ),
        table(
            ("event", "code"),
            [(each.meaning, f"{each.value} {each.scheme}") for each in sorted(_EVENTS)],
        ),
    ]
