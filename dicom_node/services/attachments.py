"""The attachments, the units they were used on, and what about them needs somebody.

An attachment is never accredited. Every unit it is used on must be; and a unit it left has no fresh cases any more.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from dicom_node.accreditation.months import first_day
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.standing import Standing, State
from dicom_node.accreditation.units import Assignment, Attachment, Unit
from dicom_node.index import usage
from dicom_node.index.engine import Index
from dicom_node.index.usage import AttachmentBiopsy
from dicom_node.services.found import Rules, whats_so
from dicom_node.services.units import UnitState, state_on

_WITHOUT_CASES = (State.NEARING, State.LAPSED, State.MISSING, State.SHORT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A unit that an attachment is or was assigned to, or that biopsies were made on with it. Days are local."""

    unit_id: str
    """"" for biopsies of which nobody can tell the unit."""
    assigned: tuple[Assignment, ...]
    assigned_today: bool
    biopsies: int
    """Made on it with this attachment."""
    first: date | None
    last: date | None
    """Days of the first and the last of them."""
    last_biopsy: date | None
    """Day of the last biopsy on the unit with whatever attachment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentSummary:
    """One attachment with its hosts, and what needs somebody in sentences."""

    attachment: Attachment
    hosts: tuple[Host, ...]
    recent: int
    """Biopsies made with it in the months that were asked about."""
    needs: tuple[str, ...]

    @property
    def last(self) -> date | None:
        """Day of the last biopsy with it, on whatever unit."""
        return max((host.last for host in self.hosts if host.last is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    """What there is of all units on the local day ``today``."""

    units: Mapping[str, Unit]
    clinical: Mapping[str, Standing]
    """Where each stands in the clinical portion."""
    today: date


def attachment_summaries(
    index: Index, rules: Rules, *, today: date, months: int, attachment_ids: Collection[str] | None = None
) -> list[AttachmentSummary]:
    """Return the attachments, all or some, as of the local day ``today``. Raises DatabaseError.

    ``months`` are the calendar months up to today of which the biopsies are counted as recent.
    """
    registry = rules.registry
    several = [each for each in registry.attachments.values() if attachment_ids is None or each.id in attachment_ids]
    with index.read() as conn:
        made = usage.biopsies_with(conn, [each.id for each in several])
        last_on = usage.last_biopsies(conn)
        situations = whats_so(conn, rules, registry.units, today)
    clinical = {
        each.unit: each for so in situations.values() for each in so.standings if each.portion is Portion.CLINICAL
    }
    since = first_day(today, months)
    found = []
    for attachment in several:
        own = [each for each in made if each.attachment == attachment.id]
        hosts = tuple(_hosts(attachment, own, last_on, today))
        old = first_day(today, rules.oldest_months)
        around = _Around(units=registry.units, clinical=clinical, today=today)
        told = _needs(attachment, hosts, [each for each in own if each.day >= old], around)
        recent = sum(since <= each.day <= today for each in own)
        found.append(AttachmentSummary(attachment=attachment, hosts=hosts, recent=recent, needs=tuple(told)))
    return found


def _hosts(
    attachment: Attachment, made: Sequence[AttachmentBiopsy], last_on: Mapping[str, date], today: date
) -> Iterator[Host]:
    now = attachment.units_on(today)
    names = dict.fromkeys([*(each.unit for each in attachment.assignments), *(each.unit_id for each in made)])
    for unit_id in names:
        days = [each.day for each in made if each.unit_id == unit_id]
        yield Host(
            unit_id=unit_id,
            assigned=tuple(each for each in attachment.assignments if each.unit == unit_id),
            assigned_today=unit_id in now,
            biopsies=len(days),
            first=min(days, default=None),
            last=max(days, default=None),
            last_biopsy=last_on.get(unit_id),
        )


def _needs(
    attachment: Attachment,
    hosts: Sequence[Host],
    recent: Sequence[AttachmentBiopsy],
    around: _Around,
) -> Iterator[str]:
    """Say what about an attachment needs somebody; ``recent`` are its biopsies that may still count."""
    today = around.today
    if not attachment.units_on(today):
        yield "It is assigned to no unit today: assign it, or leave it so while it is out of use."
    for host in hosts:
        of_host = [each for each in recent if each.unit_id == host.unit_id]
        if not host.unit_id:
            if of_host:
                yield f"Of {_biopsies(of_host)} nobody can tell the unit: see dicom-node unattributed list."
            continue
        strays = [each for each in of_host if not any(span.covers(each.day) for span in host.assigned)]
        if strays:
            yield (
                f"{host.unit_id}: {_biopsies(strays)} on days it was not assigned there: mend the assignments, or say "
                f"which unit it was: dicom-node exams show {strays[-1].exam_id}"
            )
        unit, clinical = around.units.get(host.unit_id), around.clinical.get(host.unit_id)
        if unit is None:
            yield f"{host.unit_id}: the configuration has no such unit any more."
        elif state_on(unit, today) is not UnitState.APPLYING:
            yield from _outside(unit, host, of_host, today)
        elif clinical is not None and clinical.state in _WITHOUT_CASES:
            yield _without_cases(host, clinical)


def _outside(unit: Unit, host: Host, recent: Sequence[AttachmentBiopsy], today: date) -> Iterator[str]:
    """Say what is wrong with an attachment on a unit that takes no part in the accreditation."""
    if not host.assigned_today and (not recent or state_on(unit, today) is UnitState.RETIRED):
        return
    used = f"it was used there for {_biopsies(recent)}" if recent else "it is assigned there"
    match state_on(unit, today):
        case UnitState.RETIRED:
            yield f"{unit.id}: retired on {unit.retired_on}, and {used}: end the assignment."
        case UnitState.NOT_ENROLLED:
            yield f"{unit.id}: enrolled at no facility today, and {used}: every unit it is used on must be accredited."
        case _:
            yield f"{unit.id}: not applying, and {used}: every unit it is used on must be accredited."


def _without_cases(host: Host, standing: Standing) -> str:
    last = f"the last biopsy on it is of {host.last_biopsy}" if host.last_biopsy else "no biopsy on it is on file"
    ended = [each.last_day for each in host.assigned if each.last_day is not None]
    left = "" if host.assigned_today or not ended else f", and the attachment left it on {max(ended)}"
    return f"{host.unit_id}: clinical {standing.state}; {last}{left}."


def _biopsies(several: Sequence[AttachmentBiopsy]) -> str:
    number, last = len(several), max(each.day for each in several)
    return f"a biopsy of {last}" if number == 1 else f"{number} biopsies, the last of {last}"
