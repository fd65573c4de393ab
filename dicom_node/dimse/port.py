"""The address that is listened on: taken before anything is opened, and asked whether it answers."""

import contextlib
import socket

from dicom_node.dimse import pdu, seams
from dicom_node.dimse.tls import answers_by_tls
from dicom_node.errors import NodeError

SELF_CHECK = 5.0
"""Seconds the listener has to answer itself, and the accept loop for a turn."""

_OWN_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where "every address" is reached from here


def open_port(address: tuple[str, int]) -> socket.socket:
    """Take an address; port 0 takes a free one. Who connects is refused until a ``Listener`` starts.

    The socket may be shared by several processes, so accepting from it never blocks. Raises NodeError when another
    program has the address, or when the installed pynetdicom is none to work with.
    """
    seams.check()
    listening = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address[0] == "::":  # every address, those of IPv4 included, whatever the system's own choice is
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise taken(address, error) from error
    listening.setblocking(False)
    return listening


def taken(address: tuple[str, int], error: OSError) -> NodeError:
    """Return the error of an address that another program has."""
    return NodeError(f"cannot listen on {address[0]} port {address[1]}: {error.strerror or error}")


def answers(port: socket.socket, own_title: str, *, by_tls: bool = False) -> bool:
    """Tell whether an association request to a listening socket is answered within ``SELF_CHECK`` seconds.

    With ``by_tls`` it is the beginning of a handshake that must be answered.
    """
    host, number = port.getsockname()[:2]
    host = _OWN_HOST.get(host, host)
    if by_tls:
        return answers_by_tls(port, host, own_title, SELF_CHECK)
    request = pdu.associate_request(own_title)
    with contextlib.suppress(OSError), socket.create_connection((host, number), SELF_CHECK) as connection:
        connection.sendall(request)
        return connection.recv(1) == bytes([pdu.ASSOCIATE_RJ])
    return False
