"""A year of a facility with five units and two attachments they share, day by day, through a node that is really there.

Devices send by C-STORE over the loopback; the node reviews each morning and whenever exams have settled; people change
the configuration and it is read again, as by SIGHUP. The clock alone is set by hand. What is asserted is everything the
node found in the year and said of it, and whose every exam is.
"""

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import select

from dicom_node.demo.story import Clock, Mail
from dicom_node.errors import PeerRefusedError
from dicom_node.index.alerts import list_alerts
from dicom_node.index.tables import exam
from dicom_node.node import Node
from dicom_node.services import reattribution
from dicom_node.services.decisions import Verdict
from dicom_node.settings import load_settings
from dicom_node.site import Site, open_stores
from tests.factories import encode, make_mg, make_stereo_pair, new_uid
from tests.raw_peer import RawPeer, message, store_request

FIRST, LAST = date(2026, 1, 5), date(2027, 1, 4)
WIDTH, LINES = 90, 60
"""Columns and lines of a printed page."""

ACCEPTED = 2
"""Type of an A-ASSOCIATE-AC (PS3.8 9.3.3)."""

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
[alerts]
settle = "60 s"

[units.prone1]
label = "Prone table, room 2"
kind = "prone"
phantom_patient_ids = ["ACRPHANTOM*"]
[[units.prone1.identity]]
ae_title = "PRONE_RM2"
host = "127.0.0.10"
device_serial = "PT-4471"

[units.upright_a]
label = "Upright A, room 4"
kind = "upright"
phantom_patient_ids = ["ACRPHANTOM*"]
[[units.upright_a.identity]]
ae_title = "UPRIGHT_A"
host = "127.0.0.11"
device_serial = "UA-1002"
station_name = "UPR-A"

[units.upright_b]
label = "Upright B, room 5"
kind = "upright"
phantom_patient_ids = ["ACRPHANTOM*"]
[[units.upright_b.identity]]
ae_title = "UPRIGHT_B"
host = "127.0.0.12"
device_serial = "UB-1003"

[units.upright_c]
label = "Upright C, room 6"
kind = "upright"
phantom_patient_ids = ["ACRPHANTOM*"]
[[units.upright_c.identity]]
ae_title = "UPRIGHT_C"
host = "127.0.0.13"
device_serial = "UC-1004"

[units.upright_d]
label = "Upright D, room 7"
kind = "upright"
applying = false
phantom_patient_ids = ["ACRPHANTOM*"]
[[units.upright_d.identity]]
ae_title = "UPRIGHT_D"
host = "127.0.0.14"
device_serial = "UD-1005"

# Shared by two units all year: its workstation copies the station name.
[attachments.addon1]
label = "Add-on attachment 1"
[[attachments.addon1.assigned]]
unit = "upright_a"
[[attachments.addon1.assigned]]
unit = "upright_b"
[[attachments.addon1.identity]]
ae_title = "ADDON1_WS"
host = "127.0.0.21"
[[attachments.addon1.attribute]]
keyword = "StationName"
map = { "UPR-A" = "upright_a", "UPR-B" = "upright_b" }

# Moves in summer from C to D: its workstation says nothing of the unit, the days alone do.
[attachments.addon2]
label = "Add-on attachment 2"
[[attachments.addon2.assigned]]
unit = "upright_c"
to = 2026-06-30
[[attachments.addon2.assigned]]
unit = "upright_d"
from = 2026-07-01
[[attachments.addon2.identity]]
ae_title = "ADDON2_WS"
host = "127.0.0.22"

