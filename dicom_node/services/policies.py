"""Which policy standings are worked out by: the one a person accepted last, whatever the configuration has become.

A changed configuration changes no standing by itself. What it would change is shown for every unit and portion first,
and holds from the moment somebody accepts it.
"""

from dataclasses import dataclass, fields, replace
from datetime import date, datetime

from dicom_node.accreditation.policies import Override, Policy
from dicom_node.accreditation.standing import Standing
from dicom_node.accreditation.units import Unit
from dicom_node.archive.journal import Journal
from dicom_node.archive.store import LocalArchive
from dicom_node.errors import ObjectDamagedError, StorageUnavailableError
from dicom_node.index.engine import Index
from dicom_node.logs import get_logger
from dicom_node.services import audit, records
from dicom_node.services.found import Rules, whats_so
from dicom_node.services.records import AcceptedPolicy
from dicom_node.services.review import want_review

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What two policies say of one thing, in words."""

    what: str
    one: str
    other: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Where a unit stands in one portion under the policy in force and under another."""

    unit: Unit
    before: Standing
    after: Standing

    @property
    def matters(self) -> bool:
        """Tell whether the standing differs, in its state or in a day."""
        return replace(self.before, policy_id="") != replace(self.after, policy_id="")


def choose_in_force(configured: Policy, journal: Journal, *, now: Policy | None = None) -> Policy:
    """Return the policy standings are worked out by: the accepted one, the configured one when none was accepted.

    When both judge alike, what the configuration says of the sources is taken. When the journal cannot be read the log
    says so, and it is the one that holds ``now``, without one the configured.
    """
    try:
        accepted = records.policy_in_force(journal)
    except (ObjectDamagedError, StorageUnavailableError) as error:
        log.error("policy.not_known", reason=str(error))
        return now or configured
    if accepted is None or accepted.policy.judges_like(configured):
        return configured
    return accepted.policy


def accept_first(configured: Policy, journal: Journal, *, by: str, now: datetime) -> None:
    """Accept the configured policy for an archive that has none yet; a disk that is full leaves it to the next start.

    Raises ObjectDamagedError when the journal is damaged.
    """
    reason = "the first start of the node"
    try:
        if records.policy_in_force(journal) is None:
            records.save_policy(
                journal, AcceptedPolicy(policy=configured, reason=reason, accepted_by=by, accepted_at=now)
            )
    except StorageUnavailableError as error:
        log.warning("policy.not_kept", reason=str(error))


def accept(
    archive: LocalArchive, index: Index, policy: Policy, *, before: Policy, by: str, reason: str, now: datetime
) -> None:
    """Have standings worked out by ``policy`` from now on; a running node reviews them soon after.

    Raises StorageUnavailableError, ObjectDamagedError, DatabaseError.
    """
    records.save_policy(archive.journal, AcceptedPolicy(policy=policy, reason=reason, accepted_by=by, accepted_at=now))
    audit.policy_accepted(archive.audit, by=by, policy_id=policy.id, before=before.id, reason=reason)
    with index.write() as conn:
        want_review(conn)


def changes(index: Index, rules: Rules, other: Policy, today: date) -> list[Change]:
    """Work out every unit and portion on the local day ``today`` under the policy in force and under another.

    Raises DatabaseError.
    """
    unit_ids = list(rules.registry.units)
    with index.read() as conn:
        now = whats_so(conn, rules, unit_ids, today)
        then = whats_so(conn, replace(rules, policy=other), unit_ids, today)
    return [
        Change(unit=rules.registry.units[unit_id], before=before, after=after)
        for unit_id in unit_ids
        for before, after in zip(now[unit_id].standings, then[unit_id].standings, strict=True)
    ]


def differences(one: Policy, other: Policy) -> list[Difference]:
    """Tell in words what differs between two policies, what judges first."""
    said, said_by_other = _said(one), _said(other)
    return [
        Difference(what=what, one=said.get(what, "-"), other=said_by_other.get(what, "-"))
        for what in dict.fromkeys((*said, *said_by_other))
        if said.get(what) != said_by_other.get(what)
    ]


def _said(policy: Policy) -> dict[str, str]:
    said = {"id": policy.id}
    said |= {f"{portion.label} window": f"{months} months" for portion, months in policy.months.items()}
    for each in policy.overrides:
        said[f"releases {each.first} to {each.last}"] = _override_words(each)
    said |= {each.name.replace("_", " "): str(getattr(policy.terms, each.name)) for each in fields(policy.terms)}
    names = [each.name for each in fields(Policy) if each.name not in {"id", "months", "overrides", "terms"}]
    said |= {name.replace("_", " "): str(getattr(policy, name)) for name in names if getattr(policy, name)}
    return said


def _override_words(override: Override) -> str:
    months = ", ".join(f"{portion.label} {months} months" for portion, months in override.months.items())
    source = f"{months} ({override.citation}; {override.address})"
    return f"{source} {override.note}".strip()
