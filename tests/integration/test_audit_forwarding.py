"""Forwarding the trail to a real TLS server: what arrives, and that nothing is lost or skipped."""

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest
import trustme
from structlog.testing import capture_logs

from dicom_node.archive.audit import Head
from dicom_node.archive.store import LocalArchive
from dicom_node.dicom.audit_message import AuditSource
from dicom_node.errors import ObjectDamagedError
from dicom_node.services import audit_forwarding
from dicom_node.services.audit_forwarding import Forwarder, Repository, frames, queue
from tests.audit_repository import AuditRepository, numbers, split

SOURCE = AuditSource(ae_title="SBB_NODE", facility="Synthetic Center")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def serve(authority: trustme.CA) -> Iterator[Callable[..., AuditRepository]]:
    servers = []

    def make(name: str = "localhost", *, ca: trustme.CA = authority, asks: bool = False) -> AuditRepository:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(name).configure_cert(context)
        if asks:
            context.verify_mode = ssl.CERT_REQUIRED
            authority.configure_trust(context)
        servers.append(AuditRepository(context))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[LocalArchive]:
    with LocalArchive.create(tmp_path / "var", min_free_bytes=0) as archive:
        yield archive


class Sender:
    """A forwarder with a clock of its own."""

    def __init__(self, archive: LocalArchive, folder: Path, authority: trustme.CA, port: int, **more: str) -> None:
        ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        self.seconds = 0.0
        repository = Repository(host="localhost", port=port, ca_file=str(ca_file), **more)
        self.forwarder = Forwarder(archive.audit, repository, SOURCE, clock=lambda: self.seconds)

    def run(self, after: float = 0.0) -> int:
        self.seconds += after
        return self.forwarder.run()


def write(archive: LocalArchive, number: int) -> None:
    for each in range(number):
        archive.audit.append("config.rejected", {"problems": each})


def test_lines_arrive_once_in_order_as_syslog_with_an_audit_message(
    archive: LocalArchive, tmp_path: Path, authority: trustme.CA, serve: Callable[..., AuditRepository]
) -> None:
    server = serve()
    sender = Sender(archive, tmp_path, authority, server.port)
    write(archive, 3)
    assert queue(archive.audit).waiting == 3
    assert sender.run() == 3
    assert sender.run() == 0
    write(archive, 2)
    assert sender.run() == 2
    assert numbers(server.messages) == [1, 2, 3, 4, 5]
    head, _, body = server.messages[0].partition("\ufeff".encode())
    assert re.fullmatch(
        rb"<84>1 \d{4}-\d\d-\d\dT[0-9:.]+\+00:00 \S+ dicom-node \d+ DICOM\+RFC3881 \[meta sequenceId=\"1\"\] ", head
    )
    assert fromstring(body).tag == "AuditMessage"
    assert server.versions <= {"TLSv1.2", "TLSv1.3"}
    assert archive.audit.forwarded() == archive.audit.head()
    assert queue(archive.audit).since is None


def test_a_repository_that_was_away_gets_everything_later_also_over_a_restart(
    tmp_path: Path, authority: trustme.CA, serve: Callable[..., AuditRepository], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_forwarding, "BATCH", 4)
    server = serve()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with LocalArchive.create(tmp_path / "var", min_free_bytes=0) as archive:
            write(archive, 5)
            away = Sender(archive, tmp_path, authority, nobody.getsockname()[1])
            with capture_logs() as logs:
                assert [away.run(after) for after in (0.0, 4.9, 0.1, 9.9, 0.1)] == [0] * 5
            told = [(line["event"], line["attempt"], line["seconds"]) for line in logs]
            assert told == [("audit.not_forwarded", number, 5.0 * 2 ** (number - 1)) for number in (1, 2, 3)]
            for _ in range(20):
                away.run(10_000.0)
            with capture_logs() as logs:
                away.run(10_000.0)
            assert logs[0]["seconds"] == 900.0
    with LocalArchive.open(tmp_path / "var", min_free_bytes=0) as archive:
        write(archive, 5)
        assert Sender(archive, tmp_path, authority, server.port).run() == 10
    assert numbers(server.messages) == list(range(1, 11))


