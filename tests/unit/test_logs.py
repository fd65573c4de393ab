import ast
import io
import json
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pynetdicom import _config

from dicom_node import logs
from dicom_node.errors import StorageUnavailableError

PLANTED = "SYNTH^PLANTED"


pytestmark = pytest.mark.usefixtures("logs_as_they_were")


def written(form: logs.Format = "json", level: logs.Level = "debug", **environ: str) -> io.StringIO:
    stream = io.StringIO()
    logs.configure(level=level, form=form, stream=stream, environ=environ)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_of_json_with_its_time_in_utc() -> None:
    stream = written()
    logs.get_logger("dicom_node.test").info("instance.stored", unit="prone1", bytes=7, study_uid="1.2.3")
    (line,) = lines(stream)
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo == UTC
    assert line == {
        "level": "info",
        "event": "instance.stored",
        "logger": "dicom_node.test",
        "unit": "prone1",
        "bytes": 7,
        "study_uid": "1.2.3",
    }


def test_keys_that_are_not_on_the_list_are_left_out_and_counted() -> None:
    stream = written()
    structlog.contextvars.bind_contextvars(patient_name=PLANTED, assoc_id=3)
    logs.get_logger("x").bind(patient_id=PLANTED).info("instance.stored", accession_number=PLANTED)
    (line,) = lines(stream)
    assert (line["dropped_keys"], line["assoc_id"]) == (3, 3)
    assert PLANTED not in stream.getvalue()


def decode() -> None:
    patient_name = PLANTED
    raise ValueError(f"cannot decode {patient_name}")


def raise_with_names() -> None:
    try:
        decode()
    except ValueError as error:
        raise StorageUnavailableError("the archive is full") from error


def named_dataset() -> Dataset:
    ds = Dataset()
    ds.PatientName = PLANTED
    return ds


def leak_by_key() -> None:
    logs.get_logger("x").warning("instance.stored", patient=PLANTED)


def leak_by_event() -> None:
    logs.get_logger("x").warning(f"stored {PLANTED}")


def leak_by_arguments() -> None:
    logs.get_logger("x").warning("stored %s", PLANTED)


def leak_by_object() -> None:
    logs.get_logger("x").warning("instance.stored", reason=named_dataset(), unit=[named_dataset()])


def leak_by_uid() -> None:
    logs.get_logger("x").warning("instance.stored", study_uid=PLANTED, sop_uid=PLANTED)


def leak_by_exception() -> None:
    try:
        raise_with_names()
    except StorageUnavailableError:
        logs.get_logger("x").exception("instance.failed")


def leak_by_thread() -> None:
    thread = threading.Thread(target=raise_with_names)
    thread.start()
    thread.join()


class Unclean:
    def __del__(self) -> None:
        raise ValueError(PLANTED)


def leak_by_cleanup() -> None:
    Unclean()


def leak_by_library() -> None:
    logging.getLogger("pydicom").warning("unknown value %s", PLANTED)
    try:
        decode()
    except ValueError:
        logging.getLogger("apscheduler.executors").exception("job raised %s", PLANTED)


def leak_by_warning() -> None:
    warnings.warn(f"invalid value {PLANTED}", stacklevel=1)


def leak_by_pydicom() -> None:
    ds = Dataset()
    ds.StudyDate = PLANTED  # pydicom quotes the value in its warning


def leak_by_debugging() -> None:
    logging.getLogger("pynetdicom.service_class").info("Find SCP Request Identifier: %s", PLANTED)


LEAKS = [value for name, value in [*globals().items()] if name.startswith("leak_by_")]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("form", ["json", "logfmt", "console"])
@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
def test_no_patient_name_gets_into_a_log(leak: Callable[[], None], form: logs.Format) -> None:
    stream = written(form)
    leak()
    logs.get_logger("x").info("probe.after")
    told = stream.getvalue()
    assert "PLANTED" not in told
    assert told.splitlines()[-1].find("probe.after") >= 0
    assert (len(told.splitlines()) > 1) == (leak is not leak_by_debugging)


def test_an_exception_is_told_by_its_classes_our_own_sentence_and_its_frames() -> None:
    stream = written()
    leak_by_exception()
    (line,) = lines(stream)
    assert line["raised"] == "StorageUnavailableError < ValueError"
    assert line["reason"] == "the archive is full"
    assert line["frames"].startswith("tests.unit.test_logs:")
    assert line["frames"].split(" < ")[0].endswith(" raise_with_names")


def test_an_error_of_the_system_is_told_by_its_number() -> None:
    stream = written()
    try:
        Path(f"/{PLANTED}").read_bytes()
    except OSError as error:
        logs.get_logger("x").error("object.failed", exc_info=error)
    assert lines(stream)[0]["raised"] == "FileNotFoundError(ENOENT)"


def test_a_reason_that_is_given_is_not_replaced() -> None:
    stream = written()
    logs.get_logger("x").error("object.failed", reason="given", exc_info=StorageUnavailableError("its own"))
    assert lines(stream)[0]["reason"] == "given"


@pytest.mark.parametrize("form", ["json", "logfmt", "console"])
@given(text=st.text())
def test_an_event_is_one_line_whatever_a_peer_sends(form: logs.Format, text: str) -> None:
    stream = written(form)
    logs.get_logger("x").info("association.accepted", calling_ae=text, reason=text + "\n2026 forged=1\x1b[2J\r\u2028x")
    told = stream.getvalue()
    assert len(told.splitlines()) == 1
    assert all(char.isprintable() for char in told[:-1])


