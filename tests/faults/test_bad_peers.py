"""Peers that hang on, drip, lie about lengths or never read, as many as the node lets in and as many again.

One node as its users run it, with the default numbers of connections and shorter deadlines. A new kind of bad peer is
one more entry of ``KINDS``.
"""

import contextlib
import itertools
import os
import resource
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import raw_peer
from tests.archives import received_files, wait_until
from tests.certificates import Authority
from tests.live import LiveNode, free_port, live_node
from tests.raw_peer import EXPLICIT, IMPLICIT, MAMMOGRAM, VERIFICATION, RawPeer

CONNECTIONS = 512
"""The default of ``max_connections``."""

UNITS = 200
GOES = 45.0
"""Seconds after which no bad peer may be connected any more, with any deadlines up to the default ones."""
MEMORY = 256 << 20

CONTEXTS = ((MAMMOGRAM, [EXPLICIT]), (VERIFICATION, [IMPLICIT]))
AGAIN = 40
"""Bad peers that come again each fifth of a second."""

WILD = range(201, 205)
"""Listed units, by the last byte of their address, that have gone wild: what only an admitted peer can do."""

CONFIG = """\
config_version = 1
[facility]
name = "Synthetic Center"
time_zone = "America/Chicago"
[node]
port = {port}
workers = 2
drain = "1 s"
[node.limits]
association_request = "4 s"
pdu = "4 s"
idle = "5 s"
sending = "4 s"
tls_handshake = "4 s"
[node.tls]
port = TLS_PORT
certificate_file = "ca/node.crt"
key_file = "ca/node.key"
ca_file = "ca/ca.pem"
[storage]
path = "data"
min_free = "1 MiB"
[peers.pacs]
ae_title = "PACS"
host = "127.3.0.1"
""" + "".join(
    f'[units.unit{number}]\nlabel = "Unit {number}"\nkind = "prone"\n'
    f'[[units.unit{number}.identity]]\nae_title = "UNIT{number}"\nhost = "127.1.0.{number}"\n'
    for number in [*range(1, UNITS + 1), *WILD]
)


@dataclass(frozen=True)
class Guarded:
    """A node with both its ports."""

    node: LiveNode
    tls_port: int


@contextlib.contextmanager
def guarded_node(folder: Path, config: str = CONFIG) -> Iterator[Guarded]:
    authority, tls_port = Authority(folder / "ca"), free_port()
    authority.issue("node", "127.0.0.1")
    with live_node(folder, config=config.replace("TLS_PORT", str(tls_port))) as node:
        yield Guarded(node, tls_port)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    _need_files(3 * CONNECTIONS)
    with guarded_node(tmp_path_factory.mktemp("node")) as guarded:
        yield guarded


