"""TLS of associations, taken and made: PS3.15 annex B.12 (BCP 195 RFC 8996, 9325) and B.13 (modified).

TLS 1.2 and 1.3; whoever calls shows a certificate where the node knows authorities. No tickets are given, so no session
is resumed after the files it was made with were replaced.
"""

import contextlib
import errno
import select
import socket
import ssl
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Self

from dicom_node.dimse.certificates import TlsFiles, load_authorities, load_own, printable_name
from dicom_node.dimse.pdu import ProtocolError
from dicom_node.errors import CertificateError

FINGERPRINT = "sha256:"
"""What a certificate's own digest begins with where a name could stand as well."""

_ALERT = b"\x15"
"""First byte of an alert record (RFC 8446 5.1)."""

_WORDS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it showed no certificate",
    "UNSUPPORTED_PROTOCOL": "it offers no TLS 1.2 and no TLS 1.3",
    "NO_PROTOCOLS_AVAILABLE": "it offers no TLS 1.2 and no TLS 1.3",
    "VERSION_TOO_LOW": "it offers no TLS 1.2 and no TLS 1.3",
    "NO_SHARED_CIPHER": "it offers no cipher suite of the profile",
    "HTTP_REQUEST": "it speaks no TLS",
    "WRONG_VERSION_NUMBER": "it speaks no TLS: switch TLS on at the device, or give it the other port",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust the authority of this node's certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not accept this node's certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept this node's certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it holds this node's certificate to be expired",
}
"""Why a handshake failed, in words, by the library's reasons."""


class HandshakeRefusedError(ProtocolError):
    """TLS was not agreed on for what the peer showed or offers; it neither was too slow nor went away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCertificate:
    """A certificate that was verified in a handshake."""

    subject: str
    """The name that people know its owner by, printable."""
    marks: frozenset[str]
    """What an entry of the configuration may bind it by: names in lower case, and the fingerprint."""

    def is_one_of(self, wanted: Collection[str]) -> bool:
        """Tell whether it has one of the names or fingerprints of an entry."""
        return any(each.lower() in self.marks for each in wanted)


class SecureSocket(ssl.SSLSocket):
    """A TLS connection that several threads may use: the library's own object takes one at a time."""

    _turn: threading.RLock
    is_over = False
    """Its end was announced: nothing is sent any more, least of all in the clear."""
    is_own_check = False

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Make it as the library does, which calls no ``__init__`` of ours."""
        made = super().__new__(cls, *args, **options)
        made._turn = threading.RLock()
        return made

    def send(self, data: Any, flags: int = 0) -> int:
        """Send as ``ssl.SSLSocket``; BrokenPipeError once it was shut down."""
        with self._turn:
            if self.is_over:
                raise BrokenPipeError(errno.EPIPE, "the connection was shut down")
            return super().send(data, flags)

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Receive as ``ssl.SSLSocket``; 0 once it was shut down: what still comes is nothing but ciphertext."""
        with self._turn:
            return 0 if self.is_over else super().recv_into(buffer, nbytes, flags)

    def shutdown(self, how: int) -> None:
        """Announce the end as far as that takes no waiting, then shut the connection down."""
        with self._turn:
            self.is_over = True
            patience = self.gettimeout()
            with contextlib.suppress(OSError, ValueError):
                self.settimeout(0)
                self.unwrap()
            with contextlib.suppress(OSError):
                self.settimeout(patience)
            super().shutdown(how)

    def close(self) -> None:
        """Close the connection, while nobody else is at it."""
        with self._turn:
            self.is_over = True
            super().close()


