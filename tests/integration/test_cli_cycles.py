"""``dicom-node cycles``, what it makes of standings, and what is left of it after a rebuild."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Commands
from tests.factories import make_mg
from tests.sites import opened_site, receive_all

PRONE: dict[str, Any] = {"serial": "PT-4471", "station": "PRONE"}


def opened(commands: Commands, *words: str) -> str:
    """Open a cycle and return its id."""
    return commands.good("cycles", "open", *words).out.split(":")[0]


def clinical(commands: Commands) -> tuple[str, str | None, int | None]:
    """Return state, cutoff and days left of the prone table's clinical portion."""
    found = commands.json("status", "--unit", "prone1")["units"][0]["portions"][0]
    return found["state"], found["cutoff"], found["days_left"]


def test_a_cycle_is_opened_renewed_marked_and_closed_and_the_clock_follows(site: Path, commands: Commands) -> None:
    with opened_site(site) as stores:
        receive_all(stores, (make_mg(**PRONE, day=date(2026, 9, 14)), "PRONE_RM2"))
    ageing = ("ok", "2027-03-14", 111)
    assert clinical(commands) == ageing
    called = commands.good("cycles", "open", "--expires", "2027-06-30", "--by", "admin")
    of = called.out.split(":")[0]
    assert called.lines == [
        f"{of}: cycle of main, expires on 2027-06-30: open",
        "3 units without a package of this cycle: prone1, upright_a, upright_b",
    ]
    lines = commands.good("cycles", "renew", of, "--date", "2027-03-15", "--planned").lines
    assert [line.split(",")[0] for line in lines] == [
        f"{unit}: recorded" for unit in ("prone1", "upright_a", "upright_b")
    ]
    assert lines[0].endswith(": testing package of 2027-03-15: planned (version 1)")
    assert clinical(commands) == ageing
    assert (
        commands.json("status", "--unit", "prone1")["units"][0]["portions"][0]["package"]["counts_for_planned"] is False
    )

    lines = commands.good("cycles", "renew", of, "--date", "2026-09-13", "--due", "2026-12-20", "--note", "mail").lines
    assert lines[0].endswith(": testing package of 2026-09-13, due on 2026-12-20: recorded (version 2)")
    assert clinical(commands) == ("secured", None, None)
    assert commands.json("status", "--unit", "upright_a")["units"][0]["cutoff"] == "2026-12-20"
    told = commands.json("cycles", "show", of)
    assert list(told) == [
        "id", "facility", "expires_on", "state", "units", "lacking", "unit_added_today", "version", "note",
        "changed_by", "changed_at", "versions",
    ]  # fmt: skip
    assert (told["state"], told["lacking"], told["unit_added_today"]) == ("released", [], "early renewal")
    assert list(told["units"][0]) == ["unit", "package", "released_on", "due_on", "due", "state"]

    commands.good("cycles", "mark", of, "submitted", "--by", "lead")
    assert clinical(commands) == ("secured", None, None)
    assert commands.json("status", "--unit", "upright_a")["units"][0]["state"] == "ok"
    assert commands("cycles", "close", of).err.startswith(f"error: cycle {of} cannot be closed yet: ")
    commands.good("cycles", "mark", of, "passed")
    assert commands.good("cycles", "close", of, "--note", "done").lines == [
        f"{of}: cycle of main, expires on 2027-06-30: closed",
        "What was out ages no more until the next cycle is open: dicom-node cycles open --expires DAY",
    ]
    assert clinical(commands)[0] == "secured"
    following = opened(commands, "--expires", "2030-06-30")
    assert clinical(commands) == ageing
    text = " ".join(commands.good("eligibility", "explain", "prone1", "--portion", "clinical").out.split())
    assert "No release date is recorded for the next testing package of Prone table, room 2" in text

    shown = {each: commands.json("cycles", "show", each) for each in (of, following)}
    listed, history = commands.json("cycles", "list"), commands.json("release", "list", "--history")
    assert [(each["id"], each["state"], len(each["units"])) for each in listed] == [
        (following, "open", 3),
        (of, "closed", 3),
    ]
    assert {each["cycle"] for each in history} == {of}
    commands.good("rebuild", "--yes")
    assert {each: commands.json("cycles", "show", each) for each in (of, following)} == shown
    assert commands.json("cycles", "list") == listed
    assert commands.json("release", "list", "--history") == history
    trail = commands.json("audit", "list")
    kept = [each for each in trail if each["event"] == "entry.kept"]
    assert {each["by"] for each in kept} >= {"admin"}
    assert [each.get("reason") for each in kept] == [None, "done", None]
    changed = [each for each in trail if each["event"] == "release.recorded"]
    assert {(each["version"], each.get("reason")) for each in changed} == {(1, None), (2, "mail"), (3, None), (4, None)}
    assert {each["release"] for each in changed} == {each["id"] for each in history}
    assert not any(b"mail" in each.read_bytes() for each in (site.parent / "data" / "audit").glob("*.jsonl"))


