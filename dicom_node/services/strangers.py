"""Who calls from the address of a listed device under an AE title that is not listed, kept for the review.

A device that was renamed calls so, and everything it has is refused. A refusal is no hot path, but it may be one of a
flood: what is written is bounded for each address, for all of them, and in time.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from dicom_node.errors import NodeError
from dicom_node.index import strangers
from dicom_node.index.engine import Index
from dicom_node.logs import get_logger
from dicom_node.services.review import want_review

log = get_logger(__name__)

MINUTE = 60.0
"""Seconds between two writes for one pair of address and AE title; the calls between are counted with the next."""
HOUR = 3600.0
"""Seconds between two reviews that an address has the node make."""


@dataclass(slots=True)
class _Calls:
    """Calls of one pair."""

    written: float
    """When it was written last, by the clock that counts seconds."""
    waiting: int = 0
    """Calls since."""


class Strangers:
    """Notes the refused callers of one process. Used from the threads of all its connections."""

    def __init__(
        self, index: Index, *, now: Callable[[], datetime], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Note them in ``index``; ``now`` tells the time in UTC, ``clock`` counts seconds."""
        self._index = index
        self._now = now
        self._clock = clock
        self._calls: dict[tuple[str, str], _Calls] = {}
        self._reviewed: dict[str, float] = {}
        self._lock = threading.Lock()

    def called(self, address: str, calling_ae: str) -> None:
        """Note a call that is refused; never raises what the index does."""
        count = self._to_write(address, calling_ae)
        if not count:
            return
        try:
            with self._index.write() as conn:
                is_new = strangers.note(conn, address, calling_ae, at=self._now(), count=count)
                if is_new and self._may_want_review(address):
                    want_review(conn)
        except NodeError as error:
            log.warning("association.not_noted", peer=address, calling_ae=calling_ae, reason=str(error))

    def _to_write(self, address: str, calling_ae: str) -> int:
        """Return how many calls are to be written now, 0 for none."""
        pair, now = (address, calling_ae), self._clock()
        with self._lock:
            known = self._calls.get(pair)
            if known is not None and now - known.written < MINUTE:
                known.waiting += 1
                return 0
            if known is None:
                self._calls = {each: calls for each, calls in self._calls.items() if now - calls.written < MINUTE}
                of_address = sum(each[0] == address for each in self._calls)
                if len(self._calls) >= strangers.MOST or of_address >= strangers.MOST_OF_ADDRESS:
                    return 0
            count = known.waiting + 1 if known is not None else 1
            self._calls[pair] = _Calls(written=now)
            return count

    def _may_want_review(self, address: str) -> bool:
        """Tell whether an address may have the node review, which it may not again soon."""
        now = self._clock()
        with self._lock:
            self._reviewed = {each: at for each, at in self._reviewed.items() if now - at < HOUR}
            return self._reviewed.setdefault(address, now) == now
