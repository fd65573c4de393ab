"""What only the whole configuration shows: names that lead nowhere, twins, files that cannot be read.

These checks run on the raw data and pass over what is malformed, so that they speak even when a value elsewhere is
wrong: a person mends everything at once.
"""

import difflib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dicom_node.accreditation.policies import DEFAULT_POLICY_ID, LATEST, choose_policy, load_policies
from dicom_node.accreditation.units import Identity
from dicom_node.dicom.keys import BY_KEYWORD
from dicom_node.settings.belonging import assignments, enrolments
from dicom_node.settings.devices import IdentityTable, PeerTable, SenderTable
from dicom_node.settings.lines import KeyPath
from dicom_node.settings.model import LimitsTable, NodeTable, OverrideTable
from dicom_node.settings.protection import entities, protection
from dicom_node.settings.raw import Finding, table_of, tables_of, valid
from dicom_node.settings.secrets import is_exposed, secret_problem
from dicom_node.settings.values import ASSOCIATION_FIELDS, FilePath, unset_variable


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """An identity with whose it is and where it stands."""

    owner: str
    path: KeyPath
    identity: Identity


def cross_check(data: Mapping[str, Any], context: Mapping[str, Any]) -> list[Finding]:
    """Return what is wrong between the parts of a configuration; ``context`` is that of its validation."""
    shown = list(_identities(data, context))
    return [
        *_references(data),
        *enrolments(data, context),
        *assignments(data, context),
        *_repeated_names(data),
        *_policies(data),
        *_overrides(data, context),
        *_twins(shown),
        *_shared_serials(shown),
        *_peers(data, context),
        *_limits(data, context),
        *protection(data, context),
        *_files(data, context),
        *_idle_parts(data),
        *_misspelt_keywords(data),
    ]


def _identities(data: Mapping[str, Any], context: Mapping[str, Any]) -> Iterator[_Shown]:
    for section in ("units", "attachments"):
        for name, table in table_of(data, section).items():
            for position, entry in tables_of(table, "identity"):
                found = valid(IdentityTable, entry, context)
                if found:
                    path = (section, name, "identity", position)
                    yield _Shown(owner=f"{section}.{name}", path=path, identity=found.identity())
    for name, entry in table_of(data, "senders").items():
        sender = valid(SenderTable, entry, context)
        if sender:
            yield _Shown(owner=f"senders.{name}", path=("senders", name), identity=sender.identity())