def server_context(files: TlsFiles, own_title: str = "") -> ssl.SSLContext:
    """Return how calls are taken. Raises CertificateError.

    Whoever asks for the host ``own_title`` is the node itself, see ``answers_by_tls``.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, files)
    context.sslsocket_class = SecureSocket
    context.num_tickets = 0

    def on_name(connection: Any, name: str | None, _context: ssl.SSLContext) -> int | None:
        if name is None or name != own_title:
            return None
        connection.is_own_check = True
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    context.sni_callback = on_name
    return context


def client_context(files: TlsFiles, certificates: Collection[str] = ()) -> ssl.SSLContext:
    """Return how others are called: they must show a certificate of the authorities, and this node shows its own.

    It must have one of the names or fingerprints of ``certificates``; without any, the host name or address that is
    called. Raises CertificateError.
    """
    if files.authorities is None:
        raise CertificateError(
            "whoever is called by TLS cannot be known without authorities; set node.tls.ca_file to the file of the "
            "authorities of their certificates"
        )
    context = _context(ssl.PROTOCOL_TLS_CLIENT, files)
    if certificates:
        context.check_hostname = False

    class Bound(SecureSocket):
        """A connection to the owner of a certificate that is known beforehand."""

        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            shown = peer_certificate(self)
            if certificates and (shown is None or not shown.is_one_of(certificates)):
                whose = f"is that of {shown.subject!a}" if shown else "is missing"
                raise ssl.SSLCertVerificationError(f"the certificate {whose}, and another is listed for it")

    context.sslsocket_class = Bound
    return context


def _context(protocol: Any, files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    load_own(context, files)
    if files.authorities is not None:
        load_authorities(context, files.authorities)
        context.verify_mode = ssl.CERT_REQUIRED
        # What is in the file is trusted, whoever issued it: an authority below another, or a device's own certificate.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def shake_hands(connection: socket.socket, context: ssl.SSLContext, patience: float) -> SecureSocket | None:
    """Make a connection that was accepted a TLS connection within ``patience`` seconds; it does not block afterwards.

    Returns None for the node's own check. Raises ProtocolError with words for the operator, HandshakeRefusedError where
    it is the peer's certificate or what it offers; the connection is closed then.
    """
    deadline = time.monotonic() + patience
    connection.setblocking(False)
    try:
        secure = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
    except OSError:
        raise ProtocolError("the connection broke before TLS was agreed on") from None
    assert isinstance(secure, SecureSocket)
    try:
        _finish_handshake(secure, deadline)
    except BaseException as error:
        with contextlib.suppress(OSError):
            secure.shutdown(socket.SHUT_WR)
        secure.close()
        if secure.is_own_check:
            return None
        if isinstance(error, OSError):
            raise _handshake_error(error) from None
        raise
    return secure


def _finish_handshake(secure: SecureSocket, deadline: float) -> None:
    while True:
        try:
            secure.do_handshake()
        except ssl.SSLWantReadError:
            wanted = select.POLLIN
        except ssl.SSLWantWriteError:
            wanted = select.POLLOUT
        else:
            return
        poll = select.poll()
        poll.register(secure, wanted)
        patience = deadline - time.monotonic()
        if patience <= 0 or not poll.poll(patience * 1000):
            raise TimeoutError


def _handshake_error(error: OSError) -> ProtocolError:
    if isinstance(error, TimeoutError):
        return ProtocolError("no TLS was agreed on in time")
    if isinstance(error, ssl.SSLCertVerificationError):
        return HandshakeRefusedError(f"its certificate is not accepted: {error.verify_message}")
    reason = error.reason if isinstance(error, ssl.SSLError) else ""
    if reason and not isinstance(error, ssl.SSLEOFError):
        return HandshakeRefusedError(_WORDS.get(reason, f"TLS was not agreed on ({reason.replace('_', ' ').lower()})"))
    return ProtocolError("the connection broke before TLS was agreed on")


def peer_certificate(connection: socket.socket) -> PeerCertificate | None:
    """Return the certificate that the peer of a connection showed, None where it showed none or there is no TLS."""
    if not isinstance(connection, ssl.SSLSocket):
        return None
    shown, encoded = connection.getpeercert(), connection.getpeercert(binary_form=True)
    if not shown or encoded is None:
        return None
    fields: Any = shown
    named = {kind: value for relative in fields.get("subject", ()) for kind, value in relative}
    hosts = [value for kind, value in fields.get("subjectAltName", ()) if kind == "DNS"]
    common = named.get("commonName", "")
    names = [name.lower() for name in (common, *hosts) if name]
    subject = common or next(iter(hosts), "") or named.get("organizationName", "")
    fingerprint = FINGERPRINT + sha256(encoded).hexdigest()
    return PeerCertificate(subject=printable_name(subject) or fingerprint, marks=frozenset({*names, fingerprint}))


def answers_by_tls(port: socket.socket, host: str, own_title: str, patience: float) -> bool:
    """Tell whether a listening socket answers the beginning of a handshake, here by the alert to the node's own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    hello = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=own_title)
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    with (
        contextlib.suppress(OSError),
        socket.create_connection((host, port.getsockname()[1]), patience) as connection,
    ):
        connection.sendall(outgoing.read())
        return connection.recv(1) == _ALERT
    return False
