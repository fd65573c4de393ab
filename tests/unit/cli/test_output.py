import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dicom_node.cli.output import Cell, jsonable, local, printable, write_json, write_table


class State(StrEnum):
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Row:
    unit: str
    state: State
    newest: date | None
    at: datetime


def test_json_has_utc_times_dates_and_stable_keys(capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime(2026, 11, 23, 14, 5, 6, 789, tzinfo=timezone(timedelta(hours=-6)))
    write_json({"rows": (Row("prone1", State.OK, date(2026, 9, 14), at),), "set": {"b", "a"}, "path": Path("x")})
    assert json.loads(capsys.readouterr().out) == {
        "rows": [{"unit": "prone1", "state": "ok", "newest": "2026-09-14", "at": "2026-11-23T20:05:06Z"}],
        "set": ["a", "b"],
        "path": "x",
    }


def test_what_has_no_json_form_is_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError, match="object has no JSON form"):
        jsonable(object())


def test_a_table_is_columns_when_it_goes_to_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(
        ["Unit", "State", "Days left"],
        [["prone1", Cell("ok", "green"), 111], ["upright_a", Cell("lapsed", "bold red"), -3], ["upright_b", None, "-"]],
    )
    assert capsys.readouterr().out.splitlines() == [
        "Unit       State   Days left",
        "prone1     ok            111",
        "upright_a  lapsed         -3",
        "upright_b                  -",
    ]


def test_a_table_without_rows_is_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(["Unit", "State"], [])
    assert capsys.readouterr().out == "Unit  State\n"


def test_a_terminal_gets_colours(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    write_table(["State"], [[Cell("lapsed", "bold red")]])
    assert "\x1b[1;31mlapsed" in capsys.readouterr().out


@pytest.mark.parametrize("forced", ["", "1"])
def test_nothing_of_a_peer_steers_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, forced: str
) -> None:
    monkeypatch.setenv("FORCE_COLOR", forced)
    monkeypatch.setenv("NO_COLOR", "")
    write_table(["AE"], [["X\x1b[2J\n[red]Y"], [Cell("Z\x07")]])
    out = capsys.readouterr().out
    assert r"X\x1b[2J\x0a[red]Y" in out
    assert r"Z\x07" in out
    assert "\x1b[2J" not in out


def test_printable_text_stays_as_it_is() -> None:
    assert printable("Gerät 山田") == "Gerät 山田"


def test_people_read_the_time_of_their_zone() -> None:
    assert local(datetime(2026, 11, 23, 20, 5, tzinfo=UTC), ZoneInfo("America/Chicago")) == "2026-11-23 14:05 CST"
    assert local(None, ZoneInfo("America/Chicago")) == ""
