"""Certificates of a test's own, in files as an operator has them."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme

from dicom_node.dimse.certificates import Profile, TlsFiles

TODAY = datetime.now(UTC).replace(tzinfo=None)


class Authority:
    """A certificate authority whose files stand in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._ca = trustme.CA()
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(self, name: str, *hosts: str, days: float = 90, began: float = 1, **options: Any) -> tuple[Path, Path]:
        """Issue a certificate with a common name; return the files of it and of its key.

        It has held for ``began`` days and holds for ``days`` more.
        """
        leaf = self._ca.issue_cert(
            *(hosts or (name,)),
            common_name=name,
            not_before=TODAY - timedelta(days=began),
            not_after=TODAY + timedelta(days=days),
            **options,
        )
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        key.touch(mode=0o600)
        key.write_bytes(leaf.private_key_pem.bytes())
        return certificate, key

    def files(self, name: str = "node", *hosts: str, profile: Profile = "bcp195", asks: bool = True) -> TlsFiles:
        """Issue what a node needs."""
        certificate, key = self.issue(name, *(hosts or ("localhost", "127.0.0.1", "::1")))
        return TlsFiles(certificate=certificate, key=key, authorities=self.file if asks else None, profile=profile)

    def client(self, *own: Path, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """Return how a peer calls: it trusts this authority, and shows ``own`` (certificate and key) if given."""
        context = ssl.create_default_context(cafile=str(self.file))
        if own:
            context.load_cert_chain(*own)
        if version is not None:
            context.maximum_version = version
        return context
