"""What people read: the right days in the right words, for every kind of alert."""

from datetime import date, timedelta
from typing import Any

import pytest

from dicom_node.alerts.notice import AlertKind, Item
from dicom_node.alerts.phrases import About
from dicom_node.alerts.words import firing_words, resolved_words

TODAY = date(2026, 11, 24)


def about(
    kind: AlertKind = AlertKind.ELIGIBILITY, *, today: date = TODAY, portion: str = "clinical", **details: Any
) -> About:
    item = Item(alert_id=1, key="k", kind=kind, portion=portion, details=details)
    return About(item=item, unit_id="upright_a", unit_label="Upright A, room 4", today=today)


def nearing(today: date = TODAY, *, portion: str = "clinical", **details: Any) -> About:
    values = {
        "state": "nearing",
        "rule": "The rule.",
        "arithmetic": "2026-06-08 plus 6 calendar months is 2026-12-08.",
        "exam_day": "2026-06-08",
        "cutoff": "2026-12-08",
        "last_release": "2026-12-08",
        "next_on": "2026-12-01",
    }
    return about(today=today, portion=portion, **values | details)


class TestEligibility:
    @pytest.mark.parametrize(
        ("days_before", "headline"),
        [
            (14, "clinical exam stops counting in 14 days (2026-12-08)"),
            (1, "clinical exam stops counting in 1 day (2026-12-08)"),
            (0, "today is the last day the clinical exam counts (2026-12-08)"),
        ],
    )
    def test_the_last_day_is_still_good(self, days_before: int, headline: str) -> None:
        words = firing_words(nearing(date(2026, 12, 8) - timedelta(days=days_before)))
        assert words.headline == headline
        assert "released up to and including 2026-12-08" in words.what

    def test_rule_and_arithmetic_are_restated(self) -> None:
        words = firing_words(nearing())
        assert words.why.startswith("The rule. 2026-06-08 plus 6 calendar months is 2026-12-08.")
        assert "No release date is recorded" in words.why
        assert words.next == "Reminder on 2026-12-01 unless acknowledged."

    def test_the_commands_are_ready_to_be_copied(self) -> None:
        assert [step.command for step in firing_words(nearing()).do] == [
            "",
            "dicom-node release record upright_a --date YYYY-MM-DD",
            'dicom-node alerts silence upright_a --for 60d --reason "..."',
        ]

    def test_of_a_survey_nothing_is_sent(self) -> None:
        days = {"exam_day": "2025-10-08", "planned_on": "2027-01-15", "counts_for_planned": False}
        for state, headline in (
            ("nearing", "physicist survey stops counting in 14 days (2026-12-08)"),
            ("lapsed", "newest physicist survey stopped counting in 14 days (2026-12-08)"),
        ):
            told = firing_words(nearing(portion="physicist", state=state, **days))
            assert told.headline == headline
            assert told.do[0].sentence.startswith("Have a medical physicist survey Upright A, room 4")
            assert told.do[0].command == "dicom-node surveys record upright_a --date YYYY-MM-DD"
            assert "this survey would not count for it" in told.why
            text = " ".join((told.headline, told.what, told.why, *(step.sentence for step in told.do)))
            assert "exam" not in text

    def test_a_survey_that_solves_an_alert_was_recorded(self) -> None:
        solution = {"policy_id": "p", "exam_day": "2026-11-20", "counts_until": "2028-01-20"}
        told = resolved_words(about(portion="physicist", solution=solution))
        assert told.headline == "resolved: physicist survey of 2026-11-20 recorded"
        assert told.what.startswith("By rule p the physicist survey of 2026-11-20 solved it.")
        over = resolved_words(about(portion="physicist", solution={"reason": "the unit is retired"}))
        assert over.headline == "resolved: physicist surveys"

    def test_between_the_cutoff_and_the_last_release_the_doubt_is_told(self) -> None:
        details = {"exam_day": "2026-02-28", "cutoff": "2026-08-28", "last_release": "2026-08-31"}
        words = firing_words(nearing(date(2026, 8, 30), **details))
        assert words.headline == "clinical exam counts by the end-of-month rule only, to 2026-08-31"
        assert "do not rely on the days after 2026-08-28" in words.why

    @pytest.mark.parametrize(("counts", "words"), [(True, "would still count"), (False, "would not count")])
    def test_a_planned_package_is_told(self, counts: bool, words: str) -> None:
        told = firing_words(nearing(planned_on="2027-01-15", counts_for_planned=counts))
        assert f"A package is planned for 2027-01-15: this exam {words} for it." in told.why

    def test_a_lapse_is_told_from_the_last_day_that_was_good(self) -> None:
        words = firing_words(nearing(date(2026, 12, 17), state="lapsed"))
        assert words.headline == "newest clinical exam stopped counting 9 days ago (2026-12-08)"
        assert "A package released today would find no clinical exam." in words.what

    def test_a_package_without_an_exam_counts_down_to_its_due_date(self) -> None:
        words = firing_words(
            about(
                state="short", rule="The rule.", months=6, cutoff="2026-12-04", release_on="2026-10-20",
                window_first="2026-04-20", window_last="2027-04-20", next_on=None,
                arithmetic="Its due date is 2026-12-04: 45 days from 2026-10-20, no due date is printed.",
            )
        )  # fmt: skip
        assert words.headline == "no clinical exam for the package of 2026-10-20, due in 10 days (2026-12-04)"
        assert "2026-04-20 to 2027-04-20, both days included. An exam is needed on or before 2026-12-04" in words.what
        assert words.why == (
            "The rule. 2026-10-20 minus 6 calendar months is 2026-04-20. Its due date is 2026-12-04: 45 days from "
            "2026-10-20, no due date is printed."
        )
        assert words.next == ""

    def test_a_missing_portion_is_told(self) -> None:
        words = firing_words(about(state="missing", rule="The rule.", portion="phantom"))
        assert words.headline == "no phantom exam on file"
        assert "Perform and send a phantom exam on Upright A, room 4." in words.do[0].sentence


