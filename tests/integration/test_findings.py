"""What is found of devices, hosts and units on which day, and what is not, on real databases."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from sqlalchemy import Connection, select, text

from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.units import (
    Assignment,
    Attachment,
    Condition,
    Enrolment,
    Identity,
    Registry,
    Rule,
    Sender,
    SenderRole,
    Unit,
    UnitKind,
)
from dicom_node.alerts.notice import AlertKind
from dicom_node.index import alerts, strangers
from dicom_node.index.engine import Index
from dicom_node.index.tables import message
from dicom_node.services.finding import Found
from dicom_node.services.found import Rules, whats_so
from dicom_node.services.review import review_settled
from tests.alerting import SITE, FakeChannel, add_exam, make_rules, review_on

OWN = {"sender": "UPRIGHT_A", "address": "10.20.30.21", "serial": "UA-1002", "station": "UPR-A"}
FROM_ADDON = {"sender": "ADDON_WS", "address": "10.20.30.30", "serial": "UA-1002"}
FROM_PACS = {"sender": "OLD_PACS", "address": "10.20.30.5", "serial": "UA-1002"}
IMPORTED = {"sender": "", "address": "", "serial": "UA-1002"}
TODAY = date(2026, 11, 10)


def make_host(letter: str, address: str, serial: str, **identity: str) -> Unit:
    sends = Identity(ae_title=f"UPRIGHT_{letter}", hosts=(ip_network(address),), device_serial=serial, **identity)
    name = f"upright_{letter.lower()}"
    return Unit(id=name, label=f"Upright {letter}", kind=UnitKind.UPRIGHT, identities=(sends,))


A = make_host("A", "10.20.30.21", "UA-1002", station_name="UPR-A")
B = make_host("B", "10.20.30.22", "UB-1003")
BOTH = (Assignment(unit="upright_a"), Assignment(unit="upright_b"))
ADDON = Attachment(
    id="addon1",
    label="Add-on",
    assignments=BOTH,
    identities=(Identity(ae_title="ADDON_WS", hosts=(ip_network("10.20.30.30"),)),),
)
PACS = Sender(
    id="pacs", role=SenderRole.ROUTER, identity=Identity(ae_title="OLD_PACS", hosts=(ip_network("10.20.30.5"),))
)


def rules_of(a: Unit = A, b: Unit = B, *, addon: Attachment = ADDON, rules: tuple[Rule, ...] = ()) -> Rules:
    registry = Registry(
        units={unit.id: unit for unit in (a, b)}, attachments={addon.id: addon}, senders={PACS.id: PACS}, rules=rules
    )
    return replace(make_rules(), registry=registry, zone=SITE.zone)


def noon(day: date, hour: int = 12) -> datetime:
    """Return noon, or another hour, of a day in the facility's zone."""
    return datetime.combine(day, time(hour), tzinfo=SITE.zone)


def sent(conn: Connection, days_ago: int, off: int = 0, hour: int = 12, **options: Any) -> str:
    """Have a mammogram received some days before TODAY, whose device wrote a day ``off`` days away from that."""
    received = TODAY - timedelta(days=days_ago)
    made = received + timedelta(days=off)
    values = {"portion": Portion.NEITHER, **OWN, **options}
    day = None if off > 1 else made
    return add_exam(conn, day, received_at=noon(received, hour), clock_day=made, **values)


class _Undone(Exception):
    """Takes back what a case wrote."""


@pytest.fixture
def found(index: Index) -> Callable[..., list[Found]]:
    """Return what is found of a kind when some rows are there, which are gone again afterwards."""

    def of(kind: AlertKind, rows: Callable[[Connection], object], rules: Rules, on: date = TODAY) -> list[Found]:
        result: list[Found] = []
        with contextlib.suppress(_Undone), index.write() as conn:
            rows(conn)
            so = whats_so(conn, rules, ["", *rules.registry.units], on)
            result += [each for of_unit in so.values() for each in of_unit.found if each.kind is kind]
            raise _Undone
        return result

    return of


Case = tuple[str, list[tuple[int, int, dict[str, Any]]], list[str]]

