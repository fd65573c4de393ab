"""Associations by TLS over real sockets: who gets in, what arrives, and who is turned away in which words."""

import contextlib
import random
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE
from pynetdicom.pdu_primitives import UserIdentityNegotiation
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at run time
from structlog.testing import capture_logs

from dicom_node import logs
from dicom_node.dimse import listener as listener_module
from dicom_node.dimse.access import AccessList, Caller
from dicom_node.dimse.association import Wire
from dicom_node.dimse.capacity import Capacity, Places
from dicom_node.dimse.certificates import TlsFiles, read_certificates
from dicom_node.dimse.contexts import ContextTable
from dicom_node.dimse.limits import Limits
from dicom_node.dimse.listener import Listener
from dicom_node.dimse.port import answers, open_port
from dicom_node.dimse.tls import client_context, server_context, shake_hands
from dicom_node.services.audit import CallAudit
from tests import raw_peer
from tests.certificates import Authority
from tests.factories import make_mg, write_file
from tests.integration.test_receiver import MAMMOGRAM, Remembering, store
from tests.querying import wait_until
from tests.raw_peer import EXPLICIT, RawPeer

HERE = (ip_network("127.0.0.0/8"), ip_network("::1"))
SERVICES = frozenset({"echo", "store"})

needs_dcmtk = pytest.mark.skipif(
    shutil.which("echoscu") is None, reason="DCMTK is not installed (Debian package dcmtk)"
)
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


class Node:
    """A plain listener and one for TLS, sharing what they serve and how many may come."""

    def __init__(self, files: TlsFiles, *more: Caller, bind: str = "127.0.0.1", **limits: Any) -> None:
        self.store = Remembering()
        self.recorded: list[tuple[str, Mapping[str, Any]]] = []
        self.context = server_context(files, "OWN")
        anyone = Caller(name="units.prone1", ae_title="PRONE_RM2", hosts=HERE, services=SERVICES)
        wire = Wire(
            access=AccessList([anyone, *more], ["SBB_NODE"]),
            contexts=ContextTable(),
            limits=Limits(**limits),
            make_store=lambda **_: self.store,  # type: ignore[arg-type,return-value]  # a fake of the same shape
            services={},
            now=lambda: datetime.now(UTC),
            audit=CallAudit(self),
        )
        places = Places.alone(Capacity())
        options: dict[str, Any] = {"wire": wire, "places": places, "own_title": "OWN"}
        self.sockets = [open_port((bind, 0)) for _ in range(2)]
        self.plain = Listener(self.sockets[0], **options)
        self.secure = Listener(self.sockets[1], tls=lambda: self.context, **options)
        for each in (self.plain, self.secure):
            each.start()

    @property
    def port(self) -> int:
        return self.secure.port

    def append(self, event: str, details: Mapping[str, Any], *, durable: bool = False) -> None:
        self.recorded.append((event, details))

    def stop(self) -> None:
        for each in (self.plain, self.secure):
            each.stop(0.0)


@pytest.fixture(autouse=True)
def everything_is_told(logs_as_they_were: None) -> None:
    logs.configure(level="info")


