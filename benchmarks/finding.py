"""A C-FIND client (PS3.4 C.4.1) that is quick enough not to be measured itself."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from benchmarks import wire
from benchmarks.workloads import tag_and_vr

STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2.1"
_CONTEXT = {1: (STUDY_ROOT, wire.IMPLICIT)}


@dataclass(frozen=True, slots=True)
class Query:
    """A study root query: the level, and the keys by keyword ("" asks for the value)."""

    level: str
    keys: Mapping[str, str]

    def encode(self) -> bytes:
        """Encode the identifier in implicit VR little endian."""
        values = {}
        for keyword, text in {**self.keys, "QueryRetrieveLevel": self.level}.items():
            tag, vr = tag_and_vr(keyword)
            values[tag] = text.encode("ascii") + (b"\0" if vr == "UI" else b" ") * (len(text) % 2)
        return wire.elements(values)

    def read(self, identifier: bytes) -> tuple[str, ...]:
        """Return what an answer says to each key."""
        values = wire.parse_elements(identifier)
        return tuple(values.get(tag_and_vr(keyword)[0], b"").decode("ascii").strip(" \0") for keyword in self.keys)


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
    seen: set[tuple[str, ...]] = set()
    with Finder(port) as finder:
        for study_uid, series_uid in series:
            query = Query(
                "IMAGE", {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid, "SOPInstanceUID": ""}
            )
            seen.update(query.read(identifier) for identifier in finder.ask(query).identifiers)
    return len(seen)
