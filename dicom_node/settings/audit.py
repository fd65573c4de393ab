"""The tables of the configuration that say where the audit trail is sent."""

from typing import Self

from pydantic import Field, model_validator

from dicom_node.services.audit_forwarding import Repository
from dicom_node.settings.devices import ConfigTable
from dicom_node.settings.values import FilePath, Text, Whole


class SyslogTable(ConfigTable):
    """``[audit.syslog]``: an audit repository that takes syslog over TLS."""

    host: Text = Field(examples=["audit.example.org"])
    """Name of the repository, as its certificate has it."""
    port: Whole = Field(default=6514, ge=1, le=65535)
    """Its TCP port."""
    ca_file: FilePath | None = None
    """Certificates (PEM) trusted for it; the system's when left out."""
    certificate: FilePath | None = None
    """The node's own certificate (PEM), for a repository that asks for one."""
    private_key: FilePath | None = None
    """The key of that certificate (PEM), without a password."""

    @model_validator(mode="after")
    def _has_both_halves(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key belong together; write both or neither")
        return self

    def repository(self) -> Repository:
        """Return the value the forwarding works with."""
        return Repository(
            host=self.host,
            port=self.port,
            ca_file=str(self.ca_file or ""),
            certificate=str(self.certificate or ""),
            private_key=str(self.private_key or ""),
        )


class AuditTable(ConfigTable):
    """``[audit]``: the audit trail."""

    syslog: SyslogTable | None = None
    """See ``[audit.syslog]``."""
