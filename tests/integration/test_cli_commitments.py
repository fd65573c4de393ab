"""``dicom-node commitments`` as people call it."""

from dicom_node.dicom.commitment import Reference, Request
from dicom_node.index.commitments import Sender
from tests.commands import Commands
from tests.raw_peer import MAMMOGRAM
from tests.sites import START, opened_site


def test_requests_are_listed_with_what_became_of_them(commands: Commands) -> None:
    assert commands.good("commitments", "list").out == "Nobody asked for storage commitment.\n"
    sender = Sender(caller="units.prone1", calling_ae="PRONE_RM2", called_ae="SBB_NODE", peer_address="10.20.30.11")
    with opened_site(commands.config) as stores:
        requests = stores.commitments(now=lambda: START)
        for uid in ("2.25.8", "2.25.9"):
            held = requests.accept(Request(uid, (Reference(MAMMOGRAM, "2.25.1"), Reference("1.2.3", "2.25.2"))), sender)
            if uid == "2.25.8":
                *_, _ = requests.look(held)
                requests.not_reported(held, "units.prone1: the connection was not taken in time")
    headers, newest, oldest = commands.good("commitments", "list").lines
    assert headers.split("  ")[0] == "Asked"
    assert newest.split() == [
        *("2026-11-23", "09:00", "CST", "units.prone1", "(PRONE_RM2)", "2.25.9", "2", "-", "waiting", "0"),
    ]
    assert "2.25.8" in oldest
    assert oldest.endswith("waiting  " + "       1  units.prone1: the connection was not taken in time")
    found = commands.json("commitments", "list")
    assert [(each["transaction_uid"], each["failed"], each["attempts"]) for each in found] == [
        ("2.25.9", None, 0),
        ("2.25.8", 2, 1),
    ]
