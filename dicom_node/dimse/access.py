"""Who may call the node, from where, for which services; and in words why somebody may not."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from hmac import compare_digest
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from dicom_node.dimse.negotiation import UserIdentity
from dicom_node.dimse.tls import PeerCertificate

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
    certificates: tuple[str, ...] = ()
    """Names or fingerprints of which its certificate must have one; none: the address must stand in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a peer shows of itself beside its AE title and its address."""

    is_secure: bool = False
    """The association is by TLS."""
    certificate: PeerCertificate | None = None
    identity: UserIdentity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A listed application entity: its AE title, the networks it calls from, what it may do.

    ``services`` holds names of ``SERVICES``. An empty ``hosts`` admits every address. With ``certificates`` it is
    admitted by TLS alone and with one of them; with ``username`` it must name itself so over TLS.
    """

    name: str
    ae_title: str
    hosts: tuple[IPv4Network | IPv6Network, ...]
    services: frozenset[str]
    certificates: tuple[str, ...] = ()
    """Names or fingerprints."""
    username: str = ""
    passcode: str = field(default="", repr=False)
    """"" for none."""

    def calls_from(self, address: str) -> bool:
        """Tell whether a textual IPv4 or IPv6 address is one of the caller's."""
        peer = _peer(address)
        return not self.hosts or any(peer.version == host.version and peer in host for host in self.hosts)

    def objection(self, proof: Proof) -> "Refusal | None":
        """Say why this entry does not admit a peer of its AE title and address; None when it does."""
        if self.certificates:
            if not proof.is_secure:
                return _stranger(f"it is listed as {self.name} with a certificate, and called without TLS")
            shown = proof.certificate
            if shown is None or not shown.is_one_of(self.certificates):
                whose = f"showed the certificate of {shown.subject!a}" if shown else "showed no certificate"
                return _stranger(
                    f"it {whose}, and {self.name} is listed with another: correct certificate in the configuration "
                    "if the device got a new one"
                )
        if self.username:
            if not proof.is_secure:
                return _unnamed(f"it is listed as {self.name} with a username, which is only taken by TLS")
            if not self._is_named(proof.identity):
                return _unnamed(f"it did not name itself by the username and passcode of {self.name}")
        return None

    def _is_named(self, identity: UserIdentity | None) -> bool:
        """Compare in a time that tells nothing about what would be right (PS3.7 D.3.3.7)."""
        if identity is None or identity.kind not in ((2,) if self.passcode else (1, 2)):
            return False
        is_right = compare_digest(identity.primary, self.username.encode())
        return is_right & (not self.passcode or compare_digest(identity.secondary, self.passcode.encode()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """An admitted caller: the names it is listed under and all they may do together."""

    name: str
    services: frozenset[str]
    is_named: bool = False
    """It named itself by username as an entry wants it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why an association is refused: the numbers of an A-ASSOCIATE-RJ (PS3.8 9.3.4) and the words for an installer."""

    result: int
    source: int
    reason: int
    words: str
    needs: tuple[str, ...] = ()
    """Permissions of which each would have admitted it."""
    is_neighbour: bool = False
    """It called from the address of a listed device, under an AE title that is not listed."""


def _stranger(words: str) -> Refusal:
    return Refusal(result=1, source=1, reason=3, words=words)


def _unnamed(words: str) -> Refusal:
    return Refusal(result=2, source=2, reason=1, words=words)


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

    def admit(
        self,
        *,
        calling_ae: str,
        called_ae: str,
        address: str,
        proof: Proof = Proof(),
    ) -> Admission | Refusal:
        """Decide about an association request from ``address``; AE titles are compared to the letter."""
        if called_ae not in self._called:
            ours = " or ".join(sorted(self._called))
            if called_ae:
                words = f"it calls {called_ae!a}, this node is {ours}: correct the called AE title on the device"
            else:
                words = f"it names no AE title that it calls: set {ours} as the called AE title on the device"
            return Refusal(result=1, source=1, reason=7, words=words)
        named = [caller for caller in self._callers if caller.ae_title == calling_ae]
        from_here = [caller for caller in named if caller.calls_from(address)]
        objections = [caller.objection(proof) for caller in from_here]
        admitted = [caller for caller, objection in zip(from_here, objections, strict=True) if objection is None]
        if admitted:
            return Admission(
                name=", ".join(sorted({caller.name for caller in admitted})),
                services=frozenset().union(*(caller.services for caller in admitted)),
                is_named=any(caller.username for caller in admitted),
            )
        if objections and objections[0] is not None:
            return objections[0]
        is_neighbour = False
        if named:
            words = (
                f"{calling_ae!a} is listed as {named[0].name}, but not for the address {address}: "
                "correct its host in the configuration if the device moved"
            )
        elif not calling_ae:
            words = f"it names no AE title of its own: set one on the device at {address}"
        else:
            is_neighbour = self.stores_from(address)
            words = f"the calling AE title {calling_ae!a} is not listed"
            neighbours = sorted(
                {caller.name for caller in self._callers if caller.hosts and caller.calls_from(address)}
            )
            if neighbours:
                words += f"; {address} is the address of {', '.join(neighbours)}: was the device renamed?"
            else:
                words += ": list it as a unit, attachment, sender or peer to admit it"
        return replace(_stranger(words), is_neighbour=is_neighbour)


def _peer(address: str) -> IPv4Address | IPv6Address:
    """Read the address of a peer; an IPv4 address written as IPv6 is taken as what it is."""
    peer = ip_address(address.partition("%")[0])
    mapped: IPv4Address | None = getattr(peer, "ipv4_mapped", None)
    return peer if mapped is None else mapped
