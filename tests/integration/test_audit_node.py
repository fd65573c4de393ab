"""The audit trail of a node in a process of its own: killed, started again, reloaded, and forwarded meanwhile."""

import json
import ssl
from pathlib import Path
from typing import Any

import trustme

from dicom_node.cli.app import run
from tests import raw_peer
from tests.archives import wait_until
from tests.audit_repository import AuditRepository, numbers
from tests.factories import encode, make_mg
from tests.live import live_node
from tests.raw_peer import EXPLICIT, MAMMOGRAM, RawPeer


def lines(data: Path) -> list[dict[str, Any]]:
    """Return the lines that are whole."""
    text = (data / "audit" / "000000000001.jsonl").read_text()
    return [json.loads(line) for line in text.split("\n")[:-1]]


def test_a_killed_node_loses_no_line_and_tells_the_repository_everything(
    tmp_path: Path, logs_as_they_were: None
) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    repository = AuditRepository(context)
    more = f'\n[audit.syslog]\nhost = "localhost"\nport = {repository.port}\nca_file = "ca.pem"\n'
    ds = make_mg()
    with live_node(tmp_path, more=more) as node:
        with RawPeer(node.port, contexts=((MAMMOGRAM, [EXPLICIT]),)) as peer:
            peer.send(raw_peer.message(1, raw_peer.store_request(MAMMOGRAM, ds.SOPInstanceUID), encode(ds)))
            assert peer.read_response()[0].status == 0
            node.kill()
        assert [line["event"] for line in lines(node.data)][-2:] == ["association.accepted", "store.began"]
        node.start()
        wait_until(lambda: {1, 2, 3, 4, 5} <= set(numbers(repository.messages)))  # some of them perhaps twice
        assert node.stop() == 0
        told = lines(node.data)
        assert [line["event"] for line in told] == [
            "node.started",
            "association.accepted",
            "store.began",
            "store.ended",
            "node.started",
            "node.stopped",
        ]
        recovered = told[3]["details"]
        assert (recovered["study_uid"], recovered["new"]) == (ds.StudyInstanceUID, {MAMMOGRAM: 1})
        assert (recovered["recovered"], recovered["association"]) == (True, told[2]["details"]["association"])
        assert run(["--config", str(node.config), "audit", "verify"]) == 0
    repository.close()
    assert not any(b"SYNTH" in message for message in repository.messages)
