"""How a review decides what is due and what is over, without a database."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from dicom_node.accreditation.portions import Portion
from dicom_node.accreditation.reminders import Severity
from dicom_node.accreditation.standing import CountingExam, Release, ReleaseState, Standing, State
from dicom_node.alerts.notice import AlertKind
from dicom_node.index.alerts import Alert
from dicom_node.services.finding import Found
from dicom_node.services.review import compare, digest_key, message_key, recipients_of
from dicom_node.services.solutions import solution
from tests.alerting import FakeChannel

TODAY = date(2026, 11, 24)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def make_alert(**values: Any) -> Alert:
    defaults: dict[str, Any] = {
        "id": 1, "key": "eligibility/upright_a/clinical/2026-06-08", "kind": "eligibility", "unit_id": "upright_a",
        "portion": "clinical", "stage": "2026-11-08 d30", "severity": "warning", "state": "firing",
        "details": {"state": "nearing", "exam_day": "2026-06-08"}, "opening": 1, "opened_at": NOW, "changed_at": NOW,
        "resolved_at": None, "acknowledged_at": None, "acknowledged_by": "", "acknowledged_note": "",
        "acknowledged_state": "", "acknowledged_until": None,
    }  # fmt: skip
    return Alert(**defaults | values)


def make_found(stage: str = "2026-11-24 d14", state: str = "nearing", **values: Any) -> Found:
    defaults: dict[str, Any] = {
        "key": "eligibility/upright_a/clinical/2026-06-08", "kind": AlertKind.ELIGIBILITY,
        "severity": Severity.WARNING, "stage": stage, "details": {"state": state}, "unit_id": "upright_a",
        "portion": "clinical",
    }  # fmt: skip
    return Found(**defaults | values)


@pytest.mark.parametrize(
    ("sent", "due"),
    [
        ("", True),
        ("2026-11-08 d30", True),
        ("2026-11-24 d14", False),
        ("2026-11-20 d18", True),
        ("2027-01-01 lapsed-w3", True),  # the clock was ahead then
    ],
)
def test_a_stage_is_due_when_it_is_later_than_the_one_that_was_sent(sent: str, due: bool) -> None:
    assert bool(compare([make_found()], [make_alert(stage=sent)], TODAY).due) is due


def test_what_has_no_alert_yet_is_due() -> None:
    assert compare([make_found()], [], TODAY).due == (make_found(),)


@pytest.mark.parametrize(
    ("until", "state", "due"),
    [
        (None, "nearing", False),
        (TODAY, "nearing", False),
        (date(2026, 11, 23), "nearing", True),
        (None, "lapsed", True),
        (date(2027, 1, 1), "lapsed", True),
    ],
)
def test_an_acknowledgement_holds_until_its_day_or_until_it_gets_worse(
    until: date | None, state: str, due: bool
) -> None:
    known = make_alert(acknowledged_at=NOW, acknowledged_state="nearing", acknowledged_until=until)
    assert bool(compare([make_found(state=state)], [known], TODAY).due) is due


def test_what_is_no_longer_found_is_over_and_news_for_those_who_were_told() -> None:
    told, untold = make_alert(), make_alert(id=2, key="other", kind="conflict", portion="", stage="")
    compared = compare([], [told, untold], TODAY)
    assert compared.over == (told, untold)
    assert compared.good_news == (told,)


def test_one_reminder_giving_way_to_another_of_the_portion_is_no_news() -> None:
    compared = compare([make_found(key="eligibility/upright_a/clinical/2026-06-12")], [make_alert()], TODAY)
    assert len(compared.over) == 1
    assert compared.good_news == ()


def test_the_key_of_a_message_depends_on_what_it_tells_and_not_on_the_order() -> None:
    first, second = make_alert(), make_alert(id=2, key="other")
    key = message_key("firing", "upright_a", [(first, "d14"), (second, "d30")])
    assert key == message_key("firing", "upright_a", [(second, "d30"), (first, "d14")])
    others = {
        message_key("firing", "upright_a", [(first, "d7"), (second, "d30")]),
        message_key("firing", "upright_a", [(first, "d14")]),
        message_key("firing", "upright_a", [(make_alert(opening=2), "d14"), (second, "d30")]),
        message_key("resolved", "upright_a", [(first, "d14"), (second, "d30")]),
    }
    assert key not in others
    assert len(others) == 4


def test_a_message_goes_to_every_channel_of_its_severity_or_less() -> None:
    channels = [
        FakeChannel("all", ("a", "b")),
        FakeChannel("most", min_severity=Severity.WARNING),
        FakeChannel("worst", min_severity=Severity.CRITICAL),
    ]
    assert {name for name, _ in recipients_of(channels, Severity.INFO)} == {"all"}
    assert {name for name, _ in recipients_of(channels, Severity.WARNING)} == {"all", "most"}
    assert {name for name, _ in recipients_of(channels, Severity.CRITICAL)} == {"all", "most", "worst"}


def test_the_week_of_the_digest_begins_on_monday_and_belongs_to_its_own_year() -> None:
    assert digest_key("weekly", date(2026, 11, 22)) == "digest/2026-W47"
    assert digest_key("weekly", date(2026, 11, 23)) == "digest/2026-W48"
    assert digest_key("weekly", date(2027, 1, 3)) == "digest/2026-W53"
    assert digest_key("daily", TODAY) == "digest/2026-11-24"


class TestSolutions:
    def stand(self, state: State, day: date | None = date(2026, 6, 8), **values: Any) -> Standing:
        defaults: dict[str, Any] = {
            "unit": "upright_a", "portion": Portion.CLINICAL, "state": state,
            "newest": None if day is None else CountingExam(exam_id="abc", day=day), "counts_until": None,
            "last_release": None, "days_left": None, "cutoff": None, "release": None, "window_first": None,
            "window_last": None, "policy_id": "acr-sbb-2026-01-14",
        }  # fmt: skip
        return Standing(**defaults | values)

    def reason(self, *standings: Standing, **alert: Any) -> str:
        return str(solution(make_alert(**alert), standings)["reason"])

    def test_a_newer_exam(self) -> None:
        now = self.stand(State.OK, TODAY, counts_until=date(2027, 5, 24))
        assert solution(make_alert(), [now]) == {
            "exam_id": "abc", "exam_day": "2026-11-24", "counts_until": "2027-05-24", "release_on": None,
            "policy_id": "acr-sbb-2026-01-14",
        }  # fmt: skip

    def test_the_first_exam_ever(self) -> None:
        now = self.stand(State.OK, TODAY, counts_until=date(2027, 5, 24))
        missing = make_alert(details={"state": "missing", "exam_day": None})
        assert solution(missing, [now])["exam_day"] == "2026-11-24"

    def test_an_exam_inside_the_window_of_a_package_that_had_none(self) -> None:
        released = Release(released_on=date(2026, 11, 1), due_on=None, state=ReleaseState.RECORDED)
        now = self.stand(State.SECURED, date(2026, 5, 20), release=released)
        short = make_alert(details={"state": "short", "exam_day": "2026-06-08"})
        assert solution(short, [now])["release_on"] == "2026-11-01"

    def test_a_release_that_was_recorded(self) -> None:
        released = Release(released_on=date(2026, 11, 1), due_on=None, state=ReleaseState.RECORDED)
        assert self.reason(self.stand(State.SECURED, release=released)) == (
            "the testing package released on 2026-11-01 is recorded, and by rule acr-sbb-2026-01-14 the exam of "
            "2026-06-08 is inside its window"
        )

    def test_a_release_that_is_over(self) -> None:
        released = Release(released_on=date(2026, 11, 1), due_on=None, state=ReleaseState.SUBMITTED)
        assert self.reason(self.stand(State.OK, release=released)).endswith("submitted, so nothing is counted down")

    def test_another_rule(self) -> None:
        now = self.stand(State.OK, counts_until=date(2027, 8, 8))
        assert self.reason(now) == "by rule acr-sbb-2026-01-14 the exam of 2026-06-08 counts until 2027-08-08"

    def test_no_exam_any_more(self) -> None:
        assert self.reason(self.stand(State.MISSING, None)) == "the exam it was about no longer counts"

    def test_no_survey_any_more(self) -> None:
        withdrawn = self.stand(State.MISSING, None, portion=Portion.PHYSICIST)
        assert self.reason(withdrawn, portion="physicist") == "the survey it was about no longer counts"

    def test_a_unit_that_is_out_of_the_game(self) -> None:
        assert self.reason(self.stand(State.RETIRED)) == "the unit is retired"
        assert self.reason(self.stand(State.NOT_REQUIRED)) == (
            "the unit is not applying for accreditation, or is enrolled at no facility"
        )
        assert self.reason() == "the unit is no longer in the configuration"

    @pytest.mark.parametrize("kind", [kind for kind in AlertKind if kind is not AlertKind.ELIGIBILITY])
    def test_every_other_kind_has_its_reason(self, kind: AlertKind) -> None:
        assert self.reason(kind=kind) != "it is no longer so"