[senders.archive]
role = "router"
ae_title = "OLD_PACS"
host = "127.0.0.31"
"""


@dataclass(frozen=True)
class Sends:
    """A device as it is on a day: how it calls, and what its images say of where they were made."""

    ae: str
    source: str
    serial: str = ""
    station: str = ""
    clock: int = 0
    """Days its clock is ahead of the calendar."""


PRONE = Sends("PRONE_RM2", "127.0.0.10", "PT-4471", "PRONE-2")
NEW_PRONE = Sends("PRONE_RM2", "127.0.0.10", "PT-5520", "PRONE-2")
A = Sends("UPRIGHT_A", "127.0.0.11", "UA-1002", "UPR-A")
B = Sends("UPRIGHT_B", "127.0.0.12", "UB-1003", "UPR-B")
C = Sends("UPRIGHT_C", "127.0.0.13", "UC-1004", "UPR-C")
D = Sends("UPRIGHT_D", "127.0.0.14", "UD-1005", "UPR-D")
ADDON1_ON_A = Sends("ADDON1_WS", "127.0.0.21", station="UPR-A")
ADDON1_ON_B = Sends("ADDON1_WS", "127.0.0.21", station="UPR-B")
ADDON2 = Sends("ADDON2_WS", "127.0.0.22")
OLD_PACS_A = Sends("OLD_PACS", "127.0.0.31", "UA-1002", "UPR-A")

C_FAST, B_SLOW = (Sends(C.ae, C.source, C.serial, C.station, clock=31), Sends(B.ae, B.source, B.serial, B.station, -30))
D_RENAMED = Sends("MAMMO_D", D.source, D.serial, D.station)
A_RENAMED = Sends(A.ae, A.source, A.serial, "ROOM4A")
ADDON1_ON_ROOM4A = Sends("ADDON1_WS", "127.0.0.21", station="ROOM4A")

BIOPSY, PHANTOM, MAMMOGRAM, MAMMO_PHANTOM = "biopsy", "phantom", "mammogram", "mammography phantom"
COUNTS_AS = {BIOPSY: "clinical", PHANTOM: "phantom", MAMMOGRAM: "neither", MAMMO_PHANTOM: "neither"}


@dataclass(frozen=True)
class Visit:
    """An exam that is sent: when, by what, of what; and the unit it was truly made on."""

    day: date
    sends: Sends
    kind: str
    unit: str
    made: date | None = None
    """The day it was made, when that is not the day it is sent."""
    refused: bool = False
    """The device is not let in."""


def _on(days: str, sends: Sends, kind: str, unit: str, year: int = 2026) -> list[Visit]:
    return [Visit(date.fromisoformat(f"{year}-{day}"), sends, kind, unit) for day in days.split()]


VISITS: list[Visit] = [
    # Phantoms first, so that no unit has a biopsy and no phantom.
    *_on("01-05 03-30 06-22", PRONE, PHANTOM, "prone1"),
    *_on("01-05 02-09 03-16 04-20 05-26 06-29 08-03 09-08", PRONE, BIOPSY, "prone1"),
    *_on("01-08 03-31 06-23 09-22", A, PHANTOM, "upright_a"),
    *_on("12-15", A_RENAMED, PHANTOM, "upright_a"),
    *_on("01-12 04-01 06-24 09-23 12-16", B, PHANTOM, "upright_b"),
    *_on("01-13 04-02 06-25", C, PHANTOM, "upright_c"),
    *_on("01-07 04-02 06-25 09-24", D, PHANTOM, "upright_d"),
    *_on("12-17", D_RENAMED, PHANTOM, "upright_d"),
    *_on("01-08 02-17 03-17 04-21 05-18 06-15 07-20 08-24 09-21 10-19 11-16 12-14", ADDON1_ON_A, BIOPSY, "upright_a"),
    *_on("01-12 02-23 03-23 04-13", ADDON1_ON_B, BIOPSY, "upright_b"),
    *_on("01-13 02-24 03-24 04-28 06-01 06-22", ADDON2, BIOPSY, "upright_c"),
    # The same hosts do mammograms all year, under the same serial numbers, and take a mammography phantom each month.
    *_on("01-09 02-03 03-03 04-07 05-05 06-02 07-07 08-04 09-01 10-06", A, MAMMOGRAM, "upright_a"),
    *_on("01-09 02-03 03-04 04-07 05-05 06-03 07-07 08-04 09-01 10-06 11-10 12-08", B, MAMMOGRAM, "upright_b"),
    *_on("01-09 02-03 04-07 05-05 06-02 07-07 08-04 09-01 10-06 11-10 12-08", C, MAMMOGRAM, "upright_c"),
    *_on("01-09 02-03 03-03 04-07 05-05 06-02 07-07 08-04 09-01 10-06", D, MAMMOGRAM, "upright_d"),
    *_on("01-14 02-11 03-11 04-15 05-13 06-10 07-15 08-12 09-16", A, MAMMO_PHANTOM, "upright_a"),
    *_on("01-14 02-11 03-11 04-15 05-13 06-10 07-15 08-12 09-16", D, MAMMO_PHANTOM, "upright_d"),
    *_on("10-14 11-18 12-09", D_RENAMED, MAMMO_PHANTOM, "upright_d"),
    # The clock of C runs a month ahead, and is put right two days later.
    *_on("03-10", C_FAST, MAMMOGRAM, "upright_c"),
    *_on("03-12", C, MAMMOGRAM, "upright_c"),
    # An archive passes on what A made a year ago; A itself sends once more what it made weeks ago. No clock is wrong.
    Visit(date(2026, 5, 6), OLD_PACS_A, MAMMOGRAM, "upright_a", made=date(2025, 5, 6)),
    Visit(date(2026, 5, 20), A, MAMMOGRAM, "upright_a", made=date(2026, 4, 29)),
    # From July on the second attachment is on D.
    *_on("07-13 08-17 09-28 11-02 12-07", ADDON2, BIOPSY, "upright_d"),
    # The clock of B is thirty days behind, after its battery was changed.
    *_on("08-17 08-18", B_SLOW, MAMMOGRAM, "upright_b"),
    *_on("08-20", B, MAMMOGRAM, "upright_b"),
    # A new table stands where the first one stood, under the same AE title.
    *_on("09-14", NEW_PRONE, BIOPSY, "prone2"),
    *_on("09-17", NEW_PRONE, PHANTOM, "prone2"),
    *_on("10-20 11-24 12-22", NEW_PRONE, BIOPSY, "prone2"),
    *_on("12-21", NEW_PRONE, PHANTOM, "prone2"),
    # At last a biopsy on B.
    *_on("10-05 11-09", ADDON1_ON_B, BIOPSY, "upright_b"),
    # A service visit gives D another AE title; it is not let in until the configuration names it.
    *[Visit(date(2026, 10, 12), D_RENAMED, MAMMOGRAM, "upright_d", refused=True)],
    *_on("10-15 11-10 12-08", D_RENAMED, MAMMOGRAM, "upright_d"),
    # Another gives A another station name, which the attachment's map does not know.
    *_on("11-02", A_RENAMED, MAMMOGRAM, "upright_a"),
    *_on("11-03", ADDON1_ON_ROOM4A, BIOPSY, "upright_a"),
    *_on("11-10 12-08", A_RENAMED, MAMMOGRAM, "upright_a"),
]

Edit = Callable[[str], str]


def _replace(old: str, new: str) -> Edit:
    def edit(text: str) -> str:
        assert text.count(old) == 1, old
        return text.replace(old, new)

    return edit


EDITS: dict[str, list[Edit]] = {
    "2026-07-08": [_replace("applying = false\n", "")],
    "2026-08-05": [lambda text: text + "\n[[units.upright_c.enrolled]]\nto = 2026-08-04\n"],
    "2026-09-16": [
        _replace('label = "Prone table, room 2"\n', 'label = "Prone table, room 2"\nretired_on = 2026-09-11\n'),
        lambda text: (
            text
            + '\n[units.prone2]\nlabel = "New prone table, room 2"\nkind = "prone"\ninstalled_on = 2026-09-14\n'
            + 'phantom_patient_ids = ["ACRPHANTOM*"]\n[[units.prone2.identity]]\nae_title = "PRONE_RM2"\n'
            + 'host = "127.0.0.10"\ndevice_serial = "PT-5520"\n'
        ),
    ],
    "2026-10-14": [_replace('ae_title = "UPRIGHT_D"', 'ae_title = "MAMMO_D"')],
    "2026-11-04": [
        _replace('station_name = "UPR-A"', 'station_name = "ROOM4A"'),
        _replace('map = { "UPR-A" = "upright_a",', 'map = { "UPR-A" = "upright_a", "ROOM4A" = "upright_a",'),
    ],
}
"""What people write into the configuration, on the mornings they do."""

FOUND = """\
2026-03-10 clock_drift upright_c
2026-03-12 - clock_drift upright_c
2026-06-15 attachment_moved upright_b
2026-07-01 attachment_moved upright_c
2026-07-01 unit_must_apply upright_d
2026-07-08 eligibility upright_d clinical
2026-07-08 - unit_must_apply upright_d
2026-07-13 - eligibility upright_d clinical
2026-08-05 - attachment_moved upright_c
2026-08-14 eligibility upright_b clinical
2026-08-18 clock_drift upright_b
2026-08-20 - clock_drift upright_b
2026-09-14 unregistered_unit
2026-09-16 eligibility prone2 phantom
2026-09-16 - unregistered_unit
2026-09-17 - eligibility prone2 phantom
2026-10-05 - attachment_moved upright_b
2026-10-05 - eligibility upright_b clinical
2026-10-12 renamed_device upright_d
2026-10-14 - renamed_device upright_d
2026-11-02 renamed_device upright_a
2026-11-03 ambiguous
2026-11-04 - ambiguous
2026-11-04 - renamed_device upright_a
"""
"""Each finding of the year on the day it appears, and with a hyphen on the day it is over."""


class Facility:
    """The node of the facility, its devices, and the calendar."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "dicom-node.toml"
        self.config.write_text(CONFIG, encoding="utf-8")
        self.clock = Clock(datetime.combine(FIRST, time(5), tzinfo=self._settings().facility.time_zone))
        self.stores = open_stores(Site.of(self._settings()), create=True)
        self.node = Node(self.stores, now=self.clock)
        self.node.start(by_clock=False)
        self.truth: dict[str, Visit] = {}
        """Study Instance UID of every exam that was stored, and what it truly is."""
        self.told: list[str] = []
        self._firing: set[str] = set()

    def _settings(self) -> Any:
        settings = load_settings(self.config, {}).settings
        return settings.model_copy(update={"node": settings.node.model_copy(update={"port": 0, "workers": 1})})

    def live(self, day: date) -> None:
        """Let one day happen."""
        self._at(day, time(5, 30))
        if edits := EDITS.get(day.isoformat()):
            text = self.config.read_text(encoding="utf-8")
            for edit in edits:
                text = edit(text)
            self.config.write_text(text, encoding="utf-8")
            self.node._reload(self._settings)
            self.reattribute()
        self._at(day, time(6))
        self._look(day)
        visits = [visit for visit in VISITS if visit.day == day]
        for hour, visit in enumerate(visits, start=8):
            self._at(day, time(hour))
            self.send(visit)
        if visits:
            self.clock.now += timedelta(minutes=2)
            self._look(day)

    def send(self, visit: Visit) -> None:
        """Have a device push an exam; it is let in, or refused as the visit says."""
        images = _images(visit)
        try:
            _store(self.node.port, visit.sends, images)
        except PeerRefusedError:
            assert visit.refused, visit
            return
        assert not visit.refused, visit
        self.truth[images[0].StudyInstanceUID] = visit

    def reattribute(self) -> None:
        """Have the stored exams follow the configuration, as ``reattribute apply`` does."""
        archive, indexer = self.stores.archive, self.stores.indexer
        others = reattribution.work_out(archive, indexer)
        verdict = Verdict(by="tester", at=self.clock(), reason="the configuration changed")
        assert not reattribution.apply(archive, indexer, others, verdict).left

    def _at(self, day: date, at: time) -> None:
        self.clock.now = datetime.combine(day, at, tzinfo=self.stores.site.zone)

    def _look(self, day: date) -> None:
        self.node.look()
        with self.stores.index.read() as conn:
            firing = {" ".join(filter(None, (a.kind, a.unit_id, a.portion))) for a in list_alerts(conn, state="firing")}
        self.told += [f"{day} {each}" for each in sorted(firing - self._firing)]
        self.told += [f"{day} - {each}" for each in sorted(self._firing - firing)]
        self._firing = firing

    @property
    def mails(self) -> list[Mail]:
        """The mails so far, the weekly summaries left out."""
        outbox = self.stores.site.settings.storage.path / "outbox"
        return [mail for mail in map(Mail.read, sorted(outbox.glob("*.eml"))) if not mail.is_digest]