def _references(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Find ids of units and attachments that do not exist."""
    units, attachments = table_of(data, "units"), table_of(data, "attachments")
    named: list[tuple[KeyPath, str, object, Mapping[str, Any]]] = []
    for name, attachment in attachments.items():
        for position, entry in tables_of(attachment, "assigned"):
            named.append((("attachments", name, "assigned", position, "unit"), "unit", entry.get("unit"), units))
        for position, entry in tables_of(attachment, "attribute"):
            for value, unit in table_of(entry, "map").items():
                named.append((("attachments", name, "attribute", position, "map", value), "unit", unit, units))
    for position, rule in tables_of(data, "rules"):
        named.append((("rules", position, "unit"), "unit", rule.get("unit"), units))
        named.append((("rules", position, "attachment"), "attachment", rule.get("attachment"), attachments))
    for path, kind, target, known in named:
        if isinstance(target, str) and target not in known:
            choices = ", ".join(known) or f"none; write a table [{kind}s.{target}]"
            yield Finding(path=path, message=f"{kind} {target!r} does not exist (known: {choices})")


def _repeated_names(data: Mapping[str, Any]) -> Iterator[Finding]:
    for parent, path in ((data, ("rules",)), (table_of(data, "alerts"), ("alerts", "channel"))):
        seen: dict[object, int] = {}
        for position, entry in tables_of(parent, path[-1]):
            name = entry.get("name")
            if isinstance(name, str) and seen.setdefault(name, position) != position:
                message = f"{name!r} is the name of {'.'.join(path)}.{seen[name]} too; write another"
                yield Finding(path=(*path, position, "name"), message=message)


def _policies(data: Mapping[str, Any]) -> Iterator[Finding]:
    accreditation = table_of(data, "accreditation")
    known = [LATEST, *load_policies()]
    for position, entry in tables_of(accreditation, "policies"):
        name = entry.get("id")
        if isinstance(name, str):
            if name in known:
                path = ("accreditation", "policies", position, "id")
                yield Finding(path=path, message=f"{name!r} is taken; write an id of your own")
            known.append(name)
    chosen = accreditation.get("policy")
    if isinstance(chosen, str) and chosen not in known:
        message = f"policy {chosen!r} does not exist (known: {', '.join(known)})"
        yield Finding(path=("accreditation", "policy"), message=message)


def _overrides(data: Mapping[str, Any], context: Mapping[str, Any]) -> Iterator[Finding]:
    accreditation = table_of(data, "accreditation")
    known = [*load_policies(), *(entry.get("id") for _, entry in tables_of(accreditation, "policies"))]
    chosen = accreditation.get("policy", DEFAULT_POLICY_ID)
    if chosen == LATEST:
        chosen = choose_policy(LATEST).id
    seen: dict[object, list[tuple[int, OverrideTable]]] = defaultdict(list)
    for position, entry in tables_of(accreditation, "overrides"):
        path = ("accreditation", "overrides", position)
        named = entry.get("policy")
        if isinstance(named, str) and named not in known:
            message = f"policy {named!r} does not exist (known: {', '.join(map(str, known))})"
            yield Finding(path=(*path, "policy"), message=message)
        table = valid(OverrideTable, entry, context)
        if table is None:
            continue
        same = seen[table.policy or chosen]
        for other, before in same:
            if before.first_day <= table.last_day and table.first_day <= before.last_day:
                message = f"some of its days are those of accreditation.overrides.{other}; write each day once"
                yield Finding(path=(*path, "from"), message=message)
        same.append((position, table))


def _twins(shown: list[_Shown]) -> Iterator[Finding]:
    """Find identities of two owners that no image could ever tell apart."""
    for first, second in combinations(shown, 2):
        one, other = first.identity, second.identity
        if first.owner == second.owner or not one.ae_title or one.ae_title != other.ae_title:
            continue
        if not any(a.version == b.version and a.overlaps(b) for a in one.hosts for b in other.hosts):
            continue
        if all(_alike(one, other, field) for field in ("device_serial", "station_name", "detector_id", "device_uid")):
            message = (
                f"{one.ae_title!r} from this address is {first.owner} too; write another AE title or host, or tell the "
                "two apart by device_serial"
            )
            yield Finding(path=(*second.path, "ae_title"), message=message)


def _alike(one: Identity, other: Identity, field: str) -> bool:
    a, b = getattr(one, field), getattr(other, field)
    return not a or not b or a.casefold() == b.casefold()


def _shared_serials(shown: list[_Shown]) -> Iterator[Finding]:
    owners: dict[tuple[str, str], list[_Shown]] = defaultdict(list)
    for entry in shown:
        if entry.identity.device_serial:
            owners[entry.identity.device_serial.casefold(), entry.identity.manufacturer.casefold()].append(entry)
    for entries in owners.values():
        names = list(dict.fromkeys(entry.owner for entry in entries))
        if len(names) > 1:
            message = f"{' and '.join(names)} share this serial: exams would be ambiguous; write each device's own"
            yield Finding(path=(*entries[-1].path, "device_serial"), message=message, is_warning=True)


def _peers(data: Mapping[str, Any], context: Mapping[str, Any]) -> Iterator[Finding]:
    seen: dict[str, list[tuple[str, PeerTable]]] = defaultdict(list)
    for name, entry in table_of(data, "peers").items():
        peer = valid(PeerTable, entry, context)
        if peer is None:
            continue
        for other, known in seen[peer.ae_title]:
            if any(a.version == b.version and a.overlaps(b) for a in peer.host for b in known.host):
                message = f"{peer.ae_title!r} from this address is peers.{other} too; write one entry for both"
                yield Finding(path=("peers", name, "ae_title"), message=message)
        seen[peer.ae_title].append((name, peer))
        if any(network.prefixlen == 0 for network in peer.host):
            message = "every address may query under this AE title; write the address of the peer"
            yield Finding(path=("peers", name, "host"), message=message, is_warning=True)


def _limits(data: Mapping[str, Any], context: Mapping[str, Any]) -> Iterator[Finding]:
    node = valid(NodeTable, data.get("node", {}), context)
    if node is None:
        return
    limits: LimitsTable = node.limits
    if limits.max_connections < node.max_associations:
        message = f"less than max_associations; write at least {node.max_associations}"
        yield Finding(path=("node", "limits", "max_connections"), message=message)


def _files(data: Mapping[str, Any], context: Mapping[str, Any]) -> Iterator[Finding]:
    """Look at every file that is named: secrets must be there to be read, and not by everyone."""
    paths: list[KeyPath] = [("database", "password_file")] if "password_file" in table_of(data, "database") else []
    for position, entry in tables_of(table_of(data, "alerts"), "channel"):
        keys = ("password_file", "secret_file", "ca_file")
        paths += [("alerts", "channel", position, key) for key in keys if key in entry]
    if "ca_file" in table_of(data, "alerts", "dead_man"):
        paths.append(("alerts", "dead_man", "ca_file"))
    paths += [(*path, "passcode_file") for path, entry in entities(data) if "passcode_file" in entry]
    for path in paths:
        file = _valid_path(_at(data, path), context)
        if file is None:
            continue
        problem = secret_problem(file)
        # systemd sets its variables for the service alone; whoever checks the file by hand lacks them.
        by_hand = bool(unset_variable(file)) and "INVOCATION_ID" not in context["environ"]
        if problem:
            yield Finding(path=path, message=problem, is_warning=by_hand)
        elif path[-1] != "ca_file" and is_exposed(file):
            message = f"everyone on this machine may read {file}; run: chmod o= {file}"
            yield Finding(path=path, message=message, is_warning=True)


def _at(data: Any, path: KeyPath) -> Any:
    for step in path:
        data = data[step]
    return data


def _valid_path(value: object, context: Mapping[str, Any]) -> Path | None:
    try:
        return TypeAdapter(FilePath).validate_python(value, context=dict(context))
    except ValidationError:
        return None


def _idle_parts(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Find parts that cannot do anything as they are written."""
    if not table_of(data, "units"):
        yield Finding(path=("units",), message="no unit; write a table [units.ID] for each unit", is_warning=True)
    ruled = {rule.get("attachment") for _, rule in tables_of(data, "rules")}
    for name, attachment in table_of(data, "attachments").items():
        if name not in ruled and isinstance(attachment, dict) and not {"assigned", "attribute"} & attachment.keys():
            message = f"nothing ties it to a unit; write [[attachments.{name}.assigned]] with unit"
            yield Finding(path=("attachments", name), message=message, is_warning=True)


def _misspelt_keywords(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Find conditions on attributes that no header is ever read for."""
    named: list[tuple[KeyPath, object]] = []
    for name, attachment in table_of(data, "attachments").items():
        for position, entry in tables_of(attachment, "attribute"):
            named.append((("attachments", name, "attribute", position, "keyword"), entry.get("keyword")))
    for position, rule in tables_of(data, "rules"):
        named += [(("rules", position, "when", keyword), keyword) for keyword in table_of(rule, "when")]
    unusual = [
        (path, keyword)
        for path, keyword in named
        if isinstance(keyword, str) and ":" not in keyword and keyword not in {*BY_KEYWORD, *ASSOCIATION_FIELDS}
    ]
    if not unusual:
        return
    from dicom_node.dicom.header import ATTRIBUTES  # noqa: PLC0415 - half a second that only unusual keywords cost

    for path, keyword in unusual:
        if keyword not in ATTRIBUTES:
            near = difflib.get_close_matches(keyword, sorted({*BY_KEYWORD, *ATTRIBUTES}), n=1)
            hint = f"did you mean {near[0]!r}?" if near else "docs/configuration.md lists those the node reads"
            yield Finding(path=path, message=f"no attribute the node reads has this keyword; {hint}", is_warning=True)