@contextlib.contextmanager
def running(*args: Any, **options: Any) -> Iterator[Node]:
    node = Node(*args, **options)
    try:
        yield node
    finally:
        node.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def device(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("prone.example.org")


@pytest.fixture(scope="module")
def node(authority: Authority, device: tuple[Path, Path]) -> Iterator[Node]:
    fingerprint = read_certificates(authority.issue("by-digest")[0])[0].fingerprint
    bound = {
        "BOUND": Caller(
            name="peers.bound", ae_title="BOUND", hosts=HERE, services=SERVICES, certificates=("Prone.example.org",)
        ),
        "DIGEST": Caller(
            name="peers.digest",
            ae_title="DIGEST",
            hosts=HERE,
            services=SERVICES,
            certificates=(f"sha256:{fingerprint}",),
        ),
        "USER": Caller(
            name="peers.user", ae_title="USER", hosts=HERE, services=SERVICES, username="röntgen", passcode="Geheim 1"
        ),
        "NAMED": Caller(name="peers.named", ae_title="NAMED", hosts=HERE, services=SERVICES, username="named"),
    }
    with running(authority.files(), *bound.values(), handshake=2.0) as node:
        yield node


def echoes(port: int, tls: ssl.SSLContext | None, calling: bytes = b"PRONE_RM2", host: str = "127.0.0.1") -> bool:
    with RawPeer(port, calling=calling, tls=tls, host=host) as peer:
        if peer.answer[0] != 2:
            return False
        peer.send(raw_peer.message(3, raw_peer.echo_request(9)))
        assert peer.read_response()[0].status == 0
        assert peer.release()[0] == 6
    return True


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_large_instance_arrives_byte_for_byte(
    node: Node, authority: Authority, device: tuple[Path, Path], version: ssl.TLSVersion
) -> None:
    data = random.Random(1).randbytes(20_000_000)
    with RawPeer(node.port, tls=authority.client(*device, version=version)) as peer:
        assert isinstance(peer.socket, ssl.SSLSocket)
        assert peer.socket.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2"}.get(version, "TLSv1.3")
        peer.send(raw_peer.message(1, raw_peer.store_request(MAMMOGRAM, "1.2.3"), data, 100_000))
        assert peer.read_response()[0].status == 0
        assert peer.release()[0] == 6
    assert node.store.finished.pop() == ("1.2.3", 1, data)
    assert node.store.open == 0


def test_units_in_odd_pieces_and_back_to_back_are_served(
    node: Node, authority: Authority, device: tuple[Path, Path]
) -> None:
    chance = random.Random(3)
    stream = b"".join(store(number, bytes(500 * number), 333) for number in range(1, 6))
    with RawPeer(node.port, tls=authority.client(*device)) as peer:
        peer.drip(stream, (chance.choice([1, 5, 6, 7, 12, 400, 5000]) for _ in range(100000)))
        assert [peer.read_response()[0].message_id for _ in range(5)] == [1, 2, 3, 4, 5]
        peer.send(b"".join(store(number) for number in range(1, 21)))
        assert [peer.read_response()[0].message_id for _ in range(20)] == [*range(1, 21)]
        assert peer.release()[0] == 6
    node.store.finished.clear()


def test_plain_and_tls_side_by_side(node: Node, authority: Authority, device: tuple[Path, Path]) -> None:
    tls = authority.client(*device)
    with RawPeer(node.plain.port) as plain, RawPeer(node.port, tls=tls) as secure:
        for peer in (plain, secure, plain):
            peer.send(store())
            assert peer.read_response()[0].status == 0
    assert (node.plain.is_alive, node.secure.is_alive) == (True, True)
    node.store.finished.clear()


def test_pynetdicom_as_a_device_by_tls(node: Node, authority: Authority, device: tuple[Path, Path]) -> None:
    ae = AE(ae_title="PRONE_RM2")
    ae.add_requested_context(Verification)
    association = ae.associate(
        "127.0.0.1", node.port, ae_title="SBB_NODE", tls_args=(authority.client(*device), "127.0.0.1")
    )
    assert association.is_established
    assert association.send_c_echo().Status == 0
    association.release()
    wait_until(lambda: node.secure.associations == 0)


def echoscu(node: Node, *options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["echoscu", "-v", *map(str, options), "-aet", "PRONE_RM2", "-aec", "SBB_NODE", "127.0.0.1", str(node.port)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@needs_dcmtk
def test_echoscu_is_taken_with_a_certificate_and_not_without(
    node: Node, authority: Authority, stranger: Authority, device: tuple[Path, Path]
) -> None:
    certificate, key = device
    assert echoscu(node, "+tls", key, certificate, "+cf", authority.file).returncode == 0
    foreign = stranger.issue("foreign")
    expired = authority.issue("expired", days=-1, began=5)
    with capture_logs() as lines:
        assert echoscu(node, "+tla", "+cf", authority.file).returncode != 0
        assert echoscu(node, "+tls", foreign[1], foreign[0], "+cf", authority.file).returncode != 0
        assert echoscu(node, "+tls", expired[1], expired[0], "+cf", authority.file).returncode != 0
        assert echoscu(node, "+tls", key, certificate, "+cf", stranger.file).returncode != 0
        assert echoscu(node).returncode != 0  # without TLS
    reasons = [each["reason"] for each in lines if each["event"] == "connection.dropped"]
    assert reasons[:3] == [
        "it showed no certificate",
        "its certificate is not accepted: unable to get local issuer certificate",
        "its certificate is not accepted: certificate has expired",
    ]
    assert "does not" in reasons[3]
    assert "it speaks no TLS" in reasons[4]


def test_who_fails_in_the_handshake_is_recorded_as_refused_and_who_only_looks_is_not(authority: Authority) -> None:
    with running(authority.files()) as node:
        socket.create_connection(("127.0.0.1", node.port)).close()
        with RawPeer(node.port, contexts=None) as plain:
            plain.send(raw_peer.RELEASE)
            assert plain.is_closed()
        wait_until(lambda: bool(node.recorded))
        ((event, details),) = node.recorded
    assert (event, details["calling_ae"], details["peer"]) == ("association.refused", "", "127.0.0.1")
    assert "it speaks no TLS" in details["reason"]


@needs_dcmtk
def test_storescu_stores_by_tls(node: Node, authority: Authority, device: tuple[Path, Path], tmp_path: Path) -> None:
    certificate, key = device
    path = write_file(tmp_path / "image.dcm", make_mg())
    done = subprocess.run(
        ["storescu", "+tls", key, certificate, "+cf", authority.file, "-aet", "PRONE_RM2", "-aec", "SBB_NODE",
         "127.0.0.1", str(node.port), path],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(node.store.finished) == 1
    node.store.finished.clear()


OLD = "it offers no TLS 1.2 and no TLS 1.3"
WEAK = "it offers no cipher suite of the profile"


@needs_openssl
@pytest.mark.parametrize(
    ("options", "refused"),
    [
        (["-tls1_3"], ""),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], ""),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"], ""),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384"], WEAK),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], WEAK),
        (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], OLD),
        (["-tls1", "-cipher", "ALL:@SECLEVEL=0"], OLD),
    ],
)
def test_what_the_profile_leaves_out_is_refused(
    authority: Authority, device: tuple[Path, Path], options: list[str], refused: str
) -> None:
    # A node of its own: one that others called tells of their connections when it comes to it.
    with running(authority.files()) as node, capture_logs() as lines:
        assert s_client(node, authority, device, *options) is not bool(refused)
        wait_until(lambda: bool(lines))
    assert not refused or [each["reason"] for each in lines] == [refused]


