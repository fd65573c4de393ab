"""Structured logs: one event, one line, no patient data.

What reaches a log line passes a gate that knows the allowed keys and makes every value short, flat and printable. The
gate is the last processor before the line is written, so neither a careless call nor a bound context gets around it.
Messages of libraries are reduced to their place, because they quote the data they are about; exceptions to their class,
our own sentence and the frames without values.
"""

import errno
import json
import logging
import os
import re
import sys
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import Processor

from dicom_node.errors import NodeError

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "logfmt", "console"]

KEYS: Mapping[str, str] = {
    # Set by this module.
    "timestamp": "when, UTC, ISO 8601",
    "level": "debug, info, warning, error or critical",
    "event": "what happened, such as instance.stored",
    "logger": "module it happened in",
    "raised": "classes of the exception and its causes, outermost first",
    "frames": "where the exception came from, innermost first, without values",
    "suppressed": "equal events left out since the last one of these",
    "dropped_keys": "keys that are not on this list and were left out",
    # Who and what.
    "ae_title": "AE title of the node",
    "associations": "how many associations",
    "assoc_id": "number of the association since the start, each receiving process counting its own",
    "attachment": "id of an attachment",
    "bind": "address the node listens on",
    "called_ae": "AE title that was called",
    "calling_ae": "AE title that called",
    "certificate": "name in a TLS certificate",
    "channel": "name of an alert channel",
    "digest": "SHA-256 of a data set: the name of its object",
    "exam": "id of an exam",
    "job": "name of a scheduled job",
    "message_key": "what makes a message itself, whenever it is sent again",
    "name": "name of a caller in the configuration",
    "peer": "address of the other side",
    "portion": "clinical, phantom, neither or unclear",
    "recipient": "address a message goes to",
    "series_uid": "Series Instance UID",
    "sop_class_uid": "SOP Class UID",
    "sop_uid": "SOP Instance UID",
    "study_uid": "Study Instance UID",
    "tls_port": "TCP port of associations by TLS",
    "transaction_uid": "Transaction UID of a storage commitment",
    "transfer_syntax_uid": "Transfer Syntax UID",
    "unit": "id of a unit",
    # How it went.
    "attempt": "how often it was tried",
    "bytes": "size",
    "contexts": "presentation contexts accepted",
    "count": "how many",
    "destination": "name of a C-MOVE destination in the configuration",
    "error": "what another program or the system said, one line",
    "failed": "instances that a retrieval could not deliver, or that are not committed to",
    "held": "instances that are committed to",
    "indexed": "objects entered in the index",
    "instances": "how many instances",
    "keys": "keys of the configuration",
    "kind": "kind of alert or message",
    "matches": "answers to a query",
    "missing": "objects the index knows and the archive lacks",
    "ms": "milliseconds",
    "new": "what holds now",
    "old": "what held before",
    "opened": "alerts opened",
    "outcome": "how it ended, in a word",
    "path": "file or folder of the node itself",
    "port": "TCP port",
    "query_level": "PATIENT, STUDY, SERIES or IMAGE",
    "problem": "what is wrong with the configuration, and where",
    "problems": "how many problems",
    "process": "process id",
    "queued": "messages queued",
    "reason": "why, in our own words",
    "refused": "presentation contexts or recipients refused",
    "result": "how a delivery ended, in a word",
    "remaining": "instances that a retrieval did not get to",
    "resolved": "alerts resolved",
    "seconds": "seconds",
    "severity": "info, warning or critical",
    "signal": "signal received",
    "source": "file and line in a library",
    "stage": "reminder that is due",
    "state": "state reached",
    "status": "DIMSE status, hexadecimal",
    "subject": "subject of a message; written without patient data",
    "transfers": "transfers entered in the audit trail after a crash",
    "units": "how many units",
    "unreadable": "objects that cannot be read",
    "warnings": "instances that a retrieval delivered with a warning",
    "version": "version of this program",
    "worker": "number of a receiving process; on every line it writes itself",
}
"""Every key that may stand in a log line, and what it means. Add a key here when an event needs it."""

LONGEST = 300
"""Characters of a value that are written; the rest is cut."""

REPEATS = 20
"""Equal warnings written in ``REPEAT_WINDOW`` seconds; more are counted and told with the next one."""
REPEAT_WINDOW = 60.0

MOST_OF_EVENT = 400
"""Warnings of one event written in ``REPEAT_WINDOW`` seconds, however they differ: thousands of addresses may knock."""

_SAME = (
    "event",
    "logger",
    "peer",
    "unit",
    "portion",
    "channel",
    "recipient",
    "message_key",
    "job",
    "problem",
    "source",
)
"""Warnings that agree in these are equal. Nothing a stranger can vary at will is among them but his address."""
_MOST_KINDS = 1000

