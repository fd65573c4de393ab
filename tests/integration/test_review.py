"""The review on real databases: what becomes an alert, what is told, and what is told only once."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Connection, func, select, update

from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.reminders import Severity
from dicom_node.accreditation.standing import ReleaseState, State
from dicom_node.errors import OperatorError
from dicom_node.index import alerts, outbox, standings
from dicom_node.index.alerts import FIRING, RESOLVED, Alert, Condition
from dicom_node.index.engine import Index
from dicom_node.index.releases import ReleaseVersion
from dicom_node.index.releases import insert as insert_release
from dicom_node.index.tables import conflict, delivery, exam, instance, message
from dicom_node.services.found import CertificateEnd
from dicom_node.services.preview import preview
from dicom_node.services.review import last_review, review_settled
from tests.alerting import SITE, FakeChannel, add_exam, make_rules, make_unit, morning, review_on

EXAM_DAY = date(2026, 6, 8)
CUTOFF = date(2026, 12, 8)
FOURTEEN_BEFORE = date(2026, 11, 24)
KEY = "eligibility/upright_a/clinical/2026-06-08"


def firing(index: Index) -> dict[str, Alert]:
    with index.read() as conn:
        return {alert.key: alert for alert in alerts.list_alerts(conn, state=FIRING)}


def messages(index: Index) -> list[tuple[str, str]]:
    with index.read() as conn:
        rows = conn.execute(select(message.c.kind, message.c.unit_id).order_by(message.c.id))
        return [(row.kind, row.unit_id) for row in rows]


def stages(index: Index) -> list[list[str]]:
    with index.read() as conn:
        return [[stage for _, stage in row.alerts] for row in conn.execute(select(message).order_by(message.c.id))]


@pytest.fixture
def with_exams(index: Index) -> Index:
    """An index in which the newest clinical exam stops counting on CUTOFF, the phantom much later."""
    with index.write() as conn:
        add_exam(conn, EXAM_DAY)
        add_exam(conn, date(2026, 11, 1), portion=Portion.PHANTOM)
    return index


class TestReminders:
    def test_an_exam_near_its_end_makes_an_alert_a_standing_and_one_message(self, with_exams: Index) -> None:
        result = review_on(with_exams, make_rules(), [FakeChannel()], FOURTEEN_BEFORE)
        assert result.opened == (KEY,)
        assert messages(with_exams) == [("firing", "upright_a")]
        assert stages(with_exams) == [["2026-11-24 d14"]]
        alert = firing(with_exams)[KEY]
        assert (alert.severity, alert.stage, alert.portion) == ("warning", "2026-11-24 d14", "clinical")
        with with_exams.read() as conn:
            saved = {each.portion: each for each in standings.read(conn)}
        assert saved[Portion.CLINICAL].state is State.NEARING
        assert saved[Portion.CLINICAL].cutoff == CUTOFF

    def test_a_second_review_sends_nothing(self, with_exams: Index) -> None:
        review_on(with_exams, make_rules(), [FakeChannel()], FOURTEEN_BEFORE)
        again = review_on(with_exams, make_rules(), [FakeChannel()], FOURTEEN_BEFORE)
        assert (again.opened, again.resolved, again.queued) == ((), (), ())
        assert len(messages(with_exams)) == 1

    def test_after_three_days_off_one_message_tells_of_the_lowest_rung(self, with_exams: Index) -> None:
        review_on(with_exams, make_rules(), [FakeChannel()], CUTOFF - timedelta(days=8))
        review_on(with_exams, make_rules(), [FakeChannel()], CUTOFF - timedelta(days=2))
        assert stages(with_exams) == [["2026-11-24 d14"], ["2026-12-05 d3"]]

    def test_both_portions_share_the_message_of_their_unit(self, index: Index) -> None:
        with index.write() as conn:
            add_exam(conn, EXAM_DAY)
            add_exam(conn, EXAM_DAY + timedelta(days=2), portion=Portion.PHANTOM)
        review_on(index, make_rules(), [FakeChannel()], FOURTEEN_BEFORE)
        assert messages(index) == [("firing", "upright_a")]
        assert sorted(stages(index)[0]) == ["2026-11-10 d30", "2026-11-24 d14"] or len(stages(index)[0]) == 2

    def test_each_unit_has_its_own_message(self, index: Index) -> None:
        with index.write() as conn:
            add_exam(conn, EXAM_DAY)
            add_exam(conn, EXAM_DAY, unit_id="prone1")
        rules = make_rules(make_unit(), make_unit("prone1", "Prone table, room 2"))
        review_on(index, rules, [FakeChannel()], FOURTEEN_BEFORE)
        assert messages(index) == [("firing", "prone1"), ("firing", "upright_a")]

    def test_a_superseded_exam_never_alarms(self, with_exams: Index) -> None:
        with with_exams.write() as conn:
            add_exam(conn, date(2026, 11, 2))
        assert review_on(with_exams, make_rules(), [FakeChannel()], FOURTEEN_BEFORE).opened == ()

    def test_a_clock_that_was_ahead_does_not_silence_the_reminders_that_come(self, with_exams: Index) -> None:
        review_on(with_exams, make_rules(), [FakeChannel()], CUTOFF + timedelta(days=40))
        review_on(with_exams, make_rules(), [FakeChannel()], FOURTEEN_BEFORE)
        assert [stage[0][11:] for stage in stages(with_exams)] == ["lapsed-w5", "d14"]

    def test_a_clock_set_back_over_midnight_sends_nothing_twice(self, with_exams: Index) -> None:
        rules, channels = make_rules(), [FakeChannel()]
        for day in (
            FOURTEEN_BEFORE,
            CUTOFF - timedelta(days=7),
            CUTOFF - timedelta(days=8),
            CUTOFF - timedelta(days=7),
        ):
            review_on(with_exams, rules, channels, day)
        assert [stage[0][11:] for stage in stages(with_exams)] == ["d14", "d7"]
        assert firing(with_exams)[KEY].stage.endswith("d7")

    def test_a_missing_portion_is_told_once_the_unit_is_in_use_and_not_before(self, index: Index) -> None:
        rules = make_rules()
        assert review_on(index, rules, [FakeChannel()], FOURTEEN_BEFORE).queued == ()
        with index.write() as conn:
            add_exam(conn, date(2026, 11, 20), portion=Portion.PHANTOM)
        assert review_on(index, rules, [FakeChannel()], FOURTEEN_BEFORE).opened == (
            "eligibility/upright_a/clinical/missing",
        )
        for days in range(1, 20):
            review_on(index, rules, [FakeChannel()], FOURTEEN_BEFORE + timedelta(days=days))
        assert len(messages(index)) == 1

    def test_a_review_of_one_unit_leaves_the_others_and_the_time_of_the_last_full_review(self, index: Index) -> None:
        with index.write() as conn:
            add_exam(conn, EXAM_DAY)
            add_exam(conn, EXAM_DAY, unit_id="prone1")
        rules = make_rules(make_unit(), make_unit("prone1", "Prone table"))
        review_on(index, rules, [FakeChannel()], FOURTEEN_BEFORE, unit_ids=["prone1"])
        assert messages(index) == [("firing", "prone1")]
        with index.read() as conn:
            assert last_review(conn) is None
        review_on(index, rules, [FakeChannel()], FOURTEEN_BEFORE)
        with index.read() as conn:
            assert last_review(conn) == morning(FOURTEEN_BEFORE)


class TestResolving:
    def test_a_fresh_exam_resolves_the_alert_and_says_so_by_its_day(self, with_exams: Index) -> None:
        rules = make_rules()
        review_on(with_exams, rules, [FakeChannel()], FOURTEEN_BEFORE)
        with with_exams.write() as conn:
            add_exam(conn, date(2026, 11, 25))
        result = review_on(with_exams, rules, [FakeChannel()], date(2026, 11, 26))
        assert result.resolved == (KEY,)
        assert messages(with_exams) == [("firing", "upright_a"), ("resolved", "upright_a")]
        with with_exams.read() as conn:
            [alert] = alerts.list_alerts(conn, state=RESOLVED)
        assert alert.details["solution"]["exam_day"] == "2026-11-25"
        assert alert.details["solution"]["counts_until"] == "2027-05-25"

    def test_what_nobody_was_told_of_is_resolved_in_silence(self, with_exams: Index) -> None:
        rules = make_rules()
        with with_exams.write() as conn:
            untold = Condition(
                key=KEY, kind="eligibility", unit_id="upright_a", portion="clinical", severity="info",
                details={"state": "nearing", "exam_day": "2026-06-08"},
            )  # fmt: skip
            alerts.raise_alerts(conn, [untold], {}, morning(FOURTEEN_BEFORE))
            add_exam(conn, date(2026, 11, 25))
        assert review_on(with_exams, rules, [FakeChannel()], date(2026, 11, 26)).queued == ()

    def test_an_older_exam_that_takes_over_and_is_near_its_end_is_no_good_news(self, with_exams: Index) -> None:
        rules = make_rules()
        review_on(with_exams, rules, [FakeChannel()], FOURTEEN_BEFORE)
        with with_exams.write() as conn:
            add_exam(conn, date(2026, 6, 12))
        result = review_on(with_exams, rules, [FakeChannel()], date(2026, 11, 25))
        assert result.resolved == (KEY,)
        assert messages(with_exams)[1:] == [("firing", "upright_a")]

    def test_an_exam_that_is_excluded_later_brings_the_old_alert_back(self, with_exams: Index) -> None:
        rules = make_rules()
        review_on(with_exams, rules, [FakeChannel()], FOURTEEN_BEFORE)
        with with_exams.write() as conn:
            fresh = add_exam(conn, date(2026, 11, 25))
        review_on(with_exams, rules, [FakeChannel()], date(2026, 11, 25))
        with with_exams.write() as conn:
            conn.execute(update(exam).where(exam.c.id == fresh).values(excluded=True, counts=False))
        review_on(with_exams, rules, [FakeChannel()], date(2026, 11, 26))
        assert messages(with_exams) == [("firing", "upright_a"), ("resolved", "upright_a"), ("firing", "upright_a")]
        assert firing(with_exams)[KEY].opening == 2

    def test_good_and_bad_news_of_one_review_share_a_message(self, index: Index) -> None:
        with index.write() as conn:
            add_exam(conn, EXAM_DAY)
            add_exam(conn, EXAM_DAY + timedelta(days=1), portion=Portion.PHANTOM)
        rules = make_rules()
        review_on(index, rules, [FakeChannel()], FOURTEEN_BEFORE)
        with index.write() as conn:
            add_exam(conn, FOURTEEN_BEFORE)
        review_on(index, rules, [FakeChannel()], FOURTEEN_BEFORE + timedelta(days=1))
        assert messages(index) == [("firing", "upright_a"), ("firing", "upright_a")]
        assert sorted(stages(index)[1]) == ["2026-11-25 d14", "resolved"]

    def test_recording_the_release_ends_the_countdown(self, with_exams: Index) -> None:
        rules = make_rules()
        review_on(with_exams, rules, [FakeChannel()], FOURTEEN_BEFORE)
        with with_exams.write() as conn:
            insert_release(
                conn,
                ReleaseVersion(
                    id="r1", version=1, unit_id="upright_a", released_on=date(2026, 11, 20), due_on=None,
                    state=ReleaseState.RECORDED, changed_by="synthetic", changed_at=morning(FOURTEEN_BEFORE),
                ),
            )  # fmt: skip
        review_on(with_exams, rules, [FakeChannel()], date(2026, 11, 26))
        # Its exams are inside; what the package lacks now is a physicist's survey.
        assert list(firing(with_exams)) == ["eligibility/upright_a/physicist/due-2027-01-04"]
        with with_exams.read() as conn:
            [alert] = alerts.list_alerts(conn, state=RESOLVED)
        assert "released on 2026-11-20" in alert.details["solution"]["reason"]

    def test_a_unit_that_leaves_the_configuration_takes_its_alerts_and_standings_along(self, with_exams: Index) -> None:
        review_on(with_exams, make_rules(), [FakeChannel()], FOURTEEN_BEFORE)
        review_on(with_exams, make_rules(make_unit("other", "Other")), [FakeChannel()], date(2026, 11, 25))
        assert firing(with_exams) == {}
        with with_exams.read() as conn:
            assert {each.unit_id for each in standings.read(conn)} == {"other"}

    def test_a_retired_unit_alarms_no_more(self, with_exams: Index) -> None:
        review_on(with_exams, make_rules(), [FakeChannel()], FOURTEEN_BEFORE)
        retired = make_rules(make_unit(retired_on=date(2026, 11, 24)))
        assert review_on(with_exams, retired, [FakeChannel()], date(2026, 11, 25)).resolved == (KEY,)


class TestAcknowledging:
    def acknowledge(self, index: Index, until: date | None = None) -> None:
        with index.write() as conn:
            [alert] = alerts.list_alerts(conn, state=FIRING)
            alerts.acknowledge(conn, alert.id, by="synthetic", note="seen", until=until, now=morning(FOURTEEN_BEFORE))

    def walk(self, index: Index, first: date, last: date) -> list[str]:
        before = len(stages(index))
        day = first
        while day <= last:
            review_on(index, make_rules(), [FakeChannel()], day)
            day += timedelta(days=1)
        return [stage[0][11:] for stage in stages(index)[before:]]

    def test_it_stops_reminders_until_the_state_gets_worse(self, with_exams: Index) -> None:
        review_on(with_exams, make_rules(), [FakeChannel()], FOURTEEN_BEFORE)
        self.acknowledge(with_exams)
        assert self.walk(with_exams, FOURTEEN_BEFORE, CUTOFF) == []
        assert self.walk(with_exams, CUTOFF, CUTOFF + timedelta(days=1)) == ["lapsed-w0"]

    def test_it_stops_reminders_until_its_day_that_day_included(self, with_exams: Index) -> None:
        review_on(with_exams, make_rules(), [FakeChannel()], FOURTEEN_BEFORE)
        self.acknowledge(with_exams, until=date(2026, 12, 1))  # the seventh day before
        assert self.walk(with_exams, FOURTEEN_BEFORE, date(2026, 12, 1)) == []
        assert self.walk(with_exams, date(2026, 12, 2), date(2026, 12, 2)) == ["d7"]

    def test_a_resolved_or_unknown_alert_cannot_be_acknowledged(self, with_exams: Index) -> None:
        review_on(with_exams, make_rules(), [FakeChannel()], FOURTEEN_BEFORE)
        alert = firing(with_exams)[KEY]
        with with_exams.write() as conn:
            alerts.resolve_alert(conn, alert, solution={}, now=morning(FOURTEEN_BEFORE))
        for unknown in (alert.id, 4711):
            with with_exams.write() as conn, pytest.raises(OperatorError):
                alerts.acknowledge(conn, unknown, by="synthetic", note="", until=None, now=morning(FOURTEEN_BEFORE))


class TestFindings:
    TODAY = date(2026, 11, 23)

    def test_biopsies_of_an_unknown_device_are_one_alert_by_device_and_never_again_without_more(
        self, index: Index
    ) -> None:
        with index.write() as conn:
            for day in (2, 3):
                add_exam(
                    conn, date(2026, 11, day), unit_id="", serial="UX-9", station="UPR-X", portion=Portion.UNCLEAR,
                    unregistered=True, stages=["pre-fire"],
                )  # fmt: skip
        rules = make_rules()
        result = review_on(index, rules, [FakeChannel()], self.TODAY)
        assert result.opened == ("unregistered_unit/serial=UX-9",)
        alert = firing(index)[result.opened[0]]
        assert alert.severity == "critical"
        assert alert.details["count"] == 2
        assert review_on(index, rules, [FakeChannel()], self.TODAY + timedelta(days=30)).queued == ()

    def test_one_summary_of_a_senders_unattributed_exams_grows_and_is_told_again_weekly_at_most(
        self, index: Index
    ) -> None:
        rules = make_rules()

        def arrives(day: date) -> None:
            with index.write() as conn:
                add_exam(
                    conn, day, unit_id="", sender="ADDON_WS", portion=Portion.UNCLEAR, candidates=["upright_a"],
                    attribution="two units share the attachment",
                )  # fmt: skip

        told = []
        for offset in range(28):
            day = date(2026, 11, 2) + timedelta(days=offset)
            if offset < 14:
                arrives(day)
            told += review_on(index, rules, [FakeChannel()], day).queued
        alert = firing(index)["unattributed/ADDON_WS"]
        assert alert.details["count"] == 14
        assert alert.details["candidates"] == ["upright_a"]
        assert len(told) == 2

    def test_placing_the_exams_resolves_the_summary(self, index: Index) -> None:
        with index.write() as conn:
            waiting = add_exam(conn, date(2026, 11, 2), unit_id="", sender="ADDON_WS", portion=Portion.UNCLEAR)
        rules = make_rules()
        review_on(index, rules, [FakeChannel()], self.TODAY)
        with index.write() as conn:
            conn.execute(update(exam).where(exam.c.id == waiting).values(unit_id="upright_a", portion="clinical"))
        assert review_on(index, rules, [FakeChannel()], self.TODAY).resolved == ("unattributed/ADDON_WS",)

    def test_exams_too_old_to_count_are_no_finding(self, index: Index) -> None:
        with index.write() as conn:
            old = date(2026, 5, 22)
            add_exam(conn, old, unit_id="", sender="ADDON_WS", portion=Portion.UNCLEAR)
            add_exam(conn, old, unit_id="", serial="UX-9", portion=Portion.UNCLEAR, unregistered=True)
        assert review_on(index, make_rules(), [FakeChannel()], self.TODAY).opened == ()
        assert len(review_on(index, make_rules(), [FakeChannel()], date(2026, 11, 22)).opened) == 2

    def test_mammograms_of_no_known_unit_are_no_finding(self, index: Index) -> None:
        with index.write() as conn:
            add_exam(conn, date(2026, 11, 2), unit_id="", portion=Portion.NEITHER)
        assert review_on(index, make_rules(), [FakeChannel()], self.TODAY).opened == ()

    def test_undated_exams_are_told_by_unit(self, index: Index) -> None:
        with index.write() as conn:
            add_exam(conn, None, flags=["year 1900"])
        result = review_on(index, make_rules(), [FakeChannel()], self.TODAY)
        assert result.opened == ("undated/upright_a",)
        assert firing(index)["undated/upright_a"].details["flags"] == ["year 1900"]

    def test_an_attachment_on_a_unit_that_is_not_applying_is_told_and_biopsies_there_are_worse(
        self, index: Index
    ) -> None:
        rules = make_rules(make_unit(applying=False), attachments={"addon1": "upright_a"})
        review_on(index, rules, [FakeChannel()], self.TODAY)
        assert firing(index)["unit_must_apply/upright_a"].severity == "warning"
        with index.write() as conn:
            [alert] = alerts.list_alerts(conn, state=FIRING)
            alerts.acknowledge(conn, alert.id, by="synthetic", note="", until=None, now=morning(self.TODAY))
            add_exam(conn, date(2026, 11, 20), attachments=["addon1"])
        assert len(review_on(index, rules, [FakeChannel()], self.TODAY).queued) == 1
        assert firing(index)["unit_must_apply/upright_a"].severity == "critical"

    def test_a_conflict_is_told_by_sender(self, index: Index) -> None:
        with index.write() as conn:
            add_exam(conn, date(2026, 11, 20))
            taken = conn.execute(select(instance)).one()
            for digest in ("a", "b"):
                conn.execute(
                    conflict.insert().values(
                        sop_instance_uid=taken.sop_instance_uid, digest=digest * 64, size=1,
                        received_at=datetime(2026, 11, 20, tzinfo=UTC), calling_ae="PACS", study_uid=taken.study_uid,
                    )
                )  # fmt: skip
        rules = make_rules()
        assert "conflict/PACS" in review_on(index, rules, [FakeChannel()], self.TODAY).opened
        assert firing(index)["conflict/PACS"].details["count"] == 1
        with index.write() as conn:
            conn.execute(conflict.delete())
        assert "conflict/PACS" in review_on(index, rules, [FakeChannel()], self.TODAY).resolved

    def test_a_devices_endless_text_makes_no_endless_key(self, index: Index) -> None:
        with index.write() as conn:
            for serial in ("S" * 10_000 + "1", "S" * 10_000 + "2"):
                add_exam(conn, date(2026, 11, 2), unit_id="", serial=serial, portion=Portion.UNCLEAR, unregistered=True)
        opened = review_on(index, make_rules(), [FakeChannel()], self.TODAY).opened
        assert len(set(opened)) == 2
        assert max(map(len, opened)) < 120

    def test_a_peers_text_in_a_key_is_quoted(self, index: Index) -> None:
        with index.write() as conn:
            add_exam(conn, date(2026, 11, 2), unit_id="", sender="A/B C\r\nX", portion=Portion.UNCLEAR)
        assert review_on(index, make_rules(), [FakeChannel()], self.TODAY).opened == ("unattributed/A%2FB%20C%0D%0AX",)


class TestWhoIsTold:
    def test_a_channel_for_critical_alerts_hears_of_nothing_less(self, with_exams: Index) -> None:
        channels = [
            FakeChannel("ops-mail", ("a@example.org", "b@example.org")),
            FakeChannel("escalation", ("",), Severity.CRITICAL),
        ]
        review_on(with_exams, make_rules(), channels, FOURTEEN_BEFORE)
        review_on(with_exams, make_rules(), channels, CUTOFF - timedelta(days=7))
        with with_exams.read() as conn:
            rows = conn.execute(select(delivery).order_by(delivery.c.id)).all()
        assert [(row.message_id, row.channel, row.recipient) for row in rows] == [
            (1, "ops-mail", "a@example.org"),
            (1, "ops-mail", "b@example.org"),
            (2, "ops-mail", "a@example.org"),
            (2, "ops-mail", "b@example.org"),
            (2, "escalation", ""),
        ]

    def test_the_digest_comes_once_a_week_also_when_all_is_well(self, index: Index) -> None:
        queued = []
        for offset in range(15):
            day = date(2026, 11, 25) + timedelta(days=offset)
            queued += review_on(index, make_rules(), [FakeChannel()], day, digest="weekly").queued
        assert queued == ["digest/2026-W48", "digest/2026-W49", "digest/2026-W50"]

    def test_a_preview_shows_each_reminder_on_its_day_and_writes_nothing(self, with_exams: Index) -> None:
        rules, channels, today = make_rules(), [FakeChannel()], date(2026, 11, 23)
        review_on(with_exams, rules, channels, today)
        before = messages(with_exams), firing(with_exams)
        shown = {
            day: preview(with_exams, rules, channels, SITE, on=day, today=today)
            for day in (today + timedelta(days=offset) for offset in range(16))
        }
        assert [day for day, previews in shown.items() if previews] == [
            CUTOFF - timedelta(days=days) for days in (14, 7, 3, 1, 0)
        ]
        [told] = shown[FOURTEEN_BEFORE]
        assert "stops counting in 14 days (2026-12-08)" in told.message.subject
        assert told.recipients == (("ops-mail", "ops@example.org"),)
        assert (messages(with_exams), firing(with_exams)) == before

    def test_a_preview_of_today_shows_what_was_not_told_yet(self, with_exams: Index) -> None:
        rules = make_rules()
        assert len(preview(with_exams, rules, [], SITE, on=FOURTEEN_BEFORE, today=FOURTEEN_BEFORE)) == 1
        review_on(with_exams, rules, [], FOURTEEN_BEFORE)
        assert preview(with_exams, rules, [], SITE, on=FOURTEEN_BEFORE, today=FOURTEEN_BEFORE) == []


class TestSettledExams:
    def test_a_settled_exam_has_its_unit_reviewed_once(self, index: Index) -> None:
        received = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)
        with index.write() as conn:
            add_exam(conn, EXAM_DAY, received_at=received)
        rules, settle = make_rules(), timedelta(seconds=60)

        def run(after: int) -> object:
            now = received + timedelta(seconds=after)
            return review_settled(index, rules, [FakeChannel()], today=FOURTEEN_BEFORE, now=now, settle=settle)

        assert run(59) is None
        assert run(60) is not None
        assert run(120) is None
        assert messages(index) == [("firing", "upright_a")]
        with index.read() as conn:
            assert conn.execute(select(func.count()).where(exam.c.reviewed_at.is_(None))).scalar_one() == 0


class TestGroupsOfUnits:
    """Units are read and saved in groups, and read without the lock that whoever stores waits for."""

    UNITS = tuple(f"unit{number}" for number in range(5))

    @pytest.fixture
    def many(self, index: Index) -> Index:
        with index.write() as conn:
            for number, unit_id in enumerate(self.UNITS):
                add_exam(conn, EXAM_DAY + timedelta(days=3 * number), unit_id=unit_id)
                add_exam(conn, None, unit_id=unit_id)
            add_exam(conn, EXAM_DAY, unit_id="", candidates=["unit1", "unit4"])
        return index

    def test_units_of_several_groups_are_told_of_as_one_by_one(
        self, many: Index, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rules = make_rules(*(make_unit(unit_id) for unit_id in self.UNITS))
        monkeypatch.setattr("dicom_node.services.review.AT_ONCE", 4)
        monkeypatch.setattr("dicom_node.services.facts.AT_ONCE", 3)
        result = review_on(many, rules, [FakeChannel()], FOURTEEN_BEFORE)
        assert [each.unit for each in result.standings] == [unit_id for unit_id in self.UNITS for _ in range(3)]
        assert [unit_id for _, unit_id in messages(many)] == ["", *self.UNITS]
        assert len(result.opened) == len(set(result.opened)) == 1 + 3 * len(self.UNITS)
        named = {alert.unit_id for alert in firing(many).values() if "nobody could place" in str(alert.details)}
        assert named == {"unit1", "unit4"}
        again = [review_on(many, rules, [FakeChannel()], FOURTEEN_BEFORE, unit_ids=[each]) for each in self.UNITS]
        assert [(each.opened, each.resolved, each.queued) for each in again] == [((), (), ())] * len(self.UNITS)

    def test_what_comes_between_the_look_and_the_saving_counts(
        self, with_exams: Index, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = with_exams.write

        @contextlib.contextmanager
        def write_after_an_exam_came() -> Iterator[Connection]:
            monkeypatch.undo()
            with write() as conn:
                add_exam(conn, date(2026, 11, 20))
            with write() as conn:
                yield conn

        monkeypatch.setattr(with_exams, "write", write_after_an_exam_came)
        result = review_on(with_exams, make_rules(), [FakeChannel()], FOURTEEN_BEFORE)
        assert (result.opened, messages(with_exams)) == ((), [])
        with with_exams.read() as conn:
            saved = {each.portion: each.exam_day for each in standings.read(conn)}
        assert saved[Portion.CLINICAL] == date(2026, 11, 20)

    def test_a_review_that_finds_nothing_new_waits_for_no_writer(
        self, with_exams: Index, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse() -> AbstractContextManager[Connection]:
            raise AssertionError("it takes the write lock")

        review_on(with_exams, make_rules(), [FakeChannel()], FOURTEEN_BEFORE)
        monkeypatch.setattr(with_exams, "write", refuse)
        result = review_on(with_exams, make_rules(), [FakeChannel()], FOURTEEN_BEFORE, unit_ids=["upright_a"])
        assert (result.opened, result.resolved, result.queued) == ((), (), ())
        assert len(result.standings) == 3


def test_messages_about_an_alert_are_found_with_their_deliveries(with_exams: Index) -> None:
    review_on(with_exams, make_rules(), [FakeChannel()], FOURTEEN_BEFORE)
    with with_exams.read() as conn:
        alert_id = alerts.list_alerts(conn)[0].id
        [(queued, deliveries)] = outbox.messages_about(conn, alert_id)
    assert queued.kind == "firing"
    assert [(each.recipient, each.state) for each in deliveries] == [("ops@example.org", "pending")]


class TestCertificates:
    ENDS = date(2026, 12, 20)

    def review(self, index: Index, day: date, *, is_renewed: bool = False) -> list[str]:
        """Review on a day; return the stages that were told of."""
        own = CertificateEnd(
            key="certificate_file",
            subject="node.example.org",
            fingerprint="b" * 64 if is_renewed else "a" * 64,
            ends=date(2028, 1, 1) if is_renewed else self.ENDS,
        )
        before = len(stages(index))
        review_on(index, replace(make_rules(), certificates=(own,)), [FakeChannel()], day)
        return [stage for told in stages(index)[before:] for stage in told]

    def test_its_end_is_told_thirty_seven_and_one_day_before_and_when_it_is_there(self, sqlite_index: Index) -> None:
        told = {
            day: said
            for day in (self.ENDS + timedelta(days=left) for left in (-31, -30, -29, -8, -6, -2, -1, 0, 1, 5))
            if (said := self.review(sqlite_index, day))
        }
        assert told == {
            date(2026, 11, 20): ["2026-11-20 ends"],
            date(2026, 12, 14): ["2026-12-13 ends"],
            date(2026, 12, 19): ["2026-12-19 ends"],
            date(2026, 12, 21): ["2026-12-20 ended"],
        }
        (alert,) = firing(sqlite_index).values()
        assert (alert.key, alert.severity) == ("certificate/certificate_file/" + "a" * 16, "critical")
        assert self.review(sqlite_index, self.ENDS + timedelta(days=6), is_renewed=True) == [RESOLVED]
        assert firing(sqlite_index) == {}
