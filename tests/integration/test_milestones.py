"""Milestones of accreditation cycles on a real index: found, told, ended; and what the commands show of them."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from dicom_node.accreditation.standing import ReleaseState
from dicom_node.accreditation.units import OWN_FACILITY
from dicom_node.alerts.notice import AlertKind
from dicom_node.index import entries, releases
from dicom_node.index.engine import Index
from dicom_node.index.entries import Entry, EntryKind
from dicom_node.index.releases import ReleaseVersion
from dicom_node.services.dispatch import Dispatcher
from dicom_node.services.found import of_site
from dicom_node.services.policies import accept_first
from dicom_node.services.review import review
from tests.alerting import SITE, FakeChannel, FakeClock, make_rules, make_unit, morning
from tests.commands import Commands
from tests.sites import START, opened_site, write_site

EXPIRY = date(2027, 9, 30)  # application due 2027-03-30, notice 2027-01-30, cases from 2026-09-30
RULES = make_rules(make_unit("prone1", "Prone"), make_unit("upright_a", "Upright"))
DAY = timedelta(days=1)


def put_cycle(
    index: Index, *, version: int = 1, closed: bool = False, cycle_id: str = "c1", ends: date = EXPIRY
) -> None:
    entry = Entry(
        kind=EntryKind.CYCLE, id=cycle_id, version=version, unit_id="", note="",
        data={"facility": OWN_FACILITY, "expires_on": ends.isoformat(), "closed": closed},
        changed_by="A", changed_at=START,
    )  # fmt: skip
    with index.write() as conn:
        assert entries.insert(conn, entry)


def put_packages(index: Index, state: ReleaseState, on: date, version: int = 1) -> None:
    with index.write() as conn:
        for unit in RULES.registry.units:
            release = ReleaseVersion(
                id=f"r-{unit}", version=version, unit_id=unit, released_on=on, due_on=None, state=state,
                cycle_id="c1", changed_by="A", changed_at=START,
            )  # fmt: skip
            assert releases.insert(conn, release)


def found(index: Index, today: date) -> dict[str, Any]:
    with index.read() as conn:
        several = [each for each in of_site(conn, RULES, today) if each.kind is AlertKind.MILESTONE]
    assert all(each.unit_id == "" for each in several)
    return {each.details["milestone"]: each for each in several}


def test_each_milestone_is_found_from_its_first_rung_until_what_is_recorded_ends_it(index: Index) -> None:
    put_cycle(index)
    assert found(index, date(2026, 7, 31)) == {}
    assert set(found(index, date(2026, 8, 1))) == {"collect"}
    assert set(found(index, date(2027, 2, 1))) == {"collect", "notice", "application"}
    late = found(index, date(2027, 4, 6))
    assert set(late) == {"collect", "application"}
    assert late["application"].details["state"] == "lapsed"
    assert late["application"].stage == "2027-03-31 past-w0"
    put_packages(index, ReleaseState.PLANNED, date(2027, 6, 10))
    moved = found(index, date(2027, 4, 6))
    assert moved["collect"].details["day"] == "2026-12-10"
    assert moved["collect"].key != late["collect"].key
    put_packages(index, ReleaseState.RECORDED, date(2027, 6, 10), version=2)
    assert found(index, date(2027, 6, 11)) == {}
    assert set(found(index, date(2027, 10, 1))) == {"expiry"}
    put_packages(index, ReleaseState.PASSED, date(2027, 6, 10), version=3)
    assert found(index, EXPIRY - DAY) == {}
    assert found(index, EXPIRY)["expiry"].details["has_passed"] is True
    put_cycle(index, cycle_id="c2", ends=date(2030, 9, 30))
    assert found(index, EXPIRY) == {}


def test_a_closed_cycle_is_silent(index: Index) -> None:
    put_cycle(index)
    assert found(index, EXPIRY)
    put_cycle(index, version=2, closed=True)
    assert found(index, EXPIRY) == {}


def test_from_a_year_before_the_expiry_people_are_told_once_a_rung_and_of_the_end(sqlite_index: Index) -> None:
    channel, clock = FakeChannel(), FakeClock(START)
    dispatcher = Dispatcher(
        sqlite_index, [channel], site=SITE, labels={}, recheck=lambda _: None, ahead=RULES.ahead, clock=clock
    )
    put_cycle(sqlite_index)
    told: list[tuple[str, str]] = []
    texts: dict[str, str] = {}

    def days(first: date, last: date, digest: str = "off") -> None:
        for number in range((last - first).days + 1):
            clock.now = morning(first + number * DAY)
            units = None if digest != "off" else [""]
            review(sqlite_index, RULES, [channel], today=clock().date(), now=clock(), unit_ids=units, digest=digest)
            dispatcher.run()
            ours = [sent for sent, _ in channel.sent if sent.unit_id == ""]
            told.extend((str(clock().date()), sent.kind) for sent in ours)
            texts.update({sent.kind: " ".join(sent.text.split()) for sent in ours})
            channel.sent.clear()

    days(date(2026, 7, 28), date(2026, 10, 2))
    days(date(2026, 11, 30), date(2027, 4, 15))
    assert {kind for _, kind in told} == {"firing"}  # the end of the notice is told beside the application
    collect = ["2026-08-01", "2026-08-31", "2026-09-16", "2026-09-23", "2026-09-29", "2026-09-30"]
    notice = ["2026-12-01", "2026-12-31", "2027-01-16", "2027-01-23", "2027-01-29", "2027-01-30"]
    application = ["2027-01-29", "2027-02-28", "2027-03-16", "2027-03-23", "2027-03-29", "2027-03-30"]
    weekly = ["2027-03-31", "2027-04-07", "2027-04-14"]
    assert [day for day, _ in told] == sorted({*collect, *notice, *application, *weekly})
    assert "Rule acr-sbb-2023-03-03: the application is due 60 calendar days" in texts["firing"]
    assert "dicom-node cycles renew c1 --date YYYY-MM-DD" in texts["firing"]

    told.clear()
    put_packages(sqlite_index, ReleaseState.RECORDED, date(2027, 4, 20))
    days(date(2027, 4, 21), date(2027, 4, 26), digest="weekly")
    assert [kind for _, kind in told if kind != "digest"] == ["resolved"]
    assert "by rule acr-sbb-2023-03-03" in texts["resolved"].lower()
    assert "Accreditation cycle c1, released: accreditation ends 2027-09-30" in texts["digest"]
    put_cycle(sqlite_index, version=2, closed=True)
    days(date(2027, 5, 3), date(2027, 5, 3), digest="weekly")
    assert "No accreditation cycle is open" in texts["digest"]


OWN = """
[accreditation.remind]
milestones = [90, 10]
[accreditation.milestones]
notice_months = 9
"""


@pytest.fixture
def kept(site: Path) -> Path:
    """The facility with numbers of its own and a cycle."""
    write_site(site.parent, more=OWN)
    with opened_site(site) as stores:
        put_cycle(stores.index, ends=date(2027, 8, 31))
    return site


def test_status_plan_preview_and_policies_show_them(kept: Path, commands: Commands) -> None:
    told = commands.json("status")
    (cycle,) = told["cycles"]
    assert (cycle["cycle"], cycle["state"], cycle["expires_on"], told["next_cycle_missing"]) == (
        "c1", "open", "2027-08-31", False,
    )  # fmt: skip
    assert [(each["kind"], each["day"], each["state"]) for each in cycle["milestones"]] == [
        ("collect", "2026-07-29", "past"),
        ("notice", "2026-11-30", "ahead"),
        ("application", "2027-01-29", "ahead"),
        ("expiry", "2027-08-31", "ahead"),
    ]
    assert cycle["milestones"][1]["arithmetic"] == "2027-08-31 minus 9 calendar months is 2026-11-30."
    lines = commands.good("status").lines
    (row,) = [line for line in lines if line.startswith("c1")]
    assert "about 2026-07-29 past" in row
    assert any("Renewal notice expected in 7 days (2026-11-30), cycle c1" in line for line in lines)

    plan = commands.json("eligibility", "plan")
    events = [event for month in plan["calendar"] for event in month["events"] if event["kind"] == "milestone"]
    assert [(event["day"], event["unit"]) for event in events] == [
        ("2026-11-30", ""), ("2027-01-29", ""), ("2027-08-31", ""),
    ]  # fmt: skip
    assert "  Mon 30  facility: renewal notice expected, cycle c1" in commands.good("eligibility", "plan").lines
    of_unit = commands.json("eligibility", "plan", "--unit", "prone1")
    assert not [e for month in of_unit["calendar"] for e in month["events"] if e["kind"] == "milestone"]

    (message,) = commands.json("alerts", "preview", "--on", "2027-01-19")
    assert "application for the renewal due in 10 days (2027-01-29)" in message["subject"]

    shown = commands.json("policies", "show", "acr-sbb-2026-01-14")
    assert shown["terms"]["notice_months"] == 9
    assert shown["term_sources"]["notice_months"].startswith("[accreditation.milestones]")
    assert shown["term_sources"]["testing_days"] == "ACR, Time Requirements, revised 2019-12-17"
    lines = commands.good("policies", "show", "acr-sbb-2023-03-03").lines
    assert "  testing days: 45 (ACR, Time Requirements, revised 2019-12-17)" in lines


def test_changed_numbers_wait_until_somebody_accepts_them(site: Path, commands: Commands) -> None:
    with opened_site(site) as stores:
        put_cycle(stores.index)
        accept_first(stores.site.rules.policy, stores.archive.journal, by="node", now=START)
    write_site(site.parent, more=OWN)

    def notice() -> str:
        return str(commands.json("status")["cycles"][0]["milestones"][1]["day"])

    assert (notice(), commands.json("status")["policy_not_accepted"]) == ("2027-01-30", "acr-sbb-2023-03-03")
    told = "notice months: 8 (ACR, Time Requirements, revised 2019-12-17) -> 9 ([accreditation.milestones]"
    assert told in commands.good("policies", "diff", "acr-sbb-2023-03-03").out
    commands.good("policies", "accept", "--yes", "--reason", "the ACR wrote", "--by", "Ann")
    assert (notice(), commands.json("status")["policy_not_accepted"]) == ("2026-12-30", None)
    write_site(site.parent)  # the journal has the source, too
    assert notice() == "2026-12-30"
    told = "notice months: 9 ([accreditation.milestones] of this site's configuration) -> 8 (ACR"
    assert told in commands.good("policies", "diff", "acr-sbb-2023-03-03").out


def test_status_says_when_the_next_cycle_is_missing(kept: Path, commands: Commands) -> None:
    with opened_site(kept) as stores:
        put_cycle(stores.index, version=2, closed=True, ends=date(2027, 8, 31))
    assert commands.json("status")["next_cycle_missing"] is True
    assert "dicom-node cycles open --expires DAY" in commands.good("status").out
