"""The whole configuration as one value, and the values it gives to the rooms below."""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Literal, Self

from pydantic import Field, model_validator
from sqlalchemy import URL, make_url

from dicom_node.accreditation.policies import (
    DEFAULT_POLICY_ID,
    SURVEY_ARTICLE,
    SURVEY_MONTHS,
    Override,
    Policy,
    choose_policy,
    load_policies,
)
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.units import OWN_FACILITY, Facility, Registry
from dicom_node.dimse.access import Caller, Destination
from dicom_node.dimse.certificates import Profile, TlsFiles
from dicom_node.settings.audit import AuditTable
from dicom_node.settings.channels import AlertsTable
from dicom_node.settings.devices import (
    AttachmentTable,
    ConfigTable,
    IdentityTable,
    OtherFacilityTable,
    PeerTable,
    RuleTable,
    SenderTable,
    UnitTable,
)
from dicom_node.settings.secrets import read_secret
from dicom_node.settings.values import (
    AeTitles,
    Bind,
    DatabaseUrl,
    Day,
    FilePath,
    Flag,
    Id,
    Ladder,
    Seconds,
    Size,
    Text,
    Uid,
    Whole,
    Workers,
    Zone,
    check_span,
)

MOST_WORKERS = 4
"""Most receiving processes that ``workers = "auto"`` makes: one flushes as much as a disk of a small server takes."""


class FacilityTable(ConfigTable):
    """``[facility]``: the place whose units these are."""

    name: Text = Field(examples=["St Example Breast Center"])
    """Stands in tables and e-mails."""
    time_zone: Zone = Field(examples=["America/Chicago"])
    """IANA name of the zone that "today", the daily review and the quiet hours are in."""


class LimitsTable(ConfigTable):
    """``[node.limits]``: what keeps one bad peer from starving the others. Deadlines are not extended by a drip."""

    association_request: Seconds = 30.0
    """From the connection to the last byte of the association request."""
    tls_handshake: Seconds = 5.0
    """From a connection by TLS to the end of its handshake."""
    pdu: Seconds = 30.0
    """From the first byte of a PDU to its last."""
    idle: Seconds = 60.0
    """Without a byte on an association."""
    sending: Seconds = 30.0
    """Without progress while an answer is sent."""
    max_pdu: Size = Field(default=128 << 10, ge=16 << 10, le=1 << 20)
    """Longest PDU the node offers to take."""
    max_association_request: Size = Field(default=128 << 10, ge=16 << 10, le=1 << 20)
    """Longest association request it reads."""
    max_data_set: Size = Field(default=4 << 30, ge=1 << 20)
    """Longest data set of an instance; a longer one is answered 0xA700."""
    max_connections: Whole = Field(default=512, ge=1, le=900)
    """TCP connections at a time, associations or not."""
    max_connections_per_address: Whole = Field(default=64, ge=1, le=900)
    """TCP connections at a time from one address."""
    max_associations_per_address: Whole = Field(default=50, ge=1, le=400)
    """Associations at a time from one address."""
    max_associations_per_ae_title: Whole = Field(default=50, ge=1, le=400)
    """Associations at a time under one calling AE title."""
    kept: Whole = Field(default=50, ge=0, le=90)
    """Percent of all connections and associations that are kept for callers that may store."""
    waiting: Seconds = 2.0
    """That an association request waits for a place when all are taken."""
    max_matches: Whole = Field(default=10_000, ge=1)
    """Answers to one query; more end it with 0xA700."""


class TlsTable(ConfigTable):
    """``[node.tls]``: a second port, where associations are encrypted."""

    port: Whole = Field(default=2762, ge=1, le=65535)
    """TCP port to listen on."""
    certificate_file: FilePath = Field(examples=["/etc/dicom-node/tls/node.crt"])
    """PEM file of the node's certificate, followed by those of the authorities in between."""
    key_file: FilePath = Field(examples=["/etc/dicom-node/tls/node.key"])
    """PEM file of its private key, without a passphrase, which not everyone may read."""
    ca_file: FilePath | None = None
    """PEM file of the authorities whose certificates the others show, when they call and when they are called. Left
    out, no caller needs a certificate, and the node calls nobody by TLS."""
    profile: Profile = "bcp195"
    """``bcp195`` (PS3.15 B.12) or ``bcp195-modified`` (B.13)."""
    only: Flag = False
    """True: there is no port without TLS."""

    def files(self) -> TlsFiles:
        """Return what TLS is made from."""
        return TlsFiles(
            certificate=self.certificate_file, key=self.key_file, authorities=self.ca_file, profile=self.profile
        )


