"""Who may call the node, from where, for which services; and in words why somebody may not."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

SERVICES = ("echo", "store", "find", "get", "move", "move-destination", "commit")
"""What a caller may be allowed; ``move-destination`` lets instances be sent to it by C-MOVE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a listed application entity takes associations."""

    name: str
    """The name it is listed under, such as ``peers.pacs``."""
    ae_title: str
    address: str
    """Textual IPv4 or IPv6 address."""
    port: int
    tls: bool
    services: frozenset[str]
    """All it may do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A listed application entity: its AE title, the networks it calls from, what it may do.

    ``services`` holds names of ``SERVICES``. An empty ``hosts`` admits every address.
    """

    name: str
    ae_title: str
    hosts: tuple[IPv4Network | IPv6Network, ...]
    services: frozenset[str]

    def calls_from(self, address: str) -> bool:
        """Tell whether a textual IPv4 or IPv6 address is one of the caller's."""
        peer = _peer(address)
        return not self.hosts or any(peer.version == host.version and peer in host for host in self.hosts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """An admitted caller: the names it is listed under and all they may do together."""

    name: str
    services: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why an association is refused: the numbers of an A-ASSOCIATE-RJ (PS3.8 9.3.4) and the words for an installer."""

    result: int
    source: int
    reason: int
    words: str


class AccessList:
    """The callers and called AE titles of one configuration. Everyone else is refused."""

    def __init__(self, callers: Iterable[Caller], called_ae_titles: Iterable[str]) -> None:
        self._callers = tuple(callers)
        self._called = frozenset(called_ae_titles)
        storing = {host for caller in self._callers if "store" in caller.services for host in caller.hosts}
        self._storing = frozenset(str(host.network_address) for host in storing if host.num_addresses == 1)
        self._storing_networks = tuple(host for host in storing if host.num_addresses > 1 and host.prefixlen)

    def stores_from(self, address: str) -> bool:
        """Tell whether a caller that may store is listed for an address; a network of all addresses lists nobody."""
        peer = _peer(address)
        return str(peer) in self._storing or any(
            peer.version == host.version and peer in host for host in self._storing_networks
        )

    def admit(self, *, calling_ae: str, called_ae: str, address: str) -> Admission | Refusal:
        """Decide about an association request from ``address``; AE titles are compared to the letter."""
        if called_ae not in self._called:
            ours = " or ".join(sorted(self._called))
            if called_ae:
                words = f"it calls {called_ae!a}, this node is {ours}: correct the called AE title on the device"
            else:
                words = f"it names no AE title that it calls: set {ours} as the called AE title on the device"
            return Refusal(result=1, source=1, reason=7, words=words)
        named = [caller for caller in self._callers if caller.ae_title == calling_ae]
        admitted = [caller for caller in named if caller.calls_from(address)]
        if admitted:
            return Admission(
                name=", ".join(sorted({caller.name for caller in admitted})),
                services=frozenset().union(*(caller.services for caller in admitted)),
            )
        if named:
            words = (
                f"{calling_ae!a} is listed as {named[0].name}, but not for the address {address}: "
                "correct its host in the configuration if the device moved"
            )
        elif not calling_ae:
            words = f"it names no AE title of its own: set one on the device at {address}"
        else:
            words = f"the calling AE title {calling_ae!a} is not listed"
            neighbours = sorted(
                {caller.name for caller in self._callers if caller.hosts and caller.calls_from(address)}
            )
            if neighbours:
                words += f"; {address} is the address of {', '.join(neighbours)}: was the device renamed?"
            else:
                words += ": list it as a unit, attachment, sender or peer to admit it"
        return Refusal(result=1, source=1, reason=3, words=words)


def _peer(address: str) -> IPv4Address | IPv6Address:
    """Read the address of a peer; an IPv4 address written as IPv6 is taken as what it is."""
    peer = ip_address(address.partition("%")[0])
    mapped: IPv4Address | None = getattr(peer, "ipv4_mapped", None)
    return peer if mapped is None else mapped
