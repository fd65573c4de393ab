"""Which unit made an instance, the evidence for it, or the doubt.

What is tried, in this order, once no person has assigned the instance:

1. **Rules** of the site that set a unit. They are how an operator overrules a device that writes wrong headers.
2. **Device serial number**, together with the manufacturer where the unit's identity has one.
3. **Sender**: AE title and address. A router's sender says nothing, a specimen cabinet is never a unit.
4. **Detector id or device UID**.
5. **Station name**, together with the institution where the identity has one.

The first that names exactly one unit decides; other evidence that names another unit is flagged. Two units named by
the same evidence are a doubt, and so is a serial number that the unit found by weaker evidence does not have: never a
guess. A unit without a configured serial number is not held to it.

The computer of an **attachment** sends for several units, so it has an order of its own: the attachment's attribute
maps, then rules, then the serial number, then the one unit the attachment is assigned to on the day, then detector and
station. Maps, or a map and a serial number, that name different units are a doubt.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date

from dicom_node.accreditation.evidence import (
    Match,
    any_sends,
    device_words,
    folded,
    has_detector,
    has_other_serials,
    has_sender,
    has_serial,
    has_station,
    is_sender,
    shown,
    tells_serial,
)
from dicom_node.accreditation.rules import holds, value_of
from dicom_node.accreditation.signals import Role, Signals, Stage
from dicom_node.accreditation.units import Attachment, Registry, Sender, SenderRole


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributed:
    """An instance made on ``unit``, with the evidence in words; ``attachment`` when one was used."""

    unit: str
    attachment: str | None
    evidence: str
    flags: tuple[str, ...] = ()
    """Other evidence that disagreed, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unattributed:
    """An instance of no known unit; ``doubt`` says why in words an operator can act on."""

    doubt: str
    unregistered: bool = False
    """A biopsy image of a device that no unit's configuration names."""
    attachment: str | None = None
    candidates: tuple[str, ...] = ()
    """Units it could be."""


Attribution = Attributed | Unattributed

_Named = tuple[str, str]
"""A unit and the evidence for it in words."""


def attribute(signals: Signals, registry: Registry, day: date | None) -> Attribution:
    """Tell which unit made an instance, or why nobody can tell.

    ``day`` is the local day the instance was performed, for the days attachments are assigned to units; of an undated
    instance every assignment ever made is considered.
    """
    hosts = _attachment_hosts(signals, registry)
    sender = _listed_sender(signals, registry)
    if hosts:
        found = _of_attachment_host(signals, registry, hosts, day)
    else:
        found = _by_rule(signals, registry) or _by_ladder(signals, registry, sender)
    if isinstance(found, Unattributed):
        return found
    unit, evidence = found
    attachment = _attachment_used(unit, signals, registry, hosts, day)
    flags = [
        f"{_WORDS[match](signals)} names {', '.join(named)}"
        for match in _rungs(sender)
        if (named := match(signals, registry)) and unit not in named
    ]
    if has_other_serials(unit, _without_serial_of(hosts, signals), registry):
        flags.append(f"serial {shown(signals.device_serial)} is not configured for {unit}")
    if sender is not None and sender.role is SenderRole.SPECIMEN:
        flags.append(f"sent by {sender.id}, a specimen cabinet")
    if attachment is not None and unit not in _assigned(registry.attachments.get(attachment), day):
        flags.append(f"{attachment} is not assigned to {unit} on that day")
    return Attributed(unit=unit, attachment=attachment, evidence=evidence, flags=tuple(flags))


def attribute_by_hand(unit: str, signals: Signals, registry: Registry, day: date | None) -> Attributed:
    """Attribute an instance to the unit a person assigned it to; the attachment is derived as ever."""
    attachment = _attachment_used(unit, signals, registry, _attachment_hosts(signals, registry), day)
    return Attributed(unit=unit, attachment=attachment, evidence="a person assigned it")


def shows_biopsy(signals: Signals) -> bool:
    """Tell whether the instance is an image of a biopsy step; a radiograph of the specimen is none."""
    return signals.role is Role.PRIMARY and signals.stage is not None and signals.stage is not Stage.SPECIMEN


def _by_rule(signals: Signals, registry: Registry) -> _Named | None:
    for rule in registry.rules:
        if rule.unit is not None and holds(rule, signals):
            return rule.unit, f"rule {rule.name}"
    return None


_WORDS: Mapping[Match, Callable[[Signals], str]] = {
    has_serial: lambda signals: f"device serial {shown(signals.device_serial)}",
    has_sender: lambda signals: f"sender {shown(signals.calling_ae)}",
    has_detector: lambda _: "detector id or device UID",
    has_station: lambda signals: f"station name {shown(signals.station_name)}",
}
"""The evidence in headers and association, strongest first, and how it is told."""


def _rungs(sender: Sender | None) -> tuple[Match, ...]:
    """List the evidence that says something; of a listed sender, which is no unit, not who sent it."""
    return _RUNGS if sender is None else _RUNGS_OF_A_LISTED_SENDER


_RUNGS = tuple(_WORDS)
_RUNGS_OF_A_LISTED_SENDER = tuple(match for match in _RUNGS if match is not has_sender)


def _listed_sender(signals: Signals, registry: Registry) -> Sender | None:
    return next((sender for sender in registry.senders.values() if is_sender(sender.identity, signals)), None)


