"""The tables of the configuration that say who is who: units, attachments, senders, peers and rules."""

from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, model_validator

from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.units import (
    OWN_FACILITY,
    Assignment,
    Attachment,
    AttributeMap,
    Condition,
    Enrolment,
    Identity,
    Rule,
    Sender,
    SenderRole,
    Unit,
    UnitKind,
)
from dicom_node.dimse.access import Caller, Destination
from dicom_node.settings.secrets import read_secret
from dicom_node.settings.values import (
    Address,
    AeTitle,
    AttributeName,
    Certificates,
    Day,
    FilePath,
    Flag,
    Id,
    Networks,
    Pattern,
    Text,
    Whole,
    Word,
    check_regex,
    check_span,
    read_condition,
)


class ConfigTable(BaseModel):
    """A table of the configuration file: it never changes, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Service(StrEnum):
    """What an application entity may be allowed."""

    ECHO = "echo"
    STORE = "store"
    FIND = "find"
    GET = "get"
    MOVE = "move"
    MOVE_DESTINATION = "move-destination"
    COMMIT = "commit"


class EntityTable(ConfigTable):
    """The keys of an application entity: what it must show when it calls, and how the node calls it."""

    certificate: Certificates = ()
    """Name in its certificate, or ``sha256:`` and its fingerprint, or a list; it is admitted by TLS with it alone, and
    must show it where the node calls it by TLS."""
    username: Text | None = None
    """Username it must say, by TLS alone (PS3.7 D.3.3.7)."""
    passcode_file: FilePath | None = None
    """File whose first line is the passcode that goes with the username."""

    port: Whole | None = Field(default=None, ge=1, le=65535, examples=[104])
    """TCP port it takes associations on, for reports of storage commitment and as a destination of C-MOVE."""
    address: Address | None = None
    """Address it takes associations on; needed only where ``host`` is not one single address."""
    tls: Flag = False
    """True: the node calls it by TLS."""

    def destination(
        self, name: str, title: str | None, hosts: Networks, allow: Iterable[Service]
    ) -> Destination | None:
        """Return where it takes associations, None when it is not said."""
        address = self.address or next((str(host.network_address) for host in hosts), "")
        if self.port is None or not title:
            return None
        return Destination(
            name=name,
            ae_title=title,
            address=address,
            port=self.port,
            tls=self.tls,
            services=frozenset(str(service) for service in allow),
            certificates=self.certificate,
        )

    def listed(self, name: str, title: str, hosts: Networks, allow: Iterable[Service]) -> Caller:
        """Return the leave to call that it has. Raises ConfigError when its passcode cannot be read."""
        return Caller(
            name=name,
            ae_title=title,
            hosts=hosts,
            services=frozenset(str(service) for service in allow),
            certificates=self.certificate,
            username=self.username or "",
            passcode=read_secret(self.passcode_file) if self.passcode_file else "",
        )

    def check_proof(self, title: str | None) -> None:
        """Raise ValueError where nobody is asked for what is listed."""
        if (self.certificate or self.username) and not title:
            raise ValueError("certificate and username are asked of a caller, and ae_title is missing; add it")
        if self.passcode_file and not self.username:
            raise ValueError("passcode_file without username; add the username it goes with")

    def check_reach(self, hosts: Networks) -> None:
        """Raise ValueError where nobody could tell where to call."""
        if self.port is None:
            if self.address or self.tls:
                raise ValueError("address and tls say how to call it, and port is missing; add such as port = 104")
        elif self.address is None and [host.prefixlen == host.max_prefixlen for host in hosts] != [True]:
            raise ValueError('port without address, and host is not one address; add such as address = "10.20.30.5"')


class IdentityTable(EntityTable):
    """``[[units.ID.identity]]`` and its like: one way a device shows itself."""

    ae_title: AeTitle | None = Field(default=None, examples=["PRONE_RM2"])
    """AE title it calls with."""
    host: Networks = Field(default=(), examples=["10.20.30.11"])
    """Addresses or networks it calls from."""
    device_serial: Text | None = None
    """Device Serial Number (0018,1000)."""
    manufacturer: Text | None = None
    """Manufacturer (0008,0070)."""
    station_name: Text | None = None
    """Station Name (0008,1010)."""
    institution: Text | None = None
    """Institution Name (0008,0080)."""
    detector_id: Text | None = None
    """Detector ID (0018,700A)."""
    device_uid: Text | None = None
    """Device UID (0018,1002)."""
    allow: tuple[Service, ...] = (Service.ECHO, Service.STORE, Service.COMMIT)
    """What it may do as a caller."""

    def identity(self) -> Identity:
        """Return the value the rules work with."""
        return Identity(
            ae_title=self.ae_title or "",
            hosts=self.host,
            device_serial=self.device_serial or "",
            manufacturer=self.manufacturer or "",
            station_name=self.station_name or "",
            institution=self.institution or "",
            detector_id=self.detector_id or "",
            device_uid=self.device_uid or "",
        )

    def caller(self, name: str) -> Caller | None:
        """Return the leave to call that this identity gives, None when it names no caller."""
        return self.listed(name, self.ae_title, self.host, self.allow) if self.ae_title else None

    def reached(self, name: str) -> Destination | None:
        """Return where the device takes associations, None when it is not said."""
        return self.destination(name, self.ae_title, self.host, self.allow)

    @model_validator(mode="after")
    def _names_a_caller_whole(self) -> Self:
        """An AE title is only a name: without an address anyone could take it, and an address alone names nobody."""
        if self.ae_title and not self.host:
            raise ValueError(
                'ae_title without host; add the address, such as host = "10.20.30.11", or admit every address with '
                'host = ["0.0.0.0/0", "::/0"]'
            )
        if self.host and not self.ae_title:
            raise ValueError('host without ae_title; add the AE title that calls from there, such as "PRONE_RM2"')
        if self.port is not None and not self.ae_title:
            raise ValueError('port without ae_title; add the AE title it is called by, such as "PRONE_RM2"')
        self.check_reach(self.host)
        self.check_proof(self.ae_title)
        if not (self.ae_title or self.device_serial or self.station_name or self.detector_id or self.device_uid):
            raise ValueError(
                "tells no device; write at least one of ae_title with host, device_serial, station_name, detector_id, "
                "device_uid"
            )
        return self


class OtherFacilityTable(ConfigTable):
    """``[facilities.ID]``: a facility beside that of ``[facility]`` at which units are enrolled for some time."""

    name: Text = Field(examples=["St Example Annex"])
    """Stands in tables and explanations."""


class EnrolmentTable(ConfigTable):
    """``[[units.ID.enrolled]]``: days, both included, on which the unit is in the accreditation of a facility."""

    facility: Id = Field(default=OWN_FACILITY, examples=["annex"])
    """Id of ``[facilities.ID]``; that of ``[facility]`` is ``main``."""
    first_day: Day | None = Field(default=None, alias="from")
    """First day; open when left out."""
    last_day: Day | None = Field(default=None, alias="to")
    """Last day; open when left out."""

    @model_validator(mode="after")
    def _runs_forwards(self) -> Self:
        check_span(self.first_day, self.last_day)
        return self

    def enrolment(self) -> Enrolment:
        """Return the value the rules work with."""
        return Enrolment(facility=self.facility, first_day=self.first_day, last_day=self.last_day)


class UnitTable(ConfigTable):
    """``[units.ID]``: a machine that is accredited."""

    label: Text = Field(examples=["Prone table, room 2"])
    """What people call it; stands in tables and e-mails."""
    kind: UnitKind = Field(examples=["prone"])
    """``prone`` (a dedicated table) or ``upright`` (a mammography unit that hosts an attachment)."""
    applying: Flag = True
    """False for a unit outside the accreditation: watched for biopsies, never reminded of."""
    installed_on: Day | None = None
    """First day in service; an exam dated before it is taken as undated."""
    retired_on: Day | None = None
    """Last day in service."""
    enrolled: tuple[EnrolmentTable, ...] = ()
    """At which facility it is enrolled, and when; at that of ``[facility]`` while it is in service when left out."""
    phantom_patient_ids: tuple[Pattern, ...] = ()
    """Patterns on the whole Patient ID that mark a phantom exam."""
    phantom_words: tuple[Word, ...] = ()
    """Whole words of name, id or description that mark a phantom exam."""
    identity: tuple[IdentityTable, ...] = Field(min_length=1)
    """The ways the unit shows itself."""

    @model_validator(mode="after")
    def _lives_forwards(self) -> Self:
        if self.installed_on and self.retired_on and self.retired_on < self.installed_on:
            raise ValueError(
                f"retired_on {self.retired_on} is before installed_on {self.installed_on}; mend one of them"
            )
        return self

    def unit(self, unit_id: str) -> Unit:
        """Return the value the rules work with."""
        return Unit(
            id=unit_id,
            label=self.label,
            kind=self.kind,
            identities=tuple(identity.identity() for identity in self.identity),
            applying=self.applying,
            installed_on=self.installed_on,
            retired_on=self.retired_on,
            enrolments=tuple(
                sorted((each.enrolment() for each in self.enrolled), key=lambda each: each.first_day or date.min)
            ),
            phantom_patient_ids=self.phantom_patient_ids,
            phantom_words=self.phantom_words,
        )


class AssignmentTable(ConfigTable):
    """``[[attachments.ID.assigned]]``: days, both included, on which an attachment belongs to a unit."""

    unit: Id = Field(examples=["upright_a"])
    """Id of the unit."""
    first_day: Day | None = Field(default=None, alias="from")
    """First day; open when left out."""
    last_day: Day | None = Field(default=None, alias="to")
    """Last day; open when left out."""

    @model_validator(mode="after")
    def _runs_forwards(self) -> Self:
        check_span(self.first_day, self.last_day)
        return self


class AttributeTable(ConfigTable):
    """``[[attachments.ID.attribute]]``: an attribute whose value names the unit."""

    keyword: AttributeName = Field(examples=["StationName"])
    """Keyword of the attribute, or a private element ``creator:gggg,ee``."""
    map: dict[str, Id] = Field(min_length=1)
    """Value, compared whole and without regard to case, to the id of the unit."""


class AttachmentTable(ConfigTable):
    """``[attachments.ID]``: an add-on biopsy attachment; the units it is used on are accredited, never itself."""

    label: Text = Field(examples=["Add-on biopsy attachment"])
    """What people call it."""
    assigned: tuple[AssignmentTable, ...] = ()
    """The units it belongs to, and when."""
    identity: tuple[IdentityTable, ...] = ()
    """The ways its own workstation shows itself."""
    attribute: tuple[AttributeTable, ...] = ()
    """Attributes that tell the unit, tried in order."""

    def attachment(self, attachment_id: str) -> Attachment:
        """Return the value the rules work with."""
        return Attachment(
            id=attachment_id,
            label=self.label,
            assignments=tuple(
                Assignment(unit=entry.unit, first_day=entry.first_day, last_day=entry.last_day)
                for entry in self.assigned
            ),
            identities=tuple(identity.identity() for identity in self.identity),
            attribute_maps=tuple(
                AttributeMap(keyword=entry.keyword, units=dict(entry.map)) for entry in self.attribute
            ),
        )


class SenderTable(IdentityTable):
    """``[senders.ID]``: a listed sender that is no unit and no attachment; the keys of an identity and a role."""

    role: SenderRole = Field(examples=["router"])
    """``router`` (passes on what others made, also a PACS) or ``specimen`` (a specimen cabinet, never a unit)."""

    def sender(self, sender_id: str) -> Sender:
        """Return the value the rules work with."""
        return Sender(id=sender_id, role=self.role, identity=self.identity())


class PeerTable(EntityTable):
    """``[peers.ID]``: an application entity that may ask the node."""

    ae_title: AeTitle = Field(examples=["MAIN_PACS"])
    """AE title it calls with."""
    host: Networks = Field(min_length=1, examples=["10.20.30.5"])
    """Addresses or networks it calls from."""
    allow: tuple[Service, ...] = (Service.ECHO, Service.FIND)
    """What it may do."""

    def caller(self, name: str) -> Caller:
        """Return the leave to call that this peer has."""
        return self.listed(name, self.ae_title, self.host, self.allow)

    def reached(self, name: str) -> Destination | None:
        """Return where the peer takes associations, None when it is not said."""
        return self.destination(name, self.ae_title, self.host, self.allow)

    @model_validator(mode="after")
    def _can_be_called(self) -> Self:
        if Service.MOVE_DESTINATION in self.allow and self.port is None:
            raise ValueError("move-destination without port; add the port it takes instances on, such as port = 104")
        self.check_reach(self.host)
        self.check_proof(self.ae_title)
        return self


class ConditionTable(ConfigTable):
    """A condition of a rule that is more than equality; exactly one test, ``from`` and ``to`` making one together."""

    equals: str | None = None
    """The whole value, case and all; what a plain text means."""
    folded: str | None = None
    """The whole value without regard to case."""
    regex: Annotated[str, AfterValidator(check_regex)] | None = None
    """A regular expression that the whole value fits."""
    lowest: str | None = Field(default=None, alias="from")
    """Lower end of a range, itself included; ends that are all numbers compare as numbers."""
    highest: str | None = Field(default=None, alias="to")
    """Upper end of a range, itself included."""
    present: StrictBool | None = None
    """True: the attribute has a value; false: it has none."""

    @model_validator(mode="after")
    def _tests_one_thing(self) -> Self:
        ranged = self.lowest is not None or self.highest is not None
        tests = (self.equals, self.folded, self.regex, self.present)
        if sum(test is not None for test in tests) + ranged != 1:
            raise ValueError("a condition makes one test; write a text, or one of folded, regex, from with to, present")
        return self


class RuleTable(ConfigTable):
    """``[[rules]]``: where every condition holds, what the rule sets is so. Rules are tried in order."""

    name: Text = Field(examples=["old station name of upright A"])
    """What people call it; stands beside what it decided."""
    when: dict[AttributeName, Annotated[ConditionTable, BeforeValidator(read_condition)]] = Field(min_length=1)
    """Attribute to text or condition."""
    unit: Id | None = None
    """Id of the unit it sets."""
    attachment: Id | None = None
    """Id of the attachment it sets."""
    portion: Literal["clinical", "phantom", "neither", "unclear"] | None = None
    """Portion it sets."""

    @model_validator(mode="after")
    def _sets_something(self) -> Self:
        if self.unit is None and self.attachment is None and self.portion is None:
            raise ValueError("sets nothing; write at least one of unit, attachment, portion")
        return self

    def rule(self) -> Rule:
        """Return the value the rules work with."""
        return Rule(
            name=self.name,
            conditions=tuple(
                Condition(
                    name=name,
                    equals=test.equals,
                    folded=test.folded,
                    regex=test.regex,
                    lowest=test.lowest,
                    highest=test.highest,
                    present=test.present,
                )
                for name, test in self.when.items()
            ),
            unit=self.unit,
            attachment=self.attachment,
            portion=None if self.portion is None else Portion(self.portion),
        )
