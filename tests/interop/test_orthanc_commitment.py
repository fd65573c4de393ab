"""Orthanc stores in a real node and asks for commitment of what is held, missing and damaged: it gets the truth."""

import sqlite3
from pathlib import Path
from typing import Any

from tests.archives import wait_until
from tests.factories import make_mg, new_uid, write_file
from tests.live import CONFIG, LiveNode, free_port, live_node
from tests.orthanc import TITLE, Orthanc, orthanc
from tests.raw_peer import MAMMOGRAM

SENDER = """
[senders.orthanc]
ae_title = "{title}"
host = "127.0.0.1"
port = {port}
role = "router"
"""


def answer(peer: Orthanc, transaction: str) -> Any:
    """Wait for the report of a transaction, and return what Orthanc knows by it."""
    wait_until(lambda: peer.ask(f"/storage-commitment/{transaction}")["Status"] != "Pending")
    return peer.ask(f"/storage-commitment/{transaction}")


def reasons(found: Any) -> dict[str, int]:
    return {each["SOPInstanceUID"]: each["FailureReason"] for each in found["Failures"]}


def object_of(node: LiveNode, uid: str) -> Path:
    with sqlite3.connect(node.data / "node.db") as index:
        (digest,) = index.execute("SELECT digest FROM instance WHERE sop_instance_uid = ?", [uid]).fetchone()
    index.close()
    return node.data / "objects" / digest[:2] / f"{digest}.dcm"


def test_orthanc_is_told_the_truth_about_each_instance(tmp_path: Path) -> None:
    port = free_port()
    sender = SENDER.format(title=TITLE, port=port)
    with (
        live_node(tmp_path, config=CONFIG.replace('bind = "127', 'workers = 1\nbind = "127'), more=sender) as node,
        orthanc(tmp_path / "orthanc", node_port=node.port, dicom_port=port) as peer,
    ):
        never_sent, tomogram, private = new_uid(), "1.2.840.10008.5.1.4.1.1.13.1.3", "1.2.826.0.1.3680043.10.1"
        # The node waits whether it still comes, so this one is asked first.
        early = peer.ask("/modalities/node/storage-commitment", {"DicomInstances": [[MAMMOGRAM, never_sent]]})
        study_uid = new_uid()
        images = [make_mg(study_uid=study_uid, InstanceNumber=number) for number in range(4)]
        names = [peer.upload(write_file(tmp_path / f"{n}.dcm", ds)) for n, ds in enumerate(images)]
        held, damaged, gone, other_class = (ds.SOPInstanceUID for ds in images)

        # It stores and asks in one step: everything is held.
        sent = peer.ask("/modalities/node/store", {"Resources": names, "StorageCommitment": True})
        found = answer(peer, sent["StorageCommitmentTransactionUID"])
        assert (found["Status"], found["RemoteAET"]) == ("Success", "SBB_NODE")
        assert {each["SOPInstanceUID"] for each in found["Success"]} == {ds.SOPInstanceUID for ds in images}

        data = bytearray(object_of(node, damaged).read_bytes())
        data[-1] ^= 1
        object_of(node, damaged).write_bytes(data)
        object_of(node, gone).unlink()
        asked = peer.ask(
            "/modalities/node/storage-commitment",
            {
                "DicomInstances": [
                    *([MAMMOGRAM, uid] for uid in (held, damaged, gone)),
                    [tomogram, other_class],
                    [private, "2.25.1"],
                ],
            },
        )
        found = answer(peer, asked["ID"])
        assert found["Status"] == "Failure"
        assert [each["SOPInstanceUID"] for each in found["Success"]] == [held]
        assert reasons(found) == {
            damaged: 0x0110,
            gone: 0x0112,
            other_class: 0x0119,
            "2.25.1": 0x0122,
        }
        assert reasons(answer(peer, early["ID"])) == {never_sent: 0x0112}
        assert node.stop() == 0
        assert b"commitment.not_reported" not in node.log.read_bytes()