FINDINGS: dict[AlertKind, dict[str, Any]] = {
    AlertKind.UNREGISTERED_UNIT: {
        "state": "found", "rule": "The rule.", "serial": "UX-9", "station": "UPR-X", "manufacturer": "Synthetic",
        "sender": "ADDON_WS", "count": 1, "exams": ["abc"], "newest": "2026-11-20",
    },
    AlertKind.UNIT_MUST_APPLY: {
        "state": "seen", "rule": "The rule.", "attachments": ["addon1"], "count": 2, "exams": ["abc", "def"],
        "newest": "2026-11-20",
    },
    AlertKind.UNDATED: {"state": "found", "flags": ["year 1900"], "count": 1, "exams": ["abc"], "newest": None},
    AlertKind.UNATTRIBUTED: {
        "state": "found", "sender": "ADDON_WS", "candidates": ["upright_a", "upright_b"],
        "doubts": ["two units share the attachment"], "count": 7, "exams": ["a", "b", "c", "d", "e"],
        "newest": "2026-11-20",
    },
    AlertKind.AMBIGUOUS: {
        "state": "found", "sender": "ADDON_WS", "candidates": ["upright_a", "upright_b"],
        "doubts": ["station name UPR names 2 units: upright_a, upright_b"], "count": 1, "exams": ["a"],
        "newest": "2026-11-20", "missing": [],
        "clashing": ['[[units.upright_a.identity]] station_name = "UPR"'],
    },
    AlertKind.ATTACHMENT_MOVED: {
        "state": "seen", "attachment": "addon1", "attachment_label": "Add-on", "since": "2026-09-01", "elsewhere": 4,
        "hosts": [["Upright B", "2026-11-20"], ["Upright A", "2026-08-20"]], "newest": "2026-08-20",
        "cutoff": "2027-02-20",
    },
    AlertKind.CLOCK_DRIFT: {
        "state": "found", "sender": "UPRIGHT_A", "days": -3, "since": "2026-11-20", "last": "2026-11-23", "studies": 2,
    },
    AlertKind.RENAMED_DEVICE: {
        "state": "seen", "names": [{
            "key": "ae_title", "old": ["UPRIGHT_A"], "new": "ROOM4", "address": "10.20.30.21", "since": "2026-11-20",
            "count": 2, "refused": True,
        }],
    },
    AlertKind.CONFLICT: {"state": "found", "sender": "", "count": 3, "studies": 1},
    AlertKind.CERTIFICATE: {
        "state": "nearing", "key": "certificate_file", "subject": "node.example.org", "ends": "2026-12-01",
    },
}  # fmt: skip


