"""The commands that call a peer, with DCMTK's archive dcmqrscp as the peer."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.dicom.part10 import read_meta
from tests.archives import wait_until
from tests.commands import Commands
from tests.factories import encode, make_stereo_pair, new_uid, write_file
from tests.live import free_port
from tests.raw_peer import EXPLICIT, IMPLICIT
from tests.sites import write_site

pytestmark = pytest.mark.skipif(
    shutil.which("dcmqrscp") is None, reason="DCMTK is not installed (Debian package dcmtk)"
)

CONFIG = """\
NetworkTCPPort = {port}
MaxPDUSize = 16384
MaxAssociations = 4
HostTable BEGIN
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
FAR {folder} RW (20, 10mb) ANY
AETable END
"""


@contextlib.contextmanager
def dcmqrscp(folder: Path) -> Iterator[int]:
    """Run the archive below a folder; gives its port."""
    while True:
        port = free_port()
        config = folder / "dcmqrscp.cfg"
        config.write_text(CONFIG.format(port=port, folder=folder), encoding="ascii")
        scp = subprocess.Popen(["dcmqrscp", "-c", str(config)], stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: scp.poll() is not None or listens(port))  # noqa: B023 - it waits here
            if scp.poll() is None:
                yield port
                return
        finally:
            scp.terminate()
            scp.wait(timeout=20)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_what_is_sent_is_found_and_fetched_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], logs_as_they_were: None
) -> None:
    study = new_uid()
    images = {IMPLICIT: make_stereo_pair(study_uid=study)[0], EXPLICIT: make_stereo_pair(study_uid=study)[1]}
    files = [str(write_file(tmp_path / syntax, image, syntax)) for syntax, image in images.items()]
    (tmp_path / "far").mkdir()
    with dcmqrscp(tmp_path / "far") as port:
        more = f'[peers.far]\nae_title = "FAR"\nhost = "127.0.0.1"\nport = {port}\n'
        commands = Commands(write_site(tmp_path, more=more), capsys)
        assert commands.good("echo", "far").code == 0
        assert "2 instances stored" in commands.good("send", "far", *files).out
        answers = commands.json("find", "far", "-k", "StudyInstanceUID", "-k", "PatientName=SYNTH*")["answers"]
        assert [answer["StudyInstanceUID"] for answer in answers] == [study]
        got = tmp_path / "got"
        assert "2 fetched" in commands.good("get", "far", "-od", str(got), "-k", f"StudyInstanceUID={study}").out
        moved = commands("move", "far", "-aem", "NOBODY", "-k", f"StudyInstanceUID={study}")
        assert (moved.code, "A801" in moved.out) == (1, True)
    for image in images.values():
        path = got / f"{image.SOPInstanceUID}.dcm"
        with path.open("rb") as file:
            meta = read_meta(file)
        data = path.read_bytes()[meta.data_set_offset :]
        # It writes data sets anew, and may choose among the uncompressed syntaxes.
        assert (meta.transfer_syntax_uid, data) == (EXPLICIT, encode(image, EXPLICIT))
