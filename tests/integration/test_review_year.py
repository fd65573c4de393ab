"""A year of reviews and dispatches, day by day, counting what people get."""

import random
from collections import Counter
from datetime import date, timedelta

from sqlalchemy import select

from dicom_node.accreditation.portions import Portion
from dicom_node.index.engine import Index
from dicom_node.index.tables import message
from dicom_node.services.dispatch import Dispatcher
from dicom_node.services.found import Rules
from dicom_node.services.review import review
from tests.alerting import SITE, FakeChannel, FakeClock, add_exam, make_rules, make_unit, morning

FIRST = date(2026, 1, 5)  # a Monday
UNITS = ("prone1", "upright_a", "upright_b")


def make_node(index: Index, rules: Rules, channel: FakeChannel) -> tuple[FakeClock, Dispatcher]:
    clock = FakeClock(morning(FIRST))

    def again(unit_id: str) -> None:
        review(index, rules, [channel], today=clock().date(), now=clock(), unit_ids=[unit_id])

    labels = {unit.id: unit.label for unit in rules.registry.units.values()}
    return clock, Dispatcher(index, [channel], site=SITE, labels=labels, recheck=again, clock=clock)


def test_a_year_in_which_two_units_keep_up_and_one_lapses(sqlite_index: Index) -> None:
    rules = make_rules(*(make_unit(unit_id, unit_id) for unit_id in UNITS))
    channel = FakeChannel()
    clock, dispatcher = make_node(sqlite_index, rules, channel)
    # prone1 every five months; upright_a each half year, at the last moment; upright_b once, and never again.
    exams = {date(2026, 1, 5): UNITS}
    exams |= {date(2026, 6, 5): ("prone1",), date(2026, 11, 5): ("prone1",)}
    exams |= {date(2026, 7, 5): ("upright_a",), date(2027, 1, 4): ("upright_a",)}
    told: dict[str, Counter[str]] = {unit_id: Counter() for unit_id in (*UNITS, "")}
    for offset in range(365):
        day = FIRST + timedelta(days=offset)
        clock.now = morning(day)
        with sqlite_index.write() as conn:
            for unit_id in exams.get(day, ()):
                for portion in (Portion.CLINICAL, Portion.PHANTOM):
                    add_exam(conn, day, unit_id=unit_id, portion=portion)
        review(sqlite_index, rules, [channel], today=day, now=clock(), digest="weekly")
        dispatcher.run()
        for sent, _ in channel.sent:
            told[sent.unit_id][sent.kind] += 1
        assert max(Counter(sent.unit_id for sent, _ in channel.sent if sent.kind != "digest").values(), default=0) <= 1
        channel.sent.clear()
    # 60 days before the end; at 30 days the new exam is there already.
    assert told["prone1"] == {"firing": 2, "resolved": 2}
    # All six rungs before the day itself, on which the new exam comes; the second time it comes a day earlier.
    assert told["upright_a"] == {"firing": 6 + 5, "resolved": 2}
    # The day itself as well, and then a message a week from 2026-07-06 to 2027-01-04.
    assert told["upright_b"] == {"firing": 7 + 27}
    assert told[""] == {"digest": 53}


def test_whatever_happens_no_reminder_is_told_twice_and_none_is_lost(sqlite_index: Index) -> None:
    chance = random.Random(20261123)
    rules = make_rules(*(make_unit(unit_id, unit_id) for unit_id in UNITS))
    channel = FakeChannel()
    clock, dispatcher = make_node(sqlite_index, rules, channel)
    day = FIRST
    newest = dict.fromkeys(UNITS, FIRST)
    with sqlite_index.write() as conn:
        for unit_id in UNITS:
            add_exam(conn, FIRST, unit_id=unit_id)
            add_exam(conn, date(2030, 1, 1), unit_id=unit_id, portion=Portion.PHANTOM, counts=False, excluded=True)
    reviewed_days = 0
    while day < FIRST + timedelta(days=150):
        day += timedelta(days=1 if chance.random() < 0.8 else chance.randint(2, 20))  # the node may be off for days
        clock.now = morning(day)
        if chance.random() < 0.01:
            unit_id = chance.choice(UNITS)
            newest[unit_id] = day
            with sqlite_index.write() as conn:
                add_exam(conn, day, unit_id=unit_id)
        for _ in range(chance.randint(1, 3)):
            review(sqlite_index, rules, [channel], today=day, now=clock())
            if chance.random() < 0.7:
                dispatcher.run()
        dispatcher.run()
        reviewed_days += 1
    assert reviewed_days > 40
    with sqlite_index.read() as conn:
        rows = conn.execute(select(message.c.kind, message.c.alerts)).all()
    stages = Counter((alert_id, stage) for row in rows if row.kind == "firing" for alert_id, stage in row.alerts)
    assert max(stages.values()) == 1
    keys = [sent.key for sent, _ in channel.sent]
    assert len(keys) == len(set(keys))
    queued = sum(row.kind == "firing" for row in rows)
    sent = sum(sent.kind == "firing" for sent, _ in channel.sent)
    assert 0 < sent <= queued
