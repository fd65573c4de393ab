"""The files of TLS: looked at when the node starts, reads its configuration again, or is asked to check it.

Commands that only read the index do without, so that they work for a person who may not read the key, and on the day a
certificate has ended.
"""

from datetime import datetime, timedelta

from dicom_node.dimse.certificates import Certificate, TlsFiles, file_problems, read_certificates
from dicom_node.errors import CertificateError, ConfigError
from dicom_node.settings.load import Loaded

SOON = timedelta(days=30)
"""How long before its end a certificate is warned of."""


def check_certificates(loaded: Loaded, now: datetime) -> tuple[str, ...]:
    """Return what will soon keep the certificates from being used at an aware time, as ``Loaded.warnings``.

    Raises ConfigError when something does so now.
    """
    tls = loaded.settings.node.tls
    if tls is None:
        return ()

    def told(key: str, words: str) -> str:
        return f"{loaded.origins.place(('node', 'tls', key))}: node.tls.{key}: {words}"

    problems = [told(key, words) for key, words in file_problems(tls.files(), now)]
    if problems:
        raise ConfigError(problems, [*loaded.warnings])
    return tuple(
        told(key, f"the certificate of {each.subject or 'nobody'} ends on {each.ends:%Y-%m-%d}; ask for a new one")
        for key, each in certificates_in(tls.files())
        if each.ends - now < SOON
    )


def certificates_in(files: TlsFiles) -> list[tuple[str, Certificate]]:
    """Return every certificate in the files with the key that names its file; none of a file that cannot be read."""
    found = []
    for key, path in (("certificate_file", files.certificate), ("ca_file", files.authorities)):
        try:
            found += [(key, each) for each in read_certificates(path)] if path is not None else []
        except CertificateError:
            continue
    return found
