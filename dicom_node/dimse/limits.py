"""What one association may take of the node's time and memory."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Deadlines of one association, in seconds of the monotonic clock."""

    request: float = 30.0
    """From the connection to the last byte of the association request; kept by the listener."""
    longest_request: int = 131072
    """Longest association request read, in bytes; a request with 128 contexts stays far below."""
    handshake: float = 5.0
    """From the connection to the end of the TLS handshake; kept by the listener."""
    unit: float = 30.0
    """From the first byte of a unit to its last."""
    idle: float = 60.0
    """Without a byte while nothing is being served."""
    sending: float = 30.0
    """Without progress while sending."""
    maximum_length: int = 131072
    """Largest P-DATA-TF body offered to peers, in bytes."""