def test_people_read_which_unit_has_what_and_what_an_added_unit_means(site: Path, commands: Commands) -> None:
    of = opened(commands, "--expires", "2028-03-31")
    lines = commands.good("cycles", "addendum", of, "prone1", "--date", "2026-11-20", "--by", "lead").lines
    package = lines[0].split(", ")[1].split(":")[0]
    assert lines == [
        f"prone1: recorded, {package}: testing package of 2026-11-20: recorded (version 1)",
        f"It is an addendum to cycle {of} and inherits its expiry, 2028-03-31.",
    ]
    lines = commands.good("cycles", "show", of).lines
    assert lines[:2] == [
        f"{of}: cycle of main, expires on 2028-03-31: open",
        "2 units without a package of this cycle: upright_a, upright_b",
    ]
    assert [line.split() for line in lines[3:6]] == [
        ["prone1", package, "2026-11-20", "2027-01-04", "*", "recorded"],
        ["upright_a", "-", "-", "-", "lacks", "a", "package"],
        ["upright_b", "-", "-", "-", "lacks", "a", "package"],
    ]
    assert lines[6:8] == [
        "*: computed, no due date is printed in the package",
        "A unit added before 2027-02-28 (13 months before the expiry) is an addendum and inherits it.",
    ]
    commands.good("cycles", "amend", of, "--expires", "2027-03-31", "--note", "read \x1b[2J the letter again")
    called = commands.good("cycles", "show", of)
    assert (
        "A unit added since 2026-02-28 (13 months before the expiry) means early renewal of all units." in called.lines
    )
    assert "\\x1b[2J" in called.lines[-1]
    assert [each["expires_on"] for each in commands.json("cycles", "show", of)["versions"]] == [
        "2028-03-31",
        "2027-03-31",
    ]
    assert commands.good("cycles", "list").lines[1].split()[:6] == [of, "main", "2027-03-31", "open", "3", "1"]


def test_a_package_belongs_to_the_open_cycle_unless_told_otherwise(site: Path, commands: Commands) -> None:
    lines = commands.good("release", "record", "prone1", "--date", "2026-10-01").lines
    first = lines[0].split(":")[0]
    assert lines[-1] == "It belongs to no accreditation cycle: dicom-node cycles list"
    of = opened(commands)
    lines = commands.good("release", "record", "upright_a", "--date", "2026-11-20", "--due", "2027-01-04").lines
    assert lines[0].endswith(f": testing package of upright_a, 2026-11-20, due on 2027-01-04: recorded, in cycle {of}")
    assert len(lines) == 2
    commands.good("release", "amend", first, "--cycle", of)
    assert {each["unit"]: each["cycle"] for each in commands.json("release", "list")} == {"prone1": of, "upright_a": of}
    assert [line.split()[5] for line in commands.good("release", "list").lines] == ["Cycle", of, of]
    assert commands.good("cycles", "show", of).lines[0] == f"{of}: cycle of main, first accreditation: open"
    assert "A unit added now is accredited together with the others." in commands.good("cycles", "show", of).lines


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("open",), 1, "is open: close it before you open the next"),
        (("open", "--facility", "elsewhere"), 1, "there is no facility 'elsewhere'; there are main"),
        (("open", "--expires", "2062-01-01"), 1, "is open: close it"),
        (("open", "--expires", "20291130"), 2, "'20291130' is no day; write YYYY-MM-DD"),
        (("open", "--expires", "2029-W10-1"), 2, "'2029-W10-1' is no day; write YYYY-MM-DD"),
        (("amend", "ID", "--note", "x", "--by", " "), 2, "say who decides, or leave it out for your login name"),
        (("amend", "ID"), 2, "nothing to change; give --expires or --note"),
        (("amend", "ID", "--expires", "2062-01-01"), 1, "2062-01-01 is not plausible"),
        (("show", "c9"), 1, "there is no cycle 'c9'; see: dicom-node cycles list"),
        (("renew", "c9", "--date", "2026-11-20"), 1, "there is no cycle 'c9'"),
        (("renew", "ID", "--date", "2026-11-24"), 1, "is in the future: record the package as planned"),
        (("renew", "ID", "--date", "2026-11-22", "--planned"), 1, "2026-11-22 is past"),
        (("renew", "ID", "--date", "2026-11-22", "--due", "2026-11-01"), 1, "cannot be due before it is released"),
        (("mark", "ID", "passed"), 1, "can be marked passed: prone1: it has no package in this cycle; upright_a: "),
        (("mark", "ID", "passed", "--unit", "nowhere"), 1, "nowhere: it has no package in this cycle"),
        (("mark", "ID", "closed"), 2, "'closed' is not one of"),
    ],
)
def test_what_does_not_fit_is_told_and_changes_nothing(
    site: Path, commands: Commands, words: tuple[str, ...], code: int, told: str
) -> None:
    of = opened(commands)
    before = commands.json("cycles", "list")
    called = commands("cycles", *(of if word == "ID" else word for word in words))
    assert (called.code, called.out, told in called.err) == (code, "", True), called.err
    assert commands.json("cycles", "list") == before
    assert commands.json("release", "list") == []


def test_an_unknown_cycle_of_a_package_is_told(site: Path, commands: Commands) -> None:
    called = commands("release", "record", "prone1", "--date", "2026-11-20", "--cycle", "c9")
    assert (called.code, "there is no cycle 'c9'" in called.err) == (1, True)
