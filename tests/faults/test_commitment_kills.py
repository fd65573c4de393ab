"""A real node killed between the acknowledgement of a request for commitment and its report: the report comes."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, evt

from tests import raw_peer
from tests.archives import wait_until
from tests.committing import COMMITMENT, action, failed, held, information
from tests.factories import encode, make_mg, new_uid
from tests.live import CONFIG, LiveNode, free_port
from tests.raw_peer import EXPLICIT, IMPLICIT, MAMMOGRAM, RawPeer

pytestmark = pytest.mark.faults

CONTEXTS = ((MAMMOGRAM, [EXPLICIT]), (COMMITMENT, [IMPLICIT]))


@contextmanager
def unit(port: int) -> Iterator[list[Any]]:
    """The unit as it takes reports: gives those it took."""
    reports: list[Any] = []

    def report(event: evt.Event) -> tuple[int, None]:
        reports.append(event.event_information)
        return 0, None

    ae = AE("PRONE_RM2")
    ae.add_supported_context(COMMITMENT, ImplicitVRLittleEndian, scu_role=False, scp_role=True)
    ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, report)])
    try:
        yield reports
    finally:
        ae.shutdown()


def states(node: LiveNode) -> list[str]:
    """The states of all requests."""
    with closing(sqlite3.connect(node.data / "node.db")) as index:
        return [state for (state,) in index.execute("SELECT state FROM commitment")]


def test_no_report_is_lost(tmp_path: Path) -> None:
    port = free_port()
    config = CONFIG.replace('ae_title = "PRONE_RM2"', f'ae_title = "PRONE_RM2"\naddress = "127.0.0.1"\nport = {port}')
    node = LiveNode(tmp_path, config=config.replace("[storage]", "workers = 1\n\n[storage]"))
    transactions = []
    try:
        node.start()
        image = make_mg()
        with RawPeer(node.port, contexts=CONTEXTS) as peer:
            peer.send(raw_peer.message(1, raw_peer.store_request(MAMMOGRAM, image.SOPInstanceUID), encode(image)))
            assert peer.read_response()[0].status == 0
            for _ in range(3):
                transactions.append(new_uid())
                data = information(transactions[-1], [(MAMMOGRAM, image.SOPInstanceUID)])
                peer.send(action(data, context_id=3))
                assert peer.read_response()[0].status == 0
            node.kill()  # the report is due a second after the acknowledgement
        with unit(port) as reports:
            node.start()
            wait_until(lambda: len(reports) >= len(transactions))
            assert {report.TransactionUID for report in reports} == set(transactions)
            assert all(held(report) == [image.SOPInstanceUID] and not failed(report) for report in reports)
            wait_until(lambda: states(node) == ["reported"] * 3)  # the node has heard that the last one was taken
        assert node.stop() == 0
    finally:
        node.kill()