CLOCKS: list[Case] = [
    ("right", [(3, 0, {}), (1, 0, {})], []),
    ("a day ahead", [(3, 0, {}), (1, 1, {})], ["upright_a/UPRIGHT_A/ahead"]),
    ("a month ahead", [(3, 31, {})], ["upright_a/UPRIGHT_A/ahead"]),
    ("ahead, then right", [(3, 31, {}), (1, 0, {})], []),
    ("ahead, then sent the next morning", [(3, 31, {}), (1, -1, {})], []),
    ("begun after the device's midnight, received before ours", [(1, 1, {"hour": 23})], []),
    ("one behind", [(3, -30, {})], []),
    ("two behind", [(3, -30, {}), (2, -30, {})], ["upright_a/UPRIGHT_A/behind"]),
    ("a phantom and a biopsy behind", [(3, -2, {"portion": Portion.PHANTOM}), (2, -2, {"portion": Portion.CLINICAL})],
     ["upright_a/UPRIGHT_A/behind"]),
    ("behind, then right", [(3, -30, {}), (2, -30, {}), (0, 0, {})], []),
    ("late together", [(1, -3, {}), (1, -4, {}), (1, -5, {})], []),
    ("what waited for weeks, in order on two days", [(2, -30, {"hour": 8}), (2, -29, {"hour": 9}), (1, -29, {})], []),
    ("then behind, one study a day", [(3, -40, {}), (3, -38, {}), (2, -30, {}), (1, -30, {})],
     ["upright_a/UPRIGHT_A/behind"]),
    ("a router passes on what is old", [(3, -30, FROM_PACS), (2, -30, FROM_PACS)], []),
    ("a router passes on what is ahead", [(3, 31, FROM_PACS)], []),
    ("imported", [(3, -30, IMPORTED), (2, -30, IMPORTED), (1, 31, IMPORTED)], []),
    ("another device's call", [(3, 31, {"sender": "UPRIGHT_B", "address": "10.20.30.22"})], []),
    ("the workstation is ahead", [(3, 31, FROM_ADDON | {"portion": Portion.CLINICAL})], ["upright_a/ADDON_WS/ahead"]),
    ("the workstation is ahead, the unit right", [(3, 31, FROM_ADDON | {"portion": Portion.CLINICAL}), (1, 0, {})],
     ["upright_a/ADDON_WS/ahead"]),
    ("a router is right after", [(3, 31, {}), (1, 0, FROM_PACS)], ["upright_a/UPRIGHT_A/ahead"]),
    ("dated 1900", [(1, -46000, {})], []),
]  # fmt: skip


def test_a_clock_is_found_wrong_from_what_its_device_sends_itself(found: Callable[..., list[Found]]) -> None:
    for label, studies, expected in CLOCKS:

        def rows(conn: Connection, studies: list[tuple[int, int, dict[str, Any]]] = studies) -> None:
            for days_ago, off, options in studies:
                sent(conn, days_ago, off, **options)

        keys = [each.key.removeprefix("clock_drift/") for each in found(AlertKind.CLOCK_DRIFT, rows, rules_of())]
        assert keys == expected, label


def test_a_drift_tells_how_far_and_since_when(found: Callable[..., list[Found]]) -> None:
    def rows(conn: Connection) -> None:
        for days_ago in range(60, 8, -1):  # more than are looked through
            sent(conn, days_ago)
        for days_ago in (7, 6, 2):
            sent(conn, days_ago, -30)

    (each,) = found(AlertKind.CLOCK_DRIFT, rows, rules_of())
    assert each.details == {
        "state": "found", "sender": "UPRIGHT_A", "days": -30, "since": "2026-11-03", "last": "2026-11-08", "studies": 3,
    }  # fmt: skip


def test_a_clock_of_a_unit_outside_the_accreditation_is_nobodys_concern(found: Callable[..., list[Found]]) -> None:
    for a in (
        replace(A, applying=False),
        replace(A, retired_on=date(2026, 11, 9)),
        replace(A, enrolments=(Enrolment(last_day=date(2026, 11, 9)),)),
    ):
        assert found(AlertKind.CLOCK_DRIFT, lambda conn: sent(conn, 1, 31), rules_of(a)) == []