def _images(visit: Visit) -> list[Dataset]:
    sends = visit.sends
    made = (visit.made or visit.day) + timedelta(days=sends.clock)
    told: dict[str, Any] = {"serial": sends.serial, "station": sends.station, "day": made, "study_uid": new_uid()}
    told["patient_id"] = f"SYNTH-{visit.day:%m%d}"
    if visit.kind == BIOPSY:
        told["series_uid"] = new_uid()
        return [
            make_mg(stage="STEREO_SCOUT", **told),
            *make_stereo_pair(**told),
            make_mg(stage="POSTFIRE_PLUS", **told),
        ]
    if visit.kind == PHANTOM:
        return list(make_stereo_pair(**told | {"patient_id": "ACRPHANTOM-1"}))
    if visit.kind == MAMMO_PHANTOM:
        return [make_mg(phantom="113684", **told)]
    return [make_mg(laterality=side, ViewPosition=view, **told) for side in "LR" for view in ("CC", "MLO")]


def _store(port: int, sends: Sends, images: list[Dataset]) -> None:
    with RawPeer(port, calling=sends.ae.encode(), source=sends.source) as peer:
        if peer.answer[0] != ACCEPTED:
            raise PeerRefusedError(f"{sends.ae} is not let in")
        for number, image in enumerate(images, start=1):
            request = store_request(image.SOPClassUID, image.SOPInstanceUID, number)
            peer.send(message(1, request, encode(image)))
            response, _ = peer.read_response()
            assert response.status == 0
        peer.release()


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facility]:
    """The facility after the year."""
    facility = Facility(tmp_path_factory.mktemp("facility"))
    try:
        for offset in range((LAST - FIRST).days + 1):
            facility.live(FIRST + timedelta(days=offset))
        yield facility
    finally:
        facility.node.stop()


