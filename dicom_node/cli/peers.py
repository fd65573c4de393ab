"""The peers that commands call: how they are named, how an association with one is opened; ``dicom-node echo``."""

import contextlib
import re
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any

import click
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.cli.app import FAILED, App, pass_app
from dicom_node.cli.output import json_option, printable, write_json
from dicom_node.dimse.access import Destination
from dicom_node.dimse.calling import VERIFICATION, Calling, Patience, Proposed, call
from dicom_node.dimse.tls import client_context
from dicom_node.errors import ConfigError, OperatorError, PeerError
from dicom_node.settings import Settings, find_config

MESSAGE_SYNTAXES = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
"""Transfer syntaxes proposed for what is no instance."""

NODE = "node"
"""The name of the node of the configuration itself, unless a peer has it."""

_WITH_TITLE = re.compile(r"(?P<title>[^@]{1,16})@(?P<host>[^@]+):(?P<port>[0-9]{1,5})")
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where "every address" is reached from here
_ANY_TITLE, _OWN_TITLE = "ANY-SCP", "DICOM_NODE"  # where neither the command line nor a configuration says one


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """An application entity to call."""

    ae_title: str
    host: str
    port: int
    tls: bool = False
    certificates: tuple[str, ...] = ()
    """Names or fingerprints of which its certificate must have one; none: the host must stand in it."""
    is_own_node: bool = False

    def __str__(self) -> str:
        """Return it as people name it."""
        return printable(f"{self.ae_title} at {self.host} port {self.port}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How to call: what the common options say."""

    aet: str
    aec: str
    tls: bool
    cert: Path | None
    key: Path | None
    ca: Path | None
    seconds: float

    @property
    def context(self) -> ssl.SSLContext:
        """The TLS to speak. Raises OperatorError for files that are none of certificates and keys."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except OSError as error:
            raise OperatorError(f"the files for TLS cannot be used: {error.strerror or error}") from None
        return context


NO_WAYS = Ways(aet="", aec="", tls=False, cert=None, key=None, ca=None, seconds=60.0)
"""What holds where nothing is said."""


def peer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say how to call, passed as ``ways``; the names are those of DCMTK's tools."""
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    options = (
        click.option("-aet", metavar="TITLE", default="", help="AE title to call with; else one that may."),
        click.option("-aec", metavar="TITLE", default="", help="AE title to call; else the peer's."),
        click.option("-to", "seconds", metavar="SECONDS", type=click.FloatRange(min=0.1), default=60.0,
                     show_default=True, help="How long the peer may be silent; at most 10 s to take the connection."),
        click.option("--tls", is_flag=True, help="Speak TLS."),
        click.option("--cert", type=file, metavar="FILE", help="Own certificate (PEM); else that of node.tls."),
        click.option("--key", type=file, metavar="FILE", help="Its key (PEM), unless it is in the same file."),
        click.option("--ca", type=file, metavar="FILE", help="Certificates (PEM) trusted; else those of node.tls."),
    )  # fmt: skip

    @wraps(command)
    def with_ways(*arguments: Any, **rest: Any) -> Any:
        told = {name: rest.pop(name) for name in ("aet", "aec", "tls", "cert", "key", "ca", "seconds")}
        return command(*arguments, ways=Ways(**told), **rest)

    wrapped: Callable[..., Any] = with_ways
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def take_peer(app: App, words: Sequence[str], ways: Ways) -> tuple[Peer, Sequence[str]]:
    """Read who is to be called from the beginning of ``words``; return it and the words that are left.

    That is a name of the configuration, ``AET@HOST:PORT``, or a host and a port. Raises OperatorError.
    """
    first, rest = words[0], words[1:]
    written = _WITH_TITLE.fullmatch(first)
    if written:
        title, host = ways.aec or written["title"], written["host"].strip("[]")
        return Peer(ae_title=title, host=host, port=_port(written["port"])), rest
    settings = settings_if_any(app)
    named = _named(settings) if settings else {}
    found = named.get(first, ())
    if len(found) == 1:
        peer = found[0]
        return replace(peer, ae_title=ways.aec or peer.ae_title), rest
    if found:
        raise OperatorError(f"{first} is several: {', '.join(map(str, found))}; write one as TITLE@HOST:PORT")
    if rest and rest[0].isdecimal():
        return Peer(ae_title=ways.aec or _ANY_TITLE, host=first, port=_port(rest[0])), rest[1:]
    names = ", ".join(sorted(name for name in named if "." not in name)) or "none"
    raise OperatorError(
        f"{first!a} is no peer with a port in the configuration (there: {names}); write HOST PORT or TITLE@HOST:PORT"
    )


def settings_if_any(app: App) -> Settings | None:
    """Return the configuration, None where there is none. Raises ConfigError when it is wrong."""
    try:
        find_config(app.config, app.environ)
    except ConfigError:
        return None
    return app.settings


def own_node(settings: Settings) -> Peer:
    """Return the node of a configuration as a peer."""
    node = settings.node
    only_tls = node.tls is not None and node.tls.only
    return Peer(
        ae_title=node.ae_title[0],
        host=_ANY_ADDRESS.get(node.bind, node.bind),
        port=node.tls.port if node.tls is not None and only_tls else node.port,
        tls=only_tls,
        is_own_node=True,
    )


def as_peer(destination: Destination) -> Peer:
    """Return where a listed application entity takes associations as a peer."""
    return Peer(
        ae_title=destination.ae_title,
        host=destination.address,
        port=destination.port,
        tls=destination.tls,
        certificates=destination.certificates,
    )


def _tls_to(app: App, peer: Peer, ways: Ways) -> ssl.SSLContext | None:
    """Return what a call is encrypted by: files that are named, else those of the node. Raises OperatorError."""
    if not (ways.tls or peer.tls):
        return None
    settings = settings_if_any(app)
    if settings is None or settings.node.tls is None or any((ways.cert, ways.key, ways.ca)):
        return ways.context
    return client_context(settings.node.tls.files(), peer.certificates)


def _named(settings: Settings) -> Mapping[str, tuple[Peer, ...]]:
    named: dict[str, tuple[Peer, ...]] = {}
    for each in settings.destinations():
        peer = as_peer(each)
        for name in (each.name, each.name.partition(".")[2]):
            named[name] = (*named.get(name, ()), peer)
    return {NODE: (own_node(settings),)} | named


def _port(text: str) -> int:
    if not 0 < int(text) < 65536:
        raise OperatorError(f"{text} is no port; write 1 to 65535")
    return int(text)


def title_for(app: App, peer: Peer, ways: Ways, service: str) -> str:
    """Return the AE title to call with for a service such as ``find``: for the own node one that may ask for it."""
    if ways.aet:
        return ways.aet
    settings = settings_if_any(app)
    if settings is None:
        return _OWN_TITLE
    if not peer.is_own_node:
        return settings.node.ae_title[0]
    for caller in settings.callers():
        if service in caller.services and caller.calls_from(peer.host):
            return caller.ae_title
    return settings.node.ae_title[0]  # which it will refuse in words


@contextlib.contextmanager
def association(
    app: App,
    peer: Peer,
    ways: Ways,
    service: str,
    contexts: Sequence[Proposed],
    *,
    roles: Mapping[str, tuple[bool, bool]] | None = None,
) -> Iterator[Calling]:
    """Open an association for the length of a block. A PeerError within it tells whom it is about."""
    title = title_for(app, peer, ways, service)
    for each in (title, peer.ae_title):
        if not 0 < len(each) <= 16 or not each.isascii() or not each.isprintable():
            raise OperatorError(f"{each!a} is no AE title; write 1 to 16 characters of ASCII")
    seconds = ways.seconds
    try:
        calling = call(
            (peer.host, peer.port),
            calling_ae=title,
            called_ae=peer.ae_title,
            contexts=contexts,
            patience=Patience(connect=min(seconds, 10.0), answer=seconds, response=seconds, sending=seconds),
            tls=_tls_to(app, peer, ways),
            roles=roles,
        )
        with calling:
            yield calling
    except PeerError as error:
        raise type(error)(f"{peer}: {error}") from error


def status_words(status: int, comment: str) -> str:
    """Return a status as people read it: ``A700 (out of resources)``, with the peer's words where it has some."""
    return printable(f"{status:04X}" + (f" ({comment})" if comment else ""))


@click.command("echo")
@click.argument("words", nargs=-1, required=True, metavar="PEER")
@peer_options
@json_option
@pass_app
def echo(app: App, *, words: tuple[str, ...], ways: Ways, as_json: bool) -> int:
    """Ask PEER whether it is there and answers to us (C-ECHO).

    PEER is a name of the configuration with a port (node is the node itself), HOST PORT, or TITLE@HOST:PORT.
    """
    peer, rest = take_peer(app, words, ways)
    if rest:
        raise click.UsageError(f"nothing is to follow the peer, such as {rest[0]!a}")
    with association(app, peer, ways, "echo", [Proposed(VERIFICATION, MESSAGE_SYNTAXES)]) as calling:
        status = calling.echo()
    if as_json:
        write_json({"peer": str(peer), "status": f"{status:04X}"})
    else:
        click.echo(f"{peer} answers{'' if status == 0 else f' with status {status:04X}'}")
    return FAILED if status else 0