class TestFindings:
    @pytest.mark.parametrize("kind", FINDINGS)
    def test_each_says_what_is_so_why_it_matters_and_what_to_do(self, kind: AlertKind) -> None:
        words = firing_words(about(kind, portion="", **FINDINGS[kind]))
        assert words.headline
        assert words.what.endswith(".")
        assert words.why.endswith(".")
        assert any(step.command for step in words.do)

    def test_every_kind_of_alert_has_words(self) -> None:
        assert {*FINDINGS, AlertKind.ELIGIBILITY, AlertKind.MILESTONE} == set(AlertKind)

    def test_no_more_exams_are_named_than_a_reader_wants(self) -> None:
        words = firing_words(about(AlertKind.UNATTRIBUTED, portion="", **FINDINGS[AlertKind.UNATTRIBUTED]))
        assert "Exams: a, b, c, d, e and 2 more." in words.what
        assert "it could be upright_a, upright_b" in words.what

    def test_what_to_write_for_a_new_device_is_toml_whatever_its_name(self) -> None:
        details = FINDINGS[AlertKind.UNREGISTERED_UNIT] | {"serial": "", "station": 'A "B"\\C\r\nD'}
        words = firing_words(about(AlertKind.UNREGISTERED_UNIT, portion="", **details))
        assert words.do[0].command == r'station_name = "A \"B\"\\C D"'

    @pytest.mark.parametrize(
        ("kind", "changed"),
        [
            (AlertKind.UNREGISTERED_UNIT, {}),
            (AlertKind.AMBIGUOUS, {}),
            (AlertKind.AMBIGUOUS, {"clashing": [], "missing": ["a line"]}),
            (AlertKind.AMBIGUOUS, {"clashing": [], "missing": []}),
        ],
    )
    def test_who_changes_the_configuration_is_told_that_exams_on_file_do_not_follow_by_themselves(
        self, kind: AlertKind, changed: dict[str, Any]
    ) -> None:
        words = firing_words(about(kind, portion="", **FINDINGS[kind] | changed))
        (step,) = (each for each in words.do if "configuration" in each.sentence)
        assert "reload it" in step.sentence
        assert "dicom-node reattribute apply" in f"{step.sentence} {step.command}"

    def test_biopsies_seen_on_a_unit_do_not_end_by_what_its_attachment_is_assigned_to(self) -> None:
        words = firing_words(about(AlertKind.UNIT_MUST_APPLY, portion="", **FINDINGS[AlertKind.UNIT_MUST_APPLY]))
        assert not any("assignment" in step.sentence for step in words.do)
        assert any("exams exclude" in step.command for step in words.do)

    def test_an_assigned_attachment_is_told_before_any_biopsy(self) -> None:
        words = firing_words(
            about(AlertKind.UNIT_MUST_APPLY, portion="", state="assigned", rule="The rule.", attachments=["addon1"])
        )
        assert words.headline == "an attachment belongs to a unit that is not applying"

    def test_an_import_has_no_sender_to_name(self) -> None:
        words = firing_words(about(AlertKind.CONFLICT, portion="", **FINDINGS[AlertKind.CONFLICT]))
        assert words.headline == "an import sent other content for 3 instances already on file"
        assert "3 instances of 1 study" in words.what

    def test_a_certificate_is_told_with_its_day_and_whose_it_is(self) -> None:
        details = FINDINGS[AlertKind.CERTIFICATE]
        words = firing_words(about(AlertKind.CERTIFICATE, portion="", **details))
        assert words.headline == "the certificate of this node ends on 2026-12-01"
        assert "(node.example.org) ends on 2026-12-01" in words.what
        ended = {"key": "ca_file", "state": "lapsed", "ends": "2026-11-01", "subject": ""}
        words = firing_words(about(AlertKind.CERTIFICATE, portion="", **details | ended))
        assert words.headline == "the certificate of an authority ended on 2026-11-01"


class TestResolved:
    def test_the_exam_that_solved_it_is_named_by_its_day(self) -> None:
        words = resolved_words(
            nearing(solution={"exam_day": "2026-11-24", "policy_id": "p", "counts_until": "2027-05-24"})
        )
        assert words.headline == "resolved: clinical exam of 2026-11-24 received"
        assert words.what.startswith("By rule p the clinical exam of 2026-11-24 solved it.")
        assert "up to and including 2027-05-24, 181 days from today" in words.what

    def test_an_exam_inside_a_recorded_window_is_told_with_the_package(self) -> None:
        words = resolved_words(
            nearing(solution={"exam_day": "2026-11-24", "policy_id": "p", "release_on": "2026-11-01"})
        )
        assert "inside the window of the testing package released on 2026-11-01" in words.what

    def test_anything_else_is_told_by_its_reason(self) -> None:
        words = resolved_words(about(AlertKind.CONFLICT, portion="", solution={"reason": "every conflict was decided"}))
        assert words.headline == "resolved: other content under a known UID"
        assert words.what == "Every conflict was decided."