def _need_files(number: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number:
        if hard != resource.RLIM_INFINITY and hard < number:
            pytest.skip(f"this process may open {hard} files, the test needs {number}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


def unit_peer(node: LiveNode, number: int = 1) -> RawPeer:
    return RawPeer(node.port, calling=b"UNIT%d" % number, contexts=CONTEXTS, source=f"127.1.0.{number}")


# The kinds: what each sends at once, and whether it goes on sending.


@dataclass(frozen=True)
class Kind:
    """A way to be a bad peer.

    ``once`` is sent after connecting by the unit of that AE title; of ``drip`` a byte each turn; ``flood`` as fast as
    it goes. ``wild`` kinds come from listed units, the others from strangers. ``tls`` kinds go to the port with TLS.
    """

    name: str
    once: Callable[[bytes], bytes] = lambda _: b""
    drip: bytes = b""
    flood: bytes = b""
    reads: bool = True
    wild: bool = False
    tls: bool = False


def _request(title: bytes) -> bytes:
    return raw_peer.associate_request(title, b"SBB_NODE", CONTEXTS)


_STORE = raw_peer.message(1, raw_peer.store_request(MAMMOGRAM, "1.2.3"), bytes(3000))
_EMPTY_STORE = raw_peer.message(1, raw_peer.store_request(MAMMOGRAM, "1.2.3", data=False))

KINDS = [
    Kind("silent"),
    Kind("silent by TLS", tls=True),
    Kind("half a handshake", once=lambda _: b"\x16\3\1\2\0\1", tls=True),
    Kind("dripping", drip=_request(b"STRANGER")),
    Kind("half a request", once=lambda title: _request(title)[:100]),
    Kind("giant request", once=lambda _: b"\1\0\xff\xff\xff\xff", flood=bytes(1 << 16)),
    Kind("giant first unit", once=lambda _: b"\4\0\xff\xff\xff\xff", flood=bytes(1 << 16)),
    Kind("silent association", once=_request, wild=True),
    Kind("half a command", once=lambda title: _request(title) + _STORE[:40], wild=True),
    Kind("half a data set", once=lambda title: _request(title) + _STORE[:-500], wild=True),
    Kind("dripping data set", once=lambda title: _request(title) + _STORE[:-500], drip=bytes(500), wild=True),
    Kind("giant unit", once=lambda title: _request(title) + b"\4\0\xff\xff\xff\xff", flood=bytes(1 << 16), wild=True),
    Kind("never reading", once=_request, flood=_EMPTY_STORE * 100, reads=False, wild=True),
]


@dataclass
class _Connection:
    """One bad peer while it is connected."""

    kind: Kind
    socket: socket.socket
    to_send: bytes
    dripped: int = 0
    since: float = field(default_factory=time.monotonic)


class Attack:
    """Keeps so many bad peers at it, opening anew, some each second, what the node has closed, until told to let go."""

    def __init__(self, guarded: Guarded, places: Sequence[tuple[Kind, str, bytes]]) -> None:
        """``places``: for each peer its kind, its address and its AE title."""
        self.longest: dict[str, float] = {}
        """Seconds that a peer of each kind stayed connected."""
        self.opened = 0
        self._guarded = guarded
        self._places = list(places)
        self._free = deque(range(len(self._places)))
        self._living: dict[int, tuple[int, _Connection]] = {}
        self._sent = time.monotonic()
        self._poll = select.poll()
        self._letting_go = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Attack":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join()
        for _, connection in self._living.values():
            connection.socket.close()

    @property
    def connected(self) -> int:
        return len(self._living)

    @property
    def is_stuck(self) -> bool:
        """Tell whether nobody could send anything for half a second."""
        return time.monotonic() - self._sent > 0.5

    def let_go(self) -> None:
        """Open no more; the node must get rid of the rest."""
        self._letting_go = True

    def _run(self) -> None:
        turn = 0.0
        while not self._stopping:
            if time.monotonic() >= turn:
                for _ in range(0 if self._letting_go else len(self._free) if not turn else AGAIN):
                    if self._free:
                        self._open(self._free.popleft())
                turn = time.monotonic() + 0.2
                for _, connection in [*self._living.values()]:
                    self._drip(connection)
            for number, event in self._poll.poll(50):
                self._serve(number, event)

    def _open(self, place: int) -> None:
        kind, address, title = self._places[place]
        made = socket.socket()
        if not kind.reads:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.bind((address, 0))
        made.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            made.connect(("127.0.0.1", self._guarded.tls_port if kind.tls else self._guarded.node.port))
        self.opened += 1
        connection = _Connection(kind, made, kind.once(title))
        self._living[made.fileno()] = (place, connection)
        self._poll.register(made, self._wanted(connection))

    def _wanted(self, connection: _Connection) -> int:
        sends = connection.to_send or connection.kind.flood
        return (select.POLLIN if connection.kind.reads else 0) | (select.POLLOUT if sends else 0)

    def _drip(self, connection: _Connection) -> None:
        at = connection.dripped
        if not connection.to_send and at < len(connection.kind.drip):
            connection.dripped += 1
            with contextlib.suppress(OSError):
                connection.socket.send(connection.kind.drip[at : at + 1])

    def _serve(self, number: int, event: int) -> None:
        place, connection = self._living[number]
        is_gone = bool(event & (select.POLLHUP | select.POLLERR))
        try:
            if event & select.POLLIN:
                is_gone = not connection.socket.recv(1 << 16) or is_gone
            if event & select.POLLOUT and not is_gone:
                data = connection.to_send or connection.kind.flood
                sent = connection.socket.send(data)
                self._sent = time.monotonic()
                connection.to_send = data[sent:]
                self._poll.modify(connection.socket, self._wanted(connection))
        except BlockingIOError:
            pass
        except OSError:
            is_gone = True
        if is_gone:
            name = connection.kind.name
            self.longest[name] = max(self.longest.get(name, 0.0), time.monotonic() - connection.since)
            self._poll.unregister(connection.socket)
            connection.socket.close()
            del self._living[number]
            self._free.append(place)


def bad_peers(number: int) -> list[tuple[Kind, str, bytes]]:
    """As many bad peers: the wild ones share the addresses of some units, the rest has 40 connections an address.

    One in each wild unit keeps a processor busy before it hangs: it never reads. Of the others there are two.
    """
    wild = [kind for kind in KINDS if kind.wild]
    tame = [kind for kind in KINDS if not kind.wild]
    places = [(kind, f"127.1.0.{unit}", b"UNIT%d" % unit) for unit in WILD for kind in [*wild, *wild[:-1]]]
    for each, kind in zip(range(number - len(places)), itertools.cycle(tame), strict=False):
        places.append((kind, f"127.2.0.{1 + each // 40}", b"STRANGER"))
    return places


def processes(node: LiveNode) -> list[int]:
    assert node.process is not None
    own = node.process.pid
    return [own, *map(int, Path(f"/proc/{own}/task/{own}/children").read_text().split())]


def resident(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_unit_is_served_while_bad_peers_hang_on(guarded: Guarded) -> None:
    node = guarded.node
    base = {process: resident(process) for process in processes(node)}
    peak = dict(base)
    lines = node.log.read_bytes().count(b"\n")
    took = []
    with Attack(guarded, bad_peers(2 * CONNECTIONS)) as attack:
        for _ in range(8):
            began = time.monotonic()
            with unit_peer(node) as unit:
                assert unit.answer[0] == 2
                unit.send(raw_peer.message(3, raw_peer.echo_request()))
                assert unit.read_response()[0].status == 0
                unit.release()
            took.append(time.monotonic() - began)
            peak = {process: max(peak[process], resident(process)) for process in base}
            time.sleep(max(0.0, began + 1.0 - time.monotonic()))
        assert attack.opened >= 2 * CONNECTIONS
        attack.let_go()
        deadline = time.monotonic() + GOES
        while attack.connected and time.monotonic() < deadline:
            time.sleep(0.1)
        assert attack.connected == 0
        assert set(attack.longest) == {kind.name for kind in KINDS}
        assert max(attack.longest.values()) < GOES, attack.longest
    assert max(took) < 2.0, took
    assert {process for process in base if peak[process] - base[process] > MEMORY} == set()
    assert processes(node) == [*base]
    assert node.log.read_bytes().count(b"\n") - lines < 6000


def test_ten_hung_peers_do_not_hold_up_a_stop(tmp_path: Path) -> None:
    patient = CONFIG.replace('"5 s"', '"60 s"').replace('"4 s"', '"60 s"')
    hanging = [kind for kind in KINDS if "giant" not in kind.name]
    places = [(kind, "127.1.0.1", b"UNIT1") for kind in [*hanging, *hanging][:10]]
    with guarded_node(tmp_path, patient) as guarded, Attack(guarded, places) as attack:
        node = guarded.node
        wait_until(lambda: b"instance.refused" in node.log.read_bytes() and attack.is_stuck)
        assert attack.connected == len(places) == attack.opened
        began = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - began < 15
    assert received_files(node.data) == []


def test_200_units_at_once_are_all_served(guarded: Guarded) -> None:
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        units = [
            stack.enter_context(RawPeer(guarded.node.port, contexts=None, source=f"127.1.0.{number}"))
            for number in range(1, UNITS + 1)
        ]
        for number, unit in enumerate(units, start=1):
            unit.send(_request(b"UNIT%d" % number))
        assert [unit.read_unit()[0] for unit in units] == [2] * UNITS
        for unit in units:
            unit.send(raw_peer.message(3, raw_peer.echo_request()))
        assert [unit.read_response()[0].status for unit in units] == [0] * UNITS
        assert time.monotonic() - began < 5.0
        for unit in units:
            unit.release()
