"""Units, the attachments they carry, and the rules that tell whose exam it is: the site's configuration as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network

from dicom_node.accreditation.portions import Portion


class UnitKind(StrEnum):
    """How a unit does biopsies."""

    PRONE = "prone"
    """A dedicated table: every patient image is a biopsy image."""
    UPRIGHT = "upright"
    """A mammography unit that hosts an attachment: only images with a biopsy stage are biopsy images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One way a device shows itself. Empty fields say nothing; each field set is evidence of its own strength.

    AE title and hosts are one piece of evidence, and so are serial and manufacturer, and station name and institution.
    """

    ae_title: str = ""
    hosts: tuple[IPv4Network | IPv6Network, ...] = ()
    device_serial: str = ""
    manufacturer: str = ""
    station_name: str = ""
    institution: str = ""
    detector_id: str = ""
    device_uid: str = ""


OWN_FACILITY = "main"
"""Id of the facility the node belongs to, whose units these are unless an enrolment says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facility:
    """A facility that units are enrolled at."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """The days, both included, on which a unit is enrolled in the accreditation of a facility; None is open.

    A unit that moved to another site is a new one to the programme: what was made and released in an earlier enrolment
    bears on that one alone.
    """

    facility: str = OWN_FACILITY
    first_day: date | None = None
    last_day: date | None = None

    def covers(self, day: date) -> bool:
        """Tell whether the unit is enrolled on ``day`` by it."""
        return (self.first_day is None or self.first_day <= day) and (self.last_day is None or day <= self.last_day)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A biopsy unit: the machine that is accredited."""

    id: str
    label: str
    kind: UnitKind
    identities: tuple[Identity, ...]
    applying: bool = True
    """False: the unit is not part of the accreditation; it is watched for biopsies all the same."""
    installed_on: date | None = None
    """First day in service; an exam dated before it is taken as undated."""
    retired_on: date | None = None
    """Last day in service."""
    enrolments: tuple[Enrolment, ...] = ()
    """In order of their days, which they do not share; none: at the node's own facility while it is in service."""
    phantom_patient_ids: tuple[str, ...] = ()
    """Shell patterns (``*``, ``?``, case-insensitive) on the whole Patient ID."""
    phantom_words: tuple[str, ...] = ()
    """Whole tokens, case-insensitive."""

    def enrolment_on(self, day: date) -> Enrolment | None:
        """Return the enrolment in force on ``day``, whether the unit is applying or not; None: it is in none."""
        if self.enrolments:
            return next((each for each in self.enrolments if each.covers(day)), None)
        begun = self.installed_on is None or self.installed_on <= day
        return Enrolment() if begun and (self.retired_on is None or day <= self.retired_on) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The days, both included, on which an attachment belongs to a unit; None is open."""

    unit: str
    first_day: date | None = None
    last_day: date | None = None

    def covers(self, day: date) -> bool:
        """Tell whether the attachment belongs to the unit on ``day``."""
        return (self.first_day is None or self.first_day <= day) and (self.last_day is None or day <= self.last_day)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeMap:
    """A header attribute whose value names the unit, for a sender that serves several units."""

    keyword: str
    units: Mapping[str, str]
    """Value, compared whole and case-folded, to unit id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """An add-on biopsy attachment. It is never accredited; the units it is used on are."""

    id: str
    label: str
    assignments: tuple[Assignment, ...]
    identities: tuple[Identity, ...] = ()
    attribute_maps: tuple[AttributeMap, ...] = ()

    def units_on(self, day: date) -> tuple[str, ...]:
        """Return the ids of the units it is assigned to on ``day``, in the order of its assignments."""
        return tuple(dict.fromkeys(each.unit for each in self.assignments if each.covers(day)))


class SenderRole(StrEnum):
    """What a listed sender that is no unit and no attachment host is."""

    ROUTER = "router"
    """Passes on what others made (also an archive or a PACS): its name says nothing of the unit."""
    SPECIMEN = "specimen"
    """A specimen radiography cabinet: never a unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """A listed sender that is no unit and no attachment host."""

    id: str
    role: SenderRole
    identity: Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of a rule on one attribute or association field; exactly one of the tests is set.

    ``name`` is a keyword, a private key ``creator:gggg,ee``, or ``calling_ae``, ``called_ae``, ``peer_address``. Of an
    attribute with several values, the whole text (joined by a backslash) or any one value may pass the test. An
    attribute without a value passes no test but ``present`` false.
    """

    name: str
    equals: str | None = None
    folded: str | None = None
    regex: str | None = None
    """Searched whole (``re.fullmatch``)."""
    lowest: str | None = None
    """With ``highest``: a range of text, both ends included, compared as numbers when both ends are numbers."""
    highest: str | None = None
    present: bool | None = None
    """True: the attribute has a value. False: it is absent or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An ordered rule of the site: when every condition holds, what is set in it is so.

    Of the rules that hold, the first that sets a unit decides the unit, the first that sets an attachment the
    attachment, the first that sets a portion the portion. A rule without conditions holds for every instance.
    """

    name: str
    conditions: tuple[Condition, ...]
    unit: str | None = None
    attachment: str | None = None
    portion: Portion | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Registry:
    """The units, attachments, senders and rules of one configuration. It equals itself alone."""

    units: Mapping[str, Unit] = field(default_factory=dict)
    facilities: Mapping[str, Facility] = field(default_factory=dict)
    """Those that units may be enrolled at, the node's own first."""
    attachments: Mapping[str, Attachment] = field(default_factory=dict)
    senders: Mapping[str, Sender] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