class NodeTable(ConfigTable):
    """``[node]``: the DICOM listener."""

    ae_title: AeTitles = Field(default=("SBB_NODE",), min_length=1)
    """AE title the node is called by, or a list of them; the first is its own name. Case-sensitive."""
    bind: Bind = "127.0.0.1"
    """Address to listen on."""
    allow_unencrypted: Flag = False
    """True: the port without TLS may be at a public address."""
    port: Whole = Field(default=11112, ge=1, le=65535)
    """TCP port to listen on."""
    max_associations: Whole = Field(default=256, ge=1, le=400)
    """Associations at a time; more are rejected as a local limit."""
    workers: Workers = "auto"
    """Processes that receive and answer; ``auto``: as many as processors, at most ``MOST_WORKERS``. With 1 the node's
    own process does it all."""
    drain: Seconds = 60.0
    """Time that associations in progress get to finish when the node is stopped."""
    private_sop_classes: tuple[Uid, ...] = ()
    """Storage SOP classes outside the standard that are taken as well."""
    tls: TlsTable | None = None
    """See ``[node.tls]``; left out, nothing is encrypted."""
    limits: LimitsTable = LimitsTable()
    """See ``[node.limits]``."""

    def number_of_workers(self) -> int:
        """Return how many processes receive on this machine."""
        return min(MOST_WORKERS, len(os.sched_getaffinity(0))) if self.workers == "auto" else self.workers


class StorageTable(ConfigTable):
    """``[storage]``: where the node keeps everything."""

    path: FilePath = Field(examples=["/var/lib/dicom-node"])
    """Folder of the stored instances, of the journal beside them and, by default, of the database."""
    min_free: Size = 20 << 30
    """Space that stays free; below it a C-STORE is answered 0xA700."""


class DatabaseTable(ConfigTable):
    """``[database]``: the index."""

    url: DatabaseUrl | None = None
    """SQLAlchemy URL of a SQLite or PostgreSQL database, without a password; ``node.db`` in the storage folder when
    left out."""
    password_file: FilePath | None = None
    """File whose first line is the password of the database."""


class RemindTable(ConfigTable):
    """``[accreditation.remind]``: days before an exam stops counting on which people are reminded."""

    clinical: Ladder = (60, 30, 14, 7, 3, 1)
    """Ladder of the clinical portion."""
    phantom: Ladder = (60, 30, 14, 7, 3, 1)
    """Ladder of the phantom portion."""
    physicist: Ladder = (60, 30, 14, 7, 3, 1)
    """Ladder of the physicist report: days before a survey stops counting."""


class MonthsTable(ConfigTable):
    """``months`` of a policy: calendar months before the anchor that an exam may be old."""

    clinical: Whole = Field(ge=1, le=120, examples=[6])
    """Months of the clinical portion."""
    phantom: Whole = Field(ge=1, le=120, examples=[6])
    """Months of the phantom portion."""
    physicist: Whole | None = Field(default=None, ge=1, le=120)
    """Months between physicist surveys; those of the ACR, or in an override those of the policy, when left out."""

    def by_portion(self, surveys: int = SURVEY_MONTHS) -> dict[Portion, int]:
        """Return the months as the rules take them; ``surveys`` where those of the physicist report are left out."""
        physicist = surveys if self.physicist is None else self.physicist
        return {Portion.CLINICAL: self.clinical, Portion.PHANTOM: self.phantom, Portion.PHYSICIST: physicist}


