"""Queries in the conformance statement: keys with their matching, what may be negotiated, character sets (N.5.2)."""

from collections.abc import Iterator
from dataclasses import fields

from pydicom.charset import python_encoding

from dicom_node.cli.conformance_text import Facts, table, tag_text
from dicom_node.dicom import charsets, identifiers, query
from dicom_node.dicom.extended import SUPPORTED, Extended
from dicom_node.dicom.keys import DESCENDING_KEYWORDS, KEYS, PRIVATE_CREATOR, PRIVATE_GROUP, Key, KeyType, Level
from dicom_node.dicom.matching import SPAN_VRS, WILD_CARD_VRS
from dicom_node.services.find import FindLimits

TYPES = {KeyType.UNIQUE: "unique", KeyType.REQUIRED: "required", KeyType.OPTIONAL: "optional"}

_MEANINGS = {
    "relational": "relational queries: unique keys above the level may be left out",
    "date_time": "combined date-time matching: the ranges of a date and of its time are one range",
    "fuzzy": "fuzzy semantic matching of person names: by their words, allowing for spelling and sound",
    "zone": "timezone query adjustment: dates and times are in the request's Timezone Offset From UTC (0008,0201)",
    "conversion": "enhanced multi-frame image conversion",
    "empty": "empty value matching: two quotation marks find what has no value",
    "multiple": "multiple value matching: each of several values has to match one, not any of them",
}
"""Of the bytes of the application information (PS3.4 C.5.1.1), by the names of ``Extended``."""

_NOT_DEFINED = frozenset({"ISO_IR 6", "ISO 2022 58", "ISO 2022 GBK"})
"""Misspelled terms that are understood as well."""

ALWAYS_ANSWERED = (
    ("Query/Retrieve Level (0008,0052)", "that of the request"),
    ("Specific Character Set (0008,0005)", "that of the answer"),
    ("Retrieve AE Title (0008,0054)", "the first AE title of the node"),
    ("Instance Availability (0008,0056)", "ONLINE"),
)


def services(facts: Facts) -> list[str]:
    """Say how queries are answered."""
    return [*_models(facts), *_keys(), *_negotiated(), *_character_sets()]


def _models(facts: Facts) -> list[str]:
    return [
        "### N.5.2 Query",
        (
            "C-FIND in the Patient Root and the Study Root information model (PS3.4 C.6.1, C.6.2), for whoever is "
            "listed with `find`. Above the level of the query each unique key has one value, unless relational "
            "queries were negotiated. Keys of the levels above match and return too, but not what is counted of the "
            "patient. A key that is not in the tables below is left out of the answers, which then have the status "
            "0xFF01."
        ),
        (
            f"A query ends with 0xA700 after {facts.node.limits.max_matches:,} answers (`node.limits.max_matches`) "
            f"or {FindLimits().seconds:g} s of searching; what was answered by then is right. An identifier has at "
            f"most {identifiers.LARGEST >> 10} KiB, a key {query.LONGEST_VALUE:,} characters, a list of UIDs "
            f"{query.MOST_UIDS:,} values; more is answered 0xA900."
        ),
        (
            "C-CANCEL is heard between two batches of answers; the query then ends with 0xFE00. One query at a time is "
            "answered on an association; the next one waits."
        ),
        (
            "A value that the node does not know matches every key, but not unique keys, the private keys, and keys "
            "of images that are asked above their level."
        ),
    ]


def _keys() -> list[str]:
    blocks = [
        "#### Keys",
        (
            "Every key matches universally when it is empty or `*`. Text is compared to the letter, but for person "
            "names: without regard to case, and without `=` in any of the three component groups. A time covers "
            "what it says (`1030` is the whole minute), a range includes both ends, numbers are compared as "
            "numbers. A sequence has one item, and a stored item has to match all of it."
        ),
    ]
    for level in Level:
        rows = [
            (key.keyword, tag_text(key.tag), key.vr, TYPES[key.type], ", ".join(matching_of(key)), _levels(key))
            for key in KEYS
            if key.level is level
        ]
        blocks += [f"{level.name} level:", table(("key", "tag", "VR", "type", "matching", "also at"), rows)]
    private = ", ".join(key.keyword for key in KEYS if key.private)
    return [
        *blocks,
        (
            f"{private} are private, of the block that `{PRIVATE_CREATOR}` reserves in group {PRIVATE_GROUP:04X}; "
            "block 10 is understood without its creator. They tell of the exam: unit, what it counts toward, days "
            "left, last day on which it counts, its day. [queries.md](queries.md) explains them. At the STUDY and "
            "SERIES levels AcquisitionDate is the day that the node worked out."
        ),
        "Every answer has these as well:",
        table(("attribute", "value"), ALWAYS_ANSWERED),
    ]


def matching_of(key: Key) -> Iterator[str]:
    """Yield the types of matching of a key beside the universal one (PS3.4 C.2.2.2)."""
    if key.vr == "SQ":
        yield "sequence"
        return
    yield "single value"
    if key.vr in WILD_CARD_VRS:
        yield "wild card"
    if key.vr in SPAN_VRS:
        yield "range"
    if key.vr == "UI":
        yield "list of UIDs"
    elif key.multiple:
        yield "several values"


def _levels(key: Key) -> str:
    """Name the levels at which a key is answered beside its own and those below."""
    if key.keyword not in DESCENDING_KEYWORDS:
        return ""
    return "STUDY" if key.level is Level.SERIES else "STUDY, SERIES"


def _negotiated() -> list[str]:
    rows = [
        (str(number), _MEANINGS[field.name], "1" if supported else "0")
        for number, (field, supported) in enumerate(zip(fields(Extended), SUPPORTED, strict=True), start=1)
    ]
    return [
        "#### Extended negotiation",
        (
            "By SOP class extended negotiation (PS3.4 C.5.1.1) of a model the node agrees to what is proposed of "
            "this; what was not proposed does not change how a query is answered."
        ),
        table(("byte", "behaviour", "answer"), rows),
    ]


def _character_sets() -> list[str]:
    terms = sorted(term for term in python_encoding if term.startswith(("ISO", "GB")) and term not in _NOT_DEFINED)
    return [
        "#### Character sets",
        (
            f"Read and written: the default repertoire, {', '.join(terms)}. In what is stored an unknown term "
            "stands for the default repertoire; a key beyond ASCII in a request with one, or one that its character "
            "set does not express, is answered 0xA900. A request that names none is read as UTF-8, or as Latin-1 "
            "where it is not that. An answer "
            f"is in the character set of the request where that expresses it, else in {charsets.LATIN_1}, else in "
            f"{charsets.UTF_8}, and says which."
        ),
        "What is stored stays in the character set in which it came.",
    ]
