"""The story: ten months of a facility with three units, one of which runs out of fresh exams.

The node is the real one. Its clock alone is set by hand: at each simulated day's 06:00 it looks at what is due, and
again when the exams of the day have settled. Everything told is read back from it: statuses, exams, mails, answers.
"""

import shutil
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from email import message_from_bytes, policy
from importlib.resources import as_file, files
from pathlib import Path

from dicom_node.demo.devices import Device, Kind, find_studies, make_exam, send
from dicom_node.index import exams
from dicom_node.index.exams import ExamRecord
from dicom_node.node import Node
from dicom_node.settings import load_settings
from dicom_node.site import Site, Stores, open_stores

PRONE = Device(calling_ae="PRONE_RM2", serial="PT-4471", station="PRONE-2")
UPRIGHT_A = Device(calling_ae="UPRIGHT_A", serial="UA-1002", station="UPR-A")
UPRIGHT_B = Device(calling_ae="UPRIGHT_B", serial="UB-1003", station="UPR-B")
ADDON_ON_A = Device(calling_ae="ADDON_WS", station="UPR-A")
ADDON_ON_B = Device(calling_ae="ADDON_WS", station="UPR-B")
ADDON_SOMEWHERE = Device(calling_ae="ADDON_WS")
ADDON_ON_A_STRANGER = Device(calling_ae="ADDON_WS", serial="UC-2077", station="UPR-C")

_B, _P, _M = Kind.BIOPSY, Kind.PHANTOM, Kind.MAMMOGRAM

VISITS: tuple[tuple[str, Device, Kind], ...] = (
    ("2026-02-02", PRONE, _P),
    ("2026-02-02", PRONE, _B),
    ("2026-02-03", ADDON_ON_A, _P),
    ("2026-02-03", ADDON_ON_A, _B),
    ("2026-02-04", ADDON_ON_B, _P),
    ("2026-02-04", ADDON_ON_B, _B),
    ("2026-03-16", UPRIGHT_A, _M),
    ("2026-04-06", PRONE, _B),
    ("2026-04-07", ADDON_ON_A, _B),
    ("2026-04-27", ADDON_ON_B, _B),
    ("2026-05-04", PRONE, _P),
    ("2026-05-05", ADDON_ON_A, _P),
    ("2026-05-06", ADDON_ON_B, _P),
    ("2026-05-18", ADDON_ON_A, _B),
    ("2026-06-08", PRONE, _B),
    ("2026-06-15", UPRIGHT_B, _M),
    ("2026-07-20", ADDON_ON_B, _B),
    ("2026-08-03", PRONE, _P),
    ("2026-08-04", ADDON_ON_A, _P),
    ("2026-08-05", ADDON_ON_B, _P),
    ("2026-08-10", PRONE, _B),
    ("2026-10-12", PRONE, _B),
    ("2026-10-28", ADDON_SOMEWHERE, _B),
    ("2026-11-02", PRONE, _P),
    ("2026-11-03", ADDON_ON_A, _P),
    ("2026-11-05", ADDON_ON_B, _P),
    ("2026-11-06", ADDON_ON_A_STRANGER, _B),
    ("2026-11-12", ADDON_ON_A, _B),
)
"""Day, device and kind of each exam. After 2026-05-18 upright A has no biopsy for half a year."""

FIRST, LAST = date(2026, 2, 2), date(2026, 11, 23)
"""The days the story runs from and to, both included."""

WIDTH = 110
"""Columns of a line of the story; what is longer goes on in the next."""

Tell = Callable[[str], None]
"""Takes a text of one or more lines."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as the node wrote it."""

    path: Path
    subject: str
    text: str

    @classmethod
    def read(cls, path: Path) -> "Mail":
        """Read it as a mail program would."""
        mail = message_from_bytes(path.read_bytes(), policy=policy.default)
        body = mail.get_body(("plain",))
        return cls(path, str(mail["Subject"]), str(body.get_content()) if body is not None else "")

    @property
    def is_digest(self) -> bool:
        """Tell whether it is a weekly summary, by its name: day, kind, unit, and what makes it unique."""
        return self.path.name[len("2026-01-01-") :].startswith("digest-")


