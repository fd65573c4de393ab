"""Why an alert is over, in values for its words."""

from collections.abc import Iterable, Mapping
from typing import Any

from dicom_node.accreditation.standing import ReleaseState, Standing, State
from dicom_node.alerts.notice import AlertKind
from dicom_node.alerts.phrases import read_day
from dicom_node.index.alerts import Alert

_REASONS: Mapping[str, str] = {
    AlertKind.UNREGISTERED_UNIT: "no biopsy that could still count is of a device or a day without a registered unit",
    AlertKind.AMBIGUOUS: "no exam that could still count matches these units together any more",
    AlertKind.ATTACHMENT_MOVED: "the unit has a fresh biopsy or an attachment, or needs none any more",
    AlertKind.CLOCK_DRIFT: "the device sent a study of the right day",
    AlertKind.RENAMED_DEVICE: "the configuration has the new name, or the old one was seen again",
    AlertKind.UNIT_MUST_APPLY: "the unit is applying, or is no longer used for biopsies",
    AlertKind.UNDATED: "no exam of the unit is without a date any more",
    AlertKind.UNATTRIBUTED: "no exam of this sender that could still count waits to be told its unit",
    AlertKind.CONFLICT: "every conflict of this sender was decided",
    AlertKind.CERTIFICATE: "the certificate was replaced, or is needed no more",
}


def solution(alert: Alert, standings: Iterable[Standing]) -> dict[str, Any]:
    """Tell what ended an alert: ``exam_day`` (ISO text) and what it is good for, or a ``reason`` in words.

    ``standings`` are those of the alert's unit now; none when the unit is no longer configured.
    """
    if alert.kind == AlertKind.MILESTONE:
        about = f"{alert.details.get('milestone')} of cycle {alert.details.get('cycle')}"
        reason = f"by rule {alert.details.get('policy_id')} nothing is left to do for the milestone {about}"
        return {"reason": f"{reason}: its day moved, or what was recorded of the cycle ended it"}
    if alert.kind != AlertKind.ELIGIBILITY:
        return {"reason": _REASONS.get(alert.kind, "it is no longer so")}
    now = next((each for each in standings if each.portion == alert.portion), None)
    if now is None:
        return {"reason": "the unit is no longer in the configuration"}
    if now.state is State.RETIRED:
        return {"reason": "the unit is retired"}
    if now.state is State.NOT_REQUIRED:
        return {"reason": "the unit is not applying for accreditation, or is enrolled at no facility"}
    return _by_exam(alert, now) or _by_release(now) or _by_rule(now)


def _by_exam(alert: Alert, now: Standing) -> dict[str, Any] | None:
    """Return the exam that solved it, when it is another one than the alert was about."""
    if now.newest is None or (now.counts_until is None and now.state is not State.SECURED):
        return None
    was_about = read_day(alert.details, "exam_day")
    was_short = alert.details.get("state") == "short" and now.state is State.SECURED
    if was_about is not None and now.newest.day <= was_about and not was_short:
        return None
    return {
        "exam_id": now.newest.exam_id,
        "exam_day": now.newest.day.isoformat(),
        "policy_id": now.policy_id,
        "counts_until": now.counts_until.isoformat() if now.counts_until else None,
        "release_on": now.release.released_on.isoformat() if now.release and now.state is State.SECURED else None,
    }


def _by_release(now: Standing) -> dict[str, Any] | None:
    if now.release is None or now.release.state is ReleaseState.PLANNED:
        return None
    released = f"the testing package released on {now.release.released_on} is {now.release.state}"
    if now.state is State.SECURED and now.newest is not None:
        return {"reason": f"{released}, and by rule {now.policy_id} {_newest(now)} is inside its window"}
    return {"reason": f"{released}, so nothing is counted down"}


def _by_rule(now: Standing) -> dict[str, Any]:
    if now.newest is not None and now.counts_until is not None:
        return {"reason": f"by rule {now.policy_id} {_newest(now)} counts until {now.counts_until}"}
    return {"reason": f"the {now.portion.noun} it was about no longer counts"}


def _newest(now: Standing) -> str:
    assert now.newest is not None
    return f"the {now.portion.noun} of {now.newest.day}"
