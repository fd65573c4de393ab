"""Accreditation policies: which rule the dates are judged by, with its source.

The policies that ship stand in ``policies.toml`` beside this module; a site may add its own. Everything the node says
about a date names the policy it was computed under.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files

from dicom_node.accreditation.portions import COUNTING_PORTIONS, PORTIONS, Portion
from dicom_node.accreditation.windows import Spell, Windows

DEFAULT_POLICY_ID = "acr-sbb-2023-03-03"
"""ACR, Testing Overview: Stereotactic Breast Biopsy, revision of 2023-03-03: six months for both portions."""

SURVEY_MONTHS = 14
"""Calendar months between two surveys of a unit by a medical physicist, at most."""

SURVEY_ARTICLE = "Quality Control: Stereotactic Breast Biopsy, revised 2022-12-06"
"""Where that number stands; the articles of the windows do not tell it."""

LATEST = "latest"
"""Chooses the shipped policy with the newest revision date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Windows of another length for release dates from ``first`` to ``last``, both included, with their source."""

    first: date
    last: date
    months: Mapping[Portion, int]
    """As those of a policy."""
    article: str
    revision: date
    address: str
    note: str = ""

    @property
    def citation(self) -> str:
        """The source in one phrase: title and date."""
        return f"{self.article}, {self.revision.isoformat()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The numbers of the programme beside the windows. Months are calendar months, clamped as windows are.

    The articles: *Quality Control: Stereotactic Breast Biopsy* (12-6-22) for surveys; *Preparing and Submitting Images:
    Stereotactic Breast Biopsy* (08-24-2023) for logs; the testing and renewal articles for the rest.
    """

    testing_days: int = 45
    """Calendar days from the release of a package to its due date, where none is printed in it."""
    notice_months: int = 8
    """Before the expiry, when the renewal notice is expected."""
    application_days: int = 60
    """From the notice to the day the application is due."""
    application_months: int = 6
    """Before the expiry, the application is due at the latest."""
    addendum_months: int = 13
    """A unit that is added with more than this left is an addendum; with less, all units renew early."""
    daily_log_months: int = 1
    """Span of the daily and weekly quality control logs that are submitted."""
    other_log_months: int = 12
    """Span of the other quality control logs that are submitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One revision of the rule that limits how old a submitted exam may be."""

    id: str
    program: str
    article: str
    """Title of the article that states the rule."""
    revision: date
    """Revision date of the article."""
    address: str
    """Where the article can be read."""
    anchor: str
    """In words, the date the windows hang on."""
    months: Mapping[Portion, int]
    """Calendar months before the anchor in which an exam or survey must have been performed, per portion; 1 to 120."""
    survey_article: str = SURVEY_ARTICLE
    """Article and revision that the months of the physicist report come from; "" for the article above."""
    note: str = ""
    """What is disputed or worth knowing."""
    overrides: tuple[Override, ...] = ()
    """In the order of their days; no two have a day in common."""
    terms: Terms = Terms()
    """The programme's other numbers."""

    @property
    def longest(self) -> int:
        """The longest window of exams there is, in calendar months: an older one cannot count any more."""
        return max(self._lengths())

    @property
    def shortest(self) -> int:
        """The shortest window of exams there is, in calendar months: a younger one counts."""
        return min(self._lengths())

    def windows(self, portion: Portion) -> Windows:
        """Return the windows of a portion."""
        spells = (Spell(first=each.first, last=each.last, months=each.months[portion]) for each in self.overrides)
        return Windows(months=self.months[portion], spells=tuple(spells))

    def judges_like(self, other: "Policy") -> bool:
        """Tell whether both have one id and the same numbers, whatever they say of their sources."""
        mine, others = (
            (each.id, each.months, each.terms, [(over.first, over.last, over.months) for over in each.overrides])
            for each in (self, other)
        )
        return mine == others

    def _lengths(self) -> Iterator[int]:
        for months in (self.months, *(each.months for each in self.overrides)):
            yield from (months[portion] for portion in COUNTING_PORTIONS)

    @property
    def citation(self) -> str:
        """The source in one phrase: programme, article and revision date."""
        return f"{self.program}, {self.article}, revised {self.revision.isoformat()}"

    def source(self, portion: Portion) -> str:
        """Return where the months of a portion stand, with the address where that is known."""
        if portion is Portion.PHYSICIST and self.survey_article:
            return f"{self.program}, {self.survey_article}"
        return f"{self.citation}; {self.address}"


def load_policies() -> dict[str, Policy]:
    """Return the policies that ship with the node, by id."""
    text = files("dicom_node.accreditation").joinpath("policies.toml").read_text(encoding="utf-8")
    policies = {}
    for policy_id, table in tomllib.loads(text).items():
        months = {portion: int(table["months"][portion.value]) for portion in PORTIONS}
        policies[policy_id] = Policy(**(table | {"id": policy_id, "months": months}))
    return policies


def choose_policy(policy_id: str, own: Iterable[Policy] = ()) -> Policy:
    """Return the policy with ``policy_id`` among those that ship and the site's ``own``.

    ``latest`` is the shipped one with the newest revision date; a site's own policy is chosen by its id alone.

    :raises ValueError: an own policy has the id of another.
    :raises LookupError: there is no such policy; the message lists those that there are.
    """
    known = load_policies()
    if policy_id == LATEST:
        return max(known.values(), key=lambda policy: policy.revision)
    for policy in own:
        if policy.id in known:
            raise ValueError(f"there are two policies with the id {policy.id!r}")
        known[policy.id] = policy
    if policy_id not in known:
        raise LookupError(f"no policy {policy_id!r}; known are {LATEST}, {', '.join(sorted(known))}")
    return known[policy_id]


def newer_than(policy: Policy) -> Policy | None:
    """Return the newest policy that ships, when its source is newer than that of ``policy``; else None."""
    newest = max(load_policies().values(), key=lambda each: each.revision)
    return newest if newest.revision > policy.revision else None