_ANYBODYS = frozenset({"connection.dropped"})
"""Information that anybody can cause who reaches the port: it is limited as warnings are."""

_FIRST = ("timestamp", "level", "event", "logger")
_EVENT = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_UID = re.compile(r"[0-9.]{1,64}")
_FRAMES = 12

_Event = MutableMapping[str, Any]


def get_logger(name: str) -> Any:
    """Return the logger of a module; events are named like ``instance.stored``, values are keywords of ``KEYS``."""
    return structlog.get_logger(name)


def configure(
    *,
    level: Level = "info",
    form: Format = "auto",
    stream: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
    worker: int | None = None,
) -> None:
    """Write events from ``level`` up to a stream (standard error when None) and take over what libraries say.

    ``auto`` is ``console`` on a terminal, else, and always under a service manager, ``json``. ``worker`` is the number
    of this receiving process, if it is one.
    """
    global _in_force  # noqa: PLW0603 - a process has one log
    _in_force = level, form
    _configure(level, form, stream, environ, worker)
    _take_over_libraries()
    threading.excepthook = _thread_failed
    sys.unraisablehook = _unraisable


def in_force() -> tuple[Level, Format]:
    """Return the level and the form that were configured last, for a process that writes to the same place."""
    return _in_force


def silence_pynetdicom() -> None:
    """Keep pynetdicom from describing every PDU and query: it would cost a quarter of the time and tell names.

    Must run before an application entity is made.
    """
    from pynetdicom import _config  # noqa: PLC0415 - commands that never talk DICOM need not wait for it

    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False


def _configure(
    level: Level, form: Format, stream: TextIO | None, environ: Mapping[str, str], worker: int | None = None
) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _Numbering(worker),
            structlog.processors.add_log_level,
            _add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _describe_exception,
            _Repeats(),
            _gate,
            _renderer(form, stream or sys.stderr, environ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _Sink(stream, *names),
        cache_logger_on_first_use=False,
    )


def _renderer(form: Format, stream: TextIO, environ: Mapping[str, str]) -> Processor:
    is_terminal = stream.isatty()
    if form == "auto":
        under_service_manager = "JOURNAL_STREAM" in environ or "INVOCATION_ID" in environ
        form = "console" if is_terminal and not under_service_manager else "json"
    if form == "json":
        encode = json.JSONEncoder().encode
        return lambda _logger, _method, event: encode(event)
    if form == "logfmt":
        return structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False)
    return structlog.dev.ConsoleRenderer(colors=wants_colour(stream, environ), pad_event_to=24)