@needs_openssl
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_no_session_outlives_the_files_it_was_made_with(
    authority: Authority, device: tuple[Path, Path], tmp_path: Path, version: str
) -> None:
    saved = tmp_path / "session"
    files = authority.files("resumed")
    with running(files) as node:
        assert s_client(node, authority, device, version, "-sess_out", str(saved))
        assert saved.exists() is (version == "-tls1_2")  # TLS 1.3 gets no ticket at all
        if saved.exists():
            node.context = server_context(files, "OWN")
            assert s_client(node, authority, device, version, "-sess_in", str(saved), is_new=True)


def s_client(node: Node, authority: Authority, device: tuple[Path, Path], *options: str, is_new: bool = False) -> bool:
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{node.port}", "-cert", device[0], "-key", device[1],
         "-CAfile", authority.file, *options],
        input=b"", capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert not is_new or b"New, " in done.stdout
    return b"Verify return code: 0 (ok)" in done.stdout and b"Cipher is (NONE)" not in done.stdout


@needs_openssl
def test_the_modified_profile_takes_the_suites_of_its_own_as_well(
    authority: Authority, device: tuple[Path, Path]
) -> None:
    with running(authority.files(profile="bcp195-modified")) as node:
        for suite, is_taken in (
            ("ECDHE-ECDSA-CHACHA20-POLY1305", True),
            ("ECDHE-ECDSA-AES128-CCM", True),
            ("ECDHE-ECDSA-AES256-SHA384", False),
        ):
            assert s_client(node, authority, device, "-tls1_2", "-cipher", suite) is is_taken


def test_without_authorities_tls_only_encrypts(authority: Authority) -> None:
    with running(authority.files(asks=False)) as node:
        assert echoes(node.port, authority.client())