class PolicyTable(ConfigTable):
    """``[[accreditation.policies]]``: windows of the site's own, beside the ones the node ships."""

    id: Id = Field(examples=["our-windows-2026"])
    """What ``accreditation.policy`` chooses it by."""
    program: Text = Field(examples=["ACR Stereotactic Breast Biopsy"])
    """The accreditation programme."""
    article: Text = Field(examples=["Letter of the ACR to this facility"])
    """Title of the text it comes from."""
    revision: Day = Field(examples=[date(2026, 1, 14)])
    """Date of that text."""
    address: Text = Field(examples=["file in the physics office"])
    """Where that text is found."""
    anchor: Text = "the day the testing package was released"
    """What the windows are counted back from."""
    months: MonthsTable
    """The windows."""
    note: str = ""
    """What is disputed about it, if anything."""

    def policy(self) -> Policy:
        """Return the value the rules work with."""
        return Policy(
            id=self.id,
            program=self.program,
            article=self.article,
            revision=self.revision,
            address=self.address,
            anchor=self.anchor,
            months=self.months.by_portion(),
            survey_article=SURVEY_ARTICLE if self.months.physicist is None else "",
            note=self.note,
        )


class OverrideTable(ConfigTable):
    """``[[accreditation.overrides]]``: windows of another length for the release dates of some days."""

    policy: Id | None = Field(default=None, examples=["acr-sbb-2023-03-03"])
    """Id of the policy it belongs to; the one that ``accreditation.policy`` chooses when left out."""
    first_day: Day = Field(alias="from", examples=[date(2020, 4, 1)])
    """First release date it holds for."""
    last_day: Day = Field(alias="to", examples=[date(2020, 9, 30)])
    """Last release date it holds for."""
    months: MonthsTable
    """The windows on these days."""
    article: Text = Field(examples=["Letter of the ACR to this facility"])
    """Title of the text it comes from."""
    revision: Day = Field(examples=[date(2020, 3, 27)])
    """Date of that text."""
    address: Text = Field(examples=["file in the physics office"])
    """Where that text is found."""
    note: str = ""
    """What is disputed about it, if anything."""

    @model_validator(mode="after")
    def _runs_forwards(self) -> Self:
        check_span(self.first_day, self.last_day)
        return self

    def override(self, policy: Policy) -> Override:
        """Return the value the rules work with, for the policy it belongs to."""
        return Override(
            first=self.first_day,
            last=self.last_day,
            months=self.months.by_portion(policy.months[Portion.PHYSICIST]),
            article=self.article,
            revision=self.revision,
            address=self.address,
            note=self.note,
        )


class AccreditationTable(ConfigTable):
    """``[accreditation]``: the rules units are held to."""

    policy: str = DEFAULT_POLICY_ID
    """Id of a policy, or ``latest`` for the newest that ships with the node."""
    remind: RemindTable = RemindTable()
    """See ``[accreditation.remind]``."""
    policies: tuple[PolicyTable, ...] = ()
    """See ``[[accreditation.policies]]``."""
    overrides: tuple[OverrideTable, ...] = ()
    """See ``[[accreditation.overrides]]``."""


class LogTable(ConfigTable):
    """``[log]``: what the node writes about its work."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important events written."""
    format: Literal["auto", "json", "logfmt", "console"] = "auto"
    """``auto``: ``console`` on a terminal, else ``json``."""


