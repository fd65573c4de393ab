"""All that an exam's row depends on, added up instance by instance and kept in the row itself.

So an instance costs the same in an exam of ten images and in one of ten thousand. What is kept grows with the kinds of
instances, not with their number, and most instances are of a kind that is there already.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from typing import Any, NamedTuple, Self

from dicom_node.accreditation.exams import Contribution, Override, Performed, PortionTally, Tally, add_up, conclude
from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.signals import Role
from dicom_node.index.rows import Row

TALLY_COLUMNS = ("tally", "primary_count", "instance_count", "first_received_at", "last_received_at")
"""The columns of an exam's row that its tally is read from."""


class Told(NamedTuple):
    """What an instance tells its exam, but for when it came: the kind of instance it is."""

    primary: bool
    """It is an acquired image."""
    portion: str
    rule: str
    day: date | None
    day_source: str
    day_flags: tuple[str, ...]
    stage: str
    attachment: str
    rejected: bool
    attribution_flags: tuple[str, ...]
    candidates: tuple[str, ...]
    unregistered: bool

    def contribution(self) -> Contribution:
        """Return it as the rules take it."""
        return Contribution(
            portion=Portion(self.portion) if self.portion else None,
            rule=self.rule,
            performed=Performed(day=self.day, source=self.day_source, flags=self.day_flags),
            stage=self.stage,
            attachment=self.attachment or None,
            rejected=self.rejected,
        )


