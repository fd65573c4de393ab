"""Where everything stands at this moment: worked out fresh for today, whatever the last review saved."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from dicom_node.accreditation.months import first_day
from dicom_node.accreditation.standing import Standing, earliest_cutoff, worst
from dicom_node.accreditation.units import Unit
from dicom_node.alerts.phrases import About, Words
from dicom_node.alerts.words import firing_words
from dicom_node.archive.store import LocalArchive
from dicom_node.errors import StorageUnavailableError
from dicom_node.index import alerts, conflicts, exams, outbox
from dicom_node.index.alerts import FIRING, Silence
from dicom_node.index.engine import Index
from dicom_node.index.outbox import Delivery
from dicom_node.services.derived_by import is_by_others
from dicom_node.services.finding import Found
from dicom_node.services.found import Rules, whats_so
from dicom_node.services.milestones import CycleAhead, cycles_ahead, is_next_cycle_missing
from dicom_node.services.notices import item_found
from dicom_node.services.review import last_review
from dicom_node.services.surveys import proposals

_RECENT = timedelta(weeks=1)
"""How long a message that was refused for good is still counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitStatus:
    """One unit, with a standing for each counting portion. Days are the facility's, times aware UTC."""

    unit: Unit
    standings: tuple[Standing, ...]
    last_received_at: datetime | None
    silence: Silence | None

    @property
    def worst(self) -> Standing:
        """The portion that needs most."""
        return worst(self.standings)

    @property
    def cutoff(self) -> date | None:
        """The earliest day that is counted down to."""
        return earliest_cutoff(self.standings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """Something that needs people, in words."""

    found: Found
    words: Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What the index tells at one moment."""

    today: date
    last_review_at: datetime | None
    units: tuple[UnitStatus, ...]
    cycles: tuple[CycleAhead, ...]
    """The accreditation cycles that nobody closed."""
    next_cycle_missing: bool
    """There were cycles, and all are closed."""
    concerns: tuple[Concern, ...]
    """What needs people, unit by unit; what concerns none at the end."""
    unattributed: int
    """Exams of no known unit that may still count."""
    undated: int
    """Exams without a day that would count with one."""
    proposed_surveys: int
    """Documents that may be reports of a physicist's survey, and that nobody decided about."""
    conflicts: int
    """Instances that came with several contents and wait for a decision."""
    derived_by_others: bool
    """Some stored exams may have been worked out by other units and rules than those of the configuration."""
    open_alerts: int
    unacknowledged: int
    undelivered: int
    """Messages that failed and are tried again, or were refused within a week."""
    last_delivery: Delivery | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """The archive's volume."""

    free_bytes: int | None
    problem: str
    """Why no instance can be received; "" when one can."""


def read_status(
    index: Index, rules: Rules, *, today: date, now: datetime, unit_ids: Collection[str] | None = None
) -> Status:
    """Work out where the units stand on the local day ``today``, all or those of ``unit_ids``. Writes nothing.

    Raises DatabaseError.
    """
    units = [unit for unit in rules.registry.units.values() if unit_ids is None or unit.id in unit_ids]
    labels = {unit.id: unit.label for unit in rules.registry.units.values()}
    with index.read() as conn:
        received = exams.last_received(conn)
        silences = alerts.silences(conn, today)
        asked = [unit.id for unit in units] + ([""] if unit_ids is None else [])
        so = whats_so(conn, rules, asked, today)
        firing = alerts.list_alerts(conn, state=FIRING)
        return Status(
            today=today,
            last_review_at=last_review(conn),
            units=tuple(
                UnitStatus(
                    unit=unit,
                    standings=so[unit.id].standings,
                    last_received_at=received.get(unit.id),
                    silence=silences.get(unit.id),
                )
                for unit in units
            ),
            cycles=tuple(cycles_ahead(conn, rules.registry.units.values(), rules.policy, today)),
            next_cycle_missing=is_next_cycle_missing(conn),
            concerns=tuple(concern(each, labels, today) for unit_id in asked for each in so[unit_id].found),
            unattributed=len(exams.unattributed(conn, first_day(today, rules.oldest_months))),
            undated=len(exams.undated(conn)),
            proposed_surveys=len(proposals(conn, [unit.id for unit in units])),
            conflicts=sum(each.waits for each in conflicts.conflicts(conn)),
            derived_by_others=is_by_others(conn, rules.registry),
            open_alerts=len(firing),
            unacknowledged=sum(each.acknowledged_at is None for each in firing),
            undelivered=len(outbox.undelivered(conn, now - _RECENT)),
            last_delivery=outbox.last_delivered(conn),
        )


def read_storage(archive: LocalArchive) -> Storage:
    """Look at the archive's volume as receiving an instance would."""
    free = None
    try:
        free = archive.free_bytes()
        archive.check()
    except StorageUnavailableError as error:
        return Storage(free_bytes=free, problem=str(error))
    return Storage(free_bytes=free, problem="")


def concern(found: Found, labels: Mapping[str, str], today: date) -> Concern:
    """Put something that needs people into words."""
    label = labels.get(found.unit_id, found.unit_id)
    about = About(item=item_found(found, None, labels), unit_id=found.unit_id, unit_label=label, today=today)
    return Concern(found=found, words=firing_words(about))