class Settings(ConfigTable):
    """The configuration of one node: checked, complete, and never changed."""

    config_version: Literal[1] = Field(examples=[1])
    """Form of the file; 1 is the only one."""
    facility: FacilityTable
    node: NodeTable = NodeTable()
    storage: StorageTable
    database: DatabaseTable = DatabaseTable()
    accreditation: AccreditationTable = AccreditationTable()
    facilities: dict[Id, OtherFacilityTable] = Field(default_factory=dict)
    units: dict[Id, UnitTable] = Field(default_factory=dict)
    attachments: dict[Id, AttachmentTable] = Field(default_factory=dict)
    senders: dict[Id, SenderTable] = Field(default_factory=dict)
    rules: tuple[RuleTable, ...] = ()
    peers: dict[Id, PeerTable] = Field(default_factory=dict)
    alerts: AlertsTable = AlertsTable()
    audit: AuditTable = AuditTable()
    log: LogTable = LogTable()

    def registry(self) -> Registry:
        """Return the units, attachments, senders and rules as the accreditation rules take them."""
        return Registry(
            facilities={
                OWN_FACILITY: Facility(id=OWN_FACILITY, name=self.facility.name),
                **{name: Facility(id=name, name=table.name) for name, table in self.facilities.items()},
            },
            units={unit_id: table.unit(unit_id) for unit_id, table in self.units.items()},
            attachments={name: table.attachment(name) for name, table in self.attachments.items()},
            senders={name: table.sender(name) for name, table in self.senders.items()},
            rules=tuple(rule.rule() for rule in self.rules),
        )

    def own_policies(self) -> tuple[Policy, ...]:
        """Return the policies the site wrote itself."""
        return tuple(table.policy() for table in self.accreditation.policies)

    def policy(self) -> Policy:
        """Return the policy that is configured, with its overrides."""
        chosen = choose_policy(self.accreditation.policy, own=self.own_policies())
        return self._overridden(chosen, chosen.id)

    def policies(self) -> dict[str, Policy]:
        """Return every policy there is by id, with its overrides: those that ship, then the site's own."""
        known = [*load_policies().values(), *self.own_policies()]
        chosen = self.policy().id
        return {policy.id: self._overridden(policy, chosen) for policy in known}

    def _overridden(self, policy: Policy, chosen: str) -> Policy:
        tables = (each for each in self.accreditation.overrides if (each.policy or chosen) == policy.id)
        overrides = sorted((table.override(policy) for table in tables), key=lambda each: each.first)
        return replace(policy, overrides=tuple(overrides))

    def ladders(self) -> dict[Portion, tuple[int, ...]]:
        """Return the days before an exam stops counting on which people are reminded, longest first."""
        remind = self.accreditation.remind
        return {
            Portion.CLINICAL: remind.clinical,
            Portion.PHANTOM: remind.phantom,
            Portion.PHYSICIST: remind.physicist,
        }

    def callers(self) -> tuple[Caller, ...]:
        """Return who may call the node, from where, with what and for what; one entry for all that is the same.

        Raises ConfigError when a passcode cannot be read.
        """
        merged: dict[tuple[object, ...], Caller] = {}
        for caller in self._all_callers():
            key = (
                caller.ae_title,
                frozenset(caller.hosts),
                frozenset(caller.certificates),
                caller.username,
                caller.passcode,
            )
            known = merged.get(key, caller)
            merged[key] = replace(known, services=known.services | caller.services)
        return tuple(merged.values())

    def _all_callers(self) -> Iterator[Caller]:
        yield from filter(None, (entry.caller(name) for name, entry in self.entries()))

    def entries(self) -> Iterator[tuple[str, IdentityTable | PeerTable]]:
        """Yield what application entities are listed by, each with its name, such as ``units.prone1``."""
        for name, unit in self.units.items():
            yield from ((f"units.{name}", entry) for entry in unit.identity)
        for name, attachment in self.attachments.items():
            yield from ((f"attachments.{name}", entry) for entry in attachment.identity)
        yield from ((f"senders.{name}", sender) for name, sender in self.senders.items())
        yield from ((f"peers.{name}", peer) for name, peer in self.peers.items())

    def destinations(self) -> tuple[Destination, ...]:
        """Return where listed application entities take associations; peers first."""
        named = [(f"peers.{name}", peer) for name, peer in self.peers.items()]
        found = [peer.reached(name) for name, peer in named]
        found += [sender.reached(f"senders.{name}") for name, sender in self.senders.items()]
        for name, unit in self.units.items():
            found += [entry.reached(f"units.{name}") for entry in unit.identity]
        for name, attachment in self.attachments.items():
            found += [entry.reached(f"attachments.{name}") for entry in attachment.identity]
        return tuple(filter(None, found))

    def database_url(self) -> URL:
        """Return the URL of the index, with the password filled in.

        Raises ConfigError when the password cannot be read.
        """
        if self.database.url is None:
            return URL.create("sqlite", database=str(self.storage.path / "node.db"))
        url = make_url(self.database.url)
        if self.database.password_file is not None:
            url = url.set(password=read_secret(self.database.password_file))
        return url