def test_exams_without_a_day_leave_the_clock_to_the_finding_that_is_about_it(
    found: Callable[..., list[Found]],
) -> None:
    def rows(conn: Connection) -> None:
        sent(conn, 1, 31, portion=Portion.CLINICAL, flags=["AcquisitionDate: more than a day after it was received"])

    (undated,) = found(AlertKind.UNDATED, rows, rules_of())
    assert undated.details["is_drifting"] is True
    imported = lambda conn: sent(conn, 1, 31, portion=Portion.CLINICAL, **IMPORTED)  # noqa: E731 - one case
    (undated,) = found(AlertKind.UNDATED, imported, rules_of())
    assert undated.details["is_drifting"] is False


def test_what_a_unit_sent_last_is_found_without_sorting(index: Index) -> None:
    newest = "SELECT id FROM exam WHERE unit_id = 'u' ORDER BY first_received_at DESC, id DESC LIMIT 1"
    with index.read() as conn:
        is_postgresql = conn.dialect.name == "postgresql"
        if is_postgresql:
            conn.execute(text("SET LOCAL enable_seqscan = off"))
            conn.execute(text("SET LOCAL enable_bitmapscan = off"))
        plan = str(conn.execute(text(f"EXPLAIN {'' if is_postgresql else 'QUERY PLAN '}{newest}")).all())
    assert "ix_exam_unit_id_first_received_at" in plan, plan
    assert "Sort" not in plan, plan
    assert "TEMP B-TREE" not in plan, plan


RENAMED = {"station": "ROOM4"}
RULE = Rule(name="room four", unit="upright_a", conditions=(Condition(name="StationName", folded="room4"),))
STATIONS: list[tuple[str, list[tuple[int, dict[str, Any]]], Rules, tuple[str, ...] | None]] = [
    ("as configured", [(3, {})], rules_of(), None),
    ("as configured, in another case", [(3, {"station": "upr-a"})], rules_of(), None),
    ("none", [(3, {}), (2, {"station": ""})], rules_of(), None),
    ("new", [(3, {}), (2, RENAMED)], rules_of(), ("UPR-A",)),
    ("new, first of all", [(2, RENAMED)], rules_of(), ("UPR-A",)),
    ("new, then old again", [(3, {}), (2, RENAMED), (1, {})], rules_of(), None),
    ("new, then passed on under the old", [(3, {}), (2, RENAMED), (1, FROM_PACS | {"station": "UPR-A"})], rules_of(),
     ("UPR-A",)),
    ("a router's", [(3, {}), (2, FROM_PACS | RENAMED)], rules_of(), None),
    ("a workstation's", [(3, {}), (2, FROM_ADDON | RENAMED)], rules_of(), None),
    ("an import's", [(3, {}), (2, IMPORTED | RENAMED)], rules_of(), None),
    ("another serial number's", [(3, {}), (2, RENAMED | {"serial": "UX-9"})], rules_of(), None),
    ("a rule names it", [(3, {}), (2, RENAMED)], rules_of(rules=(RULE,)), None),
    ("another unit's rule names it", [(3, {}), (2, RENAMED)], rules_of(rules=(replace(RULE, unit="upright_b"),)),
     ("UPR-A",)),
    ("configured now", [(3, {}), (2, RENAMED)],
     rules_of(make_host("A", "10.20.30.21", "UA-1002", station_name="ROOM4")), None),
]  # fmt: skip
NEVER_CONFIGURED = rules_of(make_host("A", "10.20.30.21", "UA-1002"))
STATIONS += [
    (f"not configured: {label}", rows, NEVER_CONFIGURED, old)
    for label, rows, old in (
        ("always the same", [(4, {}), (3, {})], None),
        ("new", [(4, {}), (3, RENAMED)], ("UPR-A",)),
        ("new, some time ago", [(4, {}), (3, RENAMED), (2, RENAMED), (1, RENAMED)], ("UPR-A",)),
        ("new, then old again", [(4, {}), (3, RENAMED), (2, {})], None),
        ("both in turn", [(4, {}), (3, RENAMED), (2, {}), (1, RENAMED)], None),
        ("an older one came by a router since", [(4, {}), (3, RENAMED), (2, FROM_PACS | {"station": "UPR-A"})],
         ("UPR-A",)),
        ("another one by a router before", [(4, FROM_PACS | {"station": "OLD"}), (3, RENAMED)], None),
    )
]  # fmt: skip


