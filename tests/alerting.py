"""What tests of reviews and alerts share: units, exams as rows, a clock, a channel that remembers."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from dicom_node.accreditation.explain import rule_sentence
from dicom_node.accreditation.policies import load_policies
from dicom_node.accreditation.portions import PORTIONS, Portion
from dicom_node.accreditation.reminders import Severity
from dicom_node.accreditation.signals import Role
from dicom_node.accreditation.units import Assignment, Attachment, Registry, Unit, UnitKind
from dicom_node.alerts.channels import DELIVERED, Outcome
from dicom_node.alerts.notice import AlertKind, Item, Notice, NoticeKind, Site
from dicom_node.alerts.render import Message, render
from dicom_node.index.engine import Index
from dicom_node.index.exams import exam_id
from dicom_node.index.tables import exam, instance, series, study
from dicom_node.services.found import Rules
from dicom_node.services.review import ReviewResult, review
from tests.factories import new_uid

SITE = Site(facility="Example Breast Center", ae_title="SBB_NODE", zone=ZoneInfo("America/Chicago"))
POLICY = load_policies()["acr-sbb-2023-03-03"]
LADDER = (60, 30, 14, 7, 3, 1)


def make_unit(unit_id: str = "upright_a", label: str = "Upright A, room 4", **options: Any) -> Unit:
    """Return an upright unit."""
    return Unit(id=unit_id, label=label, kind=UnitKind.UPRIGHT, identities=(), **options)


def make_rules(*units: Unit, attachments: Mapping[str, str] | None = None) -> Rules:
    """Return the rules for some units; ``attachments`` maps attachment id to the unit it is assigned to."""
    registry = Registry(
        units={unit.id: unit for unit in units or (make_unit(),)},
        attachments={
            name: Attachment(id=name, label=name, assignments=(Assignment(unit=unit),))
            for name, unit in (attachments or {}).items()
        },
    )
    return Rules(registry=registry, policy=POLICY, ladders=dict.fromkeys(PORTIONS, LADDER))


def add_exam(
    conn: Connection,
    day: date | None,
    *,
    unit_id: str = "upright_a",
    portion: Portion = Portion.CLINICAL,
    sender: str = "UPRIGHT_A",
    serial: str = "UA-1002",
    station: str = "UPR-A",
    address: str = "10.20.30.21",
    received_at: datetime | None = None,
    clock_day: date | None = None,
    **columns: Any,
) -> str:
    """Put one exam of one image into the index and return its id; ``clock_day`` is the day its device wrote."""
    study_uid, series_uid = new_uid(), new_uid()
    at = received_at or datetime.combine(day or date(2026, 6, 1), datetime.min.time(), tzinfo=UTC)
    conn.execute(study.insert().values(study_uid=study_uid, first_received_at=at, last_received_at=at))
    conn.execute(
        series.insert().values(
            study_uid=study_uid,
            series_uid=series_uid,
            device_serial_number=serial,
            station_name=station,
            first_received_at=at,
        )
    )
    conn.execute(
        instance.insert().values(
            sop_instance_uid=new_uid(),
            study_uid=study_uid,
            series_uid=series_uid,
            digest="0" * 64,
            size=1,
            received_at=at,
            calling_ae=sender,
            peer_address=address,
            role=Role.PRIMARY,
            day_candidates=[["AcquisitionDate", str(clock_day or day)]] if clock_day or day else [],
            unit_id=unit_id,
            unregistered=columns.get("unregistered", False),
        )
    )
    values = {
        "counts": unit_id != "" and day is not None and portion in (Portion.CLINICAL, Portion.PHANTOM),
        **columns,
    }
    of_id = exam_id(study_uid, unit_id)
    conn.execute(
        exam.insert().values(
            id=of_id,
            study_uid=study_uid,
            unit_id=unit_id,
            portion=portion,
            day=day,
            first_received_at=at,
            last_received_at=at,
            **values,
        )
    )
    return of_id


class FakeClock:
    """A clock that tests set."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **delta: float) -> None:
        """Let time pass."""
        self.now += timedelta(**delta)


class FakeChannel:
    """Remembers what it was given; ``answer`` decides the outcome for a recipient."""

    def __init__(
        self,
        name: str = "ops-mail",
        recipients: tuple[str, ...] = ("ops@example.org",),
        min_severity: Severity = Severity.INFO,
        answer: Callable[[str], Outcome] = lambda recipient: DELIVERED,
    ) -> None:
        self.name = name
        self.recipients = recipients
        self.min_severity = min_severity
        self.answer = answer
        self.sent: list[tuple[Message, tuple[str, ...]]] = []

    def send(self, message: Message, recipients: Sequence[str]) -> Mapping[str, Outcome]:
        self.sent.append((message, tuple(recipients)))
        return {recipient: self.answer(recipient) for recipient in recipients}

    @property
    def subjects(self) -> list[str]:
        """The subjects of what was sent."""
        return [message.subject for message, _ in self.sent]


def morning(day: date) -> datetime:
    """Return six o'clock of a day in the site's zone."""
    return datetime(day.year, day.month, day.day, 6, tzinfo=SITE.zone)


def review_on(index: Index, rules: Rules, channels: Sequence[Any], day: date, **options: Any) -> ReviewResult:
    """Review on the morning of a day."""
    return review(index, rules, channels, today=day, now=morning(day), **options)


def make_message(label: str = "Upright A, room 4", unit_id: str = "upright_a", **details: Any) -> Message:
    """Return a message about a clinical exam of 2026-06-08 that stops counting in 14 days."""
    item = Item(
        alert_id=4711,
        key=f"eligibility/{unit_id}/clinical/2026-06-08",
        kind=AlertKind.ELIGIBILITY,
        portion="clinical",
        details={
            "state": "nearing",
            "rule": rule_sentence(POLICY, Portion.CLINICAL),
            "arithmetic": "2026-06-08 plus 6 calendar months is 2026-12-08.",
            "months": 6,
            "exam_day": "2026-06-08",
            "cutoff": "2026-12-08",
            "last_release": "2026-12-08",
            "next_on": "2026-12-01",
            **details,
        },
    )
    notice = Notice(
        key="firing/upright_a/0123456789abcdef",
        kind=NoticeKind.FIRING,
        severity=Severity.WARNING,
        unit_id=unit_id,
        unit_label=label,
        items=(item,),
        at=morning(date(2026, 11, 24)),
        also=("Phantom: the newest exam, of 2026-11-01, counts until 2027-05-01.",),
    )
    return render(notice, SITE)