def test_each_finding_of_the_year_appears_on_its_day_and_ends_on_its_day(year: Facility) -> None:
    assert year.told == FOUND.splitlines()


def test_no_exam_is_counted_for_another_unit_or_portion_than_its_own(year: Facility) -> None:
    with year.stores.index.read() as conn:
        rows = conn.execute(select(exam)).all()
    assert {row.study_uid for row in rows} == set(year.truth)
    assert len(rows) == len(year.truth)
    for row in rows:
        truth = year.truth[row.study_uid]
        made = (truth.made or truth.day) + timedelta(days=truth.sends.clock)
        assert (row.unit_id, row.portion) == (truth.unit, COUNTS_AS[truth.kind]), truth
        assert row.day == (None if truth.sends.clock > 1 else made), truth
        assert row.counts == (truth.kind in {BIOPSY, PHANTOM}), truth


def test_the_alerts_of_the_year_fit_on_one_page(year: Facility) -> None:
    page = [line for mail in year.mails for line in textwrap.wrap(f"{mail.path.name[:10]} {mail.subject}", WIDTH)]
    assert len(page) <= LINES, "\n".join(page)
    # Four reminders of one exam, one message for each finding and one for its end, two where two findings end at once.
    assert len(year.mails) == 24
    assert not [word for mail in year.mails for word in ("SYNTH", "ACRPHANTOM", "ACC-0001") if word in mail.text]