def test_a_station_name_is_new_against_the_configuration_or_else_the_index(found: Callable[..., list[Found]]) -> None:
    for label, studies, rules, old in STATIONS:

        def rows(conn: Connection, studies: list[tuple[int, dict[str, Any]]] = studies) -> None:
            for days_ago, options in studies:
                sent(conn, days_ago, **options)

        told = found(AlertKind.RENAMED_DEVICE, rows, rules)
        names = [(tuple(name["old"]), name["new"]) for each in told for name in each.details["names"]]
        assert names == ([] if old is None else [(old, "ROOM4")]), label


def test_images_under_another_title_from_the_units_own_address_are_of_a_renamed_unit(
    found: Callable[..., list[Found]],
) -> None:
    as_b = {"sender": "UPRIGHT_B"}
    for label, studies, is_found in [
        ("from its own address", [(3, {}), (2, as_b)], True),
        ("then as itself again", [(3, {}), (2, as_b), (1, {})], False),
        ("from the other's address, which passes it on", [(3, {}), (2, as_b | {"address": "10.20.30.22"})], False),
        ("from an address of neither", [(3, {}), (2, as_b | {"address": "10.20.30.99"})], False),
    ]:

        def rows(conn: Connection, studies: Any = studies) -> None:
            for days_ago, options in studies:
                sent(conn, days_ago, **options)

        told = [name for each in found(AlertKind.RENAMED_DEVICE, rows, rules_of()) for name in each.details["names"]]
        assert [name["new"] for name in told] == (["UPRIGHT_B"] if is_found else []), label
        assert not any(name["refused"] for name in told)


def test_what_came_under_the_title_that_the_configuration_had_before_is_no_new_name(
    found: Callable[..., list[Found]],
) -> None:
    def rows(conn: Connection) -> None:
        sent(conn, 3)
        strangers.note(conn, "10.20.30.21", "MAMMO_A", at=noon(TODAY), count=1)

    sends = Identity(ae_title="MAMMO_A", hosts=(ip_network("10.20.30.21"),), device_serial="UA-1002")
    assert found(AlertKind.RENAMED_DEVICE, rows, rules_of()) != []
    assert found(AlertKind.RENAMED_DEVICE, rows, rules_of(replace(A, identities=(sends,)))) == []


STRANGE: list[tuple[str, dict[str, Any], bool]] = [
    ("it called after the unit's last study", {}, True),
    ("the unit sent since, under its own name", {"own": 0}, False),
    ("the unit never sent", {"own": None}, True),
    ("both are in use", {"own": 3, "first": 4, "last": 2}, False),
    ("both were in use, and the unit fell silent", {"own": 10, "first": 11, "last": 2}, True),
    ("from no unit's address", {"address": "10.20.30.99"}, False),
    ("from a router's address", {"address": "10.20.30.5"}, False),
    ("from an address of two units", {"rules": rules_of(b=make_host("B", "10.20.30.21", "UB-1003"))}, False),
    ("it is listed for the unit now", {"name": "UPRIGHT_A"}, False),
    ("it is listed for another unit", {"name": "UPRIGHT_B"}, False),
    ("it is listed for a peer", {"rules": replace(rules_of(), listed=frozenset({"MAMMO_A"}))}, False),
    ("every address is the unit's", {"rules": rules_of(make_host("A", "0.0.0.0/0", "UA-1002"))}, False),
    ("the unit is retired", {"rules": rules_of(replace(A, retired_on=date(2026, 11, 1)))}, False),
]


