"""A short text that tells whether two registries make the same of every instance."""

import hashlib
from collections.abc import Iterable
from dataclasses import fields

from dicom_node.accreditation.units import Attachment, Registry, Unit

_SAYS_NOTHING = frozenset({"label", "applying", "retired_on", "enrolments"})
"""Fields of units and attachments that decide nothing about an instance."""


def fingerprint(registry: Registry) -> str:
    """Return 16 hexadecimal digits: the same for registries that derive alike, in this release of the program."""
    told = [
        *(_told(unit) for _, unit in sorted(registry.units.items())),
        *(_told(attachment) for attachment in registry.attachments.values()),
        *(repr(sender) for sender in registry.senders.values()),
        *(repr(rule) for rule in registry.rules),
    ]
    return _digest(told)


def _told(of: Unit | Attachment) -> str:
    return repr([getattr(of, each.name) for each in fields(of) if each.name not in _SAYS_NOTHING])


def _digest(told: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(told).encode("utf-8", "surrogateescape")).hexdigest()[:16]
