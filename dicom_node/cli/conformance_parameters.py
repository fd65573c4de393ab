"""What can be configured, in the conformance statement: local and remote parameters, timers and limits (N.6)."""

import dataclasses
from collections.abc import Iterator

from dicom_node.cli.conformance_text import DEFAULTS, Facts, meanings, table
from dicom_node.dimse import reporting
from dicom_node.dimse.dialogue import Patience
from dicom_node.reception import patience_of
from dicom_node.settings.devices import ConfigTable, IdentityTable, PeerTable
from dicom_node.settings.model import LimitsTable, NodeTable, TlsTable
from dicom_node.settings.schema import fields_of
from dicom_node.settings.show import written

_DEADLINES = {
    "connect": "until the connection stands, and again until TLS does",
    "answer": "until the association request, or the release, is answered",
    "response": "until the next response",
    "sending": "without progress while sending",
}
_ADDRESSED = ("ae_title", "host", "allow", "port", "address", "tls", "certificate", "username", "passcode_file")


def configuration(facts: Facts) -> list[str]:
    """Say what an operator sets, and what it is."""
    return [
        "## N.6 Configuration",
        (
            "One file, read by the node when it starts and when it is told to reload; only its operator can write "
            "it. [configuration.md](configuration.md) has all of it, with the keys that want a restart."
        ),
        "### N.6.1 Local parameters",
        _values(NodeTable, facts.node, DEFAULTS.node, facts),
        "### N.6.2 Timers and limits",
        "`[node.limits]`, by the monotonic clock. A deadline is not extended by a peer that drips.",
        _values(LimitsTable, facts.node.limits, DEFAULTS.node.limits, facts),
        "Deadlines of associations that the node opens, in seconds:",
        table(("deadline", "C-MOVE", "reports of storage commitment"), _deadlines(facts)),
        (
            "For C-MOVE, the last three are `association_request`, `idle` and `sending`. Commands wait as long as "
            "their `-to` says."
        ),
        "### N.6.3 TLS",
        "`[node.tls]`; without it there is no port for TLS.",
        _tls(facts),
        "### N.6.4 Remote parameters",
        (
            "Nobody is served who is not listed. `[peers.ID]` lists archives and workstations; units, attachments "
            "and senders are listed with the same keys."
        ),
        table(("key", "meaning", "default"), _remote()),
        (
            f"Units, attachments and senders may {_listed(IdentityTable)} unless `allow` says otherwise, peers "
            f"{_listed(PeerTable)}."
        ),
    ]


def _values(tables: type[ConfigTable], values: ConfigTable, defaults: ConfigTable, facts: Facts) -> str:
    """Return a table of keys with their defaults, and of a site with what is in force."""
    told = meanings(tables)
    rows = []
    for name, key, field in fields_of(tables):
        if isinstance(getattr(values, name), ConfigTable) or name == "tls":
            continue
        default, value = written(field, getattr(defaults, name)), written(field, getattr(values, name))
        rows.append((f"`{key}`", told[name], _code(default), *([_code(value)] if facts.facility else [])))
    return table(("key", "meaning", "default", *(["here"] if facts.facility else [])), rows)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _deadlines(facts: Facts) -> list[tuple[str, str, str]]:
    of_moves, of_reports = patience_of(facts.node.limits), reporting.PATIENCE
    return [
        (_DEADLINES[each.name], f"{getattr(of_moves, each.name):g}", f"{getattr(of_reports, each.name):g}")
        for each in dataclasses.fields(Patience)
    ]


def _tls(facts: Facts) -> str:
    told = meanings(TlsTable)
    here = facts.node.tls
    rows = []
    for name, key, field in fields_of(TlsTable):
        default = "" if field.is_required() else written(field, field.default)
        # Where its files are is nobody's business but the operator's.
        shown = "set" if here and name.endswith("_file") and getattr(here, name) else ""
        value = shown or (_code(written(field, getattr(here, name))) if here else "")
        rows.append((f"`{key}`", told[name], _code(default), *([value] if facts.facility else [])))
    return table(("key", "meaning", "default", *(["here"] if facts.facility else [])), rows)


def _remote() -> Iterator[tuple[str, str, str]]:
    told = meanings(PeerTable)
    fields = PeerTable.model_fields
    for name in _ADDRESSED:
        field = fields[name]
        yield f"`{name}`", told[name], "" if field.is_required() else _code(written(field, field.default))


def _listed(tables: type[ConfigTable]) -> str:
    return ", ".join(f"`{service}`" for service in tables.model_fields["allow"].default)