def test_a_refused_name_at_a_units_address_may_be_its_new_one(found: Callable[..., list[Found]]) -> None:
    for label, given, is_found in STRANGE:
        how: dict[str, Any] = {
            "own": 3, "first": 2, "last": 1, "address": "10.20.30.21", "name": "MAMMO_A", "rules": rules_of(), **given
        }  # fmt: skip

        def rows(conn: Connection, how: dict[str, Any] = how) -> None:
            if how["own"] is not None:
                sent(conn, how["own"])
            for days_ago in (how["first"], how["last"]):
                at = noon(TODAY - timedelta(days=days_ago), 13)
                strangers.note(conn, how["address"], how["name"], at=at, count=2)

        told = [name for each in found(AlertKind.RENAMED_DEVICE, rows, how["rules"]) for name in each.details["names"]]
        since = (TODAY - timedelta(days=how["first"])).isoformat()
        expected = {
            "key": "ae_title", "old": ["UPRIGHT_A"], "new": "MAMMO_A", "address": "10.20.30.21", "since": since,
            "count": 4, "refused": True,
        }  # fmt: skip
        assert told == ([expected] if is_found else []), label


def test_who_calls_by_many_names_is_told_of_by_the_last_and_once_a_week(found: Callable[..., list[Found]]) -> None:
    def rows(conn: Connection, most: int) -> None:
        for number in range(most):
            at = noon(TODAY) + timedelta(days=number // 8, minutes=number)
            strangers.note(conn, "10.20.30.21", f"X{number}", at=at, count=1)

    (told,) = found(AlertKind.RENAMED_DEVICE, lambda conn: rows(conn, 8), rules_of())
    assert [name["new"] for name in told.details["names"]] == ["X5", "X6", "X7"]
    (later,) = found(AlertKind.RENAMED_DEVICE, lambda conn: rows(conn, 10), rules_of(), on=TODAY + timedelta(days=1))
    assert [name["new"] for name in later.details["names"]] == ["X7", "X8", "X9"]
    assert later.stage == told.stage


class TestStrangers:
    AT = datetime(2026, 11, 10, 18, tzinfo=UTC)

    def test_calls_are_counted_and_begin_anew_after_a_long_silence(self, index: Index) -> None:
        with index.write() as conn:
            news = [
                strangers.note(conn, "10.0.0.1", "X", at=self.AT + timedelta(days=days), count=1)
                for days in (0, 1, 31, 70)
            ]
            (use,) = strangers.by_address(conn)["10.0.0.1"]
        assert news == [True, False, False, True]
        assert (use.first_at, use.last_at, use.count) == (*[self.AT + timedelta(days=70)] * 2, 1)

    def test_the_latest_are_kept_and_no_more(self, index: Index) -> None:
        with index.write() as conn:
            for number in range(strangers.MOST_OF_ADDRESS + 3):
                strangers.note(conn, "10.0.0.1", f"X{number:02}", at=self.AT + timedelta(seconds=number), count=1)
            for number in range(strangers.MOST + 5):
                strangers.note(conn, f"10.1.{number}.1", "Y", at=self.AT + timedelta(hours=1), count=1)
            kept = strangers.by_address(conn)
        assert "10.0.0.1" not in kept
        assert sum(len(each) for each in kept.values()) == strangers.MOST


def biopsy(conn: Connection, day: str, unit: str = "upright_a", **options: Any) -> str:
    on = date.fromisoformat(day)
    values = {"attachments": ["addon1"], "received_at": noon(on), "unit_id": unit, **options}
    return add_exam(conn, on, **values)


def test_a_host_is_left_when_its_attachment_is_used_elsewhere_alone(found: Callable[..., list[Found]]) -> None:
    def rows(conn: Connection) -> None:
        for day in ("2026-03-01", "2026-04-13"):
            biopsy(conn, day)
        for day in ("2026-03-30", "2026-04-21", "2026-05-18", "2026-06-15"):
            biopsy(conn, day, "upright_b")
        biopsy(conn, "2026-06-20", "upright_b", attachments=[])
        biopsy(conn, "2026-06-21", "upright_b", excluded=True, counts=False)

    days = [date(2026, 5, 17), date(2026, 5, 18), date(2026, 6, 14), date(2026, 6, 15), date(2026, 9, 1)]
    told = {day: found(AlertKind.ATTACHMENT_MOVED, rows, rules_of(), on=day) for day in days}
    assert [bool(each) for each in told.values()] == [False, False, False, True, True]
    (each,) = told[days[-1]]
    assert (each.unit_id, each.stage) == ("upright_a", "2026-04-21 moved")
    assert each.details == {
        "state": "seen", "attachment": "addon1", "attachment_label": "Add-on", "since": "2026-04-21", "elsewhere": 3,
        "hosts": [["Upright B", "2026-06-15"], ["Upright A", "2026-04-13"]], "newest": "2026-04-13",
        "cutoff": "2026-10-13",
    }  # fmt: skip
    again = lambda conn: (rows(conn), biopsy(conn, "2026-08-31"))  # noqa: E731 - one case
    assert found(AlertKind.ATTACHMENT_MOVED, again, rules_of(), on=days[-1]) == []
    unassigned = rules_of(addon=replace(ADDON, assignments=()))
    assert found(AlertKind.ATTACHMENT_MOVED, rows, unassigned, on=days[-1]) != []
    for a in (replace(A, applying=False), replace(A, retired_on=date(2026, 8, 1))):
        assert found(AlertKind.ATTACHMENT_MOVED, rows, rules_of(a), on=days[-1]) == []


def test_a_host_is_left_on_the_day_after_its_assignment_ended(found: Callable[..., list[Found]]) -> None:
    ended = Assignment(unit="upright_a", last_day=date(2026, 6, 30))
    rules = rules_of(addon=replace(ADDON, assignments=(ended, Assignment(unit="upright_b"))))

    def rows(conn: Connection) -> None:
        biopsy(conn, "2026-06-22")

    assert found(AlertKind.ATTACHMENT_MOVED, rows, rules, on=date(2026, 6, 30)) == []
    (each,) = found(AlertKind.ATTACHMENT_MOVED, rows, rules, on=date(2026, 7, 1))
    assert each.details["state"] == "assigned"
    assert each.details["hosts"] == [["Upright A", "2026-06-22"]]
    later = lambda conn: biopsy(conn, "2026-07-02")  # noqa: E731 - one case
    assert found(AlertKind.ATTACHMENT_MOVED, later, rules, on=date(2026, 7, 3)) == []


def test_biopsies_on_days_without_an_enrolment_are_of_no_registered_unit(found: Callable[..., list[Found]]) -> None:
    def rows(conn: Connection) -> None:
        for day in ("2026-06-30", "2026-07-01", "2026-08-31", "2026-09-01"):
            biopsy(conn, day)
        biopsy(conn, "2026-08-01", portion=Portion.PHANTOM)
        biopsy(conn, "2026-08-02", excluded=True, counts=False)

    spans = (Enrolment(last_day=date(2026, 6, 30)), Enrolment(first_day=date(2026, 9, 1)))
    (each,) = found(AlertKind.UNREGISTERED_UNIT, rows, rules_of(replace(A, enrolments=spans)))
    assert (each.key, each.unit_id, each.details["count"]) == ("unregistered_unit/unit=upright_a", "upright_a", 2)
    assert each.details["enrolled"] == [["main", None, "2026-06-30"], ["main", "2026-09-01", None]]
    for a in (A, replace(A, enrolments=spans, applying=False), replace(A, enrolments=(Enrolment(),))):
        assert found(AlertKind.UNREGISTERED_UNIT, rows, rules_of(a)) == []


def test_exams_that_several_units_match_are_told_apart_from_those_that_none_does(
    found: Callable[..., list[Found]],
) -> None:
    doubt = "station name UPR names 2 units: upright_a, upright_b"

    def rows(conn: Connection) -> None:
        no_unit = {"unit_id": "", "sender": "ADDON_WS"}
        sent(conn, 3, portion=Portion.CLINICAL, candidates=["upright_a", "upright_b"], attribution=doubt, **no_unit)
        sent(conn, 2, portion=Portion.CLINICAL, candidates=["upright_a"], **no_unit)
        sent(conn, 2, portion=Portion.CLINICAL, candidates=[], **no_unit)
        sent(conn, 1, portion=Portion.NEITHER, candidates=["upright_a", "upright_b"], **no_unit)

    same = {"station_name": "UPR"}
    rules = rules_of(make_host("A", "10.20.30.21", "UA-1002", **same), make_host("B", "10.20.30.22", "UB-1003", **same))
    (several,) = found(AlertKind.AMBIGUOUS, rows, rules)
    assert several.key == "ambiguous/ADDON_WS/upright_a%2Bupright_b"
    assert several.details["doubts"] == [doubt]
    assert several.details["clashing"] == [
        f'[[units.{unit}.identity]] station_name = "UPR"' for unit in ("upright_a", "upright_b")
    ]
    assert several.details["count"] == 1
    (none,) = found(AlertKind.UNATTRIBUTED, rows, rules)
    assert (none.details["count"], none.details["candidates"]) == (2, ["upright_a"])


def test_each_finding_opens_once_in_one_message_of_its_unit_and_ends_once(index: Index) -> None:
    rules, channels = rules_of(), [FakeChannel()]
    ended = replace(ADDON, assignments=(Assignment(unit="upright_a", last_day=date(2026, 10, 31)),))
    with index.write() as conn:
        add_exam(conn, TODAY, portion=Portion.PHANTOM, received_at=noon(TODAY, 8), **OWN)
        sent(conn, 1, 31, **RENAMED)
        biopsy(conn, "2026-10-30", **OWN)
        strangers.note(conn, "10.20.30.22", "MAMMO_B", at=noon(TODAY), count=1)
    result = review_on(index, rules_of(addon=ended), channels, TODAY)
    assert set(result.opened) == {
        "attachment_moved/upright_a/addon1",
        "renamed_device/upright_b",
    }
    with index.write() as conn:
        sent(conn, -1, 31, **RENAMED)
    result = review_on(index, rules_of(addon=ended), channels, TODAY + timedelta(days=2))
    assert set(result.opened) == {"clock_drift/upright_a/UPRIGHT_A/ahead", "renamed_device/upright_a"}
    assert review_on(index, rules_of(addon=ended), channels, TODAY + timedelta(days=3)).opened == ()
    with index.write() as conn:
        sent(conn, -4)
        strangers_own = {"sender": "UPRIGHT_B", "address": "10.20.30.22", "serial": "UB-1003", "station": "B"}
        sent(conn, -4, unit_id="upright_b", **strangers_own)
    result = review_on(index, rules, channels, TODAY + timedelta(days=5))
    assert set(result.resolved) == {
        "attachment_moved/upright_a/addon1",
        "renamed_device/upright_b",
        "clock_drift/upright_a/UPRIGHT_A/ahead",
        "renamed_device/upright_a",
    }
    with index.read() as conn:
        told = [(row.kind, row.unit_id) for row in conn.execute(select(message).order_by(message.c.id))]
        assert alerts.list_alerts(conn, state=alerts.FIRING) == []
    assert sorted(told[:2]) == [("firing", "upright_a"), ("firing", "upright_b")]
    assert told[2] == ("firing", "upright_a")
    assert sorted(told[3:]) == [("resolved", "upright_a"), ("resolved", "upright_b")]


def test_the_other_hosts_of_an_attachment_are_reviewed_when_an_exam_with_it_settles(index: Index) -> None:
    with index.write() as conn:
        biopsy(conn, "2026-04-13")
        for day in ("2026-04-21", "2026-05-18", "2026-06-15"):
            biopsy(conn, day, "upright_b")
    on = date(2026, 6, 15)
    result = review_settled(index, rules_of(), [FakeChannel()], today=on, now=noon(on, 13), settle=timedelta(minutes=1))
    assert result is not None
    assert "attachment_moved/upright_a/addon1" in result.opened
    assert (
        review_settled(index, rules_of(), [FakeChannel()], today=on, now=noon(on, 14), settle=timedelta(minutes=1))
        is None
    )