def test_a_certificate_itself_may_stand_among_the_authorities(authority: Authority) -> None:
    listed, other = authority.issue("listed"), authority.issue("unlisted")
    with running(replace(authority.files(), authorities=listed[0])) as node:
        assert echoes(node.port, authority.client(*listed))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            echoes(node.port, authority.client(*other))


def hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    half = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="node")
    with contextlib.suppress(ssl.SSLWantReadError):
        half.do_handshake()
    return outgoing.read()


def test_the_silent_delay_nobody_and_are_gone_in_time(
    node: Node, authority: Authority, device: tuple[Path, Path]
) -> None:
    began = time.monotonic()
    silent = [socket.create_connection(("127.0.0.1", node.port), timeout=30) for _ in range(20)]
    for connection in silent[10:]:
        connection.sendall(hello()[:40])
    assert echoes(node.port, authority.client(*device))
    assert all(select_nothing(connection) for connection in silent) or time.monotonic() - began > 2
    for connection in silent:
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(100):
                pass
        connection.close()
    assert time.monotonic() - began > 1.5  # not before the deadline either


def select_nothing(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        connection.settimeout(30)
    return False


def test_a_drip_does_not_lengthen_the_handshake(node: Node) -> None:
    with socket.create_connection(("127.0.0.1", node.port), timeout=30) as connection:
        closed = threading.Event()

        def drip() -> None:
            for byte in hello():
                if closed.wait(0.2):
                    return
                with contextlib.suppress(OSError):
                    connection.sendall(bytes([byte]))

        thread = threading.Thread(target=drip)
        thread.start()
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(100):
                pass
        closed.set()
        thread.join()


def test_a_silent_peer_after_the_handshake_has_the_time_of_a_request(authority: Authority) -> None:
    with running(authority.files(asks=False), request=0.5) as node, capture_logs() as lines:
        with RawPeer(node.port, tls=authority.client(), contexts=None) as peer:
            assert peer.is_closed()
        wait_until(lambda: any(each["event"] == "connection.dropped" for each in lines))
    assert [each["reason"] for each in lines if each["event"] == "connection.dropped"] == [
        "no association was requested in time"
    ]


@pytest.mark.parametrize("how", ["reset", "plain close", "garbage"])
def test_a_connection_that_breaks_in_the_middle_ends_without_an_error(
    node: Node, authority: Authority, device: tuple[Path, Path], how: str
) -> None:
    with capture_logs() as lines:
        with RawPeer(node.port, tls=authority.client(*device)) as peer:
            peer.send(store()[:3000])
            wait_until(lambda: node.store.open == 1)
            raw = socket.socket(fileno=peer.socket.detach())
            if how == "reset":
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if how == "garbage":
                raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            raw.close()
        wait_until(lambda: node.secure.associations == 0 and node.store.open == 0)
    assert not [each for each in lines if each["log_level"] in ("error", "critical")]


def test_an_abort_by_the_node_reaches_the_peer_by_tls(authority: Authority) -> None:
    with running(authority.files(asks=False), idle=0.5) as node, RawPeer(node.port, tls=authority.client()) as peer:
        assert peer.read_unit()[0] == 7
        assert isinstance(peer.socket, ssl.SSLSocket)
        assert peer.socket.recv(1) == b""  # a proper end of TLS: a cut would raise


def test_a_stop_ends_associations_of_both_kinds(authority: Authority) -> None:
    with running(authority.files(asks=False)) as node:
        plain, secure = RawPeer(node.plain.port), RawPeer(node.port, tls=authority.client())
        node.stop()
        for peer in (plain, secure):
            assert peer.read_unit()[0] == 7
            peer.socket.close()


# Who is who.


def test_a_caller_is_bound_to_its_certificate(node: Node, authority: Authority, device: tuple[Path, Path]) -> None:
    other = authority.issue("other.example.org")
    with capture_logs() as lines:
        assert echoes(node.port, authority.client(*device), b"BOUND")
        assert not echoes(node.port, authority.client(*other), b"BOUND")
        assert not echoes(node.plain.port, None, b"BOUND")
        by_digest = authority.folder / "by-digest.crt", authority.folder / "by-digest.key"
        assert echoes(node.port, authority.client(*by_digest), b"DIGEST")
        assert not echoes(node.port, authority.client(*device), b"DIGEST")
    accepted = [each for each in lines if each["event"] == "association.accepted"]
    assert [each["certificate"] for each in accepted] == ["prone.example.org", "by-digest"]
    reasons = [each["reason"] for each in lines if each["event"] == "association.rejected"]
    assert reasons[0].startswith("it showed the certificate of 'other.example.org', and peers.bound is listed with")
    assert reasons[1] == "it is listed as peers.bound with a certificate, and called without TLS"


def identified(
    node: Node, tls: ssl.SSLContext | None, calling: str, kind: int = 2, user: str = "röntgen", code: str = "Geheim 1"
) -> Any:
    """Ask for an association as a user; return pynetdicom's association."""
    ae = AE(ae_title=calling)
    ae.add_requested_context(Verification)
    identity = UserIdentityNegotiation()
    identity.user_identity_type = kind
    identity.primary_field = user.encode()
    if kind == 2:
        identity.secondary_field = code.encode()
    identity.positive_response_requested = True
    port = node.plain.port if tls is None else node.port
    args = None if tls is None else (tls, "127.0.0.1")
    return ae.associate("127.0.0.1", port, ae_title="SBB_NODE", ext_neg=[identity], tls_args=args)


def test_a_username_is_taken_by_tls_alone_and_confirmed(
    node: Node, authority: Authority, device: tuple[Path, Path]
) -> None:
    tls = authority.client(*device)
    with capture_logs() as lines:
        good = identified(node, tls, "USER")
        assert good.is_established
        assert good.acceptor.user_identity is not None  # the positive response
        good.release()
        for association in (
            identified(node, tls, "USER", code="wrong"),
            identified(node, tls, "USER", user="other"),
            identified(node, tls, "USER", kind=1),
            identified(node, None, "USER"),
        ):
            assert association.is_rejected
            primitive = association.acceptor.primitive
            assert (primitive.result, primitive.result_source, primitive.diagnostic) == (2, 2, 1)
        assert not echoes(node.port, tls, b"USER")
        named = identified(node, tls, "NAMED", kind=1, user="named")
        assert named.is_established
        named.release()
        # Nobody asks this one, and nobody answers what it says.
        free = identified(node, None, "PRONE_RM2")
        assert free.is_established
        assert free.acceptor.user_identity is None
        free.release()
    assert "Geheim" not in str(lines)
    reasons = {each["reason"] for each in lines if each["event"] == "association.rejected"}
    assert reasons == {
        "it did not name itself by the username and passcode of peers.user",
        "it is listed as peers.user with a username, which is only taken by TLS",
    }


def test_a_listener_of_every_address_knows_peers_of_both_kinds(authority: Authority) -> None:
    with running(authority.files(asks=False), bind="::") as node, capture_logs() as lines:
        assert echoes(node.plain.port, None)
        assert echoes(node.plain.port, None, host="::1")
        assert echoes(node.port, authority.client())
        assert echoes(node.port, authority.client(), host="::1")
    accepted = [each["peer"] for each in lines if each["event"] == "association.accepted"]
    assert accepted == ["127.0.0.1", "::1", "127.0.0.1", "::1"]


# The node's own check, and the node as a caller.


def test_the_node_answers_its_own_check_and_says_nothing_of_it(authority: Authority) -> None:
    with running(authority.files()) as node, capture_logs() as lines:
        assert answers(node.sockets[1], "OWN", by_tls=True)
    assert lines == []


def test_a_dead_accept_loop_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "SELF_CHECK", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as dead:
        assert not answers(dead, "OWN", by_tls=True)


@pytest.mark.parametrize(
    ("host", "names", "is_taken"),
    [
        ("127.0.0.1", (), True),
        ("127.0.0.2", (), False),
        ("127.0.0.2", ("node",), True),
        ("127.0.0.2", ("LOCALHOST",), True),
        ("127.0.0.1", ("another",), False),
    ],
)
def test_who_is_called_must_show_the_right_certificate(
    node: Node, authority: Authority, host: str, names: tuple[str, ...], is_taken: bool
) -> None:
    context = client_context(authority.files("caller"), names)
    expected = contextlib.nullcontext() if is_taken else pytest.raises(ssl.SSLCertVerificationError)
    with expected, RawPeer(node.port, tls=context) if host == "127.0.0.1" else named(node, context, host) as peer:
        assert peer.answer[0] == 2


def named(node: Node, context: ssl.SSLContext, host: str) -> RawPeer:
    """Call the node as if ``host`` was its address."""
    raw = socket.create_connection(("127.0.0.1", node.port), timeout=20)
    try:
        secure = context.wrap_socket(raw, server_hostname=host)
    except BaseException:
        raw.close()
        raise
    peer = RawPeer.__new__(RawPeer)
    peer.socket = secure
    peer.send(raw_peer.associate_request(b"PRONE_RM2", b"SBB_NODE", ((MAMMOGRAM, [EXPLICIT]),)))
    peer.answer = peer.read_unit()
    return peer


def test_a_stranger_is_not_called(node: Node, stranger: Authority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        RawPeer(node.port, tls=client_context(stranger.files("caller")))


def test_a_new_certificate_is_shown_to_the_next_caller(authority: Authority) -> None:
    files = authority.files("renewed", asks=False)
    with running(files) as node:

        def shown() -> Any:
            with RawPeer(node.port, tls=authority.client()) as peer:
                assert isinstance(peer.socket, ssl.SSLSocket)
                return peer.socket.getpeercert(binary_form=True)

        before = shown()
        with RawPeer(node.port, tls=authority.client()) as staying:
            node.context = server_context(authority.files("renewed", asks=False), "OWN")
            assert shown() != before
            staying.send(store())
            assert staying.read_response()[0].status == 0


def test_one_connection_may_send_and_receive_at_the_same_time(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's own object takes one thread at a time, and ours is used by several."""
    inside: dict[int, int] = {}
    overlaps = []

    def watched(method: Any) -> Any:
        def call(self: Any, *args: Any) -> Any:
            overlaps.extend([id(self)] * inside.get(id(self), 0))
            inside[id(self)] = 1
            try:
                time.sleep(0.0002)
                return method(self, *args)
            finally:
                inside[id(self)] = 0

        return call

    for name in ("send", "recv_into"):
        monkeypatch.setattr(ssl.SSLSocket, name, watched(getattr(ssl.SSLSocket, name)))
    data = random.Random(7).randbytes(3_000_000)
    context = server_context(authority.files())
    got: dict[str, bytes] = {}
    with socket.create_server(("127.0.0.1", 0)) as server:
        raw = socket.create_connection(server.getsockname(), timeout=20)
        connection, _ = server.accept()
        ours: list[Any] = []
        accepting = threading.Thread(target=lambda: ours.append(shake_hands(connection, context, 20)))
        accepting.start()
        theirs = client_context(authority.files("caller")).wrap_socket(raw, server_hostname="127.0.0.1")
        accepting.join()
    ends = {"here": ours[0], "there": theirs}
    for end in ends.values():
        end.setblocking(False)

    def send(end: Any) -> None:
        view = memoryview(data)
        while view:
            with contextlib.suppress(ssl.SSLWantWriteError, ssl.SSLWantReadError):
                view = view[end.send(view[:50_000]) :]

    def receive(name: str, end: Any) -> None:
        buffer, received = bytearray(1 << 16), bytearray()
        while len(received) < len(data):
            with contextlib.suppress(ssl.SSLWantReadError):
                received += buffer[: end.recv_into(buffer)]
        got[name] = bytes(received)

    threads = [threading.Thread(target=send, args=(end,)) for end in ends.values()]
    threads += [threading.Thread(target=receive, args=(name, end)) for name, end in ends.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for end in ends.values():
        end.close()
    assert got == {"here": data, "there": data}
    assert overlaps == []


def test_nothing_leaves_in_the_clear_after_the_end_was_announced(authority: Authority) -> None:
    with running(authority.files(asks=False)) as node, RawPeer(node.port, tls=authority.client()):
        (assoc,) = node.secure._server.living()
        connection: Any = assoc.receiving._connection
        connection.shutdown(socket.SHUT_WR)
        with pytest.raises(BrokenPipeError):
            connection.send(b"in the clear")
        assert connection.recv_into(bytearray(16)) == 0
