"""A whole node with TLS: two receiving processes, both ports, queries, and new certificates by a reload."""

import shutil
import signal
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.node import Node
from dicom_node.settings import load_settings
from dicom_node.site import Site, open_stores
from tests import raw_peer
from tests.certificates import Authority
from tests.commands import Commands
from tests.factories import make_mg, write_file
from tests.live import CONFIG, LiveNode, free_port
from tests.querying import wait_until
from tests.raw_peer import RawPeer

pytestmark = pytest.mark.skipif(shutil.which("findscu") is None, reason="DCMTK is not installed (Debian package dcmtk)")

TLS = """
[node.tls]
port = {port}
certificate_file = "ca/node.crt"
key_file = "ca/node.key"
ca_file = "ca/ca.pem"
"""

NODE_HOSTS = ("localhost", "127.0.0.1")


class SecureNode(LiveNode):
    """A node whose certificates stand beside its configuration."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "ca")
        self.authority.issue("node", *NODE_HOSTS)
        self.device = self.authority.issue("device")
        self.tls_port = free_port()
        bound = CONFIG.replace('ae_title = "PACS"', 'ae_title = "PACS"\ncertificate = "device"')
        workers = bound.replace('drain = "5 s"', 'drain = "5 s"\nworkers = 2')
        super().__init__(folder, config=workers, more=TLS.format(port=self.tls_port))

    def dcmtk(self, program: str, calling: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        certificate, key = self.device
        command = [program, "+tls", key, certificate, "+cf", self.authority.file, "-aet", calling, "-aec", "SBB_NODE"]
        return subprocess.run(
            [*map(str, command), "127.0.0.1", str(self.tls_port), *map(str, arguments)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def shown(self) -> bytes | None:
        """The certificate that a caller is shown now."""
        with RawPeer(self.tls_port, contexts=None, tls=self.authority.client(*self.device)) as peer:
            assert isinstance(peer.socket, ssl.SSLSocket)
            return peer.socket.getpeercert(binary_form=True)

    def reload(self, event: str) -> None:
        """Have it read its configuration again, and wait until it says what came of it."""
        before = self.log.read_text().count(event)
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.log.read_text().count(event) > before)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureNode]:
    node = SecureNode(tmp_path_factory.mktemp("secure"))
    node.start()
    yield node
    node.kill()


def test_stores_and_queries_go_by_both_ports(node: SecureNode, tmp_path: Path) -> None:
    path = write_file(tmp_path / "image.dcm", make_mg())
    stored = node.dcmtk("storescu", "PRONE_RM2", path)
    assert stored.returncode == 0, stored.stderr
    plain = subprocess.run(
        ["storescu", "-aet", "PRONE_RM2", "-aec", "SBB_NODE", "127.0.0.1", str(node.port), str(path)],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert plain.returncode == 0
    keys = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID"]
    found = node.dcmtk("findscu", "PACS", *keys)
    assert found.returncode == 0
    assert "StudyInstanceUID" in found.stdout + found.stderr
    with RawPeer(node.port, calling=b"PACS") as peer:  # bound to its certificate
        assert tuple(peer.answer[7:10]) == (1, 1, 3)


def test_it_is_listed_with_its_ports_and_the_end_of_its_certificates(
    node: SecureNode, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = Commands(node.config, capsys)
    told = commands.json("status")
    assert (told["node"]["listening"], told["node"]["tls_port"]) == (True, node.tls_port)
    assert [each["key"] for each in told["certificates"]] == ["certificate_file", "ca_file"]
    status = commands.good("status").out
    assert f"by TLS at port {node.tls_port}" in status
    assert "TLS: the certificate of node in node.tls.certificate_file ends on " in status
    assert "node.tls.certificate_file: a certificate of node ends on " in commands.good("check-config").out


def test_a_reload_renews_the_certificate_in_every_process(node: SecureNode) -> None:
    before = node.shown()
    with RawPeer(node.tls_port, tls=node.authority.client(*node.device)) as staying:
        node.authority.issue("node", *NODE_HOSTS)
        node.reload("config.reloaded")
        shown = {node.shown() for _ in range(8)}
        assert len(shown) == 1
        assert before not in shown
        staying.send(raw_peer.message(3, raw_peer.echo_request(9)))
        assert staying.read_response()[0].status == 0


def test_a_reload_with_a_wrong_key_changes_nothing(node: SecureNode, capsys: pytest.CaptureFixture[str]) -> None:
    before = node.shown()
    commands = Commands(node.config, capsys)
    key = node.folder / "ca" / "node.key"
    good = key.read_bytes()
    key.write_bytes(node.authority.issue("another")[1].read_bytes())
    try:
        node.reload("config.rejected")
        assert "node.tls.key_file" in node.log.read_text()
        assert node.shown() == before
        checked = commands("check-config")
        assert checked.code == 78
        assert f"{node.config}:" in checked.err
        assert "node.tls.key_file: " in checked.err
        assert "is not the key of the certificate in" in checked.err
        assert commands("status").code == 0  # reads no key
    finally:
        key.write_bytes(good)


def test_it_does_not_start_with_a_key_that_everyone_may_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], logs_as_they_were: None
) -> None:
    node = SecureNode(tmp_path)
    (tmp_path / "ca" / "node.key").chmod(0o644)
    started = Commands(node.config, capsys)("serve", "--create")
    assert (started.code, "chmod o=" in started.err) == (78, True)
    assert not node.data.exists()


def test_with_only_there_is_no_plain_port_and_tls_is_neither_begun_nor_ended_by_a_reload(
    tmp_path: Path, logs_as_they_were: None
) -> None:
    files = SecureNode(tmp_path)
    text = files.config.read_text().replace("workers = 2", "workers = 1")
    files.config.write_text(text.replace("[node.tls]", "[node.tls]\nonly = true"))
    settings = load_settings(files.config, {}).settings
    node = Node(open_stores(Site.of(settings), create=True))
    node.start(by_clock=False)
    try:
        assert node.ports == f"port {files.tls_port} by TLS"
        assert node._is_well() is False  # its clockwork does not run
        assert node._ports.answer(node._own_title)
        assert files.dcmtk("echoscu", "PRONE_RM2").returncode == 0
        with pytest.raises(ConnectionRefusedError):
            RawPeer(files.port)
        files.config.write_text(text.partition("[node.tls]")[0].replace('certificate = "device"', ""))
        node._reload(lambda: load_settings(files.config, {}).settings)
        assert node._site.settings.node.tls == settings.node.tls
        assert files.dcmtk("echoscu", "PRONE_RM2").returncode == 0
    finally:
        node.stop()
