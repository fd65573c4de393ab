"""Who calls from a unit's address under an unlisted AE title is noted as it is refused, within bounds."""

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import structlog

from dicom_node.errors import DatabaseError
from dicom_node.index import state, strangers
from dicom_node.index.alerts import FIRING, list_alerts
from dicom_node.index.engine import Index
from dicom_node.node import Node
from dicom_node.services.review import REVIEW_WANTED
from dicom_node.services.strangers import HOUR, MINUTE, Strangers
from dicom_node.settings import load_settings
from dicom_node.site import Site, open_stores
from tests.alerting import FakeClock
from tests.entries import NOON
from tests.raw_peer import RawPeer

REJECTED = 3
"""Type of an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""


class Seconds:
    """A clock that counts, when told so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def uses(index: Index) -> dict[str, list[tuple[str, int]]]:
    with index.read() as conn:
        return {
            address: [(use.name, use.count) for use in several]
            for address, several in strangers.by_address(conn).items()
        }


def test_calls_of_one_minute_are_written_once_and_counted_with_the_next(index: Index) -> None:
    seconds = Seconds()
    noting = Strangers(index, now=FakeClock(NOON), clock=seconds)
    for _ in range(5):
        noting.called("10.0.0.1", "MAMMO_A")
    assert uses(index) == {"10.0.0.1": [("MAMMO_A", 1)]}
    seconds.now = MINUTE
    noting.called("10.0.0.1", "MAMMO_A")
    assert uses(index) == {"10.0.0.1": [("MAMMO_A", 6)]}


def test_a_flood_of_titles_writes_a_few_and_wants_one_review_an_hour(index: Index) -> None:
    seconds = Seconds()
    noting = Strangers(index, now=FakeClock(NOON), clock=seconds)
    for number in range(strangers.MOST_OF_ADDRESS + 20):
        noting.called("10.0.0.1", f"X{number:03}")
    assert len(uses(index)["10.0.0.1"]) == strangers.MOST_OF_ADDRESS
    assert wanted_review(index)
    seconds.now = MINUTE
    noting.called("10.0.0.1", "Y1")
    assert not wanted_review(index)
    noting.called("10.0.0.2", "Y1")
    assert wanted_review(index)
    seconds.now = HOUR + 1
    noting.called("10.0.0.1", "Y1")
    assert not wanted_review(index)  # it is known
    noting.called("10.0.0.1", "Y2")
    assert wanted_review(index)


def wanted_review(index: Index) -> bool:
    """Tell whether somebody wanted a review, and have nobody want it any more."""
    with index.write() as conn:
        request = state.get(conn, REVIEW_WANTED)
        if request is not None:
            state.remove(conn, REVIEW_WANTED, request)
    return request is not None


class Locked:
    """An index that nobody can write to."""

    def write(self) -> NoReturn:
        raise DatabaseError("the index is busy")


def test_an_index_that_cannot_be_written_is_told_and_stops_nobody() -> None:
    noting = Strangers(Locked(), now=FakeClock(NOON))  # type: ignore[arg-type] # only what fails is needed
    with structlog.testing.capture_logs() as logs:
        noting.called("10.0.0.1", "MAMMO_A")
    assert [(each["event"], each["calling_ae"]) for each in logs] == [("association.not_noted", "MAMMO_A")]


CONFIG = """\
config_version = 1
[facility]
name = "Synthetic Center"
time_zone = "America/Chicago"
[node]
port = 11112
[storage]
path = "data"
min_free = "1 MiB"
[units.upright_d]
label = "Upright D"
kind = "upright"
[[units.upright_d.identity]]
ae_title = "UPRIGHT_D"
host = "127.0.0.14"
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Node, Index]]:
    """A node whose jobs run when they are told to, and its index."""
    config = tmp_path / "dicom-node.toml"
    config.write_text(CONFIG, encoding="utf-8")
    settings = load_settings(config, {}).settings
    of_node = settings.node.model_copy(update={"port": 0, "workers": 1})
    stores = open_stores(Site.of(settings.model_copy(update={"node": of_node})), create=True)
    node = Node(stores)
    node.start(by_clock=False)
    yield node, stores.index
    node.stop()


def test_a_unit_that_calls_by_another_title_is_found_when_it_was_refused(running: tuple[Node, Index]) -> None:
    node, index = running
    for source, calling in (("127.0.0.14", b"MAMMO_D"), ("127.0.0.99", b"MAMMO_X"), ("127.0.0.14", b"MAMMO_D")):
        with RawPeer(node.port, calling=calling, source=source) as peer:
            assert peer.answer[0] == REJECTED
    node.look()
    assert uses(index) == {"127.0.0.14": [("MAMMO_D", 1)]}
    with index.read() as conn:
        (alert,) = list_alerts(conn, state=FIRING)
    assert (alert.key, alert.severity) == ("renamed_device/upright_d", "critical")
    assert alert.details["names"][0]["new"] == "MAMMO_D"