@pytest.mark.parametrize("size", [0, 299, 300, 301, 10_000])
def test_a_value_has_at_most_300_characters(size: int) -> None:
    stream = written()
    logs.get_logger("x").info("association.accepted", reason="r" * size, calling_ae="\n" * size)
    (line,) = lines(stream)
    assert len(line["reason"]) == min(size, logs.LONGEST)
    assert len(line["calling_ae"]) <= logs.LONGEST
    assert line["reason"].endswith("…") == (size > logs.LONGEST)


def test_events_below_the_level_are_not_written() -> None:
    stream = written(level="warning")
    log = logs.get_logger("x")
    log.debug("a.debug")
    log.info("a.info")
    log.warning("a.warning")
    assert [line["event"] for line in lines(stream)] == ["a.warning"]


def test_libraries_are_heard_from_warning_on_by_name_and_place_alone() -> None:
    stream = written()
    logging.getLogger("sqlalchemy.pool").info("info")
    logging.getLogger("sqlalchemy.pool").error("text")
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["logger"]) == ("library.warning", "error", "sqlalchemy.pool")
    assert line["source"].startswith("test_logs.py:")


def test_configuring_again_does_not_write_twice() -> None:
    written()
    stream = written()
    logging.getLogger("pydicom").warning("text")
    assert len(lines(stream)) == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "is_json"),
    [
        (io.StringIO, {}, True),
        (Terminal, {}, False),
        (Terminal, {"JOURNAL_STREAM": "8:1"}, True),
        (Terminal, {"INVOCATION_ID": "1"}, True),
    ],
)
def test_a_terminal_gets_text_and_a_service_manager_json(
    stream: type[io.StringIO], environ: dict[str, str], is_json: bool
) -> None:
    out = stream()
    logs.configure(stream=out, environ=environ)
    logs.get_logger("x").info("node.started")
    assert out.getvalue().startswith("{") == is_json


@pytest.mark.parametrize(
    ("stream", "environ", "coloured"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (io.StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colour_is_for_terminals_and_who_asks(stream: io.StringIO, environ: dict[str, str], coloured: bool) -> None:
    assert logs.wants_colour(stream, environ) == coloured


def test_logfmt_is_keys_and_values() -> None:
    stream = written("logfmt")
    logs.get_logger("x").info("instance.stored", unit="prone1", reason="two words")
    assert stream.getvalue().endswith('level=info event=instance.stored logger=x unit=prone1 reason="two words"\n')


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def let_through(repeats: Any, **event: Any) -> int | None:
    """Return the count of those left out before when the event is written, None when it is left out."""
    try:
        return int(repeats(None, "warning", {"event": "association.rejected", **event}).get("suppressed", 0))
    except structlog.DropEvent:
        return None


def test_equal_warnings_are_written_20_times_a_minute_and_then_counted() -> None:
    clock = Clock()
    repeats = logs._Repeats(clock)
    told = [let_through(repeats, peer="10.0.0.1", calling_ae=f"X{number}") for number in range(50)]
    assert told == [0] * 20 + [None] * 30
    assert let_through(repeats, peer="10.0.0.2") == 0
    clock.now += 60
    assert let_through(repeats, peer="10.0.0.1") == 30
    assert let_through(repeats, peer="10.0.0.1") == 0


def test_information_is_never_left_out() -> None:
    repeats = logs._Repeats(Clock())
    assert all(repeats(None, "info", {"event": "instance.stored"}) for _ in range(100))


def test_information_that_anybody_can_cause_is_limited_as_warnings_are() -> None:
    stream = written()
    log = logs.get_logger("x")
    for number in range(3000):
        log.info("connection.dropped", peer=f"10.0.{number % 250}.1")
    assert len(lines(stream)) == 400


def test_warnings_about_ever_new_peers_are_limited_too() -> None:
    clock = Clock()
    repeats = logs._Repeats(clock)
    told = [let_through(repeats, peer=str(number)) for number in range(5000)]
    assert sum(count is not None for count in told) == 400
    assert len(repeats._kinds) <= 1001
    clock.now += 60
    assert let_through(repeats, peer="new") == 4600
    clock.now += 120
    assert let_through(repeats, peer="new") is not None
    assert len(repeats._kinds) == 2


def test_a_log_that_cannot_be_written_does_not_stop_the_work() -> None:
    stream = written()
    stream.close()
    logs.get_logger("x").info("instance.stored")


def test_pynetdicom_is_told_to_be_silent() -> None:
    logs.silence_pynetdicom()
    assert (_config.LOG_HANDLER_LEVEL, _config.LOG_REQUEST_IDENTIFIERS, _config.LOG_RESPONSE_IDENTIFIERS) == (
        "none",
        False,
        False,
    )


def logged_keys() -> Iterator[tuple[str, str]]:
    """Give place and key of every keyword that the program passes to a logger."""
    methods = {"debug", "info", "warning", "error", "critical", "exception", "bind"}
    package = Path(logs.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in methods:
                owner = node.func.value
                name = (
                    owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
                )
                if name in ("log", "_log"):
                    for keyword in node.keywords:
                        if keyword.arg:
                            yield f"{path.relative_to(package)}:{node.lineno}", keyword.arg


def test_every_key_the_program_logs_is_on_the_list() -> None:
    assert [place for place in logged_keys() if place[1] not in {*logs.KEYS, "exc_info"}] == []
