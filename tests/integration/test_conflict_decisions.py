"""Deciding which of several contents under one SOP Instance UID is served: the same as if it had been the first."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dicom_node.alerts.notice import AlertKind
from dicom_node.errors import ObjectDamagedError, OperatorError, StorageUnavailableError
from dicom_node.index import alerts
from dicom_node.index.alerts import FIRING
from dicom_node.services.decisions import Verdict
from dicom_node.services.rebuild import rebuild
from dicom_node.services.recover import recover
from dicom_node.services.review import is_review_wanted, review
from dicom_node.site import Stores
from tests.factories import make_kos, make_mg, new_uid
from tests.sites import START, derived_rows, opened_site, receive, receive_all, write_site

VERDICT = Verdict(by="tester", at=datetime(2026, 11, 23, 18, tzinfo=UTC), reason="the archive rewrote it")
PRONE = {"serial": "PT-4471", "station": "PRONE"}


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    """An empty node."""
    with opened_site(write_site(tmp_path)) as opened:
        yield opened


def make_pair(**changed: Any) -> tuple[Dataset, Dataset]:
    """Return two contents under one SOP Instance UID: ``changed`` is what the second has."""
    uids = {name: new_uid() for name in ("study_uid", "series_uid", "sop_instance_uid")}
    first = make_mg(**PRONE, day=date(2026, 11, 20), **uids)
    return first, make_mg(**PRONE, **({"day": date(2026, 11, 20)} | uids | changed))


def rows_of(stores: Stores) -> dict[str, Any]:
    """Return all rows but those of the conflicts."""
    return {name: rows for name, rows in derived_rows(stores.index).items() if name != "conflict"}


def conflict_alerts(stores: Stores, **options: Any) -> list[str]:
    """Review, and return what fires about conflicts."""
    site = stores.site
    review(stores.index, site.rules, site.channels, today=date(2026, 11, 23), now=VERDICT.at, **options)
    with stores.index.read() as conn:
        firing = alerts.list_alerts(conn, state=FIRING)
    return [alert.key for alert in firing if alert.kind == AlertKind.CONFLICT]


def test_keeping_the_first_ends_the_alert_and_changes_nothing_else(stores: Stores) -> None:
    first, other = make_pair(patient_name="SYNTH^OTHER")
    receive_all(stores, (first, "PRONE_RM2"), (other, "ADDON_WS"))
    assert conflict_alerts(stores) == ["conflict/ADDON_WS"]
    before = rows_of(stores)
    decided = stores.conflicts().keep(first.SOPInstanceUID, "first", VERDICT)
    assert not decided.waits
    assert [(each.served, each.decided_by, each.reason) for each in decided.contents] == [
        (True, "", ""),
        (False, "tester", "the archive rewrote it"),
    ]
    assert rows_of(stores) == before
    with stores.index.read() as conn:
        assert is_review_wanted(conn)
    assert conflict_alerts(stores) == []
    with stores.index.read() as conn:
        assert not is_review_wanted(conn)


@pytest.mark.parametrize("other_study", [False, True])
def test_serving_the_other_is_as_if_it_had_come_alone(stores: Stores, tmp_path: Path, other_study: bool) -> None:
    changed: dict[str, Any] = {"day": date(2026, 10, 5), "patient_name": "SYNTH^OTHER"}
    if other_study:
        changed |= {"study_uid": new_uid(), "series_uid": new_uid()}
    first, other = make_pair(**changed)
    beside = make_mg(**PRONE, study_uid=first.StudyInstanceUID, series_uid=first.SeriesInstanceUID)
    rejecting = make_kos([first], **PRONE, study_uid=new_uid())
    _, came = receive_all(stores, (beside, "PRONE_RM2"), (first, "PRONE_RM2"))[:2]
    receive(stores, other, at=START + timedelta(seconds=5))
    receive(stores, rejecting, at=START + timedelta(seconds=6))
    (conflict,) = stores.conflicts().all()
    digest = next(each.digest for each in conflict.contents if not each.served)
    decided = stores.conflicts().keep(came.sop_instance_uid, digest[:9].upper(), VERDICT)
    assert decided.served.digest == digest
    (tmp_path / "alone").mkdir()
    with opened_site(write_site(tmp_path / "alone")) as alone:
        receive(alone, beside, at=START)
        receive(alone, other, at=START + timedelta(seconds=5))
        receive(alone, rejecting, at=START + timedelta(seconds=6))
        assert rows_of(stores) == rows_of(alone)


def test_a_decision_survives_a_rebuild_and_the_same_content_again(stores: Stores) -> None:
    first, other = make_pair(day=date(2026, 10, 5))
    third = make_mg(
        **PRONE,
        day=date(2026, 9, 1),
        study_uid=new_uid(),
        series_uid=new_uid(),
        sop_instance_uid=first.SOPInstanceUID,
    )
    unrelated, unrelated_other = make_pair()
    unrelated_other.StationName = "OTHER"
    for number, ds in enumerate((first, other, third, unrelated, unrelated_other)):
        receive(stores, ds, at=START + timedelta(seconds=number))
    before, after = stores.conflicts().all()
    stores.conflicts().keep(before.sop_instance_uid, before.contents[1].digest, VERDICT)
    stores.conflicts().keep(after.sop_instance_uid, "first", VERDICT)
    stores.conflicts().keep(before.sop_instance_uid, before.contents[2].digest, VERDICT)
    decided = derived_rows(stores.index)
    for ds in (first, other, third):
        assert receive(stores, ds, at=START + timedelta(hours=1)).outcome in {"duplicate", "conflict"}
    assert derived_rows(stores.index) == decided
    rebuild(stores.archive, stores.index, stores.indexer)
    assert derived_rows(stores.index) == decided
    assert conflict_alerts(stores) == []


def test_content_that_comes_after_the_decision_waits_for_another(stores: Stores) -> None:
    first, other = make_pair(day=date(2026, 10, 5))
    receive_all(stores, (first, "PRONE_RM2"), (other, "PRONE_RM2"))
    stores.conflicts().keep(first.SOPInstanceUID, "first", VERDICT)
    other.StationName = "YET-OTHER"
    receive(stores, other, at=START + timedelta(seconds=9))
    (conflict,) = stores.conflicts().all()
    assert conflict.waits
    rebuild(stores.archive, stores.index, stores.indexer)
    assert stores.conflicts().all() == [conflict]
    assert conflict_alerts(stores) == ["conflict/PRONE_RM2"]


def test_what_a_crash_kept_from_the_index_is_carried_out_at_the_start(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = make_pair(day=date(2026, 10, 5))
    receive_all(stores, (first, "PRONE_RM2"), (other, "PRONE_RM2"))
    (conflict,) = stores.conflicts().all()
    with monkeypatch.context() as patch:
        append = stores.archive.journal.append

        def append_and_crash(*args: Any) -> int:
            append(*args)
            raise StorageUnavailableError("the power went")

        patch.setattr(stores.archive.journal, "append", append_and_crash)
        with pytest.raises(StorageUnavailableError):
            stores.conflicts().keep(conflict.sop_instance_uid, conflict.contents[1].digest, VERDICT)
    assert stores.conflicts().all() == [conflict]
    stores.conflicts().replay()
    (carried_out,) = stores.conflicts().all()
    assert carried_out.contents[1].served
    assert not carried_out.waits


def test_a_rebuild_cut_short_is_finished_by_recovery(stores: Stores) -> None:
    first, other = make_pair(day=date(2026, 10, 5))
    receive_all(stores, (first, "PRONE_RM2"), (other, "PRONE_RM2"), (make_mg(**PRONE), "PRONE_RM2"))
    (conflict,) = stores.conflicts().all()
    stores.conflicts().keep(conflict.sop_instance_uid, conflict.contents[1].digest, VERDICT)
    whole = derived_rows(stores.index)

    def cut(done: int, _of: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(stores.archive, stores.index, stores.indexer, progress=cut)
    assert derived_rows(stores.index) != whole
    recover(stores.archive, stores.index, stores.indexer)
    stores.conflicts().replay()
    assert derived_rows(stores.index) == whole


def test_what_differs_is_named_without_a_value(stores: Stores) -> None:
    first, other = make_pair(patient_name="SYNTH^OTHER", AccessionNumber=None)
    receive_all(stores, (first, "PRONE_RM2"), (other, "PRONE_RM2"))
    (conflict,) = stores.conflicts().all()
    assert stores.conflicts().differences(conflict) == ["AccessionNumber", "PatientName"]
    pixels, other_pixels = make_pair()
    other_pixels.PixelData = bytes(len(other_pixels.PixelData))
    receive_all(stores, (pixels, "PRONE_RM2"), (other_pixels, "PRONE_RM2"))
    by_uid = {each.sop_instance_uid: each for each in stores.conflicts().all()}
    assert stores.conflicts().differences(by_uid[pixels.SOPInstanceUID]) == []


def test_what_cannot_be_decided_is_refused_and_leaves_no_trace(stores: Stores) -> None:
    first, other = make_pair(day=date(2026, 10, 5))
    receive_all(stores, (first, "PRONE_RM2"), (other, "PRONE_RM2"))
    keep = stores.conflicts().keep
    with pytest.raises(OperatorError, match="needs a reason"):
        keep(first.SOPInstanceUID, "first", Verdict(by="tester", at=VERDICT.at, reason=" "))
    with pytest.raises(OperatorError, match="no other content"):
        keep("1.2.3", "first", VERDICT)
    with pytest.raises(OperatorError, match="no content begins so"):
        keep(first.SOPInstanceUID, "xyz", VERDICT)
    with pytest.raises(OperatorError, match="several contents begin so"):
        keep(first.SOPInstanceUID, "", VERDICT)
    (conflict,) = stores.conflicts().all()
    name = f"{conflict.contents[1].digest}.dcm"
    next((stores.site.settings.storage.path / "objects").rglob(name)).unlink()
    with pytest.raises(ObjectDamagedError):
        keep(first.SOPInstanceUID, conflict.contents[1].digest, VERDICT)
    assert stores.conflicts().all() == [conflict]
    assert list(stores.archive.journal.read()) == []
