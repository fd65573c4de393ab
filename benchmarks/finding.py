"""A C-FIND client (PS3.4 C.4.1) that is quick enough not to be measured itself."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from benchmarks import wire

STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2.1"
LEVEL, SOP_CLASS_UID, SOP_INSTANCE_UID = 0x00080052, 0x00080016, 0x00080018
STUDY_UID, SERIES_UID, INSTANCE_NUMBER = 0x0020000D, 0x0020000E, 0x00200013
_UIDS = frozenset({SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_UID, SERIES_UID})

_CONTEXT = {1: (STUDY_ROOT, wire.IMPLICIT)}


@dataclass(frozen=True, slots=True)
class Query:
    """A study root query: the level, and the keys by tag ("" asks for the value)."""

    level: str
    keys: Mapping[int, str]

    def encode(self) -> bytes:
        """Encode the identifier in implicit VR little endian."""
        values = {tag: _padded(tag, text) for tag, text in self.keys.items()}
        return wire.elements(values | {LEVEL: _padded(LEVEL, self.level)})


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back. Times in seconds from the request's first byte."""

    identifiers: list[bytes]
    first: float
    last: float


class Finder:
    """An association for queries."""

    def __init__(self, port: int) -> None:
        """Associate. Raises ConnectionError when C-FIND is not accepted."""
        self._assoc = wire.Association(port, _CONTEXT)
        self._number = 0

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Release the association."""
        if kind is None:
            self._assoc.release()
        self._assoc.socket.close()

    def ask(self, query: Query) -> Answers:
        """Ask and read all answers. Raises RuntimeError when the final status is not Success."""
        self._number = self._number % 65535 + 1
        request = wire.command(
            {
                0x0002: wire.uid(STUDY_ROOT),
                0x0100: wire.short(wire.C_FIND_RQ),
                0x0110: wire.short(self._number),
                0x0700: wire.short(0),
                0x0800: wire.short(1),
            }
        )
        message = wire.data_units(1, request, is_command=True, longest=self._assoc.longest)
        message += wire.data_units(1, query.encode(), is_command=False, longest=self._assoc.longest)
        began = time.perf_counter()
        self._assoc.socket.sendall(message)
        identifiers, first = [], 0.0
        for status, identifier in self._assoc.responses():
            first = first or time.perf_counter() - began
            if status in wire.PENDING:
                identifiers.append(identifier)
            elif status:
                raise RuntimeError(f"C-FIND ended with status {status:04X}")
        return Answers(identifiers, first, time.perf_counter() - began)


def count_images(port: int, series: Iterable[tuple[str, str]]) -> int:
    """Return how many different instances a server knows in some series, given by study and series UID."""
    seen = set()
    with Finder(port) as finder:
        for study_uid, series_uid in series:
            keys = {STUDY_UID: study_uid, SERIES_UID: series_uid, SOP_INSTANCE_UID: "", INSTANCE_NUMBER: ""}
            for identifier in finder.ask(Query("IMAGE", keys)).identifiers:
                seen.add(wire.parse_elements(identifier)[SOP_INSTANCE_UID])
    return len(seen)


def _padded(tag: int, text: str) -> bytes:
    value = text.encode("ascii")
    return value + (b"\0" if tag in _UIDS else b" ") * (len(value) % 2)