@dataclass(slots=True, kw_only=True)
class Member:
    """What one instance, or ``number`` alike ones, bring to their exam."""

    told: Told
    attribution: str
    number: int
    first_received_at: datetime
    last_received_at: datetime

    @classmethod
    def of(
        cls,
        row: Mapping[str, Any],
        *,
        rejected: bool,
        first_received_at: datetime,
        last_received_at: datetime,
        number: int = 1,
    ) -> Self:
        """Make one from the values of an instance row."""
        told = Told(
            primary=row["role"] == Role.PRIMARY,
            portion=row["portion"],
            rule=row["rule"],
            day=row["acquisition_day"],
            day_source=row["day_source"],
            day_flags=tuple(row["day_flags"]),
            stage=row["stage"],
            attachment=row["attachment_id"],
            rejected=rejected,
            attribution_flags=tuple(row["attribution_flags"]),
            candidates=tuple(row["candidates"]),
            unregistered=row["unregistered"],
        )
        return cls(
            told=told,
            attribution=row["attribution"],
            number=number,
            first_received_at=first_received_at,
            last_received_at=last_received_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """What the instances of an exam tell, whatever their number."""

    told: Tally = field(default_factory=Tally)
    attribution_flags: frozenset[str] = frozenset()
    candidates: frozenset[str] = frozenset()
    unregistered: bool = False
    first_image: tuple[datetime, str] | None = None
    """When the image received first was received, and its attribution."""
    _among: set[Told] = field(init=False, default_factory=set, compare=False, repr=False)
    """Some of those that add nothing: adding up costs far more than finding one here."""

    def joined_by(self, member: Member) -> "Kinds":
        """Return what they tell together: these very ones when the member is of a kind that is among them."""
        told, first = member.told, self.first_image
        image = (member.first_received_at, member.attribution) if told.primary else None
        if image and (first is None or image < first):
            first = image
        elif told in self._among:
            return self
        together = Kinds(
            told=add_up([told.contribution()], onto=self.told),
            attribution_flags=self.attribution_flags.union(told.attribution_flags if image else ()),
            candidates=self.candidates.union(told.candidates if image else ()),
            unregistered=self.unregistered or bool(image and told.unregistered),
            first_image=first,
        )
        if together != self:
            return together
        self._among.add(told)
        return self


@dataclass(slots=True, kw_only=True)
class ExamTally:
    """The members of an exam, added up. The times are None while it has none."""

    kinds: Kinds = field(default_factory=Kinds)
    primary_count: int = 0
    instance_count: int = 0
    first_received_at: datetime | None = None
    last_received_at: datetime | None = None

    def add(self, member: Member) -> None:
        """Count one more member, or several alike ones, in."""
        self.kinds = self.kinds.joined_by(member)
        self.primary_count += member.number if member.told.primary else 0
        self.instance_count += member.number
        if self.first_received_at is None or member.first_received_at < self.first_received_at:
            self.first_received_at = member.first_received_at
        if self.last_received_at is None or member.last_received_at > self.last_received_at:
            self.last_received_at = member.last_received_at

    def counts(self) -> Row:
        """Return the columns of the exam's row that change with every instance."""
        return {
            "primary_count": self.primary_count,
            "instance_count": self.instance_count,
            "first_received_at": self.first_received_at,
            "last_received_at": self.last_received_at,
        }

    def values(self, override: Override) -> Row:
        """Return the columns of the exam's row that instances and people fill. There must be an acquired image."""
        kinds = self.kinds
        assert kinds.first_image is not None
        exam = conclude(kinds.told, override)
        return self.counts() | {
            "portion": exam.portion.value,
            "rule": exam.rule,
            "day": exam.day,
            "day_source": exam.source,
            "flags": [*exam.flags, *sorted(kinds.attribution_flags - set(exam.flags))],
            "stages": list(exam.stages),
            "attachments": list(exam.attachments),
            "attribution": kinds.first_image[1],
            "candidates": sorted(kinds.candidates),
            "unregistered": kinds.unregistered,
            "excluded": exam.excluded,
            "case_state": exam.case.value if exam.case else "",
            "counts": exam.counts,
            "tally": _encode(kinds),
        }


def read_tally(row: Mapping[str, Any]) -> ExamTally | None:
    """Return what an exam's row keeps, None when it keeps nothing: then its instances tell."""
    if not row["tally"]:
        return None
    return ExamTally(kinds=_decode(row["tally"]), **{name: row[name] for name in TALLY_COLUMNS[1:]})


def _encode(kinds: Kinds) -> str:
    told = kinds.told
    portions = {
        (portion.value if portion else ""): [
            tally.undated,
            tally.first_day and tally.first_day.isoformat(),
            tally.last_day and tally.last_day.isoformat(),
            tally.source,
            sorted(tally.rules),
            sorted(tally.flags),
        ]
        for portion, tally in told.portions.items()
    }
    first_image = kinds.first_image and [kinds.first_image[0].isoformat(), kinds.first_image[1]]
    return json.dumps(
        {
            "portions": portions,
            "stages": sorted(told.stages),
            "attachments": sorted(told.attachments),
            "rejected": told.rejected,
            "attribution_flags": sorted(kinds.attribution_flags),
            "candidates": sorted(kinds.candidates),
            "unregistered": kinds.unregistered,
            "first_image": first_image,
        },
        sort_keys=True,  # the same members give the same text, in whatever order they came
    )


@lru_cache(maxsize=256)  # the instances of an exam come one after another
def _decode(text: str) -> Kinds:
    held = json.loads(text)
    portions = {
        (Portion(portion) if portion else None): PortionTally(
            undated=undated,
            first_day=first_day and date.fromisoformat(first_day),
            last_day=last_day and date.fromisoformat(last_day),
            source=source,
            rules=frozenset(rules),
            flags=frozenset(flags),
        )
        for portion, (undated, first_day, last_day, source, rules, flags) in held["portions"].items()
    }
    first_image = held["first_image"]
    return Kinds(
        told=Tally(
            portions=portions,
            stages=frozenset(held["stages"]),
            attachments=frozenset(held["attachments"]),
            rejected=held["rejected"],
        ),
        attribution_flags=frozenset(held["attribution_flags"]),
        candidates=frozenset(held["candidates"]),
        unregistered=held["unregistered"],
        first_image=first_image and (datetime.fromisoformat(first_image[0]), first_image[1]),
    )