def wants_colour(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether to colour: on a terminal, unless NO_COLOR is set; elsewhere only with FORCE_COLOR."""
    if environ.get("NO_COLOR"):
        return False
    return bool(environ.get("FORCE_COLOR")) or (stream.isatty() and environ.get("TERM") != "dumb")


class _Sink:
    """Writes whole lines. A log that cannot be written never stops the work it tells of."""

    _lock = threading.Lock()

    def __init__(self, stream: TextIO | None, name: str = "") -> None:
        self._stream = stream
        self.name = name

    def msg(self, line: str) -> None:
        stream = self._stream or sys.stderr
        try:
            with self._lock:
                stream.write(line + "\n")
                stream.flush()
        except (OSError, ValueError):
            pass

    debug = info = warning = error = critical = exception = msg


class _Numbering:
    """Tells on every line which receiving process wrote it."""

    def __init__(self, worker: int | None) -> None:
        self._worker = worker

    def __call__(self, _logger: Any, _method: str, event: _Event) -> _Event:
        if self._worker is not None:
            event["worker"] = self._worker
        return event


def _add_logger_name(logger: _Sink, _method: str, event: _Event) -> _Event:
    event.setdefault("logger", logger.name)
    return event


def _describe_exception(_logger: Any, _method: str, event: _Event) -> _Event:
    """Replace an exception by its classes, our own sentence, and the frames it passed, without their variables."""
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    if isinstance(found, tuple):
        found = found[1]
    if not isinstance(found, BaseException):
        return event
    names: list[str] = []
    cause: BaseException | None = found
    while cause is not None and len(names) < 5:
        number = errno.errorcode.get(getattr(cause, "errno", None) or 0, "") if isinstance(cause, OSError) else ""
        names.append(f"{type(cause).__name__}({number})" if number else type(cause).__name__)
        if isinstance(cause, NodeError):  # of all exceptions only these are written without patient data
            event.setdefault("reason", str(cause))
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    event["raised"] = " < ".join(names)
    event["frames"] = " < ".join(reversed(_frames(found.__traceback__)))
    return event


def _frames(traceback: TracebackType | None) -> list[str]:
    frames = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        module = traceback.tb_frame.f_globals.get("__name__", "?")
        frames.append(f"{module}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return frames[-_FRAMES:]


class _Repeats:
    """Leaves out warnings, and what anybody can cause, that come too often; the next one says how many it were."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: OrderedDict[tuple[str, ...], tuple[float, int]] = OrderedDict()

    def __call__(self, _logger: Any, method: str, event: _Event) -> _Event:
        if method in ("debug", "info") and event["event"] not in _ANYBODYS:
            return event
        with self._lock:
            left_out = self._count(tuple(str(event.get(name, "")) for name in _SAME))
        if left_out:
            event["suppressed"] = left_out
        return event

    def _count(self, kind: tuple[str, ...]) -> int:
        """Count one more and return how many were left out before it; raises DropEvent when it is one too many."""
        now = self._clock()
        while self._kinds and now - next(iter(self._kinds.values()))[0] >= 2 * REPEAT_WINDOW:
            self._kinds.popitem(last=False)
        left_out = 0
        if kind in self._kinds or len(self._kinds) < _MOST_KINDS:
            left_out = self._enter(kind, REPEATS, now)
        return left_out + self._enter(kind[:1], MOST_OF_EVENT, now)

    def _enter(self, kind: tuple[str, ...], most: int, now: float) -> int:
        since, count = self._kinds.get(kind, (now, 0))
        left_out = 0
        if now - since >= REPEAT_WINDOW:
            left_out = max(0, count - most)
            since, count = now, 0
            self._kinds.pop(kind)
        self._kinds[kind] = since, count + 1
        if count >= most:
            raise structlog.DropEvent
        return left_out


def _gate(_logger: Any, _method: str, event: _Event) -> _Event:
    """Let through the allowed keys alone, each value short, flat and printable."""
    line: dict[str, Any] = {key: _value(key, event[key]) for key in _FIRST if key in event}
    dropped = 0
    for key, value in event.items():
        if key not in KEYS:
            dropped += 1
        elif key not in line:
            line[key] = _value(key, value)
    if dropped:
        line["dropped_keys"] = dropped
    return line


def _value(key: str, value: Any) -> Any:
    if type(value) is str:
        return _text(key, value)
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple | set | frozenset) and key != "event":
        return _printable(", ".join(str(_value(key, entry)) for entry in value))
    if isinstance(value, date | datetime):
        return value.isoformat()
    if not isinstance(value, str | Path):
        return f"({type(value).__name__})"  # its text could hold anything
    return _text(key, str(value))


def _text(key: str, text: str) -> str:
    if key == "event":
        return text if _EVENT.fullmatch(text) else "log.free_text"
    if key.endswith("_uid"):
        return text if not text or _UID.fullmatch(text) else "(not a UID)"
    return _printable(text)


def _printable(text: str) -> str:
    """Escape what could end a line or steer a terminal, and cut what is too long."""
    if len(text) <= LONGEST and text.isprintable():
        return text
    flat = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text[:LONGEST])
    return flat if len(text) <= LONGEST and len(flat) <= LONGEST else flat[: LONGEST - 1] + "…"


class _LibraryHandler(logging.Handler):
    """Turns a library's message into where it came from; its text may quote a data set."""

    def emit(self, record: logging.LogRecord) -> None:
        log = get_logger(record.name)
        write = log.error if record.levelno >= logging.ERROR else log.warning
        exception = record.exc_info[1] if record.exc_info else None
        write("library.warning", source=f"{record.filename}:{record.lineno}", exc_info=exception)


def _take_over_libraries() -> None:
    """Route every message of the standard library's logging, and every Python warning, through the gate."""
    root = logging.getLogger()
    for handler in [*root.handlers]:
        if isinstance(handler, _LibraryHandler):
            root.removeHandler(handler)
    root.addHandler(_LibraryHandler())
    root.setLevel(logging.WARNING)
    warnings.showwarning = _warned


def _warned(  # noqa: PLR0917 - the signature of warnings.showwarning
    message: Warning | str,  # noqa: ARG001 - as above
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - as above
    line: str | None = None,  # noqa: ARG001 - as above
) -> None:
    source = f"{Path(filename).name}:{lineno}"
    get_logger("py.warnings").warning("library.warning", raised=category.__name__, source=source)


def _thread_failed(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:
        get_logger(__name__).error("thread.failed", exc_info=args.exc_value)


def _unraisable(args: Any) -> None:
    get_logger(__name__).error("cleanup.failed", exc_info=args.exc_value)


_in_force: tuple[Level, Format] = "warning", "auto"
# Until a command configures it, only warnings are written: the gate stands from the first import on.
_configure("warning", "auto", None, os.environ)
