"""Certificates in files: what they say, and in words what keeps them from being used.

The ``ssl`` module tells of a certificate only what a handshake has verified. When a certificate in a file ends must be
known before, so the few fields of it that people need are read from its encoding (RFC 5280 4.1).
"""

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal

from dicom_node.errors import CertificateError

Profile = Literal["bcp195", "bcp195-modified"]
"""The secure transport connection profiles of PS3.15 annex B that are not retired: B.12 and B.13."""

# TLS 1.2; the suites of TLS 1.3 are the library's own: AES-GCM and CHACHA20. Level 2 takes no key and no signature that
# is worth less than 112 bits: RSA from 2048 bits on, SHA-256.
_SUITES = "@SECLEVEL=2:ECDHE+AESGCM"
CIPHERS = {"bcp195": _SUITES, "bcp195-modified": f"{_SUITES}:ECDHE+CHACHA20:ECDHE+AESCCM:!AESCCM8"}

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_CONSTRUCTED_VERSION, _UTC_TIME, _BMP_STRING = 0xA0, 0x17, 0x1E
_NAMED_BY = (b"\x55\x04\x03", b"\x55\x04\x0a")
"""Attribute types of a name by which people know its owner: common name, organization."""
_LONGEST = 64
"""Characters of a name that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """What TLS needs of the operator, each a file in PEM form."""

    certificate: Path
    """The node's own, followed by the authorities between it and the one that others trust."""
    key: Path
    """Its private key, without a passphrase."""
    authorities: Path | None
    """Those whose certificates the others show. None: nobody is asked for one."""
    profile: Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate in a file."""

    subject: str
    """Common name or organization, printable; "" for neither."""
    begins: datetime
    ends: datetime
    fingerprint: str
    """SHA-256 of its encoding, hexadecimal."""


def read_certificates(path: Path) -> tuple[Certificate, ...]:
    """Return the certificates in a file, at least one. Raises CertificateError when there is none to read."""
    text = _read(path)
    try:
        found = tuple(_certificate(ssl.PEM_cert_to_DER_cert(each)) for each in _PEM.findall(text))
    except (ValueError, IndexError):
        raise CertificateError(f"a certificate in {path} is damaged; write the file again") from None
    if not found:
        raise CertificateError(f"{path} holds no certificate in PEM form; it begins with -----BEGIN CERTIFICATE-----")
    return found


def file_problems(files: TlsFiles, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield what keeps files from being used at an aware time: the configuration's key, and words for the operator."""
    try:
        own = read_certificates(files.certificate)[0]
    except CertificateError as error:
        yield "certificate_file", str(error)
    else:
        if problem := _time_problem(own, now):
            yield "certificate_file", f"the certificate in {files.certificate} {problem}"
        if problem := _key_problem(files):
            yield "key_file", problem
    if files.authorities is None:
        return
    try:
        problems = [_time_problem(each, now) for each in read_certificates(files.authorities)]
    except CertificateError as error:
        yield "ca_file", str(error)
    else:
        if all(problems):
            yield "ca_file", f"no certificate in {files.authorities} holds now: the first {problems[0]}"


def _time_problem(certificate: Certificate, now: datetime) -> str:
    if now >= certificate.ends:
        return f"ended on {certificate.ends:%Y-%m-%d}; ask whoever issued it for a new one"
    if now < certificate.begins:
        return f"holds from {certificate.begins:%Y-%m-%d %H:%M} UTC on; is the clock of this machine right?"
    return ""


def _key_problem(files: TlsFiles) -> str:
    """Say what is wrong with the key of a certificate that can be read."""
    key = files.key
    try:
        _read(key)
        mode = key.stat().st_mode
    except CertificateError as error:
        return str(error)
    except OSError as error:
        return f"cannot read {key} ({error.strerror})"
    if mode & 0o007:
        return f"everyone on this machine may use {key}; run: chmod o= {key}"
    try:
        load_own(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), files)
    except CertificateError as error:
        return str(error)
    return ""


def load_own(context: ssl.SSLContext, files: TlsFiles) -> None:
    """Have a context show the node's certificate. Raises CertificateError."""
    context.set_ciphers(CIPHERS[files.profile])
    key = files.key
    for path in (files.certificate, key):
        _read(path)
    try:
        context.load_cert_chain(files.certificate, key, password=_no_passphrase)
    except _PassphraseWantedError:
        raise CertificateError(
            f"{key} is encrypted, and nobody is there to type its passphrase when the node starts; write it without "
            "one, and let only the node's user read it"
        ) from None
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            words = f"{key} is not the key of the certificate in {files.certificate}; write the two of one request"
        elif error.reason in ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"):
            words = (
                f"a certificate in {files.certificate} is too weak; it needs RSA of 2048 bits or more, or an elliptic "
                "curve, and SHA-256"
            )
        else:
            words = f"{key} holds no private key in PEM form that fits; it begins with -----BEGIN PRIVATE KEY-----"
        raise CertificateError(words) from None


def load_authorities(context: ssl.SSLContext, path: Path) -> None:
    """Have a context trust the certificates in a file. Raises CertificateError."""
    read_certificates(path)
    try:
        context.load_verify_locations(path)
    except OSError:
        raise CertificateError(f"a certificate in {path} is damaged; write the file again") from None


class _PassphraseWantedError(Exception):
    """The key is encrypted."""


def _no_passphrase() -> str:
    # Without this the library would ask at the terminal.
    raise _PassphraseWantedError


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise CertificateError(f"cannot read {path} ({error.strerror}); create it, or let this user read it") from None


def printable_name(text: str) -> str:
    """Return a name of a certificate as it may stand in a log and on a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text[:_LONGEST])


# The encoding (X.690): a tag, a length, a value; what is constructed holds others.


def _certificate(encoded: bytes) -> Certificate:
    (_, whole), *_ = _elements(encoded)
    (_, to_be_signed), *_ = _elements(whole)
    fields = _elements(to_be_signed)
    if fields[0][0] == _CONSTRUCTED_VERSION:
        fields = fields[1:]
    validity, subject = fields[3][1], fields[4][1]
    begins, ends = (_time(*each) for each in _elements(validity)[:2])
    return Certificate(subject=_subject(subject), begins=begins, ends=ends, fingerprint=sha256(encoded).hexdigest())


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    at = 0
    while at < len(data):
        length, start = data[at + 1], at + 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[at + 2 : start], "big")
        if start + length > len(data):
            raise ValueError("cut short")
        found.append((data[at], data[start : start + length]))
        at = start + length
    return found


def _time(tag: int, value: bytes) -> datetime:
    text = value.decode("ascii")
    if tag == _UTC_TIME:  # two digits of the year: 1950 to 2049
        text = ("20" if text < "50" else "19") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _subject(name: bytes) -> str:
    named: dict[bytes, str] = {}
    for _, relative in _elements(name):
        for _, pair in _elements(relative):
            (_, kind), (tag, value), *_ = _elements(pair)
            named.setdefault(kind, value.decode("utf-16-be" if tag == _BMP_STRING else "utf-8", "replace"))
    return printable_name(next((named[kind] for kind in _NAMED_BY if kind in named), ""))
