"""What can go wrong, by who must act.

Each class names the one who can mend it: the *sender* of an instance, the *host* that lends disk and memory, the
*database*, the *operator* who writes configuration and commands, the *recipient* side of an alert. The message is one
sentence for that person and holds no patient data. Only ``dimse/status`` turns these into DIMSE statuses, only
``cli`` into exit codes.
"""


class NodeError(Exception):
    """Base of everything this program raises on purpose."""


class OperatorError(NodeError):
    """The operator asked for something that cannot be done as asked: unknown unit, bad date, missing reason."""


class ConfigError(OperatorError):
    """The configuration is unusable; ``problems`` holds every problem as ``file:line: key: what and what to write``.

    ``warnings`` holds what is allowed but seldom meant, in the same form.
    """

    def __init__(self, problems: list[str], warnings: list[str] | None = None) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.warnings = warnings or []


class CertificateError(OperatorError):
    """A file of a certificate or of its key cannot be used; the message names it and says what to do."""


class NotPermittedError(OperatorError):
    """The operator asked as the wrong user of the system."""


class LibraryError(OperatorError):
    """An installed library is not as this program needs it; the message says which release to install."""


class SenderError(NodeError):
    """The sender's instance or request is at fault; sending it again unchanged will fail again."""


class PermissionDeniedError(SenderError):
    """The caller is known and may not do this (PS3.7 annex C.5.21: not authorized)."""


class InvalidInstanceUidError(SenderError):
    """The Affected SOP Instance UID of the C-STORE command is missing or not a UID (PS3.5 9.1)."""


class MismatchedInstanceError(SenderError):
    """The data set names another SOP class or instance than the command or the presentation context."""


class UnreadableInstanceError(SenderError):
    """The data set is missing, truncated or cannot be parsed, or a mandatory UID is missing or not a UID."""


class InvalidQueryError(SenderError):
    """A C-FIND identifier breaks a rule of PS3.4 C.4.1: hierarchy, level, or a value that is no legal key."""


class QueryLimitError(SenderError):
    """A query has more matches, or takes longer, than the node gives to one; what was answered so far is right."""


class HostError(NodeError):
    """The machine lends too little: no space, a volume not mounted, an I/O error. Trying again later may work."""


class StorageUnavailableError(HostError):
    """The archive cannot take or read objects now: full, not mounted, read-only, or a flush failed."""


class ObjectDamagedError(HostError):
    """A stored object no longer has the bytes its name promises."""


class DrainingError(HostError):
    """The node is stopping and takes no new instances."""


class DatabaseError(NodeError):
    """The index cannot be reached, is locked past its deadline, or is corrupt."""


class IndexDamagedError(DatabaseError):
    """The index file is damaged; a rebuild makes it anew."""


class SchemaTooNewError(DatabaseError):
    """The index was written by a newer release of this program; nothing was changed."""


class DeliveryError(NodeError):
    """A channel did not take an alert; it will be tried again."""


class PeerError(NodeError):
    """An application entity that the node called did not do its part."""


class PeerUnavailableError(PeerError):
    """It cannot be reached, fell silent, broke off, or speaks no DICOM."""


class PeerRefusedError(PeerError):
    """It does not want the association, or none of the services that it is for."""
