"""What keeps strangers out, as far as only the whole configuration shows it: encryption and who must show what."""

import fcntl
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

from dicom_node.settings.devices import EntityTable, IdentityTable, PeerTable, SenderTable
from dicom_node.settings.lines import KeyPath
from dicom_node.settings.model import NodeTable
from dicom_node.settings.raw import Finding, table_of, tables_of, valid

_SIOCGIFADDR = 0x8915
_INTERFACES, _IPV6_ADDRESSES = Path("/proc/self/net/dev"), Path("/proc/self/net/if_inet6")


def protection(data: Mapping[str, Any], context: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what would go in the clear where anyone listens, and proofs that nobody is asked for."""
    node = valid(NodeTable, data.get("node", {}), context)
    if node is None:
        return
    tls = node.tls
    if not node.allow_unencrypted and not (tls is not None and tls.only):
        public = next((each for each in _addresses(node.bind) if each.is_global), None)
        if public is not None:
            message = (
                f"{'' if str(public) == node.bind else f'{public} is '}a public address, and associations are not "
                "encrypted; listen on an address of a protected network, write [node.tls] with only = true, or write "
                "node.allow_unencrypted = true if a firewall keeps strangers out"
            )
            yield Finding(path=("node", "bind"), message=message)
    if tls is not None and not tls.only and tls.port == node.port:
        yield Finding(path=("node", "tls", "port"), message="node.port is the same; write another, such as 2762")
    if tls is not None and tls.ca_file is None:
        message = "no ca_file: callers need no certificate, so TLS encrypts and proves nothing of them; add ca_file"
        yield Finding(path=("node", "tls"), message=message, is_warning=True)
    has_authorities = tls is not None and tls.ca_file is not None
    for path, entry in entities(data):
        entity = valid(_TABLES[path[0]], entry, context)
        if entity is not None:
            yield from _proofs(path, entity, has_tls=tls is not None, has_authorities=has_authorities)


_TABLES: Mapping[object, type[EntityTable]] = {
    "units": IdentityTable,
    "attachments": IdentityTable,
    "senders": SenderTable,
    "peers": PeerTable,
}


def entities(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Give every entry that lists an application entity, with where it stands."""
    for section in ("units", "attachments"):
        for name, table in table_of(data, section).items():
            for position, entry in tables_of(table, "identity"):
                yield (section, name, "identity", position), entry
    for section in ("senders", "peers"):
        for name, entry in table_of(data, section).items():
            if isinstance(entry, dict):
                yield (section, name), entry


def _proofs(path: KeyPath, entity: EntityTable, *, has_tls: bool, has_authorities: bool) -> Iterator[Finding]:
    if entity.certificate and not has_authorities:
        message = "nobody is asked for a certificate; write [node.tls] with ca_file"
        yield Finding(path=(*path, "certificate"), message=message)
    if entity.username and not has_tls:
        message = "a username is taken by TLS alone; write [node.tls]"
        yield Finding(path=(*path, "username"), message=message)
    if entity.tls and not has_authorities:
        message = "nobody could tell whose certificate is shown; write [node.tls] with ca_file"
        yield Finding(path=(*path, "tls"), message=message)


def _addresses(bind: str) -> list[IPv4Address | IPv6Address]:
    """Return the addresses of this machine that are listened on."""
    address = ip_address(bind)
    if not address.is_unspecified:
        return [address]
    found: list[IPv4Address | IPv6Address] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        # Not by socket.if_nameindex, which needs a kind of socket that the service may not open.
        for name in _lines(_INTERFACES, ":"):
            with suppress(OSError):  # an interface without an address
                request = struct.pack("256s", name.encode()[:15])
                found.append(IPv4Address(fcntl.ioctl(any_socket, _SIOCGIFADDR, request)[20:24]))
    if address.version == 6:  # where every address of IPv6 is listened on, those of IPv4 are as well
        found += [IPv6Address(bytes.fromhex(digits)) for digits in _lines(_IPV6_ADDRESSES, " ")]
    return found


def _lines(path: Path, end: str) -> list[str]:
    """Return what stands before ``end`` in the lines of a file that have it."""
    try:
        lines = path.read_text("ascii", "replace").splitlines()
    except OSError:
        return []
    return [line.partition(end)[0].strip() for line in lines if end in line]