def test_what_the_repository_may_not_have_read_is_sent_again(
    archive: LocalArchive, tmp_path: Path, authority: trustme.CA, serve: Callable[..., AuditRepository]
) -> None:
    server = serve()
    server.in_order = False
    sender = Sender(archive, tmp_path, authority, server.port)
    write(archive, 2)
    with capture_logs() as logs:
        assert sender.run() == 0
    assert logs[0]["event"] == "audit.not_forwarded"
    assert archive.audit.forwarded() == Head()
    server.in_order = True
    assert sender.run(5.0) == 2
    assert numbers(server.messages) == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("name", "stranger", "reason"),
    [("other.example", False, "certificate is not accepted"), ("localhost", True, "certificate is not accepted")],
)
def test_a_repository_of_another_name_or_authority_gets_nothing(
    archive: LocalArchive,
    tmp_path: Path,
    authority: trustme.CA,
    serve: Callable[..., AuditRepository],
    name: str,
    stranger: bool,
    reason: str,
) -> None:
    server = serve(name, ca=trustme.CA() if stranger else authority)
    write(archive, 1)
    with capture_logs() as logs:
        assert Sender(archive, tmp_path, authority, server.port).run() == 0
    assert reason in logs[0]["reason"]
    assert server.messages == []


def test_a_repository_may_ask_for_the_nodes_own_certificate(
    archive: LocalArchive, tmp_path: Path, authority: trustme.CA, serve: Callable[..., AuditRepository]
) -> None:
    server = serve(asks=True)
    write(archive, 1)
    assert Sender(archive, tmp_path, authority, server.port).run() == 0
    own = authority.issue_cert("node.example")
    own.private_key_pem.write_to_path(str(tmp_path / "node.key"))
    own.cert_chain_pems[0].write_to_path(str(tmp_path / "node.crt"))
    files = {"certificate": str(tmp_path / "node.crt"), "private_key": str(tmp_path / "node.key")}
    assert Sender(archive, tmp_path, authority, server.port, **files).run() == 1
    assert numbers(server.messages) == [1]


def test_a_file_that_is_missing_is_told(archive: LocalArchive, tmp_path: Path, authority: trustme.CA) -> None:
    write(archive, 1)
    files = {"certificate": str(tmp_path / "no.crt"), "private_key": str(tmp_path / "no.key")}
    with capture_logs() as logs:
        assert Sender(archive, tmp_path, authority, 1, **files).run() == 0
    assert logs[0]["reason"] == "a file of [audit.syslog] cannot be used: No such file or directory"


def test_a_long_queue_is_sent_in_several_connections(
    archive: LocalArchive,
    tmp_path: Path,
    authority: trustme.CA,
    serve: Callable[..., AuditRepository],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audit_forwarding, "BATCH", 3)
    monkeypatch.setattr(audit_forwarding, "BATCHES", 2)
    server = serve()
    sender = Sender(archive, tmp_path, authority, server.port)
    write(archive, 10)
    assert [sender.run(), sender.run(), sender.run()] == [6, 4, 0]
    assert numbers(server.messages) == list(range(1, 11))


def test_a_repository_that_says_nothing_holds_up_no_stop(
    archive: LocalArchive, tmp_path: Path, authority: trustme.CA
) -> None:
    write(archive, 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = Sender(archive, tmp_path, authority, int(server.getsockname()[1]))
        run = threading.Thread(target=sender.run)
        run.start()
        connection, _ = server.accept()
        with connection, capture_logs() as logs:
            assert connection.recv(1)  # the handshake begins
            sender.forwarder.stop()
            run.join(10)
            assert not run.is_alive()
    assert (queue(archive.audit).waiting, sender.run(), logs) == (1, 0, [])


def test_a_note_that_cannot_be_read_is_told_and_nothing_is_sent(
    archive: LocalArchive, tmp_path: Path, authority: trustme.CA, serve: Callable[..., AuditRepository]
) -> None:
    server = serve()
    write(archive, 1)
    (tmp_path / "var" / "audit" / "forwarded.json").write_text("{")
    with pytest.raises(ObjectDamagedError, match="from its beginning"):
        archive.audit.forwarded()
    with capture_logs() as logs:
        assert Sender(archive, tmp_path, authority, server.port).run() == 0
    assert "cannot be read" in logs[0]["reason"]


def test_the_length_counts_octets(archive: LocalArchive) -> None:
    record = archive.audit.append("audit.exported", {"by": "Zoë", "lines": 1})
    (message,) = split(frames([record], SOURCE))
    assert message.endswith(b"</AuditMessage>")