def _by_ladder(signals: Signals, registry: Registry, sender: Sender | None) -> _Named | Unattributed:
    for match in _rungs(sender):
        named = match(signals, registry)
        if named:
            return _decide(match, named, signals, registry)
        if match is has_serial and sender is not None and sender.role is SenderRole.SPECIMEN:
            return Unattributed(doubt=f"sent by {sender.id}, a specimen cabinet, which is no unit")
    return Unattributed(
        doubt=f"no unit's configuration names the device: {device_words(signals)}", unregistered=shows_biopsy(signals)
    )


def _decide(match: Match, named: tuple[str, ...], signals: Signals, registry: Registry) -> _Named | Unattributed:
    """Take the one unit that some evidence names, or say why not."""
    words = _WORDS[match](signals)
    if match is not has_serial and all(has_other_serials(unit, signals, registry) for unit in named):
        return _serial_not_configured(words, named, signals)
    if len(named) > 1:
        return Unattributed(doubt=f"{words} names {len(named)} units: {', '.join(named)}", candidates=named)
    return named[0], words


def _serial_not_configured(words: str, named: tuple[str, ...], signals: Signals) -> Unattributed:
    units = " or ".join(named)
    return Unattributed(
        doubt=f"serial {shown(signals.device_serial)} is not configured for {units}, though {words} names it",
        unregistered=shows_biopsy(signals),
        candidates=named,
    )


# Attachments.


def _attachment_hosts(signals: Signals, registry: Registry) -> tuple[Attachment, ...]:
    """Return the attachments whose own computer sent the instance: one, unless the configuration says otherwise."""
    return tuple(a for a in registry.attachments.values() if any_sends(a.identities, signals))


def _of_attachment_host(
    signals: Signals, registry: Registry, hosts: tuple[Attachment, ...], day: date | None
) -> _Named | Unattributed:
    found = _in_order_of_attachment(_without_serial_of(hosts, signals), registry, hosts, day)
    if isinstance(found, Unattributed) and len(hosts) == 1:
        return replace(found, attachment=hosts[0].id)
    return found


def _in_order_of_attachment(
    signals: Signals, registry: Registry, hosts: tuple[Attachment, ...], day: date | None
) -> _Named | Unattributed:
    by_serial = has_serial(signals, registry)
    mapped = _mapped(signals, hosts)
    if mapped:
        named = tuple(sorted({*mapped, *by_serial}))
        if len(named) > 1:
            doubt = f"attribute maps and serial name {len(named)} units: {', '.join(named)}"
            return Unattributed(doubt=doubt, candidates=named)
        return named[0], f"{mapped[named[0]]} by an attribute map"
    by_rule = _by_rule(signals, registry)
    if by_rule is not None:
        return by_rule
    if by_serial:
        return _decide(has_serial, by_serial, signals, registry)
    # A unit whose own sender identity fits as well is as likely as the units the attachment is assigned to.
    pool = {unit for host in hosts for unit in _assigned(host, day)} | {*has_sender(signals, registry)}
    candidates = tuple(sorted(pool))
    names = " or ".join(host.id for host in hosts)
    if candidates and all(has_other_serials(unit, signals, registry) for unit in candidates):
        return _serial_not_configured(f"the assignment of {names}", candidates, signals)
    if len(candidates) == 1:
        return candidates[0], f"the only unit {names} is assigned to"
    for match in (has_detector, has_station):
        named = match(signals, registry)
        if named:
            return _decide(match, named, signals, registry)
    return Unattributed(
        doubt=f"{names} is assigned to {len(pool) or 'no'} units and nothing says which: {device_words(signals)}",
        unregistered=not pool and tells_serial(signals) and shows_biopsy(signals),
        candidates=candidates,
    )


def _mapped(signals: Signals, hosts: tuple[Attachment, ...]) -> dict[str, str]:
    """Return the units that the attribute maps name, each with the first attribute that names it."""
    units: dict[str, str] = {}
    for attribute_map in (m for host in hosts for m in host.attribute_maps):
        value = folded(value_of(signals, attribute_map.keyword))
        for text, unit in attribute_map.units.items():
            if value and folded(text) == value:
                units.setdefault(unit, attribute_map.keyword)
    return units


def _without_serial_of(hosts: tuple[Attachment, ...], signals: Signals) -> Signals:
    """Take away a serial number that is the attachment's own: it says nothing of the unit."""
    if not hosts:
        return signals
    own = {folded(identity.device_serial) for host in hosts for identity in host.identities}
    return replace(signals, device_serial="") if folded(signals.device_serial) in own else signals


def _assigned(attachment: Attachment | None, day: date | None) -> set[str]:
    """Return the units an attachment is assigned to on a day, or ever when the day is not known."""
    if attachment is None:
        return set()
    return {a.unit for a in attachment.assignments if day is None or a.covers(day)}


def _attachment_used(
    unit: str, signals: Signals, registry: Registry, hosts: tuple[Attachment, ...], day: date | None
) -> str | None:
    """Name the attachment: by rule, else the one whose computer sent it, else the only one the unit had that day."""
    for rule in registry.rules:
        if rule.attachment is not None and holds(rule, signals):
            return rule.attachment
    if len(hosts) == 1:
        return hosts[0].id
    if not hosts and not shows_biopsy(signals):
        return None
    fitting = [a.id for a in hosts or registry.attachments.values() if unit in _assigned(a, day)]
    return fitting[0] if len(fitting) == 1 else None