class Clock:
    """A clock that stands until it is set."""

    def __init__(self, now: datetime) -> None:
        """Begin at an aware time."""
        self.now = now

    def __call__(self) -> datetime:
        """Return the time it is set to."""
        return self.now


class Story:
    """A node of its own in a folder, and what happens to it."""

    def __init__(self, stores: Stores, node: Node, clock: Clock, tell: Tell) -> None:
        """Play on a started node; ``tell`` gets what happens."""
        self.stores = stores
        self.node = node
        self.clock = clock
        self.mails: list[Mail] = []
        """The mails so far, in the order they came."""
        self._tell = tell

    @property
    def outbox(self) -> Path:
        """The folder the node writes its mails to."""
        return self.stores.site.settings.storage.path / "outbox"

    def play(self) -> None:
        """Let every day happen: the review at 06:00, the exams of the day, and the review once they have settled."""
        settle = timedelta(seconds=self.stores.site.settings.alerts.settle)
        for offset in range((LAST - FIRST).days + 1):
            day = FIRST + timedelta(days=offset)
            self._set_clock(day, time(6))
            self._look()
            visits = [(device, kind) for on, device, kind in VISITS if on == day.isoformat()]
            for number, (device, kind) in enumerate(visits):
                self._set_clock(day, time(9 + number))
                self._visit(device, kind, day)
            if visits:
                self.clock.now += settle
                self._look()
        self._set_clock(LAST, time(12))

    def ask(self, unit_id: str, acquired: str) -> None:
        """Have a peer find the studies of a unit by acquisition date, and tell what it is answered."""
        self._tell(f"PACS asks by C-FIND at STUDY level for UnitID {unit_id}, AcquisitionDate {acquired}:")
        answers = find_studies("PACS", self.node.port, unit_id=unit_id, acquired=acquired)
        for answer in sorted(answers, key=lambda each: each["AcquisitionDate"]):
            self._tell("  " + "  ".join(f"{keyword} {value}" for keyword, value in answer.items()))

    def _set_clock(self, day: date, at: time) -> None:
        self.clock.now = datetime.combine(day, at, tzinfo=self.stores.site.zone)

    def _visit(self, device: Device, kind: Kind, day: date) -> None:
        images = make_exam(device, kind, day)
        send(device, images, self.node.port)
        with self.stores.index.read() as conn:
            [exam] = exams.of_study(conn, images[0].StudyInstanceUID)
        self._say(f"{device.calling_ae:<10} {len(images)} images of a {kind} stored: {_what_became_of(exam)}")

    def _look(self) -> None:
        self.node.look()
        known = {mail.path for mail in self.mails}
        for path in sorted(self.outbox.glob("*.eml")):
            if path in known:
                continue
            mail = Mail.read(path)
            self.mails.append(mail)
            if not mail.is_digest or sum(each.is_digest for each in self.mails) == 1:
                self._say(f"MAIL  {mail.subject}")

    def _say(self, text: str) -> None:
        began = f"{self.clock.now:%Y-%m-%d %H:%M}  "
        self._tell(textwrap.fill(began + text, WIDTH, subsequent_indent=" " * len(began), break_on_hyphens=False))


def _what_became_of(exam: ExamRecord) -> str:
    if exam.counts:
        return f"{exam.portion} exam of {exam.unit_id}"
    why = exam.why_not if exam.unit_id else exam.attribution
    return f"counts toward nothing ({why})"


@contextmanager
def story(folder: Path, tell: Tell) -> Iterator[Story]:
    """Run a node on a free port of the loopback, with its configuration and its data in ``folder``."""
    config = folder / "dicom-node.toml"
    with as_file(files("dicom_node.demo") / "demo.toml") as shipped:
        shutil.copyfile(shipped, config)
    settings = load_settings(config, {}).settings
    # No configuration may say 0, which stands for any free port. The clock is known to this process alone.
    settings = settings.model_copy(update={"node": settings.node.model_copy(update={"port": 0, "workers": 1})})
    clock = Clock(datetime.combine(FIRST, time(5), tzinfo=settings.facility.time_zone))
    stores = open_stores(Site.of(settings), create=True)
    node = Node(stores, now=clock)
    node.start(by_clock=False)
    try:
        yield Story(stores, node, clock, tell)
    finally:
        node.stop()
