"""Who may call the node, from where, for which services."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A listed application entity: its AE title, the networks it calls from, what it may do.

    ``services`` holds ``echo``, ``store``, ``find``. An empty ``hosts`` admits every address.
    """

    name: str
    ae_title: str
    hosts: tuple[IPv4Network | IPv6Network, ...]
    services: frozenset[str]
